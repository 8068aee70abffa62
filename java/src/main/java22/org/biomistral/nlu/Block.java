package org.biomistral.nlu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/** Native memory, zeroed; used by one thread. */
final class Block implements AutoCloseable {
    private final Arena arena = Arena.ofConfined();
    private final MemorySegment memory;

    Block(long size) {
        memory = arena.allocate(size, 8);
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
        return memory.address();
    }

    long size() {
        return memory.byteSize();
    }

    void putInt(long at, int value) {
        memory.set(JAVA_INT, at, value);
    }

    void putLong(long at, long value) {
        memory.set(JAVA_LONG, at, value);
    }

    void put(long at, byte[] bytes) {
        MemorySegment.copy(bytes, 0, memory, JAVA_BYTE, at, bytes.length);
    }

    int getInt(long at) {
        return memory.get(JAVA_INT, at);
    }

    long getLong(long at) {
        return memory.get(JAVA_LONG, at);
    }

    double getDouble(long at) {
        return memory.get(JAVA_DOUBLE, at);
    }

    @Override
    public void close() {
        arena.close();
    }

    /** Eight bytes of native code's. */
    static long peek(long address) {
        return MemorySegment.ofAddress(address).reinterpret(8).get(JAVA_LONG, 0);
    }

    /** The NUL-terminated UTF-8 at {@code address}; empty for NULL. */
    static String string(long address) {
        return address == 0 ? "" : MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0);
    }

    /** {@code length} bytes of UTF-8. */
    static String string(long address, long length) {
        byte[] bytes = MemorySegment.ofAddress(address).reinterpret(length).toArray(JAVA_BYTE);
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
