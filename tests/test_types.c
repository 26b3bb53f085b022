/* test_types.c: every 16-bit pattern reads as the right number, on every isa, and so does
 * every scale of codes. */
#include "inside.h"
#include "test.h"
#include "model.h"

enum { PATTERNS = 65536, ROWS_AT_ONCE = 128 };

/* A model with one element per token. ln_out makes every hidden number 1, so the
 * logits are the elements of the head, and nothing else has any influence.    */
static model_image head_of_patterns(rwkv_type type)
{
    shape s = {PATTERNS, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m;
    tensor t;
    int r;
    s.type = type;
    m = model_image_new(&s);
    image_fill(&m, LN_OUT_WEIGHT, 0, 0);
    image_fill(&m, LN_OUT_BIAS, 0, 1);
    t = tensor_find(&s, HEAD, 0);
    for (r = 0; r < PATTERNS; r++) {
        put16(m.data + tensor_at(&s, &t, r, 0), (uint32_t)r);
        if (type == RWKV_TYPE_F32) put32(m.data + tensor_at(&s, &t, r, 0), (uint32_t)r << 16);
    }
    image_fix(&m);
    return m;
}

static double pattern_value(rwkv_type type, int pattern)
{
    if (type == RWKV_TYPE_F16) return f16_to_double((uint32_t)pattern);
    return (double)bits_float((uint32_t)pattern << 16);
}

/* Through a matrix: exactly the number; NaN stays NaN.                       */
static void check_head(rwkv_type type)
{
    model_image m = head_of_patterns(type);
    const char *isa;
    int i, r;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        const float *logits = rwkv_eval(0, state);
        if (CHECK(logits != NULL)) {
            for (r = 0; r < PATTERNS; r++) {
                double is = (double)logits[r], should = pattern_value(type, r);
                CHECK_MSG(is == should || (is != is && should != should),
                          "%s type %d pattern %04x is %.9g, expected %.9g", isa, (int)type,
                          (unsigned)r, is, should);
            }
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* Through the embedding: rows (x, -x, C, -C), which are normalised twice. C is so
 * large that x / sqrt((x^2 + C^2) / 2) tells every x from its neighbours.     */
static double normalised(double x, double C, double eps)
{
    double y = x / sqrt((x * x + C * C) / 2 + eps), z = C / sqrt((x * x + C * C) / 2 + eps);
    return y / sqrt((y * y + z * z) / 2 + eps);
}

/* ROWS_AT_ONCE patterns from `first` on: more would only make the head slow. */
static model_image embedding_of_patterns(rwkv_type type, float C, int first)
{
    shape s = {ROWS_AT_ONCE, 4, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m;
    tensor t;
    int r;
    s.type = type;
    m = model_image_new(&s);
    t = tensor_find(&s, EMB, 0);
    for (r = 0; r < ROWS_AT_ONCE; r++) {
        uint8_t *p = m.data + tensor_at(&s, &t, r, 0);
        uint32_t x = (uint32_t)(first + r), minus_x = x ^ 0x8000u, width = element_bytes(type);
        if (width == 4) {
            put32(p, x << 16);
            put32(p + 4, minus_x << 16);
        } else {
            put16(p, x);
            put16(p + 2, minus_x);
        }
        image_set(&m, EMB, 0, r, 2, C);
        image_set(&m, EMB, 0, r, 3, -C);
    }
    image_fill(&m, LN0_WEIGHT, 0, 1);
    image_fill(&m, LN0_BIAS, 0, 0);
    image_fill(&m, ATT_OUTPUT, 0, 0);
    image_fill(&m, FFN_VALUE, 0, 0);
    image_fill(&m, LN_OUT_WEIGHT, 0, 1);
    image_fill(&m, LN_OUT_BIAS, 0, 0);
    image_fix(&m);
    return m;
}

static void check_row(rwkv_state *state, rwkv_type type, int pattern, double C, const char *isa)
{
    double x = pattern_value(type, pattern), is, minus, should;
    if (fabs(x) > C && fabs(x) <= 3.5e38) return;     /* C would drown           */
    if (fabs(x) < C * 1e-30 && x != 0) return;        /* the result would        */
    rwkv_state_reset(state);
    if (!CHECK(rwkv_eval(pattern % ROWS_AT_ONCE, state) != NULL)) return;
    is = (double)rwkv_hidden(state)[0];
    minus = (double)rwkv_hidden(state)[1];
    should = normalised(x, C, 1e-5);
    if (fabs(x) <= C) {
        CHECK_MSG(fabs(is - should) <= 1e-6 * fabs(should) && minus == -is,
                  "%s type %d pattern %04x is %.9g and %.9g, expected %.9g", isa, (int)type,
                  (unsigned)pattern, is, minus, should);
    } else {
        CHECK_MSG(is != is, "%s type %d pattern %04x is %.9g, expected NaN", isa, (int)type,
                  (unsigned)pattern, is);
    }
}

static void check_embedding(rwkv_type type)
{
    float C = type == RWKV_TYPE_F16 ? 65504.0f : 1125899906842624.0f; /* 2^50 */
    const char *isa;
    int i, first, r;
    for (first = 0; first < PATTERNS; first += ROWS_AT_ONCE) {
        model_image m = embedding_of_patterns(type, C, first);
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            rwkv_options o = options_isa(isa);
            rwkv_model *model = load_image(&m, &o);
            rwkv_state *state = rwkv_state_new(model);
            for (r = 0; r < ROWS_AT_ONCE; r++) check_row(state, type, first + r, (double)C, isa);
            rwkv_state_free(state);
            rwkv_free(model);
        }
        model_image_free(&m);
    }
}

static void f16_in_a_matrix(void) { check_head(RWKV_TYPE_F16); }
static void bf16_in_a_matrix(void) { check_head(RWKV_TYPE_BF16); }
static void f32_in_a_matrix(void) { check_head(RWKV_TYPE_F32); }
static void f16_in_the_embedding(void) { check_embedding(RWKV_TYPE_F16); }
static void bf16_in_the_embedding(void) { check_embedding(RWKV_TYPE_BF16); }
static void f32_in_the_embedding(void) { check_embedding(RWKV_TYPE_F32); }

/* Every byte of a scale with every exponent: a row each, of codes for 1. The input is 1,
 * which is rounded to 127 times 1/127.                                        */
static void scales_in_a_matrix(void)
{
    shape s = {PATTERNS, 1, 1, 1, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    tensor t = tensor_find(&s, HEAD, 0);
    const char *isa;
    int i, r;
    image_fill(&m, LN_OUT_WEIGHT, 0, 0);
    image_fill(&m, LN_OUT_BIAS, 0, 1);
    for (r = 0; r < PATTERNS; r++) {
        m.data[t.offset + (uint64_t)r / 16] = (uint8_t)(r >> 8);
        m.data[tensor_scale_at(&t, r, 0)] = (uint8_t)r;
        code_set(8, m.data + tensor_at(&s, &t, r, 0), r % 16, 0, 1);
    }
    image_fix(&m);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        const float *logits = rwkv_eval(0, state);
        for (r = 0; logits && r < PATTERNS; r++) {
            volatile float of_x = 1.0f / 127.0f, of_both;
            float is = logits[r], should;
            of_both = scale_value((uint32_t)r & 255, (uint32_t)r >> 8) * of_x;
            should = 127.0f * of_both + 0.0f; /* -0 is added to 0                    */
            CHECK_MSG(is == should || (is != is && should != should),
                      "%s scale %02x of exponent %d: %.9g, expected %.9g", isa, (unsigned)r & 255,
                      r >> 8, (double)is, (double)should);
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* The documented meaning of those bits: 1 bit of sign, 3 of e, 4 of m.         */
static void own_scales(void)
{
    int r;
    for (r = 0; r < PATTERNS; r++) {
        int scale = r & 255, sum = (scale >> 4 & 7) + (r >> 8);
        double should = ldexp(1 + (scale & 15) / 16.0, sum - 127) * (scale & 128 ? -1 : 1);
        if (sum >= 1 && sum <= 254) /* the others are subnormal, infinite or beyond */
            CHECK((double)scale_value((uint32_t)scale, (uint32_t)r >> 8) == should);
    }
}

/* Rows of the embedding that are codes: every f16 as the scale of its second block. */
static void scales_in_the_embedding(void)
{
    enum { D = 50, BLOCKS = 2 };
    uint8_t row[BLOCKS * (CODE_BLOCK + 2)];
    float y[D];
    uint64_t seed = 1;
    int r, i, from;
    for (r = 0; r < PATTERNS; r++) {
        random_fill(row, sizeof row, &seed);
        put16(row + BLOCKS * CODE_BLOCK, 0x3C00);
        put16(row + BLOCKS * CODE_BLOCK + 2, (uint32_t)r);
        from = r % D;
        inside_widen_codes(y, row, (size_t)from, (size_t)(D - from), D);
        for (i = from; i < D; i++) {
            double scale = i < CODE_BLOCK ? 1 : f16_to_double((uint32_t)r);
            double is = (double)y[i - from], should = scale * code_value(8, row[i]);
            if (!CHECK_MSG(is == should || (is != is && should != should),
                           "scale %04x: column %d is %.9g, expected %.9g", (unsigned)r, i, is,
                           should)) return;
        }
    }
}

/* The tests' own rounding, on values whose halves are known.                 */
static void own_rounding(void)
{
    int r;
    CHECK_INT(f16_from_float(1.0f), 0x3C00);
    CHECK_INT(f16_from_float(-2.0f), 0xC000);
    CHECK_INT(f16_from_float(65504.0f), 0x7BFF);
    CHECK_INT(f16_from_float(65519.99f), 0x7BFF);
    CHECK_INT(f16_from_float(65520.0f), 0x7C00);
    CHECK_INT(f16_from_float(5.9604645e-8f), 0x0001);
    CHECK_INT(f16_from_float(2.9802322e-8f), 0x0000); /* a tie: to even */
    CHECK_INT(f16_from_float(1.00048828125f), 0x3C00);
    CHECK_INT(f16_from_float(1.00146484375f), 0x3C02);
    CHECK_INT(bf16_from_float(1.0f), 0x3F80);
    CHECK_INT(bf16_from_float(1.00390625f), 0x3F80);  /* ties: to even */
    CHECK_INT(bf16_from_float(1.01171875f), 0x3F82);
    for (r = 0; r < PATTERNS; r++) {
        double h = f16_to_double((uint32_t)r);
        float b = bits_float((uint32_t)r << 16);
        if (h == h) CHECK_INT(f16_from_float((float)h), r);
        if (b == b) CHECK_INT(bf16_from_float(b), r);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(own_rounding);
    RUN(f16_in_a_matrix);
    RUN(bf16_in_a_matrix);
    RUN(f32_in_a_matrix);
    RUN(f16_in_the_embedding);
    RUN(bf16_in_the_embedding);
    RUN(f32_in_the_embedding);
    RUN(own_scales);
    RUN(scales_in_a_matrix);
    RUN(scales_in_the_embedding);
    return test_end();
}
