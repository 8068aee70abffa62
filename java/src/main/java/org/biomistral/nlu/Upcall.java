package org.biomistral.nlu;

import com.sun.jna.Callback;
import com.sun.jna.CallbackReference;
import com.sun.jna.Pointer;

/** A function that native code can call until it is closed. Its twin for Java 22 is in {@code java22}. */
final class Upcall implements AutoCloseable {
    /** {@code bmn_progress_fn}; must not throw. */
    interface Progress {
        int call(long userData, long done, long of);
    }

    /** {@code bmn_train_progress_fn}; must not throw. */
    interface Train {
        int call(long userData, long event);
    }

    /** {@code bmn_log_fn}; must not throw. */
    interface Log {
        void call(long userData, int level, long target, long message);
    }

    /** JNA's view of {@link Progress}. */
    interface JnaProgress extends Callback {
        int invoke(long userData, long done, long of);
    }

    /** JNA's view of {@link Train}. */
    interface JnaTrain extends Callback {
        int invoke(long userData, long event);
    }

    /** JNA's view of {@link Log}. */
    interface JnaLog extends Callback {
        void invoke(long userData, int level, long target, long message);
    }

    /** JNA frees what native code calls when this is no longer reachable. */
    private Callback callback;

    private Upcall(Callback callback) {
        this.callback = callback;
    }

    static Upcall progress(Progress function) {
        return new Upcall((JnaProgress) function::call);
    }

    static Upcall train(Train function) {
        return new Upcall((JnaTrain) function::call);
    }

    static Upcall log(Log function) {
        return new Upcall((JnaLog) function::call);
    }

    long address() {
        return Pointer.nativeValue(CallbackReference.getFunctionPointer(callback));
    }

    @Override
    public void close() {
        callback = null;
    }
}
