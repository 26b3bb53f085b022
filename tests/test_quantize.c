/* test_quantize.c: model files of 8 and 4 bits, read by a decoder of their own. */
#define RWKV__STREAMS 8 /* enough here, and thirty times faster */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape shapes[] = {
    {1, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {37, 20, 24, 33, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 2},
    {300, 48, 64, 130, 2, RWKV_TYPE_BF16, TOKENIZER_WORLD, PLAIN, 3},
    {256, 33, 31, 100, 1, RWKV_TYPE_F32, TOKENIZER_BYTES, PLAIN, 4},
    {20, 16, 16, 1100, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 5}, /* two spans of H    */
};
enum { N_SHAPES = TEST_SLOW_MACHINE ? 2 : sizeof shapes / sizeof *shapes };
static const rwkv_type types[2] = {RWKV_TYPE_Q8, RWKV_TYPE_Q4};

/* ---- the decoder --------------------------------------------------------- */

static const int values_4[16] = {-54, -43, -34, -26, -19, -12, -6, 0, 6, 12, 18, 24, 31, 39, 48, 60};
static const int values_5[32] = {-56, -50, -45, -40, -36, -32, -28, -25, -21, -18, -15, -12, -9, -6, -3, 0,
                                 3,   6,   9,   12,  15,  18,  21,  24,  27,  31,  35,  39,  43, 48, 53, 59};
static const int values_6[64] = {
    -62, -59, -56, -53, -51, -49, -46, -44, -42, -40, -38, -36, -34, -32, -30, -28,
    -26, -24, -23, -21, -19, -17, -16, -14, -12, -10, -9,  -7,  -5,  -3,  -2,  0,
    2,   4,   5,   7,   9,   11,  12,  14,  16,  18,  20,  21,  23,  25,  27,  29,
    31,  32,  34,  36,  38,  40,  42,  44,  46,  48,  51,  53,  55,  58,  60,  63};

static const tensor_role matrices[8] = {ATT_RECEPTANCE, ATT_KEY, ATT_VALUE, ATT_OUTPUT, FFN_RECEPTANCE,
                                        FFN_KEY, FFN_VALUE, HEAD};

typedef struct coded {
    shape    s;      /* its type is Q8 or Q4                                    */
    uint8_t *data;
    size_t   size;
    void    *memory;
} coded;

static int code_bits(const coded *c, tensor_role role)
{
    int i;
    for (i = 0; i < 7 && matrices[i] != role; i++) {}
    return c->data[68 + i];
}

/* Bytes of tensor `index` in the coded file.                                  */
static uint64_t coded_bytes(const coded *c, const tensor *t)
{
    const uint64_t blocks = ((uint64_t)t->K + 31) / 32, panels = ((uint64_t)t->R + 15) / 16;
    if (t->kind == VECTOR) return round_up(4 * (uint64_t)t->K, 64);
    if (t->kind == ROWS) return round_up((uint64_t)t->R * blocks * 34, 64);
    return round_up(panels + panels * blocks * 16, 64) +
           (t->kind != COLUMNS ? panels * blocks * 64 * (uint64_t)code_bits(c, t->role)
            : round_up((uint64_t)t->K * (code_bits(c, t->role) == 8 ? panels * 16
                                                                    : (panels + 1) / 2 * 16), 64));
}

static const uint8_t *coded_tensor(const coded *c, int index, tensor *t)
{
    uint64_t at = HEADER_BYTES;
    int i;
    for (i = 0; i <= index; i++) {
        *t = tensor_form(&c->s, i);
        if (i < index) at += coded_bytes(c, t);
    }
    return c->data + at;
}

static uint64_t coded_end(const coded *c)
{
    uint64_t at = HEADER_BYTES;
    int i;
    for (i = 0; i < tensor_count(&c->s); i++) {
        const tensor t = tensor_form(&c->s, i);
        at += coded_bytes(c, &t);
    }
    return at;
}

/* The scale and the integer of an element of a matrix, also of what pads it.  */
static double weight_scale(const uint8_t *p, const tensor *t, int r, int k)
{
    const int blocks = (t->K + 31) / 32, panels = (t->R + 15) / 16;
    const uint8_t *scale = p + panels;
    const int byte = t->kind == COLUMNS ? scale[k / 32 * panels * 16 + r]
                                        : scale[(r / 16 * blocks + k / 32) * 16 + r % 16];
    const double size = ldexp(1 + (byte & 15) / 16.0, (byte >> 4 & 7) + p[r / 16] - 127);
    return byte & 128 ? -size : size;
}

