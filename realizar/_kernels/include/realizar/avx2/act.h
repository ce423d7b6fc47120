/* Activation rows as int8, eight elements at a time. */
#ifndef REALIZAR_AVX2_ACT_H
#define REALIZAR_AVX2_ACT_H

#include "realizar/avx2/lanes.h"
#include "realizar/matmul.h"

/* The largest |x| of a block, as bits. */
RZ_INLINE uint32_t max_abs_bits(const float *x, int block)
{
    __m256i amax = _mm256_setzero_si256();
    for (int i = 0; i < block; i += 8) {
        __m256i bits = _mm256_loadu_si256((const __m256i *)(x + i));
        amax = _mm256_max_epu32(amax, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
    }
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(amax), _mm256_extracti128_si256(amax, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* Eight quantized elements. */
RZ_INLINE __m256i quantize_8(const float *x, __m256 scale)
{
    __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), scale));
    return _mm256_max_epi32(_mm256_min_epi32(q, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
}

/* Writes q[block] and the sums of its groups, and returns d; see scalar/act.h. */
RZ_INLINE float quantize_act_block(const float *x, int block, int8_t *q, int16_t *sums)
{
    uint32_t amax_bits = max_abs_bits(x, block);
    int group = (int)rz_act_group(block);
    float amax;
    memcpy(&amax, &amax_bits, sizeof amax);
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(q, 0, (size_t)block);
        memset(sums, 0, (size_t)(block / group) * sizeof *sums);
        return amax_bits >= 0x7f800000 ? __builtin_nanf("") : 0;
    }
    __m256 scale = _mm256_set1_ps(127 / amax);
    for (int i = 0; i < block; i += 16) {
        __m256i words = _mm256_packs_epi32(quantize_8(x + i, scale), quantize_8(x + i + 8, scale));
        words = _mm256_permute4x64_epi64(words, 0xd8);
        __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(q + i), bytes);
    }
    for (int g = 0; g < block / group; g++) {
        int sum = 0;
        for (int i = 0; i < group; i++) sum += q[g * group + i];
        sums[g] = (int16_t)sum;
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
