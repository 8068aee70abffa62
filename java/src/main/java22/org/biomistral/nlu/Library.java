package org.biomistral.nlu;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Stream;

/**
 * The functions of {@code biomistral_nlu.h} by the foreign-function interface; signatures are those of the twin over JNA.
 *
 * <p>The library is looked for in the folder that the system property {@code org.biomistral.nlu.path} names, then in the
 * system's folders, then in this jar, from where it is unpacked into {@code java.io.tmpdir} while it is loaded.
 */
final class Library {
    /** ABI that this class is written for: the number in the library's soname. */
    private static final int ABI = 0;

    private static final SymbolLookup SYMBOLS = open();

    private static final MethodHandle ABI_VERSION = find("bmn_abi_version");
    private static final MethodHandle VERSION_STRING = find("bmn_version_string");
    private static final MethodHandle ERROR_MESSAGE = find("bmn_error_message");
    private static final MethodHandle ERROR_FREE = find("bmn_error_free");
    private static final MethodHandle RUNTIME_OPTIONS_INIT = find("bmn_runtime_options_init");
    private static final MethodHandle RUNTIME_NEW = find("bmn_runtime_new");
    private static final MethodHandle RUNTIME_FREE = find("bmn_runtime_free");
    private static final MethodHandle MODEL_OPEN = find("bmn_model_open");
    private static final MethodHandle MODEL_INFO_JSON = find("bmn_model_info_json");
    private static final MethodHandle MODEL_FREE = find("bmn_model_free");
    private static final MethodHandle ADAPTER_OPEN = find("bmn_adapter_open");
    private static final MethodHandle MODEL_SET_ADAPTER = find("bmn_model_set_adapter");
    private static final MethodHandle MODEL_REMOVE_ADAPTER = find("bmn_model_remove_adapter");
    private static final MethodHandle ADAPTER_FREE = find("bmn_adapter_free");
    private static final MethodHandle SESSION_NEW = find("bmn_session_new");
    private static final MethodHandle SESSION_FREE = find("bmn_session_free");
    private static final MethodHandle CANCEL_NEW = find("bmn_cancel_new");
    private static final MethodHandle CANCEL_TRIGGER = find("bmn_cancel_trigger");
    private static final MethodHandle CANCEL_RESET = find("bmn_cancel_reset");
    private static final MethodHandle CANCEL_FREE = find("bmn_cancel_free");
    private static final MethodHandle SCHEMA_FROM_JSON = find("bmn_schema_from_json");
    private static final MethodHandle SCHEMA_FREE = find("bmn_schema_free");
    private static final MethodHandle RUN_OPTIONS_INIT = find("bmn_run_options_init");
    private static final MethodHandle EXTRACT = find("bmn_extract");
    private static final MethodHandle EVENTS = find("bmn_events");
    private static final MethodHandle CLASSIFY = find("bmn_classify");
    private static final MethodHandle RELATE = find("bmn_relate");
    private static final MethodHandle ANSWER = find("bmn_answer");
    private static final MethodHandle ENTAIL = find("bmn_entail");
    private static final MethodHandle SIMILAR = find("bmn_similar");
    private static final MethodHandle TRAINER_OPEN = find("bmn_trainer_open");
    private static final MethodHandle TRAINER_PLAN_JSON = find("bmn_trainer_plan_json");
    private static final MethodHandle TRAIN_OPTIONS_INIT = find("bmn_train_options_init");
    private static final MethodHandle TRAINER_RUN = find("bmn_trainer_run");
    private static final MethodHandle TRAINER_OUTPUT = find("bmn_trainer_output");
    private static final MethodHandle TRAINER_FREE = find("bmn_trainer_free");
    private static final MethodHandle MERGE_OPTIONS_INIT = find("bmn_merge_options_init");
    private static final MethodHandle MERGE = find("bmn_merge");
    private static final MethodHandle RESULT_SPAN_COUNT = find("bmn_result_span_count");
    private static final MethodHandle RESULT_SPAN = find("bmn_result_span");
    private static final MethodHandle RESULT_LINK_COUNT = find("bmn_result_link_count");
    private static final MethodHandle RESULT_LINK = find("bmn_result_link");
    private static final MethodHandle RESULT_SCORE_COUNT = find("bmn_result_score_count");
    private static final MethodHandle RESULT_SCORE = find("bmn_result_score");
    private static final MethodHandle RESULT_LABEL = find("bmn_result_label");
    private static final MethodHandle RESULT_NUMBER = find("bmn_result_number");
    private static final MethodHandle RESULT_OUTSIDE_MASS = find("bmn_result_outside_mass");
    private static final MethodHandle RESULT_JSON = find("bmn_result_json");
    private static final MethodHandle RESULT_FREE = find("bmn_result_free");

