package org.biomistral.nlu;

import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Collections;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongConsumer;

/**
 * A native handle that is freed once: when it is closed and no call uses it any more, or, where closing was forgotten, when
 * it is no longer reachable.
 */
abstract class Handle implements AutoCloseable {
    private final Resource resource;

    Handle(long pointer, LongConsumer free) {
        resource = new Resource(pointer, free);
        Cleanup.watch(this, resource);
    }

    /** The pointer, kept alive until {@link #release}. */
    final long acquire() {
        return resource.acquire(getClass().getSimpleName());
    }

    /** Ends what {@link #acquire} began. */
    final void release() {
        resource.release();
    }

    /** Frees the handle as soon as no call uses it; a second time does nothing. */
    @Override
    public void close() {
        resource.close();
    }

    /** Handles that exist, closed or not. */
    static int live() {
        return Cleanup.WATCHED.size();
    }

    /** What must not refer to the handle, so that the handle can become unreachable. */
    private static final class Resource {
        private final long pointer;
        private final LongConsumer free;
        private int uses;
        private boolean closed;
        private boolean freed;

        Resource(long pointer, LongConsumer free) {
            this.pointer = pointer;
            this.free = free;
        }

        synchronized long acquire(String what) {
            if (closed) {
                throw new IllegalStateException(what + " is closed");
            }
            uses++;
            return pointer;
        }

        synchronized void release() {
            uses--;
            freeIfUnused();
        }

        synchronized void close() {
            closed = true;
            freeIfUnused();
        }

        private void freeIfUnused() {
            if (closed && uses == 0 && !freed) {
                freed = true;
                free.accept(pointer);
            }
        }
    }

    /** java.lang.ref.Cleaner, which Java 8 lacks. */
    private static final class Cleanup extends PhantomReference<Handle> {
        private static final ReferenceQueue<Handle> UNREACHABLE = new ReferenceQueue<>();
        private static final Set<Cleanup> WATCHED = Collections.newSetFromMap(new ConcurrentHashMap<>());

        static {
            Thread thread = new Thread(Cleanup::run, "biomistral-nlu cleanup");
            thread.setDaemon(true);
            thread.start();
        }

        private final Resource resource;

        private Cleanup(Handle handle, Resource resource) {
            super(handle, UNREACHABLE);
            this.resource = resource;
        }

        static void watch(Handle handle, Resource resource) {
            WATCHED.add(new Cleanup(handle, resource));
        }

        private static void run() {
            while (true) {
                try {
                    Cleanup cleanup = (Cleanup) UNREACHABLE.remove();
                    WATCHED.remove(cleanup);
                    cleanup.resource.close();
                } catch (InterruptedException e) {
                    return;
                }
            }
        }
    }
}
