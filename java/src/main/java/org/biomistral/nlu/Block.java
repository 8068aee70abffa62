package org.biomistral.nlu;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;

/** Native memory, zeroed; used by one thread. Its twin for Java 22 is in {@code java22}. */
final class Block implements AutoCloseable {
    private final long address;
    private final long size;
    private final Pointer memory;

    Block(long size) {
        this.size = size;
        address = Native.malloc(size);
        if (address == 0) {
            throw new OutOfMemoryError(size + " bytes of native memory");
        }
        memory = new Pointer(address);
        memory.setMemory(0, size, (byte) 0);
    }

    /** {@code text} in UTF-8 with a NUL after it. */
    static Block utf8(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        Block block = new Block(bytes.length + 1L);
        block.put(0, bytes);
        return block;
    }

    /** Where it begins; good until it is closed. */
    long address() {
        return address;
    }

    long size() {
        return size;
    }

    void putInt(long at, int value) {
        memory.setInt(at, value);
    }

    void putLong(long at, long value) {
        memory.setLong(at, value);
    }

    void put(long at, byte[] bytes) {
        memory.write(at, bytes, 0, bytes.length);
    }

    int getInt(long at) {
        return memory.getInt(at);
    }

    long getLong(long at) {
        return memory.getLong(at);
    }

    double getDouble(long at) {
        return memory.getDouble(at);
    }

    @Override
    public void close() {
        Native.free(address);
    }

    /** Eight bytes of native code's. */
    static long peek(long address) {
        return new Pointer(address).getLong(0);
    }

    /** The NUL-terminated UTF-8 at {@code address}; empty for NULL. */
    static String string(long address) {
        return address == 0 ? "" : new Pointer(address).getString(0, "UTF-8");
    }

    /** {@code length} bytes of UTF-8. */
    static String string(long address, long length) {
        return new String(new Pointer(address).getByteArray(0, Math.toIntExact(length)), StandardCharsets.UTF_8);
    }
}
