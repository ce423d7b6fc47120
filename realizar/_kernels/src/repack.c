/* Repacks blocks of files into planes for a GPU, at the speed of memory.
 *
 * The meaning is that of the functions of realizar/backends/wgpu/blocks.py and words.py, whose bytes these give. */
#include "realizar/repack.h"

#include "realizar/blocks.h"

#include <string.h>

typedef uint8_t u8;

static inline uint32_t word_at(const u8 *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, 4);
    return word;
}

static inline void put_word(u8 *to, uint32_t word) { memcpy(to, &word, 4); }

/* ---- codes */

/* 32 bytes with a group of 32 codes in their low nibbles, one in the high ones -> 16 bytes for each. Eight bytes at a
 * time, as compilers do not know that the memories do not overlap. */
static inline void split_nibbles(const u8 *q, u8 *low, u8 *high)
{
    const uint64_t nibbles = 0x0f0f0f0f0f0f0f0f;
    uint64_t x[4], out[4];
    memcpy(x, q, 32);
    for (int i = 0; i < 2; i++) {
        out[i] = (x[i] & nibbles) | (x[2 + i] & nibbles) << 4;
        out[2 + i] = (x[i] >> 4 & nibbles) | (x[2 + i] & ~nibbles);
    }
    memcpy(low, out, 16);
    memcpy(high, out + 2, 16);
}

/* 32 bytes with two bits of each element of four groups -> two words for each group: bits 2 i of byte j of word h are
 * element 16 h + 4 i + j. */
static inline void bit_pairs(const u8 *q, u8 *out)
{
    for (int group = 0; group < 4; group++) {
        for (int h = 0; h < 2; h++) {
            uint32_t word = 0;
            for (int i = 0; i < 4; i++) word |= (word_at(q + 16 * h + 4 * i) >> 2 * group & 0x03030303) << 2 * i;
            put_word(out + 8 * group + 4 * h, word);
        }
    }
}

/* 32 bytes with a bit of each element of eight groups -> a word for each group: bit i of byte j is element 4 i + j. */
static inline void bits(const u8 *q, u8 *out)
{
    uint64_t two[8]; /* words for a group and the next one */
    for (int i = 0; i < 8; i++) two[i] = word_at(q + 4 * i) | (uint64_t)(word_at(q + 4 * i) >> 1) << 32;
    for (int group = 0; group < 8; group += 2) {
        uint64_t words = 0;
        for (int i = 0; i < 8; i++) words |= (two[i] >> group & 0x0101010101010101) << i;
        memcpy(out + 4 * group, &words, 8);
    }
}

/* The bits of 32 elements in their order -> a word as those of `bits`. */
static inline void bits_in_order(const u8 *q, u8 *out)
{
    uint32_t in_order = word_at(q), word = 0;
    for (int j = 0; j < 4; j++) {
        uint32_t x = in_order >> j & 0x11111111; /* bit 4 i becomes bit i */
        x = (x | x >> 3) & 0x03030303;
        x = (x | x >> 6) & 0x000f000f;
        word |= ((x | x >> 12) & 0xff) << 8 * j;
    }
    put_word(out, word);
}

/* The bit pairs of 16 elements in their order -> a word as those of `bit_pairs`. */
static inline void bit_pairs_in_order(const u8 *q, u8 *out)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) word |= (uint32_t)(q[i] >> 2 * j & 3) << (8 * j + 2 * i);
    }
    put_word(out, word);
}

/* Eight times n bytes of indices, each followed by four bytes of signs. */
static inline void with_signs(const u8 *qs, size_t n, const u8 *signs, u8 *out)
{
    for (size_t g = 0; g < 8; g++) {
        memcpy(out + g * (n + 4), qs + g * n, n);
        memcpy(out + g * (n + 4) + n, signs + g * 4, 4);
    }
}

/* ---- scales */

static inline void pair(uint16_t d, uint16_t m, u8 *scales) { put_word(scales, d | (uint32_t)m << 16); }

static inline void half(uint16_t d, u8 *scales) { memcpy(scales, &d, 2); }

/* d and dmin, then scale and minimum of each group. */
static inline void six_bits(uint16_t d, uint16_t dmin, const u8 *packed, u8 *scales)
{
    pair(d, dmin, scales);
    for (int g = 0; g < 4; g++) {
        u8 *low = scales + 4 + 2 * g, *high = low + 8;
        low[0] = packed[g] & 63;
        low[1] = packed[4 + g] & 63;
        high[0] = (u8)((packed[8 + g] & 15) | packed[g] >> 6 << 4);
        high[1] = (u8)(packed[8 + g] >> 4 | packed[4 + g] >> 6 << 4);
    }
}

/* ---- one function for each format */

#define REPACK(name) static inline void name(const rz_block_##name *b, u8 *w, u8 *high, u8 *scales)

