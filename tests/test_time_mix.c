/* test_time_mix.c: the attention of RWKV against the reference: token shift, the
 * recurrence, extreme keys and decays. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { TOKENS = 200 };

static const shape plain = {61, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

static void check_shape(int D, int A, rwkv_type type, model_style style, distance allowed)
{
    shape s = plain;
    model_image m;
    int tokens[TOKENS];
    s.D = D;
    s.A = A;
    s.type = type;
    s.style = style;
    s.seed = (uint64_t)(D + A);
    m = model_image_new(&s);
    random_tokens(s.seed, s.V, tokens, TOKENS);
    check_image(&m, tokens, TOKENS, allowed);
    model_image_free(&m);
}

static void ordinary(void)
{
    check_shape(20, 20, RWKV_TYPE_F32, PLAIN, within(2e-5));
    check_shape(33, 56, RWKV_TYPE_F32, PLAIN, within(2e-5));
    check_shape(48, 5, RWKV_TYPE_F16, PLAIN, within(2e-5));
    check_shape(17, 1, RWKV_TYPE_BF16, PLAIN, within(2e-5));
    check_shape(40, 65, RWKV_TYPE_Q8, PLAIN, within(2e-5));
    check_shape(64, 32, RWKV_TYPE_Q4, PLAIN, within(2e-5));
    check_shape(33, 1, RWKV_TYPE_Q4, PLAIN, within(2e-5));
}

/* Keys up to 120: float rounds them to 2^-18, and so the weights exp(k) by as much,
 * times the error of a sum of D products. A naive exp() overflows.            */
static void keys_of_120(void)
{
    distance allowed = within(1.4e-4);
    allowed.wkv = 6e-4;
    allowed.p = 2e-3;
    check_shape(33, 33, RWKV_TYPE_F32, KEYS, allowed);
    check_shape(24, 40, RWKV_TYPE_F16, KEYS, allowed);
    check_shape(18, 12, RWKV_TYPE_BF16, KEYS, allowed);
}

/* Almost no and almost total forgetting. time_first of 40 rounds u + k to 2^-19. */
static void any_decay(void)
{
    distance allowed = within(2e-5);
    allowed.p = 2e-4;
    check_shape(24, 24, RWKV_TYPE_F32, DECAYS, allowed);
    check_shape(31, 50, RWKV_TYPE_BF16, DECAYS, allowed);
    check_shape(33, 50, RWKV_TYPE_Q8, DECAYS, allowed);
    check_shape(50, 24, RWKV_TYPE_Q4, DECAYS, allowed);
}

static void shift_at_its_ends(void)
{
    static const tensor_role mixes[] = {ATT_MIX_R, ATT_MIX_K, ATT_MIX_V};
    check_shift_at_its_ends(&plain, mixes, 3);
}

/* Each tensor has its place: change one, and the result follows the reference
 * and is no longer the old one.                                              */
static void each_tensor_counts(void)
{
    static const tensor_role roles[] = {ATT_MIX_R, ATT_MIX_K, ATT_MIX_V, ATT_RECEPTANCE, ATT_KEY,
                                        ATT_VALUE, ATT_U, ATT_W, ATT_OUTPUT};
    int tokens[8], l;
    size_t i;
    random_tokens(2, plain.V, tokens, 8);
    for (i = 0; i < sizeof roles / sizeof *roles; i++) {
        for (l = 0; l < plain.L; l++) {
            model_image m = model_image_new(&plain), old = model_image_new(&plain);
            rwkv_model *model, *before;
            rwkv_state *state, *was;
            tensor t = tensor_find(&plain, roles[i], l);
            image_set(&m, roles[i], l, t.R - 1, t.K - 1, roles[i] == ATT_W ? -0.7f : 0.9f);
            image_fix(&m);
            check_image(&m, tokens, 8, within(2e-5));
            model = load_image(&m, NULL);
            before = load_image(&old, NULL);
            state = rwkv_state_new(model);
            was = rwkv_state_new(before);
            CHECK(rwkv_eval_sequence(tokens, 8, state) != NULL);
            CHECK(rwkv_eval_sequence(tokens, 8, was) != NULL);
            CHECK_MSG(memcmp(rwkv_logits(state), rwkv_logits(was), sizeof(float) * 61) != 0,
                      "role %d layer %d", (int)roles[i], l);
            rwkv_state_free(state);
            rwkv_state_free(was);
            rwkv_free(model);
            rwkv_free(before);
            model_image_free(&m);
            model_image_free(&old);
        }
    }
}

