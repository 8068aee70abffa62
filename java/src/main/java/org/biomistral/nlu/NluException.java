package org.biomistral.nlu;

/** A failed call: a status and one sentence that never holds text of a document. */
public final class NluException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final Status status;

    NluException(Status status, String message) {
        super(message);
        this.status = status;
    }

    /** What kind of failure it is. */
    public Status status() {
        return status;
    }
}
