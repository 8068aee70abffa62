/* A whole life of every kind of handle, successes and failures, on a model small enough for valgrind: nothing is left, nothing is
 * read that is not there. Arguments: the model, an adapter for it. */
#include "check.h"

static int32_t go_on(void *user_data, uint64_t done, uint64_t of) {
    CHECK(done <= of);
    ++*(int *)user_data;
    return 0;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_model *m = NULL;
    bmn_adapter *a = NULL;
    bmn_session *s = NULL;
    bmn_cancel *stop = bmn_cancel_new();
    bmn_schema *sc = schema("{\"labels\": [\"drug\"], \"classes\": [\"yes\", \"no\"]}");
    bmn_run_options o;
    bmn_result *r = NULL, *many[3];
    bmn_status statuses[3];
    bmn_str docs[3];
    uint32_t unit;
    size_t i;
    int calls = 0;
    CHECK(argc == 3);
    OK(bmn_runtime_new(NULL, &rt, err));
    FAILS(BMN_E_NOT_FOUND, "nowhere", bmn_model_open(rt, "nowhere", NULL, &m, err));
    OK(bmn_model_plan(rt, argv[1], NULL, &r, err));
    bmn_result_free(r);
    OK(bmn_model_open(rt, argv[1], NULL, &m, err));
    OK(bmn_adapter_open(m, argv[2], &a, err));
    OK(bmn_model_set_adapter(m, "a", a, NULL, err));
    bmn_adapter_free(a);
    OK(bmn_session_new(m, &s, err));
    bmn_model_free(m); /* the session keeps it */
    bmn_runtime_free(rt);
    docs[0] = str("take \xf0\x9f\x92\x8a aspirin");
    docs[1] = str("not UTF-8: \xff");
    docs[2] = str("");
    bmn_run_options_init(&o, sizeof o);
    o.max_spans = 2;
    o.adapter = "a";
    o.cancel = stop;
    o.progress = go_on;
    o.progress_user_data = &calls;
    OK(bmn_extract(s, sc, docs, 3, &o, many, statuses, err));
    CHECK(statuses[0] == BMN_OK && statuses[1] == BMN_E_INVALID_UTF8 && calls > 0);
    for (i = 0; i < 3; ++i) {
        for (unit = 0; unit < 3; ++unit)
            CHECK(strlen(bmn_result_json(many[i], unit)) > 0);
        bmn_result_free(many[i]);
    }
    OK(bmn_classify(s, sc, docs, 1, NULL, &r, NULL, err));
    CHECK(bmn_result_score_count(r) == 2);
    bmn_result_free(r);
    bmn_cancel_trigger(stop);
    OK(bmn_extract(s, sc, docs, 1, &o, many, statuses, err));
    CHECK(statuses[0] == BMN_E_CANCELLED);
    bmn_result_free(many[0]);
    FAILS(BMN_E_INVALID_ARGUMENT, "adapter", (o.adapter = "b", bmn_extract(s, sc, docs, 1, &o, many, NULL, err)));
    bmn_cancel_free(stop);
    bmn_schema_free(sc);
    bmn_session_free(s);
    puts("life: ok");
    return 0;
}
