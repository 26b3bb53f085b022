/* bench_layers.h: where the time of a token of a small model goes. The kernels of
 * the loaded model are replaced by ones that look at the clock before and after:
 * each is measured in its place, with what the caches hold there. What looking at
 * the clock takes is measured too and subtracted. The whole is measured without. */
#ifndef BENCH_LAYERS_H_INCLUDED
#define BENCH_LAYERS_H_INCLUDED

#include "bench_limits.h"
#include "bench_models.h"

enum { HEAD_PRODUCT, MATRICES, PACK, EXP, NORM, MIX, OTHER, PARTS };
enum { LAYER_ROUNDS = 64, LAYER_TOKENS = 32 };

static const char *const part_names[PARTS] = {
    "head", "matrices", "inputs made 8-bit", "exp: wkv, sigmoid", "layer norms", "mixes",
    "other vectors"
};

/* ---- kernels that are measured ------------------------------------------ */

static rwkv__kernels real;
static double part_seconds[PARTS];
static long part_calls[PARTS];

static void add_time(int part, double start)
{
    part_seconds[part] += now() - start;
    part_calls[part]++;
}

static void timed_matmul(const rwkv__matmul *product, size_t first, size_t end, size_t T,
                         float *wide)
{
    const double start = now();
    real.matmul[product->storage](product, first, end, T, wide);
    add_time(product->rows ? HEAD_PRODUCT : MATRICES, start);
}

/* The kernel `name` with these parameters, as a part of the whole.           */
#define TIMED(name, part, parameters, arguments) \
    static void timed_##name parameters          \
    {                                            \
        const double start = now();              \
        real.name arguments;                     \
        add_time(part, start);                   \
    }
TIMED(pack, PACK, (float *x, size_t n), (x, n))
TIMED(norm, NORM, (float *y, size_t y_block, const float *x, size_t x_block, const float *w,
                   const float *b, size_t D, float eps), (y, y_block, x, x_block, w, b, D, eps))
TIMED(mix, MIX, (float *y, const float *x, const float *previous, const float *mu, size_t n),
      (y, x, previous, mu, n))
TIMED(wkv, EXP, (float *r, const float *k, const float *v, const float *u, const float *w, float *a,
                 float *b, float *p, size_t n), (r, k, v, u, w, a, b, p, n))
TIMED(relu_square, OTHER, (float *k, size_t n), (k, n))
TIMED(add, OTHER, (float *x, const float *y, size_t n), (x, y, n))
TIMED(gate, EXP, (float *x, const float *r, const float *y, size_t n), (x, r, y, n))

static rwkv__kernels timed_kernels(const rwkv__kernels *kernels)
{
    rwkv__kernels timed = *kernels;
    int i;
    for (i = 0; i < RWKV__STORAGES; i++) timed.matmul[i] = timed_matmul;
    timed.pack = timed_pack;
    timed.norm = timed_norm;
    timed.mix = timed_mix;
    timed.wkv = timed_wkv;
    timed.relu_square = timed_relu_square;
    timed.add = timed_add;
    timed.gate = timed_gate;
    return timed;
}

/* ---- what is measured --------------------------------------------------- */

typedef struct layers_in {
    const char *path;
    int         n_threads; /* of the handovers                                   */
    double      seconds;
} layers_in;

typedef struct breakdown {
    int    n_layer;
    double token, part[PARTS];   /* seconds per token                            */
    double calls;                /* of kernels, per token                        */
    double peak, read;           /* GFLOP/s, GB/s: one thread, in cache          */
    double operations, bytes;    /* of a token, in all matrices                  */
    double handovers, handover;  /* to threads, per token; seconds of one        */
} breakdown;

/* Seconds that a look at the clock adds to what is measured.                 */
static double clock_seconds(void)
{
    const double start = now();
    double sum = 0;
    int i;
    for (i = 0; i < 20000; i++) {
        const double from = now();
        sum += now() - from;
    }
    return sum < now() - start ? sum / 20000 : 0;
}

/* Work that others would do, done here, and how often it was given away.     */
static void count_run(int n, void (*work)(void *context, int i), void *context, void *user)
{
    int i;
    for (i = 0; i < n; i++) work(context, i);
    ++*(long *)user;
}

static double count_handovers(const char *path, int n_threads)
{
    rwkv_options options;
    rwkv_model *model;
    rwkv_state *state;
    long calls = 0;
    memset(&options, 0, sizeof options);
    options.n_threads = n_threads;
    options.parallel.run = count_run;
    options.parallel.user = &calls;
    model = rwkv_load(path, &options, NULL);
    if (!model) fail(path, "cannot be loaded again");
    state = new_state(model);
    rwkv_eval(0, state);
    rwkv_state_free(state);
    rwkv_free(model);
    return (double)calls;
}

/* Seconds to have n threads do nothing, after as long a pause as there is in a
 * token: they may have gone to sleep.                                        */
static double time_handover(int n_threads, double pause)
{
    enum { TIMES = 501 };
    double times[TIMES];
    int i, k;
    for (k = 0; k < TIMES; k++) {
        double start = now();
        while (now() - start < pause) {}
        start = now();
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(n_threads)
#endif
        for (i = 0; i < n_threads; i++) keep_integer = (uint64_t)i;
        times[k] = now() - start;
    }
    return median(times, TIMES);
}

/* The time that a quarter of them undercut: others on the machine only add.   */
static double quartile(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 4];
}

