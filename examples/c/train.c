/* Trains an adapter from a configuration file, then answers with it: train CONFIG MODEL
 * MODEL is the one that CONFIG names; docs/training.md says what CONFIG holds. A second call goes on where one was stopped. */
#include <biomistral_nlu.h>
#include <stdio.h>

static int32_t show(void *user_data, const bmn_train_event *event) {
    (void)user_data;
    if (event->kind == BMN_TRAIN_STEP)
        printf("step %u of %u: loss %.3f, %.0f tokens/s, %.0f s left\n", (unsigned)event->step, (unsigned)event->steps,
               event->loss, event->tokens_per_second, event->seconds_left);
    return 0; /* non-zero stops after this step, with everything saved */
}

static int ask(const bmn_model *model, bmn_error **err) {
    bmn_str choices[2] = {{"yes", 3}, {"no", 2}};
    bmn_question q = {{"Is aspirin a drug?", 18}, {NULL, 0}, choices, 2};
    bmn_session *session = NULL;
    bmn_result *result = NULL;
    bmn_run_options options;
    bmn_run_options_init(&options, sizeof options);
    options.adapter = "trained";
    bmn_status status = bmn_session_new(model, &session, err);
    if (status == BMN_OK)
        status = bmn_answer(session, &q, 1, &options, &result, NULL, err);
    if (status == BMN_OK)
        printf("%s %s\n", q.question.ptr, bmn_result_label(result));
    bmn_result_free(result);
    bmn_session_free(session);
    return status;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_trainer *trainer = NULL;
    bmn_model *model = NULL;
    bmn_adapter *adapter = NULL;
    bmn_error *err = NULL;
    bmn_train_options options;
    bmn_train_options_init(&options, sizeof options);
    options.progress = show;
    if (argc < 3 || bmn_runtime_new(NULL, &rt, &err) || bmn_trainer_open(rt, argv[1], BMN_TRAIN_RESUME, &trainer, &err) ||
        bmn_trainer_run(trainer, &options, &err) || bmn_model_open(rt, argv[2], NULL, &model, &err) ||
        bmn_adapter_open(model, bmn_trainer_output(trainer), &adapter, &err) ||
        bmn_model_set_adapter(model, "trained", adapter, NULL, &err) || ask(model, &err))
        return fprintf(stderr, "%s\n", err ? bmn_error_message(err) : "usage: train CONFIG MODEL"), 1;
    bmn_adapter_free(adapter);
    bmn_model_free(model);
    bmn_trainer_free(trainer);
    bmn_runtime_free(rt);
    return 0;
}
