/* test_sampler.c: the sampler against its documented order, done naively. */
#include "inside.h"
#include "test.h"
#include "model.h"

enum { V = 77 };

static const shape tiny = {V, 3, 3, 3, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

/* A state whose logits a test can write.                                     */
typedef struct scene {
    model_image m;
    rwkv_model *model;
    rwkv_state *state;
    float      *logits;
} scene;

static void scene_open(scene *c, const char *isa)
{
    rwkv_options o = options_isa(isa);
    c->m = model_image_new(&tiny);
    c->model = load_image(&c->m, &o);
    c->state = rwkv_state_new(c->model);
    CHECK(rwkv_eval(0, c->state) != NULL);
    c->logits = (float *)(uintptr_t)rwkv_logits(c->state);
}

static void scene_close(scene *c)
{
    rwkv_state_free(c->state);
    rwkv_free(c->model);
    model_image_free(&c->m);
}

static rwkv_sampler sampler_new(float temperature, float top_p, int top_k, uint64_t seed)
{
    rwkv_sampler s;
    memset(&s, 0, sizeof s);
    s.temperature = temperature;
    s.top_p = top_p;
    s.top_k = top_k;
    s.seed = seed;
    return s;
}

/* Logits of a wide spread, as real ones have.                                */
static void random_logits(float *logits, uint64_t seed)
{
    int i;
    for (i = 0; i < V; i++) logits[i] = (float)random_uniform(&seed, -3, 3);
    for (i = 0; i < 8; i++) logits[random_below(&seed, V)] = (float)random_uniform(&seed, 3, 6);
}

/* ---- the documented order, in double ------------------------------------ */

/* Indices by falling probability, the lower id first among equals.           */
static void sort_by_probability(const double *p, int *order)
{
    int i, j;
    for (i = 0; i < V; i++) {
        int id = i;
        for (j = i; j > 0 && p[order[j - 1]] < p[id]; j--) order[j] = order[j - 1];
        order[j] = id;
    }
}

/* Probabilities to draw with, 0 for what is not kept. Returns how clear the cut of
 * top_p is: the distance of any partial sum from it.                         */
static double distribution(const rwkv_sampler *s, const float *logits, double *p)
{
    double x[V], most = -HUGE_VAL, sum = 0, margin = 1, cutoff;
    int order[V], i, n;
    for (i = 0; i < V; i++) {
        x[i] = (double)logits[i];
        if (s->counts && s->counts[i] > 0) {                                       /* 1 */
            x[i] -= (double)s->presence + (double)s->frequency * (double)s->counts[i];
        }
        most = fmax(most, x[i]);
    }
    for (i = 0; i < V; i++) sum += p[i] = exp(x[i] - most);                        /* 2 */
    for (i = 0; i < V; i++) p[i] /= sum;
    sort_by_probability(p, order);
    if (s->top_p > 0 && s->top_p < 1) {                                            /* 3 */
        for (n = 0, sum = 0; n < V && sum < (double)s->top_p; n++) {
            sum += p[order[n]];
            margin = fmin(margin, fabs(sum - (double)s->top_p));
        }
        cutoff = p[order[n - 1]];
        for (i = 0; i < V; i++) p[i] = p[i] >= cutoff ? p[i] : 0;
    }
    if (s->top_k > 0) {                                                            /* 4 */
        for (i = s->top_k; i < V; i++) p[order[i]] = 0;
    }
    for (i = 0, sum = 0; i < V; i++) {                                             /* 5 */
        if (p[i] > 0) sum += p[i] = pow(p[i], 1 / (double)s->temperature);
    }
    for (i = 0; i < V; i++) p[i] /= sum;
    return margin;
}

/* Draw many times: nothing but kept tokens, each about as often as it should: within
 * five standard deviations (and a little), which a right sampler exceeds in one of
 * a million of these checks. The seeds are fixed: it holds or it does not.   */
static void check_frequencies(scene *c, const rwkv_sampler *s, int one_seed)
{
    enum { DRAWS = 20000 };
    double p[V];
    int seen[V] = {0}, i;
    rwkv_sampler run = *s;
    float before[V];
    if (distribution(s, c->logits, p) < 1e-5) return; /* a cut too close to call */
    memcpy(before, c->logits, sizeof before);
    for (i = 0; i < DRAWS; i++) {
        float counts[V];
        int token;
        if (!one_seed) run.seed = (uint64_t)i;
        if (s->counts) { /* each draw from the same counts */
            memcpy(counts, s->counts, sizeof counts);
            run.counts = counts;
        }
        token = rwkv_sample(&run, c->state);
        if (!CHECK_MSG(token >= 0 && token < V, "token %d", token)) return;
        seen[token]++;
    }
    CHECK_SAME(c->logits, before, sizeof before);
    for (i = 0; i < V; i++) {
        double expected = DRAWS * p[i], bound = 5 * sqrt(expected * (1 - p[i])) + 1;
        if (p[i] == 0) {
            CHECK_MSG(seen[i] == 0, "token %d is not kept but drawn %d times (T %g p %g k %d)", i,
                      seen[i], (double)s->temperature, (double)s->top_p, s->top_k);
        } else {
            CHECK_MSG(fabs(seen[i] - expected) <= bound,
                      "token %d drawn %d times, expected %.1f +- %.1f (T %g p %g k %d)", i, seen[i],
                      expected, bound, (double)s->temperature, (double)s->top_p, s->top_k);
        }
    }
}

static void frequencies(void)
{
    static const struct { float temperature, top_p; int top_k; } cases[] = {
        {1, 0, 0}, {1, 1, 0}, {1, 0.85f, 0}, {1, 0.5f, 0}, {1, 0, 5}, {1, 0, V + 10}, {1, 0, V},
        {0.7f, 0.85f, 0}, {2, 0.85f, 0}, {2, 0.9f, 4}, {0.5f, 0, 10}, {3, 0, 0}, {0.3f, 0.99f, 20},
        {1.2f, 0.5f, 2}, {1, 0.999f, 0}, {1, 0.01f, 0}, {5, 0.7f, 60}, {1, 2, 3}, {0.05f, 0, 0}};
    const char *isa;
    size_t k;
    int i;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        scene c;
        scene_open(&c, isa);
        for (k = 0; k < sizeof cases / sizeof *cases; k++) {
            rwkv_sampler s = sampler_new(cases[k].temperature, cases[k].top_p, cases[k].top_k, 1);
            random_logits(c.logits, k + 1);
            if (i == 0 || k % 4 == 0) check_frequencies(&c, &s, (int)(k & 1));
        }
        scene_close(&c);
    }
}

