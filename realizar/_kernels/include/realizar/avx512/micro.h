/* What the GEMM micro-kernels share: two tiles of sixteen rows against at most six tokens, whose 24 sums stay in
 * registers, and the panels in which tokens are laid out for that.
 *
 * Each x that is broadcast meets both tiles: loads would bound the loop otherwise. */
#ifndef REALIZAR_AVX512_MICRO_H
#define REALIZAR_AVX512_MICRO_H

#include "realizar/avx512/tile.h"

enum { STEP_TOKENS = 6, STEP_ROWS = 32 };

/* DO(t) for each of n <= 6 tokens, n being a constant. Not a loop: the compiler splits an array of sums into registers
 * only while its indices are literals. */
#define EACH_TOKEN(n, DO)                                                                                              \
    do {                                                                                                               \
        if ((n) > 0) { DO(0) }                                                                                         \
        if ((n) > 1) { DO(1) }                                                                                         \
        if ((n) > 2) { DO(2) }                                                                                         \
        if ((n) > 3) { DO(3) }                                                                                         \
        if ((n) > 4) { DO(4) }                                                                                         \
        if ((n) > 5) { DO(5) }                                                                                         \
    } while (0)

/* sum += products of four bytes. As assembly because gcc 12 gives the intrinsic's result a register of its own and
 * then moves it back and forth (0.60 instead of 0.79 T operations/s in a loop of a scaled group). */
RZ_INLINE void dot_bytes(__m512i *sum, __m512i w_u8x64, __m512i x_s8x64)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(w_u8x64), "v"(x_s8x64));
}

/* sum += products of two words. */
RZ_INLINE void dot_words(__m512i *sum, __m512i a, __m512i b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}

/* A dword of a panel in every lane. */
RZ_INLINE __m512i broadcast_dword(const char *p) { return _mm512_set1_epi32(*(const int32_t *)p); }

/* Tokens are cut into as few steps as possible, as equal as possible. */
static inline size_t n_token_steps(size_t n) { return (n + STEP_TOKENS - 1) / STEP_TOKENS; }
static inline size_t first_of_step(size_t n, size_t step) { return step * n / n_token_steps(n); }

/* The panel of a step: blocks one after another, each with room for STEP_TOKENS tokens. */
static inline char *panel_at(char *panels, size_t step, size_t n_blocks, size_t block_bytes)
{
    return panels + step * n_blocks * STEP_TOKENS * block_bytes;
}

/* Tokens whose panels fit into their share of the scratch, whole steps of them. */
static inline size_t panel_tokens(size_t k, size_t n_blocks, size_t block_bytes)
{
    return rz_panel_bytes(k) / (n_blocks * block_bytes * STEP_TOKENS) * STEP_TOKENS;
}

#endif
