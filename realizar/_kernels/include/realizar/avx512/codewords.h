/* Shared by the IQ formats of 256 elements: codewords by gathers, signs as masks, scales.
 *
 * GEMV multiplies magnitudes (unsigned bytes) with elements of the token whose signs are changed by a mask; the tiles of
 * GEMM have signed elements, offset by a bias. */
#ifndef REALIZAR_AVX512_CODEWORDS_H
#define REALIZAR_AVX512_CODEWORDS_H

#include "realizar/avx512/dot_f32.h"
#include "realizar/avx512/gemm_256.h"
#include "realizar/avx512/gemv_256.h"
#include "realizar/codebooks.h"
#include "realizar/isa_levels.h"
#include "realizar/scalar/codeword_bits.h"
#include "realizar/wide/codeword_scales.h"

/* Sixteen scales of a block as words. */
typedef __m256i scale_words_fn(const char *block);

/* Bit i of signs[j] belongs to element 64 * j + i. */
typedef struct {
    uint64_t signs[4];
} sign_masks;

/* Of bytes of eight signs in memory. */
RZ_INLINE sign_masks load_masks(const void *bytes)
{
    sign_masks masks;
    memcpy(masks.signs, bytes, sizeof masks.signs);
    return masks;
}

RZ_INLINE sign_masks masks_of_bytes(__m256i bytes)
{
    sign_masks masks;
    _mm256_storeu_si256((__m256i *)masks.signs, bytes);
    return masks;
}

/* Sets bit 7 of each byte so that an even number of bits is set; bit 7 was zero. */
RZ_INLINE __m256i make_even(__m256i bytes)
{
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    __m256i nibble = _mm256_xor_si256(bytes, _mm256_srli_epi16(bytes, 4));
    nibble = _mm256_and_si256(nibble, _mm256_set1_epi8(15));
    return _mm256_or_si256(bytes, _mm256_shuffle_epi8(odd, nibble));
}

/* From dwords that begin with four times seven bits. */
RZ_INLINE sign_masks masks_of_dwords(__m256i dwords)
{
    const __m256i low_14 = _mm256_set1_epi32(0x3fff), low_7 = _mm256_set1_epi32(0x007f007f);
    __m256i words = _mm256_ternarylogic_epi32(low_14, dwords, _mm256_slli_epi32(dwords, 2), 0xca);
    __m256i bytes = _mm256_ternarylogic_epi32(low_7, words, _mm256_slli_epi32(words, 1), 0xca);
    return masks_of_bytes(make_even(_mm256_and_si256(bytes, _mm256_set1_epi8(0x7f))));
}

/* q with the signs of a mask. */
RZ_INLINE __m512i with_signs(__m512i q, uint64_t signs, __m512i offset)
{
    return _mm512_mask_sub_epi8(_mm512_add_epi8(offset, q), _cvtu64_mask64(signs), offset, q);
}

/* Eight codewords of eight bytes; index: qwords. */
RZ_INLINE __m512i codewords_of_8(const uint64_t *grid, __m512i index) { return _mm512_i64gather_epi64(index, grid, 8); }

/* Sixteen codewords of four bytes; index: dwords. */
RZ_INLINE __m512i codewords_of_4(const uint32_t *grid, __m512i index) { return _mm512_i32gather_epi32(index, grid, 4); }

/* Eight bytes as qwords. */
RZ_INLINE __m512i bytes_as_qwords(const uint8_t *p)
{
    return _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)p));
}

/* Words [4 i, 4 i + 4) of the scales, each for 16 elements. */
RZ_INLINE __m512i scales_of_64(__m256i words, int i)
{
    const __m512i lane = _mm512_set_epi64(0x0003000300030003, 0x0003000300030003, 0x0002000200020002,
                                          0x0002000200020002, 0x0001000100010001, 0x0001000100010001, 0, 0);
    __m512i at = _mm512_add_epi16(lane, _mm512_set1_epi16((short)(4 * i)));
    return _mm512_permutexvar_epi16(at, _mm512_castsi256_si512(words));
}

/* dot plus the products of 64 magnitudes and elements of a token, with the signs, times the scales. */
RZ_INLINE __m512i add_dot_64(__m512i dot, __m512i q, const act_256 *x, int i, uint64_t signs, __m256i scales)
{
    __m512i elements = act_64(x, i);
    elements = _mm512_mask_sub_epi8(elements, _cvtu64_mask64(signs), _mm512_setzero_si512(), elements);
    return _mm512_dpwssd_epi32(dot, _mm512_maddubs_epi16(q, elements), scales_of_64(scales, i));
}

