/* test_forward.c: one token, many tokens, all logits, many states, any chunk, any
 * isa, any number of threads: the same bits. Errors change nothing. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { LONGEST = 40, BATCH = 20 };

static const shape shapes[] = {
    {37, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {30, 33, 33, 132, 1, RWKV_TYPE_F16, TOKENIZER_NONE, KEYS, 2},
    {29, 20, 31, 40, 2, RWKV_TYPE_BF16, TOKENIZER_NONE, DECAYS, 3},
    {3, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 4},
    {30, 33, 20, 40, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 5},
    {29, 20, 40, 33, 2, RWKV_TYPE_Q4, TOKENIZER_NONE, DECAYS, 6},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const int chunks[] = {1, 2, 7, 3, 13, 12, 64, 16};
enum { N_CHUNKS = sizeof chunks / sizeof *chunks };

/* What is true: the state and the logits after each number of tokens, token by
 * token, on one thread, scalar, chunk 1.                                     */
typedef struct truth {
    shape    s;
    int      tokens[LONGEST];
    size_t   bytes;                  /* of a saved state                      */
    uint8_t *state[LONGEST + 1];     /* saved after n tokens                  */
    float   *logits[LONGEST + 1];    /* (V)                                   */
} truth;

static truth truth_new(const model_image *m)
{
    rwkv_options o = options_isa("scalar");
    rwkv_model *model;
    rwkv_state *state;
    truth t;
    int n;
    o.chunk = 1;
    o.n_threads = 1;
    t.s = m->s;
    random_tokens(m->s.seed + 9, m->s.V, t.tokens, LONGEST);
    model = load_image(m, &o);
    state = rwkv_state_new(model);
    for (n = 0; n <= LONGEST; n++) {
        if (n > 0) CHECK(rwkv_eval(t.tokens[n - 1], state) != NULL);
        t.state[n] = saved(state, &t.bytes);
        t.logits[n] = (float *)test_alloc(sizeof(float) * (size_t)m->s.V);
        memcpy(t.logits[n], rwkv_logits(state), sizeof(float) * (size_t)m->s.V);
    }
    rwkv_state_free(state);
    rwkv_free(model);
    return t;
}

static void truth_free(truth *t)
{
    int n;
    for (n = 0; n <= LONGEST; n++) {
        free(t->state[n]);
        free(t->logits[n]);
    }
}

/* The state is exactly that after n tokens.                                  */
static int check_state(const rwkv_state *state, const truth *t, int n, const char *what, int with)
{
    size_t bytes;
    uint8_t *is = saved(state, &bytes);
    int same = CHECK_INT(bytes, t->bytes) && memcmp(is, t->state[n], bytes) == 0 &&
               memcmp(rwkv_logits(state), t->logits[n], sizeof(float) * (size_t)t->s.V) == 0;
    CHECK_MSG(same, "%s (%d) differs after %d tokens", what, with, n);
    free(is);
    return same;
}

static void check_sequences(const rwkv_model *model, const truth *t, int chunk)
{
    rwkv_state *state = rwkv_state_new(model);
    int n, split;
    for (n = 0; n <= LONGEST; n++) {
        rwkv_state_reset(state);
        CHECK(rwkv_eval_sequence(t->tokens, n, state) == rwkv_logits(state));
        if (!check_state(state, t, n, "eval_sequence, chunk", chunk)) break;
        if (n % 4 != 0) continue;
        split = n / 3;
        rwkv_state_reset(state);
        CHECK(rwkv_eval_sequence(t->tokens, split, state) != NULL);
        CHECK(rwkv_eval_sequence(t->tokens + split, n - split, state) != NULL);
        if (!check_state(state, t, n, "eval_sequence in two, chunk", chunk)) break;
    }
    rwkv_state_free(state);
}

