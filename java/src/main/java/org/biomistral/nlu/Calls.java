package org.biomistral.nlu;

import java.nio.charset.StandardCharsets;

/** Texts in, errors into exceptions. */
final class Calls {
    private Calls() {}

    /** What a function with {@code out} and {@code err} as its last arguments does; returns its status. */
    interface Making {
        int call(long out, long err);
    }

    /** The handle that {@code making} gives. */
    static long make(Making making) {
        try (Block out = new Block(16)) {
            check(making.call(out.address(), out.address() + 8), out.getLong(8));
            return out.getLong(0);
        }
    }

    /** Throws what a call left as its error, if it failed. */
    static void check(int status, long error) {
        if (status == 0) {
            return;
        }
        String message = error == 0 ? Status.of(status).name() : Block.string(Library.bmn_error_message(error));
        Library.bmn_error_free(error);
        throw new NluException(Status.of(status), message);
    }

    /** Throws what a callback threw, if it did. */
    static void rethrow(Throwable thrown) {
        if (thrown instanceof Error) {
            throw (Error) thrown;
        }
        if (thrown != null) {
            throw (RuntimeException) thrown;
        }
    }

    /** {@code text} in UTF-8. After a lone surrogate comes a byte that is not UTF-8, so that the library refuses the text. */
    static byte[] utf8(String text) {
        for (int i = 0; i < text.length(); i++) {
            char unit = text.charAt(i);
            if (Character.isSurrogate(unit)) {
                if (Character.isHighSurrogate(unit) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                    i++;
                } else {
                    byte[] before = text.substring(0, i).getBytes(StandardCharsets.UTF_8);
                    byte[] bytes = java.util.Arrays.copyOf(before, before.length + 1);
                    bytes[before.length] = (byte) 0xFF;
                    return bytes;
                }
            }
        }
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
