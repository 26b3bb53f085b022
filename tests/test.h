/* test.h: a small test harness: cases, checks, random numbers, a counting allocator.
 *
 *     static void adds(void) { CHECK_INT(1 + 1, 2); }
 *     int main(void) { RUN(adds); return test_end(); }
 *
 * A check that fails prints file:line, the expression and the values, and the
 * case goes on. The last line of a program is `N passed, M failed`, where N and
 * M count cases; the exit status is 1 if M > 0. `-v` prints the names of the
 * cases, any other argument runs only the cases whose name contains it.      */
#ifndef TEST_H_INCLUDED
#define TEST_H_INCLUDED

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__GNUC__)
#define TEST_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define TEST_PRINTF(at, first)
#endif

/* Defined as 1 for an emulated machine, where the longest cases are left out. */
#ifndef TEST_SLOW_MACHINE
#define TEST_SLOW_MACHINE 0
#endif

/* ---- cases and checks --------------------------------------------------- */

enum { TEST_MOST_PRINTED = 8 }; /* failed checks of one case that are printed */

static struct {
    const char *name;        /* of the running case                           */
    long        bad;         /* failed checks in it                           */
    int         skipped;     /* SKIP was called in it                         */
    int         passed, failed;
    int         verbose;
    const char *only;        /* run only cases whose name contains this       */
} test;

static inline void test_begin(int argc, char **argv)
{
    int i;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) test.verbose = 1;
        else test.only = argv[i];
    }
}

static inline void test_run(const char *name, void (*function)(void))
{
    clock_t start = clock();
    if (test.only && !strstr(name, test.only)) return;
    test.name = name;
    test.bad = 0;
    test.skipped = 0;
    function();
    if (test.bad > 0) {
        printf("FAILED: %s (%ld checks)\n", name, test.bad);
        test.failed++;
    } else if (!test.skipped) {
        test.passed++;
    }
    if (test.verbose) {
        printf("%-40s %6.0f ms\n", name, 1e3 * (double)(clock() - start) / CLOCKS_PER_SEC);
    }
    fflush(stdout);
}

static inline int test_end(void)
{
    printf("%d passed, %d failed\n", test.passed, test.failed);
    return test.failed > 0;
}

/* Counts a check; prints it if it failed. Returns whether it held.           */
static inline int test_check(int holds, const char *file, int line, const char *format, ...)
    TEST_PRINTF(4, 5);
static inline int test_check(int holds, const char *file, int line, const char *format, ...)
{
    va_list arguments;
    if (holds) return 1;
    if (test.bad++ < TEST_MOST_PRINTED) {
        printf("%s:%d: %s: ", file, line, test.name ? test.name : "");
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        printf("\n");
    }
#ifdef TEST_STOPS /* one failure is enough to know                                  */
    exit(1);
#endif
    return 0;
}

static inline void test_skip(const char *why)
{
    printf("skipped: %s\n", why);
    test.skipped = 1;
}

#define RUN(function) test_run(#function, function)
#define SKIP(why) do { test_skip(why); return; } while (0)

