/* bench_limits.h: what this machine can do at most: read memory, and multiply and
 * add. Both are measured for some milliseconds of every thread, which does what
 * it can until the time is over, so that a thread which is held up by others holds
 * up nobody. A few tasks of 1 ms would read low: a core needs time to speed up. */
#ifndef BENCH_LIMITS_H_INCLUDED
#define BENCH_LIMITS_H_INCLUDED

#include "bench.h"

enum { MOST_THREADS = 256 };

static double limit_seconds = 0.012;       /* of every measurement               */
static volatile uint64_t keep_integer;     /* results that must not be left out  */
static volatile float keep_float;

static inline int has_isa(const char *name)
{
    int i;
    for (i = 0; rwkv_isa_available(i); i++)
        if (strcmp(rwkv_isa_available(i), name) == 0) return 1;
    return 0;
}

/* ---- reading ------------------------------------------------------------ */

/* The kindest way to ask for memory is not the same on all processors, nor in a
 * cache: so many streams through a piece, 128 bytes of each in turn, and perhaps
 * with prefetch of what lies so many bytes ahead.                            */
#define STREAMS(read_with, target)                                                               \
    target static uint64_t read_with##_1(const unsigned char *p, size_t n)                       \
    {                                                                                            \
        return read_with(p, n, 1, 0);                                                            \
    }                                                                                            \
    target static uint64_t read_with##_2(const unsigned char *p, size_t n)                       \
    {                                                                                            \
        return read_with(p, n, 2, 0);                                                            \
    }                                                                                            \
    target static uint64_t read_with##_4(const unsigned char *p, size_t n)                       \
    {                                                                                            \
        return read_with(p, n, 4, 1024);                                                         \
    }

RWKV__INLINE uint64_t read_words(const unsigned char *p, size_t n, size_t streams, size_t ahead)
{
    const size_t part = n / streams / 128 * 128;
    uint64_t sum[4] = {0, 0, 0, 0}, word[4];
    size_t i, s, k;
    for (i = 0; i < part; i += 128)
        for (s = 0; s < streams; s++) {
            if (ahead) RWKV__PREFETCH_NEAR(p + s * part + i + ahead);
            if (ahead) RWKV__PREFETCH_NEAR(p + s * part + i + ahead + 64);
            for (k = 0; k < 128; k += sizeof word) {
                memcpy(word, p + s * part + i + k, sizeof word);
                sum[0] += word[0];
                sum[1] += word[1];
                sum[2] += word[2];
                sum[3] += word[3];
            }
        }
    return sum[0] + sum[1] + sum[2] + sum[3];
}
STREAMS(read_words, )

#if defined(RWKV__AVX)
#define AVX2 __attribute__((target("avx2,fma")))

AVX2 RWKV__INLINE uint64_t read_avx2(const unsigned char *p, size_t n, size_t streams, size_t ahead)
{
    const size_t part = n / streams / 128 * 128;
    __m256i sum[4];
    uint64_t out[4];
    size_t i, s, k;
    for (k = 0; k < 4; k++) sum[k] = _mm256_setzero_si256();
    for (i = 0; i < part; i += 128)
        RWKV__UNROLL_ALL
        for (s = 0; s < streams; s++) {
            const __m256i *q = (const __m256i *)(const void *)(p + s * part + i);
            if (ahead) _mm_prefetch((const char *)q + ahead, _MM_HINT_T0);
            if (ahead) _mm_prefetch((const char *)q + ahead + 64, _MM_HINT_T0);
            RWKV__UNROLL_ALL
            for (k = 0; k < 4; k++) sum[k] = _mm256_add_epi64(sum[k], _mm256_load_si256(q + k));
        }
    for (k = 1; k < 4; k++) sum[0] = _mm256_add_epi64(sum[0], sum[k]);
    _mm256_storeu_si256((__m256i *)(void *)out, sum[0]);
    return out[0] + out[1] + out[2] + out[3];
}
STREAMS(read_avx2, AVX2)
#endif

typedef uint64_t (*reader)(const unsigned char *p, size_t n);

/* As many bytes as a token reads, up to 512 MB, which are read over and over: a
 * model that fits into a cache is compared with that cache.                  */
