/* Every function with every pointer NULL, every number out of range, struct sizes of 0, too small and too large, text that is
 * not UTF-8, lengths beyond memory, handles of another kind and freed ones. Argument: the model. */
#include "check.h"

static int logged;
static void count_log(void *user_data, int32_t level, const char *target, const char *message) {
    (void)user_data, (void)level, (void)target;
    CHECK(strstr(message, "CANARY") == NULL);
    ++logged;
}

static void no_handles(void) {
    CHECK(bmn_error_status(NULL) == BMN_E_INVALID_ARGUMENT && bmn_error_message(NULL) == NULL);
    bmn_error_free(NULL);
    bmn_runtime_free(NULL);
    bmn_model_free(NULL);
    bmn_adapter_free(NULL);
    bmn_session_free(NULL);
    bmn_cancel_free(NULL);
    bmn_cancel_trigger(NULL);
    bmn_cancel_reset(NULL);
    bmn_schema_free(NULL);
    bmn_result_free(NULL);
    bmn_runtime_options_init(NULL, sizeof(bmn_runtime_options));
    bmn_model_options_init(NULL, sizeof(bmn_model_options));
    bmn_run_options_init(NULL, sizeof(bmn_run_options));
    CHECK(bmn_model_info_json(NULL) == NULL);
    CHECK(bmn_result_span_count(NULL) == 0 && bmn_result_link_count(NULL) == 0 && bmn_result_score_count(NULL) == 0);
    CHECK(bmn_result_occurrence_count(NULL, 0) == 0 && bmn_result_label(NULL) == NULL);
    CHECK(bmn_result_number(NULL) != bmn_result_number(NULL)); /* NaN */
    CHECK(bmn_result_outside_mass(NULL) != bmn_result_outside_mass(NULL));
    CHECK(bmn_result_json(NULL, BMN_UNIT_BYTE) == NULL);
    CHECK(strcmp(bmn_status_name(BMN_E_BUSY), "BMN_E_BUSY") == 0);
    CHECK(strcmp(bmn_status_name(-7), "BMN_E_UNKNOWN") == 0);
    CHECK(strstr(bmn_build_info(), bmn_version_string()) != NULL);
    CHECK(bmn_abi_version() == BMN_ABI_VERSION);
}

static void runtimes(void) {
    bmn_runtime *rt = NULL;
    bmn_runtime_options o;
    unsigned char larger[sizeof(bmn_runtime_options) + 64];
    FAILS(BMN_E_INVALID_ARGUMENT, "out: expected a pointer, found NULL", bmn_runtime_new(NULL, NULL, err));
    bmn_runtime_options_init(&o, sizeof o);
    CHECK(o.struct_size == sizeof o && o.device == BMN_DEVICE_CPU);
    o.device = -3;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.device", bmn_runtime_new(&o, &rt, err));
    o.device = BMN_DEVICE_CPU;
    o.threads = 1u << 30;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.threads", bmn_runtime_new(&o, &rt, err));
    o.threads = 0;
    o.struct_size = 0;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_runtime_new(&o, &rt, err));
    o.struct_size = 4;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_runtime_new(&o, &rt, err));
    o.struct_size = 0xffffffffu;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_runtime_new(&o, &rt, err));
    CHECK(rt == NULL);
    /* A newer program: fields that this library does not know are refused unless they are zero. */
    memset(larger, 0, sizeof larger);
    bmn_runtime_options_init((bmn_runtime_options *)(void *)larger, sizeof larger);
    OK(bmn_runtime_new((bmn_runtime_options *)(void *)larger, &rt, err));
    bmn_runtime_free(rt);
    larger[sizeof larger - 1] = 1;
    FAILS(BMN_E_ABI, "newer", bmn_runtime_new((bmn_runtime_options *)(void *)larger, &rt, err));
    /* An older program: what it lacks has its default. */
    o.struct_size = 16;
    OK(bmn_runtime_new(&o, &rt, err));
    bmn_runtime_free(rt);
}