static void check_all(const rwkv_model *model, const truth *t, int chunk)
{
    size_t V = (size_t)t->s.V, guard = V * LONGEST;
    float *all = (float *)test_alloc(sizeof(float) * (guard + 1));
    rwkv_state *state = rwkv_state_new(model);
    int n, i;
    for (n = 0; n <= LONGEST; n++) {
        for (i = 0; i <= (int)guard; i++) all[i] = -777;
        rwkv_state_reset(state);
        CHECK_INT(rwkv_eval_all(t->tokens, n, state, n ? all : NULL), RWKV_OK);
        for (i = 0; i < n; i++) {
            CHECK_MSG(memcmp(all + (size_t)i * V, t->logits[i + 1], sizeof(float) * V) == 0,
                      "chunk %d: logits %d of %d differ", chunk, i, n);
        }
        CHECK_MSG(all[(size_t)n * V] == -777, "chunk %d: wrote past the end of %d", chunk, n);
        if (!check_state(state, t, n, "eval_all, chunk", chunk)) break;
    }
    rwkv_state_free(state);
    free(all);
}

/* n states at different positions, in a mixed order, each gets its next token. */
static void check_batches(const rwkv_model *model, const truth *t, int chunk)
{
    rwkv_state *state[BATCH];
    int position[BATCH], tokens[BATCH], n, i, round;
    uint64_t seed = 5;
    for (i = 0; i < BATCH; i++) state[i] = rwkv_state_new(model);
    for (n = 1; n <= BATCH; n++) {
        for (i = 0; i < n; i++) {
            position[i] = random_below(&seed, LONGEST - 2);
            CHECK_INT(rwkv_state_load(state[i], t->state[position[i]], t->bytes), RWKV_OK);
        }
        for (round = 0; round < 2; round++) {
            for (i = 0; i < n; i++) tokens[i] = t->tokens[position[i]++];
            CHECK_INT(rwkv_eval_batch(tokens, state, n), RWKV_OK);
            for (i = 0; i < n; i++) {
                check_state(state[i], t, position[i], "eval_batch, chunk", chunk);
            }
        }
    }
    CHECK_INT(rwkv_eval_batch(tokens, state, 0), RWKV_OK);
    CHECK_INT(rwkv_eval_batch(NULL, NULL, 0), RWKV_OK);
    for (i = 0; i < BATCH; i++) rwkv_state_free(state[i]);
}

/* Two states at different positions take steps in turn; the one ends its tokens early
 * and leaves the rest to rwkv_eval_end. Returns the steps of a token.        */
static int check_steps(const rwkv_model *model, const truth *t, int chunk)
{
    rwkv_state *a = rwkv_state_new(model), *b = rwkv_state_new(model);
    int n, i, left, steps;
    CHECK_INT(rwkv_eval_begin(t->tokens[0], a), RWKV_OK);
    for (steps = 1; rwkv_eval_step(a) > 0;) steps++;
    CHECK_INT(rwkv_eval_step(a), 0);
    CHECK(rwkv_eval_end(a) != NULL);
    check_state(a, t, 1, "in steps, chunk", chunk);
    for (n = 1; n < LONGEST; n++) {
        CHECK_INT(rwkv_eval_begin(t->tokens[n], a), RWKV_OK);
        CHECK_INT(rwkv_eval_begin(t->tokens[n - 1], b), RWKV_OK);
        for (i = 0; i < steps; i++) {
            left = rwkv_eval_step(a);
            CHECK_INT(left, steps - 1 - i);
            if (i < n % (steps + 1)) CHECK_INT(rwkv_eval_step(b), left);
        }
        CHECK(rwkv_eval_end(b) != NULL);
        CHECK(rwkv_eval_end(a) != NULL);
        if (!check_state(a, t, n + 1, "in steps, chunk", chunk)) break;
        if (!check_state(b, t, n, "ended early, chunk", chunk)) break;
    }
    rwkv_state_free(a);
    rwkv_state_free(b);
    return steps;
}

static void check_shape(const shape *s)
{
    static const int threads[] = {1, 3, 8};
    model_image m = model_image_new(s);
    truth t = truth_new(&m);
    const char *isa;
    int i, c, k;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        /* every other chunk: all numbers of tokens are still seen, in the largest */
        for (c = 0; c < N_CHUNKS; c += isa_is_slow(isa) ? 2 : 1) {
            for (k = 0; k < (chunks[c] == 1 || chunks[c] == 13 ? 3 : 1); k++) {
                rwkv_options o = options_isa(isa);
                rwkv_model *model;
                o.chunk = chunks[c];
                o.n_threads = threads[k];
                o.parallel.run = run_backwards;
                model = load_image(&m, &o);
                check_sequences(model, &t, chunks[c]);
                check_all(model, &t, chunks[c]);
                check_batches(model, &t, chunks[c]);
                CHECK_INT(check_steps(model, &t, chunks[c]), s->L + 1);
                rwkv_free(model);
            }
        }
    }
    truth_free(&t);
    model_image_free(&m);
}