static int weight_value(const coded *c, const uint8_t *p, const tensor *t, int r, int k)
{
    const int blocks = (t->K + 31) / 32, panels = (t->R + 15) / 16, bits = code_bits(c, t->role);
    const int group = k % 32 / 4, byte = 4 * (r % 16) + k % 4;
    const uint8_t *block = p + round_up((uint64_t)(panels + panels * blocks * 16), 64) +
                           (r / 16 * blocks + k / 32) * 64 * bits;
    int code;
    if (t->kind == COLUMNS) {
        const uint8_t *codes = p + round_up((uint64_t)(panels + panels * blocks * 16), 64);
        const int row = r % 32;
        if (bits == 4) {
            code = codes[(k * ((panels + 1) / 2) + r / 32) * 16 + row % 16];
            return values_4[row < 16 ? code & 15 : code >> 4];
        }
        code = codes[k * panels * 16 + r];
        return code < 128 ? code : code - 256;
    }
    if (bits == 8) {
        code = block[group * 64 + byte];
        return code < 128 ? code : code - 256;
    }
    code = block[group / 2 * 64 + byte] >> (group % 2 ? 4 : 0) & 15;
    if (bits >= 5) code |= (block[256 + byte] >> group & 1) << 4;
    if (bits == 6) code |= (block[320 + byte] >> group & 1) << 5;
    return bits == 4 ? values_4[code] : bits == 5 ? values_5[code] : values_6[code];
}

static double coded_element(const coded *c, const uint8_t *p, const tensor *t, int r, int k)
{
    const int blocks = (t->K + 31) / 32;
    if (t->kind == VECTOR) return (double)bits_float(get32(p + 4 * k));
    if (t->kind == ROWS) {
        const uint8_t *row = p + r * blocks * 34;
        const int value = row[k] < 128 ? row[k] : row[k] - 256;
        return value * f16_to_double(get16(row + blocks * 32 + k / 32 * 2));
    }
    return weight_scale(p, t, r, k) * weight_value(c, p, t, r, k);
}

/* ---- making files -------------------------------------------------------- */

typedef struct files {
    char in[512], out[512], part[520];
} files;

static files files_new(const model_image *m)
{
    files f;
    temporary_path(f.in);
    temporary_path(f.out);
    snprintf(f.part, sizeof f.part, "%s.part", f.out);
    CHECK_INT(write_file(f.in, m->data, m->size), 0);
    return f;
}

static int exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static void files_end(const files *f)
{
    CHECK(!exists(f->part));
    remove(f->in);
    remove(f->out);
}

static coded coded_read(const model_image *m, const char *path)
{
    coded c;
    memset(&c, 0, sizeof c);
    c.s = m->s;
    c.data = read_file(path, &c.size, &c.memory);
    if (!CHECK(c.data != NULL && c.size > HEADER_BYTES)) return c;
    c.s.type = (rwkv_type)get32(c.data + AT_TYPE);
    return c;
}

static coded quantize(const model_image *m, rwkv_type type, const rwkv_options *options)
{
    const files f = files_new(m);
    rwkv_error error;
    coded c;
    CHECK_MSG(rwkv_quantize_with(f.in, f.out, type, options, NULL, NULL, &error) == RWKV_OK, "%s",
              error.message);
    CHECK_INT(error.code, RWKV_OK);
    c = coded_read(m, f.out);
    files_end(&f);
    return c;
}

/* ---- what is in the file ------------------------------------------------- */

