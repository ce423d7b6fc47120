/* Outer products in registers, of which both halves of attention (q.k and p.v) consist. */
#ifndef REALIZAR_WIDE_OUTER_H
#define REALIZAR_WIDE_OUTER_H

#include "realizar/scalar/kv.h"

/* A tile unpacked to floats, in addition to the types of a cache. */
enum { UNPACKED = RZ_N_KV };

/* Bytes of an element; not of q4. */
RZ_INLINE size_t kv_bytes(int type)
{
    return type == RZ_KV_INT8 ? sizeof(int8_t) : type == RZ_KV_F16 ? sizeof(uint16_t) : sizeof(float);
}

/* Sixteen elements of a cache block, or the first n of them, times the scale of an int8 cache. */
RZ_INLINE f32x16 load_kv(const char *p, f32x16 scale, int type)
{
    if (type == RZ_KV_INT8) return f32x16_mul(f32x16_load_int8((const int8_t *)p), scale);
    return type == RZ_KV_F16 ? f32x16_load_f16((const uint16_t *)p) : f32x16_load((const float *)p);
}

RZ_INLINE f32x16 load_first_kv(const char *p, size_t n, f32x16 scale, int type)
{
    if (type == RZ_KV_INT8) return f32x16_mul(f32x16_load_first_int8((const int8_t *)p, n), scale);
    return type == RZ_KV_F16 ? f32x16_load_first_f16((const uint16_t *)p, n) : f32x16_load_first((const float *)p, n);
}

/* Element d of the K of sixteen tokens, times their scales. */
RZ_INLINE f32x16 load_k(const char *block, size_t d, f32x16 scale, int type)
{
    if (type != RZ_KV_Q4) return load_kv(block + d * RZ_KV_BLOCK * kv_bytes(type), scale, type);
    struct nibble at = q4_k_nibble(d, 0);
    i32x16 q = i32x16_shift(i32x16_load(block + at.byte / 64 * 64), (int)(at.byte % 4) * 8 + at.shift);
    q = i32x16_add(i32x16_and(q, i32x16_set(15)), i32x16_set(-8));
    return f32x16_mul(i32x16_to_f32(q), scale);
}

/* sum[r][c] = fma(a[r * a_row], b[c], sum[r][c]): every b is used for all rows. All but a and b are constants. */
RZ_INLINE void add_outer(int rows, int cols, f32x16 sum[RZ_OUTER_ROWS][RZ_OUTER_COLS], const float *a, size_t a_row,
                         const f32x16 *b)
{
    for (int r = 0; r < rows; r++) {
        f32x16 a_f32x16 = f32x16_set(a[(size_t)r * a_row]);
        for (int c = 0; c < cols; c++) sum[r][c] = f32x16_fma(a_f32x16, b[c], sum[r][c]);
    }
}

/* The number of columns for a number of rows. */
static inline int outer_cols(int rows)
{
#define RZ_COLS(rows, cols) [rows] = cols,
    static const int cols[] = {RZ_OUTER_SHAPES(RZ_COLS)};
#undef RZ_COLS
    return cols[rows];
}

#endif