#define CHECK(condition) \
    test_check(!!(condition), __FILE__, __LINE__, "not true: %s", #condition)
#define CHECK_MSG(condition, format, ...) \
    test_check(!!(condition), __FILE__, __LINE__, "not true: %s: " format, #condition, __VA_ARGS__)
#define CHECK_INT(a, b) test_check_int((long long)(a), (long long)(b), __FILE__, __LINE__, #a, #b)
#define CHECK_STR(a, b) test_check_str((a), (b), __FILE__, __LINE__, #a)
#define CHECK_SAME(a, b, bytes) test_check_same((a), (b), (bytes), __FILE__, __LINE__, #a " == " #b)

static inline int test_check_int(long long a, long long b, const char *file, int line,
                                 const char *text_a, const char *text_b)
{
    return test_check(a == b, file, line, "%s is %lld, expected %s = %lld", text_a, a, text_b, b);
}

static inline int test_check_str(const char *a, const char *b, const char *file, int line,
                                 const char *text)
{
    return test_check(a && b ? strcmp(a, b) == 0 : a == b, file, line,
                      "%s is \"%s\", expected \"%s\"", text, a ? a : "(null)", b ? b : "(null)");
}

/* Bit for bit. Names the first byte that differs.                            */
static inline int test_check_same(const void *a, const void *b, size_t bytes, const char *file,
                                  int line, const char *text)
{
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    size_t i = 0;
    if (!a || !b) return test_check(a == b, file, line, "%s: one is NULL", text);
    if (memcmp(a, b, bytes) == 0) return 1;
    while (x[i] == y[i]) i++;
    return test_check(0, file, line, "%s: byte %lu of %lu is %02x, expected %02x", text,
                      (unsigned long)i, (unsigned long)bytes, (unsigned)x[i], (unsigned)y[i]);
}

/* ---- random numbers: splitmix64, the same on every machine -------------- */

static inline uint64_t random_bits(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* In [0, n).                                                                 */
static inline int random_below(uint64_t *seed, int n)
{
    return (int)(random_bits(seed) % (uint64_t)n);
}

/* In [low, high); exact arithmetic on 53 bits, so no libm.                   */
static inline double random_uniform(uint64_t *seed, double low, double high)
{
    return low + (high - low) * ((double)(random_bits(seed) >> 11) * (1.0 / 9007199254740992.0));
}

/* FNV-1a; start with 0.                                                      */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    size_t i;
    if (hash == 0) hash = 0xCBF29CE484222325u;
    for (i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 0x100000001B3u;
    return hash;
}

/* ---- memory ------------------------------------------------------------- */

/* malloc that ends the program instead of failing.                           */
static inline void *test_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        printf("no memory for %lu bytes\n0 passed, 1 failed\n", (unsigned long)bytes);
        exit(1);
    }
    return p;
}

/* An allocator for rwkv_options that counts, fails on demand, hands out memory
 * full of junk at addresses that are aligned exactly as asked and no better,
 * and notices writes past the end and wrong frees.                           */
typedef struct test_heap {
    long   calls;      /* allocations asked for                               */
    long   live;       /* given and not freed                                 */
    size_t live_bytes;
    long   fail_at;    /* this call (from 1) fails; 0: none                   */
    int    fail_after; /* and every later one too                             */
    long   errors;     /* bad alignments asked for, overruns, foreign frees   */
} test_heap;

typedef struct test_block { /* stands right before the memory handed out */
    void    *base;
    size_t   size;
    uint64_t mark;
} test_block;

enum { TEST_TAIL = 32 }; /* bytes of 0xEE after each block */

static inline void *heap_alloc(size_t size, size_t align, void *user)
{
    test_heap *heap = (test_heap *)user;
    test_block block;
    unsigned char *p;
    heap->calls++;
    if (align == 0 || (align & (align - 1)) != 0 || align > 64) heap->errors++;
    if (heap->fail_at && heap->calls == heap->fail_at) return NULL;
    if (heap->fail_at && heap->fail_after && heap->calls > heap->fail_at) return NULL;
    block.size = size;
    block.mark = 0x52574B5654455354u;
    block.base = malloc(sizeof block + size + 4 * align + TEST_TAIL);
    if (!block.base) return NULL;
    p = (unsigned char *)block.base + sizeof block;
    p += 2 * align - (uintptr_t)p % (2 * align) + align; /* odd multiple of align */
    memcpy(p - sizeof block, &block, sizeof block);
    memset(p, 0xA5, size);
    memset(p + size, 0xEE, TEST_TAIL);
    heap->live++;
    heap->live_bytes += size;
    return p;
}

static inline void heap_free(void *memory, void *user)
{
    test_heap *heap = (test_heap *)user;
    unsigned char *p = (unsigned char *)memory;
    test_block block;
    int i;
    if (!p) return;
    memcpy(&block, p - sizeof block, sizeof block);
    if (block.mark != 0x52574B5654455354u) {
        heap->errors++;
        return;
    }
    for (i = 0; i < TEST_TAIL; i++) {
        if (p[block.size + (size_t)i] != 0xEE) {
            heap->errors++;
            break;
        }
    }
    heap->live--;
    heap->live_bytes -= block.size;
    memset(p - sizeof block, 0x5A, sizeof block + block.size);
    free(block.base);
}

#endif /* TEST_H_INCLUDED */
