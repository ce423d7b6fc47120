/* Codes that quantizers store, and the largest of sixteen floats, for any CPU. */
#ifndef REALIZAR_GENERIC_CODES_H
#define REALIZAR_GENERIC_CODES_H

#include "realizar/generic/f32x16.h"
#include "realizar/scalar/math.h"

/* Sixteen whole parts, from 0 to 127, as bytes. */
RZ_INLINE void f32x16_store_codes(uint8_t *p, f32x16 x)
{
    float whole[16];
    f32x16_store(whole, x);
    for (int i = 0; i < 16; i++) p[i] = (uint8_t)whole[i];
}

/* The largest lane; none may be NaN. */
RZ_INLINE float f32x16_largest(f32x16 x)
{
    float_x4 a = choose_x4(x.part[0] > x.part[1], x.part[0], x.part[1]);
    float_x4 b = choose_x4(x.part[2] > x.part[3], x.part[2], x.part[3]), most = choose_x4(a > b, a, b);
    float first = most[0] > most[1] ? most[0] : most[1], second = most[2] > most[3] ? most[2] : most[3];
    return first > second ? first : second;
}

/* A half float, to the nearest, ties to even. */
RZ_INLINE uint16_t half_bits(float x) { return rz_f32_to_f16(x); }

#endif
