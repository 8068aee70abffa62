/* Training and merging on a model so small that it takes a second: everything that is refused, a run that is stopped by the
 * callback and by the flag and gone on with, its adapter in an open model, and the model that the adapter is merged into.
 * Arguments: a folder of tests/abi/tiny.py without a run, an adapter for its model, a folder's path that does not exist. */
#include "check.h"
#include <math.h>

/* Stands in every training record. */
static const char canary[] = "aspirin";

typedef struct {
    uint64_t stop_at, steps, saved;
    double first, last;
} watch;

static int32_t tell(void *user_data, const bmn_train_event *event) {
    watch *w = user_data;
    CHECK(event->struct_size == sizeof *event && event->steps == 6 && event->step <= event->steps);
    if (event->kind == BMN_TRAIN_STEP) {
        CHECK(event->loss > 0 && event->rate >= 0 && event->tokens_per_second > 0 && event->seconds_left >= 0);
        if (w->steps++ == 0)
            w->first = event->loss;
        w->last = event->loss;
        return event->step == w->stop_at;
    }
    CHECK(event->kind == BMN_TRAIN_SAVED && isnan(event->loss) && isnan(event->tokens_per_second));
    ++w->saved;
    return 0;
}

static int32_t stop_at_once(void *user_data, uint64_t done, uint64_t of) {
    CHECK(done <= of);
    ++*(int *)user_data;
    return 1;
}

static int logged;
static void log_line(void *user_data, int32_t level, const char *target, const char *message) {
    (void)user_data, (void)level, (void)target;
    CHECK(strstr(message, canary) == NULL);
    ++logged;
}

static char *joined(const char *folder, const char *name) {
    char *path = malloc(strlen(folder) + strlen(name) + 2);
    CHECK(path != NULL);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

static int exists(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f != NULL)
        fclose(f);
    return f != NULL;
}

static bmn_trainer *open_run(bmn_runtime *rt, const char *config, uint32_t flags) {
    bmn_trainer *t = NULL;
    OK(bmn_trainer_open(rt, config, flags, &t, err));
    CHECK(bmn_trainer_output(t) == NULL);
    return t;
}

