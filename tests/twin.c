/* twin.c: rwkv.h itself, compiled with double in place of float.
 *
 * It is the same source, down to the polynomial of exp: `float` is a macro, and the kernels are
 * compiled as for one more instruction set, whose vector is one double, with the words at the
 * end of this file. What differs is what takes a float apart into its bits or counts its bytes:
 * the words, the number by which exp rounds to an integer, and three small functions. Models are
 * not read from files: their weights are laid out as the file format says, with 8 bytes for each
 * float. Only models of floats run here; to be compiled without warnings.    */
#ifndef RWKV__PASS

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "twin.h"

#define float double
#define sqrtf sqrt
#define RWKV_IMPLEMENTATION
#define RWKV_STATIC
#define RWKV_FILENAME "tests/twin.c" /* which includes it once more, at the end of this file */
#define RWKV_NO_ERROR_STRINGS
#define RWKV_NO_QUANTIZE
#define RWKV_NO_SAMPLER
#define RWKV_NO_SIMD
#define RWKV_NO_STDIO
#define RWKV_NO_THREADS
#define RWKV_NO_TOKENIZER
#include "../rwkv.h"

struct twin {
    rwkv_model *model;
    rwkv_state *state;
    double     *data;
};

/* Put a tensor of R rows and K columns where the file format says.           */
static void twin_put(double *to, const double *from, char kind, size_t R, size_t K)
{
    const size_t R16 = rwkv__round16(R);
    size_t r, k;
    for (r = 0; r < R; r++) {
        for (k = 0; k < K; k++, from++) {
            if (kind == 'm') to[r / 16 * 16 * K + k * 16 + r % 16] = *from;
            else if (kind == 'c') to[k * R16 + r] = *from;
            else to[r * K + k] = *from;
        }
    }
}

static const double *twin_weights(const ref_model *weights, int id, size_t layer)
{
    const double *in_layer[RWKV__LAYER_END - RWKV__LAYER_BEGIN];
    switch (id) {
    case RWKV__EMB:      return weights->emb;
    case RWKV__LN0_W:    return weights->ln0_weight;
    case RWKV__LN0_B:    return weights->ln0_bias;
    case RWKV__LN_OUT_W: return weights->ln_out_weight;
    case RWKV__LN_OUT_B: return weights->ln_out_bias;
    case RWKV__HEAD:     return weights->head;
    }
    /* a ref_block begins with pointers to them, in the same order              */
    memcpy(in_layer, &weights->blocks[layer], sizeof in_layer);
    return in_layer[id - RWKV__LAYER_BEGIN];
}

/* As rwkv__lay_out: tensors are padded to 16 numbers, which are 128 bytes here. */
static void twin_lay_out(rwkv__file *f)
{
    uint64_t at = 0;
    int id;
    for (id = 0; id < RWKV__TENSORS; id++) {
        if (id == RWKV__LAYER_END) {
            f->layer_bytes = at - f->offset[RWKV__LAYER_BEGIN];
            at += f->layer_bytes * (f->n_layer - 1);
        }
        f->offset[id] = at;
        at += (rwkv__places_of(f, id).bytes + 127) / 128 * 128;
    }
    f->bytes = at;
}

static void twin_fill(twin *t, const ref_model *weights, const rwkv__file *f)
{
    uint64_t i, layer, offset;
    int id;
    for (i = 0; (id = rwkv__tensor_at(f, i, &layer, &offset)) < RWKV__TENSORS; i++) {
        const rwkv__tensor *form = &rwkv__tensors[id];
        twin_put(t->data + offset / sizeof *t->data, twin_weights(weights, id, (size_t)layer),
                 form->kind, (size_t)rwkv__dimension(f, form->rows),
                 (size_t)rwkv__dimension(f, form->columns));
    }
    t->model->file = *f;
    t->model->data = (const unsigned char *)t->data;
}

twin *twin_new(const ref_model *weights)
{
    twin *t = (twin *)calloc(1, sizeof *t);
    rwkv__file f;
    memset(&f, 0, sizeof f);
    f.type = RWKV_TYPE_F32;
    f.n_vocab = (uint32_t)weights->V;
    f.n_embd = (uint32_t)weights->D;
    f.n_att = (uint32_t)weights->A;
    f.n_ffn = (uint32_t)weights->F;
    f.n_layer = (uint32_t)weights->L;
    f.norm_eps = weights->eps;
    twin_lay_out(&f);
    if (!t) return NULL;
    t->data = (double *)calloc((size_t)f.bytes, 1);
    t->model = rwkv__model_new(NULL, NULL);
    if (t->data && t->model) {
        twin_fill(t, weights, &f);
        t->state = rwkv_state_new(t->model);
    }
    if (t->state) return t;
    twin_free(t);
    return NULL;
}

