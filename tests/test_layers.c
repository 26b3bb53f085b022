/* test_layers.c: embedding, layer norms and the head, against the reference. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape plain = {67, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

static void each_token_has_its_row(void)
{
    static const int widths[] = {20, 32, 95};
    int tokens[67], i, type;
    for (i = 0; i < 67; i++) tokens[i] = i;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) {
        for (i = 0; i < 3; i++) {
            shape s = plain;
            model_image m;
            s.D = widths[i];
            s.type = (rwkv_type)type;
            m = model_image_new(&s);
            check_image(&m, tokens, 67, within(2e-5));
            model_image_free(&m);
        }
    }
}

/* Blocks that add nothing: hidden is ln_out(ln0(emb)), the logits its product. */
static void nothing_but_the_frame(void)
{
    model_image m = model_image_new(&plain);
    int tokens[10], l;
    for (l = 0; l < plain.L; l++) {
        image_fill(&m, ATT_OUTPUT, l, 0);
        image_fill(&m, FFN_VALUE, l, 0);
    }
    image_fix(&m);
    random_tokens(1, plain.V, tokens, 10);
    check_image(&m, tokens, 10, within(4e-6));
    model_image_free(&m);
}

/* Each layer norm has weights and biases of its own: change each vector in turn,
 * and the result must follow the reference.                                  */
static void each_vector_counts(void)
{
    static const tensor_role roles[] = {LN0_WEIGHT, LN0_BIAS, LN1_WEIGHT, LN1_BIAS, LN2_WEIGHT,
                                        LN2_BIAS, LN_OUT_WEIGHT, LN_OUT_BIAS};
    int tokens[6], l;
    size_t i;
    random_tokens(2, plain.V, tokens, 6);
    for (i = 0; i < sizeof roles / sizeof *roles; i++) {
        for (l = 0; l < (roles[i] == LN1_WEIGHT || roles[i] == LN1_BIAS || roles[i] == LN2_WEIGHT ||
                         roles[i] == LN2_BIAS ? plain.L : 1); l++) {
            model_image m = model_image_new(&plain);
            image_set(&m, roles[i], l, 0, 7, 3.5f);
            image_set(&m, roles[i], l, 0, plain.D - 1, -2.5f);
            image_fix(&m);
            check_image(&m, tokens, 6, within(4e-5));
            model_image_free(&m);
        }
    }
}

/* norm_eps is that of the file: a large one shows.                           */
static void eps_of_the_file(void)
{
    model_image m = model_image_new(&plain);
    int tokens[6];
    put32(m.data + AT_EPS, float_bits(0.25f));
    image_fix(&m);
    random_tokens(3, plain.V, tokens, 6);
    check_image(&m, tokens, 6, within(2e-5));
    model_image_free(&m);
}

/* An embedding far from zero: a variance by E[x^2] - E[x]^2 would lose it all. The
 * mean itself is rounded to about 2^-13 here, seen against a deviation of 0.6: so
 * much for the tolerance.                                                    */
static void large_mean(void)
{
    model_image m = model_image_new(&plain);
    int tokens[6], i, t;
    random_tokens(4, plain.V, tokens, 6);
    for (t = 0; t < plain.V; t++) {
        for (i = 0; i < plain.D; i++) {
            image_set(&m, EMB, 0, t, i, 4096.0f + (float)((t * 7 + i * 13) % 32) / 16);
        }
    }
    image_fix(&m);
    check_image(&m, tokens, 6, within(4e-4));
    model_image_free(&m);
}

/* All channels equal: the variance is 0 and eps alone divides.               */
static void no_variance(void)
{
    model_image m = model_image_new(&plain);
    int tokens[6];
    image_fill(&m, EMB, 0, 3.25f);
    image_fix(&m);
    random_tokens(5, plain.V, tokens, 6);
    check_image(&m, tokens, 6, within(2e-5));
    model_image_free(&m);
}

/* Very small and very large embeddings, as layer norms see them.             */
static void extreme_scales(void)
{
    static const float scales[] = {1e-30f, 1e-12f, 1e-3f, 1e3f, 1e12f, 1e17f};
    int tokens[6], i, t;
    size_t k;
    random_tokens(6, plain.V, tokens, 6);
    for (k = 0; k < sizeof scales / sizeof *scales; k++) {
        model_image m = model_image_new(&plain);
        for (t = 0; t < plain.V; t++) {
            for (i = 0; i < plain.D; i++) {
                image_set(&m, EMB, 0, t, i, scales[k] * (float)((t * 7 + i * 13) % 32 - 15));
            }
        }
        image_fix(&m);
        check_image(&m, tokens, 6, within(2e-5));
        model_image_free(&m);
    }
}

/* NaN weights end in NaN logits, not in a crash or a hang; nothing else does. */
static void nan_goes_through(void)
{
    model_image m = model_image_new(&plain);
    const char *isa;
    int i;
    image_set(&m, HEAD, 0, 5, 3, (float)NAN);
    image_fix(&m);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        const float *logits = rwkv_eval(1, state);
        int r;
        for (r = 0; logits && r < plain.V; r++) {
            CHECK_MSG((logits[r] != logits[r]) == (r == 5), "%s logit %d is %g", isa, r,
                      (double)logits[r]);
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(each_token_has_its_row);
    RUN(nothing_but_the_frame);
    RUN(each_vector_counts);
    RUN(eps_of_the_file);
    RUN(large_mean);
    RUN(no_variance);
    RUN(extreme_scales);
    RUN(nan_goes_through);
    return test_end();
}