/* The exact kept set: no other token ever, each of these with its probability. */
static void frequencies_with_penalties(void)
{
    scene c;
    uint64_t seed;
    scene_open(&c, NULL);
    for (seed = 0; seed < 6; seed++) {
        rwkv_sampler s = sampler_new(1.1f, seed & 1 ? 0.9f : 0, seed & 2 ? 12 : 0, seed);
        float counts[V];
        uint64_t r = seed;
        int i;
        random_logits(c.logits, seed + 40);
        for (i = 0; i < V; i++) {
            counts[i] = random_below(&r, 3) ? 0 : (float)random_uniform(&r, 0, 4);
        }
        s.presence = 0.7f;
        s.frequency = 0.4f;
        s.decay = 0.9f;
        s.counts = counts;
        check_frequencies(&c, &s, 0);
    }
    scene_close(&c);
}

/* Tokens of the same probability as the last one kept are kept too; top_k takes the
 * lower ids of them.                                                         */
static void ties(void)
{
    scene c;
    rwkv_sampler s = sampler_new(1, 0.5f, 0, 0);
    int i;
    scene_open(&c, NULL);
    for (i = 0; i < V; i++) c.logits[i] = i % 10 == 3 ? 2.0f : -20.0f; /* 8 equal ones */
    check_frequencies(&c, &s, 0);
    s.top_k = 3;
    check_frequencies(&c, &s, 0);
    s.top_p = 0;
    check_frequencies(&c, &s, 1);
    s.top_k = 0;
    for (i = 0; i < V; i++) c.logits[i] = 0.25f; /* all equal */
    check_frequencies(&c, &s, 1);
    s.top_p = 0.3f;
    check_frequencies(&c, &s, 1);
    s.top_k = 1;
    check_frequencies(&c, &s, 1);
    scene_close(&c);
}

/* ---- greedy ------------------------------------------------------------- */

