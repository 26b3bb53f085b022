/* test_kernels.c: awkward shapes: scalar against the double reference, and every
 * other isa against scalar, to the bit; each kernel between pages that may not be
 * touched; and products with codes of 8 to 4 bits against a definition that is written
 * here from the file format at the top of rwkv.h. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"
#include "guard.h"

enum { MOST_TOKENS = 24 };

/* eval for the first half, eval_sequence for the rest: both shapes of kernels. */
static void run_tokens(rwkv_state *state, const int *tokens, int n)
{
    int i;
    for (i = 0; i < n / 2; i++) CHECK(rwkv_eval(tokens[i], state) != NULL);
    CHECK(rwkv_eval_sequence(tokens + n / 2, n - n / 2, state) != NULL);
}

static void check_reference(const model_image *m, rwkv_state *state, const int *tokens, int n)
{
    ref_model ref = ref_from_image(m);
    ref_state truth = ref_state_new(&ref);
    int i;
    for (i = 0; i < n && !ref.codes; i++) ref_eval(&ref, tokens[i], &truth);
    if (ref.codes) {
        rwkv_state *alone = rwkv_state_clone(state);
        rwkv_state_reset(alone);
        check_codes(&ref, alone, tokens, n, within(2e-5), "scalar");
        same_states(state, alone, &m->s);
        rwkv_state_free(alone);
    } else if (!check_distance(state_distance(state, &ref, &truth), within(2e-5), "scalar", n)) {
        CHECK_MSG(0, "D %d A %d F %d V %d type %d", m->s.D, m->s.A, m->s.F, m->s.V, (int)m->s.type);
    }
    ref_state_free(&truth);
    ref_model_free(&ref);
}

static void check_shape(int V, int D, int A, int F, int L)
{
    shape s = {0, 0, 0, 0, 0, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    int type, i, n = D > 200 ? 10 : MOST_TOKENS, tokens[MOST_TOKENS];
    const char *isa;
    s.V = V;
    s.D = D;
    s.A = A;
    s.F = F;
    s.L = L;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) {
        model_image m;
        rwkv_model *scalar_model;
        rwkv_state *scalar;
        rwkv_options o = options_isa("scalar");
        s.type = (rwkv_type)type;
        s.seed = (uint64_t)(D * 3 + type);
        m = model_image_new(&s);
        random_tokens(s.seed, V, tokens, n);
        scalar_model = load_image(&m, &o);
        scalar = rwkv_state_new(scalar_model);
        run_tokens(scalar, tokens, n);
        check_reference(&m, scalar, tokens, n);
        for (i = 1; (isa = rwkv_isa_available(i)) != NULL; i++) {
            rwkv_model *model;
            rwkv_state *state;
            o.isa = isa;
            model = load_image(&m, &o);
            state = rwkv_state_new(model);
            run_tokens(state, tokens, n);
            CHECK_MSG(same_states(state, scalar, &s), "%s, D %d A %d F %d V %d type %d", isa, D, A,
                      F, V, type);
            rwkv_state_free(state);
            rwkv_free(model);
        }
        rwkv_state_free(scalar);
        rwkv_free(scalar_model);
        model_image_free(&m);
    }
}

/* Widths around the sizes that kernels are built of; nothing is a multiple of
 * anything, and attention and ffn have widths of their own.                  */
static void tiny_widths(void)
{
    check_shape(2, 1, 1, 1, 1);
    check_shape(5, 1, 3, 2, 2);
    check_shape(7, 2, 1, 5, 2);
    check_shape(9, 3, 5, 1, 3);
}

static void width_15(void) { check_shape(31, 15, 17, 61, 2); }
static void width_16(void) { check_shape(16, 16, 16, 64, 2); }
static void width_17(void) { check_shape(33, 17, 15, 70, 2); }
static void width_31(void) { check_shape(17, 31, 33, 63, 2); }
static void width_33(void) { check_shape(65, 33, 31, 129, 2); }
static void width_255(void) { check_shape(100, 255, 257, 333, 1); }
static void width_256(void) { check_shape(256, 256, 256, 1024, 1); }
static void width_257(void) { check_shape(47, 257, 129, 511, 1); }
static void width_300(void) { check_shape(301, 300, 300, 1200, 1); }
static void width_513(void) { check_shape(129, 513, 300, 515, 1); }

