/* What the machine can do: reading memory, and int8 multiply-adds by each instruction set. */
#include "realizar/probe.h"

#include "realizar/target.h"

/* A value that the optimizer must take as new, so that a loop around it is neither hoisted nor folded. */
#define OPAQUE(value) __asm__ volatile("" : "+x"(value))
#define OPAQUE_MEMORY(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")

/* ---- reading -------------------------------------------------------------------------------------------------- */

enum { STREAMS = 4, LINE = 64 };
typedef uint64_t u64x8 __attribute__((vector_size(LINE), aligned(8), may_alias));

/* One core has only so many misses in flight: several streams, each walked by the hardware's prefetcher, keep more of
 * them busy than one. */
RZ_INLINE uint64_t read_streams(const char *data, size_t n_bytes)
{
    size_t n_lines = n_bytes / LINE / STREAMS;
    u64x8 sum[STREAMS] = {{0}};
    for (size_t i = 0; i < n_lines; i++)
        for (int s = 0; s < STREAMS; s++) sum[s] += ((const u64x8 *)data)[(size_t)s * n_lines + i];
    u64x8 all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    uint64_t total = 0;
    for (int j = 0; j < LINE / 8; j++) total += all[j];
    for (size_t i = n_lines * STREAMS * LINE; i < n_bytes; i++) total += (unsigned char)data[i];
    return total;
}

static uint64_t read_scalar(const char *data, size_t n_bytes) { return read_streams(data, n_bytes); }

/* ---- int8 ------------------------------------------------------------------------------------------------------ */

/* Products that the compiler makes of plain C for the base instruction set. */
static uint64_t macs_scalar(uint64_t n_rounds)
{
    enum { N = 4096 };
    static const int8_t zeros[N];
    const int8_t *x = zeros;
    int32_t sum = 0;
    for (uint64_t round = 0; round < n_rounds; round++) {
        OPAQUE_MEMORY(x);
        for (int i = 0; i < N; i++) sum += x[i] * x[i];
    }
    return n_rounds * N + (uint64_t)(sum != 0);
}

#if defined(__x86_64__)

#include <immintrin.h>

enum { CHAINS = 12 }; /* accumulators: more than latency times issue width, fewer than registers */

RZ_TARGET("avx2,fma,f16c")

static uint64_t read_avx2(const char *data, size_t n_bytes) { return read_streams(data, n_bytes); }

static uint64_t macs_avx2(uint64_t n_rounds)
{
    __m256i acc[CHAINS] = {0};
    __m256i a = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    for (uint64_t round = 0; round < n_rounds; round++)
        for (int c = 0; c < CHAINS; c++) {
            OPAQUE(a);
            acc[c] = _mm256_add_epi32(acc[c], _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), ones));
        }
    for (int c = 0; c < CHAINS; c++) OPAQUE(acc[c]);
    return n_rounds * CHAINS * 32;
}

RZ_TARGET_END

#if __has_include(<avxvnniintrin.h>)

RZ_TARGET("avx2,fma,f16c,avxvnni")

static uint64_t macs_avxvnni(uint64_t n_rounds)
{
    __m256i acc[CHAINS] = {0};
    __m256i a = _mm256_set1_epi8(1);
    for (uint64_t round = 0; round < n_rounds; round++)
        for (int c = 0; c < CHAINS; c++) acc[c] = _mm256_dpbusd_avx_epi32(acc[c], a, a);
    for (int c = 0; c < CHAINS; c++) OPAQUE(acc[c]);
    return n_rounds * CHAINS * 32;
}

RZ_TARGET_END

#endif

RZ_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

static uint64_t read_avx512(const char *data, size_t n_bytes) { return read_streams(data, n_bytes); }

static uint64_t macs_avx512(uint64_t n_rounds)
{
    __m512i acc[CHAINS] = {0};
    __m512i a = _mm512_set1_epi8(1);
    for (uint64_t round = 0; round < n_rounds; round++)
        for (int c = 0; c < CHAINS; c++) acc[c] = _mm512_dpbusd_epi32(acc[c], a, a);
    for (int c = 0; c < CHAINS; c++) __asm__ volatile("" : : "v"(acc[c]));
    return n_rounds * CHAINS * 64;
}

RZ_TARGET_END

#endif

const struct rz_probe rz_probes[] = {
    {"scalar", read_scalar, macs_scalar},
#if defined(__x86_64__)
    {"avx2", read_avx2, macs_avx2},
#if __has_include(<avxvnniintrin.h>)
    {"avxvnni", read_avx2, macs_avxvnni},
#endif
    {"avx512", read_avx512, macs_avx512},
    /* The vector unit's rate for tiles too: what it bounds is the same in both, and shares stay comparable. */
    {"amx", read_avx512, macs_avx512},
#endif
    {0},
};
