/* bench.c: how near rwkv.h comes to this machine's own limits.
 *
 *     bench [--type f32|f16|bf16|q8|q4] [--seconds N] FILE.rwkv | 169M | 430M | 1.5B
 *
 * 169M, 430M and 1.5B are random models of the paper's shapes, made on the spot
 * in a temporary file. Decoding one token reads every weight once, so its limit
 * is the read bandwidth; reading a prompt is matrix multiplication, so its limit
 * is the peak of fused multiply-adds or, for q8 and q4, of exact products of
 * 8-bit integers summed in 32 bits. Both limits are measured in turn with
 * what they limit, round after round, and what is printed are medians: on a
 * shared machine only the ratios mean something.                             */
#include "bench.h"
#if !defined(_WIN32)
#include <sys/resource.h>
#endif

enum { MOST_ROUNDS = 64, PREFILL = 512 };

static double peak_megabytes(void)
{
#if defined(_WIN32)
    return 0;
#else
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
#endif
}

/* ---- the limits --------------------------------------------------------- */

#if defined(RWKV__AVX)
#define AVX512 __attribute__((target("avx512f")))
#define AVX2 __attribute__((target("avx2,fma")))

/* Four streams, 64 bytes of each a step, with prefetch: the kindest way to ask
 * for memory.                                                                */
AVX2 static uint64_t read_all(const unsigned char *p, size_t bytes)
{
    const size_t quarter = bytes / 4 / 64 * 64;
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};
    uint64_t out[4];
    size_t i;
    int s;
    for (i = 0; i < quarter; i += 64)
        for (s = 0; s < 4; s++) {
            const unsigned char *q = p + (size_t)s * quarter + i;
            _mm_prefetch((const char *)q + 1024, _MM_HINT_T0);
            sum[s] = _mm256_add_epi64(sum[s], _mm256_load_si256((const __m256i *)(const void *)q));
            sum[s] = _mm256_add_epi64(sum[s], _mm256_load_si256((const __m256i *)(const void *)(q + 32)));
        }
    for (s = 1; s < 4; s++) sum[0] = _mm256_add_epi64(sum[0], sum[s]);
    _mm256_storeu_si256((__m256i *)(void *)out, sum[0]);
    return out[0] + out[1] + out[2] + out[3];
}

/* Independent chains of fma; returns the operations done (2 for each fma).   */
AVX512 static double fma_512(long steps, float *sink)
{
    __m512 a[16], b = _mm512_set1_ps(0.999999f), c = _mm512_set1_ps(1e-6f);
    long j;
    int i;
    for (i = 0; i < 16; i++) a[i] = _mm512_set1_ps((float)i);
    for (j = 0; j < steps; j++)
        RWKV__UNROLL_ALL
        for (i = 0; i < 16; i++) a[i] = _mm512_fmadd_ps(a[i], b, c);
    for (i = 1; i < 16; i++) a[0] = _mm512_add_ps(a[0], a[i]);
    *sink = _mm512_cvtss_f32(a[0]);
    return 2.0 * 16 * 16 * (double)steps;
}

AVX2 static double fma_256(long steps, float *sink)
{
    __m256 a[12], b = _mm256_set1_ps(0.999999f), c = _mm256_set1_ps(1e-6f);
    long j;
    int i;
    for (i = 0; i < 12; i++) a[i] = _mm256_set1_ps((float)i);
    for (j = 0; j < steps; j++)
        RWKV__UNROLL_ALL
        for (i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], b, c);
    for (i = 1; i < 12; i++) a[0] = _mm256_add_ps(a[0], a[i]);
    *sink = _mm256_cvtss_f32(a[0]);
    return 2.0 * 12 * 8 * (double)steps;
}

/* The same with products of four bytes each, as the kernels make them.       */
__attribute__((target("avx512f,avx512bw,avx512vnni")))
static double dot_512(long steps, float *sink)
{
    __m512i a[16], b = _mm512_set1_epi8(3), c = _mm512_set1_epi8(5);
    long j;
    int i;
    for (i = 0; i < 16; i++) a[i] = _mm512_set1_epi32(i);
    for (j = 0; j < steps; j++)
        RWKV__UNROLL_ALL
        for (i = 0; i < 16; i++) a[i] = _mm512_dpbusd_epi32(a[i], b, c);
    for (i = 1; i < 16; i++) a[0] = _mm512_add_epi32(a[0], a[i]);
    *sink = (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(a[0]));
    return 2.0 * 16 * 64 * (double)steps;
}

AVX2 static double dot_256(long steps, float *sink)
{
    __m256i a[12], b = _mm256_set1_epi8(3), one = _mm256_set1_epi16(1);
    long j;
    int i;
    for (i = 0; i < 12; i++) a[i] = _mm256_set1_epi32(i);
    for (j = 0; j < steps; j++)
        RWKV__UNROLL_ALL
        for (i = 0; i < 12; i++) {
            __asm__ volatile("" : "+x"(b)); /* else all steps are one            */
            a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(b, b), one));
        }
    for (i = 1; i < 12; i++) a[0] = _mm256_add_epi32(a[0], a[i]);
    *sink = (float)_mm_cvtsi128_si32(_mm256_castsi256_si128(a[0]));
    return 2.0 * 12 * 32 * (double)steps;
}