static int largest(const float *logits)
{
    int i, best = 0;
    for (i = 1; i < V; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

static void greedy(void)
{
    scene c;
    uint64_t seed;
    scene_open(&c, NULL);
    for (seed = 0; seed < 200; seed++) {
        rwkv_sampler zero = sampler_new(0, 0, 0, seed), one = sampler_new(1, 0, 1, seed);
        rwkv_sampler cold = sampler_new(1e-6f, 0, 0, seed), few = sampler_new(1, 1e-6f, 0, seed);
        rwkv_sampler both = sampler_new(0, 0.9f, 20, seed);
        random_logits(c.logits, seed);
        CHECK_INT(rwkv_sample(&zero, c.state), largest(c.logits));
        CHECK_INT(rwkv_sample(&one, c.state), largest(c.logits));
        CHECK_INT(rwkv_sample(&cold, c.state), largest(c.logits));
        CHECK_INT(rwkv_sample(&few, c.state), largest(c.logits));
        CHECK_INT(rwkv_sample(&both, c.state), largest(c.logits));
    }
    for (seed = 0; seed < V; seed++) { /* of equals the lowest */
        rwkv_sampler zero = sampler_new(0, 0, 0, 0);
        int i;
        for (i = 0; i < V; i++) c.logits[i] = i >= (int)seed ? 4.0f : 1.0f;
        CHECK_INT(rwkv_sample(&zero, c.state), seed);
    }
    scene_close(&c);
}

static void greedy_with_penalties(void)
{
    scene c;
    float counts[V] = {0};
    rwkv_sampler s = sampler_new(0, 0, 0, 0);
    int i;
    scene_open(&c, NULL);
    for (i = 0; i < V; i++) c.logits[i] = -1;
    c.logits[9] = 5;
    c.logits[4] = 4.5f;
    s.counts = counts;
    s.presence = 0.3f;
    s.frequency = 0.1f;
    CHECK_INT(rwkv_sample(&s, c.state), 9); /* 5 against 4.5                      */
    CHECK_INT(rwkv_sample(&s, c.state), 9); /* 5 - 0.3 - 0.1 = 4.6                */
    CHECK_INT(rwkv_sample(&s, c.state), 4); /* 5 - 0.3 - 0.2 = 4.5: the lower id  */
    CHECK_INT(counts[9], 2);
    CHECK_INT(counts[4], 1);
    scene_close(&c);
}

/* ---- counts ------------------------------------------------------------- */

/* Every count times decay, rounded to float, then one more for the drawn token. */
static void counts_arithmetic(void)
{
    static const float decays[] = {0, 1, 0.996f, 0.5f, 0.9f};
    scene c;
    size_t k;
    scene_open(&c, NULL);
    for (k = 0; k < sizeof decays / sizeof *decays; k++) {
        float counts[V] = {0}, expected[V] = {0};
        rwkv_sampler s = sampler_new(1.5f, 0.9f, 0, k);
        int t, i;
        s.counts = counts;
        s.decay = decays[k];
        s.presence = 0.2f;
        s.frequency = 0.2f;
        for (t = 0; t < 500; t++) {
            int token;
            random_logits(c.logits, (uint64_t)t);
            token = rwkv_sample(&s, c.state);
            if (!CHECK(token >= 0 && token < V)) break;
            for (i = 0; i < V; i++) {
                volatile float product = expected[i] * (decays[k] > 0 ? decays[k] : 1);
                expected[i] = product;
            }
            expected[token] += 1;
            if (!CHECK_SAME(counts, expected, sizeof counts)) break;
        }
    }
    scene_close(&c);
}

/* Without counts there are no penalties, whatever they are set to.           */
static void no_counts_no_penalties(void)
{
    scene c;
    rwkv_sampler a = sampler_new(1, 0.9f, 0, 5), b = a;
    int i;
    scene_open(&c, NULL);
    random_logits(c.logits, 3);
    b.presence = 100;
    b.frequency = 100;
    b.decay = 0.5f;
    for (i = 0; i < 200; i++) CHECK_INT(rwkv_sample(&a, c.state), rwkv_sample(&b, c.state));
    scene_close(&c);
}

/* ---- seeds -------------------------------------------------------------- */

static void same_seed_same_tokens(void)
{
    enum { DRAWS = 300 };
    int first[DRAWS], i, t;
    const char *isa;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        scene c;
        float counts[V] = {0};
        rwkv_sampler s = sampler_new(1.3f, 0.95f, 30, 123);
        scene_open(&c, isa);
        s.counts = counts;
        s.presence = 0.2f;
        s.frequency = 0.2f;
        s.decay = 0.996f;
        for (t = 0; t < DRAWS; t++) {
            int token;
            random_logits(c.logits, (uint64_t)t);
            token = rwkv_sample(&s, c.state);
            if (i == 0) first[t] = token;
            else CHECK_MSG(token == first[t], "%s draws %d, scalar %d", isa, token, first[t]);
        }
        scene_close(&c);
    }
}

static void seed_moves_on(void)
{
    scene c;
    rwkv_sampler s = sampler_new(1, 0, 0, 0), other;
    uint64_t last = 0;
    int i, t, different = 0, counts[V] = {0}, kinds = 0;
    scene_open(&c, NULL);
    for (i = 0; i < V; i++) c.logits[i] = 0;
    for (t = 0; t < 500; t++) {
        counts[rwkv_sample(&s, c.state)]++;
        CHECK_MSG(t == 0 || s.seed != last, "draw %d", t);
        last = s.seed;
    }
    for (i = 0; i < V; i++) kinds += counts[i] > 0;
    CHECK_MSG(kinds > V * 3 / 4, "%d tokens of %d in 500 draws", kinds, V);
    for (t = 0; t < 100; t++) { /* neighbouring seeds draw differently */
        s = sampler_new(1, 0, 0, (uint64_t)t);
        other = sampler_new(1, 0, 0, (uint64_t)t + 1);
        different += rwkv_sample(&s, c.state) != rwkv_sample(&other, c.state);
    }
    CHECK_MSG(different > 90, "%d of 100", different);
    scene_close(&c);
}

/* ---- odd logits and odd settings ---------------------------------------- */

static void check_valid(scene *c, const char *what)
{
    static const float temperatures[] = {0, 1, 1e-30f, 1e30f, -1, 0.5f, 2};
    static const float top_ps[] = {0, 0.5f, 1, 1e-30f, -1, 0.99999994f, 7};
    static const int top_ks[] = {0, 1, 3, V, V + 1, -1, 2147483647};
    float before[V];
    int i, j, k, token;
    memcpy(before, c->logits, sizeof before);
    for (i = 0; i < 7; i++) {
        for (j = 0; j < 7; j++) {
            for (k = 0; k < 7; k++) {
                float counts[V] = {1, 2, 3};
                rwkv_sampler s = sampler_new(temperatures[i], top_ps[j], top_ks[k], 9);
                if (k % 2) s.counts = counts;
                s.presence = s.frequency = 0.5f;
                token = rwkv_sample(&s, c->state);
                CHECK_MSG(token >= 0 && token < V, "%s: T %g top_p %g top_k %d: token %d", what,
                          (double)temperatures[i], (double)top_ps[j], top_ks[k], token);
            }
        }
    }
    CHECK_SAME(c->logits, before, sizeof before);
}

static void set_all(scene *c, float x)
{
    int i;
    for (i = 0; i < V; i++) c->logits[i] = x;
}

static int sample_once(scene *c, float temperature, float top_p, uint64_t seed)
{
    rwkv_sampler s = sampler_new(temperature, top_p, 0, seed);
    return rwkv_sample(&s, c->state);
}

static void odd_logits(void)
{
    /* not static, here and below: to tcc NAN is no constant */
    const float odd[] = {(float)NAN, (float)INFINITY, -(float)INFINITY, 0, 3.4e38f, -3.4e38f,
                         1e-45f};
    const char *isa;
    int n, i, seed;
    for (n = 0; (isa = rwkv_isa_available(n)) != NULL; n++) {
        scene c;
        scene_open(&c, isa);
        for (i = 0; i < 7; i++) {
            set_all(&c, odd[i]);
            check_valid(&c, "all the same");
            random_logits(c.logits, 1);
            c.logits[5] = odd[i];
            c.logits[V - 1] = odd[(i + 1) % 7];
            check_valid(&c, "one odd");
            random_logits(c.logits, 2);
            for (seed = 0; seed < V; seed += 2) c.logits[seed] = odd[i];
            check_valid(&c, "every other");
        }
        for (seed = 0; seed < 50; seed++) {
            uint64_t r = (uint64_t)seed;
            set_all(&c, -(float)INFINITY);      /* nothing has a probability: the lowest id */
            CHECK_INT(sample_once(&c, 1, 0.9f, r), 0);
            CHECK_INT(sample_once(&c, 0, 0, r), 0);
            set_all(&c, (float)NAN);
            CHECK_INT(sample_once(&c, 1, 0.9f, r), 0);
            CHECK_INT(sample_once(&c, 0, 0, r), 0);
            c.logits[33] = -1000;               /* the only one there is */
            CHECK_INT(sample_once(&c, 1, 0.9f, r), 33);
            CHECK_INT(sample_once(&c, 1, 0, r), 33);
            CHECK_INT(sample_once(&c, 0, 0, r), 33);
            c.logits[44] = -1000;               /* one of two; never a NaN */
            i = sample_once(&c, 1, 0, r);
            CHECK_MSG(i == 33 || i == 44, "token %d", i);
            random_logits(c.logits, r);
            c.logits[60] = (float)INFINITY;     /* larger than any other */
            CHECK_INT(sample_once(&c, 0, 0, r), 60);
            CHECK_INT(sample_once(&c, 1, 0.9f, r), 60);
        }
        scene_close(&c);
    }
}

/* As probable as the largest at temperature 1, in floats, and nothing beside it at
 * one near 0: top_k keeps the lower ids, and the largest is not among them.   */
static void kept_below_the_largest(void)
{
    scene c;
    int seed;
    scene_open(&c, NULL);
    set_all(&c, 0);
    c.logits[40] = 1e-9f;
    for (seed = 0; seed < 20; seed++) {
        rwkv_sampler s = sampler_new(1e-17f, 0, 3, (uint64_t)seed);
        int token = rwkv_sample(&s, c.state);
        CHECK_MSG(token >= 0 && token < 3, "token %d", token);
    }
    scene_close(&c);
}

static void odd_settings(void)
{
    const float odd[] = {(float)NAN, (float)INFINITY, -(float)INFINITY, -1, 1e-45f, 3e38f};
    scene c;
    int i, j, k;
    scene_open(&c, NULL);
    random_logits(c.logits, 8);
    for (i = 0; i < 6; i++) {
        for (j = 0; j < 6; j++) {
            for (k = 0; k < 6; k++) {
                float counts[V] = {1, 2, 3};
                rwkv_sampler s = sampler_new(odd[i], odd[j], 0, 1);
                int token;
                s.counts = counts;
                s.presence = odd[k];
                s.frequency = odd[j];
                s.decay = odd[i];
                counts[3] = odd[k];
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token >= 0 && token < V, "token %d", token);
            }
        }
    }
    scene_close(&c);
}