static void f32_is_one_result(void) { check_shape(&shapes[0]); }
static void f16_is_one_result(void) { check_shape(&shapes[1]); }
static void bf16_is_one_result(void) { check_shape(&shapes[2]); }
static void smallest_is_one_result(void) { check_shape(&shapes[3]); }
static void q8_is_one_result(void) { check_shape(&shapes[4]); }
static void q4_is_one_result(void) { check_shape(&shapes[5]); }

/* A vocabulary that has more weights than a layer.                            */
static void large_head_in_steps(void)
{
    static const rwkv_type types[] = {RWKV_TYPE_F32, RWKV_TYPE_F16, RWKV_TYPE_Q8, RWKV_TYPE_Q4};
    shape s = {2003, 40, 40, 40, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 7};
    int type, i;
    for (type = 0; type < 4; type++) {
        rwkv_options o = options_isa(NULL);
        model_image m;
        truth t;
        s.type = types[type];
        m = model_image_new(&s);
        t = truth_new(&m);
        o.parallel.run = run_backwards;
        for (i = 0; (o.isa = rwkv_isa_available(i)) != NULL; i++) {
            rwkv_model *model;
            rwkv_state *state;
            int steps;
            o.n_threads = 1 + i % 3;
            model = load_image(&m, &o);
            steps = check_steps(model, &t, 0);
            CHECK_MSG(steps > s.L + 3 && steps < s.L + 20, "type %d: %d steps", (int)s.type, steps);
            state = rwkv_state_new(model); /* whose logits the head makes at once       */
            CHECK(rwkv_eval_sequence(t.tokens, LONGEST, state) != NULL);
            check_state(state, &t, LONGEST, "eval_sequence, large head", 0);
            CHECK_INT(rwkv_state_load(state, t.state[3], t.bytes), RWKV_OK);
            check_state(state, &t, 3, "loaded, large head", 0);
            rwkv_state_free(state);
            rwkv_free(model);
        }
        truth_free(&t);
        model_image_free(&m);
    }
}

/* Wide enough for many panels and blocks of columns, and so many tokens that the
 * chunks are full; with chunks and lengths around what kernels may be built of. */
static void check_long(rwkv_type type)
{
    enum { TOKENS = 200 };
    static const int some_chunks[] = {0, 1, 5, 12, 100, 65};
    static const int lengths[] = {1, 11, 13, 24, 63, 65, 83, 85, 97, 129, 169, TOKENS};
    shape s = {200, 192, 530, 700, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 8};
    model_image m;
    rwkv_model *model;
    rwkv_state *one, *state;
    rwkv_options o = options_isa("scalar");
    uint8_t *truth_at[TOKENS + 1];
    size_t bytes, k;
    int tokens[TOKENS], i, c, t;
    s.type = type;
    m = model_image_new(&s);
    random_tokens(5, s.V, tokens, TOKENS);
    o.chunk = 1;
    model = load_image(&m, &o);
    one = rwkv_state_new(model);
    for (t = 0; t < TOKENS; t++) {
        CHECK(rwkv_eval(tokens[t], one) != NULL);
        truth_at[t + 1] = saved(one, &bytes);
    }
    for (i = 0; (o.isa = rwkv_isa_available(i)) != NULL; i++) {
        const int slow = isa_is_slow(o.isa);
        for (c = 0; c < (i == 0 ? 1 : slow ? 3 : 6); c++) {
            rwkv_model *other;
            o.chunk = some_chunks[c];
            o.n_threads = c % 2 ? 5 : 1;
            o.parallel.run = run_backwards;
            other = load_image(&m, &o);
            state = rwkv_state_new(other);
            for (k = 0; k < 12; k++) {
                uint8_t *is;
                if (slow && k % 4 != 3) continue;
                rwkv_state_reset(state);
                CHECK(rwkv_eval_sequence(tokens, lengths[k], state) != NULL);
                is = saved(state, &bytes);
                CHECK_MSG(memcmp(is, truth_at[lengths[k]], bytes) == 0,
                          "%s type %d chunk %d, %d tokens", o.isa, (int)type, o.chunk, lengths[k]);
                free(is);
            }
            CHECK_SAME(rwkv_logits(state), rwkv_logits(one), sizeof(float) * (size_t)s.V);
            rwkv_state_free(state);
            rwkv_free(other);
        }
    }
    for (t = 1; t <= TOKENS; t++) free(truth_at[t]);
    rwkv_state_free(one);
    rwkv_free(model);
    model_image_free(&m);
}