typedef struct samples { /* seconds of every token, whole and in parts */
    double token[LAYER_ROUNDS * LAYER_TOKENS], part[PARTS][LAYER_ROUNDS * LAYER_TOKENS];
    double peak[LAYER_ROUNDS], read[LAYER_ROUNDS]; /* 1 / GFLOP/s, 1 / GB/s        */
} samples;

/* Some tokens as they are, and the same with the kernels that are measured.  */
static void sample_tokens(const int *tokens, rwkv_model *model, rwkv_state *state, int at,
                          samples *s)
{
    const rwkv__kernels timed = timed_kernels(&real);
    const double look = clock_seconds();
    int i, k;
    for (i = 0; i < LAYER_TOKENS; i++) {
        const double start = now();
        rwkv_eval(tokens[i], state);
        s->token[at + i] = now() - start;
    }
    model->kernels = timed;
    for (i = 0; i < LAYER_TOKENS; i++) {
        memset(part_seconds, 0, sizeof part_seconds);
        memset(part_calls, 0, sizeof part_calls);
        rwkv_eval(tokens[i], state);
        for (k = 0; k < PARTS; k++)
            s->part[k][at + i] = part_seconds[k] - look * (double)part_calls[k];
    }
    model->kernels = real;
}

/* Tokens and the limits, in turn.                                            */
static void measure_layers(const void *input, void *output)
{
    const layers_in *in = (const layers_in *)input;
    breakdown *out = (breakdown *)output;
    rwkv_model *model = load(in->path, 1, 1);
    rwkv_state *state = new_state(model);
    const rwkv_info info = rwkv_model_info(model);
    const chains run = info.type >= RWKV_TYPE_Q8 ? dot_chains() : fma_chains();
    samples *s = (samples *)test_alloc(sizeof *s);
    double end;
    reading pool;
    int tokens[LAYER_TOKENS], n, i;
    limit_seconds /= 4; /* between two turns of others, where there are any          */
    real = model->kernels;
    out->n_layer = info.n_layer;
    out->bytes = matrix_bytes(model);
    out->operations = 2 * (layer_products(&info) + head_products(&info));
    reading_init(&pool, out->bytes, 1);
    random_tokens(5, info.n_vocab, tokens, LAYER_TOKENS);
    sample_tokens(tokens, model, state, 0, s); /* to warm up                        */
    for (n = 0, end = now() + in->seconds; n < LAYER_ROUNDS && (n < 5 || now() < end); n++) {
        sample_tokens(tokens, model, state, n * LAYER_TOKENS, s);
        s->peak[n] = 1 / peak_limit(run, 1);
        s->read[n] = 1 / read_limit(&pool);
    }
    for (i = 0; i < PARTS; i++) {
        out->part[i] = quartile(s->part[i], n * LAYER_TOKENS);
        out->calls += (double)part_calls[i];
    }
    out->token = quartile(s->token, n * LAYER_TOKENS);
    out->peak = 1 / quartile(s->peak, n);
    out->read = 1 / quartile(s->read, n);
    reading_free(&pool);
    free(s);
    rwkv_state_free(state);
    rwkv_free(model);
    out->handovers = count_handovers(in->path, in->n_threads);
    if (out->handovers > 0)
        out->handover = time_handover(in->n_threads, out->token / out->handovers);
}

/* ---- the report --------------------------------------------------------- */

/* One line, and one of the figures.                                           */
static void print_part(const char *name, double seconds, const breakdown *b, int in_layers,
                       FILE *json)
{
    printf("  %-28s %8.0f", name, 1e9 * seconds);
    if (in_layers) printf(" %10.0f", 1e9 * seconds / b->n_layer);
    else printf(" %10s", "");
    printf(" %7.1f %%\n", 100 * seconds / b->token);
    if (json)
        fprintf(json, "%s\"%s\": %.5g", name == part_names[MATRICES] ? "" : ", ", name,
                1e9 * seconds);
}

static void layers_of(const char *name, const char *path, rwkv_type type, int n_threads,
                      double seconds, FILE *json)
{
    layers_in in;
    breakdown b;
    double rest;
    int i;
    in.path = path;
    in.n_threads = n_threads;
    in.seconds = seconds;
    in_child(measure_layers, &in, &b, sizeof b);
    for (i = 0, rest = b.token; i < PARTS; i++) rest -= b.part[i];
    printf("%s %s, one thread: %.1f tokens/s, %.0f calls of kernels each\n", name, type_names[type],
           1 / b.token, b.calls);
    printf("  %-28s %8s %10s %9s\n", "", "ns", "ns/layer", "");
    if (json)
        fprintf(json, "{\"part\": \"layers\", \"model\": \"%s\", \"type\": \"%s\", \"ns\": {", name,
                type_names[type]);
    for (i = MATRICES; i < PARTS; i++) print_part(part_names[i], b.part[i], &b, 1, json);
    print_part("the rest: calls, splitting", rest, &b, 1, json);
    print_part("head", b.part[HEAD_PRODUCT], &b, 0, json);
    print_part("a token", b.token, &b, 0, json);
    print_part("bound: multiply-adds", b.operations / b.peak / 1e9, &b, 0, json);
    print_part("bound: reading, in cache", b.bytes / b.read / 1e9, &b, 0, json);
    if (json) fprintf(json, "}}\n");
    printf("  the bounds are those of %.0f %s and %.1f GB/s\n", b.peak,
           type >= RWKV_TYPE_Q8 ? "GOP/s" : "GFLOP/s", b.read);
    if (n_threads > 1)
        printf("  on %d threads work is handed over at %.0f places, for %.0f ns each\n", n_threads,
               b.handovers, 1e9 * b.handover);
    printf("\n");
}

#endif /* BENCH_LAYERS_H_INCLUDED */
