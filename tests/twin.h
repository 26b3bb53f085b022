/* twin.h: rwkv.h itself with double in place of float, to see what the rounding of floats adds.
 * Link with twin.c.                                                          */
#ifndef TWIN_H_INCLUDED
#define TWIN_H_INCLUDED

#include "ref.h"

typedef struct twin twin;

/* A model with these weights, whether or not they were codes, which is copied, and its state.
 * NULL if there is no memory.                                                */
twin *twin_new(const ref_model *weights);
void  twin_free(twin *t);

/* Read n tokens; the logits are (n, V). Returns whether it could.            */
int   twin_eval_all(twin *t, const int *tokens, int n, double *logits);

#endif /* TWIN_H_INCLUDED */
