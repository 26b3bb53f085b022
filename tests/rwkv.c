/* rwkv.c: the implementation, once, for all tests but those that change it or call its kernels. */
#define RWKV_IMPLEMENTATION
#include "inside.h"

double inside_log(double x) { return rwkv__log(x); }

float inside_cut(float *p, int V, double top_p, int k, int *ties)
{
    return rwkv__cut(p, V, top_p, k, ties);
}

void inside_widen_codes(float *y, const unsigned char *row, size_t c, size_t n, size_t D)
{
    rwkv__widen_codes(y, row, c, n, D);
}

int inside_threads(const rwkv_model *model) { return model->n_threads; }

void inside_split(const rwkv_parallel *parallel, int n_threads,
                  void (*work)(const void *, size_t, size_t, int), const void *context, size_t n,
                  size_t grain, double multiply_adds)
{
    uint32_t   queues[INSIDE_MOST_THREADS * RWKV__QUEUE];
    rwkv__team team;
    team.parallel = parallel;
    team.n_threads = n_threads;
    team.queues = queues;
    rwkv__split(&team, work, context, n, grain, multiply_adds);
}

double inside_worth_splitting(void) { return RWKV__WORTH_SPLITTING; }
int inside_takes_over(void) { return RWKV__ATOMIC; }