/* A wide ffn: the longest sums of a real model.                              */
static void long_columns(void) { check_shape(19, 40, 2049, 4100, 1); }

/* A model whose logits are fma(a, b, c): hidden is (1, b), the rows of the head are
 * (c, a).                                                                    */
enum { N_FMA = 64 };

typedef struct fma_case {
    float a, c;
    float expected;
} fma_case;

static void check_fma(const fma_case *cases, float b)
{
    shape s = {N_FMA, 2, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    const char *isa;
    int i, r;
    image_fill(&m, LN_OUT_WEIGHT, 0, 0);
    image_set(&m, LN_OUT_BIAS, 0, 0, 0, 1);
    image_set(&m, LN_OUT_BIAS, 0, 0, 1, b);
    for (r = 0; r < N_FMA; r++) {
        image_set(&m, HEAD, 0, r, 0, cases[r].c);
        image_set(&m, HEAD, 0, r, 1, cases[r].a);
    }
    image_fix(&m);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        const float *logits = rwkv_eval(0, state);
        for (r = 0; r < N_FMA && logits; r++) {
            CHECK_MSG(logits[r] == cases[r].expected, "%s fma(%.9g, %.9g, %.9g) is %.9g, not %.9g",
                      isa, (double)cases[r].a, (double)b, (double)cases[r].c, (double)logits[r],
                      (double)cases[r].expected);
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* What is left of a product when its rounded value is taken away: 0 if the product
 * was rounded before the sum. Exact in double.                               */
static void products_are_fused(void)
{
    fma_case cases[N_FMA];
    uint64_t seed = 1;
    int i, round;
    for (round = 0; round < 20; round++) {
        float b = (float)random_uniform(&seed, -2, 2);
        for (i = 0; i < N_FMA; i++) {
            double product;
            cases[i].a = (float)random_uniform(&seed, -2, 2);
            product = (double)cases[i].a * (double)b;
            cases[i].c = -(float)product;
            cases[i].expected = (float)(product + (double)cases[i].c);
        }
        check_fma(cases, b);
    }
}

/* Sums so near the middle of two floats that only the last bits of the product, far
 * below a double's, decide. a b = 1 + 2^-36 or 1 - 2^-36, in units of half the last
 * place of c; rounding to double first makes a tie of it.                    */
static void sums_are_rounded_once(void)
{
    const double half = ldexp(1, -24);
    fma_case cases[N_FMA];
    int i;
    /* (1 + 2^-12)(1 - 2^-12 + 2^-24) = 1 + 2^-36: above the middle, away from even */
    for (i = 0; i < N_FMA; i++) {
        double scale = ldexp(i & 1 ? -1 : 1, i / 2 - 16);
        cases[i].a = (float)((1 + ldexp(1, -12)) * half * scale);
        cases[i].c = (float)scale;
        cases[i].expected = (float)((1 + 2 * half) * scale);
    }
    check_fma(cases, (float)(1 - ldexp(1, -12) + ldexp(1, -24)));
    /* (1 + 2^-23)(1 - 2^-23) = 1 - 2^-46: below the middle, which is up to even    */
    for (i = 0; i < N_FMA; i++) {
        double scale = ldexp(i & 1 ? -1 : 1, i / 2 - 16);
        cases[i].a = (float)((1 + 2 * half) * half * scale);
        cases[i].c = cases[i].expected = (float)((1 + 2 * half) * scale);
    }
    check_fma(cases, (float)(1 - 2 * half));
}

/* The same among the subnormal floats, whose middles are elsewhere in a double. In
 * units of the smallest one: n + 1/2 + 2^-37, n being even, makes n + 1.      */
static void subnormal_sums_are_rounded_once(void)
{
    fma_case cases[N_FMA];
    int i;
    for (i = 0; i < N_FMA; i++) {
        const double unit = ldexp(i & 1 ? -1 : 1, -149), n = (1 << 17) + 130946.0 * (i / 2);
        cases[i].a = (float)((1 + ldexp(1, -12)) * ldexp(i & 1 ? -1 : 1, -75));
        cases[i].c = (float)(n * unit);
        cases[i].expected = (float)((n + 1) * unit);
    }
    check_fma(cases, (float)((1 - ldexp(1, -12) + ldexp(1, -24)) * ldexp(1, -75)));
}

/* ---- within their buffers ----------------------------------------------- */

/* Buffers of one call, each with a page that may not be touched at one side; and what
 * kernels have left in them so far.                                          */
enum { MOST_BUFFERS = 8 };

typedef struct room {
    guard_side side;
    uint64_t   seed;
    guarded    buffer[MOST_BUFFERS];
    int        n;
    uint64_t   result; /* of all bytes */
} room;

static float *room_floats(room *b, size_t n, double low, double high)
{
    float *x;
    size_t i;
    b->buffer[b->n] = guarded_new(n * sizeof *x, b->side);
    x = (float *)(void *)b->buffer[b->n++].p;
    for (i = 0; i < n; i++) x[i] = (float)random_uniform(&b->seed, low, high);
    return x;
}

/* n elements of a type.                                                      */
static unsigned char *room_elements(room *b, rwkv_type type, size_t n)
{
    size_t width = element_bytes(type), i;
    unsigned char *p;
    b->buffer[b->n] = guarded_new(n * width, b->side);
    p = b->buffer[b->n++].p;
    for (i = 0; i < n; i++) {
        uint32_t x = element_from_float(type, (float)random_uniform(&b->seed, -1, 1));
        uint16_t half = (uint16_t)x; /* in memory they are the machine's          */
        if (width == 4) memcpy(p + 4 * i, &x, 4);
        else memcpy(p + 2 * i, &half, 2);
    }
    return p;
}

static void room_keep(room *b, const void *data, size_t bytes)
{
    b->result = hash_bytes(b->result, data, bytes);
}

/* All buffers as they are now; and no more buffers.                          */
static void room_end(room *b)
{
    while (b->n > 0) {
        guarded *g = &b->buffer[--b->n];
        room_keep(b, g->p, g->size);
        guarded_free(g);
    }
}

/* The kernels on n channels, n a multiple of 16.                             */
static void call_on_channels(const rwkv__kernels *kernels, room *b, size_t n)
{
    float *x, *y, *r, *k, *v, *u, *w, *s, number;
    y = room_floats(b, n, 0, 0);
    x = room_floats(b, n, -3, 3);
    kernels->add(y, x, n);
    kernels->axpy(y, x, -0.3f, n);
    kernels->relu_square(x, n);
    number = kernels->largest(x, n);
    room_keep(b, &number, sizeof number);
    number = kernels->softmax(y, 3, 0.7f, n);
    room_keep(b, &number, sizeof number);
    r = room_floats(b, n, -3, 3);
    kernels->gate(x, r, y, n);
    kernels->mix(y, x, r, room_floats(b, n, 0, 1), n);
    room_end(b);

    r = room_floats(b, n, -3, 3);
    k = room_floats(b, n, -9, 9);
    v = room_floats(b, n, -1, 1);
    u = room_floats(b, n, -1, 1);
    w = room_floats(b, n, -2, 0);
    s = room_floats(b, n, -1, 1);
    x = room_floats(b, n, 1, 2);
    y = room_floats(b, n, -9, 9);
    kernels->wkv(r, k, v, u, w, s, x, y, n);
    room_end(b);

    kernels->pack(room_floats(b, n < RWKV__BLOCK ? n : RWKV__BLOCK, -2, 2),
                  n < RWKV__BLOCK ? n : RWKV__BLOCK);
    b->buffer[0].size = (n < RWKV__BLOCK ? (n + 31) / 32 : 8) * 40; /* the rest means nothing */
    room_end(b);
}

/* Those on D channels that may be any number.                                */
static void call_on_width(const rwkv__kernels *kernels, room *b, size_t D)
{
    size_t n = (size_t)rwkv__activation_size(1, D), round = rwkv__round16(D), i;
    float *x = room_floats(b, n, -3, 3), *y = room_floats(b, n, 0, 0);
    float *w = room_floats(b, round, -1, 1), *bias = room_floats(b, round, -1, 1);
    int type;
    for (i = D; i < round; i++) x[i] = w[i] = bias[i] = 0;
    kernels->norm(y, RWKV__BLOCK, x, RWKV__BLOCK, w, bias, D, 1e-5f);
    room_end(b);
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_BF16; type++) {
        y = room_floats(b, D, 0, 0);
        kernels->widen[type](y, room_elements(b, (rwkv_type)type, D), D);
        room_end(b);
    }
}

/* T rows of a product; the output is as wide as the matrix has rows. By columns most
 * inputs are 0.                                                              */
static void call_matmul(const rwkv__kernels *kernels, room *b, rwkv_type type, size_t rows,
                        size_t columns, size_t T, int by_columns)
{
    size_t panels = (rows + 15) / 16, i;
    rwkv__matmul product;
    float *wide;
    memset(&product, 0, sizeof product);
    product.w = room_elements(b, type, panels * 16 * columns);
    product.storage = (rwkv__storage)type;
    product.n_in = columns;
    product.n_out = rows;
    product.x = room_floats(b, (size_t)rwkv__activation_size(T, columns), -1, 1);
    for (i = 0; by_columns && i < (size_t)rwkv__activation_size(T, columns); i++) {
        if (random_below(&b->seed, 5)) product.x[i] = 0;
    }
    product.by_columns = by_columns;
    product.y = room_floats(b, T * rows, 0, 0);
    product.y_row = rows;
    product.y_block = RWKV__BLOCK;
    wide = room_floats(b, T > 1 ? RWKV__WIDE_SIZE : RWKV__USED_SIZE, 0, 0);
    product.sums = room_floats(b, panels * 16, 0, 0);
    kernels->matmul[type](&product, 0, panels / 2, T,
                          T > 1 || by_columns ? wide : NULL);
    kernels->matmul[type](&product, panels / 2, panels, T,
                          T > 1 || by_columns ? wide : NULL);
    b->buffer[3].size = b->buffer[4].size = 0; /* scratch is different for each isa */
    room_end(b);
}

/* A matrix by columns: for few rows, columns that are multiplied by 0 are not read: they
 * may be anything. And a sum that underflows to -0 is the same 0 whether or not more
 * zeros follow.                                                              */
static void columns_times_zero(void)
{
    enum { ROWS_ = 40, COLUMNS_ = 200, R = 48 };
    static float w[R * COLUMNS_], x[5 * 512], y[5 * R], sums[R], wide[RWKV__WIDE_SIZE];
    const char *isa;
    int n, T, k, r, t;
    for (n = 0; (isa = rwkv_isa_available(n)) != NULL; n++) {
        for (T = 1; T <= 5; T += 4) {
            rwkv__kernels kernels;
            rwkv__matmul product;
            CHECK(rwkv__kernels_choose(&kernels, isa));
            memset(&product, 0, sizeof product);
            memset(x, 0, sizeof x);
            for (k = 0; k < COLUMNS_; k++) {
                for (r = 0; r < R; r++) w[k * R + r] = k == 70 ? -1e-30f : T == 1 ? (float)NAN : 1;
            }
            for (t = 0; t < T; t++) x[rwkv__at((size_t)T, (size_t)t, 64) + 6] = 1e-30f;
            product.w = (const unsigned char *)w;
            product.storage = RWKV__F32;
            product.by_columns = 1;
            product.n_in = COLUMNS_;
            product.n_out = ROWS_;
            product.x = x;
            product.y = y;
            product.y_row = R;
            product.y_block = RWKV__BLOCK;
            product.sums = sums;
            kernels.matmul[RWKV__F32](&product, 0, R / 16, (size_t)T, wide);
            for (t = 0; t < T; t++) {
                for (r = 0; r < ROWS_; r++)
                    CHECK_MSG(rwkv__bits(y[t * R + r]) == 0, "%s, T %d: %g", isa, T,
                              (double)y[t * R + r]);
            }
        }
    }
}

static void kernels_stay_within_their_buffers(void)
{
    static const size_t channels[] = {16, 32, 48, 80, 240, 256, 272, 528};
    static const size_t widths[] = {1, 7, 15, 16, 17, 33, 255, 256, 257, 300, 513};
    static const size_t rows[] = {1, 16, 37, 128, 261}, columns[] = {1, 3, 16, 255, 256, 257, 530};
    static const size_t tokens[] = {1, 2, 5, 14, 29};
    float sums[16], ones[16];
    const char *isa;
    uint64_t first = 0;
    size_t i, j, k;
    int n, side, type, by;
    for (n = 0; (isa = rwkv_isa_available(n)) != NULL; n++) {
        rwkv__kernels kernels;
        CHECK(rwkv__kernels_choose(&kernels, isa));
        for (i = 0; i < 16; i++) sums[i] = (float)i, ones[i] = 1; /* it is for the quantizer  */
        kernels.axpy(sums, ones, 0.5f, 16);
        for (i = 0; i < 16; i++) CHECK(sums[i] - (float)i == 0.5f);
        for (side = GUARD_BEGIN; side <= GUARD_END; side++) {
            room b;
            memset(&b, 0, sizeof b);
            b.side = (guard_side)side;
            for (i = 0; i < sizeof channels / sizeof *channels; i++)
                call_on_channels(&kernels, &b, channels[i]);
            for (i = 0; i < sizeof widths / sizeof *widths; i++)
                call_on_width(&kernels, &b, widths[i]);
            for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_BF16; type++)
                for (i = 0; i < 5; i++)
                    for (j = 0; j < 7; j++)
                        for (k = 0; k < (TEST_SLOW_MACHINE && (i != 3 || j != 5) ? 2 : 5); k++)
                            for (by = 0; by < 2; by++)
                                call_matmul(&kernels, &b, (rwkv_type)type, rows[i], columns[j],
                                            tokens[k], by);
            if (n == 0 && side == GUARD_BEGIN) first = b.result;
            CHECK_MSG(b.result == first, "%s, guarded %s, differs", isa,
                      side == GUARD_END ? "ends" : "beginnings");
        }
    }
}

/* ---- codes ---------------------------------------------------------------- */

/* What codes stand for: the numbers of >>types, written down once more. */
static const int values_4[16] = {-54, -43, -34, -26, -19, -12, -6, 0,
                                 6,   12,  18,  24,  31,  39,  48, 60};
static const int values_5[32] = {-56, -50, -45, -40, -36, -32, -28, -25, -21, -18, -15,
                                 -12, -9,  -6,  -3,  0,   3,   6,   9,   12,  15,  18,
                                 21,  24,  27,  31,  35,  39,  43,  48,  53,  59};
static const int values_6[64] = {
    -62, -59, -56, -53, -51, -49, -46, -44, -42, -40, -38, -36, -34, -32, -30, -28,
    -26, -24, -23, -21, -19, -17, -16, -14, -12, -10, -9,  -7,  -5,  -3,  -2,  0,
    2,   4,   5,   7,   9,   11,  12,  14,  16,  18,  20,  21,  23,  25,  27,  29,
    31,  32,  34,  36,  38,  40,  42,  44,  46,  48,  51,  53,  55,  58,  60,  63};

typedef struct matrix {
    int     bits, rows, columns, panels, blocks, by_columns;
    guarded exponent, scale, code;
} matrix;

static matrix matrix_new(int bits, int rows, int columns, int by_columns, uint64_t *seed)
{
    matrix m;
    size_t i;
    m.bits = bits;
    m.rows = rows;
    m.columns = columns;
    m.panels = (rows + 15) / 16;
    m.blocks = (columns + 31) / 32;
    m.by_columns = by_columns;
    m.exponent = guarded_new((size_t)m.panels, GUARD_END);
    m.scale = guarded_new((size_t)(m.panels * m.blocks * 16), GUARD_END);
    m.code = guarded_new((size_t)(!by_columns ? m.panels * m.blocks * bits * 64
                                  : bits == 8 ? columns * m.panels * 16
                                              : columns * ((m.panels + 1) / 2) * 16), GUARD_END);
    for (i = 0; i < m.exponent.size; i++) m.exponent.p[i] = (unsigned char)(110 + random_bits(seed) % 12);
    for (i = 0; i < m.scale.size; i++) m.scale.p[i] = (unsigned char)random_bits(seed);
    for (i = 0; i < m.code.size; i++) m.code.p[i] = (unsigned char)random_bits(seed);
    return m;
}

static void matrix_free(matrix *m)
{
    guarded_free(&m->exponent);
    guarded_free(&m->scale);
    guarded_free(&m->code);
}

/* The integer at (r, k). */
static int value_at(const matrix *m, int r, int k)
{
    const unsigned char *code =
        m->code.p + (size_t)((r / 16 * m->blocks + k / 32) * m->bits * 64);
    int byte = r % 16 * 4 + k % 4, group = k % 32 / 4, nibble;
    if (m->by_columns && m->bits == 8) return (signed char)m->code.p[k * m->panels * 16 + r];
    if (m->by_columns)
        return values_4[m->code.p[(k * ((m->panels + 1) / 2) + r / 32) * 16 + r % 16] >>
                            (r % 32 / 16 * 4) & 15];
    if (m->bits == 8) return (signed char)code[group * 64 + byte];
    nibble = code[group / 2 * 64 + byte] >> (group % 2 * 4) & 15;
    if (m->bits >= 5) nibble += (code[256 + byte] >> group & 1) * 16;
    if (m->bits >= 6) nibble += (code[320 + byte] >> group & 1) * 32;
    return m->bits == 4 ? values_4[nibble] : m->bits == 5 ? values_5[nibble] : values_6[nibble];
}

static float scale_at(const matrix *m, int r, int b)
{
    int byte = m->scale.p[m->by_columns ? b * m->panels * 16 + r
                                        : (r / 16 * m->blocks + b) * 16 + r % 16];
    float s = (float)ldexp(1 + (byte & 15) / 16.0, (byte >> 4 & 7) + m->exponent.p[r / 16] - 127);
    return byte & 128 ? -s : s;
}

/* A block of x as the definition has it. */
typedef struct record {
    int q[32], sum;
    float scale;
} record;

static record record_of(const float *x, int n)
{
    record r;
    float largest = 0, inverse;
    int i;
    memset(&r, 0, sizeof r);
    for (i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= FLT_MAX)) r.scale = NAN;
        if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
    }
    if (r.scale != r.scale || largest / 127 <= 1e-30f) return r;
    r.scale = largest / 127;
    inverse = 127 / largest;
    for (i = 0; i < n; i++) { /* the product is exact in a double */
        r.q[i] = (int)nearbyint((double)x[i] * (double)inverse);
        r.sum += r.q[i];
    }
    return r;
}

