/* bench_models.h: the models of the benchmarks, one at a time in a temporary file
 * that goes away however the program ends, and a process of its own for every
 * measurement: what one leaves in memory does not count for the next.        */
#ifndef BENCH_MODELS_H_INCLUDED
#define BENCH_MODELS_H_INCLUDED

#include "bench.h"

#if !defined(_WIN32)
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#endif

static void fail(const char *what, const char *why);

/* ---- lists -------------------------------------------------------------- */

/* The next of the words between commas, which are overwritten; NULL: no more. */
static char *next_word(char **list)
{
    char *word = *list;
    const size_t n = strcspn(word, ",");
    if (n == 0) return NULL;
    *list += n + (word[n] == ',');
    word[n] = 0;
    return word;
}

/* The next of the numbers between commas; 0: no more.                        */
static int next_number(const char **list)
{
    const int n = atoi(*list);
    *list += strcspn(*list, ",");
    *list += **list == ',';
    return n;
}

/* ---- processes ---------------------------------------------------------- */

static char temporary[512], temporary_part[520]; /* the file, if there is one; ".part"   */
static int is_child;

#if !defined(_WIN32)
static volatile pid_t child; /* 0: none                                          */

static void on_signal(int number)
{
    if (child > 0 && kill(child, SIGKILL) == 0) waitpid(child, NULL, 0);
    if (temporary[0]) unlink(temporary);
    if (temporary_part[0]) unlink(temporary_part);
    _exit(128 + number);
}
#endif

static void catch_signals(void)
{
#if !defined(_WIN32)
    static const int numbers[4] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    struct sigaction action;
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    for (i = 0; i < 4; i++) sigaction(numbers[i], &action, NULL);
#endif
}

static void remove_temporary(void)
{
    if (is_child) return; /* it is the other one's                                  */
    if (temporary[0]) remove(temporary);
    if (temporary_part[0]) remove(temporary_part);
    temporary[0] = temporary_part[0] = 0;
}

static void fail(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "bench: %s: %s\n", what, why);
    remove_temporary();
    exit(1);
}

typedef void (*measurement)(const void *in, void *out);

/* Run it in a process of its own, which hands `out` back. This process runs no
 * OpenMP before: its threads would be missing in the other.                  */
static void in_child(measurement measure, const void *in, void *out, size_t size)
{
#if defined(_WIN32)
    memset(out, 0, size);
    measure(in, out);
#else
    int ends[2], status = 0;
    size_t got = 0;
    ssize_t n = 1;
    fflush(NULL); /* or both would write what is buffered                       */
    if (pipe(ends) != 0 || (child = fork()) < 0) fail("no process", strerror(errno));
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        close(ends[0]);
        is_child = 1;
        memset(out, 0, size);
        measure(in, out);
        fflush(stdout);
        _exit(write(ends[1], out, size) != (ssize_t)size);
    }
    close(ends[1]);
    for (; n > 0 && got < size; got += (size_t)n) n = read(ends[0], (char *)out + got, size - got);
    close(ends[0]);
    waitpid(child, &status, 0);
    child = 0;
    if (status != 0 || got != size) {
        remove_temporary();
        exit(1);
    }
#endif
}

/* What this process took at the most so far, pages of mapped files included; -1
 * where that is not known.                                                   */
static double peak_megabytes(void)
{
#if defined(_WIN32)
    return -1;
#else
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    return (double)usage.ru_maxrss / 1048576;
#else
    return (double)usage.ru_maxrss / 1024;
#endif
#endif
}

/* What it takes now. No stdio, which would itself take memory.               */
static double resident_kilobytes(void)
{
#if defined(__linux__)
    char text[128];
    unsigned long pages;
    const int file = open("/proc/self/statm", O_RDONLY);
    const ssize_t n = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (n > 0) {
        text[n] = 0;
        if (sscanf(text, "%*u %lu", &pages) == 1)
            return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
    }
#endif
    return -1;
}

/* Seconds of all cores that this machine has worked, and this process.       */
static void worked(double *all, double *own)
{
    *all = *own = 0;
#if defined(__linux__)
    {
        double t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        struct rusage usage;
        FILE *file = fopen("/proc/stat", "r");
        if (file && fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &t[0], &t[1], &t[2], &t[3],
                           &t[4], &t[5], &t[6], &t[7]) == 8)
            *all = (t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) / (double)sysconf(_SC_CLK_TCK);
        if (file) fclose(file);
        getrusage(RUSAGE_SELF, &usage);
        *own = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    }
#endif
}

/* ---- models ------------------------------------------------------------- */

static const char *const type_names[] = {"", "f32", "f16", "bf16", "q8", "q4"};