typedef struct reading {
    unsigned char *bytes;
    void          *memory;
    size_t         part, piece; /* of each thread; between looks at the clock      */
    size_t         at[MOST_THREADS]; /* where each thread goes on                  */
    int            n_threads;
} reading;

static void reading_init(reading *r, double bytes, int n_threads)
{
    const double most = 512e6, least = 65536.0 * n_threads;
    const size_t size = (size_t)(bytes < least ? least : bytes > most ? most : bytes);
    memset(r, 0, sizeof *r);
    r->n_threads = n_threads;
    r->part = size / (size_t)n_threads / 4096 * 4096;
    r->piece = r->part < 1 << 20 ? r->part : r->part / (r->part >> 20) / 4096 * 4096;
    r->bytes = aligned_bytes(r->part * (size_t)n_threads + 8192, &r->memory); /* read ahead  */
    memset(r->bytes, 1, r->part * (size_t)n_threads + 8192);
}

static void reading_free(reading *r)
{
    free(r->memory);
}

static double read_with(reading *r, reader way)
{
    const double start = now();
    double bytes = 0;
    int i;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(r->n_threads) reduction(+ : bytes)
#endif
    for (i = 0; i < r->n_threads; i++) {
        uint64_t sum = 0;
        do {
            if (r->at[i] + r->piece > r->part) r->at[i] = 0;
            sum += way(r->bytes + (size_t)i * r->part + r->at[i], r->piece);
            r->at[i] += r->piece;
            bytes += (double)r->piece;
        } while (now() - start < limit_seconds);
        keep_integer = sum;
    }
    return bytes / (now() - start) / 1e9;
}

/* GB/s, the best of the ways to read.                                        */
static double read_limit(reading *r)
{
    reader readers[3] = {read_words_1, read_words_2, read_words_4};
    double best = 0;
    int i;
#if defined(RWKV__AVX)
    if (has_isa("avx2")) {
        readers[0] = read_avx2_1;
        readers[1] = read_avx2_2;
        readers[2] = read_avx2_4;
    }
#endif
    for (i = 0; i < 3; i++) {
        const double rate = read_with(r, readers[i]);
        if (rate > best) best = rate;
    }
    return best;
}

/* ---- multiplying and adding --------------------------------------------- */

/* Independent chains of multiply-adds in all lanes of so many registers. Returns
 * the operations done, 2 for each. `more` takes a step of a[i], `keep` uses it, and
 * both may use what is declared by `with`.                                   */
#define CHAINS(name, target, type, n, lanes, with, first, more, keep)                            \
    target static double name(long steps)                                                        \
    {                                                                                            \
        with                                                                                     \
        type a[n];                                                                               \
        long j;                                                                                  \
        int i;                                                                                   \
        RWKV__UNROLL_ALL                                                                         \
        for (i = 0; i < n; i++) a[i] = first;                                                    \
        for (j = 0; j < steps; j++) {                                                            \
            RWKV__UNROLL_ALL                                                                     \
            for (i = 0; i < n; i++) {                                                            \
                more;                                                                            \
            }                                                                                    \
        }                                                                                        \
        RWKV__UNROLL_ALL                                                                         \
        for (i = 0; i < n; i++) {                                                                \
            keep;                                                                                \
        }                                                                                        \
        return 2.0 * n * lanes * (double)steps;                                                  \
    }

/* Products of floats; and of bytes, four in each lane, as the kernels make them. A
 * register that no compiler sees through keeps the steps from becoming one.  */
#if !defined(RWKV__NEON)
CHAINS(fma_scalar, , float, 16, 1, , (float)i, a[i] = rwkv__fma(a[i], 0.999999f, 1e-6f),
       keep_float = a[i])
CHAINS(dot_scalar, , uint32_t, 16, 4, , (uint32_t)i,
       a[i] = rwkv__dot4(a[i], a[i] | 0x03030303u, 0x05050505u), keep_integer = a[i])
#endif

#if defined(RWKV__AVX)
#define AVX512 __attribute__((target("avx512f")))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define KEEP_AVX(a) __asm__ volatile("" : : "x"(a))
#define KEEP_AVX512(a) __asm__ volatile("" : : "v"(a))