static double dot_chains(long steps, float *sink)
{
    return rwkv_isa_available(4) ? dot_512(steps, sink) : dot_256(steps, sink);
}

static double fma_chains(long steps, float *sink)
{
    return rwkv_isa_available(3) ? fma_512(steps, sink) : fma_256(steps, sink);
}
#else
static uint64_t read_all(const unsigned char *p, size_t bytes)
{
    const uint64_t *q = (const uint64_t *)(const void *)p;
    const size_t quarter = bytes / 32;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t i;
    for (i = 0; i < quarter; i++) {
        a += q[i];
        b += q[quarter + i];
        c += q[2 * quarter + i];
        d += q[3 * quarter + i];
    }
    return a + b + c + d;
}

static double fma_chains(long steps, float *sink)
{
    float a[64];
    long j;
    int i;
    for (i = 0; i < 64; i++) a[i] = (float)i;
    for (j = 0; j < steps; j++)
        for (i = 0; i < 64; i++) a[i] = rwkv__fma(a[i], 0.999999f, 1e-6f);
    for (i = 0, *sink = 0; i < 64; i++) *sink += a[i];
    return 2.0 * 64 * (double)steps;
}

static double dot_chains(long steps, float *sink)
{
    uint32_t a[64];
    volatile uint32_t b = 0x03030303u;
    long j;
    int i;
    for (i = 0; i < 64; i++) a[i] = (uint32_t)i;
    for (j = 0; j < steps; j++)
        for (i = 0; i < 64; i++) a[i] = rwkv__dot4(a[i], b, 0x05050505u);
    for (i = 0, *sink = 0; i < 64; i++) *sink += (float)a[i];
    return 2.0 * 64 * 4 * (double)steps;
}
#endif

static const size_t pool_bytes = (size_t)512 << 20; /* far more than any cache     */
static volatile uint64_t keep_integer;
static volatile float keep_float;

/* GB/s of reading memory with n threads, each its own part.                  */
static double read_bandwidth(const unsigned char *pool, int n)
{
    const size_t part = pool_bytes / (size_t)n / 4096 * 4096;
    double start = now();
    int i;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(n)
#endif
    for (i = 0; i < n; i++) keep_integer = read_all(pool + (size_t)i * part, part);
    return (double)part * n / (now() - start) / 1e9;
}

/* GFLOP/s of n threads, or GOP/s.                                            */
static double peak_of(double (*chains)(long, float *), int n)
{
    double start = now(), operations = 0;
    int i;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(n) reduction(+ : operations)
#endif
    for (i = 0; i < n; i++) {
        float sink;
        operations += chains(1000000, &sink);
        keep_float = sink;
    }
    return operations / (now() - start) / 1e9;
}

/* ---- the model ---------------------------------------------------------- */

/* Multiply-adds of one token in the layers, and in the head.                 */
static double layer_products(const rwkv_info *i)
{
    const double D = i->n_embd, A = i->n_att, F = i->n_ffn;
    return i->n_layer * (4 * D * A + D * D + 2 * D * F);
}

static double head_products(const rwkv_info *i)
{
    return (double)i->n_vocab * i->n_embd;
}

/* Bytes of all matrices, which a token reads.                                */
static double matrix_bytes(const rwkv_model *model)
{
    double bytes = 0;
    int id;
    for (id = 0; id < RWKV__TENSORS; id++)
        if (rwkv__matrix_index(id) >= 0)
            bytes += (double)rwkv__places_of(&model->file, id).bytes *
                     (id == RWKV__HEAD ? 1 : (double)model->file.n_layer);
    return bytes;
}

