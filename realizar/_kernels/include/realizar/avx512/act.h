/* Activation rows as int8, sixteen elements at a time. */
#ifndef REALIZAR_AVX512_ACT_H
#define REALIZAR_AVX512_ACT_H

#include <string.h>

#include "realizar/avx512/lanes.h"
#include "realizar/matmul.h"

/* The largest |x| of a block as bits: reduction, and conversion to a number. */
RZ_INLINE uint32_t max_abs_bits(const float *x, int block)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i amax = _mm512_setzero_si512();
    for (int i = 0; i < block; i += 16)
        amax = _mm512_max_epu32(amax, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
    return _mm512_reduce_max_epu32(amax);
}

/* Writes q[block] and the sums of its groups, and returns d; see scalar/act.h. */
RZ_INLINE float quantize_act_block(const float *x, int block, int8_t *q, int16_t *sums)
{
    uint32_t amax_bits = max_abs_bits(x, block);
    float amax;
    memcpy(&amax, &amax_bits, sizeof amax);
    int in_group = block == 32 ? 2 : 1;
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(q, 0, (size_t)block);
        memset(sums, 0, (size_t)(block / 16 / in_group) * sizeof *sums);
        return amax_bits >= 0x7f800000 ? __builtin_nanf("") : 0;
    }
    const __m512i limit = _mm512_set1_epi32(127);
    __m512 scale = _mm512_set1_ps(127 / amax);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < block; i += 16) {
        __m512i q_i32x16 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), scale));
        q_i32x16 = _mm512_max_epi32(_mm512_min_epi32(q_i32x16, limit), _mm512_set1_epi32(-127));
        _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(q_i32x16));
        sum = _mm512_add_epi32(sum, q_i32x16);
        if ((i / 16 + 1) % in_group == 0) {
            sums[i / 16 / in_group] = (int16_t)_mm512_reduce_add_epi32(sum);
            sum = _mm512_setzero_si512();
        }
    }
    return amax / 127;
}

RZ_INLINE void quantize_act(const float *x, size_t k, int block, void *q_row)
{
    int8_t *q = q_row;
    float *d = (float *)((char *)q_row + rz_act_d_offset(k));
    int16_t *s = (int16_t *)((char *)q_row + rz_act_s_offset(k, block));
    size_t n = (size_t)block, n_groups = n / rz_act_group(block);
    for (size_t b = 0; b < k / n; b++) d[b] = quantize_act_block(x + b * n, block, q + b * n, s + b * n_groups);
}

static void quantize_act_32(const float *x, size_t k, void *q_row) { quantize_act(x, k, 32, q_row); }
static void quantize_act_256(const float *x, size_t k, void *q_row) { quantize_act(x, k, 256, q_row); }

#endif
