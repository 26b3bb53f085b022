/* test_soak.c: some thousand tokens of many kinds, of floats and of codes; `make soak` reads a
 * million of each. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"
#include "soak.h"

/* Memories of up to 128 tokens, which a float has forgotten after some 2000.  */
static const shape small = {31, 20, 18, 45, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

enum { SHORT = 2000, PIECES = SHORT / SOAK_PIECE };

/* The twin against a program that shares nothing with it: they differ by what the polynomial of
 * exp leaves out.                                                            */
static void twin_is_true(void)
{
    enum { N = 200 };
    static const rwkv_type types[] = {RWKV_TYPE_F32, RWKV_TYPE_Q8, RWKV_TYPE_Q4};
    static double logits[N * 31];
    int k, t, i, tokens[N];
    random_tokens(3, small.V, tokens, N);
    for (k = 0; k < 3; k++) {
        shape s = small;
        model_image m;
        ref_model weights;
        ref_state state;
        twin *in_double;
        double gap = 0;
        s.type = types[k];
        m = model_image_new(&s);
        weights = ref_from_image(&m);
        in_double = twin_new(&weights);
        weights.codes = 0; /* the twin does not round its inputs                      */
        for (i = 0; i < s.L; i++) weights.blocks[i].codes = 0;
        state = ref_state_new(&weights);
        CHECK(twin_eval_all(in_double, tokens, 1, logits));
        CHECK(twin_eval_all(in_double, tokens + 1, N - 1, logits + s.V));
        for (t = 0; t < N; t++) {
            ref_eval(&weights, tokens[t], &state);
            for (i = 0; i < s.V; i++) {
                gap = fmax(gap, fabs(logits[t * s.V + i] - state.logits[i]));
            }
        }
        CHECK_MSG(gap < 1e-7, "type %d: off by %.3g", (int)types[k], gap);
        if (test.verbose) printf("type %d: the twin is off by %.3g\n", (int)types[k], gap);
        twin_free(in_double);
        ref_state_free(&state);
        ref_model_free(&weights);
        model_image_free(&m);
    }
}

static void check_streams(rwkv_type type, long n, double limit)
{
    shape s = small;
    model_image m;
    int stream;
    s.type = type;
    m = model_image_new(&s);
    for (stream = 0; stream < SOAK_STREAMS; stream++) {
        soak_plan plan = {NULL, SOAK_RANDOM, 0, 2, NULL};
        soak_result r;
        const char *fault;
        plan.image = &m;
        plan.n = TEST_SLOW_MACHINE ? SHORT : n;
        plan.stream = (soak_stream)stream;
        r = soak(&plan);
        if (TEST_SLOW_MACHINE) r.growth = 0; /* it is, while the state fills          */
        fault = soak_fault(&plan, &r, limit);
        CHECK_MSG(!fault, "type %d, %s: %s (%.3g from the twin, growth %.0f %%, %ld pieces, "
                  "%ld subnormal, %+ld KB)", (int)type, soak_names[stream], fault ? fault : "",
                  r.farthest, 100 * r.growth, r.different, r.subnormal, r.more);
        if (test.verbose) printf("type %d, %s: %.3g from the twin, growth %+.1f %%\n", (int)type,
                                 soak_names[stream], r.farthest, 100 * r.growth);
    }
    model_image_free(&m);
}

static void floats(void) { check_streams(RWKV_TYPE_F32, 10000, 1e-5); }

/* The inputs of products are rounded to 8 bits.                              */
static void q8(void) { check_streams(RWKV_TYPE_Q8, 5000, 0.2); }
static void q4(void) { check_streams(RWKV_TYPE_Q4, 5000, 0.2); }

/* ---- what there is to notice --------------------------------------------- */

static int   calls; /* of what meddles with the state of a soak               */
static void *hoarded[PIECES];

static void change_more_and_more(rwkv_state *state)
{
    int i, n;
    float *a = rwkv_state_view(state, RWKV_PART_ATT_A, 0, &n);
    calls++;
    for (i = 0; i < n; i++) a[i] *= 1 + 1e-6f * (float)calls;
}

static void change_one_bit(rwkv_state *state)
{
    float *a = rwkv_state_view(state, RWKV_PART_ATT_A, 1, NULL);
    if (++calls == PIECES) *a = bits_float(float_bits(*a) ^ 1);
}

static void make_infinite(rwkv_state *state)
{
    if (++calls == PIECES) *rwkv_state_view(state, RWKV_PART_ATT_B, 1, NULL) = (float)INFINITY;
}

static void make_nan(rwkv_state *state)
{
    if (++calls == 5) *rwkv_state_view(state, RWKV_PART_FFN_X, 0, NULL) = (float)NAN;
}

static void make_subnormal(rwkv_state *state)
{
    if (++calls == 5) *rwkv_state_view(state, RWKV_PART_ATT_X, 1, NULL) = -FLT_MIN / 2;
}

static void hoard(rwkv_state *state)
{
    (void)state;
    hoarded[calls] = test_alloc(1 << 16);
    memset(hoarded[calls++], 1, 1 << 16);
}

static soak_result soak_with(void (*meddle)(rwkv_state *), const char *fault, double limit)
{
    model_image m = model_image_new(&small);
    soak_plan plan = {NULL, SOAK_RANDOM, SHORT, 3, NULL};
    soak_result r;
    plan.image = &m;
    plan.meddle = meddle;
    calls = 0;
    r = soak(&plan);
    CHECK_STR(soak_fault(&plan, &r, limit), fault);
    model_image_free(&m);
    return r;
}

static void faults_are_noticed(void)
{
    soak_result good = soak_with(NULL, NULL, 1e-5), r;
    soak_plan plan = {NULL, SOAK_RANDOM, SHORT, 3, NULL};
    int i;
    CHECK(good.tokens == SHORT && good.farthest > 1e-8 && fabs(good.growth) < 0.2);
    CHECK(good.largest > 1 && good.largest < 1000 && good.top == 0 && good.hash != 0);
    soak_with(NULL, "too far from the twin", good.farthest / 2);
    r = soak_with(change_one_bit, "other bits another way", 1e-5);
    CHECK_INT(r.different, 1);
    r = soak_with(make_infinite, "NaN or infinity in the state", 1e-5);
    CHECK_INT(r.not_finite, 1);
    r = soak_with(make_nan, "NaN or infinity in the state", 1e-5);
    CHECK(r.not_finite > 1 && r.farthest > 1e300);
    r = soak_with(make_subnormal, "subnormal numbers in the state", 1e-5);
    CHECK_INT(r.subnormal, 1);
    r = soak_with(change_more_and_more, "other bits another way", 1e-5);
    CHECK_MSG(r.growth > 0.2, "%g", r.growth);
    r.different = 0;
    CHECK_STR(soak_fault(&plan, &r, 1), "the difference grows");
    r = good;
    r.tokens--;
    CHECK_STR(soak_fault(&plan, &r, 1), "no next token");
    if (!soak_resident()) return;
    soak_with(hoard, "memory grows", 1e-5);
    for (i = 0; i < PIECES; i++) free(hoarded[i]);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(twin_is_true);
    RUN(floats);
    RUN(q8);
    RUN(q4);
    RUN(faults_are_noticed);
    return test_end();
}
