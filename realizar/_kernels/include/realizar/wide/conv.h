/* A step of a depthwise causal convolution, and a mix of rows, sixteen channels at a time; see scalar/conv.h. */
#ifndef REALIZAR_WIDE_CONV_H
#define REALIZAR_WIDE_CONV_H

static void conv_step_f32x16(const float *const *rows, const float *w, size_t ldw, const float *b, size_t n_tap,
                             size_t n_channel, float *y)
{
    for (size_t c = 0; c < n_channel; c += 16) {
        size_t n = n_channel - c;
        f32x16 sum = b ? f32x16_load_first(b + c, n) : f32x16_zero();
        for (size_t j = 0; j < n_tap; j++)
            sum = f32x16_fma(f32x16_load_first(w + j * ldw + c, n), f32x16_load_first(rows[j] + c, n), sum);
        f32x16_store_first(y + c, sum, n);
    }
}

static void mix_f32x16(const float *x, const float *past, const float *w, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += 16) {
        f32x16 here = f32x16_load_first(x + i, n - i), step = f32x16_sub(f32x16_load_first(past + i, n - i), here);
        f32x16_store_first(y + i, f32x16_fma(f32x16_load_first(w + i, n - i), step, here), n - i);
    }
}

#endif
