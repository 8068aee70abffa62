package org.biomistral.nlu;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;

/** Weights, tokenizer and adapters; shared by any number of sessions and threads. */
public final class Model extends Handle {
    private static final int RUNTIME_OPTIONS = 40;

    private Model(Pointer pointer) {
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
        Memory options = new Memory(RUNTIME_OPTIONS);
        Library.bmn_runtime_options_init(options, RUNTIME_OPTIONS);
        options.setInt(4, device);
        options.setInt(8, threads);
        if (log != null) {
            Library.Log call = (userData, level, target, message) -> {
                try {
                    log.line(level, target, message);
                } catch (RuntimeException e) {
                    // There is nobody to tell: the call under way must end as it would without a log.
                    return;
                }
            };
            LOGS.add(call);
            options.setPointer(24, com.sun.jna.CallbackReference.getFunctionPointer(call));
        }
        PointerByReference runtime = new PointerByReference();
        PointerByReference out = new PointerByReference();
        PointerByReference err = new PointerByReference();
        Calls.check(Library.bmn_runtime_new(options, runtime, err), err);
        try {
            Calls.check(Library.bmn_model_open(runtime.getValue(), Calls.utf8(path), null, out, err), err);
        } finally {
            Library.bmn_runtime_free(runtime.getValue());
        }
        return new Model(out.getValue());
    }

    /** Native code may call a log as long as any model lives, so logs are never given up. */
    private static final java.util.Set<Library.Log> LOGS = java.util.concurrent.ConcurrentHashMap.newKeySet();

    /** What the model is, as JSON: architecture, identities, sizes. */
    public String infoJson() {
        Pointer model = acquire();
        try {
            return Calls.string(Library.bmn_model_info_json(model));
        } finally {
            release();
        }
    }

    /** A session: one call at a time. */
    public Session session() {
        PointerByReference out = new PointerByReference();
        PointerByReference err = new PointerByReference();
        Pointer model = acquire();
        try {
            Calls.check(Library.bmn_session_new(model, out, err), err);
        } finally {
            release();
        }
        return new Session(out.getValue());
    }

    /**
     * Makes the LoRA adapter in {@code folder} the one that runs choose by {@code name}; runs under way keep theirs.
     * Returns a number higher than that of any change before.
     */
    public long setAdapter(String name, String folder) {
        PointerByReference adapter = new PointerByReference();
        PointerByReference err = new PointerByReference();
        LongByReference generation = new LongByReference();
        Pointer model = acquire();
        try {
            Calls.check(Library.bmn_adapter_open(model, Calls.utf8(folder), adapter, err), err);
            try {
                int status = Library.bmn_model_set_adapter(
                        model, Calls.utf8(name), adapter.getValue(), generation, err);
                Calls.check(status, err);
            } finally {
                Library.bmn_adapter_free(adapter.getValue());
            }
        } finally {
            release();
        }
        return generation.getValue();
    }

    /** Takes an adapter's name away; runs under way with it finish. */
    public void removeAdapter(String name) {
        PointerByReference err = new PointerByReference();
        Pointer model = acquire();
        try {
            Calls.check(Library.bmn_model_remove_adapter(model, Calls.utf8(name), err), err);
        } finally {
            release();
        }
    }
}
