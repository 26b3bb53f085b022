/* soak.h: very many tokens: does a difference grow, does a bit change, does memory run away?
 *
 * Include after rwkv.h; link with twin.c. Three models read the same tokens:
 *
 *   the model    one token at a time, by the widest kernels there are
 *   the same     another way: chunks of 7, in two calls for every 100 tokens, split into three
 *                parts, codes by other kernels; now and then its state is saved and loaded into
 *                another one. Every bit of logits and state must be the same
 *   its twin     in double, with the weights as they are. The difference is what rounding adds:
 *                that of floats, and with codes that of the inputs of products
 *
 *     soak_plan plan = {&image, SOAK_RANDOM, 1000000, 1, NULL};
 *     soak_result r = soak(&plan);
 *     const char *fault = soak_fault(&plan, &r, 1e-4);                       */
#ifndef SOAK_H_INCLUDED
#define SOAK_H_INCLUDED

#include <float.h>
#include "model.h"
#include "twin.h"

typedef enum soak_stream {
    SOAK_RANDOM,
    SOAK_ONE,     /* the same token again and again                            */
    SOAK_TWO,     /* two tokens in turn                                        */
    SOAK_TEXT,    /* what the model writes itself                              */
    SOAK_STREAMS
} soak_stream;

static const char *const soak_names[SOAK_STREAMS] = {"random", "one", "two", "text"};

enum { SOAK_WINDOWS = 10, SOAK_PIECE = 100 };

typedef struct soak_plan {
    const model_image *image;
    soak_stream        stream;
    long               n;                   /* tokens: whole pieces in every window */
    uint64_t           seed;
    void             (*meddle)(rwkv_state *); /* called after each piece; or NULL */
} soak_plan;

typedef struct soak_result {
    long     tokens;                /* that were read                           */
    double   most[SOAK_WINDOWS];    /* the largest difference of a logit from the twin's */
    double   rms[SOAK_WINDOWS];     /* of all of them                           */
    double   farthest;              /* the largest of all windows               */
    double   growth;                /* see soak_sum_up                          */
    long     top;                   /* tokens after which another is the likeliest */
    long     different;             /* pieces with other bits another way       */
    double   largest;               /* number of the state, after any piece     */
    long     not_finite, subnormal; /* numbers of it, after all pieces          */
    long     kilobytes, more;       /* resident memory after the first window, and how much
                                       more at the end; 0 where nobody knows    */
    uint64_t hash;                  /* of all logits, on a little-endian machine */
} soak_result;

/* All that is needed on the way, where nothing is allocated.                  */
typedef struct soaking {
    const soak_plan *plan;
    twin            *twin;
    rwkv_model      *model, *other_model;
    rwkv_state      *state, *other, *spare;
    rwkv_sampler     sampler;
    uint64_t         seed;
    int              V, pair[2], tokens[SOAK_PIECE];
    float           *logits, *other_logits; /* (SOAK_PIECE, V)                   */
    double          *truth;
    uint8_t         *saved, *other_saved;
    size_t           save_bytes;
} soaking;

/* In KB; 0 if the system does not tell.                                      */
static inline long soak_resident(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmRSS:", 6) == 0) kilobytes = strtol(line + 6, NULL, 10);
    }
    if (file) fclose(file);
    return kilobytes;
}

/* With codes by the narrowest vector kernels; with floats these may have no fused
 * multiply-add, and would take longer than all the rest.                     */
static inline rwkv_options soak_other_way(rwkv_type type)
{
    const char *narrow = rwkv_isa_available(1);
    rwkv_options o = options_isa(has_codes(type) ? narrow : NULL);
    o.chunk = 7;
    o.n_threads = 3;
    o.parallel.run = run_backwards;
    return o;
}

static inline int soak_begin(soaking *s, const soak_plan *plan)
{
    const rwkv_options o = soak_other_way(plan->image->s.type);
    const size_t V = (size_t)plan->image->s.V;
    ref_model weights = ref_from_image(plan->image);
    memset(s, 0, sizeof *s);
    s->plan = plan;
    s->seed = plan->seed;
    s->V = plan->image->s.V;
    s->pair[0] = random_below(&s->seed, s->V);
    s->pair[1] = random_below(&s->seed, s->V);
    s->sampler.temperature = 1;
    s->sampler.seed = plan->seed;
    s->twin = twin_new(&weights);
    s->model = load_image(plan->image, NULL);
    s->other_model = load_image(plan->image, &o);
    s->state = rwkv_state_new(s->model);
    s->other = rwkv_state_new(s->other_model);
    s->spare = rwkv_state_new(s->other_model);
    s->save_bytes = rwkv_model_info(s->model).save_bytes;
    s->saved = (uint8_t *)test_alloc(s->save_bytes);
    s->other_saved = (uint8_t *)test_alloc(s->save_bytes);
    s->logits = (float *)test_alloc(V * SOAK_PIECE * sizeof *s->logits);
    s->other_logits = (float *)test_alloc(V * SOAK_PIECE * sizeof *s->logits);
    s->truth = (double *)test_alloc(V * SOAK_PIECE * sizeof *s->truth);
    ref_model_free(&weights);
    return CHECK(s->twin && s->state && s->other && s->spare);
}

static inline void soak_end(soaking *s)
{
    twin_free(s->twin);
    rwkv_state_free(s->state);
    rwkv_state_free(s->other);
    rwkv_state_free(s->spare);
    rwkv_free(s->model);
    rwkv_free(s->other_model);
    free(s->saved);
    free(s->other_saved);
    free(s->logits);
    free(s->other_logits);
    free(s->truth);
}

