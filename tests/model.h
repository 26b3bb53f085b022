/* model.h: random RWKV-4 models of any shape, for tests and benchmarks.
 *
 * Include after rwkv.h. An own writer of the model file format, independent of
 * rwkv.h and of the converter, and an own reader into the doubles of ref.h:
 *
 *     shape s = {61, 20, 24, 33, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 1};
 *     model_image image = model_image_new(&s);       in memory
 *     ref_model ref = ref_from_image(&image);        what is stored, as doubles
 *     model_write_file(&s, "model.rwkv");            or streamed to a file
 *
 * Channel mixing is alive: its contribution is about as large as that of time
 * mixing, and the logits have a standard deviation of about 1. The same shape
 * gives the same bytes on every machine (but for DECAYS, which needs exp). Q4
 * has matrices of 4, 5, 6 and 8 bits: matrix_bits.                             */
#ifndef MODEL_H_INCLUDED
#define MODEL_H_INCLUDED

#include "ref.h"
#include "test.h"

enum { TOKENIZER_NONE = 0, TOKENIZER_BYTES, TOKENIZER_WORLD, TOKENIZER_20B };

typedef enum model_style {
    PLAIN = 0,
    KEYS,   /* keys near -120, -80, 0, 30, 80, 120 in different channels; not
               with Q8 and Q4, whose blocks hold no such numbers beside others */
    DECAYS  /* decays from exp(-e^-20) to exp(-e^8), time_first up to +-40     */
} model_style;

typedef struct shape {
    int         V, D, A, F, L;
    rwkv_type   type;
    int         tokenizer;
    model_style style;
    uint64_t    seed;
} shape;

/* ---- bytes -------------------------------------------------------------- */

enum { /* byte offsets of the header's fields */
    AT_MAGIC = 0, AT_FORMAT = 8, AT_VERSION = 12, AT_TYPE = 16, AT_TOKENIZER = 20, AT_VOCAB = 24,
    AT_EMBD = 28, AT_ATT = 32, AT_FFN = 36, AT_LAYER = 40, AT_HEAD = 44, AT_FILE_BYTES = 48,
    AT_VOCAB_BYTES = 56, AT_EPS = 64, AT_BITS = 68, AT_RESERVED = 76, AT_DATA_CRC = 120,
    AT_HEADER_CRC = 124, HEADER_BYTES = 128
};

static inline void put16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
}

static inline void put32(uint8_t *p, uint32_t x)
{
    put16(p, x);
    put16(p + 2, x >> 16);
}

static inline void put64(uint8_t *p, uint64_t x)
{
    put32(p, (uint32_t)x);
    put32(p + 4, (uint32_t)(x >> 32));
}

static inline uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t get32(const uint8_t *p)
{
    return get16(p) | get16(p + 2) << 16;
}

static inline uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static inline double get_double(const uint8_t *p)
{
    uint64_t u = get64(p);
    double x;
    memcpy(&x, &u, 8);
    return x;
}

static inline uint32_t float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* CRC-32 (IEEE), eight bytes a step. Start with 0.                           */
static inline uint32_t crc32_bytes(uint32_t crc, const uint8_t *p, size_t n)
{
    static uint32_t table[8][256];
    uint32_t i, k;
    if (table[0][1] == 0) {
        for (i = 0; i < 256; i++) {
            uint32_t c = i;
            for (k = 0; k < 8; k++) c = (c >> 1) ^ (c & 1 ? 0xEDB88320u : 0);
            table[0][i] = c;
        }
        for (k = 1; k < 8; k++) {
            for (i = 0; i < 256; i++) {
                table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 255];
            }
        }
    }
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low = crc ^ get32(p), high = get32(p + 4);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; n > 0; n--, p++) crc = (crc >> 8) ^ table[0][(crc ^ *p) & 255];
    return ~crc;
}

/* ---- 16-bit floats ------------------------------------------------------ */

/* The upper half, rounded to nearest even; a NaN stays one.                  */
static inline uint32_t bf16_from_float(float x)
{
    uint32_t u = float_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return u >> 16 | 0x40;
    return (u + 0x7FFF + (u >> 16 & 1)) >> 16;
}

static inline uint32_t f16_from_float(float x)
{
    uint32_t u = float_bits(x), sign = u >> 16 & 0x8000, exponent = u >> 23 & 255;
    uint32_t mantissa = u & 0x7FFFFF, shift = 13, half, rest;
    if (exponent == 255) return sign | 0x7C00 | (mantissa ? 0x200 | mantissa >> 13 : 0);
    if (exponent < 102) return sign;                /* below half the least subnormal */
    if (exponent < 113) {                           /* subnormal                      */
        mantissa |= 0x800000;
        shift += 113 - exponent;
        half = mantissa >> shift;
    } else {
        if (exponent >= 143) return sign | 0x7C00;
        half = (exponent - 112) << 10 | mantissa >> 13;
    }
    rest = mantissa & ((1u << shift) - 1);
    if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (half & 1))) half++;
    return sign | half;                             /* a carry makes the exponent, or infinity */
}