static float product_at(const matrix *m, int r, const float *x)
{
    float y = 0, part = 0;
    int b, k;
    for (b = 0; b < m->blocks; b++) {
        int n = m->columns - b * 32 < 32 ? m->columns - b * 32 : 32, sum = 0;
        record rec = record_of(x + b * 32, n);
        volatile float scale = scale_at(m, r, b) * rec.scale;
        for (k = 0; k < n; k++) sum += rec.q[k] * value_at(m, r, b * 32 + k);
        part = rwkv__fma((float)sum, scale, part);
        if (b % 8 == 7 || b == m->blocks - 1) {
            y += part;
            part = 0;
        }
    }
    return y;
}

/* Panels [first, end), as a thread of several does: sums of other panels are not its own. */
static void multiply_part(const rwkv__kernels *kernels, const rwkv__matmul *product, int first,
                          int end, int T, guarded *sums, guarded *wide)
{
    size_t i;
    memset(sums->p, 0x55, sums->size);
    kernels->matmul[product->storage](product, (size_t)first, (size_t)end, (size_t)T,
                                      (float *)(void *)wide->p);
    for (i = 0; i < sums->size; i++)
        if (i / 64 < (size_t)first || i / 64 >= (size_t)end)
            if (sums->p[i] != 0x55) break;
    CHECK_MSG(i == sums->size, "%s, %d bits, %d rows: panels %d to %d wrote to panel %d",
              kernels->isa, (int)product->storage, (int)product->n_out, first, end, (int)(i / 64));
}

