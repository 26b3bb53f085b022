/* ref.h: RWKV-4 in double precision, as the paper writes it, to compare with.
 *
 * Equation numbers are those of arXiv 2305.13048: time mixing is (11)-(13),
 * (16) and (17), channel mixing (14), (15) and (18); the recurrence is the
 * stable one of appendix D, (23)-(28). Shift is equation by equation the same
 * sentence: mu * x_t + (1 - mu) * x_{t-1}. Nothing here is fast.
 *
 * Where matrices are codes, their inputs are rounded as rwkv.h rounds them. A
 * number that is almost in the middle of two integers may become the other one
 * there, because it is another number in float; so a result can be off by a step
 * of an input, 1/127 of the largest of 32, times its weights.                */
#ifndef REF_H_INCLUDED
#define REF_H_INCLUDED

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ref_block {
    double *ln1_weight, *ln1_bias;                  /* (D)    */
    double *att_mix_r, *att_mix_k, *att_mix_v;      /* (D)    */
    double *att_receptance, *att_key, *att_value;   /* (A, D) */
    double *att_u, *att_w;                          /* (A) time_first; -exp(time_decay) */
    double *att_output;                             /* (D, A) */
    double *ln2_weight, *ln2_bias;                  /* (D)    */
    double *ffn_mix_r, *ffn_mix_k;                  /* (D)    */
    double *ffn_receptance;                         /* (D, D) */
    double *ffn_key;                                /* (F, D) */
    double *ffn_value;                              /* (D, F) */
    int     codes;                                  /* the matrices are codes */
} ref_block;

typedef struct ref_model {
    int        V, D, A, F, L;
    int        codes;                               /* the matrices are codes */
    double     eps;                                 /* of every layer norm */
    double    *emb;                                 /* (V, D) */
    double    *ln0_weight, *ln0_bias;               /* (D)    */
    ref_block *blocks;                              /* (L)    */
    double    *ln_out_weight, *ln_out_bias;         /* (D)    */
    double    *head;                                /* (V, D) */
} ref_model;

typedef struct ref_state {
    double *att_x, *ffn_x;                          /* (L, D) inputs of the last token */
    double *a, *b, *p;                              /* (L, A) */
    double *logits, *hidden;                        /* (V), (D) */
} ref_state;

static inline double *ref_zeros(size_t n)
{
    double *x = (double *)calloc(n ? n : 1, sizeof *x);
    if (!x) exit(1);
    return x;
}

static inline ref_state ref_state_new(const ref_model *m)
{
    size_t LD = (size_t)m->L * (size_t)m->D, LA = (size_t)m->L * (size_t)m->A, i;
    ref_state s;
    s.att_x = ref_zeros(LD);
    s.ffn_x = ref_zeros(LD);
    s.a = ref_zeros(LA);
    s.b = ref_zeros(LA);
    s.p = ref_zeros(LA);
    s.logits = ref_zeros((size_t)m->V);
    s.hidden = ref_zeros((size_t)m->D);
    for (i = 0; i < LA; i++) s.p[i] = -1e30;
    return s;
}

static inline void ref_state_free(ref_state *s)
{
    free(s->att_x);
    free(s->ffn_x);
    free(s->a);
    free(s->b);
    free(s->p);
    free(s->logits);
    free(s->hidden);
}

static inline void ref_model_free(ref_model *m)
{
    int l;
    for (l = 0; l < m->L; l++) {
        ref_block *q = &m->blocks[l];
        double *all[18];
        size_t i;
        memcpy(all, q, sizeof all);
        for (i = 0; i < 18; i++) free(all[i]);
    }
    free(m->blocks);
    free(m->emb);
    free(m->ln0_weight);
    free(m->ln0_bias);
    free(m->ln_out_weight);
    free(m->ln_out_bias);
    free(m->head);
}

/* ---- the layers --------------------------------------------------------- */

static inline double ref_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* x as products with codes take it: of every 32 columns the multiples of 1/127 of
 * the largest, nearest even.                                                 */
static inline void ref_round(const double *x, int K, double *y)
{
    int begin, end, k;
    for (begin = 0; begin < K; begin = end) {
        double largest = 0;
        end = begin + 32 < K ? begin + 32 : K;
        for (k = begin; k < end; k++) largest = fmax(largest, fabs(x[k]));
        for (k = begin; k < end; k++)
            y[k] = largest > 0 ? largest / 127 * nearbyint(x[k] * (127 / largest)) : 0;
    }
}

/* y = W x, W of R rows and K columns, perhaps codes                          */
static inline void ref_matrix(const double *W, int codes, const double *x, int R, int K, double *y)
{
    double *rounded = ref_zeros((size_t)K);
    int r, k;
    if (codes) ref_round(x, K, rounded);
    if (codes) x = rounded;
    for (r = 0; r < R; r++) {
        double sum = 0;
        for (k = 0; k < K; k++) sum += W[(size_t)r * (size_t)K + (size_t)k] * x[k];
        y[r] = sum;
    }
    free(rounded);
}

/* y = (x - mean) / sqrt(variance + eps) * weight + bias                      */
static inline void ref_layer_norm(const double *x, const double *weight, const double *bias,
                                  double eps, int D, double *y)
{
    double mean = 0, variance = 0;
    int i;
    for (i = 0; i < D; i++) mean += x[i] / D;
    for (i = 0; i < D; i++) variance += (x[i] - mean) * (x[i] - mean) / D;
    for (i = 0; i < D; i++) y[i] = (x[i] - mean) / sqrt(variance + eps) * weight[i] + bias[i];
}