static void check_header(const model_image *m, const coded *c)
{
    const uint64_t vocab = get64(m->data + AT_VOCAB_BYTES);
    int i;
    CHECK_SAME(c->data, m->data, AT_TYPE);
    CHECK_SAME(c->data + AT_TOKENIZER, m->data + AT_TOKENIZER, AT_FILE_BYTES - AT_TOKENIZER);
    CHECK_SAME(c->data + AT_VOCAB_BYTES, m->data + AT_VOCAB_BYTES, AT_BITS - AT_VOCAB_BYTES);
    for (i = 76; i < AT_DATA_CRC; i++) CHECK_INT(c->data[i], 0);
    CHECK_INT(get64(c->data + AT_FILE_BYTES), c->size);
    CHECK_INT(coded_end(c) + vocab, c->size);
    CHECK_INT(get32(c->data + AT_HEADER_CRC), crc32_bytes(0, c->data, AT_HEADER_CRC));
    CHECK_INT(get32(c->data + AT_DATA_CRC),
              crc32_bytes(0, c->data + HEADER_BYTES, c->size - HEADER_BYTES));
    CHECK_SAME(c->data + c->size - vocab, m->data + m->size - vocab, (size_t)vocab);
    for (i = 0; i < 8; i++) {
        if (c->s.type == RWKV_TYPE_Q8) CHECK_INT(c->data[AT_BITS + i], 8);
        else CHECK(c->data[AT_BITS + i] >= 4 && c->data[AT_BITS + i] <= 6);
    }
}

/* Codes of 8 bits are the nearest ones; the scale is the nearest binary16.    */
static void check_embedding(const tensor *t, const uint8_t *p, const double *x)
{
    const int blocks = (t->K + 31) / 32;
    int r, b, k;
    for (r = 0; r < t->R; r++) {
        const uint8_t *row = p + r * blocks * 34;
        for (b = 0; b < blocks; b++) {
            const double scale = f16_to_double(get16(row + blocks * 32 + b * 2));
            float largest = 0;
            for (k = b * 32; k < b * 32 + 32; k++) {
                const double w = k < t->K ? x[r * t->K + k] : 0;
                const double value = row[k] < 128 ? row[k] : row[k] - 256;
                largest = fabsf((float)w) > largest ? fabsf((float)w) : largest;
                CHECK_MSG(fabs(w - value * scale) <= 0.5001 * scale || fabs(value) == 127,
                          "row %d column %d: %g is %g * %g", r, k, w, value, scale);
            }
            if (largest > 1e-5f)
                CHECK_INT(get16(row + blocks * 32 + b * 2), f16_from_float(largest / 127));
        }
    }
}

/* The least squared error of a block with a scale that makes 127 about as large as
 * the largest weight.                                                         */
static double least_error(const uint8_t *p, const tensor *t, const double *x, int r, int b)
{
    double least = HUGE_VAL, largest = 0;
    int byte, k;
    for (k = b * 32; k < b * 32 + 32 && k < t->K; k++)
        largest = fabs(x[r * t->K + k]) > largest ? fabs(x[r * t->K + k]) : largest;
    for (byte = 0; byte < 128; byte++) {
        const double scale = ldexp(1 + (byte & 15) / 16.0, (byte >> 4) + p[r / 16] - 127);
        double sum = 0;
        if (scale * 127 < 0.93 * largest || scale * 127 > 1.02 * largest) continue;
        for (k = b * 32; k < b * 32 + 32 && k < t->K; k++) {
            double q = floor(x[r * t->K + k] / scale + 0.5);
            q = q < -127 ? -127 : q > 127 ? 127 : q;
            q = x[r * t->K + k] - q * scale;
            sum += q * q;
        }
        least = sum < least ? sum : least;
    }
    return least;
}

/* What pads a matrix is worth nothing; of Q8 each block is as good as can be.
 * Returns the relative error.                                                 */
static double check_matrix(const coded *c, const tensor *t, const uint8_t *p, const double *x)
{
    const int blocks = (t->K + 31) / 32;
    double error = 0, size = 0;
    int r, b, k;
    for (r = 0; r < (t->R + 15) / 16 * 16; r++) {
        for (b = 0; b < blocks; b++) {
            double sum = 0;
            for (k = b * 32; k < b * 32 + 32; k++) {
                if (k >= t->K && t->kind == COLUMNS) continue;
                if (r >= t->R || k >= t->K) {
                    CHECK_INT(weight_value(c, p, t, r, k), 0);
                } else {
                    const double w = x[r * t->K + k], e = w - coded_element(c, p, t, r, k);
                    sum += e * e;
                    size += w * w;
                }
            }
            error += sum;
            if (r < t->R && c->s.type == RWKV_TYPE_Q8) {
                const double least = least_error(p, t, x, r, b);
                CHECK_MSG(sum <= 1.0001 * least, "row %d block %d: error %g, could be %g", r, b, sum,
                          least);
            }
        }
    }
    return size > 0 ? sqrt(error / size) : 0;
}

