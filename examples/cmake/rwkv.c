/* rwkv.c: the one file that has the implementation. */
#define RWKV_IMPLEMENTATION
#include "rwkv.h"
