/* Half floats and bfloat16 to float, in integer arithmetic: exact for every bit pattern. */
#ifndef REALIZAR_SCALAR_HALF_H
#define REALIZAR_SCALAR_HALF_H

#include <stdint.h>
#include <string.h>

static inline float rz_bits_to_f32(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t rz_f32_to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Shifts exponent and mantissa into place and corrects the exponent by an exact multiplication, which also makes
 * denormal halves normal floats. For Inf and NaN, all bits of the exponent are set. */
static inline float rz_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = (uint32_t)(half & 0x7fff) << 13;
    uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000 : 0;
    float value = rz_bits_to_f32(magnitude) * 0x1p112f;
    return rz_bits_to_f32(rz_f32_to_bits(value) | special | sign);
}

static inline float rz_bf16_to_f32(uint16_t x) { return rz_bits_to_f32((uint32_t)x << 16); }

/* Half of an unsigned E4M3 number with bias 7; bit 7 is ignored, and 0x7f, which is NaN in E4M3, is 0 as in ggml. */
static inline float ue4m3_f32(uint8_t x)
{
    int exponent = x >> 3 & 15, mantissa = x & 7;
    if (x == 0x7f) return 0;
    if (exponent == 0) return (float)mantissa * 0x1p-10f;
    return rz_bits_to_f32((uint32_t)(exponent + 119) << 23 | (uint32_t)mantissa << 20);
}

#endif