static void check_contents(const model_image *m, const coded *c, double least, double most)
{
    int i;
    check_header(m, c);
    for (i = 0; i < tensor_count(&m->s); i++) {
        tensor t;
        const uint8_t *p = coded_tensor(c, i, &t);
        double *x = image_tensor(m, t.role, t.layer);
        if (t.kind == VECTOR) {
            const tensor from = tensor_find(&m->s, t.role, t.layer);
            CHECK_SAME(p, m->data + from.offset, (size_t)from.bytes);
        } else if (t.kind == ROWS) {
            check_embedding(&t, p, x);
        } else {
            const double error = check_matrix(c, &t, p, x);
            CHECK_MSG(error >= least && error <= most, "tensor %d: relative error %g", i, error);
        }
        free(x);
    }
}

static void contents(void)
{
    int i, k;
    for (i = 0; i < N_SHAPES; i++) {
        model_image m = model_image_new(&shapes[i]);
        for (k = 0; k < 2; k++) {
            coded c = quantize(&m, types[k], NULL);
            if (c.data) check_contents(&m, &c, 0, types[k] == RWKV_TYPE_Q8 ? 0.01 : 0.13);
            free(c.memory);
        }
        model_image_free(&m);
    }
}

/* From all three types of the same numbers come the same codes.               */
static void types_of_input(void)
{
    static const rwkv_type from[3] = {RWKV_TYPE_F32, RWKV_TYPE_F16, RWKV_TYPE_BF16};
    model_image m[3];
    coded c[3];
    int i, k, r;
    for (i = 0; i < 3; i++) {
        shape s = shapes[1];
        s.type = from[i];
        m[i] = model_image_new(&s);
        for (k = 0; k < 8; k++) {
            const tensor t = tensor_find(&s, matrices[k], 0);
            for (r = 0; r < t.R; r++)
                for (int j = 0; j < t.K; j++)
                    image_set(&m[i], matrices[k], 0, r, j, (float)((r * 7 + j * j) % 31 - 15) / 64);
        }
        image_fill(&m[i], EMB, 0, 0.25f);
        image_set(&m[i], EMB, 0, 3, 2, -0.375f);
        for (k = 0; k < 7; k++) image_fill(&m[i], matrices[k], 1, 0.125f);
        image_fix(&m[i]);
    }
    for (k = 0; k < 2; k++) {
        for (i = 0; i < 3; i++) c[i] = quantize(&m[i], types[k], NULL);
        for (i = 1; i < 3 && c[i].data; i++) CHECK_SAME(c[i].data, c[0].data, c[0].size);
        for (i = 0; i < 3; i++) free(c[i].memory);
    }
    for (i = 0; i < 3; i++) model_image_free(&m[i]);
}

/* A model large enough that scales and padding leave room for 5-bit codes.   */
static void bits_of_matrices(void)
{
    static const shape s = {320, 64, 64, 256, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 6};
    model_image m = model_image_new(&s);
    coded c = quantize(&m, RWKV_TYPE_Q4, NULL);
    double bits = 0, weights = 0;
    int i;
    for (i = 0; c.data && i < tensor_count(&s); i++) {
        const tensor t = tensor_form(&s, i);
        if (matrix_number(t.role) < 0) continue;
        bits += 8 * (double)coded_bytes(&c, &t);
        weights += t.R * t.K;
    }
    CHECK_MSG(bits <= 5 * weights, "%g bits a weight", bits / weights);
    CHECK_MSG(bits > 4.7 * weights, "%g bits a weight", bits / weights);
    if (c.data) {
        CHECK_INT(code_bits(&c, FFN_VALUE), 4);
        CHECK_INT(code_bits(&c, HEAD), 5);
    }
    free(c.memory);
    model_image_free(&m);
}

/* ---- bits ---------------------------------------------------------------- */

static void run_reverse(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    while (n-- > 0) fn(ctx, n);
    (void)user;
}

