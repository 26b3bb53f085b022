/* test_codes.c: products with codes of 8 to 4 bits. Every isa against a definition
 * that is written here from the file format at the top of rwkv.h, to the bit; every buffer
 * lies between pages that may not be touched. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "guard.h"

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
    return test_end();
}
