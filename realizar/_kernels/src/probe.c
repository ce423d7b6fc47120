/* Probes of the machine: reading memory, and multiply-adds of int8 and float with each instruction set.
 *
 * A rate is correct only if the compiler keeps every counted instruction. So each accumulator passes through OPAQUE in
 * each round, which prevents the compiler from merging accumulators, hoisting products or multiplying by the number of
 * rounds; and the result is the sum of the accumulators. tests/kernels/test_probe.py checks the machine code,
 * tests/kernels/test_rates.py compares the rates with loops written in assembly. */
#include "realizar/probe.h"

#include <math.h>
#include <string.h>

#include "realizar/target.h"

#define OPAQUE_MEMORY(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* Two streams, each followed by the hardware prefetcher: as fast as any number on Zen 5, and faster than one, four or
 * more on a Xeon; software prefetching does not help (docs/benchmarks.md, "The probes"). */
enum { STREAMS = 2, LINE = 64 };

static uint64_t sum_bytes(const char *data, size_t n_bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_bytes; i++) sum += (unsigned char)data[i];
    return sum;
}

/* read_ISA: loads of WIDTH bytes, as wide as a register of the instruction set. */
#define DEFINE_READ(ISA, WIDTH)                                                                                        \
    typedef uint64_t vector_##ISA __attribute__((vector_size(WIDTH), aligned(1), may_alias));                          \
    static uint64_t read_##ISA(const char *data, size_t n_bytes)                                                       \
    {                                                                                                                  \
        size_t n_lines = n_bytes / LINE / STREAMS;                                                                     \
        vector_##ISA sum[STREAMS] = {{0}};                                                                             \
        for (size_t i = 0; i < n_lines; i++)                                                                           \
            for (size_t s = 0; s < STREAMS; s++)                                                                       \
                for (size_t j = 0; j < LINE / WIDTH; j++)                                                              \
                    sum[s] += *(const vector_##ISA *)(data + (s * n_lines + i) * LINE + j * WIDTH);                    \
        vector_##ISA all = sum[0] + sum[1];                                                                            \
        size_t n_done = n_lines * STREAMS * LINE;                                                                      \
        return sum_bytes((const char *)&all, WIDTH) + sum_bytes(data + n_done, n_bytes - n_done);                      \
    }

DEFINE_READ(scalar, 16)

/* ---- multiply-adds of the scalar level -------------------------------------------------------------------------- */

enum { N_SCALAR = 4096 }; /* elements that stay in L1 */

/* The loop of the scalar level, compiled for the base instruction set. */
static uint64_t int8_scalar(uint64_t n_rounds)
{
    int8_t ones[2][N_SCALAR], (*x)[N_SCALAR] = ones;
    memset(ones, 1, sizeof ones);
    uint64_t total = 0;
    for (uint64_t round = 0; round < n_rounds; round++) {
        OPAQUE_MEMORY(x);
        int32_t sum = 0;
        for (int i = 0; i < N_SCALAR; i++) sum += x[0][i] * x[1][i];
        total += (uint64_t)sum;
    }
    return total;
}

/* With fmaf, like the scalar level; a function call if the base instruction set has no fma. */
static uint64_t f32_scalar(uint64_t n_rounds)
{
    enum { SUMS = 8 };
    float one = 1, *x = &one, sum[SUMS] = {0};
    for (uint64_t round = 0; round < n_rounds; round++) {
        OPAQUE_MEMORY(x);
        for (int s = 0; s < SUMS; s++) sum[s] = fmaf(*x, *x, sum[s]);
    }
    uint64_t total = 0;
    for (int s = 0; s < SUMS; s++) total += (uint64_t)sum[s];
    return total;
}

#if defined(__x86_64__)

/* ---- multiply-adds in vector registers ------------------------------------------------------------------------- */

#include <immintrin.h>

/* Makes a value opaque to the compiler. A variable, since the compiler would keep an element of an array in memory. */
#define OPAQUE(value) __asm__ volatile("" : "+x"(value))

/* Independent accumulators: at least latency times instructions per cycle (5 × 2 on the CPUs known), and few enough
 * that they stay in sixteen registers together with the factors. */
enum { CHAINS = 12 };

static uint64_t total_int32(const uint32_t *lanes, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) total += lanes[i];
    return total;
}

static uint64_t total_f32(const float *lanes, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) total += (uint64_t)lanes[i];
    return total;
}

RZ_TARGET("avx2,fma,f16c")

DEFINE_READ(avx2, 32)

/* Sums of two products as words, added as words as often as 4-bit elements allow, like the kernels of the level
 * (words_to_add in avx2/dot.h). Wider elements allow fewer additions and are slower: Q8_0 has about half this rate. */
static uint64_t int8_avx2(uint64_t n_rounds)
{
    enum { SUMS = 4, RUN = 8 };
    __m256i sum[SUMS], words[SUMS], ones = _mm256_set1_epi8(1), one_words = _mm256_set1_epi16(1);
    for (int s = 0; s < SUMS; s++) sum[s] = _mm256_setzero_si256();
    for (uint64_t round = 0; round < n_rounds; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < RUN; i++)
#pragma GCC unroll 4
            for (int s = 0; s < SUMS; s++) {
                OPAQUE(ones);
                __m256i products = _mm256_maddubs_epi16(ones, ones);
                __m256i next = i == 0 ? products : _mm256_add_epi16(words[s], products);
                OPAQUE(next);
                words[s] = next;
            }
#pragma GCC unroll 4
        for (int s = 0; s < SUMS; s++) {
            __m256i next = _mm256_add_epi32(sum[s], _mm256_madd_epi16(words[s], one_words));
            OPAQUE(next);
            sum[s] = next;
        }
    }
    uint32_t lanes[SUMS][8];
    for (int s = 0; s < SUMS; s++) _mm256_storeu_si256((__m256i *)lanes[s], sum[s]);
    return total_int32(lanes[0], SUMS * 8);
}

