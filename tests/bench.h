/* bench.h: what the benchmarks share: the library, the clock, medians. Include it
 * before anything else: it asks for POSIX.                                   */
#ifndef BENCH_H_INCLUDED
#define BENCH_H_INCLUDED

#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#include "model.h"
#include <time.h>

/* Seconds, from any beginning.                                               */
static inline double now(void)
{
    struct timespec t;
#if defined(_WIN32) && defined(TIME_UTC)
    timespec_get(&t, TIME_UTC);
#else /* never set back */
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x.                                                                   */
static inline double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

#endif /* BENCH_H_INCLUDED */