/* A long tail of tokens that are nothing beside the first: a float sum would stop
 * growing before it reaches top_p, and keep them all.                        */
static void long_tail(void)
{
    enum { N = 60000 };
    float *p = (float *)test_alloc(N * sizeof *p), *work = (float *)test_alloc(N * sizeof *p), cut;
    int i, ties, expected = 0;
    double sum = 0, reached = 0;
    for (i = 0; i < N; i++) work[i] = i ? 2e-8f : 1.0f;
    cut = inside_cut(work, N, 0.999, N, &ties);
    CHECK(cut == 2e-8f && ties == N - 1); /* all of the tail are equal */
    p[0] = 1;
    for (i = 1; i < N; i++) p[i] = 2e-8f * (1 - 1e-2f * (float)i / N);
    for (i = 0; i < N; i++) sum += (double)p[i];
    while (reached < 0.999 * sum) reached += (double)p[expected++];
    CHECK_MSG(expected > 1000 && expected < N / 2, "%d", expected);
    memcpy(work, p, N * sizeof *p);
    cut = inside_cut(work, N, 0.999, N, &ties);
    CHECK_MSG(cut == p[expected - 1], "%.9g, expected %.9g", (double)cut, (double)p[expected - 1]);
    for (i = 1; i <= N; i += i < 20 ? 1 : 997) { /* the k-th largest */
        memcpy(work, p, N * sizeof *p);
        cut = inside_cut(work, N, 1, i, &ties);
        CHECK_MSG(cut == p[i - 1] && ties >= 1, "%d: %.9g, %d of it", i, (double)cut, ties);
        memcpy(work, p, N * sizeof *p);
        cut = inside_cut(work, N, 0.999, i, &ties); /* the fewer of the two */
        CHECK_MSG(cut == p[(i < expected ? i : expected) - 1], "%d: %.9g", i, (double)cut);
    }
    free(work);
    free(p);
}

