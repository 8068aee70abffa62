/* Memory and files that fail under the library: this program's malloc, mmap, read and write stand before the C library's, so that
 * the n-th call that the library makes fails, or all from the n-th on. Every call ends with an error or the right answer, nothing
 * is leaked, and the next call without faults answers as before. Arguments: a folder of tests/abi/tiny.py, an adapter for its model,
 * a folder to write in; or a model alone, large enough that memory runs out in the middle. */
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum { NOTHING, MEMORY, FILES };
static uintptr_t first, last; /* where the library's code lies */
static int failing;           /* what fails now: MEMORY or FILES */
static int armed;             /* and what once a model is open: its threads are started without faults, see docs/library.md */
static unsigned threads = 1;
static long calls, at, on;    /* calls of that kind, the first to fail, and whether all later ones do */
static long failed, live;     /* failed calls; bytes that the library holds */

static int library(const void *caller) {
    return (uintptr_t)caller >= first && (uintptr_t)caller < last;
}

/* Whether this call of the library fails. */
static int fails(int kind, const void *caller) {
    long n;
    if (kind != __atomic_load_n(&failing, __ATOMIC_RELAXED) || !library(caller))
        return 0;
    n = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (n != at && !(on && n > at))
        return 0;
    __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
    return 1;
}

static void *counted(void *p, const void *caller) {
    if (p != NULL && library(caller))
        __atomic_add_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
    return p;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n) {
    return fails(MEMORY, CALLER) ? NULL : counted(__libc_malloc(n), CALLER);
}

void *calloc(size_t n, size_t size) {
    return fails(MEMORY, CALLER) ? NULL : counted(__libc_calloc(n, size), CALLER);
}

void *realloc(void *p, size_t n) {
    long old = p == NULL ? 0 : (long)malloc_usable_size(p);
    void *grown = fails(MEMORY, CALLER) ? NULL : __libc_realloc(p, n);
    if (grown != NULL && library(CALLER))
        __atomic_sub_fetch(&live, old, __ATOMIC_RELAXED);
    return counted(grown, CALLER);
}

int posix_memalign(void **out, size_t align, size_t n) {
    void *p = fails(MEMORY, CALLER) ? NULL : counted(__libc_memalign(align, n), CALLER);
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p) {
    if (p != NULL && library(CALLER))
        __atomic_sub_fetch(&live, (long)malloc_usable_size(p), __ATOMIC_RELAXED);
    __libc_free(p);
}

static void *mapped(void *p, size_t n, int prot, int flags, int fd, off_t offset, const void *caller) {
    if (fails(MEMORY, caller) || (fd >= 0 && fails(FILES, caller))) {
        errno = fd >= 0 && failing == FILES ? EIO : ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, p, n, prot, flags, fd, offset);
}

void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset) {
    return mapped(p, n, prot, flags, fd, offset, CALLER);
}