void twin_free(twin *t)
{
    if (!t) return;
    rwkv_state_free(t->state);
    rwkv_free(t->model);
    free(t->data);
    free(t);
}

int twin_eval_all(twin *t, const int *tokens, int n, double *logits)
{
    return rwkv_eval_all(tokens, n, t->state, logits) == RWKV_OK;
}

#else /* rwkv.h is at its kernels: these are the words, in place of those for scalars */

#define rwkv__element(storage)  ((storage) == RWKV__F32 ? sizeof(double) : 2)
#define rwkv__column_bytes(m)   (rwkv__round16((m)->n_out) * sizeof(double))
#define rwkv__find_used         twin_find_used

/* As rwkv.h has it, where it looks at the bits.                              */
static void twin_find_used(rwkv__used *used, const double *x, size_t n)
{
    size_t k;
    for (used->n = k = 0; k < n; k++) {
        used->k[used->n] = (unsigned char)k;
        used->n += x[k] != 0;
    }
    used->k[used->n] = 0;
}

/* 2^n, where the lowest bits of t hold n + 1023.                             */
static double twin_pow2(double t)
{
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits <<= 52;
    memcpy(&t, &bits, sizeof t);
    return t;
}

#undef  RWKV__EXP_MAGIC
#define RWKV__EXP_MAGIC           6755399441056767.0 /* 1.5 * 2^52 + 1023         */

#undef  RWKV__SCALAR_PASS
#define RWKV__NAME(name)          rwkv__##name##_scalar
#define RWKV__UNROLL              RWKV__UNROLL_ALL
#define RWKV__UNROLL_2
#define RWKV__TARGET
#define RWKV__V                   double
#define RWKV__W                   1
#define RWKV__LOAD(p)             (*(p))
#define RWKV__STORE(p, a)         (*(p) = (a))
#define RWKV__SET(x)              (x)
#define RWKV__ADD(a, b)           ((a) + (b))
#define RWKV__SUB(a, b)           ((a) - (b))
#define RWKV__MUL(a, b)           ((a) * (b))
#define RWKV__DIV(a, b)           ((a) / (b))
#define RWKV__FMA(a, b, c)        ((a) * (b) + (c))
#define RWKV__LESS(a, b, x, y)    ((a) < (b) ? (x) : (y))
#define RWKV__MINUS_ABS(a)        (-fabs(a))
#define RWKV__POW2(t)             twin_pow2(t)
#define RWKV__ROWS                1
#define RWKV__WIDE                1
#define RWKV__TALL                1

/* 16-bit floats and codes must compile, and are never used                   */
#define RWKV__LOAD_F16(p)         (*(p))
#define RWKV__LOAD_BF16(p)        (*(p))
#define RWKV__TARGET_CODES
#define RWKV__I                   uint32_t
#define RWKV__I_LOAD(p)           rwkv__load4(p)
#define RWKV__I_SET(i)            ((uint32_t)(i))
#define RWKV__I_QUAD(p)           rwkv__load4(p)
#define RWKV__LOW(a)              (a)
#define RWKV__HIGH(a)             (a)
#define RWKV__ZIP_8(a, b)         ((a) + (b))
#define RWKV__END_8(a, b)         ((a) + (b))
#define RWKV__ZIP_16(a, b)        ((a) + (b))
#define RWKV__END_16(a, b)        ((a) + (b))
#define RWKV__UNZIP(f)            ((void)(f))
#define RWKV__TABLE               rwkv__table
#define RWKV__TABLE_LOAD(p)       (p)
#define RWKV__LOOK(t, i)          ((uint32_t)(t)[(i) & 15])
#define RWKV__PICK(bits, g, a, b) ((bits) >> (g) & 1 ? (a) : (b))
#define RWKV__DOT(sum, w, x)      ((sum) + (w) * (x))
#define RWKV__DOT_8(sum, w, x)    ((sum) + (w) * (x))
#define RWKV__FLIP(a)             (a)
#define RWKV__ZERO                0
#define RWKV__ZERO_8              0
#define RWKV__TO_FLOAT(i)         ((double)(i))
#define RWKV__SCALES(p, e)        ((double)(*(p) + (e)))
#define RWKV__STORE_LOW(p, t)     (*(p) = (unsigned char)(t))
#define RWKV__CODE_ROWS           1
#include "../rwkv.h"

#endif