/* All tokens become equally likely, but for those that cannot be.            */
static void infinite_temperature(void)
{
    scene c;
    int seen[V] = {0}, distinct = 0, i;
    scene_open(&c, NULL);
    random_logits(c.logits, 3);
    c.logits[5] = -HUGE_VALF;
    for (i = 0; i < 2000; i++) {
        rwkv_sampler s = sampler_new(HUGE_VALF, 0, 0, (uint64_t)i);
        int token = rwkv_sample(&s, c.state);
        if (CHECK(token >= 0 && token < V)) seen[token]++;
    }
    for (i = 0; i < V; i++) distinct += seen[i] > 0;
    CHECK_INT(seen[5], 0);
    CHECK_INT(distinct, V - 1);
    scene_close(&c);
}

/* ---- draw by draw against a naive sampler, at many sizes ------------------ */

/* A state of any vocabulary.                                                 */
static scene sized_open(int n_vocab, const char *isa)
{
    shape s = tiny;
    rwkv_options o = options_isa(isa);
    scene c;
    s.V = n_vocab;
    c.m = model_image_new(&s);
    c.model = load_image(&c.m, &o);
    c.state = rwkv_state_new(c.model);
    CHECK(rwkv_eval(0, c.state) != NULL);
    c.logits = (float *)(uintptr_t)rwkv_logits(c.state);
    return c;
}

typedef struct ranked { double p; int id; } ranked;

static int by_probability(const void *a, const void *b)
{
    const ranked *x = (const ranked *)a, *y = (const ranked *)b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : x->id - y->id;
}

static int by_id(const void *a, const void *b)
{
    return ((const ranked *)a)->id - ((const ranked *)b)->id;
}

/* The token that the sampler must draw; -1 if two are too close to call. All in
 * double, by sorting; r is scratch of n.                                     */