static void schemas(void) {
    bmn_schema *s = NULL;
    const char *good = "{\"labels\": [\"drug\"]}";
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_schema_from_json(good, strlen(good), NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "json: expected a pointer", bmn_schema_from_json(NULL, 5, &s, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "schema", bmn_schema_from_json(NULL, 0, &s, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "in memory", bmn_schema_from_json(good, (size_t)-1, &s, err));
    FAILS(BMN_E_INVALID_UTF8, "byte at 2", bmn_schema_from_json("{\"\xff\"}", 5, &s, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "\"lables\"", bmn_schema_from_json("{\"lables\": []}", 14, &s, err));
    CHECK(s == NULL);
}

static void others(const char *path) {
    bmn_runtime_options o;
    bmn_runtime *rt = NULL, *small = NULL;
    bmn_model *m = NULL;
    bmn_model_options mo;
    bmn_session *ses = NULL;
    bmn_adapter *a = NULL;
    bmn_result *r[2] = {NULL, NULL};
    bmn_status st[2] = {-1, -1};
    bmn_run_options ro;
    bmn_span span;
    bmn_link link;
    bmn_score score;
    uint64_t start, end;
    bmn_schema *sc = schema("{\"labels\": [\"drug\"], \"classes\": [\"a\", \"b\"], "
                            "\"relations\": [{\"name\": \"r\", \"head\": [\"drug\"], \"tail\": [\"drug\"]}]}");
    bmn_cancel *cancel = bmn_cancel_new();
    bmn_str docs[2], huge;
    bmn_mention mention;
    bmn_relate_doc rd;
    bmn_question q;
    bmn_pair pair;

    bmn_runtime_options_init(&o, sizeof o);
    o.log = count_log;
    o.log_level = BMN_LOG_DEBUG;
    OK(bmn_runtime_new(&o, &rt, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "runtime", bmn_model_open(NULL, path, NULL, &m, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "path", bmn_model_open(rt, NULL, NULL, &m, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_model_open(rt, path, NULL, NULL, err));
    FAILS(BMN_E_NOT_FOUND, "/nowhere", bmn_model_open(rt, "/nowhere", NULL, &m, err));
    FAILS(BMN_E_INVALID_UTF8, "path", bmn_model_open(rt, "/\xff", NULL, &m, err));
    /* Another kind of handle where a runtime is due. */
    FAILS(BMN_E_INVALID_ARGUMENT, "live handle", bmn_model_open((bmn_runtime *)(void *)sc, path, NULL, &m, err));
    bmn_model_options_init(&mo, sizeof mo);
    mo.chat_template = 9;
    FAILS(BMN_E_INVALID_ARGUMENT, "chat_template", bmn_model_open(rt, path, &mo, &m, err));
    mo.chat_template = BMN_TEMPLATE_DEFAULT;
    mo.expected_weights = "sha256:0";
    FAILS(BMN_E_INTEGRITY, "weights", bmn_model_open(rt, path, &mo, &m, err));
    mo.expected_weights = NULL;
    mo.context = 1u << 30;
    FAILS(BMN_E_INVALID_ARGUMENT, "context", bmn_model_open(rt, path, &mo, &m, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_model_plan(rt, path, NULL, NULL, err));
    FAILS(BMN_E_NOT_FOUND, "/nowhere", bmn_model_plan(rt, "/nowhere", NULL, r, err));
    OK(bmn_model_plan(rt, path, NULL, r, err));
    CHECK(strstr(bmn_result_json(r[0], BMN_UNIT_BYTE), "\"weights\"") != NULL);
    bmn_result_free(r[0]);
    o.memory_limit = 1000000;
    OK(bmn_runtime_new(&o, &small, err));
    FAILS(BMN_E_OUT_OF_MEMORY, "bytes", bmn_model_open(small, path, NULL, &m, err));
    bmn_runtime_free(small);
    o.memory_limit = 0;
    o.device = 99;
    OK(bmn_runtime_new(&o, &small, err));
    { /* a library that was built without kernels cannot tell */
        bmn_status status = bmn_model_open(small, path, NULL, &m, NULL);
        CHECK(status == BMN_E_NO_DEVICE || status == BMN_E_UNSUPPORTED);
    }
    bmn_runtime_free(small);
    CHECK(m == NULL);
    OK(bmn_model_open(rt, path, NULL, &m, err));
    bmn_runtime_free(rt); /* the model keeps what it needs */
    CHECK(strstr(bmn_model_info_json(m), "\"weights\"") != NULL && logged > 0);
    FAILS(BMN_E_INVALID_ARGUMENT, "model", bmn_adapter_open(NULL, "/x", &a, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "path", bmn_adapter_open(m, NULL, &a, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_adapter_open(m, "/x", NULL, err));
    FAILS(BMN_E_NOT_FOUND, "/x", bmn_adapter_open(m, "/x", &a, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "adapter", bmn_model_set_adapter(m, "n", NULL, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "name", bmn_model_set_adapter(m, NULL, NULL, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "model", bmn_model_set_adapter(NULL, "n", NULL, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "name", bmn_model_remove_adapter(m, "n", err));
    FAILS(BMN_E_INVALID_ARGUMENT, "model", bmn_session_new(NULL, &ses, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_session_new(m, NULL, err));
    OK(bmn_session_new(m, &ses, err));

    docs[0] = str("aspirin CANARY");
    docs[1] = str("bad \xff text CANARY");
    FAILS(BMN_E_INVALID_ARGUMENT, "session", bmn_extract(NULL, sc, docs, 1, NULL, r, st, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "schema", bmn_extract(ses, NULL, docs, 1, NULL, r, st, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "docs", bmn_extract(ses, sc, NULL, 1, NULL, r, st, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "results", bmn_extract(ses, sc, docs, 1, NULL, NULL, st, err));
    OK(bmn_extract(ses, sc, NULL, 0, NULL, NULL, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "docs", bmn_extract(ses, sc, docs, (size_t)-1, NULL, r, st, err));
    bmn_run_options_init(&ro, sizeof ro);
    ro.flags = 0x80000000u;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.flags", bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    ro.flags = 0;
    ro.chat_template = 77;
    FAILS(BMN_E_INVALID_ARGUMENT, "chat_template", bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    ro.chat_template = 0;
    ro.struct_size = 12;
    FAILS(BMN_E_ABI, "struct_size", bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    ro.struct_size = sizeof ro;
    ro.adapter = "nobody";
    FAILS(BMN_E_INVALID_ARGUMENT, "nobody", bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    ro.adapter = NULL;
    ro.cancel = (bmn_cancel *)(void *)sc;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.cancel", bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    ro.cancel = cancel;
    bmn_cancel_trigger(cancel);
    OK(bmn_extract(ses, sc, docs, 1, &ro, r, st, err));
    CHECK(st[0] == BMN_E_CANCELLED && bmn_result_span_count(r[0]) == 0);
    bmn_result_free(r[0]);
    bmn_cancel_reset(cancel);

    /* A bad document fails alone; without statuses it fails the call and nothing is written. No message holds its text. */
    OK(bmn_extract(ses, sc, docs, 2, &ro, r, st, err));
    CHECK(st[0] == BMN_OK && st[1] == BMN_E_INVALID_UTF8);
    CHECK(strstr(bmn_result_json(r[1], BMN_UNIT_BYTE), "\"code\":2") != NULL);
    CHECK(strstr(bmn_result_json(r[1], BMN_UNIT_BYTE), "CANARY") == NULL);
    FAILS(BMN_E_INVALID_ARGUMENT, "unit", bmn_result_span(r[0], 0, 3, &span, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "result", bmn_result_span(NULL, 0, 0, &span, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "i: expected an index", bmn_result_span(r[0], (size_t)-1, 0, &span, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "i: expected an index", bmn_result_link(r[0], 0, &link, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "i: expected an index", bmn_result_score(r[0], 1u << 20, &score, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "start", bmn_result_occurrence(r[0], 0, 0, 0, NULL, &end, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "end", bmn_result_occurrence(r[0], 0, 0, 0, &start, NULL, err));
    CHECK(bmn_result_json(r[0], 3) == NULL);
    score.struct_size = 0;
    FAILS(BMN_E_ABI, "out.struct_size", bmn_result_score(r[0], 0, &score, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_result_score(r[0], 0, NULL, err));
    /* No more is written than the size says. */
    memset(&score, 0x5a, sizeof score);
    score.struct_size = 16;
    OK(bmn_result_score(r[0], 0, &score, err));
    CHECK(strcmp(score.label, "drug") == 0 && ((unsigned char *)&score)[16] == 0x5a);
    bmn_result_free(r[0]);
    bmn_result_free(r[1]);
    r[0] = NULL;
    FAILS(BMN_E_INVALID_UTF8, "document 1: document: expected UTF-8, found another byte at 4",
          bmn_extract(ses, sc, docs, 2, &ro, r, NULL, err));
    CHECK(r[0] == NULL);
    huge.ptr = docs[0].ptr;
    huge.len = (size_t)-1;
    FAILS(BMN_E_INVALID_ARGUMENT, "in memory", bmn_extract(ses, sc, &huge, 1, NULL, r, NULL, err));
    huge.ptr = NULL;
    huge.len = (size_t)4 << 30;
    FAILS(BMN_E_INVALID_ARGUMENT, "document", bmn_extract(ses, sc, &huge, 1, NULL, r, NULL, err));
    huge.ptr = docs[0].ptr; /* refused before it is read */
    FAILS(BMN_E_TOO_LONG, "2147483647", bmn_extract(ses, sc, &huge, 1, NULL, r, NULL, err));

    FAILS(BMN_E_INVALID_ARGUMENT, "docs", bmn_events(ses, sc, NULL, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "events: expected at least 1", bmn_events(ses, sc, docs, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "schema", bmn_events(ses, NULL, docs, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "session", bmn_classify(NULL, sc, docs, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "schema", bmn_classify(ses, NULL, docs, 1, NULL, r, NULL, err));
    ro.flags = BMN_RUN_WINDOW;
    FAILS(BMN_E_UNSUPPORTED, "windows", bmn_classify(ses, sc, docs, 1, &ro, r, NULL, err));
    ro.flags = 0;
    rd.text = docs[0];
    rd.mentions = &mention;
    rd.n_mentions = 1;
    mention.label = NULL;
    mention.start = 0;
    mention.end = 7;
    FAILS(BMN_E_INVALID_ARGUMENT, "mention.label", bmn_relate(ses, sc, &rd, 1, NULL, r, NULL, err));
    mention.label = "drug";
    mention.end = 1000;
    FAILS(BMN_E_INVALID_ARGUMENT, "document 0", bmn_relate(ses, sc, &rd, 1, NULL, r, NULL, err));
    mention.end = UINT64_MAX;
    FAILS(BMN_E_INVALID_ARGUMENT, "document 0", bmn_relate(ses, sc, &rd, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "docs", bmn_relate(ses, sc, NULL, 1, NULL, r, NULL, err));
    memset(&q, 0, sizeof q);
    q.question = str("Which?");
    FAILS(BMN_E_INVALID_ARGUMENT, "document 0", bmn_answer(ses, &q, 1, NULL, r, NULL, err));
    q.n_options = 2;
    FAILS(BMN_E_INVALID_ARGUMENT, "options", bmn_answer(ses, &q, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "questions", bmn_answer(ses, NULL, 1, NULL, r, NULL, err));
    pair.a = str("a");
    pair.b = str("b");
    FAILS(BMN_E_INVALID_ARGUMENT, "pairs", bmn_entail(ses, NULL, 1, NULL, r, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "session", bmn_entail(NULL, &pair, 1, NULL, r, NULL, err));
    ro.scale_low = 5;
    ro.scale_high = 5;
    FAILS(BMN_E_INVALID_ARGUMENT, "low, high", bmn_similar(ses, &pair, 1, &ro, r, NULL, err));
    CHECK(r[0] == NULL);

    bmn_schema_free(sc);
    /* Recognised while the memory is nobody else's handle of this kind. */
    FAILS(BMN_E_INVALID_ARGUMENT, "schema", bmn_extract(ses, sc, docs, 1, NULL, r, NULL, err));
    bmn_schema_free(sc);
    bmn_cancel_free(cancel);
    bmn_session_free(ses);
    bmn_model_free(m);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    no_handles();
    runtimes();
    schemas();
    others(argv[1]);
    puts("hostile: ok");
    return 0;
}
