/* Sixteen floats as four vectors of the compiler: the operations that quantize/ uses, with the names of the other
 * f32x16.h. gcc and clang translate them for any CPU. */
#ifndef REALIZAR_GENERIC_F32X16_H
#define REALIZAR_GENERIC_F32X16_H

#include <stdint.h>
#include <string.h>

#include "realizar/target.h"

typedef float float_x4 __attribute__((vector_size(16)));
typedef int32_t mask_x4 __attribute__((vector_size(16)));

typedef struct {
    float_x4 part[4];
} f32x16;

#define RZ_EACH_PART(expression)                                                                                       \
    f32x16 out;                                                                                                        \
    for (int i = 0; i < 4; i++) out.part[i] = expression;                                                              \
    return out

RZ_INLINE f32x16 f32x16_set(float x) { RZ_EACH_PART(((float_x4){x, x, x, x})); }
RZ_INLINE f32x16 f32x16_zero(void) { return f32x16_set(0); }

RZ_INLINE f32x16 f32x16_load(const float *p)
{
    f32x16 x;
    memcpy(&x, p, sizeof x);
    return x;
}

RZ_INLINE void f32x16_store(float *p, f32x16 x) { memcpy(p, &x, sizeof x); }

RZ_INLINE float_x4 choose_x4(mask_x4 which, float_x4 yes, float_x4 no)
{
    return (float_x4)(((mask_x4)yes & which) | ((mask_x4)no & ~which));
}

RZ_INLINE f32x16 f32x16_add(f32x16 a, f32x16 b) { RZ_EACH_PART(a.part[i] + b.part[i]); }
RZ_INLINE f32x16 f32x16_sub(f32x16 a, f32x16 b) { RZ_EACH_PART(a.part[i] - b.part[i]); }
RZ_INLINE f32x16 f32x16_mul(f32x16 a, f32x16 b) { RZ_EACH_PART(a.part[i] * b.part[i]); }
RZ_INLINE f32x16 f32x16_div(f32x16 a, f32x16 b) { RZ_EACH_PART(a.part[i] / b.part[i]); }
RZ_INLINE f32x16 f32x16_abs(f32x16 x) { RZ_EACH_PART((float_x4)((mask_x4)x.part[i] & 0x7fffffff)); }

/* a > b ? a : b, and a < b ? a : b. */
RZ_INLINE f32x16 f32x16_max(f32x16 a, f32x16 b)
{
    RZ_EACH_PART(choose_x4(a.part[i] > b.part[i], a.part[i], b.part[i]));
}

RZ_INLINE f32x16 f32x16_min(f32x16 a, f32x16 b)
{
    RZ_EACH_PART(choose_x4(a.part[i] < b.part[i], a.part[i], b.part[i]));
}

/* a < b ? yes : no. */
RZ_INLINE f32x16 f32x16_if_less(f32x16 a, f32x16 b, f32x16 yes, f32x16 no)
{
    RZ_EACH_PART(choose_x4(a.part[i] < b.part[i], yes.part[i], no.part[i]));
}

#undef RZ_EACH_PART

/* Transposes: lane i of x[j] becomes lane j of x[i]. */
RZ_INLINE void f32x16_transpose(f32x16 *x)
{
    float from[16][16], to[16][16];
    memcpy(from, x, sizeof from);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) to[i][j] = from[j][i];
    memcpy(x, to, sizeof to);
}

#endif