/* Token shift, the parentheses of (11)-(15): mu * x_t + (1 - mu) * x_{t-1}   */
static inline void ref_shift(const double *x, const double *last, const double *mu, int D,
                             double *y)
{
    int i;
    for (i = 0; i < D; i++) y[i] = mu[i] * x[i] + (1 - mu[i]) * last[i];
}

/* One channel of (16) by (23)-(28); w is negative here: the paper's -w.      */
static inline double ref_wkv(double k, double v, double u, double w, double *a, double *b,
                             double *p)
{
    double q, e1, e2, wkv;
    q   = fmax(*p, u + k);                                            /* (23) */
    e1  = exp(*p - q);
    e2  = exp(u + k - q);
    wkv = (e1 * *a + e2 * v) / (e1 * *b + e2);                        /* (24) */
    q   = fmax(*p + w, k);                                            /* (25) */
    e1  = exp(*p + w - q);
    e2  = exp(k - q);
    *a  = e1 * *a + e2 * v;                                           /* (26) */
    *b  = e1 * *b + e2;                                               /* (27) */
    *p  = q;                                                          /* (28) */
    return wkv;
}

/* out = time mixing of x (after ln1); last is x of the token before          */
static inline void ref_time_mix(const ref_block *q, const double *x, double *last, double *a,
                                double *b, double *p, int D, int A, double *out)
{
    double *xs = ref_zeros((size_t)D), *r = ref_zeros((size_t)A);
    double *k = ref_zeros((size_t)A), *v = ref_zeros((size_t)A);
    int i;
    ref_shift(x, last, q->att_mix_r, D, xs);
    ref_matrix(q->att_receptance, q->codes, xs, A, D, r);                       /* (11) */
    ref_shift(x, last, q->att_mix_k, D, xs);
    ref_matrix(q->att_key, q->codes, xs, A, D, k);                              /* (12) */
    ref_shift(x, last, q->att_mix_v, D, xs);
    ref_matrix(q->att_value, q->codes, xs, A, D, v);                            /* (13) */
    for (i = 0; i < A; i++) {
        double wkv = ref_wkv(k[i], v[i], q->att_u[i], q->att_w[i], &a[i], &b[i], &p[i]);
        r[i] = ref_sigmoid(r[i]) * wkv;                               /* (16) */
    }
    ref_matrix(q->att_output, q->codes, r, D, A, out);                          /* (17) */
    memcpy(last, x, (size_t)D * sizeof *x);
    free(xs);
    free(r);
    free(k);
    free(v);
}

/* out = channel mixing of x (after ln2); last is x of the token before       */
static inline void ref_channel_mix(const ref_block *q, const double *x, double *last, int D, int F,
                                   double *out)
{
    double *xs = ref_zeros((size_t)D), *r = ref_zeros((size_t)D), *k = ref_zeros((size_t)F);
    int i;
    ref_shift(x, last, q->ffn_mix_r, D, xs);
    ref_matrix(q->ffn_receptance, q->codes, xs, D, D, r);                       /* (14) */
    ref_shift(x, last, q->ffn_mix_k, D, xs);
    ref_matrix(q->ffn_key, q->codes, xs, F, D, k);                              /* (15) */
    for (i = 0; i < F; i++) k[i] = k[i] > 0 ? k[i] * k[i] : 0;
    ref_matrix(q->ffn_value, q->codes, k, D, F, out);
    for (i = 0; i < D; i++) out[i] *= ref_sigmoid(r[i]);              /* (18) */
    memcpy(last, x, (size_t)D * sizeof *x);
    free(xs);
    free(r);
    free(k);
}

/* Read one token: x = ln0(emb), then x += time mix, x += channel mix in every
 * block, logits = head ln_out(x).                                            */
static inline void ref_eval(const ref_model *m, int token, ref_state *s)
{
    int D = m->D, A = m->A, l, i;
    double *x = ref_zeros((size_t)D), *y = ref_zeros((size_t)D), *out = ref_zeros((size_t)D);
    ref_layer_norm(m->emb + (size_t)token * (size_t)D, m->ln0_weight, m->ln0_bias, m->eps, D, x);
    for (l = 0; l < m->L; l++) {
        const ref_block *q = &m->blocks[l];
        size_t lD = (size_t)l * (size_t)D, lA = (size_t)l * (size_t)A;
        ref_layer_norm(x, q->ln1_weight, q->ln1_bias, m->eps, D, y);
        ref_time_mix(q, y, s->att_x + lD, s->a + lA, s->b + lA, s->p + lA, D, A, out);
        for (i = 0; i < D; i++) x[i] += out[i];
        ref_layer_norm(x, q->ln2_weight, q->ln2_bias, m->eps, D, y);
        ref_channel_mix(q, y, s->ffn_x + lD, D, m->F, out);
        for (i = 0; i < D; i++) x[i] += out[i];
    }
    ref_layer_norm(x, m->ln_out_weight, m->ln_out_bias, m->eps, D, s->hidden);
    ref_matrix(m->head, m->codes, s->hidden, m->V, D, s->logits);
    free(x);
    free(y);
    free(out);
}

#endif /* REF_H_INCLUDED */