static int naive_sample(const rwkv_sampler *s, const float *logits, int n, ranked *r)
{
    uint64_t seed = s->seed;
    double most = -HUGE_VAL, sum = 0, total = 0, drawn, near = 1;
    int i, kept = n;
    for (i = 0; i < n; i++) {
        volatile float x = logits[i];
        int k;
        for (k = 0; k < s->n_bias; k++) {
            if (s->bias[k].token == i) x = x + s->bias[k].add;
        }
        if (s->counts && s->counts[i] > 0) {
            x = x - (float)((double)s->frequency * (double)s->counts[i] + (double)s->presence);
        }
        r[i].id = i;
        r[i].p = (double)x;
        most = fmax(most, (double)x);
    }
    for (i = 0; i < n; i++) sum += r[i].p = exp(r[i].p - most);
    for (i = 0; i < n; i++) r[i].p /= sum;
    qsort(r, (size_t)n, sizeof *r, by_probability);
    if (s->top_p > 0 && s->top_p < 1) {
        for (kept = 0, sum = 0; kept < n && sum < (double)s->top_p; sum += r[kept++].p)
            near = fmin(near, fabs(sum + r[kept].p - (double)s->top_p));
        while (kept < n && r[kept].p == r[kept - 1].p) kept++;
    }
    if (s->top_k > 0 && s->top_k < kept) kept = s->top_k;
    if (s->min_p > 0) {
        for (i = 0; i < kept && r[i].p >= (double)s->min_p * r[0].p; i++)
            near = fmin(near, fabs(r[i].p - (double)s->min_p * r[0].p));
        if (i < kept) near = fmin(near, fabs(r[i].p - (double)s->min_p * r[0].p));
        kept = i;
    }
    if (near < 1e-7) return -1;
    qsort(r, (size_t)kept, sizeof *r, by_id);
    for (i = 0; i < kept; i++) total += pow(r[i].p, 1 / (double)s->temperature);
    drawn = (double)(random_bits(&seed) >> 11) / 9007199254740992.0 * total;
    for (i = 0, sum = 0; i < kept; i++) {
        sum += pow(r[i].p, 1 / (double)s->temperature);
        if (fabs(sum - drawn) < 2e-6 * total) return -1;
        if (sum > drawn) return r[i].id;
    }
    return -1;
}

static void as_a_naive_one(void)
{
    static const int sizes[] = {1, 2, 15, 16, 17, 1000, 65536};
    static const float temperatures[] = {1, 0.6f, 2.5f}, top_ps[] = {0, 0.3f, 0.85f, 0.999f};
    static const float min_ps[] = {0, 0.03f, 0.5f};
    size_t k;
    for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int n = sizes[k], rounds = n > 1000 ? 80 : TEST_SLOW_MACHINE ? 200 : 1500;
        int round, called = 0;
        ranked *r = (ranked *)test_alloc((size_t)n * sizeof *r);
        float *counts = (float *)test_alloc((size_t)n * sizeof *counts);
        scene c = sized_open(n, NULL);
        for (round = 0; round < rounds; round++) {
            uint64_t seed = (uint64_t)round * 7 + k;
            const int top_ks[] = {0, 1, 7, n / 2};
            const int spread = random_below(&seed, 3);
            rwkv_bias bias[5];
            rwkv_sampler s;
            int i, token, expected;
            s = sampler_new(temperatures[random_below(&seed, 3)], top_ps[random_below(&seed, 4)],
                            top_ks[random_below(&seed, 4)], seed);
            s.min_p = min_ps[random_below(&seed, 3)];
            for (i = 0; i < n; i++) {
                double x = random_uniform(&seed, -1, 1);
                x = spread == 0 ? x * 0.2 : spread == 1 ? 6 * x : 4 * x * x * x;
                c.logits[i] = (float)(round % 3 ? x : floor(4 * x) / 4); /* ties */
                counts[i] = random_below(&seed, 4) ? 0 : (float)random_below(&seed, 5);
            }
            if (round % 2) {
                s.counts = counts;
                s.presence = 0.25f;
                s.frequency = 0.5f;
            }
            if (round % 4 > 1) {
                for (i = 0; i < 5; i++) {
                    bias[i].token = random_below(&seed, n);
                    bias[i].add = i < 3 ? (float)random_uniform(&seed, -2, 3)
                                        : i < n - 1 ? -HUGE_VALF : 0;
                }
                s.bias = bias;
                s.n_bias = 5;
            }
            expected = naive_sample(&s, c.logits, n, r);
            token = rwkv_sample(&s, c.state);
            if (expected < 0) continue;
            called++;
            CHECK_MSG(token == expected, "V %d, round %d: %d, expected %d (T %g p %g k %d min %g)", n,
                      round, token, expected, (double)s.temperature, (double)s.top_p, s.top_k,
                      (double)s.min_p);
        }
        CHECK_MSG(called > rounds / 2, "V %d: only %d of %d were clear", n, called, rounds);
        scene_close(&c);
        free(r);
        free(counts);
    }
}

