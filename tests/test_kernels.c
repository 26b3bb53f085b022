/* test_kernels.c: awkward shapes: scalar against the double reference, and every
 * other isa against scalar, to the bit. */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"

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
    for (i = 0; i < n; i++) ref_eval(&ref, tokens[i], &truth);
    if (!check_distance(state_distance(state, &ref, &truth), within(2e-5), "scalar", n)) {
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
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_BF16; type++) {
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

int main(int argc, char **argv)
{
    test_begin(argc, argv);
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
    return test_end();
}