static void long_f32_is_one_result(void) { check_long(RWKV_TYPE_F32); }
static void long_f16_is_one_result(void) { check_long(RWKV_TYPE_F16); }
static void long_bf16_is_one_result(void) { check_long(RWKV_TYPE_BF16); }
static void long_q8_is_one_result(void) { check_long(RWKV_TYPE_Q8); }
static void long_q4_is_one_result(void) { check_long(RWKV_TYPE_Q4); }

/* ---- errors ------------------------------------------------------------- */

/* The first case with some states at work, and what they were before.        */
typedef struct scene {
    model_image m;
    truth       t;
    rwkv_model *model;
    rwkv_state *state;    /* after 10 tokens                                   */
} scene;

static scene scene_new(void)
{
    scene c;
    c.m = model_image_new(&shapes[0]);
    c.t = truth_new(&c.m);
    c.model = load_image(&c.m, NULL);
    c.state = rwkv_state_new(c.model);
    CHECK(rwkv_eval_sequence(c.t.tokens, 10, c.state) != NULL);
    return c;
}

static void scene_free(scene *c)
{
    rwkv_state_free(c->state);
    rwkv_free(c->model);
    truth_free(&c->t);
    model_image_free(&c->m);
}

static const int bad_tokens[] = {-1, 37, 38, 1000000, 2147483647, -2147483647 - 1};
enum { N_BAD = sizeof bad_tokens / sizeof *bad_tokens };

static void bad_token_alone(void)
{
    scene c = scene_new();
    int i;
    for (i = 0; i < N_BAD; i++) {
        CHECK(rwkv_eval(bad_tokens[i], c.state) == NULL);
        check_state(c.state, &c.t, 10, "bad token", bad_tokens[i]);
    }
    CHECK(rwkv_eval(c.t.tokens[10], c.state) != NULL);
    check_state(c.state, &c.t, 11, "after bad tokens", 0);
    scene_free(&c);
}

/* At every place of a sequence longer than a chunk.                          */
static void bad_token_in_a_sequence(void)
{
    scene c = scene_new();
    int tokens[200], at, i;
    float *all = (float *)test_alloc(sizeof(float) * 37 * 200);
    random_tokens(3, 37, tokens, 200);
    for (at = 0; at < 200; at += at < 20 ? 1 : 13) {
        int good = tokens[at];
        for (i = 0; i < N_BAD; i++) {
            tokens[at] = bad_tokens[i];
            CHECK(rwkv_eval_sequence(tokens, 200, c.state) == NULL);
            check_state(c.state, &c.t, 10, "eval_sequence, bad token at", at);
            CHECK_INT(rwkv_eval_all(tokens, 200, c.state, all), RWKV_ERR_ARGUMENT);
            check_state(c.state, &c.t, 10, "eval_all, bad token at", at);
        }
        tokens[at] = good;
    }
    free(all);
    scene_free(&c);
}

static void bad_arguments(void)
{
    scene c = scene_new();
    float logits[37];
    CHECK(rwkv_eval(1, NULL) == NULL);
    CHECK(rwkv_eval_sequence(c.t.tokens, 5, NULL) == NULL);
    CHECK(rwkv_eval_sequence(NULL, 5, c.state) == NULL);
    CHECK(rwkv_eval_sequence(c.t.tokens, -1, c.state) == NULL);
    CHECK(rwkv_eval_sequence(c.t.tokens, -2147483647 - 1, c.state) == NULL);
    CHECK_INT(rwkv_eval_all(NULL, 1, c.state, logits), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_all(c.t.tokens, 1, NULL, logits), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_all(c.t.tokens, 1, c.state, NULL), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_all(c.t.tokens, -1, c.state, logits), RWKV_ERR_ARGUMENT);
    check_state(c.state, &c.t, 10, "bad arguments", 0);
    CHECK(rwkv_eval_sequence(NULL, 0, c.state) == rwkv_logits(c.state));
    CHECK_INT(rwkv_eval_all(NULL, 0, c.state, NULL), RWKV_OK);
    check_state(c.state, &c.t, 10, "no tokens", 0);
    CHECK(rwkv_logits(NULL) == NULL);
    CHECK(rwkv_hidden(NULL) == NULL);
    scene_free(&c);
}

