/* inside.h: parts of the implementation that some tests look at. rwkv.c has them, so that these tests
 * need not compile all of it once more. */
#ifndef INSIDE_H_INCLUDED
#define INSIDE_H_INCLUDED

#include "../rwkv.h"

#ifdef __cplusplus
extern "C" {
#endif

double inside_log(double x);
float inside_cut(float *p, int V, double top_p, int k, int *ties);
void inside_widen_codes(float *y, const unsigned char *row, size_t c, size_t n, size_t D);

/* The threads that a model's states use. */
int inside_threads(const rwkv_model *model);

/* rwkv__split for a team of up to 16 threads. */
enum { INSIDE_MOST_THREADS = 16 };
void inside_split(const rwkv_parallel *parallel, int n_threads,
                  void (*work)(const void *, size_t, size_t, int), const void *context, size_t n,
                  size_t grain, double multiply_adds);
double inside_worth_splitting(void);
int inside_takes_over(void); /* whether a part takes over pieces of a slower one */

#ifdef __cplusplus
}
#endif

#endif
