/* pool.h: a pool of POSIX threads for options.parallel; link with -pthread. Threads
 * are made once. Each has a word that says what it does, and waits for work by
 * looking at it for about a millisecond, longer than from one product to the next
 * or from token to token, before it goes to sleep. A part that no thread has begun
 * is taken back by the one who gave it, so that nobody waits for one to wake up. */
#ifndef POOL_H
#define POOL_H

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define POOL_LOOKS 30000 /* of a thread at its word before it goes to sleep        */

enum { POOL_IDLE, POOL_ASLEEP, POOL_GIVEN, POOL_BUSY, POOL_OVER };

typedef struct pool_thread {
    int             word; /* one of these                                          */
    int             part; /* the number of its parts: from 1 on                    */
    struct pool    *pool;
    pthread_t       id;
    pthread_mutex_t lock; /* for going to sleep                                    */
    pthread_cond_t  wake;
    char            apart[128]; /* no two words in one line of the cache            */
} pool_thread;

typedef struct pool {
    pthread_mutex_t turn; /* of the caller whose work the threads do               */
    void          (*fn)(void *ctx, int i);
    void           *ctx;
    int             n;    /* threads, the caller left out                          */
    pool_thread    *threads;
} pool;

/* Put `to` in place of `from`, as one step; returns what was there.           */
static inline int pool_swap(int *word, int from, int to)
{
#if defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_4)
    int was = __atomic_load_n(word, __ATOMIC_ACQUIRE); /* cheaper, while it waits   */
    if (was != from || from == to) return was;
    __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return from;
#else
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int                    was;
    pthread_mutex_lock(&lock);
    was = *word;
    if (was == from) *word = to;
    pthread_mutex_unlock(&lock);
    return was;
#endif
}

/* Between two looks. Now and then others may run: there may be fewer cores.   */
static inline void pool_pause(int looks)
{
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __asm__ volatile("pause");
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
    if (looks % 256 == 255) sched_yield();
}

static inline void *pool_work(void *argument)
{
    pool_thread *t = (pool_thread *)argument;
    int          looks, was;
    for (looks = 0; (was = pool_swap(&t->word, POOL_GIVEN, POOL_BUSY)) != POOL_OVER; looks++) {
        if (was == POOL_GIVEN) {
            t->pool->fn(t->pool->ctx, t->part);
            pool_swap(&t->word, POOL_BUSY, POOL_IDLE);
            looks = 0;
        } else if (looks < POOL_LOOKS) {
            pool_pause(looks);
        } else {
            pthread_mutex_lock(&t->lock);
            pool_swap(&t->word, POOL_IDLE, POOL_ASLEEP);
            while (pool_swap(&t->word, POOL_ASLEEP, POOL_ASLEEP) == POOL_ASLEEP)
                pthread_cond_wait(&t->wake, &t->lock);
            pthread_mutex_unlock(&t->lock);
            looks = 0;
        }
    }
    return NULL;
}

/* Say GIVEN or OVER to a thread that has nothing to do.                       */
static inline void pool_tell(pool_thread *t, int word)
{
    if (pool_swap(&t->word, POOL_IDLE, word) == POOL_IDLE) return;
    pthread_mutex_lock(&t->lock);
    pool_swap(&t->word, POOL_ASLEEP, word);
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

/* options.parallel.run; the pool is options.parallel.user. While one caller has
 * the threads, any other does all of its parts itself.                        */
static inline void pool_run(int n, void (*fn)(void *ctx, int i), void *ctx, void *user)
{
    pool *p = (pool *)user;
    int   mine = pthread_mutex_trylock(&p->turn) == 0, given = 1, i, looks;
    if (mine) {
        p->fn = fn;
        p->ctx = ctx;
        for (; given < n && given <= p->n; given++) pool_tell(&p->threads[given - 1], POOL_GIVEN);
    }
    fn(ctx, 0);
    for (i = given; i < n; i++) fn(ctx, i);
    for (i = 1; i < given; i++) {
        int *word = &p->threads[i - 1].word;
        if (pool_swap(word, POOL_GIVEN, POOL_IDLE) == POOL_GIVEN) fn(ctx, i);
        for (looks = 0; pool_swap(word, POOL_BUSY, POOL_BUSY) == POOL_BUSY; looks++)
            pool_pause(looks);
    }
    if (mine) pthread_mutex_unlock(&p->turn);
}

/* When no caller is in pool_run, nor will be.                                 */
static inline void pool_free(pool *p)
{
    int i;
    if (!p) return;
    for (i = 0; i < p->n; i++) {
        pool_tell(&p->threads[i], POOL_OVER);
        pthread_join(p->threads[i].id, NULL);
        pthread_mutex_destroy(&p->threads[i].lock);
        pthread_cond_destroy(&p->threads[i].wake);
    }
    pthread_mutex_destroy(&p->turn);
    free(p->threads);
    free(p);
}

/* A pool of n threads, of which one is the caller's; fewer if the system does not
 * give as many. NULL: no memory.                                              */
static inline pool *pool_new(int n)
{
    pool        *p = (pool *)calloc(1, sizeof *p);
    pool_thread *threads = (pool_thread *)calloc((size_t)n, sizeof *threads);
    if (!p || !threads) { free(p); free(threads); return NULL; }
    p->threads = threads;
    pthread_mutex_init(&p->turn, NULL);
    for (; p->n < n - 1; p->n++) {
        pool_thread *t = &p->threads[p->n];
        t->pool = p;
        t->part = p->n + 1;
        pthread_mutex_init(&t->lock, NULL);
        pthread_cond_init(&t->wake, NULL);
        if (pthread_create(&t->id, NULL, pool_work, t) != 0) break;
    }
    return p;
}
#endif
