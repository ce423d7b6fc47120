/* IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S: how codewords, signs and scales are packed. */
#ifndef REALIZAR_QUANTIZE_IQ23_H
#define REALIZAR_QUANTIZE_IQ23_H

#include "realizar/quantize/codebook.h"

/* Four times seven sign bits and a scale of four. */
static void pack_signs_and_scale(const uint8_t *signs, uint8_t code, uint8_t *to)
{
    uint32_t word = (uint32_t)code << 28;
    for (int i = 0; i < 4; i++) word |= (uint32_t)(signs[i] & 127) << 7 * i;
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(word >> 8 * i);
}

static void pack_code_nibbles(const uint8_t *code, int n, uint8_t *to)
{
    for (int i = 0; i < n; i += 2) to[i / 2] = (uint8_t)(code[i] | code[i + 1] << 4);
}

static void pack_iq2_xxs(const codebook_block *from, rz_block_iq2_xxs *to)
{
    to->d = from->d;
    for (int j = 0; j < 8; j++) {
        for (int i = 0; i < 4; i++) to->qs[8 * j + i] = (uint8_t)from->index[4 * j + i];
        pack_signs_and_scale(from->signs + 4 * j, from->code[j], to->qs + 8 * j + 4);
    }
}

static void pack_iq2_xs(const codebook_block *from, rz_block_iq2_xs *to)
{
    to->d = from->d;
    for (int i = 0; i < 32; i++) to->qs[i] = (uint16_t)(from->index[i] | (from->signs[i] & 127) << 9);
    pack_code_nibbles(from->code, 16, to->scales);
}

static void pack_iq2_s(const codebook_block *from, rz_block_iq2_s *to)
{
    to->d = from->d;
    memset(to->qh, 0, sizeof to->qh);
    for (int i = 0; i < 32; i++) {
        to->qs[i] = (uint8_t)from->index[i];
        to->qh[i / 4] |= (uint8_t)(from->index[i] >> 8 << i % 4 * 2);
    }
    memcpy(to->signs, from->signs, sizeof to->signs);
    pack_code_nibbles(from->code, 16, to->scales);
}

static void pack_iq3_xxs(const codebook_block *from, rz_block_iq3_xxs *to)
{
    to->d = from->d;
    for (int i = 0; i < 64; i++) to->qs[i] = (uint8_t)from->index[i];
    for (int j = 0; j < 8; j++) pack_signs_and_scale(from->signs + 4 * j, from->code[j], to->signs + 4 * j);
}

static void pack_iq3_s(const codebook_block *from, rz_block_iq3_s *to)
{
    to->d = from->d;
    memset(to->qh, 0, sizeof to->qh);
    for (int i = 0; i < 64; i++) {
        to->qs[i] = (uint8_t)from->index[i];
        to->qh[i / 8] |= (uint8_t)(from->index[i] >> 8 << i % 8);
    }
    memcpy(to->signs, from->signs, sizeof to->signs);
    pack_code_nibbles(from->code, 8, to->scales);
}

#define RZ_CODEBOOK(name, WORDS, N, GROUP, LEVELS, EVEN, UNIT)                                                         \
    static int quantize_##name(const float *x, const float *w, size_t k, void *out)                                    \
    {                                                                                                                  \
        const codebook_format format = {                                                                               \
            rz_##name##_grid, WORDS, N, GROUP, (int)(sizeof LEVELS / sizeof *LEVELS), EVEN, UNIT, LEVELS};             \
        enum { BLOCKS = GROUP / 16 };                                                                                  \
        rz_block_##name *to = out;                                                                                     \
        codebook_halves halves;                                                                                        \
        int overflow = 0;                                                                                              \
        size_t n_block = k / 256;                                                                                      \
        codebook_begin(&format, halves);                                                                               \
        for (size_t b = 0; b < n_block; b += BLOCKS) {                                                                 \
            size_t n_here = n_block - b < BLOCKS ? n_block - b : BLOCKS;                                               \
            codebook_block blocks[BLOCKS];                                                                             \
            const float *of = w ? w + 256 * b : NULL;                                                                  \
            codebook_quantize(&format, halves, x + 256 * b, of, n_here, blocks, &overflow);                            \
            for (size_t i = 0; i < n_here; i++) pack_##name(&blocks[i], to + b + i);                                   \
        }                                                                                                              \
        return overflow;                                                                                               \
    }

RZ_CODEBOOK(iq2_xxs, 256, 8, 32, IQ2_LEVELS, 1, 0.125f)
RZ_CODEBOOK(iq2_xs, 512, 8, 16, IQ2_LEVELS, 1, 0.125f)
RZ_CODEBOOK(iq2_s, 1024, 8, 16, IQ2_LEVELS, 0, 0.125f)
RZ_CODEBOOK(iq3_xxs, 256, 4, 32, IQ3_XXS_LEVELS, 1, 0.25f)
RZ_CODEBOOK(iq3_s, 512, 4, 32, IQ3_S_LEVELS, 0, 1)

#endif
