package org.biomistral.nlu;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;

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

    static native int bmn_abi_version();

    static native long bmn_version_string();

    static native long bmn_error_message(long error);

    static native void bmn_error_free(long error);

    static native void bmn_runtime_options_init(long options, long size);

    static native int bmn_runtime_new(long options, long out, long err);

    static native void bmn_runtime_free(long runtime);

    static native int bmn_model_open(
            long runtime, long path, long options, long out, long err);

    static native long bmn_model_info_json(long model);

    static native void bmn_model_free(long model);

    static native int bmn_adapter_open(long model, long path, long out, long err);

    static native int bmn_model_set_adapter(
            long model, long name, long adapter, long generation, long err);

    static native int bmn_model_remove_adapter(long model, long name, long err);

    static native void bmn_adapter_free(long adapter);

    static native int bmn_session_new(long model, long out, long err);

    static native void bmn_session_free(long session);

    static native long bmn_cancel_new();

    static native void bmn_cancel_trigger(long cancel);

    static native void bmn_cancel_reset(long cancel);

    static native void bmn_cancel_free(long cancel);

    static native int bmn_schema_from_json(long json, long len, long out, long err);

    static native void bmn_schema_free(long schema);

    static native void bmn_run_options_init(long options, long size);

    static native int bmn_extract(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_events(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_classify(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_relate(
            long session, long schema, long docs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_answer(
            long session, long questions, long n, long options, long results, long statuses,
            long err);

    static native int bmn_entail(
            long session, long pairs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_similar(
            long session, long pairs, long n, long options, long results, long statuses,
            long err);

    static native int bmn_trainer_open(
            long runtime, long config, int flags, long out, long err);

    static native long bmn_trainer_plan_json(long trainer);

    static native void bmn_train_options_init(long options, long size);

    static native int bmn_trainer_run(long trainer, long options, long err);

    static native long bmn_trainer_output(long trainer);

    static native void bmn_trainer_free(long trainer);

    static native void bmn_merge_options_init(long options, long size);

    static native int bmn_merge(
            long base, long sources, long n, long options, long folder, long err);

    static native long bmn_result_span_count(long result);

    static native int bmn_result_span(long result, long i, int unit, long out, long err);

    static native long bmn_result_link_count(long result);

    static native int bmn_result_link(long result, long i, long out, long err);

    static native long bmn_result_score_count(long result);

    static native int bmn_result_score(long result, long i, long out, long err);

    static native long bmn_result_label(long result);

    static native double bmn_result_number(long result);

    static native double bmn_result_outside_mass(long result);

    static native long bmn_result_json(long result, int unit);

    static native void bmn_result_free(long result);
}
