/* Files that end too early and an address space too small for the weights are errors, not crashes.
 * Arguments: a model folder with model.safetensors that may be overwritten, a model file of more than 64 MB. */
#include "check.h"
#include <sys/resource.h>
#include <unistd.h>

static long file_size(const char *path) {
    FILE *f = fopen(path, "rb");
    long size;
    CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0);
    size = ftell(f);
    fclose(f);
    return size;
}

int main(int argc, char **argv) {
    bmn_runtime *rt = NULL;
    bmn_runtime_options ro;
    bmn_model *m = NULL;
    struct rlimit limit;
    char path[4096];
    long size, cut, pages = 0;
    FILE *f;
    int i;
    CHECK(argc == 3 && strlen(argv[1]) < 4000);
    strcpy(path, argv[1]);
    strcat(path, "/model.safetensors");
    bmn_runtime_options_init(&ro, sizeof ro);
    ro.threads = 1;
    OK(bmn_runtime_new(&ro, &rt, err));
    OK(bmn_model_open(rt, argv[1], NULL, &m, err));
    bmn_model_free(m);
    m = NULL;
    size = file_size(path);
    for (i = 11; i >= 0; --i) { /* shorter each time, down to nothing */
        bmn_error *why = NULL;
        bmn_status status;
        cut = i == 11 ? size - 1 : i * (size / 12);
        CHECK(truncate(path, cut) == 0);
        status = bmn_model_open(rt, argv[1], NULL, &m, &why);
        CHECK((status == BMN_E_MODEL_FORMAT || status == BMN_E_IO) && m == NULL && why != NULL);
        bmn_error_free(why);
    }
    CHECK((f = fopen("/proc/self/statm", "r")) != NULL && fscanf(f, "%ld", &pages) == 1);
    fclose(f);
    limit.rlim_cur = limit.rlim_max = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (48u << 20);
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (i = 0; i < 3; ++i) {
        bmn_error *why = NULL;
        bmn_status status = bmn_model_open(rt, argv[2], NULL, &m, &why);
        CHECK((status == BMN_E_IO || status == BMN_E_OUT_OF_MEMORY) && m == NULL && why != NULL);
        bmn_error_free(why);
    }
    bmn_runtime_free(rt);
    puts("faults: ok");
    return 0;
}