/* `density`: the share of inputs that are not 0.                                */
static void check_product(int bits, int rows, int columns, int T, int odd, int by_columns,
                          double density, uint64_t seed)
{
    const size_t n16 = (size_t)(columns + 15) / 16 * 16, rows16 = (size_t)(rows + 15) / 16 * 16;
    const size_t size = (size_t)rwkv__activation_size((uint64_t)T, (uint64_t)columns);
    matrix m = matrix_new(bits, rows, columns, by_columns, &seed);
    guarded sums = guarded_new(rows16 * sizeof(float), GUARD_END);
    guarded x = guarded_new(size * sizeof(float), GUARD_END);
    guarded y = guarded_new((size_t)T * rows16 * sizeof(float), GUARD_END);
    guarded wide = guarded_new((T > 1 ? RWKV__WIDE_SIZE : RWKV__USED_SIZE) * sizeof(float), GUARD_END);
    float *plain = (float *)malloc((size_t)T * n16 * sizeof(float));
    float *expected = (float *)malloc((size_t)T * (size_t)rows * sizeof(float));
    const char *isa;
    int i, t, r, k, split;

    for (t = 0; t < T; t++) {
        for (k = 0; k < (int)n16; k++) {
            float v = (float)random_uniform(&seed, -0.5, 0.5) * (k % 7 ? 1 : 9);
            int zero = k >= columns || random_uniform(&seed, 0, 1) > density;
            plain[(size_t)t * n16 + (size_t)k] = zero ? 0 : v;
        }
        if (odd && t % 3 == 0) plain[(size_t)t * n16 + (size_t)columns / 2] = odd == 1 ? NAN : 1e38f;
        if (odd && t % 3 == 1) memset(plain + (size_t)t * n16, 0, n16 * sizeof(float));
        if (odd == 2 && t % 3 == 2) plain[(size_t)t * n16] = 1e-36f;
        for (r = 0; r < rows; r++)
            expected[t * rows + r] = product_at(&m, r, plain + (size_t)t * n16);
    }
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv__kernels kernels;
        rwkv__matmul product;
        float *xs = (float *)(void *)x.p, *ys = (float *)(void *)y.p;
        size_t c;
        memset(&product, 0, sizeof product);
        CHECK(rwkv__kernels_choose(&kernels, isa));
        product.w = m.code.p;
        product.scale = m.scale.p;
        product.exponent = m.exponent.p;
        product.storage = (rwkv__storage)bits;
        product.n_in = (size_t)columns;
        product.n_out = (size_t)rows;
        product.x = xs;
        product.by_columns = by_columns;
        product.sums = (float *)(void *)sums.p;
        product.y = ys;
        product.y_row = rows16;
        product.y_block = RWKV__BLOCK; /* plain rows */
        for (t = 0; t < T; t++)
            for (c = 0; c < n16; c += 16)
                memcpy(xs + rwkv__at((size_t)T, (size_t)t, c), plain + (size_t)t * n16 + c,
                       16 * sizeof(float));
        for (t = 0; t < T; t++)
            for (c = 0; c < n16; c += RWKV__BLOCK)
                kernels.pack(xs + rwkv__at((size_t)T, (size_t)t, c), rwkv__min(RWKV__BLOCK, n16 - c));
        memset(ys, 0x55, (size_t)T * rows16 * sizeof(float));
        split = m.panels == 1 ? 1 : 1 + (int)(seed % (uint64_t)(m.panels - 1));
        multiply_part(&kernels, &product, 0, split, T, &sums, &wide);
        multiply_part(&kernels, &product, split, m.panels, T, &sums, &wide);
        for (t = 0; t < T; t++)
            for (r = 0; r < rows; r++) {
                float is = ys[(size_t)t * rows16 + (size_t)r], should = expected[t * rows + r];
                if (is != is && should != should) continue;
                if (memcmp(&is, &should, sizeof is) != 0) {
                    CHECK_MSG(0, "%s, %d bits%s, %d x %d, T %d: (%d, %d) is %.9g, not %.9g", isa,
                              bits, by_columns ? " by columns" : "", rows, columns, T, t, r,
                              (double)is, (double)should);
                    r = rows;
                    t = T;
                }
            }
    }
    free(plain);
    free(expected);
    guarded_free(&sums);
    guarded_free(&x);
    guarded_free(&y);
    guarded_free(&wide);
    matrix_free(&m);
}

