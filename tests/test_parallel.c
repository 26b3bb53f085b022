/* test_parallel.c: any number of parts, in any order, on any threads: one result. */
#include "inside.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#include "test.h"
#include "model.h"

#if (defined(__unix__) || defined(__APPLE__)) && !defined(__EMSCRIPTEN__) && \
    !defined(TEST_NO_PTHREAD)
#include "../examples/pool.h"
#include <time.h>
#define TEST_PTHREAD 1
#else
#define TEST_PTHREAD 0
#endif

enum { TOKENS = 40 };

#if TEST_SLOW_MACHINE
static const int thread_counts[] = {1, 3, 16};
#else
static const int thread_counts[] = {1, 2, 3, 5, 8, 16};
#endif
enum { N_COUNTS = sizeof thread_counts / sizeof *thread_counts };

static const shape shapes[] = {
    {40, 700, 20, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},    /* fewer panels than parts */
    {301, 130, 130, 520, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 2},
    {1000, 257, 190, 777, 1, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 3},
    {301, 130, 130, 520, 2, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 4},
    {1000, 257, 190, 777, 1, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 5},
    {1500, 270, 20, 1000, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 6}, /* one token is split */
    {1500, 270, 20, 33, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 7},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* ---- hooks -------------------------------------------------------------- */

typedef struct hook {
    int  limit;      /* n_threads                                              */
    long calls;
    int  most;       /* largest n seen                                         */
    int  bad;        /* n < 1, or above the limit                              */
} hook;

static void hook_note(hook *h, int n)
{
    h->calls++;
    if (n > h->most) h->most = n;
    if (n < 1 || n > h->limit) h->bad++;
}

static void run_forward(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    int i;
    hook_note((hook *)user, n);
    for (i = 0; i < n; i++) fn(ctx, i);
}

static void run_reverse(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    int i;
    hook_note((hook *)user, n);
    for (i = n - 1; i >= 0; i--) fn(ctx, i);
}

static void run_inside_out(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    int i;
    hook_note((hook *)user, n);
    for (i = 0; i < n; i++) fn(ctx, i % 2 ? n / 2 - (i + 1) / 2 : n / 2 + i / 2);
}

#if TEST_PTHREAD
typedef struct job {
    void (*fn)(void *ctx, int i);
    void *ctx;
    int   i;
} job;

static void *job_run(void *argument)
{
    job *j = (job *)argument;
    j->fn(j->ctx, j->i);
    return NULL;
}

/* A thread for each part. Counts nothing: it runs on several threads itself.  */
static void run_threads(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    pthread_t thread[256];
    job jobs[256];
    int i, started[256];
    (void)user;
    for (i = 1; i < n; i++) {
        jobs[i].fn = fn;
        jobs[i].ctx = ctx;
        jobs[i].i = i;
        started[i] = pthread_create(&thread[i], NULL, job_run, &jobs[i]) == 0;
        if (!started[i]) fn(ctx, i);
    }
    if (n > 0) fn(ctx, 0);
    for (i = 1; i < n; i++) {
        if (started[i]) pthread_join(thread[i], NULL);
    }
}

static pool *threads; /* of the hook that follows                                 */

static void run_pool(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    hook_note((hook *)user, n);
    pool_run(n, fn, ctx, threads);
}
#endif

/* ---- cases -------------------------------------------------------------- */

/* One token at a time, then a chunk, then logits of every token.             */
static void run_tokens(rwkv_state *state, const int *tokens, int n, int V)
{
    float *all = (float *)test_alloc(sizeof *all * (size_t)V * (size_t)n);
    int i;
    for (i = 0; i < 4; i++) CHECK(rwkv_eval(tokens[i], state) != NULL);
    CHECK(rwkv_eval_sequence(tokens + 4, 20, state) != NULL);
    CHECK_INT(rwkv_eval_all(tokens + 24, n - 24, state, all), RWKV_OK);
    CHECK_SAME(all + (size_t)V * (size_t)(n - 25), rwkv_logits(state), sizeof(float) * (size_t)V);
    free(all);
}

static void check_hook(void (*run)(int, void (*)(void *, int), void *, void *), int counted)
{
    int i, c, tokens[TOKENS];
    for (i = 0; i < N_SHAPES; i++) {
        model_image m = model_image_new(&shapes[i]);
        rwkv_model *model = load_image(&m, NULL);
        rwkv_state *single = rwkv_state_new(model);
        random_tokens(7, shapes[i].V, tokens, TOKENS);
        run_tokens(single, tokens, TOKENS, shapes[i].V);
        for (c = 0; c < N_COUNTS; c++) {
            rwkv_options o = options_isa(NULL);
            rwkv_model *split;
            rwkv_state *state;
            hook h = {0, 0, 0, 0};
            h.limit = o.n_threads = thread_counts[c];
            o.parallel.run = run;
            o.parallel.user = &h;
#if TEST_PTHREAD
            threads = pool_new(thread_counts[c]);
#endif
            split = load_image(&m, &o);
            state = rwkv_state_new(split);
            run_tokens(state, tokens, TOKENS, shapes[i].V);
            CHECK_MSG(same_states(state, single, &shapes[i]), "shape %d with %d threads", i,
                      thread_counts[c]);
            if (counted) {
                CHECK_INT(h.bad, 0);
                if (thread_counts[c] > 1) {
                    CHECK_MSG(h.calls > 0 && h.most > 1, "%ld calls, at most %d parts", h.calls,
                              h.most);
                }
            }
            rwkv_state_free(state);
            rwkv_free(split);
#if TEST_PTHREAD
            pool_free(threads);
#endif
        }
        rwkv_state_free(single);
        rwkv_free(model);
        model_image_free(&m);
    }
}

static void in_order(void) { check_hook(run_forward, 1); }
static void in_reverse(void) { check_hook(run_reverse, 1); }
static void from_the_middle(void) { check_hook(run_inside_out, 1); }

/* Without a hook: in the calling thread, or by OpenMP if built with it.      */
static void without_a_hook(void)
{
    check_hook(NULL, 0);
}

static void on_threads(void)
{
#if TEST_PTHREAD
    check_hook(run_threads, 0);
#else
    SKIP("no POSIX threads on this system");
#endif
}

/* The pool of examples/pool.h.                                               */
static void in_a_pool(void)
{
#if TEST_PTHREAD
    check_hook(run_pool, 1);
#else
    SKIP("no POSIX threads on this system");
#endif
}

#if TEST_PTHREAD
typedef struct timeline {
    rwkv_state *state;
    int         tokens[TOKENS];
} timeline;

static void *timeline_run(void *argument)
{
    timeline *t = (timeline *)argument;
    int i;
    for (i = 0; i < TOKENS / 2; i++) rwkv_eval(t->tokens[i], t->state);
    rwkv_eval_sequence(t->tokens + TOKENS / 2, TOKENS / 2, t->state);
    return NULL;
}
#endif

#if TEST_PTHREAD
/* One model, eight states, each on its own thread, each calling the hook.    */
static void check_several(void (*run)(int, void (*)(void *, int), void *, void *), void *user)
{
    enum { STATES = 8 };
    const shape *s = &shapes[1];
    model_image m = model_image_new(s);
    rwkv_options o = options_isa(NULL);
    rwkv_model *single = load_image(&m, NULL), *split;
    timeline lines[STATES];
    pthread_t thread[STATES];
    int i;
    o.n_threads = 3;
    o.parallel.run = run;
    o.parallel.user = user;
    split = load_image(&m, &o);
    for (i = 0; i < STATES; i++) {
        lines[i].state = rwkv_state_new(split);
        random_tokens((uint64_t)i + 50, s->V, lines[i].tokens, TOKENS);
    }
    for (i = 0; i < STATES; i++) {
        if (!CHECK(pthread_create(&thread[i], NULL, timeline_run, &lines[i]) == 0)) return;
    }
    for (i = 0; i < STATES; i++) pthread_join(thread[i], NULL);
    for (i = 0; i < STATES; i++) {
        timeline alone = lines[i];
        alone.state = rwkv_state_new(single);
        timeline_run(&alone);
        same_states(lines[i].state, alone.state, s);
        rwkv_state_free(alone.state);
        rwkv_state_free(lines[i].state);
    }
    rwkv_free(single);
    rwkv_free(split);
    model_image_free(&m);
}
#endif

static void several_states_at_once(void)
{
#if TEST_PTHREAD
    check_several(run_threads, NULL);
#else
    SKIP("no POSIX threads on this system");
#endif
}

/* With one pool, which is lent to one of them at a time.                      */
static void several_states_in_a_pool(void)
{
#if TEST_PTHREAD
    pool *one = pool_new(3);
    check_several(pool_run, one);
    pool_free(one);
#else
    SKIP("no POSIX threads on this system");
#endif
}

#if TEST_PTHREAD
static void count_part(void *context, int i)
{
    int *count = (int *)context;
    count[i]++;
}

/* How many of 20 parts the pool does not do as often as it should: those below n
 * once.                                                                      */
static int wrong_parts(pool *p, int n)
{
    int count[20], i, wrong = 0;
    memset(count, 0, sizeof count);
    pool_run(n, count_part, count, p);
    for (i = 0; i < 20; i++) wrong += count[i] != (i < n);
    return wrong;
}

typedef struct caller {
    pool *p;
    int   wrong;
} caller;

static void *caller_run(void *argument)
{
    caller *c = (caller *)argument;
    int i;
    for (i = 0; i < 20000; i++) c->wrong += wrong_parts(c->p, 1 + i % 5);
    return NULL;
}
#endif

static void a_pool_has_several_callers(void)
{
#if TEST_PTHREAD
    enum { CALLERS = 4 };
    caller callers[CALLERS];
    pthread_t thread[CALLERS];
    pool *p = pool_new(3);
    int i;
    for (i = 0; i < CALLERS; i++) {
        callers[i].p = p;
        callers[i].wrong = 0;
        if (!CHECK(pthread_create(&thread[i], NULL, caller_run, &callers[i]) == 0)) return;
    }
    for (i = 0; i < CALLERS; i++) {
        pthread_join(thread[i], NULL);
        CHECK_INT(callers[i].wrong, 0);
    }
    pool_free(p);
#else
    SKIP("no POSIX threads on this system");
#endif
}

/* More parts than threads, and fewer; threads that are awake, or sleep; none. */
static void a_pool_does_every_part(void)
{
#if TEST_PTHREAD
    static const int sizes[] = {1, 2, 3, 16};
    const struct timespec enough = {0, 50000000}; /* to fall asleep                   */
    int i, n, round;
    for (i = 0; i < 4; i++) {
        pool *p = pool_new(sizes[i]);
        if (!CHECK(p != NULL)) return;
        CHECK_INT(p->n, sizes[i] - 1);
        for (round = 0; round < 200; round++)
            for (n = 1; n <= 20; n++) CHECK_INT(wrong_parts(p, n), 0);
        for (n = 1; n <= 20; n += 6) {
            nanosleep(&enough, NULL);
            CHECK_INT(wrong_parts(p, n), 0);
        }
        pool_free(p);
        pool_free(pool_new(sizes[i])); /* before its threads have done anything         */
    }
    pool_free(NULL);
#else
    SKIP("no POSIX threads on this system");
#endif
}

/* A batch is split too: states[0] decides nothing but the scratch.           */
static void check_batch(const shape *s)
{
    enum { STATES = 7 };
    model_image m = model_image_new(s);
    rwkv_options o = options_isa(NULL);
    rwkv_model *single = load_image(&m, NULL), *split;
    rwkv_state *one[STATES], *many[STATES];
    int tokens[STATES], i, t;
    hook h = {5, 0, 0, 0};
    o.n_threads = 5;
    o.parallel.run = run_reverse;
    o.parallel.user = &h;
    split = load_image(&m, &o);
    for (i = 0; i < STATES; i++) {
        one[i] = rwkv_state_new(single);
        many[i] = rwkv_state_new(split);
    }
    for (t = 0; t < 5; t++) {
        random_tokens((uint64_t)t, s->V, tokens, STATES);
        for (i = 0; i < STATES; i++) CHECK(rwkv_eval(tokens[i], one[i]) != NULL);
        CHECK_INT(rwkv_eval_batch(tokens, many, STATES), RWKV_OK);
        for (i = 0; i < STATES; i++) same_states(many[i], one[i], s);
    }
    CHECK_INT(h.bad, 0);
    for (i = 0; i < STATES; i++) {
        rwkv_state_free(one[i]);
        rwkv_state_free(many[i]);
    }
    rwkv_free(single);
    rwkv_free(split);
    model_image_free(&m);
}

static void batch(void)
{
    check_batch(&shapes[2]);
    check_batch(&shapes[4]);
}

static void bad_counts(void)
{
    static const int bad[] = {-1, -2147483647, 257, 2147483647};
    model_image m = model_image_new(&shapes[0]);
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        rwkv_options o = options_isa(NULL);
        rwkv_error error;
        char number[16];
        o.n_threads = bad[i];
        CHECK_MSG(rwkv_load_memory(m.data, m.size, &o, &error) == NULL, "n_threads %d", bad[i]);
        CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
        snprintf(number, sizeof number, "%d", bad[i]);
        CHECK_MSG(strstr(error.message, number) && strstr(error.message, "n_threads"),
                  "%d: %s", bad[i], error.message);
    }
    model_image_free(&m);
}