typedef struct known_model {
    const char *name, *types;
    const char *path; /* NULL: a random one of this shape                        */
    int         D, F, L;
} known_model;

static const known_model known_models[] = {
    {"story", "f16,q8,q4", "examples/story.rwkv", 0, 0, 0},
    {"169M", "bf16,q8,q4,f16,f32", NULL, 768, 3072, 12},
    {"430M", "bf16,q8,q4", NULL, 1024, 4096, 24},
    {"1.5B", "q8,q4", NULL, 2048, 8192, 24},
};
enum { KNOWN_MODELS = sizeof known_models / sizeof *known_models };

static const known_model *known(const char *name)
{
    int i;
    for (i = 0; i < KNOWN_MODELS; i++)
        if (strcmp(known_models[i].name, name) == 0) return &known_models[i];
    return NULL;
}

static int is_shape(const char *name)
{
    return known(name) && !known(name)->path;
}

static const char *file_of(const char *name)
{
    return known(name) ? known(name)->path : name;
}

static rwkv_model *load(const char *path, int n_threads, int chunk)
{
    rwkv_options options;
    rwkv_error error;
    rwkv_model *model;
    memset(&options, 0, sizeof options);
    options.n_threads = n_threads;
    options.chunk = chunk;
    model = rwkv_load(path, &options, &error);
    if (!model) fail(path, error.message);
    return model;
}

static rwkv_state *new_state(const rwkv_model *model)
{
    rwkv_state *state = rwkv_state_new(model);
    if (!state) fail("no memory", "for a state");
    return state;
}

static rwkv_info look(const char *path)
{
    rwkv_model *model = load(path, 1, 1);
    const rwkv_info info = rwkv_model_info(model);
    rwkv_free(model);
    return info;
}

/* The first of a list of types, and what is left of it; 0: not a type.       */
static rwkv_type next_type(const char **list)
{
    const size_t n = strcspn(*list, ",");
    rwkv_type type = RWKV_TYPE_DEFAULT;
    int i;
    for (i = RWKV_TYPE_F32; i <= RWKV_TYPE_Q4; i++)
        if (strlen(type_names[i]) == n && strncmp(type_names[i], *list, n) == 0)
            type = (rwkv_type)i;
    *list += n + ((*list)[n] == ',');
    return type;
}

typedef struct quantizing {
    const char *in, *out;
    rwkv_type   type;
} quantizing;

static void quantize(const void *in, void *out)
{
    const quantizing *q = (const quantizing *)in;
    rwkv_error error;
    if (rwkv_quantize(q->in, q->out, q->type, &error) != RWKV_OK) fail(q->in, error.message);
    (void)out;
}

/* The path of a file that holds the model in this type; NULL if it is a file of
 * 32 or 16 bits and not of these. It is there until another one is asked for. */
static const char *model_path(const char *name, rwkv_type type)
{
    static char last_name[256];
    static rwkv_type last_type;
    const char *file = file_of(name);
    quantizing q;
    char none;
    if (file && look(file).type == type) return file;
    if (file && type < RWKV_TYPE_Q8) return NULL;
    if (temporary[0] && strcmp(last_name, name) == 0 && last_type == type) return temporary;
    remove_temporary();
    temporary_path(temporary);
    if (file) {
        snprintf(temporary_part, sizeof temporary_part, "%s.part", temporary);
        q.in = file;
        q.out = temporary;
        q.type = type;
        in_child(quantize, &q, &none, sizeof none);
    } else {
        const known_model *k = known(name);
        shape s = {50277, 0, 0, 0, 0, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 1};
        s.D = s.A = k->D;
        s.F = k->F;
        s.L = k->L;
        s.type = type;
        if (model_write_file(&s, temporary) != 0) fail(temporary, "cannot be written");
    }
    snprintf(last_name, sizeof last_name, "%s", name);
    last_type = type;
    return temporary;
}

/* Multiply-adds of one token in the layers, and in the head.                 */
static double layer_products(const rwkv_info *i)
{
    const double D = i->n_embd, A = i->n_att, F = i->n_ffn;
    return i->n_layer * (4 * D * A + D * D + 2 * D * F);
}

static double head_products(const rwkv_info *i)
{
    return (double)i->n_vocab * i->n_embd;
}

/* Bytes of all matrices, which a token reads if it leaves out nothing.       */
static double matrix_bytes(const rwkv_model *model)
{
    double bytes = 0;
    int id;
    for (id = 0; id < RWKV__TENSORS; id++)
        if (rwkv__matrix_index(id) >= 0)
            bytes += (double)rwkv__places_of(&model->file, id).bytes *
                     (id == RWKV__HEAD ? 1 : (double)model->file.n_layer);
    return bytes;
}

#endif /* BENCH_MODELS_H_INCLUDED */
