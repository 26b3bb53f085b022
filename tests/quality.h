/* quality.h: how far a model with fewer bits is from the one it was made of.
 *
 * Include after rwkv.h. Rounded copies of a model file, and several models side by
 * side over one text:
 *
 *     candidate c[2];
 *     c[0] = candidate_image("f16", image_from_file("story.rwkv"));   the truth
 *     c[1] = candidate_rounded(&c[0].image, &ggml_types[1]);
 *     compare(c, 2, tokens, n);
 *     printf("KL %g\n", c[1].kl);
 *     candidates_free(c, 2);                                                 */
#ifndef QUALITY_H_INCLUDED
#define QUALITY_H_INCLUDED

#include "model.h"

/* ---- ggml's types, from their public definitions ------------------------- */

enum { GGML_BLOCK = 32 };

static inline double f16_of(double x)
{
    return f16_to_double(f16_from_float((float)x));
}

static inline void round_q8_0(float *x, int n)
{
    double most = 0, d, scale;
    int i;
    for (i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    scale = most > 0 ? 127 / most : 0;
    d = f16_of(most / 127);
    for (i = 0; i < n; i++) x[i] = (float)(d * round((double)x[i] * scale));
}

/* The value that is the farthest from 0 becomes code 0, exactly.             */
static inline void round_q4_0(float *x, int n)
{
    double most = 0, d, scale;
    int i;
    for (i = 0; i < n; i++) if (fabs((double)x[i]) > fabs(most)) most = (double)x[i];
    scale = most < 0 || most > 0 ? -8 / most : 0;
    d = f16_of(most / -8);
    for (i = 0; i < n; i++) {
        x[i] = (float)(d * (fmin(15, floor((double)x[i] * scale + 8.5)) - 8));
    }
}

/* Steps from the least to the largest, the codes 0 to `top`.                 */
static inline void round_range(float *x, int n, int top)
{
    double least = (double)x[0], most = least, d, m, scale;
    int i;
    for (i = 1; i < n; i++) {
        least = fmin(least, (double)x[i]);
        most = fmax(most, (double)x[i]);
    }
    scale = most > least ? top / (most - least) : 0;
    d = f16_of((most - least) / top);
    m = f16_of(least);
    for (i = 0; i < n; i++) {
        x[i] = (float)(d * fmin(top, floor(((double)x[i] - least) * scale + 0.5)) + m);
    }
}

static inline void round_q4_1(float *x, int n) { round_range(x, n, 15); }
static inline void round_q5_1(float *x, int n) { round_range(x, n, 31); }

typedef struct ggml_type {
    const char *name;
    int         bytes;                 /* of a block                           */
    void      (*block)(float *x, int n);
} ggml_type;

enum { GGML_Q8_0, GGML_Q5_1, GGML_Q4_1, GGML_Q4_0, GGML_TYPES };

static const ggml_type ggml_types[GGML_TYPES] = {
    {"ggml Q8_0", 34, round_q8_0}, {"ggml Q5_1", 24, round_q5_1},
    {"ggml Q4_1", 20, round_q4_1}, {"ggml Q4_0", 18, round_q4_0},
};

/* ---- bits ---------------------------------------------------------------- */

/* Where the header of a Q8 or Q4 file has the bits of a matrix's codes.       */
static inline int quality_bits_at(tensor_role role)
{
    switch (role) {
    case ATT_RECEPTANCE: return 68;
    case ATT_KEY:        return 69;
    case ATT_VALUE:      return 70;
    case ATT_OUTPUT:     return 71;
    case FFN_RECEPTANCE: return 72;
    case FFN_KEY:        return 73;
    case FFN_VALUE:      return 74;
    default:             return 75;
    }
}

/* Of all matrices of a model file together, each with its scales and padding; as
 * `ggml` has them, if that is not NULL.                                      */
static inline double bits_per_weight(const model_image *m, const ggml_type *ggml)
{
    double bytes = 0, weights = 0;
    int i;
    for (i = 0; i < tensor_count(&m->s); i++) {
        tensor t = tensor_form_bits(&m->s, i, m->data + AT_BITS);
        uint64_t blocks = ((uint64_t)t.K + 31) / 32;
        if (matrix_number(t.role) < 0) continue;
        weights += (double)t.R * t.K;
        if (ggml) bytes += (double)t.R * (double)blocks * ggml->bytes;
        else bytes += (double)t.bytes;
    }
    return 8 * bytes / weights;
}

/* ---- copies of a model --------------------------------------------------- */

static inline void copy_tensor(const model_image *from, const tensor *t, model_image *to,
                               const tensor *u, const ggml_type *ggml)
{
    float *row = (float *)test_alloc((size_t)t->K * sizeof *row);
    int r, k;
    for (r = 0; r < t->R; r++) {
        for (k = 0; k < t->K; k++) {
            row[k] = (float)element_at(from->s.type, from->data + tensor_at(&from->s, t, r, k));
        }
        for (k = 0; k < t->K && ggml && matrix_number(t->role) >= 0; k += GGML_BLOCK) {
            ggml->block(row + k, t->K - k < GGML_BLOCK ? t->K - k : GGML_BLOCK);
        }
        for (k = 0; k < t->K; k++) {
            uint8_t *p = to->data + tensor_at(&to->s, u, r, k);
            if (to->s.type == RWKV_TYPE_F32) put32(p, float_bits(row[k]));
            else put16(p, element_from_float(to->s.type, row[k]));
        }
    }
    free(row);
}

/* A 32 or 16-bit model with its elements in another such type; the matrices, if
 * ggml is not NULL, rounded as it says.                                      */
static inline model_image image_as(const model_image *from, rwkv_type type, const ggml_type *ggml)
{
    const size_t vocab_bytes = (size_t)get64(from->data + AT_VOCAB_BYTES);
    model_image to;
    int i;
    memset(&to, 0, sizeof to);
    to.s = from->s;
    to.s.type = type;
    to.size = HEADER_BYTES + (size_t)shape_tensor_bytes(&to.s) + vocab_bytes;
    to.data = aligned_bytes(to.size, &to.memory);
    memset(to.data, 0, to.size);
    memcpy(to.data, from->data, HEADER_BYTES);
    put32(to.data + AT_TYPE, (uint32_t)type);
    put64(to.data + AT_FILE_BYTES, to.size);
    for (i = 0; i < tensor_count(&to.s); i++) {
        tensor t = tensor_form(&to.s, i), u = tensor_find(&to.s, t.role, t.layer);
        t = tensor_find(&from->s, t.role, t.layer);
        if (t.kind == VECTOR) memcpy(to.data + u.offset, from->data + t.offset, (size_t)t.bytes);
        else copy_tensor(from, &t, &to, &u, ggml);
    }
    memcpy(to.data + to.size - vocab_bytes, from->data + from->size - vocab_bytes, vocab_bytes);
    image_fix(&to);
    return to;
}

/* ---- models side by side ------------------------------------------------- */

typedef struct candidate {
    const char *name;
    double      bits;         /* per weight                                    */
    model_image image;
    rwkv_model *model;
    rwkv_state *state;
    /* of compare()                                                            */
    double      nats, kl;     /* a token: expected so; divergence from the truth */
    double      agree;        /* part of the tokens where the likeliest is the same */
} candidate;

/* A model with these bytes, which it takes over. Its model is NULL, and why is said,
 * if it cannot be used.                                                      */
static inline candidate candidate_image(const char *name, model_image image)
{
    candidate c;
    rwkv_error error = {RWKV_OK, 0, "cannot be read"};
    memset(&c, 0, sizeof c);
    c.name = name;
    c.image = image;
    if (image.data) c.model = rwkv_load_memory(image.data, image.size, NULL, &error);
    if (!c.model) {
        printf("%s: %s\n", name, error.message);
        return c;
    }
    c.bits = bits_per_weight(&image, NULL);
    c.state = rwkv_state_new(c.model);
    if (!c.state) test_alloc((size_t)-1 / 2); /* says that there is no memory */
    return c;
}

static inline candidate candidate_rounded(const model_image *truth, const ggml_type *ggml)
{
    candidate c = candidate_image(ggml->name, image_as(truth, RWKV_TYPE_F32, ggml));
    c.bits = bits_per_weight(truth, ggml);
    return c;
}

/* What rwkv_quantize makes of the model file at `path`, in a file at `to`.   */
static inline candidate candidate_quantized(const char *path, const char *to, rwkv_type type)
{
    const char *name = type == RWKV_TYPE_Q8 ? "Q8" : "Q4";
    candidate c;
    rwkv_error error;
    if (rwkv_quantize(path, to, type, &error) == RWKV_OK) {
        return candidate_image(name, image_from_file(to));
    }
    printf("%s: %s\n", name, error.message);
    memset(&c, 0, sizeof c);
    return c;
}

static inline void candidates_free(candidate *c, int n)
{
    while (n-- > 0) {
        rwkv_state_free(c[n].state);
        rwkv_free(c[n].model);
        model_image_free(&c[n].image);
    }
}

/* The logarithm of the sum of exp(x); *most becomes where the largest is.    */
static inline double log_sum(const float *x, int n, int *most)
{
    double sum = 0;
    int k;
    for (*most = 0, k = 1; k < n; k++) if (x[k] > x[*most]) *most = k;
    for (k = 0; k < n; k++) sum += exp((double)x[k] - (double)x[*most]);
    return (double)x[*most] + log(sum);
}

enum { PIECE = 128 }; /* tokens of which the logits are in memory */

/* What the truth expects after each token of a piece.                        */
typedef struct expectation {
    double *log_p, *p;  /* (PIECE, V)                                          */
    int     most[PIECE];
} expectation;

static inline void expect(expectation *e, const float *logits, int rows, int V)
{
    int t, k;
    for (t = 0; t < rows; t++) {
        const double sum = log_sum(logits + (size_t)t * (size_t)V, V, &e->most[t]);
        for (k = 0; k < V; k++) {
            size_t i = (size_t)t * (size_t)V + (size_t)k;
            e->log_p[i] = (double)logits[i] - sum;
            e->p[i] = exp(e->log_p[i]);
        }
    }
}

/* Add up what a candidate expects after each token of the piece.             */
static inline void add_piece(candidate *c, const expectation *e, const float *logits,
                             const int *next, int rows, int V)
{
    int t, k, most;
    for (t = 0; t < rows; t++) {
        const float *x = logits + (size_t)t * (size_t)V;
        const double *log_p = e->log_p + (size_t)t * (size_t)V, *p = e->p + (size_t)t * (size_t)V;
        const double sum = log_sum(x, V, &most);
        c->nats -= (double)x[next[t]] - sum;
        for (k = 0; k < V; k++) c->kl += p[k] * (log_p[k] - ((double)x[k] - sum));
        c->agree += most == e->most[t];
    }
}

/* Read the n tokens, from an empty state, with all models at once: c[0] is the truth.
 * The first token is given; each of the others is expected.                  */
static inline void compare(candidate *c, int n_candidates, const int *tokens, int n)
{
    const int V = c[0].image.s.V, expected = n - 1;
    const size_t size = (size_t)PIECE * (size_t)V;
    float *logits = (float *)test_alloc(size * sizeof *logits);
    expectation e;
    int at, i;
    e.log_p = (double *)test_alloc(size * sizeof *e.log_p);
    e.p = (double *)test_alloc(size * sizeof *e.p);
    for (i = 0; i < n_candidates; i++) {
        rwkv_state_reset(c[i].state);
        c[i].nats = c[i].kl = c[i].agree = 0;
    }
    for (at = 0; at < expected; at += PIECE) {
        const int rows = expected - at < PIECE ? expected - at : PIECE;
        for (i = 0; i < n_candidates; i++) {
            if (rwkv_eval_all(tokens + at, rows, c[i].state, logits) != RWKV_OK) {
                c[i].kl = c[i].nats = (double)NAN;
            }
            if (i == 0) expect(&e, logits, rows, V);
            add_piece(&c[i], &e, logits, tokens + at + 1, rows, V);
        }
    }
    for (i = 0; i < n_candidates; i++) {
        c[i].nats /= expected;
        c[i].kl /= expected;
        c[i].agree /= expected;
    }
    free(logits);
    free(e.log_p);
    free(e.p);
}

/* ---- text ---------------------------------------------------------------- */

/* n tokens as the model itself would write them, at temperature 1: one text after
 * another, each after token 0.                                               */
static inline void own_text(const candidate *c, uint64_t seed, int *tokens, int n)
{
    rwkv_sampler sampler;
    int i;
    memset(&sampler, 0, sizeof sampler);
    sampler.temperature = 1;
    sampler.seed = seed;
    rwkv_state_reset(c->state);
    for (tokens[0] = 0, i = 1; i < n; i++) {
        rwkv_eval(tokens[i - 1], c->state);
        tokens[i] = rwkv_sample(&sampler, c->state);
    }
}

#endif /* QUALITY_H_INCLUDED */
