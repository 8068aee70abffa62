/* Faults of the CUDA driver at the n-th call - allocations, pinned memory, modules, launches, a lost device - on the virtual GPU:
 * errors, never an abort, the same answer from a device opened again, and no device memory left.
 * Arguments: a model folder of tests/abi/tiny.py, libvgpu.so. */
#include "check.h"
#include <dlfcn.h>

typedef uint32_t (*configure_fn)(const char *);
typedef size_t (*counters_fn)(unsigned char *, size_t);

static configure_fn configure;
static counters_fn counters;

/* "used" of the counters: bytes of device memory that something holds. */
static long used(void) {
    static unsigned char text[1 << 16];
    const char *found;
    size_t n = counters(text, sizeof text - 1);
    CHECK(n < sizeof text);
    text[n] = 0;
    found = strstr((const char *)text, "\"used\":");
    CHECK(found != NULL);
    return atol(found + strlen("\"used\":"));
}

static void set(const char *kind, int n) {
    char settings[128];
    sprintf(settings, "{\"%s\": %d}", kind, n);
    CHECK(configure(n > 0 ? settings : "{}") == 0);
}

/* The JSON of an answer, or NULL: then *status says why. What fails has an error with a sentence. */
static char *answer(bmn_runtime *rt, const char *model, bmn_status *status) {
    bmn_model *m = NULL;
    bmn_session *s = NULL;
    bmn_result *r = NULL;
    bmn_error *why = NULL;
    bmn_schema *classes = schema("{\"classes\": [\"yes\", \"no\"]}");
    bmn_str note = str("Note 1: CANARY.");
    char *json = NULL;
    *status = bmn_model_open(rt, model, NULL, &m, &why);
    if (*status == BMN_OK)
        *status = bmn_session_new(m, &s, &why);
    if (*status == BMN_OK)
        *status = bmn_classify(s, classes, &note, 1, NULL, &r, NULL, &why);
    if (*status == BMN_OK) {
        json = malloc(strlen(bmn_result_json(r, BMN_UNIT_BYTE)) + 1);
        CHECK(json != NULL && why == NULL);
        strcpy(json, bmn_result_json(r, BMN_UNIT_BYTE));
    } else {
        CHECK(why != NULL && r == NULL && strlen(bmn_error_message(why)) > 0);
        CHECK(strstr(bmn_error_message(why), "CANARY") == NULL);
        bmn_error_free(why);
        if (s != NULL) { /* the session of a device that failed says so again, or goes on */
            bmn_status again = bmn_classify(s, classes, &note, 1, NULL, &r, NULL, NULL);
            CHECK(again == BMN_OK ? r != NULL : r == NULL);
            bmn_result_free(r);
            r = NULL;
        }
    }
    bmn_result_free(r);
    bmn_schema_free(classes);
    bmn_session_free(s);
    bmn_model_free(m);
    return json;
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"fail_allocation", "fail_pinned", "fail_module", "fail_launch", "lose_device"};
    static const int at[] = {1, 3, 9, 40};
    bmn_runtime *rt = NULL;
    bmn_runtime_options ro;
    bmn_status status;
    char *expected, *found;
    size_t kind, i;
    int failed[5] = {0, 0, 0, 0, 0};
    void *driver;
    CHECK(argc == 3);
    driver = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
    CHECK(driver != NULL);
    *(void **)&configure = dlsym(driver, "vgpuConfigure");
    *(void **)&counters = dlsym(driver, "vgpuCounters");
    CHECK(configure != NULL && counters != NULL);
    CHECK(configure("{\"quiet\": true}") == 0);
    bmn_runtime_options_init(&ro, sizeof ro);
    ro.device = 0;
    OK(bmn_runtime_new(&ro, &rt, err));
    expected = answer(rt, argv[1], &status);
    if (status == BMN_E_UNSUPPORTED) {
        bmn_runtime_free(rt);
        return puts("SKIPPED device: the library was built without kernels (make cuda)"), 0;
    }
    CHECK(status == BMN_OK && expected != NULL && used() == 0);
    for (kind = 0; kind < sizeof kinds / sizeof *kinds; ++kind)
        for (i = 0; i < sizeof at / sizeof *at; ++i) {
            set(kinds[kind], at[i]);
            found = answer(rt, argv[1], &status);
            if (found == NULL) {
                CHECK(status == (kind < 2 ? BMN_E_OUT_OF_MEMORY : status) && status != BMN_E_INTERNAL);
                ++failed[kind];
            } else
                CHECK(strcmp(found, expected) == 0);
            free(found);
            set(kinds[kind], 0);
            CHECK(used() == 0);
            if (status != BMN_OK) { /* a device opened again works */
                found = answer(rt, argv[1], &status);
                CHECK(status == BMN_OK && strcmp(found, expected) == 0);
                free(found);
            }
        }
    for (kind = 0; kind < sizeof kinds / sizeof *kinds; ++kind) {
        printf("%s: %d calls failed\n", kinds[kind], failed[kind]);
        CHECK(failed[kind] > 0);
    }
    free(expected);
    bmn_runtime_free(rt);
    puts("device: ok");
    return 0;
}