/* The largest count allowed, with far fewer rows than parts.                 */
static void most_threads(void)
{
    const shape *s = &shapes[2];
    model_image m = model_image_new(s);
    rwkv_options o = options_isa(NULL);
    rwkv_model *single = load_image(&m, NULL), *split;
    rwkv_state *a = rwkv_state_new(single), *b;
    int tokens[TOKENS];
    hook h = {256, 0, 0, 0};
    o.n_threads = 256;
    o.parallel.run = run_inside_out;
    o.parallel.user = &h;
    split = load_image(&m, &o);
    b = rwkv_state_new(split);
    random_tokens(3, s->V, tokens, TOKENS);
    run_tokens(a, tokens, TOKENS, s->V);
    run_tokens(b, tokens, TOKENS, s->V);
    same_states(b, a, s);
    CHECK_INT(h.bad, 0);
    CHECK(h.calls > 0 && h.most > 1);
    rwkv_state_free(a);
    rwkv_state_free(b);
    rwkv_free(single);
    rwkv_free(split);
    model_image_free(&m);
}

/* ---- when work is split ------------------------------------------------- */

static void count_nothing(const void *context, size_t begin, size_t end, int part)
{
    (void)context;
    (void)begin;
    (void)end;
    (void)part;
}

/* The parts that so much work is split into; 0: it is not.                   */
static int parts_of(double multiply_adds, size_t n, int n_threads)
{
    rwkv_parallel parallel;
    hook h = {0, 0, 0, 0};
    h.limit = n_threads;
    parallel.run = run_forward;
    parallel.user = &h;
    inside_split(&parallel, n_threads, count_nothing, NULL, n, 1, multiply_adds);
    CHECK_INT(h.bad, 0);
    return h.most;
}

