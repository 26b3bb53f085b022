/* bench_curves.h: how speed grows with the states that are evaluated at once, and
 * how time and memory go with the length of a text.                          */
#ifndef BENCH_CURVES_H_INCLUDED
#define BENCH_CURVES_H_INCLUDED

#include "bench_limits.h"
#include "bench_models.h"

/* ---- batch -------------------------------------------------------------- */

enum { BATCHES = 4, MOST_STATES = 64, BATCH_ROUNDS = 16 };
static const int batches[BATCHES] = {1, 4, 16, 64};

typedef struct batch_of {
    const char *path;
    int         n_threads;
    double      seconds;
} batch_of;

/* Tokens per second of each batch: the sizes take turns.                     */
static void measure_batch(const void *input, void *output)
{
    const batch_of *in = (const batch_of *)input;
    const double slice = in->seconds / 20;
    double *out = (double *)output, rate[BATCHES][BATCH_ROUNDS], end;
    rwkv_model *model = load(in->path, in->n_threads, MOST_STATES);
    rwkv_state *states[MOST_STATES];
    int tokens[MOST_STATES], V = rwkv_model_info(model).n_vocab, n, i, k;
    uint64_t seed = 1;
    for (i = 0; i < MOST_STATES; i++) {
        states[i] = new_state(model);
        rwkv_eval(i % V, states[i]);
    }
    for (n = 0, end = now() + in->seconds; n < BATCH_ROUNDS && (n < 3 || now() < end); n++)
        for (i = 0; i < BATCHES; i++) {
            const double start = now();
            double used = 0;
            for (k = 0; used < slice; k++, used = now() - start) {
                random_tokens(random_bits(&seed), V, tokens, batches[i]);
                rwkv_eval_batch(tokens, states, batches[i]);
            }
            rate[i][n] = k * batches[i] / used;
        }
    for (i = 0; i < BATCHES; i++) out[i] = median(rate[i], n);
    for (i = 0; i < MOST_STATES; i++) rwkv_state_free(states[i]);
    rwkv_free(model);
}

static void batch_line(const char *name, const char *path, rwkv_type type, int n_threads,
                       double seconds, int first, FILE *json)
{
    batch_of in;
    double rate[BATCHES];
    int i;
    in.path = path;
    in.n_threads = n_threads;
    in.seconds = seconds;
    in_child(measure_batch, &in, rate, sizeof rate);
    if (first) {
        printf("tokens per second of rwkv_eval_batch, and times those of one state:\n"
               "%-12s %-4s %3s", "model", "type", "thr");
        for (i = 0; i < BATCHES; i++)
            printf(" %9d %s%5s", batches[i], i ? "states" : "state ", "");
        printf("\n");
    }
    printf("%-12s %-4s %3d", name, type_names[type], n_threads);
    for (i = 0; i < BATCHES; i++) {
        printf(" %9.1f %5.1f x%4s", rate[i], rate[i] / rate[0], "");
        if (json)
            fprintf(json, "{\"part\": \"batch\", \"model\": \"%s\", \"type\": \"%s\", "
                    "\"threads\": %d, \"states\": %d, \"rate\": %.5g}\n",
                    name, type_names[type], n_threads, batches[i], rate[i]);
    }
    printf("\n");
}

/* ---- the length of a text ----------------------------------------------- */

enum { MOST_TOKENS = 1 << 20, MOST_POINTS = 24, LINEAR_RUNS = 3, FIT_FROM = 256 };

typedef struct linear_of {
    const char *path;
    int         n_tokens;
} linear_of;

/* At 1, 2, 4, 8... tokens, and at the last.                                  */
typedef struct curve {
    int    n, runs, tokens[MOST_POINTS];
    double seconds[MOST_POINTS], resident[MOST_POINTS]; /* KB                        */
    double rate, deviation; /* of the straight line; largest, in % of it        */
    double state_bytes, save_bytes;
} curve;

/* The straight line through the origin with the least squares, and how far the
 * sum of the times strays from it.                                           */
static void fit_line(const double *times, int n, curve *out)
{
    double sum, squares = 0, products = 0, slope;
    int i;
    for (i = 0, sum = 0; i < n; i++) {
        sum += times[i];
        products += sum * (i + 1);
        squares += (double)(i + 1) * (i + 1);
    }
    slope = products / squares;
    out->rate = 1 / slope;
    for (i = 0, sum = 0; i < n; i++) {
        sum += times[i];
        if (i + 1 >= FIT_FROM && fabs(sum / (slope * (i + 1)) - 1) * 100 > out->deviation)
            out->deviation = fabs(sum / (slope * (i + 1)) - 1) * 100;
    }
}

