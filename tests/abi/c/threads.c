/* Many threads on one model answer what one thread answers, bit by bit, while an adapter is swapped under them; every answer
 * names the adapter that gave it. Arguments: the model, an adapter, another one, threads, swaps. With BMN_MINUTES it goes on so
 * long instead. */
#include "check.h"
#include <pthread.h>
#include <time.h>

#define DOCS 4
static const char *const TEXTS[DOCS] = {
    "Aspirin caused a rash.", "No chest pain. Metformin 500 mg twice daily.",
    "Kopfschmerzen seit drei Tagen, \xc3\x9c" "belkeit.", "Dyspnoea on exertion; started furosemide."};

static bmn_model *model;
static bmn_schema *labels;
static char *expected[3][DOCS]; /* none, first, second adapter */
static int swapping = 1;
static time_t until; /* 0: after the rounds */


static char *ask(bmn_session *s, const char *adapter, int doc) {
    bmn_run_options o;
    bmn_result *r = NULL;
    bmn_str text = str(TEXTS[doc]);
    char *json;
    bmn_run_options_init(&o, sizeof o);
    o.adapter = adapter;
    o.max_spans = 2;
    OK(bmn_extract(s, labels, &text, 1, &o, &r, NULL, err));
    json = malloc(strlen(bmn_result_json(r, BMN_UNIT_BYTE)) + 1);
    CHECK(json != NULL);
    strcpy(json, bmn_result_json(r, BMN_UNIT_BYTE));
    bmn_result_free(r);
    return json;
}

static void *work(void *arg) {
    bmn_session *s = NULL;
    int i, seed = *(int *)arg;
    OK(bmn_session_new(model, &s, err));
    for (i = 0; i < 2 || __atomic_load_n(&swapping, __ATOMIC_RELAXED); ++i) {
        int doc = (seed + i) % DOCS, swapped = (seed + i) % 2;
        char *json = ask(s, swapped ? "swapped" : NULL, doc);
        if (swapped)
            CHECK(strcmp(json, expected[1][doc]) == 0 || strcmp(json, expected[2][doc]) == 0);
        else
            CHECK(strcmp(json, expected[0][doc]) == 0);
        free(json);
    }
    bmn_session_free(s);
    return NULL;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_adapter *adapters[2] = {NULL, NULL};
    bmn_session *s = NULL;
    pthread_t threads[64];
    int seeds[64], n, i, most;
    uint64_t generation = 0, last = 0;
    CHECK(argc == 6);
    n = atoi(argv[4]);
    most = atoi(argv[5]);
    CHECK(n >= 1 && n <= 64 && most > 0);
    OK(bmn_runtime_new(NULL, &rt, err));
    OK(bmn_model_open(rt, argv[1], NULL, &model, err));
    labels = schema("{\"labels\": [\"drug\", \"problem\"]}");
    OK(bmn_session_new(model, &s, err));
    for (i = 0; i < DOCS; ++i)
        expected[0][i] = ask(s, NULL, i);
    for (n = 0; n < 2; ++n) {
        OK(bmn_adapter_open(model, argv[2 + n], &adapters[n], err));
        OK(bmn_model_set_adapter(model, "swapped", adapters[n], &generation, err));
        CHECK(generation > last);
        last = generation;
        for (i = 0; i < DOCS; ++i) {
            expected[1 + n][i] = ask(s, "swapped", i);
            CHECK(strcmp(expected[1 + n][i], expected[n][i]) != 0); /* the adapter and its identity differ */
        }
    }
    n = atoi(argv[4]);
    if (getenv("BMN_MINUTES"))
        until = time(NULL) + (time_t)(60 * atof(getenv("BMN_MINUTES")));
    for (i = 0; i < n; ++i) {
        seeds[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0);
    }
    for (i = 0; until ? time(NULL) < until : i < most; ++i) {
        const struct timespec moment = {0, 1000000}; /* the lock is the runs' as well */
        nanosleep(&moment, NULL);
        OK(bmn_model_set_adapter(model, "swapped", adapters[i % 2], &generation, err));
        CHECK(generation == last + 1);
        last = generation;
    }
    __atomic_store_n(&swapping, 0, __ATOMIC_RELAXED);
    most = i;
    for (i = 0; i < n; ++i)
        CHECK(pthread_join(threads[i], NULL) == 0);
    OK(bmn_model_remove_adapter(model, "swapped", err));
    for (n = 0; n < 3; ++n)
        for (i = 0; i < DOCS; ++i)
            free(expected[n][i]);
    bmn_adapter_free(adapters[0]);
    bmn_adapter_free(adapters[1]);
    bmn_session_free(s);
    bmn_schema_free(labels);
    bmn_model_free(model);
    bmn_runtime_free(rt);
    printf("threads: ok, %d swaps\n", most);
    return 0;
}
