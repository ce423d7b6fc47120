/* Blocks as plain integers, the output of a quantized format's unpack function, and dequantize and gemv based on them.
 *
 * A new format needs one unpack function and three one-line functions that pass it to these drivers. */
#ifndef REALIZAR_SCALAR_INTS_H
#define REALIZAR_SCALAR_INTS_H

#include <math.h>

#include "realizar/matmul.h"

/* 32 elements: value d * q, or d * q + m; with TWO_SCALES, m * q in the second half. */
typedef struct {
    float d, m;
    int8_t q[32];
} ints_32;

/* 256 elements in groups of 16: value d * scale * q, or d * scale * q - m * min. */
typedef struct {
    float d, m;
    int8_t q[256];
    int8_t scale[16];
    uint8_t min[16];
} ints_256;

/* A block of some formats is several times 32 elements: that many outputs. */
typedef void unpack_32_fn(const void *block, ints_32 *out);
enum { MAX_PARTS = 4 };
typedef void unpack_256_fn(const void *block, ints_256 *out);

/* Rounds like the numpy expressions: d * q, then + m. n_part: blocks have 32 n_part elements. */
RZ_INLINE void dequantize_parts(unpack_32_fn *unpack, size_t n_part, size_t block_bytes, int has_min, const void *w,
                                size_t k, float *y)
{
    ints_32 parts[MAX_PARTS];
    for (size_t b = 0; b < k / 32; b++) {
        if (b % n_part == 0) unpack((const char *)w + b / n_part * block_bytes, parts);
        const ints_32 *block = &parts[b % n_part];
        for (int i = 0; i < 32; i++) {
            float value = (has_min == TWO_SCALES && i >= 16 ? block->m : block->d) * (float)block->q[i];
            y[b * 32 + i] = has_min == HAS_MIN ? value + block->m : value;
        }
    }
}

RZ_INLINE void dequantize_32(unpack_32_fn *unpack, size_t block_bytes, int has_min, const void *w, size_t k, float *y)
{
    dequantize_parts(unpack, 1, block_bytes, has_min, w, k, y);
}

/* (d * scale) * q, then - (m * min). */
RZ_INLINE void dequantize_256(unpack_256_fn *unpack, size_t block_bytes, int has_min, const void *w, size_t k, float *y)
{
    ints_256 block;
    for (size_t b = 0; b < k / 256; b++) {
        unpack((const char *)w + b * block_bytes, &block);
        for (int i = 0; i < 256; i++) {
            float value = block.d * (float)block.scale[i / 16] * (float)block.q[i];
            y[b * 256 + i] = has_min ? value - block.m * (float)block.min[i / 16] : value;
        }
    }
}

/* One block against one token: acc + d dx isum (+ m dx xsum). The minimum is multiplied with dx * xsum of the token.
 * With TWO_SCALES: acc + d dx isum of the first half + m dx isum of the second. */
RZ_INLINE float add_block_32(const ints_32 *w, int has_min, const int8_t *q, float dx, int32_t xsum, float acc)
{
    int32_t isum[2] = {0, 0};
    for (int i = 0; i < 32; i++) isum[i / 16] += w->q[i] * q[i];
    if (has_min == TWO_SCALES) return fmaf((float)isum[1], w->m * dx, fmaf((float)isum[0], w->d * dx, acc));
    acc = fmaf((float)(isum[0] + isum[1]), w->d * dx, acc);
    return has_min ? fmaf(w->m, dx * (float)xsum, acc) : acc;
}

/* One block against one token: acc + d dx isum (- m dx xsum); the integer sums include the sub-block scales. */
RZ_INLINE float add_block_256(const ints_256 *w, int has_min, const int8_t *q, float dx, const int16_t *s, float acc)
{
    int32_t isum = 0, xsum = 0;
    for (int g = 0; g < 16; g++) {
        int32_t group = 0;
        for (int i = 0; i < 16; i++) group += w->q[g * 16 + i] * q[g * 16 + i];
        isum += w->scale[g] * group;
        xsum += w->min[g] * s[g];
    }
    acc = fmaf((float)isum, w->d * dx, acc);
    return has_min ? fmaf(-(w->m * dx), (float)xsum, acc) : acc;
}

/* Each block is unpacked once and multiplied with every token; y is the accumulator, so blocks are added in order. */
RZ_INLINE void gemv_parts(unpack_32_fn *unpack, size_t n_part, size_t block_bytes, int has_min, RZ_MATMUL_PARAMS)
{
    ints_32 parts[MAX_PARTS];
    for (size_t r = r0; r < r1; r++) {
        for (size_t t = 0; t < n; t++) y[t * ldy + r] = 0;
        for (size_t b = 0; b < k / 32; b++) {
            if (b % n_part == 0) unpack((const char *)w + r * w_stride + b / n_part * block_bytes, parts);
            for (size_t t = 0; t < n; t++) {
                const char *q_row = (const char *)x + t * x_stride;
                const float *d = (const float *)(q_row + rz_act_d_offset(k));
                const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(k, 32));
                float *acc = &y[t * ldy + r];
                *acc = add_block_32(&parts[b % n_part], has_min, (const int8_t *)q_row + b * 32, d[b], s[b], *acc);
            }
        }
    }
}

RZ_INLINE void gemv_32(unpack_32_fn *unpack, size_t block_bytes, int has_min, RZ_MATMUL_PARAMS)
{
    gemv_parts(unpack, 1, block_bytes, has_min, RZ_MATMUL_ARGS);
}

RZ_INLINE void gemv_256(unpack_256_fn *unpack, size_t block_bytes, int has_min, RZ_MATMUL_PARAMS)
{
    ints_256 block;
    for (size_t r = r0; r < r1; r++) {
        for (size_t t = 0; t < n; t++) y[t * ldy + r] = 0;
        for (size_t b = 0; b < k / 256; b++) {
            unpack((const char *)w + r * w_stride + b * block_bytes, &block);
            for (size_t t = 0; t < n; t++) {
                const char *q_row = (const char *)x + t * x_stride;
                const float *d = (const float *)(q_row + rz_act_d_offset(k));
                const int16_t *s = (const int16_t *)(q_row + rz_act_s_offset(k, 256));
                float *acc = &y[t * ldy + r];
                *acc = add_block_256(&block, has_min, (const int8_t *)q_row + b * 256, d[b], s + b * 16, *acc);
            }
        }
    }
}

#endif
