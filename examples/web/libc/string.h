/* string.h: what rwkv.h needs of it; the functions are at the end of rwkv_web.c. */
#ifndef WEB_STRING_H
#define WEB_STRING_H
#include <stddef.h>
void  *memcpy(void *to, const void *from, size_t n);
void  *memmove(void *to, const void *from, size_t n);
void  *memset(void *to, int c, size_t n);
int    memcmp(const void *a, const void *b, size_t n);
int    strcmp(const char *a, const char *b);
size_t strlen(const char *s);
#endif
