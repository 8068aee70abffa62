package org.biomistral.nlu;

/** Outcomes of a call or of a document; the numbers are those of {@code BMN_E_…} and never change. */
public enum Status {
    OK(0), INVALID_ARGUMENT(1), INVALID_UTF8(2), NOT_FOUND(3), IO(4), MODEL_FORMAT(5), INTEGRITY(6), UNSUPPORTED(7),
    TOO_LONG(8), NO_DEVICE(9), OUT_OF_MEMORY(10), DEVICE(11), CANCELLED(12), BUSY(13), ABI(14), TIMEOUT(16), INTERNAL(100);

    private final int number;

    Status(int number) {
        this.number = number;
    }

    /** The number of the C header. */
    public int number() {
        return number;
    }

    static Status of(int number) {
        for (Status status : values()) {
            if (status.number == number) {
                return status;
            }
        }
        return INTERNAL;
    }
}