REPACK(q4_0)
{
    memcpy(w, b->qs, sizeof b->qs);
    half(b->d, scales);
}

REPACK(q4_1)
{
    memcpy(w, b->qs, sizeof b->qs);
    pair(b->d, b->m, scales);
}

REPACK(q5_0)
{
    memcpy(w, b->qs, sizeof b->qs);
    bits_in_order(b->qh, high);
    half(b->d, scales);
}

REPACK(q5_1)
{
    memcpy(w, b->qs, sizeof b->qs);
    bits_in_order(b->qh, high);
    pair(b->d, b->m, scales);
}

REPACK(q8_0)
{
    memcpy(w, b->qs, sizeof b->qs);
    half(b->d, scales);
}

REPACK(q4_k)
{
    for (int m = 0; m < 4; m++) split_nibbles(b->qs + 32 * m, w + 32 * m, w + 32 * m + 16);
    six_bits(b->d, b->dmin, b->scales, scales);
}

REPACK(q5_k)
{
    for (int m = 0; m < 4; m++) split_nibbles(b->qs + 32 * m, w + 32 * m, w + 32 * m + 16);
    bits(b->qh, high);
    six_bits(b->d, b->dmin, b->scales, scales);
}

REPACK(q6_k)
{
    for (int m = 0; m < 4; m++) {
        u8 *low = w + m / 2 * 64 + m % 2 * 16; /* the high nibbles are those of the element 64 further on */
        split_nibbles(b->ql + 32 * m, low, low + 32);
    }
    for (int m = 0; m < 2; m++) bit_pairs(b->qh + 32 * m, high + 32 * m);
    pair(b->d, 0, scales);
    memcpy(scales + 4, b->scales, sizeof b->scales);
}

REPACK(mxfp4)
{
    memcpy(w, b->qs, sizeof b->qs);
    scales[0] = b->e;
}

REPACK(nvfp4)
{
    for (int p = 0; p < 2; p++) {
        const u8 *first = b->qs + 16 * p, *last = first + 8;
        for (int i = 0; i < 8; i++) {
            w[16 * p + i] = (u8)((first[i] & 15) | last[i] << 4);
            w[16 * p + 8 + i] = (u8)(first[i] >> 4 | (last[i] & 0xf0));
        }
    }
    memcpy(scales, b->d, sizeof b->d);
}

REPACK(iq4_nl)
{
    memcpy(w, b->qs, sizeof b->qs);
    half(b->d, scales);
}

REPACK(iq4_xs)
{
    memcpy(w, b->qs, sizeof b->qs);
    memcpy(scales, b, 8); /* d and both parts of the scales */
}

REPACK(q2_k)
{
    for (int m = 0; m < 2; m++) bit_pairs(b->qs + 32 * m, w + 32 * m);
    pair(b->d, b->dmin, scales);
    memcpy(scales + 4, b->scales, sizeof b->scales);
}

REPACK(q3_k)
{
    for (int m = 0; m < 2; m++) bit_pairs(b->qs + 32 * m, w + 32 * m);
    bits(b->hmask, high);
    pair(b->d, 0, scales);
    for (int half = 0; half < 2; half++) { /* scales 8 to 15 have the high nibbles */
        for (int i = 0; i < 4; i++) {
            int first = b->scales[2 * i] >> 4 * half & 15, last = b->scales[2 * i + 1] >> 4 * half & 15;
            scales[4 + 4 * half + i] = (u8)(first | last << 4);
        }
    }
    for (int j = 0; j < 4; j++) { /* bit pair j of byte i: scale 4 j + i */
        int word = 0;
        for (int i = 0; i < 4; i++) word |= (b->scales[8 + i] >> 2 * j & 3) << 2 * i;
        scales[12 + j] = (u8)word;
    }
}

REPACK(q1_0)
{
    for (int g = 0; g < 4; g++) bits_in_order(b->qs + 4 * g, w + 4 * g);
    half(b->d, scales);
}

REPACK(q2_0)
{
    for (int i = 0; i < 4; i++) bit_pairs_in_order(b->qs + 4 * i, w + 4 * i);
    half(b->d, scales);
}

REPACK(pq2_0)
{
    for (int i = 0; i < 8; i++) bit_pairs_in_order(b->qs + 4 * i, w + 4 * i);
    half(b->d, scales);
}

REPACK(tq2_0)
{
    for (int m = 0; m < 2; m++) bit_pairs(b->qs + 32 * m, w + 32 * m);
    half(b->d, scales);
}

REPACK(iq2_xxs)
{
    memcpy(w, b->qs, sizeof b->qs);
    half(b->d, scales);
}

REPACK(iq2_xs)
{
    memcpy(w, b->qs, sizeof b->qs);
    pair(b->d, 0, scales);
    memcpy(scales + 4, b->scales, sizeof b->scales);
}

