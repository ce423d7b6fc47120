/* Outer products in registers: what both halves of attention, q.k and p.v, are made of. */
#ifndef REALIZAR_WIDE_OUTER_H
#define REALIZAR_WIDE_OUTER_H

#include "realizar/table.h"

/* Sixteen elements of a cache block, or the first n of them. */
RZ_INLINE f32x16 load_kv(const char *p, int type)
{
    return type == RZ_KV_F16 ? f32x16_load_f16((const uint16_t *)p) : f32x16_load((const float *)p);
}

RZ_INLINE f32x16 load_first_kv(const char *p, size_t n, int type)
{
    return type == RZ_KV_F16 ? f32x16_load_first_f16((const uint16_t *)p, n) : f32x16_load_first((const float *)p, n);
}

/* sum[r][c] = fma(a[r][i], b[c] + i * step, sum[r][c]) for i ascending: every b that is loaded meets all rows.
 * live: elements of b, where that is fewer than 16; rows, cols and type are constants. */
RZ_INLINE void add_outer(int rows, int cols, f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], const float *const *a,
                         const char *const *b, size_t step, size_t n, size_t live, int type)
{
    for (size_t i = 0; i < n; i++) {
        f32x16 b_f32x16[RZ_OUTER_COLS];
        for (int c = 0; c < cols; c++)
            b_f32x16[c] = live ? load_first_kv(b[c] + i * step, live, type) : load_kv(b[c] + i * step, type);
        for (int r = 0; r < rows; r++) {
            f32x16 a_f32x16 = f32x16_set(a[r][i]);
            for (int c = 0; c < cols; c++) sum[r][c] = f32x16_fma(a_f32x16, b_f32x16[c], sum[r][c]);
        }
    }
}

/* Turns a number of rows into the constant that the register blocking needs. */
#define RZ_SWITCH_ROWS(rows, body)                                                                                     \
    switch (rows) {                                                                                                    \
    case 1:                                                                                                            \
        body(1);                                                                                                       \
        break;                                                                                                         \
    case 2:                                                                                                            \
        body(2);                                                                                                       \
        break;                                                                                                         \
    case 3:                                                                                                            \
        body(3);                                                                                                       \
        break;                                                                                                         \
    case 4:                                                                                                            \
        body(4);                                                                                                       \
        break;                                                                                                         \
    case 5:                                                                                                            \
        body(5);                                                                                                       \
        break;                                                                                                         \
    default:                                                                                                           \
        body(6);                                                                                                       \
        break;                                                                                                         \
    }
_Static_assert(RZ_OUTER_ROWS == 6, "RZ_SWITCH_ROWS");

#endif
