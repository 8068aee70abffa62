package org.biomistral.nlu;

import com.sun.jna.Callback;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;

/**
 * The functions of {@code biomistral_nlu.h}. {@code size_t} is 64 bits wide: other machines are refused.
 *
 * <p>The library is looked for in the folder that the system property {@code org.biomistral.nlu.path} names, then in
 * {@code jna.library.path} and the system's folders, then in this jar, from where JNA unpacks it into its temporary folder.
 */
final class Library {
    /** ABI that this class is written for: the number in the library's soname. */
    private static final int ABI = 0;

    static {
        if (Native.SIZE_T_SIZE != 8 || Native.POINTER_SIZE != 8) {
            throw new UnsatisfiedLinkError("biomistral_nlu: expected a 64-bit machine");
        }
        String path = System.getProperty("org.biomistral.nlu.path");
        if (path != null) {
            NativeLibrary.addSearchPath("biomistral_nlu", path);
        }
        Native.register(Library.class, NativeLibrary.getInstance("biomistral_nlu"));
        int found = bmn_abi_version();
        if (found != ABI) {
            throw new UnsatisfiedLinkError("biomistral_nlu: expected ABI " + ABI + ", found " + found);
        }
    }

    private Library() {}

    /** {@code bmn_progress_fn}. */
    interface Progress extends Callback {
        int invoke(Pointer userData, long done, long of);
    }

    /** {@code bmn_log_fn}. */
    interface Log extends Callback {
        void invoke(Pointer userData, int level, String target, String message);
    }

    static native int bmn_abi_version();

    static native String bmn_version_string();

    static native int bmn_error_status(Pointer error);

    static native Pointer bmn_error_message(Pointer error);

    static native void bmn_error_free(Pointer error);

    static native void bmn_runtime_options_init(Pointer options, long size);

    static native int bmn_runtime_new(Pointer options, PointerByReference out, PointerByReference err);

    static native void bmn_runtime_free(Pointer runtime);

    static native void bmn_model_options_init(Pointer options, long size);

    static native int bmn_model_open(
            Pointer runtime, Pointer path, Pointer options, PointerByReference out, PointerByReference err);

    static native Pointer bmn_model_info_json(Pointer model);

    static native void bmn_model_free(Pointer model);

    static native int bmn_adapter_open(Pointer model, Pointer path, PointerByReference out, PointerByReference err);

    static native int bmn_model_set_adapter(
            Pointer model, Pointer name, Pointer adapter, LongByReference generation, PointerByReference err);

    static native int bmn_model_remove_adapter(Pointer model, Pointer name, PointerByReference err);

    static native void bmn_adapter_free(Pointer adapter);

    static native int bmn_session_new(Pointer model, PointerByReference out, PointerByReference err);

    static native void bmn_session_free(Pointer session);

    static native Pointer bmn_cancel_new();

    static native void bmn_cancel_trigger(Pointer cancel);

    static native void bmn_cancel_reset(Pointer cancel);

    static native void bmn_cancel_free(Pointer cancel);

    static native int bmn_schema_from_json(Pointer json, long len, PointerByReference out, PointerByReference err);

    static native void bmn_schema_free(Pointer schema);

    static native void bmn_run_options_init(Pointer options, long size);

    static native int bmn_extract(
            Pointer session, Pointer schema, Pointer docs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_events(
            Pointer session, Pointer schema, Pointer docs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_classify(
            Pointer session, Pointer schema, Pointer docs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_relate(
            Pointer session, Pointer schema, Pointer docs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_answer(
            Pointer session, Pointer questions, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_entail(
            Pointer session, Pointer pairs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native int bmn_similar(
            Pointer session, Pointer pairs, long n, Pointer options, Pointer results, Pointer statuses,
            PointerByReference err);

    static native long bmn_result_span_count(Pointer result);

    static native int bmn_result_span(Pointer result, long i, int unit, Pointer out, PointerByReference err);

    static native long bmn_result_link_count(Pointer result);

    static native int bmn_result_link(Pointer result, long i, Pointer out, PointerByReference err);

    static native long bmn_result_score_count(Pointer result);

    static native int bmn_result_score(Pointer result, long i, Pointer out, PointerByReference err);

    static native Pointer bmn_result_label(Pointer result);

    static native double bmn_result_number(Pointer result);

    static native double bmn_result_outside_mass(Pointer result);

    static native Pointer bmn_result_json(Pointer result, int unit);

    static native void bmn_result_free(Pointer result);
}