/* Whatever is wrong with a batch, and wherever: no state moves.              */
static void bad_batches(void)
{
    enum { N = 6 };
    scene c = scene_new();
    rwkv_model *other = load_image(&c.m, NULL);
    rwkv_state *state[N], *good, *foreign = rwkv_state_new(other);
    int tokens[N] = {1, 2, 3, 4, 5, 6}, i, j, k;
    for (i = 0; i < N; i++) {
        state[i] = rwkv_state_new(c.model);
        CHECK(rwkv_eval_sequence(c.t.tokens, i, state[i]) != NULL);
    }
    for (i = 0; i < N; i++) {
        for (k = 0; k < N_BAD; k++) {
            tokens[i] = bad_tokens[k];
            CHECK_INT(rwkv_eval_batch(tokens, state, N), RWKV_ERR_ARGUMENT);
        }
        tokens[i] = i + 1;
        good = state[i];
        state[i] = NULL;
        CHECK_INT(rwkv_eval_batch(tokens, state, N), RWKV_ERR_ARGUMENT);
        state[i] = foreign;
        CHECK_INT(rwkv_eval_batch(tokens, state, N), RWKV_ERR_MISMATCH);
        for (j = 0; j < N; j++) {
            if (j == i) continue;
            state[i] = state[j];
            CHECK_INT(rwkv_eval_batch(tokens, state, N), RWKV_ERR_ARGUMENT);
        }
        state[i] = good;
    }
    CHECK_INT(rwkv_eval_batch(NULL, state, N), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_batch(tokens, NULL, N), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_batch(tokens, state, -1), RWKV_ERR_ARGUMENT);
    for (i = 0; i < N; i++) check_state(state[i], &c.t, i, "bad batch, state", i);
    check_state(foreign, &c.t, 0, "bad batch, foreign state", 0);
    for (i = 0; i < N; i++) tokens[i] = c.t.tokens[i];
    CHECK_INT(rwkv_eval_batch(tokens, state, N), RWKV_OK); /* and they all still go on */
    for (i = 0; i < N; i++) check_state(state[i], &c.t, i + 1, "after bad batches, state", i);
    for (i = 0; i < N; i++) rwkv_state_free(state[i]);
    rwkv_state_free(foreign);
    rwkv_free(other);
    scene_free(&c);
}

/* The logits stay until the next evaluation, and belong to their state.      */
static void logits_belong_to_their_state(void)
{
    scene c = scene_new();
    rwkv_state *other = rwkv_state_clone(c.state);
    const float *logits = rwkv_eval(c.t.tokens[10], c.state);
    int i;
    CHECK(logits == rwkv_logits(c.state));
    CHECK(rwkv_logits(other) != logits);
    for (i = 0; i < 20; i++) CHECK(rwkv_eval(i, other) != NULL);
    check_state(c.state, &c.t, 11, "while another state ran", 0);
    rwkv_state_free(other);
    scene_free(&c);
}