REPACK(iq2_s)
{
    with_signs(b->qs, 4, b->signs, w);
    memcpy(high, b->qh, sizeof b->qh);
    pair(b->d, 0, scales);
    memcpy(scales + 4, b->scales, sizeof b->scales);
}

REPACK(iq3_xxs)
{
    with_signs(b->qs, 8, b->signs, w);
    half(b->d, scales);
}

REPACK(iq3_s)
{
    with_signs(b->qs, 8, b->signs, w);
    memcpy(high, b->qh, sizeof b->qh);
    pair(b->d, 0, scales);
    memcpy(scales + 4, b->scales, sizeof b->scales);
}

REPACK(iq1_s)
{
    memcpy(w, b->qs, sizeof b->qs);
    memcpy(high, b->qh, sizeof b->qh);
    half(b->d, scales);
}

REPACK(iq1_m)
{
    memcpy(w, b->qs, sizeof b->qs);
    memcpy(high, b->qh, sizeof b->qh);
    memcpy(scales, b->scales, sizeof b->scales);
}

/* X(NAME, lower, bytes of a block in w, high, scales) */
#define FORMATS(X)                                                                                                     \
    X(Q4_0, q4_0, 16, 0, 2)                                                                                            \
    X(Q4_1, q4_1, 16, 0, 4)                                                                                            \
    X(Q5_0, q5_0, 16, 4, 2)                                                                                            \
    X(Q5_1, q5_1, 16, 4, 4)                                                                                            \
    X(Q8_0, q8_0, 32, 0, 2)                                                                                            \
    X(Q4_K, q4_k, 128, 0, 20)                                                                                          \
    X(Q5_K, q5_k, 128, 32, 20)                                                                                         \
    X(Q6_K, q6_k, 128, 64, 20)                                                                                         \
    X(MXFP4, mxfp4, 16, 0, 1)                                                                                          \
    X(NVFP4, nvfp4, 32, 0, 4)                                                                                          \
    X(IQ4_NL, iq4_nl, 16, 0, 2)                                                                                        \
    X(IQ4_XS, iq4_xs, 128, 0, 8)                                                                                       \
    X(Q2_K, q2_k, 64, 0, 20)                                                                                           \
    X(Q3_K, q3_k, 64, 32, 16)                                                                                          \
    X(Q1_0, q1_0, 16, 0, 2)                                                                                            \
    X(Q2_0, q2_0, 16, 0, 2)                                                                                            \
    X(PQ2_0, pq2_0, 32, 0, 2)                                                                                          \
    X(TQ2_0, tq2_0, 64, 0, 2)                                                                                          \
    X(IQ2_XXS, iq2_xxs, 64, 0, 2)                                                                                      \
    X(IQ2_XS, iq2_xs, 64, 0, 12)                                                                                       \
    X(IQ2_S, iq2_s, 64, 8, 12)                                                                                         \
    X(IQ3_XXS, iq3_xxs, 96, 0, 2)                                                                                      \
    X(IQ3_S, iq3_s, 96, 8, 8)                                                                                          \
    X(IQ1_S, iq1_s, 32, 16, 2)                                                                                         \
    X(IQ1_M, iq1_m, 32, 16, 8)

#define ROW(NAME, lower, n_w, n_high, n_scales)                                                                        \
    static void lower##_row(const void *from, size_t n_block, u8 *w, u8 *high, u8 *scales)                             \
    {                                                                                                                  \
        const rz_block_##lower *blocks = from;                                                                         \
        for (size_t i = 0; i < n_block; i++)                                                                           \
            lower(blocks + i, w + i * (n_w), high + i * (n_high), scales + i * (n_scales));                            \
    }
FORMATS(ROW)

#define ENTRY(NAME, lower, n_w, n_high, n_scales) {#NAME, sizeof(rz_block_##lower), n_w, n_high, n_scales, lower##_row},
const struct rz_repack rz_repacks[] = {FORMATS(ENTRY)};
const int rz_n_repacks = sizeof rz_repacks / sizeof *rz_repacks;

void rz_repack_rows(const struct rz_repack *format, const uint8_t *from, size_t stride, size_t n_row, size_t n_block,
                    uint8_t *w, uint8_t *high, uint8_t *scales)
{
    size_t n_w = rz_plane_row(n_block, format->w), n_high = rz_plane_row(n_block, format->high);
    size_t n_scales = rz_plane_row(n_block, format->scales);
    size_t end = n_block * format->scales; /* rows of the other planes are whole words */
    for (size_t row = 0; row < n_row; row++) {
        u8 *own = scales + row * n_scales;
        format->row(from + row * stride, n_block, w + row * n_w, high + row * n_high, own);
        memset(own + end, 0, n_scales - end);
    }
}
