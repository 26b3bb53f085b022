/* math.h: what rwkv.h needs of it, in WebAssembly, where it is an instruction. */
#ifndef WEB_MATH_H
#define WEB_MATH_H
#define HUGE_VAL  __builtin_huge_val()
#define HUGE_VALF __builtin_huge_valf()
static inline float sqrtf(float x) { return __builtin_sqrtf(x); }
#endif