/* Ten thousand draws, the same on every instruction set and every machine.   */
static void checksum(void)
{
    enum { N = 1000, DRAWS = 10000 };
    const char *isa;
    int i;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        scene c = sized_open(N, isa);
        float *counts = (float *)test_alloc(N * sizeof *counts);
        rwkv_bias bias[2] = {{3, -HUGE_VALF}, {17, 0.5f}};
        rwkv_sampler s = sampler_new(1, 0, 0, 2024);
        uint64_t hash = 0, seed = 1;
        int t, k;
        memset(counts, 0, N * sizeof *counts);
        s.decay = 0.996f;
        s.presence = s.frequency = 0.2f;
        s.bias = bias;
        for (t = 0; t < DRAWS; t++) {
            static const float temperatures[] = {1, 0.7f, 1.5f};
            unsigned char bytes[2];
            int token;
            if (t % 50 == 0) {
                for (k = 0; k < N; k++) c.logits[k] = (float)random_uniform(&seed, -4, 4);
            }
            s.temperature = temperatures[t % 3];
            s.top_p = t % 4 == 0 ? 0.0f : t % 4 == 1 ? 0.5f : 0.9f;
            s.top_k = t % 5 == 0 ? 40 : 0;
            s.min_p = t % 7 == 0 ? 0.05f : 0.0f;
            s.n_bias = t % 2 * 2;
            s.counts = t % 3 ? counts : NULL;
            token = rwkv_sample(&s, c.state);
            bytes[0] = (unsigned char)(token & 255);
            bytes[1] = (unsigned char)(token >> 8);
            hash = hash_bytes(hash, bytes, 2);
        }
        CHECK_MSG(hash == 0xd52fc96dab2c6ed9u, "%s: the draws are %08lx%08lx", isa,
                  (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
        free(counts);
        scene_close(&c);
    }
}

/* ---- bias and bans -------------------------------------------------------- */

/* Whatever the logits and settings, a banned token is not chosen; the only one that
 * is not banned is.                                                          */
static void bans(void)
{
    const float odd[] = {(float)NAN, (float)INFINITY, -(float)INFINITY, 0, 3.4e38f, -3.4e38f};
    const float adds[] = {-(float)INFINITY, (float)NAN};
    static const float temperatures[] = {0, 1, 1e30f};
    rwkv_bias all[V + 1];
    float counts[V];
    scene c;
    int o, t, i, left;
    scene_open(&c, NULL);
    for (i = 0; i < V; i++) all[i].token = i;
    for (o = 0; o < 12; o++) {
        for (t = 0; t < 3; t++) {
            for (left = 0; left < V; left += 4) {
                rwkv_sampler s = sampler_new(temperatures[t], left % 3 ? 0.9f : 0, left % 8, 1);
                int token;
                random_logits(c.logits, (uint64_t)left);
                for (i = 0; i < V; i += o < 6 ? 1 : 5) c.logits[i] = odd[o % 6];
                for (i = 0; i < V; i++) {
                    all[i].add = adds[i & 1];
                    counts[i] = (float)(i % 3);
                }
                s.presence = left % 2 ? 1 : HUGE_VALF;
                if (left % 5 == 0) s.counts = counts;
                s.bias = all;
                s.n_bias = V;
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token == -1, "all are banned: %d", token);
                CHECK_INT(s.seed, 1);
                CHECK(counts[5] == 2);
                all[left].add = -1e30f; /* as little as can be */
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token == left, "only %d is not banned: %d", left, token);
                all[left].add = HUGE_VALF; /* even of -infinity */
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token == left, "only %d is not banned: %d", left, token);
                all[V].token = left; /* once banned, banned */
                all[V].add = HUGE_VALF;
                all[left].add = -HUGE_VALF;
                s.n_bias = V + 1;
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token == -1, "all are banned, twice: %d", token);
                s.n_bias = left; /* those before `left` */
                token = rwkv_sample(&s, c.state);
                CHECK_MSG(token >= left && token < V, "%d banned: %d", left, token);
            }
        }
    }
    scene_close(&c);
}

/* As if the logits were other ones.                                          */
static void bias_adds(void)
{
    scene a, b;
    rwkv_bias bias[3] = {{4, 1.5f}, {9, -2}, {4, 0.25f}};
    int t;
    scene_open(&a, NULL);
    scene_open(&b, NULL);
    for (t = 0; t < 300; t++) {
        rwkv_sampler s = sampler_new(t % 5 ? 1 : 0, 0.95f, 0, (uint64_t)t), plain = s;
        volatile float sum;
        random_logits(a.logits, (uint64_t)t);
        memcpy(b.logits, a.logits, V * sizeof(float));
        sum = b.logits[4] + 1.5f;
        b.logits[4] = sum;
        b.logits[4] += 0.25f;
        b.logits[9] -= 2;
        s.bias = bias;
        s.n_bias = 3;
        CHECK_INT(rwkv_sample(&s, a.state), rwkv_sample(&plain, b.state));
    }
    scene_close(&a);
    scene_close(&b);
}