/* What every function does with a state that has taken some steps of a token: nothing. */
static void check_refused(scene *c, rwkv_state *other)
{
    rwkv_state *both[2];
    rwkv_sampler sampler = {0};
    float all[37], logprob;
    uint8_t out[8];
    int tokens[2] = {1, 2}, n;
    CHECK_INT(rwkv_eval_begin(3, c->state), RWKV_ERR_ARGUMENT);
    CHECK(rwkv_eval(3, c->state) == NULL);
    CHECK(rwkv_eval_sequence(tokens, 2, c->state) == NULL);
    CHECK(rwkv_eval_sequence(NULL, 0, c->state) == NULL);
    CHECK_INT(rwkv_eval_all(tokens, 1, c->state, all), RWKV_ERR_ARGUMENT);
    both[0] = other;
    both[1] = c->state;
    CHECK_INT(rwkv_eval_batch(tokens, both, 2), RWKV_ERR_ARGUMENT);
    check_state(other, &c->t, 10, "beside a state in the midst of a token", 0);
    CHECK_INT(rwkv_score(tokens, 1, c->state, &logprob), RWKV_ERR_ARGUMENT);
    logprob = rwkv_logprob(c->state, 1);
    CHECK(logprob != logprob);
    CHECK(rwkv_logits(c->state) == NULL);
    CHECK(rwkv_hidden(c->state) == NULL);
    CHECK_INT(rwkv_sample(&sampler, c->state), -1);
    CHECK(rwkv_state_clone(c->state) == NULL);
    rwkv_state_copy(other, c->state);
    check_state(other, &c->t, 10, "copied from the midst of a token", 0);
    CHECK_INT(rwkv_state_save(c->state, NULL, 0), 0);
    CHECK_INT(rwkv_state_save(c->state, out, sizeof out), 0);
    CHECK(rwkv_state_view(c->state, RWKV_PART_ATT_A, 0, &n) == NULL);
    CHECK_INT(n, 0);
    CHECK_INT(rwkv_state_load(c->state, c->t.state[3], c->t.bytes - 1), RWKV_ERR_FORMAT);
}

static void nothing_else_in_between(void)
{
    scene c = scene_new();
    rwkv_state *other = rwkv_state_clone(c.state);
    int i, k, way;
    CHECK_INT(rwkv_eval_step(NULL), 0);
    CHECK(rwkv_eval_end(NULL) == NULL);
    CHECK_INT(rwkv_eval_begin(0, NULL), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_eval_step(c.state), 0); /* nothing is begun                           */
    CHECK(rwkv_eval_end(c.state) == NULL);
    for (i = 0; i < N_BAD; i++) CHECK_INT(rwkv_eval_begin(bad_tokens[i], c.state), RWKV_ERR_ARGUMENT);
    check_state(c.state, &c.t, 10, "no token begun", 0);
    for (k = 0; k <= 3; k++) { /* steps taken                                            */
        CHECK_INT(rwkv_state_load(c.state, c.t.state[10], c.t.bytes), RWKV_OK);
        CHECK_INT(rwkv_eval_begin(c.t.tokens[10], c.state), RWKV_OK);
        for (i = 0; i < k; i++) rwkv_eval_step(c.state);
        check_refused(&c, other);
        CHECK(rwkv_eval_end(c.state) != NULL);
        CHECK(rwkv_eval_end(c.state) == NULL);
        check_state(c.state, &c.t, 11, "refused, steps", k);
        for (way = 0; way < 3; way++) { /* to give it up                                 */
            CHECK_INT(rwkv_eval_begin(c.t.tokens[0], c.state), RWKV_OK);
            for (i = 0; i < k; i++) rwkv_eval_step(c.state);
            if (way == 0) rwkv_state_reset(c.state);
            if (way == 1) CHECK_INT(rwkv_state_load(c.state, c.t.state[5], c.t.bytes), RWKV_OK);
            if (way == 2) rwkv_state_copy(c.state, other);
            CHECK_INT(rwkv_eval_step(c.state), 0);
            check_state(c.state, &c.t, way == 0 ? 0 : way == 1 ? 5 : 10, "given up, way", way);
        }
    }
    CHECK_INT(rwkv_eval_begin(1, c.state), RWKV_OK);
    rwkv_eval_step(c.state);
    rwkv_state_free(other); /* and c.state in the midst                                  */
    scene_free(&c);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(smallest_is_one_result);
    RUN(f16_is_one_result);
    RUN(q4_is_one_result);
    if (!TEST_SLOW_MACHINE) {
        RUN(f32_is_one_result);
        RUN(bf16_is_one_result);
        RUN(q8_is_one_result);
        RUN(long_f32_is_one_result);
        RUN(long_f16_is_one_result);
        RUN(long_bf16_is_one_result);
        RUN(long_q8_is_one_result);
        RUN(long_q4_is_one_result);
    }
    RUN(large_head_in_steps);
    RUN(bad_token_alone);
    RUN(bad_token_in_a_sequence);
    RUN(bad_arguments);
    RUN(bad_batches);
    RUN(nothing_else_in_between);
    RUN(logits_belong_to_their_state);
    return test_end();
}