/* Take all pages of a mapped file into memory now, not when their tokens come.  */
static void touch(const rwkv_model *model, double bytes)
{
    size_t i;
    unsigned sum = 0;
    for (i = 0; i < (size_t)bytes; i += 1024) sum += model->data[i];
    keep_integer = sum;
}

/* Random tokens, one by one. Of several runs each token's least time counts: what
 * others do on the machine only adds to it.                                  */
static void measure_curve(const void *input, void *output)
{
    const linear_of *in = (const linear_of *)input;
    curve *out = (curve *)output;
    rwkv_model *model = load(in->path, 1, 1);
    rwkv_state *state = new_state(model);
    const rwkv_info info = rwkv_model_info(model);
    int *tokens = (int *)test_alloc(sizeof *tokens * (size_t)in->n_tokens), run, i;
    double *times = (double *)test_alloc(sizeof *times * (size_t)in->n_tokens), sum, used = 0;
    random_tokens(4, info.n_vocab, tokens, in->n_tokens);
    for (i = 0; i < in->n_tokens; i++) times[i] = 1e9; /* which takes the memory, too  */
    touch(model, (double)info.model_bytes);
    resident_kilobytes();
    for (run = 0; run < LINEAR_RUNS && used < 10; run++) {
        const double begin = now();
        rwkv_state_reset(state);
        for (i = 0, out->n = 0; i < in->n_tokens; i++) {
            const double start = now();
            double time;
            rwkv_eval(tokens[i], state);
            time = now() - start;
            if (time < times[i]) times[i] = time;
            if ((i & (i + 1)) == 0 || i + 1 == in->n_tokens) {
                out->tokens[out->n] = i + 1;
                if (run == 0) out->resident[out->n] = resident_kilobytes();
                out->n++;
            }
        }
        used = now() - begin;
    }
    out->runs = run;
    for (i = 0, run = 0, sum = 0; i < in->n_tokens; i++) {
        sum += times[i];
        if (i + 1 == out->tokens[run]) out->seconds[run++] = sum;
    }
    fit_line(times, in->n_tokens, out);
    out->state_bytes = (double)info.state_bytes;
    out->save_bytes = (double)info.save_bytes;
    rwkv_state_free(state);
    rwkv_free(model);
    free(tokens);
    free(times);
}

static void linear_curve(const char *name, const char *path, rwkv_type type, int n_tokens,
                         FILE *json)
{
    linear_of in;
    curve c;
    int i;
    in.path = path;
    in.n_tokens = n_tokens < MOST_TOKENS ? n_tokens : MOST_TOKENS;
    in_child(measure_curve, &in, &c, sizeof c);
    printf("linear time, constant memory: %s %s, one by one, one thread, the least of %d runs\n",
           name, type_names[type], c.runs);
    printf("%8s %12s %12s %10s\n", "tokens", "seconds", "us/token", "RSS KB");
    for (i = 0; i < c.n; i++) {
        char resident[24] = "-";
        if (c.resident[i] >= 0) snprintf(resident, sizeof resident, "%.0f", c.resident[i]);
        printf("%8d %12.6f %12.2f %10s\n", c.tokens[i], c.seconds[i],
               1e6 * c.seconds[i] / c.tokens[i], resident);
        if (json)
            fprintf(json, "{\"part\": \"linear\", \"model\": \"%s\", \"type\": \"%s\", "
                    "\"tokens\": %d, \"seconds\": %.6g, \"resident\": %s}\n",
                    name, type_names[type], c.tokens[i], c.seconds[i],
                    c.resident[i] >= 0 ? resident : "null");
    }
    printf("from %d tokens on at most %.2f %% from the straight line of %.1f tokens/s", FIT_FROM,
           c.deviation, c.rate);
    if (c.resident[0] >= 0)
        printf("; memory grew by %.0f KB", c.resident[c.n - 1] - c.resident[0]);
    printf("\na state takes %.0f bytes, %.0f of them the text so far (what is saved)\n\n",
           c.state_bytes, c.save_bytes);
    if (json)
        fprintf(json, "{\"part\": \"line\", \"model\": \"%s\", \"type\": \"%s\", \"rate\": %.5g, "
                "\"deviation\": %.4g, \"state\": %.0f, \"saved\": %.0f}\n", name, type_names[type],
                c.rate, c.deviation, c.state_bytes, c.save_bytes);
}

#endif /* BENCH_CURVES_H_INCLUDED */