static void same_on_every_machine(void)
{
    static const shape s = {50, 24, 16, 40, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 7};
    static const uint64_t expected[2] = {0xa761b82934395ff9u, 0xda0596829c6e496eu};
    model_image m = model_image_new(&s);
    int i, k;
    for (k = 0; k < 2; k++) {
        coded c = quantize(&m, types[k], NULL);
        const uint64_t hash = c.data ? hash_bytes(0, c.data, c.size) : 0;
        CHECK_MSG(hash == expected[k], "the hash of the Q%d file is %016llx", k ? 4 : 8,
                  (unsigned long long)hash);
        for (i = 0; rwkv_isa_available(i) && !TEST_SLOW_MACHINE; i++) {
            rwkv_options o = options_isa(rwkv_isa_available(i));
            coded other = quantize(&m, types[k], &o);
            CHECK_INT(other.size, c.size);
            CHECK_SAME(other.data, c.data, c.size);
            free(other.memory);
        }
        if (!TEST_SLOW_MACHINE) {
            rwkv_options o = options_isa(NULL);
            coded other;
            o.n_threads = 3;
            o.chunk = 1;
            o.flags = RWKV_FLAG_NO_MMAP;
            o.parallel.run = run_reverse;
            other = quantize(&m, types[k], &o);
            CHECK_SAME(other.data, c.data, c.size);
            free(other.memory);
        }
        free(c.memory);
    }
    model_image_free(&m);
}

/* ---- the error that counts ----------------------------------------------- */

typedef struct reports {
    int   n, bad;
    float weight_error[64], output_error[64], of_head[2];
} reports;

static void take_report(const rwkv_quantized *q, void *user)
{
    reports *all = (reports *)user;
    const int head = all->n % 8 == 7; /* of one layer                             */
    if (q->done != all->n + 1 || q->total != 8 || q->layer != (head ? -1 : 0)) all->bad++;
    if (strcmp(q->name, head ? "head.weight" : "ffn.value.weight") != 0 && (head || all->n == 6)) all->bad++;
    if (q->bits < 4 || q->bits > 8 || !(q->bits_per_weight > q->bits)) all->bad++;
    if (all->n < 64) {
        all->weight_error[all->n] = q->weight_error;
        all->output_error[all->n] = q->output_error;
    }
    all->n++;
}

/* With one token the text is known: the head's inputs are the hidden vectors.
 * Its error is then what was told, and no change of one code makes it much
 * smaller than it is.                                                        */
static void descent(void)
{
    static const shape s = {1, 40, 16, 16, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 8};
    enum { D = 40, N = 256 };
    static double H[D][D];
    model_image m = model_image_new(&s);
    const files f = files_new(&m);
    rwkv_model *model = load_image(&m, NULL);
    rwkv_state *state = rwkv_state_new(model);
    double *w = image_tensor(&m, HEAD, 0), e[D], now = 0, all = 0, weights[2] = {0, 0}, trace = 0;
    reports told;
    tensor t;
    coded c;
    const uint8_t *p;
    int i, j, k, v;
    memset(H, 0, sizeof H);
    memset(&told, 0, sizeof told);
    for (i = 0; i < N; i++) {
        const float *h;
        rwkv_eval(0, state);
        h = rwkv_hidden(state);
        for (j = 0; j < D; j++)
            for (k = 0; k < D; k++) H[j][k] += (double)h[j] * (double)h[k];
    }
    CHECK_INT(rwkv_quantize_with(f.in, f.out, RWKV_TYPE_Q4, NULL, take_report, &told, NULL), RWKV_OK);
    CHECK_INT(told.n, 8);
    CHECK_INT(told.bad, 0);
    c = coded_read(&m, f.out);
    p = coded_tensor(&c, tensor_count(&s) - 1, &t);
    for (j = 0; j < D; j++) {
        e[j] = w[j] - coded_element(&c, p, &t, 0, j);
        weights[0] += e[j] * e[j];
        weights[1] += w[j] * w[j];
        trace += H[j][j];
    }
    for (j = 0; j < D; j++)
        for (k = 0; k < D; k++) {
            now += e[j] * H[j][k] * e[k];
            all += w[j] * H[j][k] * w[k];
        }
    CHECK_MSG(fabs((double)told.weight_error[7] - sqrt(weights[0] / weights[1])) < 1e-4 * (double)told.weight_error[7],
              "told %g, is %g", (double)told.weight_error[7], sqrt(weights[0] / weights[1]));
    CHECK_MSG(fabs((double)told.output_error[7] - sqrt(now / all)) < 0.01 * (double)told.output_error[7] + 1e-5,
              "told %g, is %g", (double)told.output_error[7], sqrt(now / all));
    for (j = 0; j < D; j++) H[j][j] += 0.1 * trace / D;
    for (now = 0, j = 0; j < D; j++)
        for (k = 0; k < D; k++) now += e[j] * H[j][k] * e[k];
    for (j = 0; j < D; j++) {
        double g = 0;
        for (k = 0; k < D; k++) g += H[j][k] * e[k];
        for (v = 0; v < 32; v++) {
            const int bits = code_bits(&c, HEAD);
            const int value = bits == 6 ? values_6[v * 2] : bits == 5 ? values_5[v] : values_4[v % 16];
            const double d = w[j] - e[j] - weight_scale(p, &t, 0, j) * value; /* e grows so much  */
            CHECK_MSG(2 * d * g + d * d * H[j][j] > -0.05 * now, "column %d could be %d: %g of %g", j,
                      value, 2 * d * g + d * d * H[j][j], now);
        }
    }
    rwkv_state_free(state);
    rwkv_free(model);
    free(c.memory);
    free(w);
    files_end(&f);
    model_image_free(&m);
}

