/* The parameter list of a product, written once: every rz_matmul_fn has it, and most of them only pass it on. */
#ifndef REALIZAR_MATMUL_H
#define REALIZAR_MATMUL_H

#include "realizar/table.h"
#include "realizar/target.h"

/* Meanings and units: rz_matmul_fn in table.h. */
#define RZ_MATMUL_PARAMS                                                                                               \
    const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x, size_t x_stride, size_t n,          \
        float *y, size_t ldy, void *scratch
#define RZ_MATMUL_ARGS w, w_stride, k, r0, r1, x, x_stride, n, y, ldy, scratch

/* The GEMV of a format, made of GEMV(format, RZ_MATMUL_ARGS) for one input row and for two, which share the unpacked
 * weights. Two functions: in one, gcc would keep the constants of both loops in registers. */
#define RZ_GEMV(name, GEMV, format)                                                                                    \
    RZ_NOINLINE void name##_gemv_1(const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x,      \
                                   size_t x_stride, float *y, size_t ldy)                                              \
    {                                                                                                                  \
        GEMV(format, w, w_stride, k, r0, r1, x, x_stride, 1, y, ldy);                                                  \
    }                                                                                                                  \
    RZ_NOINLINE void name##_gemv_2(const void *w, size_t w_stride, size_t k, size_t r0, size_t r1, const void *x,      \
                                   size_t x_stride, float *y, size_t ldy)                                              \
    {                                                                                                                  \
        GEMV(format, w, w_stride, k, r0, r1, x, x_stride, 2, y, ldy);                                                  \
    }                                                                                                                  \
    static void name##_gemv(RZ_MATMUL_PARAMS)                                                                          \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        size_t t = 0;                                                                                                  \
        for (; t + 2 <= n; t += 2)                                                                                     \
            name##_gemv_2(w, w_stride, k, r0, r1, (const char *)x + t * x_stride, x_stride, y + t * ldy, ldy);         \
        if (t < n) name##_gemv_1(w, w_stride, k, r0, r1, (const char *)x + t * x_stride, x_stride, y + t * ldy, ldy);  \
    }

/* Whether the values of a format are d * q, or also have a minimum; or have another scale, m, in the second half of the
 * 32 elements: d * q and m * q. */
enum { NO_MIN, HAS_MIN, TWO_SCALES };

/* The type of the scale of a 32-element format: a half float; one byte of exponent; a half float in the upper half of a
 * dword that is within the block; two bytes of E4M3 (scalar/nvfp4.h). */
enum { HALF_SCALES, E8M0_SCALES, UPPER_HALF_SCALES, E4M3_SCALES };

#endif
