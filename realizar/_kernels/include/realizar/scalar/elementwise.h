/* Elementwise functions: sums, products, activations, and gated activations. y may be an input. */
#ifndef REALIZAR_SCALAR_ELEMENTWISE_H
#define REALIZAR_SCALAR_ELEMENTWISE_H

#include <stddef.h>

#include "realizar/scalar/math.h"

/* y = `of`, an expression of the element x, and of the number s or the element of another row, x2. */
#define RZ_UNARY(name, of)                                                                                             \
    static void name(const float *px, size_t n, float *y)                                                              \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            float x = px[i];                                                                                           \
            y[i] = of;                                                                                                 \
        }                                                                                                              \
    }
#define RZ_SCALED(name, of)                                                                                            \
    static void name(const float *px, float s, size_t n, float *y)                                                     \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            float x = px[i];                                                                                           \
            y[i] = of;                                                                                                 \
        }                                                                                                              \
    }
#define RZ_BINARY(name, of)                                                                                            \
    static void name(const float *px, const float *px2, size_t n, float *y)                                            \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            float x = px[i], x2 = px2[i];                                                                              \
            y[i] = of;                                                                                                 \
        }                                                                                                              \
    }

RZ_UNARY(silu_row_f32, silu_f32(x))
RZ_UNARY(gelu_row_f32, gelu_f32(x))
RZ_UNARY(gelu_erf_row_f32, gelu_erf_f32(x))
RZ_UNARY(sigmoid_row_f32, sigmoid_f32(x))
RZ_UNARY(relu_row_f32, relu_f32(x))
RZ_SCALED(scale_f32, x *s)
RZ_SCALED(softcap_row_f32, softcap_f32(x, s))
RZ_BINARY(add_f32, x + x2)
RZ_BINARY(mul_f32, x *x2)
RZ_BINARY(silu_mul_f32, silu_f32(x) * x2)
RZ_BINARY(gelu_mul_f32, gelu_f32(x) * x2)
RZ_BINARY(gelu_erf_mul_f32, gelu_erf_f32(x) * x2)
RZ_BINARY(swiglu_oai_f32, swiglu_oai_of_f32(x, x2))

#endif