static void products_equal_the_definition(void)
{
    static const int rows[] = {16, 1, 37, 64}, columns[] = {32, 1, 16, 50, 160, 255, 256, 257, 544};
    static const int tokens[] = {1, 2, 4, 5, 13, 29};
    int bits, i, j, k;
    for (bits = 4; bits <= 8; bits += bits == 6 ? 2 : 1)
        for (i = 0; i < 4; i++)
            for (j = 0; j < 9; j++)
                for (k = 0; k < (TEST_SLOW_MACHINE ? 3 : 6); k++)
                    check_product(bits, rows[i], columns[j], tokens[k], 0, 0, 1,
                                  (uint64_t)(bits * 1000 + i * 100 + j * 10 + k));
}

/* By columns: of few rows only those columns are read that are not multiplied by 0.  */
static void products_by_columns_equal_the_definition(void)
{
    static const int rows[] = {16, 1, 37, 64, 96, 144, 272};
    static const int columns[] = {1, 50, 256, 257, 544}, tokens[] = {1, 2, 4, 5, 29};
    static const double densities[] = {0, 0.03, 0.3, 1};
    int bits, i, j, k, d;
    for (bits = 4; bits <= 8; bits += 4)
        for (i = 0; i < 7; i++)
            for (j = 0; j < 5; j++)
                for (k = 0; k < (TEST_SLOW_MACHINE ? 2 : 5); k++)
                    for (d = 0; d < 4; d++)
                        check_product(bits, rows[i], columns[j], tokens[k], 0, 1, densities[d],
                                      (uint64_t)(bits * 1000 + i * 100 + j * 10 + k));
}