    static {
        int found = bmn_abi_version();
        if (found != ABI) {
            throw new UnsatisfiedLinkError("biomistral_nlu: expected ABI " + ABI + ", found " + found);
        }
    }

    private Library() {}

    private static SymbolLookup open() {
        String folder = System.getProperty("org.biomistral.nlu.path");
        if (folder != null) {
            return SymbolLookup.libraryLookup(Path.of(folder, "libbiomistral_nlu.so"), Arena.global());
        }
        try {
            return SymbolLookup.libraryLookup("libbiomistral_nlu.so", Arena.global());
        } catch (IllegalArgumentException absent) {
            return unpacked();
        }
    }

    private static SymbolLookup unpacked() {
        try (InputStream library = Library.class.getResourceAsStream("/linux-x86-64/libbiomistral_nlu.so")) {
            if (library == null) {
                throw new UnsatisfiedLinkError("libbiomistral_nlu.so: expected in org.biomistral.nlu.path, the system or the jar");
            }
            Path copy = Files.createTempFile("libbiomistral_nlu", ".so");
            try {
                Files.copy(library, copy, StandardCopyOption.REPLACE_EXISTING);
                return SymbolLookup.libraryLookup(copy, Arena.global());
            } finally {
                Files.delete(copy);
            }
        } catch (IOException e) {
            throw new LinkageError("libbiomistral_nlu.so: cannot be unpacked", e);
        }
    }

    /** The function of this class's method of that name, by its signature. */
    private static MethodHandle find(String name) {
        Method method = Stream.of(Library.class.getDeclaredMethods()).filter(m -> m.getName().equals(name)).findFirst()
                .orElseThrow();
        return Linker.nativeLinker().downcallHandle(
                SYMBOLS.find(name).orElseThrow(() -> new UnsatisfiedLinkError(name)),
                descriptor(MethodType.methodType(method.getReturnType(), method.getParameterTypes())));
    }

    static FunctionDescriptor descriptor(MethodType type) {
        MemoryLayout[] arguments = type.parameterList().stream().map(Library::layout).toArray(MemoryLayout[]::new);
        return type.returnType() == void.class
                ? FunctionDescriptor.ofVoid(arguments)
                : FunctionDescriptor.of(layout(type.returnType()), arguments);
    }

    private static MemoryLayout layout(Class<?> type) {
        if (type == int.class) {
            return ValueLayout.JAVA_INT;
        }
        return type == long.class ? ValueLayout.JAVA_LONG : ValueLayout.JAVA_DOUBLE;
    }

    /** A downcall throws only where it was made wrongly. */
    private static LinkageError wrong(Throwable cause) {
        return new LinkageError("a downcall failed", cause);
    }

