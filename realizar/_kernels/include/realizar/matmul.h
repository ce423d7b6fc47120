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

/* Whether the values of a format are d * q, or have a minimum too. */
enum { NO_MIN, HAS_MIN };

/* What the scale of a 32-element format is: a half float, or one byte of exponent. */
enum { HALF_SCALES, E8M0_SCALES };

#endif
