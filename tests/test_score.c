/* test_score.c: probabilities of tokens: against double precision, and a score against
 * one token after another, to the bit. Without the sampler, so that the scratch is
 * as small as it gets. */
#define RWKV_IMPLEMENTATION
#define RWKV_NO_SAMPLER
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { LONGEST = 100 };

static const shape shapes[] = {
    {37, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {530, 33, 33, 132, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 2},
    {1029, 20, 31, 40, 2, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 3},
    {3, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 4},
    {1, 2, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 5},
    {1000, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 6},
    {256, 16, 16, 16, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 7},
    {2100, 40, 16, 70, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 8},
    {1029, 40, 31, 40, 2, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 9},
    {2100, 70, 16, 70, 1, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 10},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* ---- rwkv_logprob --------------------------------------------------------- */

static double exact(const float *logits, int n, int token)
{
    double most = -HUGE_VAL, sum = 0;
    int i;
    for (i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
    for (i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    return (double)logits[token] - most - log(sum);
}

static void close_to_double(void)
{
    static const double spreads[] = {1e-3, 1, 5, 30, 300, 1e30};
    static const int sizes[] = {1, 2, 15, 16, 17, 255, 256, 257, 3000};
    size_t k;
    for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int n = sizes[k];
        float first[32];
        const char *isa;
        int i;
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            shape s = shapes[0];
            rwkv_options o = options_isa(isa);
            model_image m;
            rwkv_model *model;
            rwkv_state *state;
            float *logits, *before = (float *)test_alloc((size_t)n * sizeof *before);
            uint64_t seed = k;
            int round, j;
            s.V = n;
            o.chunk = 1;
            m = model_image_new(&s);
            model = load_image(&m, &o);
            state = rwkv_state_new(model);
            logits = (float *)(uintptr_t)rwkv_logits(state);
            CHECK_MSG(fabs((double)rwkv_logprob(state, n - 1) + log(n)) < 1e-6, "V %d: empty", n);
            for (round = 0; round < 24; round++) {
                double spread = spreads[round % 6], sum = 0;
                int token = random_below(&seed, n);
                float is;
                for (j = 0; j < n; j++) logits[j] = (float)random_uniform(&seed, -spread, spread);
                if (round >= 12) { /* rising or falling, so that the largest is a new one */
                    for (j = 0; j < n; j++) {
                        logits[j] = (float)(spread * (round % 2 ? j : n - j) / n);
                    }
                }
                memcpy(before, logits, (size_t)n * sizeof *before);
                is = rwkv_logprob(state, token);
                CHECK_MSG(fabs((double)is - exact(logits, n, token)) <=
                          4e-7 + 1e-7 * fabs((double)is), "V %d spread %g: %.9g, expected %.9g", n,
                          spread, (double)is, exact(logits, n, token));
                CHECK(is <= 0);
                CHECK_SAME(logits, before, (size_t)n * sizeof *before);
                if (i == 0) first[round] = is;
                else CHECK_SAME(&is, &first[round], sizeof is);
                for (j = 0; j < n && round < 4; j++) sum += exp((double)rwkv_logprob(state, j));
                CHECK_MSG(round >= 4 || fabs(sum - 1) < 1e-6, "V %d: they sum to %.9g", n, sum);
            }
            rwkv_state_free(state);
            rwkv_free(model);
            model_image_free(&m);
            free(before);
        }
    }
}

static void odd_logits(void)
{
    model_image m = model_image_new(&shapes[2]);
    const char *isa;
    int n, i;
    for (n = 0; (isa = rwkv_isa_available(n)) != NULL; n++) {
        const int V = shapes[2].V;
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        float *logits = (float *)(uintptr_t)rwkv_logits(state), x;
        CHECK(isnan(rwkv_logprob(NULL, 0)));
        CHECK(isnan(rwkv_logprob(state, -1)));
        CHECK(isnan(rwkv_logprob(state, V)));
        for (i = 0; i < V; i += 171) {
            memset(logits, 0, (size_t)V * sizeof *logits);
            logits[i] = (float)NAN;
            CHECK(isnan(rwkv_logprob(state, 3)) && isnan(rwkv_logprob(state, i)));
            logits[i] = HUGE_VALF;
            CHECK(isnan(rwkv_logprob(state, 3)) && isnan(rwkv_logprob(state, i)));
            logits[i] = -HUGE_VALF;
            x = rwkv_logprob(state, 3);
            CHECK_MSG(fabs((double)x + log(V - 1)) < 1e-6, "%g", (double)x);
            x = rwkv_logprob(state, i);
            CHECK_MSG(x == -HUGE_VALF, "%g", (double)x);
        }
        for (i = 0; i < V; i++) logits[i] = -HUGE_VALF;
        x = rwkv_logprob(state, 3);
        CHECK_MSG(x == -HUGE_VALF, "%g", (double)x);
        logits[V - 1] = -3e38f; /* the only one there is */
        CHECK(rwkv_logprob(state, V - 1) == 0 && rwkv_logprob(state, 3) == -HUGE_VALF);
        for (i = 0; i < V; i++) logits[i] = i % 2 ? 3.4e38f : -3.4e38f; /* as far apart as can be */
        x = rwkv_logprob(state, 3);
        CHECK_MSG(fabs((double)x + log(V / 2)) < 1e-6, "%g", (double)x);
        rwkv_state_free(state);
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* ---- rwkv_softmax ---------------------------------------------------------- */

/* Against double, and on every isa to the bit what it is on the first; in another
 * array, in its own, and in a place that is a multiple of 4 alone.             */
static void all_probabilities(void)
{
    static const double spreads[] = {0, 1e-3, 1, 5, 30, 300, 1e30};
    static const int sizes[] = {1, 2, 15, 16, 17, 255, 256, 257, 272, 3000, 70001};
    size_t k;
    for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int n = sizes[k];
        const size_t bytes = (size_t)n * sizeof(float);
        float *logits = (float *)test_alloc(bytes), *first = (float *)test_alloc(7 * bytes);
        float *is = (float *)test_alloc(bytes + 32), *out = is + 1;
        const char *isa;
        int i, j;
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            shape s = shapes[5];
            rwkv_options o = options_isa(isa);
            model_image m;
            rwkv_model *model;
            uint64_t seed = k;
            int round;
            s.V = n;
            m = model_image_new(&s);
            model = load_image(&m, &o);
            for (round = 0; round < 7; round++) {
                double sum = 0, log_sum;
                for (j = 0; j < n; j++)
                    logits[j] = (float)random_uniform(&seed, -spreads[round], spreads[round]);
                log_sum = (double)logits[0] - exact(logits, n, 0);
                for (j = 0; j < n + 8; j++) is[j] = -7;
                CHECK_INT(rwkv_softmax(model, logits, out), RWKV_OK);
                CHECK(is[0] == -7 && out[n] == -7);
                for (j = 0; j < n; j++) {
                    const double p = fmax(exp((double)logits[j] - log_sum), 1e-300);
                    sum += (double)out[j];
                    if (!CHECK_MSG(fabs((double)out[j] - p) <= p * (1e-6 - 1.2e-7 * log(p)) + 1e-37,
                                   "V %d, %s, spread %g: %.9g, expected %.9g", n, isa,
                                   spreads[round], (double)out[j], p)) break;
                    if (!CHECK(out[j] >= 0 && out[j] <= 1)) break;
                }
                CHECK_MSG(fabs(sum - 1) < 1e-6, "V %d: they sum to %.9g", n, sum);
                if (i == 0) memcpy(first + (size_t)round * (size_t)n, out, bytes);
                CHECK_SAME(out, first + (size_t)round * (size_t)n, bytes);
                CHECK_INT(rwkv_softmax(model, logits, logits), RWKV_OK);
                CHECK_SAME(logits, out, bytes);
            }
            rwkv_free(model);
            model_image_free(&m);
        }
        free(logits);
        free(first);
        free(is);
    }
}

static void odd_probabilities(void)
{
    model_image m = model_image_new(&shapes[2]);
    const int V = shapes[2].V;
    float *x = (float *)test_alloc((size_t)V * sizeof *x);
    const char *isa;
    int n, i;
    for (n = 0; (isa = rwkv_isa_available(n)) != NULL; n++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(&m, &o);
        rwkv_state *state = rwkv_state_new(model);
        CHECK_INT(rwkv_softmax(NULL, x, x), RWKV_ERR_ARGUMENT);
        CHECK_INT(rwkv_softmax(model, NULL, x), RWKV_ERR_ARGUMENT);
        CHECK_INT(rwkv_softmax(model, x, NULL), RWKV_ERR_ARGUMENT);
        CHECK_INT(rwkv_softmax(model, rwkv_logits(state), x), RWKV_OK); /* empty: all alike */
        for (i = 0; i < V; i++)
            if (!CHECK(fabs((double)x[i] * V - 1) < 1e-6)) break;
        for (i = 0; i < V; i += 171) { /* the last one is no part of a whole 16       */
            const float odd[] = {(float)NAN, HUGE_VALF, -HUGE_VALF};
            int k, j;
            for (k = 0; k < 3; k++) {
                for (j = 0; j < V; j++) x[j] = 0;
                x[i] = odd[k];
                CHECK_INT(rwkv_softmax(model, x, x), RWKV_OK);
                for (j = 0; j < V; j++)
                    if (!CHECK(k < 2 ? isnan(x[j]) : j == i ? x[j] == 0 :
                               fabs((double)x[j] * (V - 1) - 1) < 1e-6)) break;
            }
        }
        for (i = 0; i < V; i++) x[i] = -HUGE_VALF;
        CHECK_INT(rwkv_softmax(model, x, x), RWKV_OK);
        CHECK(isnan(x[0]) && isnan(x[V - 1]));
        for (i = 0; i < V; i++) x[i] = i % 2 ? 3.4e38f : -3.4e38f; /* as far apart as can be */
        CHECK_INT(rwkv_softmax(model, x, x), RWKV_OK);
        CHECK(x[0] == 0 && x[V - 1] == 0 && fabs((double)x[1] * (V / 2) - 1) < 1e-6);
        rwkv_state_free(state);
        rwkv_free(model);
    }
    free(x);
    model_image_free(&m);
}

/* The library's own logarithm.                                               */
static void logarithm(void)
{
    double x, worst = 0;
    for (x = 1; x < 3e7; x *= 1.0009) worst = fmax(worst, fabs(rwkv__log(x) - log(x)));
    CHECK_MSG(worst < 1e-12, "off by %g", worst);
    CHECK(rwkv__log(1) == 0);
}

/* ---- rwkv_score ----------------------------------------------------------- */

static void check_score(const shape *s)
{
    static const int chunks[] = {1, 7, 168}, threads[] = {1, 3}, lengths[] = {0, 1, 2, 8, 21, LONGEST};
    model_image m = model_image_new(s);
    int tokens[LONGEST], i, c, k, t, length;
    float expected[LONGEST], is[LONGEST + 1];
    rwkv_options o = options_isa("scalar");
    rwkv_model *model;
    rwkv_state *state;
    uint8_t *after[LONGEST + 1], *now;
    size_t bytes;
    random_tokens(s->seed, s->V, tokens, LONGEST);
    o.chunk = 1;
    model = load_image(&m, &o);
    state = rwkv_state_new(model);
    for (t = 0; t <= LONGEST; t++) { /* one token after another */
        after[t] = saved(state, &bytes);
        if (t == LONGEST) break;
        expected[t] = rwkv_logprob(state, tokens[t]);
        CHECK(rwkv_eval(tokens[t], state) != NULL);
    }
    rwkv_state_free(state);
    rwkv_free(model);
    for (i = 0; (o.isa = rwkv_isa_available(i)) != NULL; i++) {
        for (c = 0; c < 6; c++) {
            test_heap heap = {0, 0, 0, 0, 0, 0};
            long calls;
            o.chunk = chunks[c % 3];
            o.n_threads = threads[c / 3];
            o.parallel.run = run_backwards;
            o.allocator.alloc = heap_alloc;
            o.allocator.free = heap_free;
            o.allocator.user = &heap;
            model = load_image(&m, &o);
            state = rwkv_state_new(model);
            calls = heap.calls;
            for (length = 0; length < 6; length++) {
                const int n = lengths[length];
                rwkv_state_reset(state);
                is[n] = -777;
                memset(state->rows, 0xA5, (size_t)o.chunk * sizeof *state->rows);
                CHECK_INT(rwkv_score(tokens, n, state, n ? is : NULL), RWKV_OK);
                for (k = 0; k < o.chunk; k++) { /* the scratch ends before it */
                    unsigned char junk[sizeof *state->rows];
                    memset(junk, 0xA5, sizeof junk);
                    if (!CHECK_SAME(&state->rows[k], junk, sizeof junk)) break;
                }
                for (t = 0; t < n; t++) {
                    if (!CHECK_MSG(memcmp(&is[t], &expected[t], sizeof *is) == 0,
                                   "V %d, %s, chunk %d, threads %d, token %d of %d: %.9g, expected %.9g",
                                   s->V, o.isa, o.chunk, o.n_threads, t, n, (double)is[t],
                                   (double)expected[t])) break;
                }
                CHECK(is[n] == -777);
                now = saved(state, &bytes);
                CHECK_SAME(now, after[n], bytes);
                free(now);
                if (n > 1) { /* in two parts, with the state's present logits between */
                    rwkv_state_reset(state);
                    CHECK(rwkv_eval_sequence(tokens, n / 3, state) != NULL);
                    CHECK_INT(rwkv_score(tokens + n / 3, n - n / 3, state, is), RWKV_OK);
                    CHECK_SAME(is, expected + n / 3, (size_t)(n - n / 3) * sizeof *is);
                    is[0] = rwkv_logprob(state, tokens[0]);
                    rwkv_state_reset(state); /* the logits are those of a sequence */
                    CHECK(rwkv_eval_sequence(tokens, n, state) != NULL);
                    is[1] = rwkv_logprob(state, tokens[0]);
                    CHECK_SAME(&is[0], &is[1], sizeof *is);
                }
            }
            CHECK_INT(heap.calls, calls);
            rwkv_state_free(state);
            rwkv_free(model);
            CHECK_INT(heap.errors, 0);
            CHECK_INT(heap.live, 0);
        }
    }
    for (t = 0; t <= LONGEST; t++) free(after[t]);
    model_image_free(&m);
}

static void score_is_step_by_step(void)
{
    int i;
    for (i = 0; i < N_SHAPES; i++) check_score(&shapes[i]);
}

/* A head with infinite and NaN weights: as rwkv_logprob says, and no further.  */
static void hostile_head(void)
{
    const float odd[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    int k, t, tokens[30];
    float is[30];
    random_tokens(1, shapes[1].V, tokens, 30);
    for (k = 0; k < 3; k++) {
        model_image m = model_image_new(&shapes[1]);
        rwkv_model *model;
        rwkv_state *a, *b;
        image_set(&m, HEAD, 0, 300, 5, odd[k]);
        model = load_image(&m, NULL);
        a = rwkv_state_new(model);
        b = rwkv_state_new(model);
        CHECK_INT(rwkv_score(tokens, 30, a, is), RWKV_OK);
        for (t = 0; t < 30; t++) {
            float x = rwkv_logprob(b, tokens[t]);
            CHECK_MSG(x == is[t] || (isnan(x) && isnan(is[t])), "%g, expected %g", (double)is[t],
                      (double)x);
            CHECK(rwkv_eval(tokens[t], b) != NULL);
        }
        rwkv_state_free(a);
        rwkv_state_free(b);
        rwkv_free(model);
        model_image_free(&m);
    }
}

static void errors_change_nothing(void)
{
    model_image m = model_image_new(&shapes[0]);
    rwkv_model *model = load_image(&m, NULL);
    rwkv_state *state = rwkv_state_new(model);
    int tokens[3] = {1, 2, 3};
    float is[3] = {7, 7, 7};
    size_t bytes;
    uint8_t *before, *after;
    CHECK(rwkv_eval(5, state) != NULL);
    before = saved(state, &bytes);
    CHECK_INT(rwkv_score(tokens, 3, NULL, is), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_score(NULL, 3, state, is), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_score(tokens, 3, state, NULL), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_score(tokens, -1, state, is), RWKV_ERR_ARGUMENT);
    tokens[2] = shapes[0].V;
    CHECK_INT(rwkv_score(tokens, 3, state, is), RWKV_ERR_ARGUMENT);
    tokens[2] = -1;
    CHECK_INT(rwkv_score(tokens, 3, state, is), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_score(NULL, 0, state, NULL), RWKV_OK);
    CHECK(is[0] == 7 && is[1] == 7 && is[2] == 7);
    after = saved(state, &bytes);
    CHECK_SAME(after, before, bytes);
    free(before);
    free(after);
    rwkv_state_free(state);
    rwkv_free(model);
    model_image_free(&m);
}

/* ---- a real model --------------------------------------------------------- */

static double bits_per_byte(rwkv_model *model, const char *text)
{
    const int n = rwkv_tokenize(model, text, strlen(text), NULL, 0);
    int *tokens = (int *)test_alloc((size_t)(n + 1) * sizeof *tokens), i;
    float *is = (float *)test_alloc((size_t)(n + 1) * sizeof *is);
    rwkv_state *state = rwkv_state_new(model);
    double sum = 0;
    tokens[0] = 0;
    rwkv_tokenize(model, text, strlen(text), tokens + 1, n);
    CHECK_INT(rwkv_score(tokens, n + 1, state, is), RWKV_OK);
    for (i = 1; i <= n; i++) sum -= (double)is[i];
    rwkv_state_free(state);
    free(tokens);
    free(is);
    return sum / log(2) / (double)strlen(text);
}

static void stories_are_likely(void)
{
    rwkv_model *model = rwkv_load("examples/story.rwkv", NULL, NULL);
    double story, shuffled, noise;
    if (!model) SKIP("examples/story.rwkv is not here");
    story = bits_per_byte(model, "Once upon a time, there was a little girl named Lily. She loved to "
                                 "play with her toys. One day, she went to the park with her mom.");
    shuffled = bits_per_byte(model, "day toys was the little went with a park, loved Once named time, "
                                    "to there One upon her mom. she play She girl Lily. to with her");
    noise = bits_per_byte(model, "qXv9#kz~ J0w%%Pu7{hG3]rB^y5@Lm!cN8&tD2*sF6(aE1)oI4?");
    CHECK_MSG(story > 0.05 && story < 0.5, "%g bits per byte", story);
    CHECK_MSG(shuffled > 2 * story && noise > 2 * shuffled, "%g, %g, %g", story, shuffled, noise);
    rwkv_free(model);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(logarithm);
    RUN(close_to_double);
    RUN(odd_logits);
    RUN(all_probabilities);
    RUN(odd_probabilities);
    RUN(score_is_step_by_step);
    RUN(hostile_head);
    RUN(errors_change_nothing);
    RUN(stories_are_likely);
    return test_end();
}