static void bad_bias(void)
{
    scene c;
    float counts[V] = {1};
    rwkv_bias bias[2] = {{0, 1}, {0, 1}};
    rwkv_sampler s = sampler_new(1, 0.9f, 0, 1);
    scene_open(&c, NULL);
    s.counts = counts;
    s.n_bias = 1;
    CHECK_INT(rwkv_sample(&s, c.state), -1);
    s.bias = bias;
    s.n_bias = -1;
    CHECK_INT(rwkv_sample(&s, c.state), -1);
    s.n_bias = 2;
    bias[1].token = V;
    CHECK_INT(rwkv_sample(&s, c.state), -1);
    bias[1].token = -1;
    CHECK_INT(rwkv_sample(&s, c.state), -1);
    CHECK(s.seed == 1 && counts[0] == 1);
    bias[1].token = V - 1;
    CHECK(rwkv_sample(&s, c.state) >= 0);
    s.n_bias = 0;
    bias[0].token = V; /* not looked at */
    CHECK(rwkv_sample(&s, c.state) >= 0);
    s.bias = NULL;
    CHECK(rwkv_sample(&s, c.state) >= 0);
    scene_close(&c);
}

/* 1 and more keep the most probable alone, with its equals; the rest is off. */
static void min_p_ends(void)
{
    const float one[] = {1, 1.5f, HUGE_VALF}, off[] = {0, -1, (float)NAN, 1e-45f};
    scene c;
    size_t k;
    int t, seen = 0;
    scene_open(&c, NULL);
    random_logits(c.logits, 6);
    c.logits[7] = c.logits[70] = 9;
    for (k = 0; k < 3; k++) {
        for (t = 0; t < 100; t++) {
            rwkv_sampler s = sampler_new(1.5f, 0, 0, (uint64_t)t);
            int token;
            s.min_p = one[k];
            token = rwkv_sample(&s, c.state);
            CHECK_MSG(token == 7 || token == 70, "token %d", token);
            seen |= token == 7 ? 1 : 2;
        }
    }
    CHECK_INT(seen, 3);
    for (k = 0; k < 4; k++) {
        for (t = 0; t < 100; t++) {
            rwkv_sampler s = sampler_new(1.5f, 0, 0, (uint64_t)t), plain = s;
            s.min_p = off[k];
            CHECK_INT(rwkv_sample(&s, c.state), rwkv_sample(&plain, c.state));
        }
    }
    scene_close(&c);
}

static void null_arguments(void)
{
    scene c;
    rwkv_sampler s = sampler_new(1, 0, 0, 1);
    scene_open(&c, NULL);
    CHECK_INT(rwkv_sample(NULL, c.state), -1);
    CHECK_INT(rwkv_sample(&s, NULL), -1);
    CHECK_INT(rwkv_sample(NULL, NULL), -1);
    CHECK(s.seed == 1);
    scene_close(&c);
}

/* Sampling leaves the state alone: it goes on as if nothing had been drawn.  */
static void state_goes_on(void)
{
    scene a, b;
    int t;
    scene_open(&a, NULL);
    scene_open(&b, NULL);
    for (t = 0; t < 30; t++) {
        rwkv_sampler s = sampler_new(1, 0.9f, 10, (uint64_t)t);
        int token = rwkv_sample(&s, a.state);
        CHECK(rwkv_eval(token, a.state) != NULL);
        CHECK(rwkv_eval(token, b.state) != NULL);
        if (!same_states(a.state, b.state, &tiny)) break;
    }
    scene_close(&a);
    scene_close(&b);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(greedy);
    RUN(greedy_with_penalties);
    RUN(frequencies);
    RUN(frequencies_with_penalties);
    RUN(ties);
    RUN(counts_arithmetic);
    RUN(no_counts_no_penalties);
    RUN(same_seed_same_tokens);
    RUN(seed_moves_on);
    RUN(odd_logits);
    RUN(kept_below_the_largest);
    RUN(odd_settings);
    RUN(long_tail);
    RUN(infinite_temperature);
    RUN(as_a_naive_one);
    RUN(checksum);
    RUN(bans);
    RUN(bias_adds);
    RUN(bad_bias);
    RUN(min_p_ends);
    RUN(null_arguments);
    RUN(state_goes_on);
    return test_end();
}