/* After the first token the sums hold that token alone: b is exactly 1, whatever
 * the key; and a token with the same key as p weighs as much as all before.   */
static void first_token(void)
{
    static const model_style styles[] = {PLAIN, KEYS, DECAYS};
    const char *isa;
    size_t k;
    int i, j, n;
    for (k = 0; k < 3; k++) {
        shape s = plain;
        model_image m;
        s.style = styles[k];
        m = model_image_new(&s);
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            rwkv_options o = options_isa(isa);
            rwkv_model *model = load_image(&m, &o);
            rwkv_state *state = rwkv_state_new(model);
            const float *b;
            CHECK(rwkv_eval(3, state) != NULL);
            b = rwkv_state_view(state, RWKV_PART_ATT_B, 0, &n);
            for (j = 0; j < n; j++) CHECK_MSG(b[j] == 1.0f, "%s b[%d] is %g", isa, j, (double)b[j]);
            rwkv_state_free(state);
            rwkv_free(model);
        }
        model_image_free(&m);
    }
}

/* exp itself, seen through the recurrence: with keys and values of 0 and no decay
 * a' = exp(p) a, so a = 1 and p = x leave exp(x) in a. Each must be next to the true
 * value, or 0 where that is below the normal floats.                          */
static void exponential(void)
{
    enum { WIDTH = 1024, ROUNDS = 60 };
    shape s = {2, 1, WIDTH, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    const char *isa;
    int i, j, round;
    image_fill(&m, ATT_KEY, 0, 0);
    image_fill(&m, ATT_VALUE, 0, 0);
    image_fill(&m, ATT_W, 0, -1e-37f);
    image_fix(&m);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        float *a = rwkv_state_view(state, RWKV_PART_ATT_A, 0, NULL);
        float *b = rwkv_state_view(state, RWKV_PART_ATT_B, 0, NULL);
        float *p = rwkv_state_view(state, RWKV_PART_ATT_P, 0, NULL), x[WIDTH];
        uint64_t seed = 3;
        for (round = 0; round < ROUNDS; round++) {
            double widest = round % 3 == 0 ? -90 : round % 3 == 1 ? -3 : -0.01;
            for (j = 0; j < WIDTH; j++) {
                x[j] = p[j] = (float)random_uniform(&seed, widest, 0);
                a[j] = 1;
                b[j] = 1;
            }
            CHECK(rwkv_eval(0, state) != NULL);
            for (j = 0; j < WIDTH; j++) {
                double should = exp((double)x[j]), ulp = ldexp(1, ilogb(should) - 23);
                int good = fabs((double)a[j] - should) < ulp && p[j] == 0;
                if (should < 1.1754945e-38) good = a[j] == 0 || should > 1.1754940e-38;
                CHECK_MSG(good, "%s exp(%.9g) is %.9g, expected %.9g", isa, (double)x[j],
                          (double)a[j], should);
            }
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* Keys so large that only finiteness can be asked for.                       */
static void enormous_keys_stay_finite(void)
{
    static const float factors[] = {1e3f, 1e8f, 1e20f};
    int tokens[50], t, j, i;
    const char *isa;
    size_t k;
    random_tokens(4, plain.V, tokens, 50);
    for (k = 0; k < 3; k++) {
        model_image m = model_image_new(&plain);
        int r, c;
        for (r = 0; r < plain.A; r++) {
            for (c = 0; c < plain.D; c++) {
                image_set(&m, ATT_KEY, 0, r, c, factors[k] * (float)((r * 5 + c * 3) % 7 - 3));
            }
        }
        image_fix(&m);
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            rwkv_options o = options_isa(isa);
            rwkv_model *model = load_image(&m, &o);
            rwkv_state *state = rwkv_state_new(model);
            for (t = 0; t < 50; t++) {
                const float *logits = rwkv_eval(tokens[t], state);
                int finite = logits != NULL;
                for (j = 0; j < plain.V && finite; j++) finite = logits[j] - logits[j] == 0;
                if (!CHECK_MSG(finite, "%s factor %g token %d", isa, (double)factors[k], t)) break;
            }
            rwkv_state_free(state);
            rwkv_free(model);
        }
        model_image_free(&m);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(ordinary);
    RUN(keys_of_120);
    RUN(any_decay);
    RUN(shift_at_its_ends);
    RUN(each_tensor_counts);
    RUN(first_token);
    RUN(exponential);
    RUN(enormous_keys_stay_finite);
    return test_end();
}
