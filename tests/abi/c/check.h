/* Checks of the C tests: a failed one names its line and ends the test. */
#ifndef CHECK_H
#define CHECK_H
#include "biomistral_nlu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call succeeds; else its error is shown. */
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        bmn_error *ok_error = NULL, **err = &ok_error;                                                                 \
        bmn_status ok_status = (call);                                                                                 \
        if (ok_status != BMN_OK) {                                                                                     \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, bmn_status_name(ok_status),              \
                    ok_error ? bmn_error_message(ok_error) : "");                                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call fails with this status and an error whose message holds these words. */
#define FAILS(expected, words, call)                                                                                   \
    do {                                                                                                               \
        bmn_error *fails_error = NULL, **err = &fails_error;                                                           \
        CHECK((call) == (expected));                                                                                   \
        CHECK(fails_error != NULL && bmn_error_status(fails_error) == (expected));                                     \
        if (strstr(bmn_error_message(fails_error), words) == NULL) {                                                   \
            fprintf(stderr, "%s:%d: expected \"%s\" in: %s\n", __FILE__, __LINE__, words,                              \
                    bmn_error_message(fails_error));                                                                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
        bmn_error_free(fails_error);                                                                                   \
        err = NULL;                                                                                                    \
        CHECK((call) == (expected));                                                                                   \
    } while (0)

static inline bmn_str str(const char *text) {
    bmn_str s;
    s.ptr = text;
    s.len = strlen(text);
    return s;
}

static inline bmn_schema *schema(const char *json) {
    bmn_schema *made = NULL;
    OK(bmn_schema_from_json(json, strlen(json), &made, err));
    return made;
}
#endif