static inline double f16_to_double(uint32_t h)
{
    double sign = h & 0x8000 ? -1 : 1, mantissa = (double)(h & 0x3FF);
    int exponent = (int)(h >> 10 & 31);
    if (exponent == 31) return mantissa > 0 ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

/* ---- codes of 8, 6, 5 and 4 bits ---------------------------------------- */

enum { CODE_BLOCK = 32 }; /* columns with one scale                            */

static inline int has_codes(rwkv_type type)
{
    return type == RWKV_TYPE_Q8 || type == RWKV_TYPE_Q4;
}

/* The integer that a code stands for: the tables of rwkv.h, written down again. */
static inline int code_value(int bits, int code)
{
    static const signed char of_4[16] = {-54, -43, -34, -26, -19, -12, -6, 0,
                                         6,   12,  18,  24,  31,  39,  48, 60};
    static const signed char of_5[32] = {-56, -50, -45, -40, -36, -32, -28, -25, -21, -18, -15,
                                         -12, -9,  -6,  -3,  0,   3,   6,   9,   12,  15,  18,
                                         21,  24,  27,  31,  35,  39,  43,  48,  53,  59};
    static const signed char of_6[64] = {
        -62, -59, -56, -53, -51, -49, -46, -44, -42, -40, -38, -36, -34, -32, -30, -28,
        -26, -24, -23, -21, -19, -17, -16, -14, -12, -10, -9,  -7,  -5,  -3,  -2,  0,
        2,   4,   5,   7,   9,   11,  12,  14,  16,  18,  20,  21,  23,  25,  27,  29,
        31,  32,  34,  36,  38,  40,  42,  44,  46,  48,  51,  53,  55,  58,  60,  63};
    if (bits == 6) return of_6[code & 63];
    if (bits == 4) return of_4[code & 15];
    if (bits == 5) return of_5[code & 31];
    return (code & 127) - (code & 128);
}

/* The code whose value is nearest to x.                                      */
static inline int code_nearest(int bits, double x)
{
    int code, best = 0;
    for (code = 1; code < 1 << bits; code++) {
        if (fabs(code_value(bits, code) - x) < fabs(code_value(bits, best) - x)) best = code;
    }
    return best;
}

/* The standard deviation of the values of random codes.                      */
static inline double code_deviation(int bits)
{
    double sum = 0, squares = 0;
    int code, n = 1 << bits;
    for (code = 0; code < n; code++) {
        double x = code_value(bits, code);
        sum += x;
        squares += x * x;
    }
    return sqrt(squares / n - sum * sum / n / n);
}

static inline float scale_value(uint32_t scale, uint32_t exponent)
{
    return bits_float(((scale & 0x80) << 24 | (scale & 0x7F) << 19) + (exponent << 23));
}

/* A block of a panel's codes: code (r, k), for r < 16 and k < 32.             */
static inline int code_at(int bits, const uint8_t *block, int r, int k)
{
    int byte = 4 * r + k % 4, group = k / 4, low;
    if (bits == 8) return block[64 * group + byte];
    low = block[64 * (group / 2) + byte] >> (group % 2 ? 4 : 0) & 15;
    if (bits >= 5) low |= (block[256 + byte] >> group & 1) << 4;
    return bits == 6 ? low | (block[320 + byte] >> group & 1) << 5 : low;
}

static inline void code_set(int bits, uint8_t *block, int r, int k, int code)
{
    int byte = 4 * r + k % 4, group = k / 4, shift = group % 2 ? 4 : 0, bit;
    uint8_t *p = block + (bits == 8 ? 64 * group : 64 * (group / 2)) + byte;
    if (bits == 8) {
        *p = (uint8_t)code;
        return;
    }
    *p = (uint8_t)((*p & ~(15 << shift)) | (code & 15) << shift);
    for (bit = 4; bit < bits; bit++) {
        p = block + 256 + 64 * (bit - 4) + byte;
        *p = (uint8_t)((*p & ~(1 << group)) | (code >> bit & 1) << group);
    }
}

/* ---- elements of floats ------------------------------------------------- */

static inline uint32_t element_bytes(rwkv_type type)
{
    return type == RWKV_TYPE_F32 ? 4 : 2;
}

static inline uint32_t element_from_float(rwkv_type type, float x)
{
    if (type == RWKV_TYPE_F16) return f16_from_float(x);
    if (type == RWKV_TYPE_BF16) return bf16_from_float(x);
    return float_bits(x);
}

static inline double element_at(rwkv_type type, const uint8_t *p)
{
    if (type == RWKV_TYPE_F16) return f16_to_double(get16(p));
    if (type == RWKV_TYPE_BF16) return (double)bits_float(get16(p) << 16);
    return (double)bits_float(get32(p));
}

/* ---- the tensors, in the order of the file ------------------------------ */

typedef enum tensor_role {
    EMB, LN0_WEIGHT, LN0_BIAS,
    LN1_WEIGHT, LN1_BIAS, ATT_MIX_R, ATT_MIX_K, ATT_MIX_V, ATT_RECEPTANCE, ATT_KEY, ATT_VALUE,
    ATT_U, ATT_W, ATT_OUTPUT, LN2_WEIGHT, LN2_BIAS, FFN_MIX_R, FFN_MIX_K, FFN_RECEPTANCE, FFN_KEY,
    FFN_VALUE,
    LN_OUT_WEIGHT, LN_OUT_BIAS, HEAD, N_ROLES
} tensor_role;

/* MATRIX: in panels; COLUMNS: a matrix by columns. */
typedef enum tensor_kind { ROWS, VECTOR, MATRIX, COLUMNS } tensor_kind;

typedef struct tensor {
    tensor_role role;
    tensor_kind kind;
    int         layer;
    int         R, K;    /* of a vector: R = 1                                 */
    int         bits;    /* of its codes; 0: floats                            */
    uint64_t    blocks;  /* of its codes, in a row                             */
    uint64_t    offset;  /* in the file; of a matrix of codes: its exponents   */
    uint64_t    scales, codes; /* from there on                                */
    uint64_t    bytes;   /* padding to 64 included                             */
} tensor;

/* The bits of the eight matrices in the header of the models made here.      */
static inline const uint8_t *matrix_bits(rwkv_type type)
{
    static const uint8_t none[8] = {0}, of_8[8] = {8, 8, 8, 8, 8, 8, 8, 8};
    static const uint8_t of_4[8] = {5, 5, 5, 8, 4, 5, 4, 6};
    return type == RWKV_TYPE_Q8 ? of_8 : type == RWKV_TYPE_Q4 ? of_4 : none;
}

/* Which of those eight it is; -1: none.                                      */
static inline int matrix_number(tensor_role role)
{
    static const uint8_t order[8] = {ATT_RECEPTANCE, ATT_KEY, ATT_VALUE, ATT_OUTPUT,
                                     FFN_RECEPTANCE, FFN_KEY, FFN_VALUE, HEAD};
    int i;
    for (i = 0; i < 8; i++) {
        if (order[i] == (uint8_t)role) return i;
    }
    return -1;
}

static inline uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static inline int shape_size(const shape *s, char which)
{
    switch (which) {
    case 'V': return s->V;
    case 'D': return s->D;
    case 'A': return s->A;
    case 'F': return s->F;
    default:  return 1;
    }
}

static inline int tensor_count(const shape *s)
{
    return 3 + 18 * s->L + 3;
}

/* Bytes of a column of codes of a matrix by columns.                         */
static inline uint64_t code_column(const tensor *t)
{
    return t->bits == 8 ? round_up((uint64_t)t->R, 16) : round_up((uint64_t)t->R, 32) / 2;
}

/* The bytes of a tensor, and where its parts are.                            */
static inline void tensor_lay_out(tensor *t, rwkv_type type)
{
    uint64_t R = (uint64_t)t->R, K = (uint64_t)t->K, panels = round_up(R, 16) / 16;
    t->blocks = t->bits ? round_up(K, CODE_BLOCK) / CODE_BLOCK : 0;
    t->scales = t->codes = 0;
    if (t->kind == VECTOR) {
        t->bytes = 4 * K;
    } else if (t->kind == ROWS) {
        t->bytes = R * (t->bits ? t->blocks * (CODE_BLOCK + 2) : K * element_bytes(type));
    } else if (!t->bits) {
        t->bytes = panels * 16 * K * element_bytes(type);
    } else {
        t->scales = panels;
        t->codes = round_up(t->scales + panels * t->blocks * 16, 64);
        t->bytes = t->codes + (t->kind == COLUMNS ? K * code_column(t)
                                                  : panels * t->blocks * 64 * (uint64_t)t->bits);
    }
    t->bytes = round_up(t->bytes, 64);
}

/* Everything about tensor `index` but its offset, where the header has these bits. */
static inline tensor tensor_form_bits(const shape *s, int index, const uint8_t *bits)
{
    static const struct { tensor_kind kind; char R, K; } form[N_ROLES] = {
        {ROWS, 'V', 'D'},   {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'},  /* emb, ln0            */
        {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'},                      /* ln1                 */
        {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'},  /* att.time_mix r k v  */
        {MATRIX, 'A', 'D'}, {MATRIX, 'A', 'D'}, {MATRIX, 'A', 'D'},  /* att r k v           */
        {VECTOR, '1', 'A'}, {VECTOR, '1', 'A'}, {MATRIX, 'D', 'A'},  /* att u w output      */
        {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'},                      /* ln2                 */
        {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'},                      /* ffn.time_mix r k    */
        {MATRIX, 'D', 'D'}, {MATRIX, 'F', 'D'}, {COLUMNS, 'D', 'F'}, /* ffn r k v           */
        {VECTOR, '1', 'D'}, {VECTOR, '1', 'D'}, {MATRIX, 'V', 'D'},  /* ln_out, head        */
    };
    tensor t;
    int in_blocks = index - 3, number;
    t.layer = in_blocks >= 0 && in_blocks < 18 * s->L ? in_blocks / 18 : 0;
    if (in_blocks < 0) t.role = (tensor_role)index;
    else if (in_blocks < 18 * s->L) t.role = (tensor_role)(LN1_WEIGHT + in_blocks % 18);
    else t.role = (tensor_role)(LN_OUT_WEIGHT + in_blocks - 18 * s->L);
    t.kind = form[t.role].kind;
    t.R = shape_size(s, form[t.role].R);
    t.K = shape_size(s, form[t.role].K);
    number = matrix_number(t.role);
    t.bits = number >= 0 ? bits[number] : t.kind == ROWS && has_codes(s->type) ? 8 : 0;
    t.offset = 0;
    tensor_lay_out(&t, s->type);
    return t;
}

static inline tensor tensor_form(const shape *s, int index)
{
    return tensor_form_bits(s, index, matrix_bits(s->type));
}

static inline tensor tensor_find_bits(const shape *s, tensor_role role, int layer,
                                      const uint8_t *bits)
{
    uint64_t offset = HEADER_BYTES;
    int i;
    for (i = 0; i < tensor_count(s); i++) {
        tensor t = tensor_form_bits(s, i, bits);
        t.offset = offset;
        offset += t.bytes;
        if (t.role == role && t.layer == layer) return t;
    }
    return tensor_form(s, 0);
}

static inline tensor tensor_find(const shape *s, tensor_role role, int layer)
{
    return tensor_find_bits(s, role, layer, matrix_bits(s->type));
}

/* Where element (r, k) stands in the file; of codes in panels: where its block is, of
 * others of 4 bits: where the byte is.                                       */
static inline uint64_t tensor_at(const shape *s, const tensor *t, int r, int k)
{
    uint64_t row = (uint64_t)r, column = (uint64_t)k, K = (uint64_t)t->K;
    uint64_t R16 = round_up((uint64_t)t->R, 16);
    if (t->kind == VECTOR) return t->offset + 4 * column;
    if (t->bits && t->kind == ROWS)
        return t->offset + row * t->blocks * (CODE_BLOCK + 2) + column;
    if (t->bits && t->kind == COLUMNS)
        return t->offset + t->codes + column * code_column(t) +
               (t->bits == 8 ? row : row / 32 * 16 + row % 16);
    if (t->bits)
        return t->offset + t->codes +
               (row / 16 * t->blocks + column / CODE_BLOCK) * 64 * (uint64_t)t->bits;
    if (t->kind == ROWS) return t->offset + (row * K + column) * element_bytes(s->type);
    if (t->kind == COLUMNS) return t->offset + (column * R16 + row) * element_bytes(s->type);
    return t->offset + (row / 16 * 16 * K + column * 16 + row % 16) * element_bytes(s->type);
}

/* Where the scale of (r, k) stands: a byte in a matrix, an f16 in the embedding. */
static inline uint64_t tensor_scale_at(const tensor *t, int r, int k)
{
    uint64_t row = (uint64_t)r, block = (uint64_t)k / CODE_BLOCK;
    if (t->kind == ROWS)
        return t->offset + row * t->blocks * (CODE_BLOCK + 2) + t->blocks * CODE_BLOCK + 2 * block;
    if (t->kind == COLUMNS)
        return t->offset + t->scales + block * round_up((uint64_t)t->R, 16) + row;
    return t->offset + t->scales + (row / 16 * t->blocks + block) * 16 + row % 16;
}

static inline double tensor_scale(const uint8_t *file, const tensor *t, int r, int k)
{
    const uint8_t *p = file + tensor_scale_at(t, r, k);
    if (t->kind == ROWS) return f16_to_double(get16(p));
    return (double)scale_value(*p, file[t->offset + (uint64_t)r / 16]);
}

/* The code at (r, k), which begins at p, as tensor_at says.                  */
static inline int tensor_code(const tensor *t, const uint8_t *p, int r, int k)
{
    if (t->kind == MATRIX) return code_at(t->bits, p, r % 16, k % CODE_BLOCK);
    return t->bits == 8 ? *p : *p >> r % 32 / 16 * 4 & 15;
}

static inline void tensor_code_set(const tensor *t, uint8_t *p, int r, int k, int code)
{
    int shift = r % 32 / 16 * 4;
    if (t->kind == MATRIX) code_set(t->bits, p, r % 16, k % CODE_BLOCK, code);
    else if (t->bits == 8) *p = (uint8_t)code;
    else *p = (uint8_t)((*p & ~(15 << shift)) | code << shift);
}

/* Element (r, k) of a tensor of the file.                                    */
static inline double tensor_value(const uint8_t *file, const shape *s, const tensor *t, int r,
                                  int k)
{
    const uint8_t *p = file + tensor_at(s, t, r, k);
    if (t->kind == VECTOR) return (double)bits_float(get32(p));
    if (!t->bits) return element_at(s->type, p);
    return tensor_scale(file, t, r, k) * code_value(t->bits, tensor_code(t, p, r, k));
}

/* ---- vocabulary --------------------------------------------------------- */

typedef struct vocabulary {
    int       n;            /* n_vocab                                         */
    uint32_t *offset;       /* (n + 1)                                         */
    uint8_t  *bytes;
    uint32_t  n_cells;
    uint32_t *cell;         /* (n_cells, 3): base, parent, token + 1           */
} vocabulary;

static inline int vocabulary_has(const vocabulary *v, int n, const uint8_t *text, uint32_t length)
{
    int id;
    for (id = 0; id < n; id++) {
        if (v->offset[id + 1] - v->offset[id] == length &&
            memcmp(v->bytes + v->offset[id], text, length) == 0) return 1;
    }
    return 0;
}

/* The children of the node `prefix` (of `length` bytes): which bytes follow.  */
static inline void trie_children(const vocabulary *v, const uint8_t *prefix, uint32_t length,
                                 uint8_t follows[256], uint32_t *token)
{
    int id;
    memset(follows, 0, 256);
    *token = 0;
    for (id = 0; id < v->n; id++) {
        uint32_t n = v->offset[id + 1] - v->offset[id];
        const uint8_t *text = v->bytes + v->offset[id];
        if (n == 0 || n < length || (length && memcmp(text, prefix, length) != 0)) continue;
        if (n == length) *token = (uint32_t)id + 1;
        else follows[text[length]] = 1;
    }
}

static inline void trie_grow(vocabulary *v, uint32_t n_cells)
{
    uint32_t *cell, i;
    if (n_cells <= v->n_cells) return;
    cell = (uint32_t *)test_alloc(sizeof *cell * 3 * n_cells);
    if (v->n_cells) memcpy(cell, v->cell, sizeof *cell * 3 * v->n_cells);
    for (i = v->n_cells; i < n_cells; i++) {
        cell[3 * i] = 0;
        cell[3 * i + 1] = 0xFFFFFFFFu;
        cell[3 * i + 2] = 0;
    }
    free(v->cell);
    v->cell = cell;
    v->n_cells = n_cells;
}

/* First fit: slow and simple, for small vocabularies.                        */
static inline void trie_build(vocabulary *v, uint32_t at, uint8_t *prefix, uint32_t length)
{
    uint8_t follows[256];
    uint32_t token, base, c, fits;
    trie_children(v, prefix, length, follows, &token);
    v->cell[3 * at + 2] = token;
    if (!memchr(follows, 1, 256)) {
        v->cell[3 * at] = 0xFFFFFFFFu;
        return;
    }
    for (base = 1, fits = 0; !fits; base += !fits) {
        for (c = 0, fits = 1; c < 256 && fits; c++) {
            uint32_t t = base + c;
            if (follows[c] && t < v->n_cells && v->cell[3 * t + 1] != 0xFFFFFFFFu) fits = 0;
        }
    }
    for (c = 0; c < 256; c++) {
        if (follows[c]) {
            trie_grow(v, base + c + 1);
            v->cell[3 * (base + c) + 1] = at;
        }
    }
    v->cell[3 * at] = base;
    for (c = 0; c < 256; c++) {
        if (!follows[c]) continue;
        prefix[length] = (uint8_t)c;
        trie_build(v, base + c, prefix, length + 1);
    }
}

enum { VOCABULARY_LONGEST = 40 }; /* bytes of the longest token made here */

/* Bytes: id b is the byte b. World: id b + 1 is the byte b, and above that random
 * strings over few letters, many of them longer forms of earlier ones, so that
 * the longest match matters; every 16th id of these has no bytes. `missing` is a
 * byte that is in no token, or -1.                                            */
static inline vocabulary vocabulary_new(int tokenizer, int n, uint64_t seed, int missing)
{
    static const char letters[] = "aaabbc \n";
    int first = tokenizer == TOKENIZER_BYTES ? 0 : 1, id;
    uint8_t prefix[VOCABULARY_LONGEST + 1], text[VOCABULARY_LONGEST + 1];
    vocabulary v;
    v.n = n;
    v.offset = (uint32_t *)test_alloc(sizeof *v.offset * ((size_t)n + 1));
    v.bytes = (uint8_t *)test_alloc((size_t)n * VOCABULARY_LONGEST);
    v.offset[0] = 0;
    for (id = 0; id < n; id++) {
        uint32_t length = 0, from, i;
        if (id >= first && id < first + 256) {
            text[0] = (uint8_t)(id - first);
            length = id - first != missing;
        } else if (tokenizer == TOKENIZER_WORLD && id > 256 && id % 16 != 0) {
            do {
                length = 0;
                if (id > 300 && random_below(&seed, 2)) { /* a longer form of another */
                    from = (uint32_t)(257 + random_below(&seed, id - 257));
                    length = v.offset[from + 1] - v.offset[from];
                    if (length > 24) length = 24;
                    memcpy(text, v.bytes + v.offset[from], length);
                }
                from = 2 + (uint32_t)random_below(&seed, 5);
                for (i = 0; i < from; i++) {
                    text[length++] = random_below(&seed, 12)
                        ? (uint8_t)letters[random_below(&seed, 8)]
                        : (uint8_t)(random_below(&seed, 4) * 0x55); /* NUL and 0xFF too */
                }
            } while (length > VOCABULARY_LONGEST || vocabulary_has(&v, id, text, length) ||
                     (missing >= 0 && memchr(text, missing, length)));
        }
        memcpy(v.bytes + v.offset[id], text, length);
        v.offset[id + 1] = v.offset[id] + length;
    }
    v.n_cells = 0;
    v.cell = NULL;
    trie_grow(&v, 1);
    trie_build(&v, 0, prefix, 0);
    return v;
}

static inline void vocabulary_free(vocabulary *v)
{
    free(v->offset);
    free(v->bytes);
    free(v->cell);
}

static inline uint64_t vocabulary_bytes(const vocabulary *v)
{
    return round_up(16 + 4 * ((uint64_t)v->n + 1) + 12 * (uint64_t)v->n_cells + v->offset[v->n],
                    64);
}

/* The vocabulary section, vocabulary_bytes long.                             */
static inline void vocabulary_write(const vocabulary *v, uint8_t *out)
{
    uint32_t i, at = 16;
    memset(out, 0, (size_t)vocabulary_bytes(v));
    put32(out, v->n_cells);
    put32(out + 4, v->offset[v->n]);
    for (i = 0; i <= (uint32_t)v->n; i++, at += 4) put32(out + at, v->offset[i]);
    for (i = 0; i < 3 * v->n_cells; i++, at += 4) put32(out + at, v->cell[i]);
    memcpy(out + at, v->bytes, v->offset[v->n]);
}

/* ---- writing ------------------------------------------------------------ */

/* Where the bytes go: into memory or into a file, with the CRC on the way.   */
typedef struct sink {
    uint8_t *memory;
    FILE    *file;
    uint64_t at;
    uint32_t crc;
    int      failed;
} sink;

static inline void sink_put(sink *o, const uint8_t *data, size_t n)
{
    if (o->memory) memcpy(o->memory + o->at, data, n);
    else if (fwrite(data, 1, n, o->file) != n) o->failed = 1;
    if (o->at >= HEADER_BYTES) o->crc = crc32_bytes(o->crc, data, n);
    o->at += n;
}

static inline void sink_pad(sink *o)
{
    static const uint8_t zeros[64] = {0};
    sink_put(o, zeros, (size_t)(round_up(o->at, 64) - o->at));
}

enum { LEVELS = 2048 };

/* The standard deviation that keeps everything alive.                        */
static inline double matrix_scale(const tensor *t)
{
    double one = 1 / sqrt((double)t->K);
    if (t->role == EMB) return 1;
    if (t->role == ATT_OUTPUT) return 2 * one;
    return one;
}

/* Elements drawn from 2048 levels of a uniform distribution, for speed.      */
static inline void write_matrix(sink *o, const shape *s, const tensor *t, uint64_t *seed)
{
    static const float offsets[6] = {-120, -80, 0, 30, 80, 120};
    uint32_t level[LEVELS], width = element_bytes(s->type), lane, fill = 0;
    double range = sqrt(3.0) * matrix_scale(t);
    uint8_t buffer[16 * 4 * 64];
    uint64_t bits = 0;
    int lanes = t->kind == ROWS ? 1 : 16, r, k;
    uint64_t R16 = round_up((uint64_t)t->R, 16);
    uint8_t *all = (uint8_t *)test_alloc(t->kind == COLUMNS ? (size_t)t->bytes : 1);
    for (k = 0; k < LEVELS; k++) {
        level[k] = element_from_float(s->type, (float)random_uniform(seed, -range, range));
    }
    for (r = 0; r < t->R; r += lanes) {
        for (k = 0; k < t->K; k++) {
            uint8_t *p = buffer + fill;
            for (lane = 0; lane < (uint32_t)lanes; lane++) {
                uint32_t x;
                if (lane % 4 == 0) bits = random_bits(seed);
                x = level[bits & (LEVELS - 1)];
                bits >>= 16;
                if (t->role == ATT_KEY && s->style == KEYS && k == 0) {
                    x = element_from_float(s->type, offsets[((uint32_t)r + lane) % 6]);
                }
                if (r + (int)lane >= t->R) x = 0;
                if (width == 2) put16(p + 2 * lane, x);
                else put32(p + 4 * lane, x);
            }
            if (t->kind == COLUMNS) {
                memcpy(all + ((uint64_t)k * R16 + (uint64_t)r) * width, p, 16 * width);
                continue;
            }
            fill += (uint32_t)lanes * width;
            if (fill > sizeof buffer - 64) {
                sink_put(o, buffer, fill);
                fill = 0;
            }
        }
    }
    if (t->kind == COLUMNS) sink_put(o, all, (size_t)((uint64_t)t->K * R16 * width));
    free(all);
    sink_put(o, buffer, fill);
    sink_pad(o);
}

static inline void random_fill(uint8_t *p, size_t n, uint64_t *seed)
{
    uint64_t bits;
    for (; n >= 8; n -= 8, p += 8) put64(p, random_bits(seed));
    for (bits = random_bits(seed); n > 0; n--, bits >>= 8) *p++ = (uint8_t)bits;
}

/* Rows of random codes and scales of both signs, from half to one and a half of what
 * gives the standard deviation.                                              */
static inline void write_code_rows(sink *o, const tensor *t, uint64_t *seed)
{
    size_t n = (size_t)t->blocks * CODE_BLOCK, i;
    uint8_t *row = (uint8_t *)test_alloc(n + 2 * (size_t)t->blocks);
    double scale = matrix_scale(t) / code_deviation(8);
    int r;
    for (r = 0; r < t->R; r++) {
        random_fill(row, n, seed);
        for (i = 0; i < t->blocks; i++) {
            double x = scale * random_uniform(seed, 0.5, 1.5);
            put16(row + n + 2 * i, f16_from_float((float)(random_below(seed, 2) ? x : -x)));
        }
        sink_put(o, row, n + 2 * (size_t)t->blocks);
    }
    free(row);
    sink_pad(o);
}

/* A panel's exponent that gives `scale` an e of 1 to 6, and the byte of that scale. */
static inline uint8_t random_exponent(double scale, uint64_t *seed, int *byte)
{
    int e = 1 + random_below(seed, 6), exponent;
    double fraction = 2 * frexp(scale, &exponent);   /* from 1 to 2                   */
    *byte = e << 4 | (int)((fraction - 1) * 16);
    return (uint8_t)(exponent - 1 + 127 - e);
}

/* A matrix of random codes. The scales vary by 8 sixteenths either way and in their
 * sign, the exponents by what the scales make up for. Rows that do not exist have codes
 * for 0; in columns that do not exist is anything. All are drawn as for panels.  */
static inline void write_codes(sink *o, const shape *s, const tensor *t, uint64_t *seed)
{
    size_t panels = (size_t)round_up((uint64_t)t->R, 16) / 16, blocks = (size_t)t->blocks, i, j;
    size_t line = 64 * (size_t)t->bits;
    uint8_t *all = (uint8_t *)test_alloc((size_t)t->bytes);
    uint8_t *codes = (uint8_t *)test_alloc(blocks * line), *scales = codes;
    double scale = matrix_scale(t) / code_deviation(t->bits);
    int *byte = (int *)test_alloc(panels * sizeof *byte), r, k;
    tensor at = *t;
    at.offset = 0;
    memset(all, 0, (size_t)t->bytes);
    if (s->style == KEYS) {
        printf("no KEYS with codes\n0 passed, 1 failed\n");
        exit(1);
    }
    for (i = 0; i < panels; i++) all[i] = random_exponent(scale, seed, &byte[i]);
    for (i = 0; i < panels; i++) {
        random_fill(scales, blocks * 16, seed);
        for (j = 0; j < blocks * 16; j++) {
            all[tensor_scale_at(&at, (int)(16 * i + j % 16), (int)(j / 16) * CODE_BLOCK)] =
                (uint8_t)((scales[j] & 0x80) | (byte[i] - 8 + (scales[j] & 15)));
        }
    }
    for (i = 0; i < panels; i++) {
        int first = 16 * (int)i;
        random_fill(codes, blocks * line, seed);
        for (k = 0; k < (int)blocks * CODE_BLOCK; k++) {
            uint8_t *block = codes + (size_t)k / CODE_BLOCK * line;
            for (r = 0; r < 16; r++) {
                if (first + r >= t->R)
                    code_set(t->bits, block, r, k % CODE_BLOCK, code_nearest(t->bits, 0));
                if (t->kind == COLUMNS && k < t->K)
                    tensor_code_set(t, all + tensor_at(s, &at, first + r, k), first + r, k,
                                    code_at(t->bits, block, r, k % CODE_BLOCK));
            }
        }
        if (t->kind == MATRIX) memcpy(all + tensor_at(s, &at, first, 0), codes, blocks * line);
    }
    sink_put(o, all, (size_t)t->bytes);
    sink_pad(o);
    free(all);
    free(codes);
    free(byte);
}

static inline float vector_value(const shape *s, const tensor *t, int i, uint64_t *seed)
{
    double x = random_uniform(seed, -1, 1), y = random_uniform(seed, 0, 1);
    int constant = s->style == KEYS && i == 0 && t->K > 1; /* x[0] after ln1 is 1: see offsets */
    switch (t->role) {
    case LN1_WEIGHT: return constant ? 0.0f : (float)(1 + 0.3 * x);
    case LN1_BIAS:   return constant ? 1.0f : (float)(0.2 * x);
    case LN0_WEIGHT: case LN2_WEIGHT: case LN_OUT_WEIGHT: return (float)(1 + 0.3 * x);
    case LN0_BIAS:   case LN2_BIAS:   case LN_OUT_BIAS:   return (float)(0.2 * x);
    case ATT_MIX_K:  return constant ? 1.0f : (float)y;
    case ATT_MIX_R:  case ATT_MIX_V: case FFN_MIX_R: case FFN_MIX_K: return (float)y;
    case ATT_U:      return (float)(s->style == DECAYS ? 40 * x : x);
    case ATT_W: /* -exp(time_decay), from -2 to -0.008 */
        if (s->style == DECAYS) return (float)-exp(-20 + 28.0 * i / (t->K > 1 ? t->K - 1 : 1));
        return (float)-ldexp(1 + y, -random_below(seed, 8));
    default:         return 0;
    }
}

static inline void write_vector(sink *o, const shape *s, const tensor *t, uint64_t *seed)
{
    uint8_t bytes[4];
    int i;
    for (i = 0; i < t->K; i++) {
        put32(bytes, float_bits(vector_value(s, t, i, seed)));
        sink_put(o, bytes, 4);
    }
    sink_pad(o);
}

static inline uint64_t shape_tensor_bytes(const shape *s)
{
    uint64_t n = 0;
    int i;
    for (i = 0; i < tensor_count(s); i++) n += tensor_form(s, i).bytes;
    return n;
}

static inline void header_write(uint8_t *h, const shape *s, uint64_t vocab_bytes, uint32_t data_crc)
{
    static const uint8_t magic[8] = {'R', 'W', 'K', 'V', 0x0D, 0x0A, 0x1A, 0x0A};
    memset(h, 0, HEADER_BYTES);
    memcpy(h, magic, 8);
    put32(h + AT_FORMAT, 2);
    put32(h + AT_VERSION, 4);
    put32(h + AT_TYPE, (uint32_t)s->type);
    put32(h + AT_TOKENIZER, (uint32_t)s->tokenizer);
    put32(h + AT_VOCAB, (uint32_t)s->V);
    put32(h + AT_EMBD, (uint32_t)s->D);
    put32(h + AT_ATT, (uint32_t)s->A);
    put32(h + AT_FFN, (uint32_t)s->F);
    put32(h + AT_LAYER, (uint32_t)s->L);
    put64(h + AT_FILE_BYTES, HEADER_BYTES + shape_tensor_bytes(s) + vocab_bytes);
    put64(h + AT_VOCAB_BYTES, vocab_bytes);
    put32(h + AT_EPS, float_bits(1e-5f));
    memcpy(h + AT_BITS, matrix_bits(s->type), 8);
    put32(h + AT_DATA_CRC, data_crc);
    put32(h + AT_HEADER_CRC, crc32_bytes(0, h, AT_HEADER_CRC));
}

/* Everything after the header.                                               */
static inline void write_body(sink *o, const shape *s, const vocabulary *v)
{
    uint64_t seed = s->seed * 0x2545F4914F6CDD1Du + 1;
    int i;
    for (i = 0; i < tensor_count(s); i++) {
        tensor t = tensor_form(s, i);
        if (t.kind == VECTOR) write_vector(o, s, &t, &seed);
        else if (t.kind == ROWS && t.bits) write_code_rows(o, &t, &seed);
        else if (t.bits) write_codes(o, s, &t, &seed);
        else write_matrix(o, s, &t, &seed);
    }
    if (v) {
        uint8_t *section = (uint8_t *)test_alloc((size_t)vocabulary_bytes(v));
        vocabulary_write(v, section);
        sink_put(o, section, (size_t)vocabulary_bytes(v));
        free(section);
    }
}

/* ---- a model in memory -------------------------------------------------- */

typedef struct model_image {
    shape      s;
    uint8_t   *data;    /* at a multiple of 64                                 */
    size_t     size;
    void      *memory;  /* what data lies in                                   */
    vocabulary vocab;   /* n = 0 without a tokenizer                           */
} model_image;

static inline uint8_t *aligned_bytes(size_t size, void **memory)
{
    uint8_t *p = (uint8_t *)test_alloc(size + 64);
    *memory = p;
    return p + (64 - (uintptr_t)p % 64) % 64;
}

static inline model_image model_image_with(const shape *s, const vocabulary *v)
{
    model_image m;
    sink o = {NULL, NULL, HEADER_BYTES, 0, 0};
    memset(&m, 0, sizeof m);
    m.s = *s;
    if (v) m.vocab = *v;
    m.size = (size_t)(HEADER_BYTES + shape_tensor_bytes(s) + (v ? vocabulary_bytes(v) : 0));
    m.data = o.memory = aligned_bytes(m.size, &m.memory);
    write_body(&o, s, v);
    header_write(m.data, s, v ? vocabulary_bytes(v) : 0, o.crc);
    return m;
}

/* The same with any bytes as its vocabulary section.                         */
static inline model_image model_image_section(const shape *s, const uint8_t *section, size_t bytes)
{
    model_image m;
    sink o = {NULL, NULL, HEADER_BYTES, 0, 0};
    memset(&m, 0, sizeof m);
    m.s = *s;
    m.size = HEADER_BYTES + (size_t)shape_tensor_bytes(s) + bytes;
    m.data = o.memory = aligned_bytes(m.size, &m.memory);
    write_body(&o, s, NULL);
    sink_put(&o, section, bytes);
    header_write(m.data, s, bytes, o.crc);
    return m;
}

static inline model_image model_image_new(const shape *s)
{
    vocabulary v;
    if (s->tokenizer == TOKENIZER_NONE) return model_image_with(s, NULL);
    v = vocabulary_new(s->tokenizer, s->V, s->seed, -1);
    return model_image_with(s, &v);
}

static inline void model_image_free(model_image *m)
{
    if (m->vocab.n) vocabulary_free(&m->vocab);
    free(m->memory);
}

/* Make the checksums right again after a change.                             */
static inline void image_fix_header(model_image *m)
{
    put32(m->data + AT_HEADER_CRC, crc32_bytes(0, m->data, AT_HEADER_CRC));
}

static inline void image_fix(model_image *m)
{
    put32(m->data + AT_DATA_CRC,
          crc32_bytes(0, m->data + HEADER_BYTES, m->size - HEADER_BYTES));
    image_fix_header(m);
}

/* Leave out n bytes of the vocabulary, from byte `at` of it on, after its counts have been made to
 * say so.                                                                     */
static inline void image_cut_vocabulary(model_image *m, size_t at, size_t n)
{
    size_t had = (size_t)get64(m->data + AT_VOCAB_BYTES), begin = m->size - had, words, bytes;
    uint8_t *v = m->data + begin;
    uint32_t V = get32(m->data + AT_VOCAB), pairs = get32(v + 8);
    words = 4 + (size_t)V + 1 + 3 * (size_t)get32(v) + (pairs ? (size_t)V + 1 + 2 * (size_t)pairs : 0) +
            get32(v + 12);
    memmove(v + at, v + at + n, had - at - n);
    memset(v + had - n, 0, n);
    bytes = (size_t)round_up(4 * words + get32(v + 4), 64);
    m->size = begin + bytes;
    put64(m->data + AT_VOCAB_BYTES, bytes);
    put64(m->data + AT_FILE_BYTES, m->size);
    image_fix(m);
}

/* Make the checksum of a saved state right again: that of what is before it, xor that of the
 * numbers.                                                                    */
enum { SAVE_HEADER = 64, AT_SAVE_CRC = 60 };
static inline void saved_fix(uint8_t *blob, size_t size)
{
    put32(blob + AT_SAVE_CRC, crc32_bytes(0, blob, AT_SAVE_CRC) ^
                                  crc32_bytes(0, blob + SAVE_HEADER, size - SAVE_HEADER));
}

/* Where a tensor of the image is.                                            */
static inline tensor image_find(const model_image *m, tensor_role role, int layer)
{
    return tensor_find_bits(&m->s, role, layer, m->data + AT_BITS);
}

/* Change one element (of a vector: r = 0); of codes, to the nearest with the scale that
 * the block has. Call image_fix when done.                                   */
static inline void image_set(model_image *m, tensor_role role, int layer, int r, int k, float x)
{
    tensor t = image_find(m, role, layer);
    uint8_t *p = m->data + tensor_at(&m->s, &t, r, k);
    if (t.bits) {
        int code = code_nearest(t.bits, (double)x / tensor_scale(m->data, &t, r, k));
        tensor_code_set(&t, p, r, k, code);
    } else if (t.kind == VECTOR || m->s.type == RWKV_TYPE_F32) put32(p, float_bits(x));
    else put16(p, element_from_float(m->s.type, x));
}

static inline void image_fill(model_image *m, tensor_role role, int layer, float x)
{
    tensor t = image_find(m, role, layer);
    int r, k;
    for (r = 0; r < t.R; r++) {
        for (k = 0; k < t.K; k++) image_set(m, role, layer, r, k, x);
    }
}

/* ---- reading ------------------------------------------------------------ */

static inline double *image_tensor(const model_image *m, tensor_role role, int layer)
{
    tensor t = image_find(m, role, layer);
    double *x = ref_zeros((size_t)t.R * (size_t)t.K);
    size_t i = 0;
    int r, k;
    for (r = 0; r < t.R; r++) {
        for (k = 0; k < t.K; k++, i++) x[i] = tensor_value(m->data, &m->s, &t, r, k);
    }
    return x;
}

static inline ref_block ref_block_from_image(const model_image *m, int l)
{
    ref_block q;
    q.ln1_weight     = image_tensor(m, LN1_WEIGHT, l);
    q.ln1_bias       = image_tensor(m, LN1_BIAS, l);
    q.att_mix_r      = image_tensor(m, ATT_MIX_R, l);
    q.att_mix_k      = image_tensor(m, ATT_MIX_K, l);
    q.att_mix_v      = image_tensor(m, ATT_MIX_V, l);
    q.att_receptance = image_tensor(m, ATT_RECEPTANCE, l);
    q.att_key        = image_tensor(m, ATT_KEY, l);
    q.att_value      = image_tensor(m, ATT_VALUE, l);
    q.att_u          = image_tensor(m, ATT_U, l);
    q.att_w          = image_tensor(m, ATT_W, l);
    q.att_output     = image_tensor(m, ATT_OUTPUT, l);
    q.ln2_weight     = image_tensor(m, LN2_WEIGHT, l);
    q.ln2_bias       = image_tensor(m, LN2_BIAS, l);
    q.ffn_mix_r      = image_tensor(m, FFN_MIX_R, l);
    q.ffn_mix_k      = image_tensor(m, FFN_MIX_K, l);
    q.ffn_receptance = image_tensor(m, FFN_RECEPTANCE, l);
    q.ffn_key        = image_tensor(m, FFN_KEY, l);
    q.ffn_value      = image_tensor(m, FFN_VALUE, l);
    q.codes          = has_codes(m->s.type);
    return q;
}

/* The stored values, which are those that a model computes with.             */
static inline ref_model ref_from_image(const model_image *m)
{
    ref_model ref;
    int l;
    ref.V = m->s.V;
    ref.D = m->s.D;
    ref.A = m->s.A;
    ref.F = m->s.F;
    ref.L = m->s.L;
    ref.codes = has_codes(m->s.type);
    ref.eps = (double)bits_float(get32(m->data + AT_EPS));
    ref.emb = image_tensor(m, EMB, 0);
    ref.ln0_weight = image_tensor(m, LN0_WEIGHT, 0);
    ref.ln0_bias = image_tensor(m, LN0_BIAS, 0);
    ref.ln_out_weight = image_tensor(m, LN_OUT_WEIGHT, 0);
    ref.ln_out_bias = image_tensor(m, LN_OUT_BIAS, 0);
    ref.head = image_tensor(m, HEAD, 0);
    ref.blocks = (ref_block *)test_alloc(sizeof *ref.blocks * (size_t)m->s.L);
    for (l = 0; l < m->s.L; l++) ref.blocks[l] = ref_block_from_image(m, l);
    return ref;
}

/* ---- files -------------------------------------------------------------- */

/* Write such a model straight to a file, of any size. Returns 0 on success.  */
static inline int model_write_file(const shape *s, const char *path)
{
    uint8_t header[HEADER_BYTES] = {0};
    vocabulary v;
    sink o = {NULL, NULL, 0, 0, 0};
    uint64_t vocab_bytes = 0;
    o.file = fopen(path, "wb");
    if (!o.file) return -1;
    sink_put(&o, header, HEADER_BYTES);
    if (s->tokenizer != TOKENIZER_NONE) {
        v = vocabulary_new(s->tokenizer, s->V, s->seed, -1);
        vocab_bytes = vocabulary_bytes(&v);
        write_body(&o, s, &v);
        vocabulary_free(&v);
    } else {
        write_body(&o, s, NULL);
    }
    header_write(header, s, vocab_bytes, o.crc);
    if (fseek(o.file, 0, SEEK_SET) != 0) o.failed = 1;
    if (fwrite(header, 1, HEADER_BYTES, o.file) != HEADER_BYTES) o.failed = 1;
    if (fclose(o.file) != 0) o.failed = 1;
    return o.failed ? -1 : 0;
}

/* A name for a temporary file that nothing else uses. Remove it yourself.    */
static inline const char *temporary_path(char path[512])
{
    static unsigned counter;
    const char *folder = getenv("TMPDIR");
    uint64_t seed = (uint64_t)time(NULL) ^ (uint64_t)clock() << 40 ^ (uint64_t)(uintptr_t)path;
    if (!folder) folder = getenv("TEMP");
#if !defined(_WIN32)
    if (!folder) folder = "/tmp";
#endif
    if (!folder || strlen(folder) > 400) folder = ".";
    snprintf(path, 512, "%s/rwkv-test-%08lx-%u.tmp", folder,
            (unsigned long)(random_bits(&seed) & 0xFFFFFFFFu), counter++);
    return path;
}

static inline int write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    int ok = file && fwrite(data, 1, size, file) == size;
    if (file && fclose(file) != 0) ok = 0;
    return ok ? 0 : -1;
}

/* The whole file at a multiple of 64 inside *memory, which is to be freed;
 * NULL if there is no such file.                                             */
static inline uint8_t *read_file(const char *path, size_t *size, void **memory)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long n;
    *memory = NULL;
    if (!file) return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (n = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        data = aligned_bytes((size_t)n, memory);
        *size = fread(data, 1, (size_t)n, file);
    }
    fclose(file);
    return data;
}

/* The bytes of a model file as an image, which borrows them.                 */
static inline model_image image_of(uint8_t *data, size_t size)
{
    model_image m;
    memset(&m, 0, sizeof m);
    m.data = data;
    m.size = size;
    if (data && size >= HEADER_BYTES) {
        m.s.V = (int)get32(m.data + AT_VOCAB);
        m.s.D = (int)get32(m.data + AT_EMBD);
        m.s.A = (int)get32(m.data + AT_ATT);
        m.s.F = (int)get32(m.data + AT_FFN);
        m.s.L = (int)get32(m.data + AT_LAYER);
        m.s.type = (rwkv_type)get32(m.data + AT_TYPE);
        m.s.tokenizer = (int)get32(m.data + AT_TOKENIZER);
    }
    return m;
}

/* Read a model file without rwkv.h. data is NULL if there is none.           */
static inline model_image image_from_file(const char *path)
{
    size_t size = 0;
    void *memory;
    uint8_t *data = read_file(path, &size, &memory);
    model_image m = image_of(data, size);
    m.memory = memory;
    return m;
}

/* ---- loading ------------------------------------------------------------ */

/* Load an image with options, or NULL for defaults; a failure is printed.    */
static inline rwkv_model *load_image(const model_image *m, const rwkv_options *options)
{
    rwkv_error error;
    rwkv_model *model = rwkv_load_memory(m->data, m->size, options, &error);
    CHECK_MSG(model != NULL, "V %d D %d A %d F %d L %d: %s", m->s.V, m->s.D, m->s.A, m->s.F, m->s.L,
              model ? "" : error.message);
    return model;
}

static inline rwkv_options options_isa(const char *isa)
{
    rwkv_options o;
    memset(&o, 0, sizeof o);
    o.isa = isa;
    return o;
}

/* These have no fused multiply-add where a test is compiled for any x86-64.    */
static inline int isa_is_slow(const char *isa)
{
    return strcmp(isa, "scalar") == 0 || strcmp(isa, "ssse3") == 0;
}

/* A parallel hook: all parts, the last one first.                            */
static inline void run_backwards(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    (void)user;
    while (n-- > 0) fn(ctx, n);
}

/* Random tokens.                                                             */
static inline void random_tokens(uint64_t seed, int V, int *tokens, int n)
{
    int i;
    for (i = 0; i < n; i++) tokens[i] = random_below(&seed, V);
}

/* A saved state; to be freed. Every bit of a state is in it.                 */
static inline uint8_t *saved(const rwkv_state *state, size_t *size)
{
    uint8_t *data;
    *size = rwkv_state_save(state, NULL, 0);
    data = (uint8_t *)test_alloc(*size);
    CHECK_INT(rwkv_state_save(state, data, *size), *size);
    return data;
}

/* ---- comparing ---------------------------------------------------------- */

/* The largest |x - y|; infinity if any is NaN or infinite.                   */
static inline double farthest(const float *x, const double *y, size_t n)
{
    double gap = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        double d = fabs((double)x[i] - y[i]);
        if (!(d <= 1e300)) return (double)INFINITY;
        if (d > gap) gap = d;
    }
    return gap;
}

/* How far a state is from the reference: of the recurrence only a / b and
 * p + log(b) are compared, which do not depend on the choice of p.           */
typedef struct distance {
    double logits, hidden, x, wkv, p;
} distance;

static inline distance state_distance(rwkv_state *state, const ref_model *m, const ref_state *ref)
{
    distance gap = {0, 0, 0, 0, 0};
    int l, i;
    gap.logits = farthest(rwkv_logits(state), ref->logits, (size_t)m->V);
    gap.hidden = farthest(rwkv_hidden(state), ref->hidden, (size_t)m->D);
    for (l = 0; l < m->L; l++) {
        size_t D = (size_t)m->D, lD = (size_t)l * D, lA = (size_t)l * (size_t)m->A;
        const float *a = rwkv_state_view(state, RWKV_PART_ATT_A, l, NULL);
        const float *b = rwkv_state_view(state, RWKV_PART_ATT_B, l, NULL);
        const float *p = rwkv_state_view(state, RWKV_PART_ATT_P, l, NULL);
        const float *att_x = rwkv_state_view(state, RWKV_PART_ATT_X, l, NULL);
        const float *ffn_x = rwkv_state_view(state, RWKV_PART_FFN_X, l, NULL);
        gap.x = fmax(gap.x, farthest(att_x, ref->att_x + lD, D));
        gap.x = fmax(gap.x, farthest(ffn_x, ref->ffn_x + lD, D));
        for (i = 0; i < m->A; i++) {
            size_t j = lA + (size_t)i;
            double wkv = fabs((double)a[i] / (double)b[i] - ref->a[j] / ref->b[j]);
            double sum = fabs((double)p[i] + log((double)b[i]) - ref->p[j] - log(ref->b[j]));
            gap.wkv = wkv <= gap.wkv ? gap.wkv : wkv == wkv ? wkv : (double)INFINITY;
            gap.p = sum <= gap.p ? gap.p : sum == sum ? sum : (double)INFINITY;
        }
    }
    return gap;
}

/* All parts within one bound; the exponent p within twice that.              */
static inline distance within(double bound)
{
    distance d;
    d.logits = d.hidden = d.x = d.wkv = bound;
    d.p = 2 * bound;
    return d;
}

static inline int is_within(distance is, distance allowed)
{
    return is.logits <= allowed.logits && is.hidden <= allowed.hidden && is.x <= allowed.x &&
           is.wkv <= allowed.wkv && is.p <= allowed.p;
}

static inline int check_distance(distance is, distance allowed, const char *isa, int token)
{
    return CHECK_MSG(is_within(is, allowed),
                     "%s after token %d: off by logits %.3g hidden %.3g x %.3g wkv %.3g p %.3g",
                     isa, token, is.logits, is.hidden, is.x, is.wkv, is.p);
}

/* The reference goes on from where the state is.                             */
static inline void ref_state_follow(rwkv_state *state, const ref_model *m, ref_state *ref)
{
    double *to[5];
    int l, i, n, part;
    for (l = 0; l < m->L; l++) {
        size_t lD = (size_t)l * (size_t)m->D, lA = (size_t)l * (size_t)m->A;
        to[RWKV_PART_ATT_X] = ref->att_x + lD;
        to[RWKV_PART_ATT_A] = ref->a + lA;
        to[RWKV_PART_ATT_B] = ref->b + lA;
        to[RWKV_PART_ATT_P] = ref->p + lA;
        to[RWKV_PART_FFN_X] = ref->ffn_x + lD;
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *from = rwkv_state_view(state, (rwkv_part)part, l, &n);
            for (i = 0; i < n; i++) to[part][i] = (double)from[i];
        }
    }
}

/* Token by token, each from the state that the last one left: with codes the reference
 * would leave the library's path for good at the first input that it rounds otherwise
 * (see ref.h). Such tokens are few: of the first 3984 of these tests 8 were beyond
 * `allowed`, by 0.024 at most.                                               */
static inline void check_codes(const ref_model *ref, rwkv_state *state, const int *tokens, int n,
                               distance allowed, const char *isa)
{
    ref_state truth = ref_state_new(ref);
    int t, off = 0;
    for (t = 0; t < n; t++) {
        distance is;
        ref_state_follow(state, ref, &truth);
        ref_eval(ref, tokens[t], &truth);
        if (!CHECK(rwkv_eval(tokens[t], state) != NULL)) break;
        is = state_distance(state, ref, &truth);
        off += !is_within(is, allowed);
        if (!check_distance(is, within(0.1), isa, t)) break;
    }
    CHECK_MSG(off <= 1 + n / 10, "%s: %d of %d tokens are off", isa, off, n);
    ref_state_free(&truth);
}

/* Every valid number of the two states, bit for bit, and what they save.     */
static inline int same_states(rwkv_state *x, rwkv_state *y, const shape *s)
{
    int part, l, n, m, same;
    uint8_t *one, *two;
    size_t bytes, other;
    same = CHECK_SAME(rwkv_logits(x), rwkv_logits(y), sizeof(float) * (size_t)s->V);
    same &= CHECK_SAME(rwkv_hidden(x), rwkv_hidden(y), sizeof(float) * (size_t)s->D);
    for (l = 0; l < s->L && same; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X && same; part++) {
            const float *a = rwkv_state_view(x, (rwkv_part)part, l, &n);
            const float *b = rwkv_state_view(y, (rwkv_part)part, l, &m);
            same &= CHECK_MSG(n == m && memcmp(a, b, sizeof(float) * (size_t)n) == 0,
                              "layer %d part %d differs", l, part);
        }
    }
    one = saved(x, &bytes);
    two = saved(y, &other);
    same &= CHECK_INT(bytes, other) && CHECK_SAME(one, two, bytes);
    free(one);
    free(two);
    return same;
}

/* Read n tokens on every isa and compare with the reference: after each token
 * read alone, and after all of them read together.                           */
static inline void check_image(const model_image *m, const int *tokens, int n, distance allowed)
{
    ref_model ref = ref_from_image(m);
    const char *isa;
    int i, t;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(m, &o);
        rwkv_state *state = rwkv_state_new(model), *whole = rwkv_state_new(model);
        ref_state truth = ref_state_new(&ref);
        CHECK(rwkv_eval_sequence(tokens, n, whole) != NULL);
        if (ref.codes) {
            check_codes(&ref, state, tokens, n, allowed, isa);
            same_states(whole, state, &m->s);
        }
        for (t = 0; t < n && !ref.codes; t++) {
            ref_eval(&ref, tokens[t], &truth);
            if (!CHECK(rwkv_eval(tokens[t], state) != NULL)) break;
            if (!check_distance(state_distance(state, &ref, &truth), allowed, isa, t)) break;
        }
        if (!ref.codes) check_distance(state_distance(whole, &ref, &truth), allowed, isa, n);
        ref_state_free(&truth);
        rwkv_state_free(state);
        rwkv_state_free(whole);
        rwkv_free(model);
    }
    ref_model_free(&ref);
}

/* The token shift at its ends: mixes of 1, the present token alone, and of 0, the
 * last one alone; the other way round in the second layer.                   */
static inline void check_shift_at_its_ends(const shape *s, const tensor_role *mixes, int n_mixes)
{
    int tokens[20], i, end;
    random_tokens(1, s->V, tokens, 20);
    for (i = 0; i < n_mixes; i++) {
        for (end = 0; end <= 1; end++) {
            model_image m = model_image_new(s);
            image_fill(&m, mixes[i], 0, (float)end);
            image_fill(&m, mixes[i], 1, (float)(1 - end));
            image_fix(&m);
            check_image(&m, tokens, 20, within(2e-5));
            model_image_free(&m);
        }
    }
}

#endif /* MODEL_H_INCLUDED */
