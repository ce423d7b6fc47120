/* Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: blocks of 32 with half floats for scale and minimum.
 *
 * Without importances they round as ggml's reference does (quantize_row_*_ref in ggml-quants.c), byte for byte: models
 * that were trained to be rounded so stay exact. With importances, scales are searched. */
#ifndef REALIZAR_QUANTIZE_BLOCKS32_H
#define REALIZAR_QUANTIZE_BLOCKS32_H

#include "realizar/quantize/affine.h"
#include "realizar/quantize/importances.h"
#include "realizar/quantize/symmetric.h"

RZ_INLINE float inverse_or_zero(float d)
{
    float inverse = 1 / d;
    return isfinite(inverse) ? inverse : 0; /* a d whose inverse is infinite is 0 as a half float */
}

static int quantize_q8_0(const float *x, const float *w, size_t k, void *out)
{
    rz_block_q8_0 *to = out;
    int overflow = 0;
    for (size_t b = 0; b < k / 32; b++, x += 32, to++) {
        float most = 0;
        for (int i = 0; i < 32; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        float scale = most / 127, inverse = inverse_or_zero(scale);
        for (int i = 0; i < 32; i++) { /* ties away from zero, as roundf */
            float scaled = x[i] * inverse, whole = (float)(int)scaled;
            to->qs[i] = (int8_t)(whole + (float)(int)(2 * (scaled - whole)));
        }
        half_scale(scale, &to->d, &overflow);
    }
    return overflow;
}

/* Nibble i of 16 bytes: codes i and i + 16, below 16 but for a fifth bit. */
RZ_INLINE void pack_nibbles(const uint8_t *q, uint8_t *qs)
{
    const uint64_t nibbles = 0x0f0f0f0f0f0f0f0f;
    uint64_t low[2], high[2];
    memcpy(low, q, sizeof low);
    memcpy(high, q + 16, sizeof high);
    for (int i = 0; i < 2; i++) low[i] = (low[i] & nibbles) | (high[i] & nibbles) << 4;
    memcpy(qs, low, sizeof low);
}

/* Bit i of 32: the fifth bit of code i. The product moves bit 8 i of a word to bit 56 + i. */
RZ_INLINE void pack_fifth_bits(const uint8_t *q, uint8_t *qh)
{
    for (int j = 0; j < 4; j++) {
        uint64_t word;
        memcpy(&word, q + 8 * j, sizeof word);
        qh[j] = (uint8_t)(((word >> 4 & 0x0101010101010101) * 0x0102040810204080) >> 56);
    }
}

/* The first of 32 elements of this size. */
static float first_of_size(const float *x, float size)
{
    int i = 0;
    while (i < 31 && fabsf(x[i]) != size) i++;
    return x[i];
}

/* A block in the file: d, m if it has one, the fifth bits if q has them, and the nibbles. Returns where it ends. */
RZ_INLINE uint8_t *store_32(const uint8_t *codes, uint16_t d, uint16_t m, float q_end, float q_max, uint8_t *to)
{
    memcpy(to, &d, 2), to += 2;
    if (!q_end) memcpy(to, &m, 2), to += 2;
    if (q_max > 15) pack_fifth_bits(codes, to), to += 4;
    pack_nibbles(codes, to);
    return to + 16;
}

/* A block as in the reference. The element farthest from zero, the first of equals, becomes -q_end; or, if q_end is 0, the
 * least one 0 and the greatest q_max. Codes are cut to whole numbers when they are stored. */
RZ_INLINE uint8_t *plain_32(const float *x, float q_end, float q_max, uint8_t *to, unsigned *largest)
{
    uint8_t codes[32];
    uint16_t m = 0;
    f32x16 first = f32x16_load(x), second = f32x16_load(x + LANES), zero = f32x16_zero();
    float high = f32x16_largest(f32x16_max(first, second)), offset = q_end + 0.5f, scale;
    float low = 0 - f32x16_largest(f32x16_sub(zero, f32x16_min(first, second)));
    if (q_end)
        scale = (high == -low ? first_of_size(x, high) : high > -low ? high : low) / -q_end;
    else {
        if (low == 0) low = first_of_size(x, 0); /* of either sign */
        scale = (high - low) / q_max;
        first = f32x16_sub(first, f32x16_set(low));
        second = f32x16_sub(second, f32x16_set(low));
        m = half_bits(low);
        *largest = *largest < (m & 0x7fffu) ? m & 0x7fffu : *largest;
    }
    uint16_t d = half_bits(scale);
    *largest = *largest < (d & 0x7fffu) ? d & 0x7fffu : *largest;
    f32x16 inverse = f32x16_set(inverse_or_zero(scale)), middle = f32x16_set(offset), most = f32x16_set(q_max);
    f32x16_store_codes(codes, f32x16_min(f32x16_add(f32x16_mul(first, inverse), middle), most));
    f32x16_store_codes(codes + LANES, f32x16_min(f32x16_add(f32x16_mul(second, inverse), middle), most));
    return store_32(codes, d, m, q_end, q_max, to);
}

/* Sixteen blocks with importances: half floats and q + q_end. */
RZ_NOINLINE void searched_symmetric(const lane_groups *in, float q_end, uint16_t *d, uint8_t *codes, int *overflow)
{
    f32x16 q[32];
    float s[LANES];
    symmetric_fit fit = symmetric_search(in, 32, q_end, 0.1f, 9, 2);
    f32x16_store(s, fit.s);
    for (int g = 0; g < LANES; g++) s[g] = half_scale(s[g], &d[g], overflow);
    symmetric_round(in, 32, f32x16_load(s), q_end, q);
    lanes_store_codes(q, 32, (int)q_end, codes);
}

/* Sixteen blocks with importances: x ≈ d q + m, m of either sign. */
RZ_NOINLINE void searched_affine(const lane_groups *in, float q_max, uint16_t *d, uint16_t *m, uint8_t *codes,
                                 int *overflow)
{
    const affine_search how = {-0.9f, 0.1f, 19, 2, 1};
    f32x16 q[32];
    float s[LANES], minimum[LANES];
    affine_group group;
    affine_sums sums;
    affine_begin(in, 32, &group);
    affine_fit fit = affine_search_fit(in, &group, 32, q_max, how, &sums);
    f32x16_store(s, fit.s);
    f32x16_store(minimum, fit.m);
    for (int g = 0; g < LANES; g++) {
        s[g] = half_scale(s[g], &d[g], overflow);
        minimum[g] = -half_scale(-minimum[g], &m[g], overflow);
    }
    affine_round(in, 32, f32x16_load(s), f32x16_load(minimum), q_max, q);
    lanes_store_codes(q, 32, 0, codes);
}

/* Half floats and codes of up to sixteen blocks. */
typedef struct {
    uint16_t d[LANES], m[LANES];
    uint8_t codes[LANES * 32];
} found_32;

/* q_end: of x ≈ d (q - q_end), or 0 for x ≈ d q + m with q up to q_max. Returns nonzero if a d or m is too large. */
RZ_INLINE int quantize_32(const float *x, const float *w, size_t k, float q_end, float q_max, void *out)
{
    uint8_t *to = out;
    int overflow = 0;
    unsigned largest = 0; /* magnitude of a half float */
    size_t n_block = k / 32;
    for (size_t b = 0; !w && b < n_block; b++) to = plain_32(x + 32 * b, q_end, q_max, to, &largest);
    for (size_t b = 0; w && b < n_block; b += LANES) {
        size_t n_here = n_block - b < LANES ? n_block - b : LANES;
        found_32 found;
        lane_groups in;
        load_blocks(x + 32 * b, w + 32 * b, 32, n_here, 32, &in);
        if (q_end)
            searched_symmetric(&in, q_end, found.d, found.codes, &overflow);
        else
            searched_affine(&in, q_max, found.d, found.m, found.codes, &overflow);
        for (size_t i = 0; i < n_here; i++)
            to = store_32(found.codes + 32 * i, found.d[i], q_end ? 0 : found.m[i], q_end, q_max, to);
    }
    return overflow || largest >= 0x7c00;
}

static int quantize_q4_0(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 8, 15, out);
}

static int quantize_q4_1(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 0, 15, out);
}

static int quantize_q5_0(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 16, 31, out);
}

static int quantize_q5_1(const float *x, const float *w, size_t k, void *out)
{
    return quantize_32(x, w, k, 0, 31, out);
}

#endif
