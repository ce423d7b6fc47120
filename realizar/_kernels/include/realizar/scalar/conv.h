/* One step of a depthwise causal convolution, and the mix of a row with the previous one. */
#ifndef REALIZAR_SCALAR_CONV_H
#define REALIZAR_SCALAR_CONV_H

#include <math.h>
#include <stddef.h>

/* y[c] = b[c] + sum_j w[j][c] * rows[j][c], fma with j ascending. */
static void conv_step_f32(const float *const *rows, const float *w, size_t ldw, const float *b, size_t n_tap,
                          size_t n_channel, float *y)
{
    for (size_t c = 0; c < n_channel; c++) {
        float sum = b ? b[c] : 0;
        for (size_t j = 0; j < n_tap; j++) sum = fmaf(w[j * ldw + c], rows[j][c], sum);
        y[c] = sum;
    }
}

/* y = x + w * (past - x), one fma. */
static void mix_f32(const float *x, const float *past, const float *w, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = fmaf(w[i], past[i] - x[i], x[i]);
}

#endif