/* The products change less than they would if errors were without direction, and
 * for Q8 only one error is known.                                            */
static void reports_of_errors(void)
{
    static const shape s = {100, 64, 64, 128, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 9};
    model_image m = model_image_new(&s);
    const files f = files_new(&m);
    reports told;
    int i;
    memset(&told, 0, sizeof told);
    CHECK_INT(rwkv_quantize_with(f.in, f.out, RWKV_TYPE_Q4, NULL, take_report, &told, NULL), RWKV_OK);
    CHECK_INT(told.bad, 0);
    for (i = 0; i < 8; i++)
        CHECK_MSG(told.output_error[i] > 0 && told.output_error[i] < 0.9f * told.weight_error[i],
                  "matrix %d: %g, weights %g", i, (double)told.output_error[i],
                  (double)told.weight_error[i]);
    memset(&told, 0, sizeof told);
    CHECK_INT(rwkv_quantize_with(f.in, f.out, RWKV_TYPE_Q8, NULL, take_report, &told, NULL), RWKV_OK);
    CHECK_INT(told.bad, 0);
    for (i = 0; i < 8; i++)
        CHECK(told.output_error[i] == told.weight_error[i] && told.weight_error[i] < 0.01f);
    files_end(&f);
    model_image_free(&m);
}

/* ---- odd numbers --------------------------------------------------------- */

/* Weights of every size a float can have keep their relative precision.       */
static void sizes_of_weights(void)
{
    static const float sizes[] = {0, 1e-45f, 1e-38f, 1e-30f, 1e-10f, 1e10f, 1e30f, 3e38f};
    size_t i;
    int r, k;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        model_image m = model_image_new(&shapes[1]);
        shape s = shapes[1];
        coded c;
        uint64_t seed = i;
        model_image_free(&m);
        s.type = RWKV_TYPE_F32;
        m = model_image_new(&s);
        for (r = 0; r < s.V; r++)
            for (k = 0; k < s.D; k++)
                image_set(&m, HEAD, 0, r, k, sizes[i] * (float)random_uniform(&seed, -1, 1));
        image_fix(&m);
        c = quantize(&m, RWKV_TYPE_Q8, NULL);
        if (c.data) {
            tensor t;
            const uint8_t *p = coded_tensor(&c, tensor_count(&s) - 1, &t);
            double *x = image_tensor(&m, HEAD, 0), error = 0, all = 0;
            for (r = 0; r < s.V; r++)
                for (k = 0; k < s.D; k++) {
                    const double w = x[r * s.D + k], e = w - coded_element(&c, p, &t, r, k);
                    error += e * e;
                    all += w * w;
                }
            CHECK_MSG(sqrt(error) <= 0.01 * sqrt(all) || sizes[i] < 1e-35f, "size %g: relative error %g",
                      (double)sizes[i], sqrt(error / all));
            CHECK(error <= all || sizes[i] < 1e-35f);
            free(x);
        }
        free(c.memory);
        if (!TEST_SLOW_MACHINE && i < 6) {
            c = quantize(&m, RWKV_TYPE_Q4, NULL);
            if (c.data && (sizes[i] > 1e-35f || sizes[i] <= 0)) check_contents(&m, &c, 0, 0.13);
            free(c.memory);
        }
        model_image_free(&m);
    }
}