static void odd_inputs_are_handled_alike(void)
{
    int bits;
    for (bits = 4; bits <= 8; bits += bits == 6 ? 2 : 1) {
        check_product(bits, 20, 100, 7, 1, 0, 1, (uint64_t)bits);
        check_product(bits, 20, 300, 7, 2, 0, 1, (uint64_t)bits);
        if (bits % 4) continue;
        check_product(bits, 40, 300, 7, 1, 1, 0.5, (uint64_t)bits);
        check_product(bits, 40, 300, 4, 1, 1, 0.5, (uint64_t)bits);
        check_product(bits, 70, 300, 4, 2, 1, 0.5, (uint64_t)bits);
    }
}

/* The largest sums that codes can make: what saturates in 16 bits would show. */
static void extreme_codes_do_not_overflow(void)
{
    static const unsigned char fill[5] = {0x80, 0x7f, 0xff, 0x00, 0x81};
    int bits, f, i, sign;
    for (bits = 4; bits <= 8; bits += bits == 6 ? 2 : 1)
        for (f = 0; f < 5; f++)
            for (sign = -1; sign <= 1; sign += 2) {
                uint64_t seed = 1;
                matrix m = matrix_new(bits, 16, 64, 0, &seed);
                float plain[64];
                const char *isa;
                memset(m.code.p, fill[f], m.code.size);
                for (i = 0; i < 64; i++) plain[i] = (float)sign * (i % 2 && f == 4 ? -3.0f : 3.0f);
                for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
                    rwkv__kernels kernels;
                    rwkv__matmul product;
                    float x[64], y[16], should = product_at(&m, 3, plain);
                    memset(&product, 0, sizeof product);
                    CHECK(rwkv__kernels_choose(&kernels, isa));
                    memcpy(x, plain, sizeof x);
                    product.w = m.code.p;
                    product.scale = m.scale.p;
                    product.exponent = m.exponent.p;
                    product.storage = (rwkv__storage)bits;
                    product.n_in = 64;
                    product.n_out = 16;
                    product.x = x;
                    product.y = y;
                    kernels.pack(x, 64);
                    kernels.matmul[bits](&product, 0, 1, 1, NULL);
                    CHECK_MSG(memcmp(&y[3], &should, 4) == 0, "%s, %d bits, codes %02x: %.9g, not %.9g",
                              isa, bits, fill[f], (double)y[3], (double)should);
                }
                matrix_free(&m);
            }
}