/* The adapter's folder. */
static char *trained(bmn_runtime_options *ro, const char *config) {
    bmn_runtime *rt = NULL;
    bmn_trainer *t = NULL;
    bmn_train_options o;
    bmn_cancel *stop = bmn_cancel_new();
    char *output;
    watch w = {3, 0, 0, 0, 0};

    /* Nothing that is missing or wrong starts a run. */
    OK(bmn_runtime_new(ro, &rt, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "runtime", bmn_trainer_open(NULL, config, 0, &t, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "live handle", bmn_trainer_open((bmn_runtime *)(void *)stop, config, 0, &t, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "config", bmn_trainer_open(rt, NULL, 0, &t, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "out", bmn_trainer_open(rt, config, 0, NULL, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "flags", bmn_trainer_open(rt, config, 4, &t, err));
    FAILS(BMN_E_INVALID_UTF8, "config", bmn_trainer_open(rt, "\xff", 0, &t, err));
    FAILS(BMN_E_NOT_FOUND, "nothing.toml", bmn_trainer_open(rt, "nothing.toml", 0, &t, err));
    FAILS(BMN_E_MODEL_FORMAT, "modle", bmn_trainer_open(rt, "modle = 1", BMN_TRAIN_TEXT, &t, err));
    FAILS(BMN_E_NOT_FOUND, "nowhere", bmn_trainer_open(rt, "model = \"nowhere\"\noutput = \"x\"\ntrain = [{file = \"y\"}]\n"
                                                           "tuning = {method = \"lora\"}", BMN_TRAIN_TEXT, &t, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "trainer", bmn_trainer_run(NULL, NULL, err));
    CHECK(bmn_trainer_plan_json(NULL) == NULL && bmn_trainer_output(NULL) == NULL);
    CHECK(bmn_trainer_output((bmn_trainer *)(void *)stop) == NULL);
    bmn_train_options_init(NULL, sizeof o);
    bmn_trainer_free(NULL);
    bmn_trainer_free((bmn_trainer *)(void *)stop);
    bmn_runtime_free(rt);
    ro->memory_limit = 1000;
    OK(bmn_runtime_new(ro, &rt, err));
    FAILS(BMN_E_OUT_OF_MEMORY, "limit", bmn_trainer_open(rt, config, 0, &t, err));
    bmn_runtime_free(rt);
    ro->memory_limit = 0;
    OK(bmn_runtime_new(ro, &rt, err));

    /* Stopped by the callback, then by the flag, then gone on with by another trainer. */
    t = open_run(rt, config, 0);
    CHECK(strstr(bmn_trainer_plan_json(t), "\"steps\":6") != NULL);
    bmn_train_options_init(&o, sizeof o);
    o.flags = 1;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.flags", bmn_trainer_run(t, &o, err));
    o.flags = 0;
    o.struct_size = 0;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_trainer_run(t, &o, err));
    o.struct_size = 1u << 31;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_trainer_run(t, &o, err));
    o.struct_size = sizeof o;
    o.cancel = (bmn_cancel *)(void *)rt;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.cancel", bmn_trainer_run(t, &o, err));
    o.cancel = NULL;
    o.progress = tell;
    o.progress_user_data = &w;
    CHECK(bmn_trainer_run(t, &o, NULL) == BMN_E_CANCELLED);
    CHECK(w.steps == 3 && w.saved == 1 && bmn_trainer_output(t) == NULL);
    o.cancel = stop;
    bmn_cancel_trigger(stop);
    CHECK(bmn_trainer_run(t, &o, NULL) == BMN_E_CANCELLED);
    CHECK(w.steps == 4);
    bmn_trainer_free(t);
    FAILS(BMN_E_INVALID_ARGUMENT, "found one", bmn_trainer_open(rt, config, 0, &t, err));
    t = open_run(rt, config, BMN_TRAIN_RESUME);
    bmn_cancel_reset(stop);
    OK(bmn_trainer_run(t, &o, err));
    CHECK(w.steps == 6 && w.last < w.first && logged > 0);
    OK(bmn_trainer_run(t, &o, err)); /* there already */
    CHECK(w.steps == 6 && bmn_trainer_output(t) != NULL);
    output = joined(bmn_trainer_output(t), "");
    bmn_trainer_free(t);
    bmn_cancel_free(stop);
    bmn_runtime_free(rt);
    return output;
}

/* Probability of "yes". */
static double yes(bmn_session *s, const char *adapter) {
    bmn_run_options o;
    bmn_result *r = NULL;
    bmn_score score;
    bmn_str note = str("Note 1: take aspirin.");
    bmn_schema *classes = schema("{\"classes\": [\"yes\", \"no\"]}");
    bmn_run_options_init(&o, sizeof o);
    o.adapter = adapter;
    OK(bmn_classify(s, classes, &note, 1, &o, &r, NULL, err));
    memset(&score, 0, sizeof score);
    score.struct_size = sizeof score;
    OK(bmn_result_score(r, 0, &score, err));
    bmn_result_free(r);
    bmn_schema_free(classes);
    return score.probability;
}

static double yes_of(bmn_runtime *rt, const char *model) {
    bmn_model *m = NULL;
    bmn_session *s = NULL;
    double p;
    OK(bmn_model_open(rt, model, NULL, &m, err));
    OK(bmn_session_new(m, &s, err));
    p = yes(s, NULL);
    bmn_session_free(s);
    bmn_model_free(m);
    return p;
}

static void merged(bmn_runtime *rt, const char *base, const char *tuned, double expected, const char *other, const char *to) {
    bmn_merge_source sources[2];
    bmn_merge_options o;
    char *adapters = joined(to, "adapter"), *whole = joined(to, "model"), *recipe = joined(whole, "merge.json");
    int calls = 0;
    memset(sources, 0, sizeof sources);
    sources[0].path = tuned;
    sources[0].weight = 1;
    sources[0].kind = BMN_MERGE_ADAPTER;
    sources[1] = sources[0];
    sources[1].path = other;
    bmn_merge_options_init(NULL, sizeof o);
    bmn_merge_options_init(&o, sizeof o);
    FAILS(BMN_E_INVALID_ARGUMENT, "base", bmn_merge(NULL, sources, 1, NULL, whole, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "sources", bmn_merge(base, NULL, 1, NULL, whole, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "sources", bmn_merge(base, sources, (size_t)-1, NULL, whole, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "at least one", bmn_merge(base, NULL, 0, NULL, whole, err));
    FAILS(BMN_E_INVALID_ARGUMENT, "folder", bmn_merge(base, sources, 1, NULL, NULL, err));
    FAILS(BMN_E_NOT_FOUND, "nowhere", bmn_merge("nowhere", sources, 1, NULL, whole, err));
    sources[0].kind = 2;
    FAILS(BMN_E_INVALID_ARGUMENT, "sources[0].kind", bmn_merge(base, sources, 1, NULL, whole, err));
    sources[0].kind = BMN_MERGE_ADAPTER;
    sources[0].reserved = 1;
    FAILS(BMN_E_INVALID_ARGUMENT, "sources[0].reserved", bmn_merge(base, sources, 1, NULL, whole, err));
    sources[0].reserved = 0;
    sources[1].path = NULL;
    FAILS(BMN_E_INVALID_ARGUMENT, "sources[1].path", bmn_merge(base, sources, 2, NULL, whole, err));
    sources[1].path = other;
    sources[0].weight = NAN;
    FAILS(BMN_E_INVALID_ARGUMENT, "finite weight", bmn_merge(base, sources, 1, NULL, whole, err));
    sources[0].weight = 1;
    o.drop = 1;
    FAILS(BMN_E_INVALID_ARGUMENT, "drop", bmn_merge(base, sources, 1, &o, whole, err));
    o.drop = 0;
    o.flags = 4;
    FAILS(BMN_E_INVALID_ARGUMENT, "options.flags", bmn_merge(base, sources, 1, &o, whole, err));
    o.flags = 0;
    o.struct_size = 4;
    FAILS(BMN_E_ABI, "options.struct_size", bmn_merge(base, sources, 1, &o, whole, err));
    o.struct_size = sizeof o;
    o.progress = stop_at_once;
    o.progress_user_data = &calls;
    FAILS(BMN_E_CANCELLED, "", bmn_merge(base, sources, 1, &o, whole, err));
    CHECK(calls > 0 && !exists(recipe));
    o.progress = NULL;
    OK(bmn_merge(base, sources, 1, &o, whole, err));
    CHECK(exists(recipe));
    FAILS(BMN_E_INVALID_ARGUMENT, whole, bmn_merge(base, sources, 1, NULL, whole, err));
    /* The weights are rounded to bf16, the adapter's product is not. */
    CHECK(fabs(yes_of(rt, whole) - expected) < 0.02);
    o.flags = BMN_MERGE_AS_ADAPTER;
    OK(bmn_merge(base, sources, 2, &o, adapters, err));
    free(adapters);
    adapters = joined(to, "adapter/adapter_model.safetensors");
    CHECK(exists(adapters));
    sources[1].kind = BMN_MERGE_MODEL;
    sources[1].path = base;
    free(whole);
    whole = joined(to, "second");
    FAILS(BMN_E_INVALID_ARGUMENT, "adapters only", bmn_merge(base, sources, 2, &o, whole, err));
    free(adapters);
    free(whole);
    free(recipe);
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_runtime_options ro;
    bmn_model *m = NULL;
    bmn_adapter *a = NULL;
    bmn_session *s = NULL;
    char *base, *config, *tuned;
    double plain, with;
    CHECK(argc == 4);
    base = joined(argv[1], "model");
    config = joined(argv[1], "train.toml");
    bmn_runtime_options_init(&ro, sizeof ro);
    ro.threads = 1;
    ro.log = log_line;
    ro.log_level = BMN_LOG_DEBUG;
    /* The adapter is made while the model is open, and goes into it. */
    OK(bmn_runtime_new(&ro, &rt, err));
    OK(bmn_model_open(rt, base, NULL, &m, err));
    OK(bmn_session_new(m, &s, err));
    plain = yes(s, NULL);
    tuned = trained(&ro, config);
    OK(bmn_adapter_open(m, tuned, &a, err));
    OK(bmn_model_set_adapter(m, "tuned", a, NULL, err));
    bmn_adapter_free(a);
    with = yes(s, "tuned");
    CHECK(plain == yes(s, NULL) && fabs(plain - with) > 1e-4);
    merged(rt, base, tuned, with, argv[2], argv[3]);
    bmn_session_free(s);
    bmn_model_free(m);
    bmn_runtime_free(rt);
    free(base);
    free(config);
    free(tuned);
    puts("training: ok");
    return 0;
}
