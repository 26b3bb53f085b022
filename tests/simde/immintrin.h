/* immintrin.h: stands before the compiler's, with -Itests/simde, and gives what a machine with
 * AVX2, FMA and F16C lacks of AVX-VNNI and AVX-512, by SIMDe (Debian: libsimde-dev), so that rwkv.h
 * runs all its kernels of x86-64. Compile with -mavx2 -mfma -mf16c and nothing wider; gcc or clang. */
#ifndef SIMDE_IMMINTRIN_H_INCLUDED
#define SIMDE_IMMINTRIN_H_INCLUDED
#include <stdint.h>
#include_next <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <simde/x86/avx512.h>

/* ---- what SIMDe lacks --------------------------------------------------- */

typedef int8_t   simd_i8x16 __attribute__((vector_size(16)));
typedef uint16_t simd_u16x16 __attribute__((vector_size(32)));
typedef int32_t  simd_i32x16 __attribute__((vector_size(64)));

static inline __m512 simd_from_halves(__m256i a)
{
    return simde_mm512_insertf32x8(
        simde_mm512_castps256_ps512(_mm256_cvtph_ps(_mm256_castsi256_si128(a))),
        _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1)), 1);
}

#define SIMD_CONVERT(a, from, to) __builtin_convertvector((from)(a), to)

#define _mm256_dpbusd_avx_epi32(sum, a, b) simde_mm256_dpbusd_epi32(sum, a, b)
#undef _mm512_maskz_cvtph_ps
#define _mm512_maskz_cvtph_ps(k, a) simde_mm512_maskz_mov_ps(k, simd_from_halves(a))
#undef _mm512_maskz_slli_epi32
#define _mm512_maskz_slli_epi32(k, a, n) \
    simde_mm512_maskz_mov_epi32(k, simde_mm512_slli_epi32(a, n))
#undef _mm512_maskz_srli_epi32
#define _mm512_maskz_srli_epi32(k, a, n) \
    simde_mm512_maskz_mov_epi32(k, simde_mm512_srli_epi32(a, n))
#undef _mm512_maskz_shuffle_f32x4
#define _mm512_maskz_shuffle_f32x4(k, a, b, n) simde_mm512_maskz_shuffle_f32x4(k, a, b, n)
#undef _mm512_maskz_cvtepu16_epi32
#define _mm512_maskz_cvtepu16_epi32(k, a) \
    simde_mm512_maskz_mov_epi32(k, (__m512i)SIMD_CONVERT(a, simd_u16x16, simd_i32x16))
#undef _mm512_maskz_cvtepi8_epi32
#define _mm512_maskz_cvtepi8_epi32(k, a) \
    simde_mm512_maskz_mov_epi32(k, (__m512i)SIMD_CONVERT(a, simd_i8x16, simd_i32x16))
#undef _mm512_maskz_cvtepi32_ps
#define _mm512_maskz_cvtepi32_ps(k, a) \
    simde_mm512_maskz_mov_ps(k, (__m512)SIMD_CONVERT(a, simd_i32x16, __m512))
#undef _mm512_maskz_cvtepi32_epi8
#define _mm512_maskz_cvtepi32_epi8(k, a) \
    simde_mm_maskz_mov_epi8(k, (__m128i)SIMD_CONVERT(a, simd_i32x16, simd_i8x16))

/* ---- what stands in for the processor ----------------------------------- */

/* The functions of an instruction set are compiled as all others are. */
#define target(isa) unused

/* A processor with everything: see rwkv__isas. */
#define RWKV__CPUID
static inline void rwkv__cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *regs)
{
    regs[0] = leaf == 0 ? 7 : leaf == 7 ? subleaf << 4 | 1 : 0; /* the last leaf and subleaf */
    regs[1] = leaf == 7 ? 1u << 30 | 1u << 16 | 1u << 5 : 0;
    regs[2] = leaf == 7 ? 1u << 11 : 1u << 29 | 1u << 28 | 1u << 27 | 1u << 12 | 1u << 9;
    regs[3] = 0;
}

static inline uint32_t rwkv__xcr0(void)
{
    return 0xe6;
}
#endif