static void embeddings_of_any_size(void)
{
    static const float sizes[] = {0, 1e-45f, 1e-9f, 1e-6f, 1e-4f, 1, 60000, 8e6f};
    shape s = shapes[1];
    model_image m;
    coded c;
    tensor t;
    const uint8_t *p;
    double *x;
    int i, k;
    s.type = RWKV_TYPE_F32;
    m = model_image_new(&s);
    for (i = 0; i < 8; i++)
        for (k = 0; k < s.D; k++) image_set(&m, EMB, 0, i, k, sizes[i] * (float)(k - 9) / 10);
    image_fix(&m);
    c = quantize(&m, RWKV_TYPE_Q8, NULL);
    p = coded_tensor(&c, 0, &t);
    x = image_tensor(&m, EMB, 0);
    check_embedding(&t, p, x);
    for (k = 0; k < 32; k++) CHECK_INT(p[k], 0);
    CHECK_INT(get16(p + 32), 0);
    CHECK_INT(get16(p + 34 + 32), 1);
    CHECK_INT(get16(p + 7 * 34 + 32), f16_from_float(8e6f / 127));
    free(x);
    free(c.memory);
    image_set(&m, EMB, 0, 5, 5, 3e38f);
    image_fix(&m);
    c = quantize(&m, RWKV_TYPE_Q8, NULL);
    p = coded_tensor(&c, 0, &t);
    CHECK_INT(get16(p + 5 * 34 + 32), 0x7BFF); /* the largest there is              */
    CHECK_INT(p[5 * 34 + 5], 127);
    free(c.memory);
    model_image_free(&m);
}

/* ---- failures ------------------------------------------------------------ */

/* The call fails with this code and a message with this in it; the output file
 * stays what it was, and nothing else is left.                               */
static void fails(const files *f, rwkv_type type, rwkv_result expected, const char *message)
{
    static const char before[] = "what was there before";
    size_t size = 0;
    void *memory;
    uint8_t *data;
    rwkv_error error;
    CHECK_INT(write_file(f->out, before, sizeof before), 0);
    memset(&error, 0xA5, sizeof error);
    CHECK_INT(rwkv_quantize(f->in, f->out, type, &error), expected);
    CHECK_INT(error.code, expected);
    CHECK_MSG(strstr(error.message, message) != NULL, "\"%s\" in \"%s\"", message, error.message);
    CHECK_INT(rwkv_quantize(f->in, f->out, type, NULL), expected);
    data = read_file(f->out, &size, &memory);
    CHECK_INT(size, sizeof before);
    if (size == sizeof before) CHECK_SAME(data, before, size);
    free(memory);
    CHECK(!exists(f->part));
}

static void bad_arguments(void)
{
    rwkv_error error;
    model_image m = model_image_new(&shapes[1]);
    files f = files_new(&m);
    CHECK_INT(rwkv_quantize(NULL, f.out, RWKV_TYPE_Q8, &error), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_quantize(f.in, NULL, RWKV_TYPE_Q8, &error), RWKV_ERR_ARGUMENT);
    CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
    fails(&f, RWKV_TYPE_DEFAULT, RWKV_ERR_ARGUMENT, "type is 0");
    fails(&f, RWKV_TYPE_F16, RWKV_ERR_ARGUMENT, "type is 2");
    fails(&f, (rwkv_type)6, RWKV_ERR_ARGUMENT, "type is 6");
    remove(f.in);
    fails(&f, RWKV_TYPE_Q8, RWKV_ERR_FILE, "no such file");
    CHECK_INT(write_file(f.in, m.data, m.size - 64), 0);
    fails(&f, RWKV_TYPE_Q4, RWKV_ERR_FORMAT, "file ends at byte");
    CHECK_INT(write_file(f.in, m.data, 100), 0);
    fails(&f, RWKV_TYPE_Q8, RWKV_ERR_FORMAT, "header");
    files_end(&f);
    model_image_free(&m);
}

