/* test_quantize_quality.c: what 8 and 4 bits cost the bundled model, on text that it
 * writes itself. `make quality` measures more, on more text. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"
#include "quality.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { TRUTH, Q8, Q4, Q5_1, CANDIDATES, TOKENS = 1501 };

static const char bundled[] = "examples/story.rwkv";

/* ---- the yardstick -------------------------------------------------------- */

static void check_block(int type, const double *x, const double *expected)
{
    float block[GGML_BLOCK] = {0};
    int i;
    for (i = 0; i < 4; i++) block[i] = (float)x[i];
    ggml_types[type].block(block, 4);
    for (i = 0; i < 4; i++) {
        CHECK_MSG((double)block[i] == expected[i], "%s, element %d of %g %g %g %g: %g, expected %g",
                  ggml_types[type].name, i, x[0], x[1], x[2], x[3], (double)block[i], expected[i]);
    }
}

/* Worked out by hand: scales that an f16 holds, so that values are exact.    */
static void ggml_blocks(void)
{
    static const double zeros[4] = {0, 0, 0, 0};
    static const double q8_0[2][4] = {{127, -3.5, 0.25, 9.75}, {127, -4, 0, 10}};
    static const double q4_0[2][4] = {{-8, 8, 2.25, -0.75}, {-8, 7, 2, -1}};
    static const double q4_0_positive[2][4] = {{4, -4, 1.2, 0.2}, {4, -3.5, 1, 0}};
    static const double q4_1[2][4] = {{-3, 12, 0.25, 0.75}, {-3, 12, 0, 1}};
    static const double q5_1[2][4] = {{1, 32, 7.25, 7.75}, {1, 32, 7, 8}};
    static const double constant[4] = {-0.5, -0.5, -0.5, -0.5};
    int type;
    for (type = 0; type < GGML_TYPES; type++) check_block(type, zeros, zeros);
    check_block(GGML_Q8_0, q8_0[0], q8_0[1]);
    check_block(GGML_Q4_0, q4_0[0], q4_0[1]);
    check_block(GGML_Q4_0, q4_0_positive[0], q4_0_positive[1]);
    check_block(GGML_Q4_1, q4_1[0], q4_1[1]);
    check_block(GGML_Q5_1, q5_1[0], q5_1[1]);
    check_block(GGML_Q4_1, constant, constant);
    check_block(GGML_Q5_1, constant, constant);
}

/* A copy in f32 is the same model, whatever the sizes; its KL to itself is 0, and
 * that of a rounded one grows as the bits become fewer.                      */
static void copies(void)
{
    static const rwkv_type types[] = {RWKV_TYPE_F32, RWKV_TYPE_F16, RWKV_TYPE_BF16};
    int k, i, tokens[200];
    for (k = 0; k < 3; k++) {
        shape s = {530, 33, 24, 70, 2, RWKV_TYPE_F32, TOKENIZER_BYTES, PLAIN, 3};
        candidate c[2 + GGML_TYPES];
        s.type = types[k];
        c[0] = candidate_image("truth", model_image_new(&s));
        c[1] = candidate_image("copy", image_as(&c[0].image, RWKV_TYPE_F32, NULL));
        for (i = 0; i < GGML_TYPES; i++) c[2 + i] = candidate_rounded(&c[0].image, &ggml_types[i]);
        own_text(&c[0], 1, tokens, 200);
        compare(c, 2 + GGML_TYPES, tokens, 200);
        CHECK(c[0].kl == 0 && c[0].agree == 1);
        CHECK(c[1].kl == 0 && c[1].agree == 1 && !(c[1].nats < c[0].nats || c[1].nats > c[0].nats));
        for (i = 0; i < GGML_TYPES; i++) {
            CHECK_MSG(c[2 + i].kl > c[1 + i].kl, "%s: KL %g, %s: %g", c[2 + i].name, c[2 + i].kl,
                      c[1 + i].name, c[1 + i].kl);
        }
        candidates_free(c, 2 + GGML_TYPES);
    }
}

/* ---- the bundled model ---------------------------------------------------- */

static void bundled_model(void)
{
    candidate c[CANDIDATES];
    model_image image;
    char q8[512], q4[512];
    int tokens[TOKENS];
    if (SANITIZED || TEST_SLOW_MACHINE || !rwkv_isa_available(1)) {
        SKIP("8 and 4 bits of the bundled model (minutes with sanitizers or scalar kernels)");
    }
    image = image_from_file(bundled);
    if (!image.data) SKIP("examples/story.rwkv is not here");
    c[TRUTH] = candidate_image("f16", image);
    c[Q8] = candidate_quantized(bundled, temporary_path(q8), RWKV_TYPE_Q8);
    c[Q4] = candidate_quantized(bundled, temporary_path(q4), RWKV_TYPE_Q4);
    c[Q5_1] = candidate_rounded(&image, &ggml_types[GGML_Q5_1]);
    if (CHECK(c[Q8].model && c[Q4].model)) {
        own_text(&c[TRUTH], 1, tokens, TOKENS);
        compare(c, CANDIDATES, tokens, TOKENS);
        CHECK_MSG(c[Q8].kl > 0 && c[Q8].kl < 0.001, "Q8: KL %g", c[Q8].kl);
        CHECK_MSG(fabs(c[Q8].nats / c[TRUTH].nats - 1) < 0.002, "Q8: %g nats, f16 %g", c[Q8].nats,
                  c[TRUTH].nats);
        CHECK_MSG(c[Q8].bits < 8.5, "Q8: %g bits per weight", c[Q8].bits);
        CHECK_MSG(c[Q4].kl > c[Q8].kl && c[Q4].kl < c[Q5_1].kl, "Q4: KL %g, Q8 %g, ggml Q5_1 %g",
                  c[Q4].kl, c[Q8].kl, c[Q5_1].kl);
        CHECK_MSG(c[Q4].bits <= 5, "Q4: %g bits per weight", c[Q4].bits);
    }
    remove(q8);
    remove(q4);
    candidates_free(c, CANDIDATES);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(ggml_blocks);
    RUN(copies);
    RUN(bundled_model);
    return test_end();
}
