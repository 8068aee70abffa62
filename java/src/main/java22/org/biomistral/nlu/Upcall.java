package org.biomistral.nlu;

import java.lang.foreign.Arena;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/** A function that native code can call until it is closed. */
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

    private final Arena arena = Arena.ofShared();
    private final MemorySegment stub;

    private Upcall(Class<?> type, Object function, MethodType signature) {
        try {
            MethodHandle call = MethodHandles.lookup().findVirtual(type, "call", signature).bindTo(function);
            stub = Linker.nativeLinker().upcallStub(call, Library.descriptor(signature), arena);
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("call", e);
        }
    }

    static Upcall progress(Progress function) {
        return new Upcall(Progress.class, function, MethodType.methodType(int.class, long.class, long.class, long.class));
    }

    static Upcall train(Train function) {
        return new Upcall(Train.class, function, MethodType.methodType(int.class, long.class, long.class));
    }

    static Upcall log(Log function) {
        return new Upcall(
                Log.class, function, MethodType.methodType(void.class, long.class, int.class, long.class, long.class));
    }

    long address() {
        return stub.address();
    }

    @Override
    public void close() {
        arena.close();
    }
}