static void bad_options(void)
{
    rwkv_options o = options_isa("no such thing");
    rwkv_error error;
    model_image m = model_image_new(&shapes[1]);
    files f = files_new(&m);
    CHECK_INT(rwkv_quantize_with(f.in, f.out, RWKV_TYPE_Q8, &o, NULL, NULL, &error), RWKV_ERR_UNSUPPORTED);
    o = options_isa(NULL);
    o.n_threads = 257;
    CHECK_INT(rwkv_quantize_with(f.in, f.out, RWKV_TYPE_Q8, &o, NULL, NULL, &error), RWKV_ERR_ARGUMENT);
    files_end(&f);
    model_image_free(&m);
}

/* A file of codes is no input, and a file may be replaced by its own codes.  */
static void quantized_input(void)
{
    model_image m = model_image_new(&shapes[1]);
    files f = files_new(&m);
    coded other = quantize(&m, RWKV_TYPE_Q8, NULL), c;
    CHECK_INT(rwkv_quantize(f.in, f.in, RWKV_TYPE_Q8, NULL), RWKV_OK);
    c = coded_read(&m, f.in);
    CHECK_INT(c.size, other.size);
    CHECK_SAME(c.data, other.data, c.size);
    fails(&f, RWKV_TYPE_Q8, RWKV_ERR_UNSUPPORTED, "type 4 already");
    free(other.memory);
    free(c.memory);
    files_end(&f);
    model_image_free(&m);
}

/* Its codes would have a checksum of their own, and nobody would ever know.  */
static void damaged_input(void)
{
    model_image m = model_image_new(&shapes[1]);
    files f;
    m.data[m.size / 2] ^= 1;
    f = files_new(&m);
    fails(&f, RWKV_TYPE_Q8, RWKV_ERR_FORMAT, "damaged: the checksum of the data is ");
    fails(&f, RWKV_TYPE_Q4, RWKV_ERR_FORMAT, "damaged: the checksum of the data is ");
    files_end(&f);
    model_image_free(&m);
}

static void bad_numbers(void)
{
    static const float bad[2] = {(float)HUGE_VAL, (float)NAN};
    int i;
    for (i = 0; i < 2; i++) {
        shape s = shapes[1];
        model_image m;
        files f;
        s.type = i ? RWKV_TYPE_F32 : RWKV_TYPE_F16;
        m = model_image_new(&s);
        image_set(&m, FFN_KEY, 1, 20, 3, bad[i]);
        image_fix(&m);
        f = files_new(&m);
        fails(&f, RWKV_TYPE_Q8, RWKV_ERR_FORMAT, "block 1 ffn.key.weight: a weight that is infinite or NaN in 16 to 31");
        fails(&f, RWKV_TYPE_Q4, RWKV_ERR_FORMAT, "");
        files_end(&f);
        model_image_free(&m);

        m = model_image_new(&s);
        image_set(&m, EMB, 0, 7, 3, bad[i]);
        image_fix(&m);
        f = files_new(&m);
        fails(&f, RWKV_TYPE_Q8, RWKV_ERR_FORMAT, "emb.weight: a number that is infinite or NaN in 7");
        files_end(&f);
        model_image_free(&m);

        m = model_image_new(&s);
        image_set(&m, LN2_BIAS, 0, 0, 3, bad[i]);
        image_fix(&m);
        f = files_new(&m);
        fails(&f, RWKV_TYPE_Q4, RWKV_ERR_FORMAT, "block 0 ffn.receptance.weight: an input that is infinite or NaN");
        files_end(&f);
        model_image_free(&m);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(contents);
    RUN(types_of_input);
    RUN(bits_of_matrices);
    RUN(same_on_every_machine);
    RUN(descent);
    RUN(reports_of_errors);
    RUN(sizes_of_weights);
    RUN(embeddings_of_any_size);
    RUN(bad_arguments);
    RUN(bad_options);
    RUN(quantized_input);
    RUN(damaged_input);
    RUN(bad_numbers);
    return test_end();
}
