package org.biomistral.nlu;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongUnaryOperator;

/** Weights, tokenizer and adapters; shared by any number of sessions and threads. */
public final class Model extends Handle {
    private static final int RUNTIME_OPTIONS = 40;

    private Model(long pointer) {
        super(pointer, Library::bmn_model_free);
    }

    /** Receives log lines, which never hold text of a document. Called from the threads that call the library. */
    public interface Log {
        /** Level 1 (error) to 4 (debug), topic, line. */
        void line(int level, String target, String message);
    }

    /** Opens a model on the processor with a thread per core: a {@code .gguf} file or a folder. */
    public static Model open(String path) {
        return open(path, -1, 0, null);
    }

    /**
     * Opens a model. {@code device}: -1 the processor, -2 the first CUDA device where there is one, else its ordinal;
     * {@code threads}: 0 for one per core; {@code log} may be null.
     */
    public static Model open(String path, int device, int threads, Log log) {
        try (Block file = Block.utf8(path)) {
            return new Model(onRuntime(device, threads, log, runtime
                    -> Calls.make((out, err) -> Library.bmn_model_open(runtime, file.address(), 0, out, err))));
        }
    }

    /** What {@code opening} gives on a runtime, which it keeps as long as it needs it. */
    static long onRuntime(int device, int threads, Log log, LongUnaryOperator opening) {
        try (Block options = new Block(RUNTIME_OPTIONS)) {
            Library.bmn_runtime_options_init(options.address(), RUNTIME_OPTIONS);
            options.putInt(4, device);
            options.putInt(8, threads);
            if (log != null) {
                options.putLong(24, log(log).address());
            }
            long runtime = Calls.make((out, err) -> Library.bmn_runtime_new(options.address(), out, err));
            try {
                return opening.applyAsLong(runtime);
            } finally {
                Library.bmn_runtime_free(runtime);
            }
        }
    }

    /** The library's version. */
    public static String version() {
        return Block.string(Library.bmn_version_string());
    }

    private static Upcall log(Log log) {
        Upcall upcall = Upcall.log((userData, level, target, message) -> {
            try {
                log.line(level, Block.string(target), Block.string(message));
            } catch (Throwable e) {
                // There is nobody to tell: the call under way must end as it would without a log.
                return;
            }
        });
        LOGS.add(upcall);
        return upcall;
    }

    /** Native code may call a log as long as any model lives, so logs are never given up. */
    private static final Set<Upcall> LOGS = ConcurrentHashMap.newKeySet();

    /** What the model is, as JSON: architecture, identities, sizes. */
    public String infoJson() {
        long model = acquire();
        try {
            return Block.string(Library.bmn_model_info_json(model));
        } finally {
            release();
        }
    }

    /** A session: one call at a time. */
    public Session session() {
        long model = acquire();
        try {
            return new Session(Calls.make((out, err) -> Library.bmn_session_new(model, out, err)));
        } finally {
            release();
        }
    }

    /**
     * Makes the LoRA adapter in {@code folder} the one that runs choose by {@code name}; runs under way keep theirs.
     * Returns a number higher than that of any change before.
     */
    public long setAdapter(String name, String folder) {
        long model = acquire();
        try (Block path = Block.utf8(folder); Block text = Block.utf8(name)) {
            long adapter = Calls.make((out, err) -> Library.bmn_adapter_open(model, path.address(), out, err));
            try {
                return Calls.make((out, err) -> Library.bmn_model_set_adapter(model, text.address(), adapter, out, err));
            } finally {
                Library.bmn_adapter_free(adapter);
            }
        } finally {
            release();
        }
    }

    /** Takes an adapter's name away; runs under way with it finish. */
    public void removeAdapter(String name) {
        long model = acquire();
        try (Block text = Block.utf8(name); Block error = new Block(8)) {
            Calls.check(Library.bmn_model_remove_adapter(model, text.address(), error.address()), error.getLong(0));
        } finally {
            release();
        }
    }
}
