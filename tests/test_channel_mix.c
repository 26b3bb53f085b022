/* test_channel_mix.c: the feed-forward half of a block against the reference. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { TOKENS = 60 };

static const shape plain = {61, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

static void check_shape(int D, int F, rwkv_type type)
{
    shape s = plain;
    model_image m;
    int tokens[TOKENS];
    s.D = D;
    s.A = D;
    s.F = F;
    s.type = type;
    s.seed = (uint64_t)(D + F);
    m = model_image_new(&s);
    random_tokens(s.seed, s.V, tokens, TOKENS);
    check_image(&m, tokens, TOKENS, within(2e-5));
    model_image_free(&m);
}

static void ordinary(void)
{
    check_shape(20, 80, RWKV_TYPE_F32);
    check_shape(33, 132, RWKV_TYPE_F16);
    check_shape(16, 64, RWKV_TYPE_BF16);
    check_shape(40, 150, RWKV_TYPE_Q8);
    check_shape(32, 128, RWKV_TYPE_Q4);
}

static void any_width(void)
{
    check_shape(20, 1, RWKV_TYPE_F32);
    check_shape(50, 61, RWKV_TYPE_BF16);
    check_shape(19, 300, RWKV_TYPE_F16);
    check_shape(17, 1, RWKV_TYPE_Q4);
    check_shape(70, 300, RWKV_TYPE_Q4);
    check_shape(33, 257, RWKV_TYPE_Q8);
}

/* The model of these tests would notice a dead channel mix.                  */
static void it_is_alive(void)
{
    model_image m = model_image_new(&plain), dead = model_image_new(&plain);
    rwkv_model *model, *without;
    rwkv_state *a, *b;
    int tokens[TOKENS], l, i;
    double gap = 0;
    for (l = 0; l < plain.L; l++) image_fill(&dead, FFN_VALUE, l, 0);
    image_fix(&dead);
    model = load_image(&m, NULL);
    without = load_image(&dead, NULL);
    a = rwkv_state_new(model);
    b = rwkv_state_new(without);
    random_tokens(1, plain.V, tokens, TOKENS);
    CHECK(rwkv_eval_sequence(tokens, TOKENS, a) != NULL);
    CHECK(rwkv_eval_sequence(tokens, TOKENS, b) != NULL);
    for (i = 0; i < plain.V; i++) {
        gap = fmax(gap, fabs((double)rwkv_logits(a)[i] - (double)rwkv_logits(b)[i]));
    }
    CHECK_MSG(gap > 0.3, "the logits differ by %g only", gap);
    rwkv_state_free(a);
    rwkv_state_free(b);
    rwkv_free(model);
    rwkv_free(without);
    model_image_free(&m);
    model_image_free(&dead);
}

static void shift_at_its_ends(void)
{
    static const tensor_role mixes[] = {FFN_MIX_R, FFN_MIX_K};
    check_shift_at_its_ends(&plain, mixes, 2);
}

static void each_tensor_counts(void)
{
    static const tensor_role roles[] = {FFN_MIX_R, FFN_MIX_K, FFN_RECEPTANCE, FFN_KEY, FFN_VALUE};
    int tokens[8], l;
    size_t i;
    random_tokens(2, plain.V, tokens, 8);
    for (i = 0; i < sizeof roles / sizeof *roles; i++) {
        for (l = 0; l < plain.L; l++) {
            model_image m = model_image_new(&plain);
            tensor t = tensor_find(&plain, roles[i], l);
            image_set(&m, roles[i], l, t.R - 1, t.K - 1, 0.9f);
            image_set(&m, roles[i], l, 0, t.K / 2, -0.9f);
            image_fix(&m);
            check_image(&m, tokens, 8, within(2e-5));
            model_image_free(&m);
        }
    }
}

/* Keys of one sign: the relu lets nothing or everything through.             */
static void relu(void)
{
    static const float signs[] = {-0.4f, 0.4f, 0.0f, -0.0f};
    int tokens[12];
    size_t i;
    random_tokens(3, plain.V, tokens, 12);
    for (i = 0; i < 4; i++) {
        model_image m = model_image_new(&plain);
        image_fill(&m, LN2_WEIGHT, 0, 0.05f);
        image_fill(&m, LN2_BIAS, 0, 1); /* so the inputs are positive             */
        image_fill(&m, FFN_KEY, 0, signs[i]);
        image_fix(&m);
        check_image(&m, tokens, 12, within(1e-4)); /* squares of 8: 64 times a value */
        model_image_free(&m);
    }
}

/* Gates far out: sigmoid is 0 or 1, never NaN.                               */
static void gates_far_out(void)
{
    static const float gates[] = {-1e4f, -10, 10, 1e4f};
    int tokens[12];
    size_t i;
    random_tokens(5, plain.V, tokens, 12);
    for (i = 0; i < 4; i++) {
        model_image m = model_image_new(&plain);
        image_fill(&m, LN2_BIAS, 1, 1);
        image_fill(&m, LN2_WEIGHT, 1, 0.05f);
        image_fill(&m, FFN_RECEPTANCE, 1, gates[i]);
        image_fix(&m);
        check_image(&m, tokens, 12, within(2e-5));
        model_image_free(&m);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(ordinary);
    RUN(any_width);
    RUN(it_is_alive);
    RUN(shift_at_its_ends);
    RUN(each_tensor_counts);
    RUN(relu);
    RUN(gates_far_out);
    return test_end();
}