static uint64_t f32_avx2(uint64_t n_rounds)
{
    __m256 sum[CHAINS], ones = _mm256_set1_ps(1);
    OPAQUE(ones);
    for (int c = 0; c < CHAINS; c++) sum[c] = _mm256_setzero_ps();
    for (uint64_t round = 0; round < n_rounds; round++)
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            __m256 next = _mm256_fmadd_ps(ones, ones, sum[c]);
            OPAQUE(next);
            sum[c] = next;
        }
    float lanes[CHAINS][8];
    for (int c = 0; c < CHAINS; c++) _mm256_storeu_ps(lanes[c], sum[c]);
    return total_f32(lanes[0], CHAINS * 8);
}

RZ_TARGET_END

#if __has_include(<avxvnniintrin.h>)

RZ_TARGET("avx2,fma,f16c,avxvnni")

static uint64_t int8_avxvnni(uint64_t n_rounds)
{
    __m256i sum[CHAINS], ones = _mm256_set1_epi8(1);
    OPAQUE(ones);
    for (int c = 0; c < CHAINS; c++) sum[c] = _mm256_setzero_si256();
    for (uint64_t round = 0; round < n_rounds; round++)
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            __m256i next = _mm256_dpbusd_avx_epi32(sum[c], ones, ones);
            OPAQUE(next);
            sum[c] = next;
        }
    uint32_t lanes[CHAINS][8];
    for (int c = 0; c < CHAINS; c++) _mm256_storeu_si256((__m256i *)lanes[c], sum[c]);
    return total_int32(lanes[0], CHAINS * 8);
}

RZ_TARGET_END

#endif

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

DEFINE_READ(avx512, 64)

static uint64_t int8_avx512(uint64_t n_rounds)
{
    __m512i sum[CHAINS], ones = _mm512_set1_epi8(1);
    OPAQUE(ones);
    for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_setzero_si512();
    for (uint64_t round = 0; round < n_rounds; round++)
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            __m512i next = _mm512_dpbusd_epi32(sum[c], ones, ones);
            OPAQUE(next);
            sum[c] = next;
        }
    uint32_t lanes[CHAINS][16];
    for (int c = 0; c < CHAINS; c++) _mm512_storeu_si512(lanes[c], sum[c]);
    return total_int32(lanes[0], CHAINS * 16);
}

static uint64_t f32_avx512(uint64_t n_rounds)
{
    __m512 sum[CHAINS], ones = _mm512_set1_ps(1);
    OPAQUE(ones);
    for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_setzero_ps();
    for (uint64_t round = 0; round < n_rounds; round++)
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) {
            __m512 next = _mm512_fmadd_ps(ones, ones, sum[c]);
            OPAQUE(next);
            sum[c] = next;
        }
    float lanes[CHAINS][16];
    for (int c = 0; c < CHAINS; c++) _mm512_storeu_ps(lanes[c], sum[c]);
    return total_f32(lanes[0], CHAINS * 16);
}

RZ_TARGET_END

/* ---- multiply-adds in tile registers --------------------------------------------------------------------------- */

#if __has_include(<amxint8intrin.h>)

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")

#include "realizar/amx/tiles.h"

/* Products of 16 × 64 and 64 × 16 elements, added to six accumulators in turn: a product takes 52 cycles and the next
 * can begin after 16, so that four would do. */
static uint64_t int8_amx(uint64_t n_rounds)
{
    enum { SUMS = 6, SIDE = 16 };
    int8_t ones[TILE_BYTES], *factor = ones;
    uint32_t lanes[SUMS][SIDE * SIDE], *sums = lanes[0];
    memset(ones, 1, sizeof ones);
    configure_tiles(LINE);
    RZ_TILE_LOAD(6, factor, 0, LINE);
    RZ_TILE_LOAD(7, factor, 0, LINE);
    __asm__ volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\t"
                     "tilezero %tmm3\n\ttilezero %tmm4\n\ttilezero %tmm5");
    for (uint64_t round = 0; round < n_rounds; round++)
        __asm__ volatile("tdpbusd %tmm7, %tmm6, %tmm0\n\ttdpbusd %tmm7, %tmm6, %tmm1\n\t"
                         "tdpbusd %tmm7, %tmm6, %tmm2\n\ttdpbusd %tmm7, %tmm6, %tmm3\n\t"
                         "tdpbusd %tmm7, %tmm6, %tmm4\n\ttdpbusd %tmm7, %tmm6, %tmm5");
    RZ_TILE_STORE(0, sums, 0, LINE);
    RZ_TILE_STORE(1, sums, 1024, LINE);
    RZ_TILE_STORE(2, sums, 2048, LINE);
    RZ_TILE_STORE(3, sums, 3072, LINE);
    RZ_TILE_STORE(4, sums, 4096, LINE);
    RZ_TILE_STORE(5, sums, 5120, LINE);
    release_tiles();
    return total_int32(sums, SUMS * SIDE * SIDE);
}

RZ_TARGET_END

#endif

#endif

const struct rz_probe rz_probes[] = {
    {"scalar", read_scalar, int8_scalar, f32_scalar},
#if defined(__x86_64__)
    {"avx2", read_avx2, int8_avx2, f32_avx2},
#if __has_include(<avxvnniintrin.h>)
    {"avxvnni", read_avx2, int8_avxvnni, f32_avx2},
#endif
    {"avx512", read_avx512, int8_avx512, f32_avx512},
#if __has_include(<amxint8intrin.h>)
    {"amx", read_avx512, int8_amx, f32_avx512},
#endif
#endif
    {0},
};
