/* What the C ABI costs, as one JSON object: bench/abi.sh MODEL. Run it on a quiet machine, twice: the first run warms the page cache.
 *   open_to_answer_ms   bmn_runtime_new to the first extracted span
 *   call_us             a task on no documents: checks, options, lock and return, the engine left out; least of 20 rounds
 *   span_us             one bmn_result_span, likewise
 *   two_sessions        documents per second of two sessions on two threads, over those of one session with all in a batch
 *   second_session_mib  resident memory that a second, used session adds; the weights are not among it */
#define _POSIX_C_SOURCE 200809L
#include <biomistral_nlu.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DOCS 16
static bmn_str docs[DOCS];
static bmn_schema *drugs;

static void ok(bmn_status status, bmn_error *err) {
    if (status != BMN_OK) {
        fprintf(stderr, "%s\n", err ? bmn_error_message(err) : bmn_status_name(status));
        exit(1);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double resident_mib(void) {
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = atof(line + 6);
    if (f)
        fclose(f);
    return kib / 1024;
}

static bmn_session *open_session(const bmn_model *m) {
    bmn_session *s = NULL;
    bmn_error *err = NULL;
    ok(bmn_session_new(m, &s, &err), err);
    return s;
}

/* Documents first .. first + n of the list, in one call. */
static void answer(bmn_session *s, size_t first, size_t n) {
    bmn_result *results[DOCS];
    bmn_status statuses[DOCS];
    bmn_run_options o;
    bmn_error *err = NULL;
    size_t i;
    bmn_run_options_init(&o, sizeof o);
    o.max_spans = 2;
    ok(bmn_extract(s, drugs, docs + first, n, &o, results, statuses, &err), err);
    for (i = 0; i < n; ++i) {
        ok(statuses[i], NULL);
        bmn_result_free(results[i]);
    }
}

typedef struct {
    bmn_session *session;
    size_t first;
} half;

static void *answer_half(void *of) {
    half *h = of;
    answer(h->session, h->first, DOCS / 2);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double least(double a, double b) { return a < b ? a : b; }

int main(int argc, char **argv) {
    static const char text[] = "Started metformin 500 mg twice daily; aspirin was stopped because of a rash.";
    static const char asked[] = "{\"labels\": [\"drug\"]}";
    bmn_runtime *rt = NULL;
    bmn_model *m = NULL;
    bmn_error *err = NULL;
    bmn_session *one, *two;
    bmn_result *r = NULL;
    bmn_span span;
    pthread_t thread;
    half halves[2];
    double start, first, before, added, call, read, single[5], both[5];
    int i, round, rounds = 5, calls = 10000;
    if (argc != 2)
        return fprintf(stderr, "usage: abi MODEL\n"), 2;
    for (i = 0; i < DOCS; ++i) {
        docs[i].ptr = text;
        docs[i].len = sizeof text - 1;
    }
    start = now();
    ok(bmn_runtime_new(NULL, &rt, &err), err);
    ok(bmn_model_open(rt, argv[1], NULL, &m, &err), err);
    ok(bmn_schema_from_json(asked, sizeof asked - 1, &drugs, &err), err);
    one = open_session(m);
    ok(bmn_extract(one, drugs, docs, 1, NULL, &r, NULL, &err), err);
    first = now() - start;

    memset(&span, 0, sizeof span);
    span.struct_size = sizeof span;
    if (bmn_result_span_count(r) == 0)
        return fprintf(stderr, "the model found no span to read\n"), 1;
    call = read = 1;
    for (round = 0; round < 20; ++round) { /* what interrupts a round makes it longer, never shorter */
        start = now();
        for (i = 0; i < calls; ++i)
            ok(bmn_extract(one, drugs, NULL, 0, NULL, &r + 1, NULL, NULL), NULL);
        call = least(call, (now() - start) / calls);
        start = now();
        for (i = 0; i < calls; ++i)
            ok(bmn_result_span(r, 0, BMN_UNIT_UTF16, &span, NULL), NULL);
        read = least(read, (now() - start) / calls);
    }

    answer(one, 0, DOCS);
    before = resident_mib();
    two = open_session(m);
    answer(two, 0, DOCS / 2);
    added = resident_mib() - before;
    for (i = 0; i < rounds; ++i) { /* in turns, so that a slow moment hits both */
        start = now();
        answer(one, 0, DOCS);
        single[i] = DOCS / (now() - start);
        halves[0].session = one, halves[0].first = 0;
        halves[1].session = two, halves[1].first = DOCS / 2;
        start = now();
        if (pthread_create(&thread, NULL, answer_half, &halves[1]) != 0)
            return 1;
        answer_half(&halves[0]);
        pthread_join(thread, NULL);
        both[i] = DOCS / (now() - start);
    }
    qsort(single, (size_t)rounds, sizeof *single, by_size);
    qsort(both, (size_t)rounds, sizeof *both, by_size);
    printf("{\"open_to_answer_ms\": %.0f, \"call_us\": %.3f, \"span_us\": %.3f, \"one_session_docs_per_s\": %.2f, "
           "\"two_sessions_docs_per_s\": %.2f, \"two_sessions\": %.3f, \"second_session_mib\": %.1f, \"resident_mib\": %.1f}\n",
           1e3 * first, 1e6 * call, 1e6 * read, single[rounds / 2], both[rounds / 2], both[rounds / 2] / single[rounds / 2],
           added, before);
    bmn_result_free(r);
    bmn_session_free(one);
    bmn_session_free(two);
    bmn_schema_free(drugs);
    bmn_model_free(m);
    bmn_runtime_free(rt);
    return 0;
}
