/* Of a process that ends after it answered, the core file without memory - its notes: registers, arguments, mapped files - does not hold
 * the document. Arguments: the model, an empty folder for the core file. */
#include "check.h"
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whole in any 16 bytes of the document, the least that a vector register holds of it. */
static const char CANARY[] = "QzVkQzVk";

/* Answers, and dies at once, before anything else overwrites the registers. */
static void die(const char *model, const char *folder) {
    bmn_runtime *rt = NULL;
    bmn_model *m = NULL;
    bmn_session *s = NULL;
    bmn_result *r = NULL;
    struct rlimit all;
    FILE *filter;
    char text[129] = "";
    const char *json;
    bmn_str note;
    size_t i, found = 0;
    for (i = 0; i < 128; ++i)
        text[i] = CANARY[i % 4];
    note = str(text);
    CHECK(getrlimit(RLIMIT_CORE, &all) == 0);
    all.rlim_cur = all.rlim_max;
    CHECK(setrlimit(RLIMIT_CORE, &all) == 0);
    CHECK((filter = fopen("/proc/self/coredump_filter", "w")) != NULL && fputs("0", filter) >= 0 && fclose(filter) == 0);
    OK(bmn_runtime_new(NULL, &rt, err));
    OK(bmn_model_open(rt, model, NULL, &m, err));
    OK(bmn_session_new(m, &s, err));
    CHECK(chdir(folder) == 0);
    OK(bmn_extract(s, schema("{\"labels\": [\"drug\"]}"), &note, 1, NULL, &r, NULL, err));
    /* Byte by byte: the C library's own functions would bring the answer into vector registers. */
    for (json = bmn_result_json(r, BMN_UNIT_BYTE); json != NULL && *json != '\0' && found < sizeof CANARY - 1; ++json)
        found = *json == CANARY[found] ? found + 1 : 0;
    CHECK(found == sizeof CANARY - 1);
    abort();
}

int main(int argc, char **argv) {
    const size_t n = sizeof CANARY - 1;
    struct dirent *entry;
    DIR *folder;
    int status, found = 0;
    pid_t child;
    CHECK(argc == 3);
    if ((child = fork()) == 0)
        die(argv[1], argv[2]);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK((folder = opendir(argv[2])) != NULL);
    while ((entry = readdir(folder)) != NULL) {
        char path[4096], *bytes;
        long size, i;
        FILE *f;
        if (strncmp(entry->d_name, "core", 4) != 0)
            continue;
        CHECK(strlen(argv[2]) + strlen(entry->d_name) < 4000);
        sprintf(path, "%s/%s", argv[2], entry->d_name);
        CHECK((f = fopen(path, "rb")) != NULL && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0);
        rewind(f);
        CHECK((bytes = malloc((size_t)size)) != NULL && fread(bytes, 1, (size_t)size, f) == (size_t)size);
        fclose(f);
        for (i = 0; i + (long)n <= size; ++i)
            CHECK(memcmp(bytes + i, CANARY, n) != 0);
        printf("core: ok, %ld bytes\n", size);
        free(bytes);
        found = 1;
    }
    closedir(folder);
    if (!found)
        puts("SKIPPED core: the system keeps no core files, or elsewhere (core_pattern)");
    return 0;
}
