/* One question by the model alone, by an adapter, and by the adapter that takes its place while the session stays open:
 * adapter MODEL ADAPTER ANOTHER */
#include <biomistral_nlu.h>
#include <stdio.h>

static int swap(const bmn_model *model, const char *folder, bmn_error **err) {
    bmn_adapter *adapter = NULL;
    uint64_t generation = 0;
    bmn_status status = bmn_adapter_open(model, folder, &adapter, err);
    if (status == BMN_OK)
        status = bmn_model_set_adapter(model, "current", adapter, &generation, err);
    bmn_adapter_free(adapter); /* the name keeps it */
    printf("generation %u\n", (unsigned)generation);
    return status;
}

static int ask(bmn_session *session, const char *adapter, bmn_error **err) {
    bmn_str choices[2] = {{"yes", 3}, {"no", 2}};
    bmn_question q = {{"Is metformin an antidiabetic drug?", 34}, {NULL, 0}, choices, 2};
    bmn_run_options options;
    bmn_result *result = NULL;
    bmn_status status;
    bmn_run_options_init(&options, sizeof options);
    options.adapter = adapter;
    status = bmn_answer(session, &q, 1, &options, &result, NULL, err);
    if (status == BMN_OK)
        printf("%s: %s\n", adapter ? adapter : "model", bmn_result_label(result));
    bmn_result_free(result);
    return status;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_model *model = NULL;
    bmn_session *session = NULL;
    bmn_error *err = NULL;
    if (argc < 4 || bmn_runtime_new(NULL, &rt, &err) || bmn_model_open(rt, argv[1], NULL, &model, &err) ||
        bmn_session_new(model, &session, &err) || ask(session, NULL, &err) || swap(model, argv[2], &err) ||
        ask(session, "current", &err) || swap(model, argv[3], &err) || ask(session, "current", &err))
        return fprintf(stderr, "%s\n", err ? bmn_error_message(err) : "usage: adapter MODEL ADAPTER ANOTHER"), 1;
    bmn_session_free(session);
    bmn_model_free(model);
    bmn_runtime_free(rt);
    return 0;
}
