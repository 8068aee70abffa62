/* Problems of many notes, one per line of stdin, as JSON lines; Ctrl-C stops after the notes under way and the others say so.
 * batch MODEL < notes.txt */
#include <biomistral_nlu.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 1000
static bmn_cancel *stop; /* set before the handler is: triggering is one atomic store */

static void interrupted(int signal_number) {
    (void)signal_number;
    bmn_cancel_trigger(stop);
}

static int32_t progress(void *user_data, uint64_t done, uint64_t of) {
    (void)user_data;
    fprintf(stderr, "%u of %u notes\n", (unsigned)done, (unsigned)of);
    return 0;
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    static bmn_str docs[MOST];
    static bmn_result *results[MOST];
    static bmn_status statuses[MOST];
    const char asked[] = "{\"labels\": [\"problem\"]}";
    size_t n = 0, failed = 0;
    bmn_runtime *rt = NULL;
    bmn_model *model = NULL;
    bmn_session *session = NULL;
    bmn_schema *schema = NULL;
    bmn_error *err = NULL;
    bmn_run_options options;
    while (n < MOST && fgets(line, sizeof line, stdin)) {
        char *copy;
        line[strcspn(line, "\n")] = 0;
        copy = malloc(strlen(line) + 1);
        if (copy == NULL)
            return 1;
        docs[n].len = strlen(line);
        docs[n].ptr = strcpy(copy, line);
        ++n;
    }
    stop = bmn_cancel_new();
    signal(SIGINT, interrupted);
    bmn_run_options_init(&options, sizeof options);
    options.cancel = stop;
    options.batch = 4;
    options.timeout_ms = 600000;
    options.progress = progress;
    if (argc < 2 || bmn_runtime_new(NULL, &rt, &err) || bmn_model_open(rt, argv[1], NULL, &model, &err) ||
        bmn_session_new(model, &session, &err) || bmn_schema_from_json(asked, sizeof asked - 1, &schema, &err) ||
        bmn_extract(session, schema, docs, n, &options, results, statuses, &err))
        return fprintf(stderr, "%s\n", err ? bmn_error_message(err) : "usage: batch MODEL < notes.txt"), 1;
    for (size_t i = 0; i < n; ++i) { /* a note that failed has a result as well, which says why */
        failed += statuses[i] != BMN_OK;
        puts(bmn_result_json(results[i], BMN_UNIT_CODE_POINT));
        bmn_result_free(results[i]);
        free((void *)docs[i].ptr);
    }
    bmn_schema_free(schema);
    bmn_session_free(session);
    bmn_model_free(model);
    bmn_runtime_free(rt);
    bmn_cancel_free(stop);
    return failed > 0 ? 3 : 0;
}