    static int bmn_abi_version() {
        try {
            return (int) ABI_VERSION.invokeExact();
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_version_string() {
        try {
            return (long) VERSION_STRING.invokeExact();
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_error_message(long error) {
        try {
            return (long) ERROR_MESSAGE.invokeExact(error);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_error_free(long error) {
        try {
            ERROR_FREE.invokeExact(error);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_runtime_options_init(long options, long size) {
        try {
            RUNTIME_OPTIONS_INIT.invokeExact(options, size);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_runtime_new(long options, long out, long err) {
        try {
            return (int) RUNTIME_NEW.invokeExact(options, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_runtime_free(long runtime) {
        try {
            RUNTIME_FREE.invokeExact(runtime);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_model_open(long runtime, long path, long options, long out, long err) {
        try {
            return (int) MODEL_OPEN.invokeExact(runtime, path, options, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_model_info_json(long model) {
        try {
            return (long) MODEL_INFO_JSON.invokeExact(model);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_model_free(long model) {
        try {
            MODEL_FREE.invokeExact(model);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_adapter_open(long model, long path, long out, long err) {
        try {
            return (int) ADAPTER_OPEN.invokeExact(model, path, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_model_set_adapter(long model, long name, long adapter, long generation, long err) {
        try {
            return (int) MODEL_SET_ADAPTER.invokeExact(model, name, adapter, generation, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_model_remove_adapter(long model, long name, long err) {
        try {
            return (int) MODEL_REMOVE_ADAPTER.invokeExact(model, name, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_adapter_free(long adapter) {
        try {
            ADAPTER_FREE.invokeExact(adapter);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_session_new(long model, long out, long err) {
        try {
            return (int) SESSION_NEW.invokeExact(model, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_session_free(long session) {
        try {
            SESSION_FREE.invokeExact(session);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_cancel_new() {
        try {
            return (long) CANCEL_NEW.invokeExact();
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_cancel_trigger(long cancel) {
        try {
            CANCEL_TRIGGER.invokeExact(cancel);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_cancel_reset(long cancel) {
        try {
            CANCEL_RESET.invokeExact(cancel);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_cancel_free(long cancel) {
        try {
            CANCEL_FREE.invokeExact(cancel);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_schema_from_json(long json, long len, long out, long err) {
        try {
            return (int) SCHEMA_FROM_JSON.invokeExact(json, len, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_schema_free(long schema) {
        try {
            SCHEMA_FREE.invokeExact(schema);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_run_options_init(long options, long size) {
        try {
            RUN_OPTIONS_INIT.invokeExact(options, size);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_extract(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err) {
        try {
            return (int) EXTRACT.invokeExact(session, schema, docs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_events(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err) {
        try {
            return (int) EVENTS.invokeExact(session, schema, docs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_classify(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err) {
        try {
            return (int) CLASSIFY.invokeExact(session, schema, docs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_relate(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err) {
        try {
            return (int) RELATE.invokeExact(session, schema, docs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_answer(long session, long questions, long n, long options, long results, long statuses, long err) {
        try {
            return (int) ANSWER.invokeExact(session, questions, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_entail(long session, long pairs, long n, long options, long results, long statuses, long err) {
        try {
            return (int) ENTAIL.invokeExact(session, pairs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_similar(long session, long pairs, long n, long options, long results, long statuses, long err) {
        try {
            return (int) SIMILAR.invokeExact(session, pairs, n, options, results, statuses, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_trainer_open(long runtime, long config, int flags, long out, long err) {
        try {
            return (int) TRAINER_OPEN.invokeExact(runtime, config, flags, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_trainer_plan_json(long trainer) {
        try {
            return (long) TRAINER_PLAN_JSON.invokeExact(trainer);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_train_options_init(long options, long size) {
        try {
            TRAIN_OPTIONS_INIT.invokeExact(options, size);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_trainer_run(long trainer, long options, long err) {
        try {
            return (int) TRAINER_RUN.invokeExact(trainer, options, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_trainer_output(long trainer) {
        try {
            return (long) TRAINER_OUTPUT.invokeExact(trainer);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_trainer_free(long trainer) {
        try {
            TRAINER_FREE.invokeExact(trainer);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_merge_options_init(long options, long size) {
        try {
            MERGE_OPTIONS_INIT.invokeExact(options, size);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_merge(long base, long sources, long n, long options, long folder, long err) {
        try {
            return (int) MERGE.invokeExact(base, sources, n, options, folder, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_result_span_count(long result) {
        try {
            return (long) RESULT_SPAN_COUNT.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_result_span(long result, long i, int unit, long out, long err) {
        try {
            return (int) RESULT_SPAN.invokeExact(result, i, unit, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_result_link_count(long result) {
        try {
            return (long) RESULT_LINK_COUNT.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_result_link(long result, long i, long out, long err) {
        try {
            return (int) RESULT_LINK.invokeExact(result, i, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_result_score_count(long result) {
        try {
            return (long) RESULT_SCORE_COUNT.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static int bmn_result_score(long result, long i, long out, long err) {
        try {
            return (int) RESULT_SCORE.invokeExact(result, i, out, err);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_result_label(long result) {
        try {
            return (long) RESULT_LABEL.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static double bmn_result_number(long result) {
        try {
            return (double) RESULT_NUMBER.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static double bmn_result_outside_mass(long result) {
        try {
            return (double) RESULT_OUTSIDE_MASS.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static long bmn_result_json(long result, int unit) {
        try {
            return (long) RESULT_JSON.invokeExact(result, unit);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }

    static void bmn_result_free(long result) {
        try {
            RESULT_FREE.invokeExact(result);
        } catch (Throwable e) {
            throw wrong(e);
        }
    }
}
