package org.biomistral.nlu;

/** Stops the runs it was given to, from any thread. */
public final class Cancel extends Handle {
    /** An untriggered flag. */
    public Cancel() {
        super(Library.bmn_cancel_new(), Library::bmn_cancel_free);
    }

    /** Stops the runs; documents not done get {@link Status#CANCELLED}. */
    public void trigger() {
        long flag = acquire();
        try {
            Library.bmn_cancel_trigger(flag);
        } finally {
            release();
        }
    }

    /** Makes it usable again. */
    public void reset() {
        long flag = acquire();
        try {
            Library.bmn_cancel_reset(flag);
        } finally {
            release();
        }
    }
}
