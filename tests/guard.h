/* guard.h: buffers between pages that may not be touched, where the system has such. */
#ifndef GUARD_H_INCLUDED
#define GUARD_H_INCLUDED

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#define GUARD_PAGES 1
#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
#else
#define GUARD_PAGES 0
#endif

typedef struct guarded {
    unsigned char *p;    /* `size` bytes */
    size_t         size;
    unsigned char *base; /* of the mapping */
    size_t         bytes;
} guarded;

/* Which of its ends is flush with a page that may not be touched. */
typedef enum guard_side { GUARD_BEGIN, GUARD_END } guard_side;

static inline guarded guarded_new(size_t size, guard_side side)
{
    guarded g;
#if GUARD_PAGES
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
    g.bytes = whole + 2 * page;
    g.base = (unsigned char *)mmap(NULL, g.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.base == (unsigned char *)MAP_FAILED) abort();
    if (mprotect(g.base + page, whole, PROT_READ | PROT_WRITE) != 0) abort();
    g.p = g.base + page + (side == GUARD_END ? whole - size : 0);
#else
    (void)side;
    g.bytes = size + 64;
    g.base = (unsigned char *)malloc(g.bytes);
    if (!g.base) abort();
    g.p = g.base + (64 - (uintptr_t)g.base % 64) % 64;
#endif
    g.size = size;
    return g;
}

static inline void guarded_free(guarded *g)
{
#if GUARD_PAGES
    munmap(g->base, g->bytes);
#else
    free(g->base);
#endif
    memset(g, 0, sizeof *g);
}
#endif