static inline int soak_next(soaking *s, long at)
{
    switch (s->plan->stream) {
    case SOAK_RANDOM: return random_below(&s->seed, s->V);
    case SOAK_ONE:    return s->pair[0];
    case SOAK_TWO:    return s->pair[at % 2];
    default:          return at ? rwkv_sample(&s->sampler, s->state) : 0;
    }
}

/* The next piece, one by one. 0 if there is no next token.                   */
static inline int soak_read(soaking *s, long at)
{
    int t;
    for (t = 0; t < SOAK_PIECE; t++) {
        const float *logits;
        s->tokens[t] = soak_next(s, at + t);
        logits = rwkv_eval(s->tokens[t], s->state);
        if (!logits) return 0;
        memcpy(s->logits + (size_t)t * (size_t)s->V, logits, (size_t)s->V * sizeof *logits);
    }
    return 1;
}

/* The same piece another way. Returns whether all bits are the same.          */
static inline int soak_same(soaking *s)
{
    const int first = random_below(&s->seed, SOAK_PIECE + 1);
    const size_t bytes = (size_t)s->V * SOAK_PIECE * sizeof *s->logits;
    if (random_below(&s->seed, 10) == 0) {
        rwkv_state *from = s->other;
        rwkv_state_save(from, s->other_saved, s->save_bytes);
        if (rwkv_state_load(s->spare, s->other_saved, s->save_bytes) != RWKV_OK) return 0;
        s->other = s->spare;
        s->spare = from;
    }
    rwkv_eval_all(s->tokens, first, s->other, s->other_logits);
    rwkv_eval_all(s->tokens + first, SOAK_PIECE - first, s->other,
                  s->other_logits + (size_t)first * (size_t)s->V);
    rwkv_state_save(s->state, s->saved, s->save_bytes);
    rwkv_state_save(s->other, s->other_saved, s->save_bytes);
    return memcmp(s->logits, s->other_logits, bytes) == 0 &&
           memcmp(s->saved, s->other_saved, s->save_bytes) == 0;
}

/* The piece beside the twin's.                                               */
static inline void soak_compare(soaking *s, soak_result *r, int window)
{
    int t, i;
    if (!CHECK(twin_eval_all(s->twin, s->tokens, SOAK_PIECE, s->truth))) return;
    for (t = 0; t < SOAK_PIECE; t++) {
        const float *x = s->logits + (size_t)t * (size_t)s->V;
        const double *y = s->truth + (size_t)t * (size_t)s->V;
        int is = 0, should = 0;
        for (i = 0; i < s->V; i++) {
            const double off = (double)x[i] - y[i];
            r->rms[window] += off * off;
            if (x[i] > x[is]) is = i;
            if (y[i] > y[should]) should = i;
        }
        r->most[window] = fmax(r->most[window], farthest(x, y, (size_t)s->V));
        r->top += is != should;
    }
    r->hash = hash_bytes(r->hash, s->logits, (size_t)s->V * SOAK_PIECE * sizeof *s->logits);
}

static inline void soak_look(soaking *s, soak_result *r)
{
    int part, l, i, n;
    for (l = 0; l < s->plan->image->s.L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *x = rwkv_state_view(s->state, (rwkv_part)part, l, &n);
            for (i = 0; i < n; i++) {
                const float size = fabsf(x[i]);
                if (!(size <= FLT_MAX)) r->not_finite++;
                else r->largest = fmax(r->largest, (double)size);
                r->subnormal += size > 0 && size < FLT_MIN;
            }
        }
    }
}

/* The growth is that of the rms from the third window to the last, by the least-squares line, as
 * part of its mean: a state fills, and what is forgotten takes time.          */
static inline void soak_sum_up(const soaking *s, soak_result *r)
{
    const double each = (double)r->tokens / SOAK_WINDOWS * s->V, n = SOAK_WINDOWS - 2;
    const double middle = (SOAK_WINDOWS + 1) / 2.0;
    double mean = 0, slope = 0, squares = 0;
    int i;
    for (i = 0; i < SOAK_WINDOWS; i++) {
        r->rms[i] = sqrt(r->rms[i] / each);
        r->farthest = fmax(r->farthest, r->most[i]);
        if (i < 2) continue;
        mean += r->rms[i] / n;
        slope += (i - middle) * r->rms[i];
        squares += (i - middle) * (i - middle);
    }
    r->growth = mean > 0 ? slope / squares * (n - 1) / mean : 0;
}

static inline soak_result soak(const soak_plan *plan)
{
    const long window = plan->n / SOAK_WINDOWS;
    soak_result r;
    soaking s;
    memset(&r, 0, sizeof r);
    if (soak_begin(&s, plan)) {
        while (r.tokens < plan->n && soak_read(&s, r.tokens)) {
            if (plan->meddle) plan->meddle(s.state);
            r.different += !soak_same(&s);
            soak_compare(&s, &r, (int)(r.tokens / window));
            soak_look(&s, &r);
            r.tokens += SOAK_PIECE;
            if (r.tokens == window) r.kilobytes = soak_resident();
        }
        r.more = soak_resident() - r.kilobytes;
        soak_sum_up(&s, &r);
    }
    soak_end(&s);
    return r;
}

/* What is wrong, or NULL. `limit`: how far a logit may be from the twin's.    */
static inline const char *soak_fault(const soak_plan *plan, const soak_result *r, double limit)
{
    if (r->tokens < plan->n) return "no next token";
    if (r->not_finite) return "NaN or infinity in the state";
    if (r->subnormal) return "subnormal numbers in the state";
    if (r->different) return "other bits another way";
    if (!(r->farthest < limit)) return "too far from the twin";
    if (!(r->growth < 0.2)) return "the difference grows";
    if (r->more > 256) return "memory grows";
    return NULL;
}

#endif /* SOAK_H_INCLUDED */
