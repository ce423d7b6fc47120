/* NVFP4: groups of 16 numbers of FP4 E2M1 with a scale of UE4M3, which makes the largest magnitude 6. */
#ifndef REALIZAR_QUANTIZE_NVFP4_H
#define REALIZAR_QUANTIZE_NVFP4_H

#include "realizar/quantize/lanes.h"
#include "realizar/scalar/half.h"

/* 0 <= x <= 448 to unsigned E4M3 with bias 7, to the nearest, ties upwards. */
static uint8_t ue4m3_round(float x)
{
    uint32_t bits = rz_f32_to_bits(x);
    if (bits >> 23 <= 120) { /* less than 2^-6: whole multiples of 2^-9 */
        int code = (int)(x * 512 + 0.5f);
        return (uint8_t)(code < 7 ? code : 7);
    }
    uint32_t code = ((bits + (1u << 19)) >> 20) - (120u << 3);
    return (uint8_t)(code < 0x7e ? code : 0x7e);
}

/* The code of the nearest number of E2M1 for a halved scale; of two, that nearer to zero. */
static uint8_t e2m1_nearest(float x, float half_scale)
{
    static const float DOUBLED[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    int best = 0;
    float size = fabsf(x), least = size;
    for (int code = 1; code < 8; code++) {
        float error = fabsf(half_scale * DOUBLED[code] - size);
        if (error < least) least = error, best = code;
    }
    return (uint8_t)(x < 0 && best ? best | 8 : best);
}

static int quantize_nvfp4(const float *x, const float *w, size_t k, void *out)
{
    rz_block_nvfp4 *to = out;
    for (size_t b = 0; b < k / 64; b++, to++) {
        for (int g = 0; g < 4; g++, x += 16) {
            float most = 0;
            for (int i = 0; i < 16; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
            to->d[g] = ue4m3_round(most / 6);
            float scale = ue4m3_f32(to->d[g]);
            for (int i = 0; i < 8; i++)
                to->qs[8 * g + i] = (uint8_t)(e2m1_nearest(x[i], scale) | e2m1_nearest(x[i + 8], scale) << 4);
        }
    }
    return 0;
}

#endif