/* As many parts as are worth a thread, as there are threads, and units.      */
static void what_is_worth_it(void)
{
    const double worth = inside_worth_splitting();
    CHECK_INT(parts_of(0, 100, 16), 0);
    CHECK_INT(parts_of(worth, 100, 16), 0);
    CHECK_INT(parts_of(2 * worth - 1, 100, 16), 0);
    CHECK_INT(parts_of(2 * worth, 100, 16), 2);
    CHECK_INT(parts_of(7 * worth, 100, 16), 7);
    CHECK_INT(parts_of(7 * worth, 100, 4), 4);
    CHECK_INT(parts_of(7 * worth, 100, 1), 0);
    CHECK_INT(parts_of(7 * worth, 3, 16), 3);
    CHECK_INT(parts_of(7 * worth, 1, 16), 0);
    CHECK_INT(parts_of(1e18, 1000000, 16), 16);
}

/* A model as small as the bundled one leaves the hook alone while it writes, and
 * one of the smallest shape that is published does not.                       */
static void small_models_are_not_split(void)
{
    static const shape sizes[] = {
        {1024, 160, 160, 640, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 1},
        {1024, 768, 768, 3072, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 1},
    };
    int i, token, tokens[TOKENS];
    random_tokens(9, 1024, tokens, TOKENS);
    for (i = 0; i < 2; i++) {
        model_image m = model_image_new(&sizes[i]);
        rwkv_options o = options_isa(NULL);
        rwkv_model *model;
        rwkv_state *state;
        hook h = {2, 0, 0, 0};
        o.n_threads = 2;
        o.parallel.run = run_forward;
        o.parallel.user = &h;
        model = load_image(&m, &o);
        state = rwkv_state_new(model);
        for (token = 0; token < 3; token++) CHECK(rwkv_eval(tokens[token], state) != NULL);
        CHECK_INT(h.calls, i == 0 ? 0 : 3 * 5); /* four products of a layer, and the head */
        CHECK(rwkv_eval_sequence(tokens, TOKENS, state) != NULL);
        CHECK_MSG(h.calls > 3 * 5 * i, "a prompt is not split: %ld calls", h.calls);
        rwkv_state_free(state);
        rwkv_free(model);
        model_image_free(&m);
    }
}

