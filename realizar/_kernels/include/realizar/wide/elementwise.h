/* Elementwise functions, sixteen at a time; defined in scalar/elementwise.h. */
#ifndef REALIZAR_WIDE_ELEMENTWISE_H
#define REALIZAR_WIDE_ELEMENTWISE_H

#include "realizar/wide/math.h"

/* y = `of`, an expression of sixteen elements x, and of the number s in all lanes or sixteen elements of another row,
 * x2. */
#define RZ_UNARY_16(name, of)                                                                                          \
    static void name(const float *px, size_t n, float *y)                                                              \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i += 16) {                                                                           \
            f32x16 x = f32x16_load_first(px + i, n - i);                                                               \
            f32x16_store_first(y + i, of, n - i);                                                                      \
        }                                                                                                              \
    }
#define RZ_SCALED_16(name, of)                                                                                         \
    static void name(const float *px, float factor, size_t n, float *y)                                                \
    {                                                                                                                  \
        const f32x16 s = f32x16_set(factor);                                                                           \
        for (size_t i = 0; i < n; i += 16) {                                                                           \
            f32x16 x = f32x16_load_first(px + i, n - i);                                                               \
            f32x16_store_first(y + i, of, n - i);                                                                      \
        }                                                                                                              \
    }
#define RZ_BINARY_16(name, of)                                                                                         \
    static void name(const float *px, const float *px2, size_t n, float *y)                                            \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i += 16) {                                                                           \
            f32x16 x = f32x16_load_first(px + i, n - i), x2 = f32x16_load_first(px2 + i, n - i);                       \
            f32x16_store_first(y + i, of, n - i);                                                                      \
        }                                                                                                              \
    }

RZ_UNARY_16(silu_row_f32x16, silu_f32x16(x))
RZ_UNARY_16(gelu_row_f32x16, gelu_f32x16(x))
RZ_UNARY_16(gelu_erf_row_f32x16, gelu_erf_f32x16(x))
RZ_UNARY_16(sigmoid_row_f32x16, sigmoid_f32x16(x))
RZ_UNARY_16(relu_row_f32x16, relu_f32x16(x))
RZ_SCALED_16(scale_f32x16, f32x16_mul(x, s))
RZ_SCALED_16(softcap_row_f32x16, softcap_f32x16(x, s))
RZ_BINARY_16(add_f32x16, f32x16_add(x, x2))
RZ_BINARY_16(mul_f32x16, f32x16_mul(x, x2))
RZ_BINARY_16(silu_mul_f32x16, f32x16_mul(silu_f32x16(x), x2))
RZ_BINARY_16(gelu_mul_f32x16, f32x16_mul(gelu_f32x16(x), x2))
RZ_BINARY_16(gelu_erf_mul_f32x16, f32x16_mul(gelu_erf_f32x16(x), x2))
RZ_BINARY_16(swiglu_oai_f32x16, swiglu_oai_of_f32x16(x, x2))

#endif
