/* Rounds floats to four bits with one scale, and writes them into a block of the q4 cache. */
#ifndef REALIZAR_SCALAR_ROUND_Q4_H
#define REALIZAR_SCALAR_ROUND_Q4_H

#include "realizar/scalar/kv.h"
#include "realizar/scalar/round_int8.h"

/* Writes q[n] within [0, 15] and returns the scale d: x is about (q - 8) * d, and the element of the greatest magnitude
 * is 0, the positive one if there are two. If an element is Inf or NaN, d is NaN; if all are below 2^-100, d is 0. */
static inline float round_q4(const float *x, size_t n, uint8_t *q)
{
    uint32_t amax_bits = largest_bits(x, n);
    float amax = rz_bits_to_f32(amax_bits);
    int positive = 0;
    if (amax_bits >= 0x7f800000 || amax < 0x1p-100f) {
        memset(q, 8, n);
        return amax_bits >= 0x7f800000 ? NAN : 0;
    }
    for (size_t i = 0; i < n; i++) positive |= x[i] == amax;
    float most = positive ? amax : -amax, scale = -8 / most;
    for (size_t i = 0; i < n; i++) {
        float rounded = rintf(x[i] * scale) + 8;
        q[i] = (uint8_t)(rounded > 15 ? 15 : rounded);
    }
    return most / -8;
}

/* The elements of a token and their padding, which is zero: 8. */
struct q4_token {
    uint8_t q[(RZ_ATTEND_MAX_HEAD_DIM + Q4_V_GROUP - 1) / Q4_V_GROUP * Q4_V_GROUP];
};

static inline float round_q4_token(const float *x, size_t head_dim, struct q4_token *token)
{
    memset(token->q + head_dim / Q4_V_GROUP * Q4_V_GROUP, 8, head_dim % Q4_V_GROUP ? Q4_V_GROUP : 0);
    return round_q4(x, head_dim, token->q);
}

/* x is already transformed. */
static inline void write_k_q4(const float *x, size_t head_dim, int slot, char *block)
{
    struct q4_token token;
    kv_scales(block, head_dim, RZ_KV_Q4)[slot] = round_q4_token(x, head_dim, &token);
    for (size_t d = 0; d < head_dim; d += Q4_K_GROUP)
        for (size_t i = 0; i < 4; i++)
            block[q4_k_nibble(d + i, slot).byte] = (char)(token.q[d + i] | token.q[d + i + 4] << 4);
}

static inline void write_v_q4(const float *x, size_t head_dim, int slot, char *block)
{
    struct q4_token token;
    kv_scales(block, head_dim, RZ_KV_Q4)[slot] = round_q4_token(x, head_dim, &token);
    for (size_t d = 0; d < head_dim; d += Q4_V_GROUP)
        for (size_t i = 0; i < 16; i++)
            block[q4_v_nibble(d + i, slot, head_dim).byte] = (char)(token.q[d + i] | token.q[d + i + 16] << 4);
}

#endif