#if defined(_OPENMP)
/* Cores that this process may use: of each, one processor is the first of those
 * that share it. 0: the system does not tell.                                 */
static int count_cores(void)
{
    char path[128];
    FILE *file;
    int cpu, first, n = 0;
    for (cpu = 0; cpu < 4096; cpu++) {
        sprintf(path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        file = fopen(path, "r");
        if (!file) continue;
        n += fscanf(file, "%d", &first) == 1 && first == cpu;
        fclose(file);
    }
    return n;
}
#endif

/* Nobody asked for threads: no more than OpenMP would take, than there are cores,
 * or than the library has; and any number if it is asked for.                */
static void how_many_by_default(void)
{
    model_image m = model_image_new(&shapes[0]);
    rwkv_options o = options_isa(NULL);
    rwkv_model *model;
    o.parallel.run = run_forward; /* says nothing of how many threads it has        */
    model = load_image(&m, &o);
    CHECK_INT(inside_threads(model), 1);
    rwkv_free(model);
    o.parallel.run = NULL;
#if defined(_OPENMP)
    {
        const int before = omp_get_max_threads(), cores = count_cores();
        static const int set[] = {1, 2, 300};
        int i;
        for (i = 0; i < 3; i++) {
            omp_set_num_threads(set[i]);
            model = load_image(&m, &o);
            CHECK_MSG(inside_threads(model) >= 1 && inside_threads(model) <= set[i] &&
                      inside_threads(model) <= 256 && inside_threads(model) <= omp_get_num_procs() &&
                      (cores == 0 || inside_threads(model) <= cores), "%d of %d, with %d cores",
                      inside_threads(model), set[i], cores);
            if (omp_get_num_procs() == cores && cores <= 256)
                CHECK_INT(inside_threads(model), set[i] < cores ? set[i] : cores);
            rwkv_free(model);
        }
        omp_set_num_threads(before);
    }
#else
    model = load_image(&m, &o);
    CHECK_INT(inside_threads(model), 1);
    rwkv_free(model);
#endif
    o.n_threads = 200;
    model = load_image(&m, &o);
    CHECK_INT(inside_threads(model), 200);
    rwkv_free(model);
    model_image_free(&m);
}

/* ---- pieces ------------------------------------------------------------- */

typedef struct tally {
    unsigned char done[5000]; /* how often each unit was                            */
    size_t        grain, n;
    int           torn;       /* pieces that begin or end inside a grain            */
} tally;

static void count_units(const void *context, size_t begin, size_t end, int part)
{
    tally *t = *(tally *const *)context;
    size_t i;
    if (begin % t->grain || (end % t->grain && end != t->n) || begin >= end || part < 0)
        t->torn++;
    for (i = begin; i < end; i++) t->done[i]++;
}

/* Any units, grains, threads and orders: every unit is done, and once.       */
static void every_unit_once(void)
{
    static const size_t counts[] = {1, 2, 3, 16, 17, 100, 1023, 5000};
    static const size_t grains[] = {1, 4, 16};
    static void (*const orders[])(int, void (*)(void *, int), void *, void *) = {
        run_forward, run_reverse, run_inside_out,
#if TEST_PTHREAD
        run_threads,
#endif
    };
    size_t c, g, o, i;
    int k;
    for (o = 0; o < sizeof orders / sizeof *orders; o++)
        for (c = 0; c < sizeof counts / sizeof *counts; c++)
            for (g = 0; g < sizeof grains / sizeof *grains; g++)
                for (k = 0; k < N_COUNTS; k++) {
                    static tally t;
                    tally *to = &t;
                    hook h = {0, 0, 0, 0};
                    rwkv_parallel parallel;
                    size_t wrong = 0;
                    memset(&t, 0, sizeof t);
                    t.grain = grains[g];
                    t.n = counts[c];
                    h.limit = thread_counts[k];
                    parallel.run = orders[o];
                    parallel.user = &h;
                    inside_split(&parallel, thread_counts[k], count_units, &to, t.n, t.grain,
                                 1e5 * (double)t.n);
                    for (i = 0; i < sizeof t.done; i++) wrong += t.done[i] != (i < t.n);
                    CHECK_MSG(!wrong && !t.torn, "%d units by %d on %d threads: %d wrong, %d torn",
                              (int)t.n, (int)t.grain, thread_counts[k], (int)wrong, t.torn);
                }
}

#if TEST_PTHREAD
typedef struct strike {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    size_t          n, done; /* pieces                                              */
    int             begun;      /* part 0 has                                       */
    int             waited_for; /* all the others were done before part 0 went on   */
} strike;

static void work_or_strike(const void *context, size_t begin, size_t end, int part)
{
    strike *s = *(strike *const *)context;
    struct timespec limit;
    limit.tv_sec = time(NULL) + 60;
    limit.tv_nsec = 0;
    pthread_mutex_lock(&s->lock);
    s->begun |= part == 0;
    pthread_cond_broadcast(&s->changed);
    while (part == 0 ? s->done + (end - begin) < s->n : !s->begun)
        if (pthread_cond_timedwait(&s->changed, &s->lock, &limit) != 0) break;
    if (part == 0) s->waited_for = s->done + (end - begin) == s->n;
    s->done += end - begin;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}
#endif

/* Part 0 stops at its first piece until all others are done: they can only be
 * if the other part takes them out of its queue.                             */
static void a_slow_part_is_relieved(void)
{
#if TEST_PTHREAD
    strike s, *to = &s;
    rwkv_parallel parallel = {run_threads, NULL};
    if (!inside_takes_over()) SKIP("no atomic exchange with this compiler");
    memset(&s, 0, sizeof s);
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.changed, NULL);
    s.n = 20;
    inside_split(&parallel, 2, work_or_strike, &to, s.n, 1, 1e9);
    CHECK_INT((int)s.done, 20);
    CHECK(s.waited_for);
    pthread_cond_destroy(&s.changed);
    pthread_mutex_destroy(&s.lock);
#else
    SKIP("no POSIX threads");
#endif
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(in_order);
    RUN(in_reverse);
    RUN(from_the_middle);
    RUN(without_a_hook);
    RUN(on_threads);
    RUN(in_a_pool);
    RUN(several_states_at_once);
    RUN(several_states_in_a_pool);
    RUN(a_pool_does_every_part);
    RUN(a_pool_has_several_callers);
    RUN(batch);
    RUN(bad_counts);
    RUN(most_threads);
    RUN(what_is_worth_it);
    RUN(small_models_are_not_split);
    RUN(how_many_by_default);
    RUN(every_unit_once);
    RUN(a_slow_part_is_relieved);
    return test_end();
}