CHAINS(fma_avx2, AVX2, __m256, 12, 8, , _mm256_set1_ps((float)i),
       a[i] = _mm256_fmadd_ps(a[i], _mm256_set1_ps(0.999999f), _mm256_set1_ps(1e-6f)),
       KEEP_AVX(a[i]))
CHAINS(fma_avx512, AVX512, __m512, 16, 16, , _mm512_set1_ps((float)i),
       a[i] = _mm512_fmadd_ps(a[i], _mm512_set1_ps(0.999999f), _mm512_set1_ps(1e-6f)),
       KEEP_AVX512(a[i]))
CHAINS(dot_avx2, AVX2, __m256i, 12, 32, __m256i b = _mm256_set1_epi8(3);, _mm256_set1_epi32(i),
       __asm__ volatile("" : "+x"(b));
       a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(b, b),
                                                       _mm256_set1_epi16(1))),
       KEEP_AVX(a[i]))
CHAINS(dot_avx512vnni, AVX512_VNNI, __m512i, 16, 64, , _mm512_set1_epi32(i),
       a[i] = _mm512_dpbusd_epi32(a[i], _mm512_set1_epi8(3), _mm512_set1_epi8(5)),
       KEEP_AVX512(a[i]))
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define BENCH_AVXVNNI
CHAINS(dot_avxvnni, __attribute__((target("avx2,avxvnni"))), __m256i, 12, 32, ,
       _mm256_set1_epi32(i),
       a[i] = _mm256_dpbusd_avx_epi32(a[i], _mm256_set1_epi8(3), _mm256_set1_epi8(5)),
       KEEP_AVX(a[i]))
#endif
#endif

#if defined(RWKV__NEON)
#define KEEP_NEON(a) __asm__ volatile("" : : "w"(a))

CHAINS(fma_neon, , float32x4_t, 24, 4, , vdupq_n_f32((float)i),
       a[i] = vfmaq_f32(vdupq_n_f32(1e-6f), a[i], vdupq_n_f32(0.999999f)), KEEP_NEON(a[i]))
CHAINS(dot_neon, , int32x4_t, 16, 16, int8x16_t b;, vdupq_n_s32(i),
       b = vreinterpretq_s8_s32(a[i]);
       a[i] = vpadalq_s16(a[i], vmlal_s8(vmull_s8(vget_low_s8(b), vdup_n_s8(3)), vget_high_s8(b),
                                         vdup_n_s8(3))),
       KEEP_NEON(a[i]))
#endif
#if defined(RWKV__DOTPROD)
#if defined(__ARM_FEATURE_DOTPROD)
#define DOTPROD
#else
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
CHAINS(dot_dotprod, DOTPROD, int32x4_t, 24, 16, , vdupq_n_s32(i),
       a[i] = vdotq_s32(a[i], vdupq_n_s8(3), vdupq_n_s8(5)), KEEP_NEON(a[i]))
#endif

typedef double (*chains)(long steps);

static chains fma_chains(void)
{
#if defined(RWKV__AVX)
    if (has_isa("avx512")) return fma_avx512;
    if (has_isa("avx2")) return fma_avx2;
#endif
#if defined(RWKV__NEON)
    return fma_neon;
#else
    return fma_scalar;
#endif
}

static chains dot_chains(void)
{
#if defined(RWKV__AVX)
    if (has_isa("avx512vnni")) return dot_avx512vnni;
#if defined(BENCH_AVXVNNI)
    if (has_isa("avxvnni")) return dot_avxvnni;
#endif
    if (has_isa("avx2")) return dot_avx2;
#endif
#if defined(RWKV__DOTPROD)
    if (has_isa("dotprod")) return dot_dotprod;
#endif
#if defined(RWKV__NEON)
    return dot_neon;
#else
    return dot_scalar;
#endif
}

/* GFLOP/s of n threads, or GOP/s.                                            */
static double peak_limit(chains run, int n)
{
    const double start = now();
    double operations = 0;
    int i;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(n) reduction(+ : operations)
#endif
    for (i = 0; i < n; i++)
        do {
            operations += run(20000);
        } while (now() - start < limit_seconds);
    return operations / (now() - start) / 1e9;
}

#endif /* BENCH_LIMITS_H_INCLUDED */