static void bench_threads(const char *path, int n_threads, double seconds,
                          const unsigned char *pool)
{
    rwkv_options options = {0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    rwkv_error error;
    rwkv_model *model;
    rwkv_state *state;
    rwkv_info info;
    double load, bandwidth[MOST_ROUNDS], peak[MOST_ROUNDS], decode[MOST_ROUNDS];
    double prefill[MOST_ROUNDS], of_bandwidth[MOST_ROUNDS], of_peak[MOST_ROUNDS];
    double bytes, operations, start, end;
    double (*chains)(long, float *);
    int *tokens = (int *)test_alloc(PREFILL * sizeof *tokens), n = 0, k;
    options.n_threads = n_threads;
    start = now();
    model = rwkv_load(path, &options, &error);
    load = now() - start;
    if (!model) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(1);
    }
    state = rwkv_state_new(model);
    if (!state) {
        fprintf(stderr, "bench: no memory for a state\n");
        exit(1);
    }
    info = rwkv_model_info(model);
    bytes = matrix_bytes(model);
    chains = info.type >= RWKV_TYPE_Q8 ? dot_chains : fma_chains;
    operations = 2 * (layer_products(&info) * PREFILL + head_products(&info));
    random_tokens(1, info.n_vocab, tokens, PREFILL);
    rwkv_eval_sequence(tokens, PREFILL, state); /* once, to warm up               */

    for (end = now() + seconds; n < MOST_ROUNDS && (n < 5 || now() < end); n++) {
        double used = 0;
        bandwidth[n] = read_bandwidth(pool, n_threads);
        start = now();
        for (k = 0; used < 0.2; k++) {
            rwkv_eval(tokens[k % PREFILL], state);
            used = now() - start;
        }
        decode[n] = k / used;
        bandwidth[n] = 0.5 * (bandwidth[n] + read_bandwidth(pool, n_threads));
        of_bandwidth[n] = 100 * decode[n] * bytes / 1e9 / bandwidth[n];

        peak[n] = peak_of(chains, n_threads);
        start = now();
        used = 0;
        for (k = 0; used < 0.05; k++) {
            rwkv_eval_sequence(tokens, PREFILL, state);
            used = now() - start;
        }
        prefill[n] = k / used;
        peak[n] = 0.5 * (peak[n] + peak_of(chains, n_threads));
        of_peak[n] = 100 * prefill[n] * operations / 1e9 / peak[n];
    }
    printf("%7d %10.1f %8.1f %8.1f %5.0f%% %10.0f %8.0f %8.0f %5.0f%% %8.2f\n", n_threads,
           median(decode, n), median(decode, n) * bytes / 1e9, median(bandwidth, n),
           median(of_bandwidth, n), median(prefill, n) * PREFILL,
           median(prefill, n) * operations / 1e9, median(peak, n), median(of_peak, n), load * 1e3);
    rwkv_state_free(state);
    rwkv_free(model);
    free(tokens);
}

/* Load the model, read a prompt and write a token: the shape, and what memory it
 * took at the most, pages of the mapped file included.                       */
static rwkv_info look(const char *path, double *megabytes)
{
    rwkv_error error;
    rwkv_model *model = rwkv_load(path, NULL, &error);
    rwkv_state *state = rwkv_state_new(model);
    rwkv_info info = rwkv_model_info(model);
    int tokens[PREFILL];
    if (!state) {
        fprintf(stderr, "bench: %s\n", model ? "no memory for a state" : error.message);
        exit(1);
    }
    random_tokens(1, info.n_vocab, tokens, PREFILL);
    rwkv_eval_sequence(tokens, PREFILL, state);
    rwkv_eval(tokens[0], state);
    *megabytes = peak_megabytes();
    rwkv_state_free(state);
    rwkv_free(model);
    return info;
}

static int usage(void)
{
    fprintf(stderr, "usage: bench [--type f32|f16|bf16|q8|q4] [--seconds N] FILE.rwkv | 169M | 430M | 1.5B\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const char *const type_names[] = {"", "f32", "f16", "bf16", "q8", "q4"};
    shape s = {50277, 768, 768, 3072, 12, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 1};
    double seconds = 5, megabytes;
    const char *what = NULL, *path = NULL;
    char temporary[512];
    void *memory;
    unsigned char *pool;
    rwkv_info info;
    int i, n_threads, most = 1;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--type") == 0 && i + 1 < argc) {
            for (s.type = RWKV_TYPE_F32; strcmp(type_names[s.type], argv[i + 1]) != 0;) {
                if (s.type == RWKV_TYPE_Q4) return usage();
                s.type = (rwkv_type)(s.type + 1);
            }
            i++;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = atof(argv[++i]);
        } else if (argv[i][0] != '-' && !what) {
            what = argv[i];
        } else {
            return usage();
        }
    }
    if (!what) return usage();
    if (strcmp(what, "169M") == 0 || strcmp(what, "430M") == 0 || strcmp(what, "1.5B") == 0) {
        if (what[0] == '4') s.L = 24, s.D = s.A = 1024, s.F = 4096;
        if (what[1] == '.') s.L = 24, s.D = s.A = 2048, s.F = 8192;
        path = temporary_path(temporary);
        if (model_write_file(&s, path) != 0) {
            fprintf(stderr, "bench: cannot write %s\n", path);
            remove(path);
            return 1;
        }
    } else {
        path = what;
    }
    info = look(path, &megabytes);
    pool = aligned_bytes(pool_bytes + 4096, &memory);
    memset(pool, 1, pool_bytes + 4096);
    printf("%s: %d layers x %d, vocabulary %d, %s, %.0f MB, isa %s, prompts of %d tokens\n", what,
           info.n_layer, info.n_embd, info.n_vocab, type_names[info.type],
           (double)info.model_bytes / 1e6, info.isa, PREFILL);
    printf("a state takes %.2f MB, %.3f MB saved; peak memory %.0f MB\n",
           (double)info.state_bytes / 1e6, (double)info.save_bytes / 1e6, megabytes);
    printf("%7s %10s %8s %8s %6s %10s %8s %8s %6s %8s\n", "threads", "decode t/s", "GB/s", "of", "",
           "prompt t/s", "GFLOP/s", "of", "", "load ms");
#if defined(_OPENMP)
    most = 2;
#endif
    for (n_threads = 1; n_threads <= most; n_threads++) {
        bench_threads(path, n_threads, seconds, pool);
        fflush(stdout);
    }
    free(memory);
    if (path == temporary) remove(path);
    return 0;
}