static void values_are_the_documented_ones(void)
{
    int i;
    for (i = 0; i < 16; i++) CHECK_INT(rwkv__values_4[i], values_4[i]);
    for (i = 0; i < 32; i++) CHECK_INT(rwkv__values_5[i], values_5[i]);
    for (i = 0; i < 64; i++) CHECK_INT(rwkv__values_6[i], values_6[i]);
    for (i = 1; i < 64; i++) CHECK(values_6[i] > values_6[i - 1]);
    for (i = 1; i < 32; i++) CHECK(values_5[i] > values_5[i - 1]);
    for (i = 1; i < 16; i++) CHECK(values_4[i] > values_4[i - 1]);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(values_are_the_documented_ones);
    RUN(products_equal_the_definition);
    RUN(products_by_columns_equal_the_definition);
    RUN(odd_inputs_are_handled_alike);
    RUN(extreme_codes_do_not_overflow);
    RUN(columns_times_zero);
    RUN(kernels_stay_within_their_buffers);
    RUN(tiny_widths);
    RUN(width_15);
    RUN(width_16);
    RUN(width_17);
    RUN(width_31);
    RUN(width_33);
    RUN(width_255);
    RUN(width_256);
    RUN(width_257);
    RUN(width_300);
    RUN(width_513);
    RUN(long_columns);
    RUN(products_are_fused);
    RUN(sums_are_rounded_once);
    RUN(subnormal_sums_are_rounded_once);
    return test_end();
}