void *mmap64(void *p, size_t n, int prot, int flags, int fd, off_t offset) {
    return mapped(p, n, prot, flags, fd, offset, CALLER);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    int mode;
    va_start(rest, flags);
    mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    if (fails(FILES, CALLER)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *to, size_t n) {
    if (fails(FILES, CALLER)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, to, n);
}

ssize_t write(int fd, const void *from, size_t n) {
    if (fails(FILES, CALLER)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, from, n);
}

int rename(const char *from, const char *to) {
    if (fails(FILES, CALLER)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

static int find(struct dl_phdr_info *info, size_t size, void *wanted) {
    int i;
    (void)size;
    for (i = 0; i < info->dlpi_phnum; ++i) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (uintptr_t)wanted >= start && (uintptr_t)wanted < start + part->p_memsz) {
            first = start;
            last = start + part->p_memsz;
            return 1;
        }
    }
    return 0;
}

static char answers[6][1 << 16], expected[6][1 << 16];
static int statuses[6];

/* The status of a call that may fail: if it did, with a sentence and without output. */
static bmn_status told(bmn_status status, bmn_error *why, const void *output) {
    CHECK((status == BMN_OK) == (why == NULL));
    if (why != NULL) {
        CHECK(output == NULL && bmn_error_status(why) == status && strlen(bmn_error_message(why)) > 0);
        CHECK(strstr(bmn_error_message(why), "CANARY") == NULL && status != BMN_E_INTERNAL);
        bmn_error_free(why);
    }
    return status;
}

/* The call comes before what it writes is read. */
#define TOLD(call, output) (why = NULL, outcome = (call), told(outcome, why, output))

static void keep(int i, bmn_result *r) {
    const char *json = r == NULL ? "" : bmn_result_json(r, BMN_UNIT_UTF16);
    CHECK(json != NULL && strlen(json) < sizeof answers[i]);
    strcpy(answers[i], json);
    bmn_result_free(r);
}

/* Opens a model, reads a text in windows and classifies another, both with the adapter; what comes out is in `answers`. */
static void ask(const char *path, const char *adapter) {
    static char text[2400];
    bmn_runtime *rt = NULL;
    bmn_runtime_options ro;
    bmn_model *m = NULL;
    bmn_adapter *a = NULL;
    bmn_session *s = NULL;
    bmn_schema *sc = NULL;
    bmn_result *r = NULL;
    bmn_run_options o;
    bmn_error *why = NULL;
    bmn_status outcome;
    bmn_str note = str(text);
    static const char json[] = "{\"labels\": [\"drug\"], \"classes\": [\"yes\", \"no\"]}";
    size_t i;
    for (i = 0; i + 32 < sizeof text; i += 20)
        strcpy(text + i, "CANARY took aspirin. ");
    note = str(text);
    memset(answers, 0, sizeof answers);
    memset(statuses, -1, sizeof statuses);
    bmn_runtime_options_init(&ro, sizeof ro);
    ro.threads = threads;
    bmn_run_options_init(&o, sizeof o);
    o.flags = BMN_RUN_WINDOW;
    o.window_tokens = 300;
    o.max_spans = 2;
    statuses[0] = TOLD(bmn_runtime_new(&ro, &rt, &why), rt);
    statuses[1] = TOLD(bmn_schema_from_json(json, sizeof json - 1, &sc, &why), sc);
    if (statuses[0] == BMN_OK)
        statuses[2] = TOLD(bmn_model_open(rt, path, NULL, &m, &why), m);
    if (m != NULL && adapter != NULL) {
        statuses[3] = TOLD(bmn_adapter_open(m, adapter, &a, &why), a);
        if (a != NULL && TOLD(bmn_model_set_adapter(m, "tuned", a, NULL, &why), NULL) == BMN_OK)
            o.adapter = "tuned";
    }
    if (m != NULL && sc != NULL)
        TOLD(bmn_session_new(m, &s, &why), s);
    __atomic_store_n(&failing, armed, __ATOMIC_RELAXED);
    if (s != NULL && (o.adapter != NULL || adapter == NULL)) {
        if (adapter == NULL) { /* a real model takes its time over the long text */
            o.flags = 0;
            note = str("CANARY took aspirin.");
        }
        statuses[4] = TOLD(bmn_extract(s, sc, &note, 1, &o, &r, NULL, &why), r);
        keep(4, r);
        r = NULL;
        note = str("CANARY took aspirin.");
        o.flags = 0;
        statuses[5] = TOLD(bmn_classify(s, sc, &note, 1, &o, &r, NULL, &why), r);
        keep(5, r);
    }
    bmn_session_free(s);
    bmn_adapter_free(a);
    bmn_model_free(m);
    bmn_schema_free(sc);
    bmn_runtime_free(rt);
}

/* A number for the bytes of the adapter in `folder`. */
static void adapter(const char *folder, char *to) {
    char path[9000];
    unsigned long hash = 14695981039346656037ul;
    FILE *f;
    int c;
    CHECK(strlen(folder) < 8000);
    sprintf(path, "%s/adapter_model.safetensors", folder);
    CHECK((f = fopen(path, "rb")) != NULL);
    while ((c = getc(f)) != EOF)
        hash = (hash ^ (unsigned long)c) * 1099511628211ul;
    fclose(f);
    sprintf(to, "%lx", hash);
}

/* Trains with the configuration `toml` and merges the adapter; the run's folder and `out` are gone afterwards. A run that a file
 * ended goes on to the same bits. */
static void train(const char *toml, const char *model, const char *run, const char *out) {
    bmn_runtime *rt = NULL;
    bmn_runtime_options ro;
    bmn_trainer *t = NULL;
    bmn_merge_source source;
    bmn_error *why = NULL;
    bmn_status outcome;
    char command[9000];
    memset(answers, 0, sizeof answers);
    memset(statuses, -1, sizeof statuses);
    bmn_runtime_options_init(&ro, sizeof ro);
    ro.threads = threads;
    statuses[0] = TOLD(bmn_runtime_new(&ro, &rt, &why), rt);
    if (rt != NULL)
        statuses[1] = TOLD(bmn_trainer_open(rt, toml, 0, &t, &why), t);
    if (t != NULL)
        statuses[2] = TOLD(bmn_trainer_run(t, NULL, &why), NULL);
    if (t != NULL && statuses[2] != BMN_OK && failing == FILES) {
        char again[64];
        failing = NOTHING;
        bmn_trainer_free(t);
        OK(bmn_trainer_open(rt, toml, BMN_TRAIN_RESUME, &t, err));
        OK(bmn_trainer_run(t, NULL, err));
        adapter(bmn_trainer_output(t), again);
        CHECK(strcmp(again, expected[2]) == 0);
    } else if (t != NULL && bmn_trainer_output(t) != NULL) {
        adapter(bmn_trainer_output(t), answers[2]);
        memset(&source, 0, sizeof source);
        source.path = bmn_trainer_output(t);
        source.weight = 1;
        source.kind = BMN_MERGE_ADAPTER;
        statuses[3] = TOLD(bmn_merge(model, &source, 1, NULL, out, &why), NULL);
        CHECK((access(out, F_OK) == 0) == (statuses[3] == BMN_OK)); /* whole or not at all */
    }
    bmn_trainer_free(t);
    bmn_runtime_free(rt);
    failing = NOTHING;
    CHECK(strlen(run) + strlen(out) < 8000);
    sprintf(command, "rm -rf '%s' '%s'", run, out);
    CHECK(system(command) == 0);
}

/* Threads that have been told to end may still be giving back what they hold, and their queues are freed some rounds later; that
 * stays within `SLACK`, whatever the number of rounds. */
#define SLACK 65536
static void settled(long level) {
    const struct timespec moment = {0, 1000000};
    int i;
    for (i = 0; i < 5000 && __atomic_load_n(&live, __ATOMIC_RELAXED) > level + SLACK; ++i)
        nanosleep(&moment, NULL);
    if (live > level + SLACK)
        fprintf(stderr, "%ld bytes before, %ld after: call %ld of kind %d, %s\n", level, live, at, failing, on ? "and all later ones" : "alone");
    CHECK(live <= level + SLACK);
}

static char *arguments[4];
static void asking(void) {
    ask(arguments[0], arguments[1]);
}
static void training(void) {
    train(arguments[0], arguments[1], arguments[2], arguments[3]);
}

/* Fails call 1, 2, 3 .. of what `work` does, in growing steps, alone and with all later ones. */
static void walk(const char *name, void (*work)(void), int kind, double growth) {
    long n, level, refused = 0, rounds = 0, total;
    int pass, i;
    failing = armed = NOTHING;
    for (i = 0; i < 2; ++i) /* what stays once it is made is made */
        work();
    for (i = 0; i < 6; ++i)
        CHECK(statuses[i] <= 0);
    memcpy(expected, answers, sizeof answers);
    settled(live);
    { /* and the threads of the first rounds are gone */
        const struct timespec moment = {0, 100000000};
        nanosleep(&moment, NULL);
    }
    level = live;
    calls = 0, at = 0, on = 0, armed = kind, failing = threads == 1 ? kind : NOTHING;
    work();
    total = calls;
    failing = armed = NOTHING;
    CHECK(memcmp(expected, answers, sizeof answers) == 0 && total > 0);
    for (pass = 0; pass < 2; ++pass)
        for (n = 1; n <= total; n += 1 + (long)((double)n * growth)) {
            int ok = 1;
            settled(level);
            calls = 0, failed = 0, at = n, on = pass, armed = kind, failing = threads == 1 ? kind : NOTHING;
            work();
            failing = armed = NOTHING;
            for (i = 0; i < 6; ++i) {
                if (statuses[i] > 0)
                    ok = 0;
                if (statuses[i] == BMN_OK) /* what was answered is right */
                    CHECK(strcmp(answers[i], expected[i]) == 0);
                CHECK(statuses[i] <= 0 || kind == FILES || statuses[i] == BMN_E_OUT_OF_MEMORY || statuses[i] == BMN_E_IO);
            }
            refused += !ok;
            ++rounds;
        }
    settled(level);
    work();
    CHECK(memcmp(expected, answers, sizeof answers) == 0);
    settled(level);
    printf("%s: %ld calls, %ld rounds, %ld with an error\n", name, total, rounds, refused);
    fflush(stdout);
    CHECK(refused > 0);
}

int main(int argc, char **argv) {
    static char model[4096], toml[4096], run[4096], merged[4096];
    CHECK(argc == 2 || (argc == 4 && strlen(argv[1]) < 4000 && strlen(argv[3]) < 4000));
    dl_iterate_phdr(find, dlsym(RTLD_DEFAULT, "bmn_model_open"));
    CHECK(first < last);
    if (argc == 2) {
        arguments[0] = argv[1];
        walk("memory, a large model", asking, MEMORY, 15);
    } else {
        sprintf(model, "%s/model", argv[1]);
        sprintf(toml, "%s/train.toml", argv[1]);
        sprintf(run, "%s/run-train", argv[1]);
        sprintf(merged, "%s/merged", argv[3]);
        arguments[0] = model;
        arguments[1] = argv[2];
        walk("memory, answers", asking, MEMORY, 0.25);
        walk("files, answers", asking, FILES, 0.1);
        threads = 2;
        walk("memory, answers on two threads", asking, MEMORY, 0.25);
        threads = 1;
        arguments[0] = toml;
        arguments[1] = model;
        arguments[2] = run;
        arguments[3] = merged;
        walk("memory, training", training, MEMORY, 0.5);
        walk("files, training", training, FILES, 0.1);
    }
    puts("memory: ok");
    return 0;
}
