package org.biomistral.nlu;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;

/** Strings in and out, errors into exceptions. */
final class Calls {
    private Calls() {}

    /** Bytes of {@code text} in UTF-8 with a NUL after them. */
    static Memory utf8(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        Memory memory = new Memory(bytes.length + 1L);
        memory.write(0, bytes, 0, bytes.length);
        memory.setByte(bytes.length, (byte) 0);
        return memory;
    }

    /** The NUL-terminated UTF-8 at {@code pointer}. */
    static String string(Pointer pointer) {
        return pointer == null ? "" : pointer.getString(0, "UTF-8");
    }

    /** {@code len} bytes of UTF-8. */
    static String string(Pointer pointer, long len) {
        return new String(pointer.getByteArray(0, Math.toIntExact(len)), StandardCharsets.UTF_8);
    }

    /** Throws what a call left in {@code err}, if it failed. */
    static void check(int status, PointerByReference err) {
        if (status == 0) {
            return;
        }
        Pointer error = err.getValue();
        String message = error == null ? Status.of(status).name() : string(Library.bmn_error_message(error));
        Library.bmn_error_free(error);
        throw new NluException(Status.of(status), message);
    }
}