/* Four halves, d of four rows, divided by 2^d_bits; the integer scales are read with the elements. */
RZ_INLINE scales_256 scales_of_d(uint64_t halves, int d_bits)
{
    __m128 d = _mm_cvtph_ps(_mm_cvtsi64_si128((long long)halves));
    return (scales_256){.d = _mm_mul_ps(d, _mm_set1_ps(1.0f / (float)(1 << d_bits)))};
}

/* For blocks that begin with d. */
RZ_INLINE scales_256 scales_of_first(const char *const *blocks, int d_bits)
{
    uint64_t halves = 0;
    for (int r = 0; r < 4; r++) {
        uint16_t half;
        memcpy(&half, blocks[r], sizeof half);
        halves |= (uint64_t)half << 16 * r;
    }
    return scales_of_d(halves, d_bits);
}

static inline scales_256 whole_d(const char *const *blocks) { return scales_of_first(blocks, 0); }
static inline scales_256 quarter_d(const char *const *blocks) { return scales_of_first(blocks, 2); }
static inline scales_256 eighth_d(const char *const *blocks) { return scales_of_first(blocks, 3); }

/* d of sixteen rows in the lower half of each dword, for blocks that begin with it. */
RZ_INLINE __m512i first_halves(const char *const *blocks) { return gather_dwords(blocks, 0); }

/* The scales of sixteen rows as pairs, transposed; n_scale: 8 or 16 for each block. */
RZ_INLINE void store_scale_pairs(scale_words_fn *scales_of, int n_scale, const char *const *blocks,
                                 int32_t (*scales)[16])
{
    int32_t rows[16][8] __attribute__((aligned(32)));
    const char *row[16];
    __m512i pairs[4];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++) {
        __m256i words = scales_of(blocks[r]);
        row[r] = (const char *)rows[r];
        if (n_scale == 8) words = _mm256_castsi128_si256(_mm256_cvtepi32_epi16(words));
        _mm256_store_si256((__m256i *)rows[r], words);
    }
#pragma GCC unroll 2
    for (int i = 0; i < n_scale / 8; i++) {
        load_transposed_quads(row, 16 * (size_t)i, pairs);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm512_store_si512(scales[4 * i + j], pairs[j]);
    }
}

/* NAME_dot_256 of codewords with signs; masks_of_block: the signs of `block`. */
#define RZ_SIGNED_DOT(name, masks_of_block)                                                                            \
    static inline __m512i name##_dot_256(const char *data, __m512i unused, const act_256 *x)                           \
    {                                                                                                                  \
        const rz_block_##name *block = (const rz_block_##name *)data;                                                  \
        __m256i scales = name##_scales(data);                                                                          \
        sign_masks masks = masks_of_block;                                                                             \
        __m512i dot = _mm512_setzero_si512();                                                                          \
        (void)unused;                                                                                                  \
        _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)                                                            \
        {                                                                                                              \
            dot = add_dot_64(dot, name##_words(block, (size_t)i), x, i, masks.signs[i], scales);                       \
        }                                                                                                              \
        return dot;                                                                                                    \
    }

/* The functions of a format by its names: NAME_unpack_64, NAME_scales, and NAME_dot_256 for blocks that begin with d.
 * n_scale, group, wide: see gemm_256_format. */
#define RZ_CODEWORDS(name, index, scales_fn, halves_fn, n_scale, group, wide, bias, d_bits)                            \
    static inline void name##_unpack_256(const char *const *blocks, char *tile)                                        \
    {                                                                                                                  \
        unpack_256_by_64(name##_unpack_64, blocks, tile);                                                              \
    }                                                                                                                  \
    static inline void name##_unpack_scales(const char *const *blocks, int32_t (*scales)[16])                          \
    {                                                                                                                  \
        store_scale_pairs(name##_scales, n_scale, blocks, scales);                                                     \
        _mm512_store_si512(scales[D_AT], halves_fn(blocks));                                                           \
    }                                                                                                                  \
    static const gemv_256_format name##_gemv_format = {scales_fn, name##_dot_256, sizeof(rz_block_##name), NO_MIN, 0}; \
                                                                                                                       \
    RZ_GEMV(name, gemv_256, name##_gemv_format)                                                                        \
    static const gemm_256_format name##_gemm_format = {name##_unpack_256,                                              \
                                                       name##_unpack_scales,                                           \
                                                       sizeof(rz_block_##name),                                        \
                                                       n_scale,                                                        \
                                                       group,                                                          \
                                                       bias,                                                           \
                                                       bias,                                                           \
                                                       0,                                                              \
                                                       wide,                                                           \
                                                       d_bits};                                                        \
    RZ_GEMM_256(name)                                                                                                  \
    static void name##_matmul_f32(RZ_MATMUL_PARAMS)                                                                    \
    {                                                                                                                  \
        dequantize_and_dot(rz_scalar.format[index].dequantize, RZ_MATMUL_ARGS);                                        \
    }

#endif
