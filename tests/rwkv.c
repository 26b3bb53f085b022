/* rwkv.c: the implementation, once, for the tests that see no more of it than any program does. */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
