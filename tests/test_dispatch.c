/* test_dispatch.c: the list of instruction sets, and choosing one. */
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__TINYC__) && !defined(RWKV_NO_SIMD)
#include <immintrin.h>
#ifndef RWKV__CPUID /* else the instructions are emulated: tests/simde */
#define RWKV__CPUID
#define STAND_IN
#include <cpuid.h>

/* What CPUID and XGETBV say of a processor, as far as they are asked. */
typedef struct processor {
    const char *name, *isas;
    uint32_t leaf_1_ecx, leaves, leaf_7_ebx, leaf_7_ecx, subleaves, leaf_7_1_eax, xcr0;
} processor;

static const processor *stand_in; /* NULL: the one that runs this */

static inline void rwkv__cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *r)
{
    const processor *p = stand_in;
    if (!p) {
        __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
        return;
    }
    r[0] = leaf == 0 ? p->leaves : leaf == 7 ? subleaf ? p->leaf_7_1_eax : p->subleaves : 0;
    r[1] = leaf == 7 && subleaf == 0 ? p->leaf_7_ebx : 0;
    r[2] = leaf == 1 ? p->leaf_1_ecx : leaf == 7 && subleaf == 0 ? p->leaf_7_ecx : 0;
    r[3] = 0;
}

static inline uint32_t rwkv__xcr0(void)
{
    uint32_t low, high;
    if (stand_in) return stand_in->xcr0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif
#endif

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape small = {37, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

static int isa_count(void)
{
    int n = 0;
    while (n < 100 && rwkv_isa_available(n)) n++;
    return n;
}

static void list(void)
{
    int n = isa_count(), i, j;
    CHECK(n >= 1 && n < 100);
    CHECK_STR(rwkv_isa_available(0), "scalar");
    for (i = 0; i < n; i++) {
        CHECK(strlen(rwkv_isa_available(i)) > 0);
        CHECK(rwkv_isa_available(i) == rwkv_isa_available(i));
        for (j = 0; j < i; j++) {
            CHECK_MSG(strcmp(rwkv_isa_available(i), rwkv_isa_available(j)) != 0, "%d and %d", i, j);
        }
    }
    CHECK(rwkv_isa_available(n) == NULL);
    CHECK(rwkv_isa_available(n + 1) == NULL);
    CHECK(rwkv_isa_available(1000000) == NULL);
    CHECK(rwkv_isa_available(0x7FFFFFFF) == NULL);
    CHECK(rwkv_isa_available(-1) == NULL);
}

/* The kernels that are there, in one line. */
static const char *isa_line(void)
{
    static char line[300];
    int i;
    line[0] = 0;
    for (i = 0; i < isa_count(); i++) {
        if (i) strcat(line, " ");
        strcat(line, rwkv_isa_available(i));
    }
#ifdef RWKV__SIMD32
    strcat(line, " smlad");
#endif
    return line;
}

/* `make cross` says which it wants tested. */
static void list_is_as_expected(void)
{
    CHECK_STR(isa_line(), getenv("RWKV_TEST_ISAS"));
}

#if defined(STAND_IN) && defined(RWKV__AVX)
enum {
    SSSE3 = 1u << 9, AVX = SSSE3 | 1u << 28 | 1u << 27 | 1u << 12 | 1u << 29, /* with FMA, F16C */
    AVX2 = 1u << 5, AVX512F = 1u << 16, AVX512BW = 1u << 30, AVX512VNNI = 1u << 11,
    AVXVNNI = 1u << 4, SAVES_AVX = 7, SAVES_AVX512 = 0xe7
};

static const processor processors[] = {
    {"one of 2004", "scalar", 0, 5, 0, 0, 0, 0, 0},
    {"Core 2", "scalar ssse3", SSSE3, 10, 0, 0, 0, 0, 0},
    {"Sandy Bridge", "scalar ssse3", SSSE3 | 1u << 28 | 1u << 27, 13, 0, 0, 0, 0, SAVES_AVX},
    {"Piledriver", "scalar ssse3", AVX, 13, 0, 0, 0, 0, SAVES_AVX},
    {"Haswell", "scalar ssse3 avx2", AVX, 13, AVX2, 0, 0, 0, SAVES_AVX},
    {"no system for it", "scalar ssse3", AVX, 13, AVX2, 0, 0, 0, 3},
    {"no leaf 7", "scalar ssse3", AVX, 6, AVX2, 0, 0, 0, SAVES_AVX},
    {"Alder Lake", "scalar ssse3 avx2 avxvnni", AVX, 32, AVX2, 0, 1, AVXVNNI, SAVES_AVX},
    {"no subleaf 1", "scalar ssse3 avx2", AVX, 32, AVX2, 0, 0, AVXVNNI, SAVES_AVX},
    {"Knights Landing", "scalar ssse3 avx2 avx512", AVX, 13, AVX2 | AVX512F, 0, 0, 0, SAVES_AVX512},
    {"Skylake-X", "scalar ssse3 avx2 avx512", AVX, 22, AVX2 | AVX512F | AVX512BW, 0, 0, 0,
     SAVES_AVX512},
    {"VNNI without BW", "scalar ssse3 avx2 avx512", AVX, 22, AVX2 | AVX512F, AVX512VNNI, 0, 0,
     SAVES_AVX512},
    {"Ice Lake", "scalar ssse3 avx2 avx512 avx512vnni", AVX, 27, AVX2 | AVX512F | AVX512BW,
     AVX512VNNI, 0, 0, SAVES_AVX512},
    {"Sapphire Rapids", "scalar ssse3 avx2 avxvnni avx512 avx512vnni", AVX, 32,
     AVX2 | AVX512F | AVX512BW, AVX512VNNI, 1, AVXVNNI, SAVES_AVX512},
    {"AVX-512 not saved", "scalar ssse3 avx2 avxvnni", AVX, 32, AVX2 | AVX512F | AVX512BW,
     AVX512VNNI, 1, AVXVNNI, SAVES_AVX},
    {"both but VNNI in 512", "scalar ssse3 avx2 avxvnni avx512", AVX, 32, AVX2 | AVX512F, 0, 1,
     AVXVNNI, SAVES_AVX512},
};

static int codes_are_of(const rwkv__kernels *k, const char *isa)
{
    if (strcmp(isa, "avx512vnni") == 0) return k->matmul[4] == rwkv__matmul_4_avx512;
#ifdef RWKV__AVXVNNI
    if (strcmp(isa, "avxvnni") == 0) return k->matmul[4] == rwkv__matmul_4_avxvnni;
#endif
    if (strcmp(isa, "avx2") == 0) return k->matmul[4] == rwkv__matmul_4_avx2;
    if (strcmp(isa, "ssse3") == 0) return k->matmul[4] == rwkv__matmul_4_ssse3;
    return k->matmul[4] == rwkv__matmul_4_scalar;
}

static int floats_are_of(const rwkv__kernels *k, const char *isa)
{
    if (strncmp(isa, "avx512", 6) == 0) return k->norm == rwkv__norm_avx512;
    if (strncmp(isa, "avx", 3) == 0) return k->norm == rwkv__norm_avx2;
    if (strcmp(isa, "ssse3") == 0) return k->norm == rwkv__norm_ssse3;
    return k->norm == rwkv__norm_scalar;
}

/* Kernels are chosen here, and not run. */
static void processors_that_are_not_here(void)
{
    const size_t n = sizeof processors / sizeof *processors;
    for (stand_in = processors; stand_in < processors + n; stand_in++) {
        const char *isa, *widest = NULL, *vnni = " avxvnni", *at = strstr(stand_in->isas, vnni);
        rwkv__kernels k;
        char expected[100];
        int i;
        strcpy(expected, stand_in->isas);
#ifndef RWKV__AVXVNNI /* an old compiler */
        if (at) strcpy(expected + (at - stand_in->isas), at + strlen(vnni));
        at = NULL;
#endif
        CHECK_MSG(strcmp(isa_line(), expected) == 0, "%s: %s", stand_in->name, isa_line());
        for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
            CHECK(rwkv__kernels_choose(&k, isa));
            CHECK_STR(k.isa, isa);
            CHECK_MSG(floats_are_of(&k, isa), "%s: %s", stand_in->name, isa);
            widest = isa;
            if (strcmp(isa, "avx512") == 0) isa = at ? "avxvnni" : "avx2"; /* it has none for codes */
            CHECK_MSG(codes_are_of(&k, isa), "%s: %s", stand_in->name, widest);
        }
        CHECK(rwkv__kernels_choose(&k, NULL));
        CHECK_STR(k.isa, widest);
        CHECK(!rwkv__kernels_choose(&k, "neon"));
        CHECK(!rwkv__kernels_choose(&k, ""));
    }
    stand_in = NULL;
}
#endif

static void forced(void)
{
    model_image m = model_image_new(&small);
    int i;
    for (i = 0; i < isa_count(); i++) {
        rwkv_options o = options_isa(rwkv_isa_available(i));
        rwkv_model *model = load_image(&m, &o);
        CHECK_STR(rwkv_model_info(model).isa, rwkv_isa_available(i));
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* The name is compared, not the pointer.                                     */
static void name_in_other_memory(void)
{
    model_image m = model_image_new(&small);
    char name[7] = {'s', 'c', 'a', 'l', 'a', 'r', 0};
    rwkv_options o = options_isa(name);
    rwkv_model *model = load_image(&m, &o);
    memset(name, 'x', 6);
    CHECK_STR(rwkv_model_info(model).isa, "scalar");
    rwkv_free(model);
    model_image_free(&m);
}

static void default_is_widest(void)
{
    model_image m = model_image_new(&small);
    rwkv_options o = options_isa(NULL);
    rwkv_model *model = load_image(&m, NULL), *zero = load_image(&m, &o);
    CHECK_STR(rwkv_model_info(model).isa, rwkv_isa_available(isa_count() - 1));
    CHECK_STR(rwkv_model_info(zero).isa, rwkv_isa_available(isa_count() - 1));
    rwkv_free(model);
    rwkv_free(zero);
    model_image_free(&m);
}

static void unknown_names(void)
{
    static char longer[300]; /* than any message */
    static const char *names[] = {"", "avx9000", "SCALAR", "scalar ", "scala", "neon5", "%s%s%n",
                                  longer};
    model_image m = model_image_new(&small);
    size_t i;
    memset(longer, 'x', sizeof longer - 1);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        rwkv_options o = options_isa(names[i]);
        rwkv_error error;
        memset(&error, 0xC3, sizeof error);
        CHECK_MSG(rwkv_load_memory(m.data, m.size, &o, &error) == NULL, "isa \"%s\"", names[i]);
        CHECK_MSG(error.code == RWKV_ERR_ARGUMENT || error.code == RWKV_ERR_UNSUPPORTED,
                  "code %d", (int)error.code);
        if (!CHECK(memchr(error.message, 0, sizeof error.message) != NULL)) continue;
        if (strlen(names[i]) < 60) {
            CHECK_MSG(strstr(error.message, names[i]), "%s in: %s", names[i], error.message);
        }
    }
    model_image_free(&m);
}

/* Each isa keeps its own kernels: models of several live side by side.       */
static void side_by_side(void)
{
    model_image m = model_image_new(&small);
    rwkv_model *model[100];
    rwkv_state *state[100];
    int n = isa_count(), i, t;
    for (i = 0; i < n; i++) {
        rwkv_options o = options_isa(rwkv_isa_available(i));
        model[i] = load_image(&m, &o);
        state[i] = rwkv_state_new(model[i]);
    }
    for (t = 0; t < 20; t++) {
        for (i = 0; i < n; i++) {
            CHECK(rwkv_eval(t, state[i]) != NULL);
            CHECK_SAME(rwkv_logits(state[i]), rwkv_logits(state[0]),
                       sizeof(float) * (size_t)small.V);
        }
    }
    for (i = 0; i < n; i++) {
        rwkv_state_free(state[i]);
        rwkv_free(model[i]);
    }
    model_image_free(&m);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(list);
    if (getenv("RWKV_TEST_ISAS")) RUN(list_is_as_expected);
#if defined(STAND_IN) && defined(RWKV__AVX)
    RUN(processors_that_are_not_here);
#endif
    RUN(forced);
    RUN(name_in_other_memory);
    RUN(default_is_widest);
    RUN(unknown_names);
    RUN(side_by_side);
    return test_end();
}
