/* Fields of the blocks of IQ formats that every ISA level reads as scalars. */
#ifndef REALIZAR_SCALAR_CODEWORD_BITS_H
#define REALIZAR_SCALAR_CODEWORD_BITS_H

#include <string.h>

#include "realizar/blocks.h"

/* The sign bits of eight elements from the lower seven: the eighth makes their number even. */
static inline unsigned even_signs(unsigned index)
{
    unsigned signs = index & 127, parity = signs ^ signs >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return signs | (parity & 1) << 7;
}

/* The same of four groups of seven bits, as four bytes. */
static inline uint32_t even_signs_4(uint32_t index)
{
    uint32_t words = (index & 0x3fff) | (index << 2 & 0x3fff0000),
             signs = (words & 0x007f007f) | (words << 1 & 0x7f007f00);
    uint32_t parity = signs ^ signs >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return signs | (parity & 0x01010101) << 7;
}

/* d of IQ1_M, a nibble of which is in each word of scales. */
static inline uint16_t iq1_m_d(const void *data)
{
    uint64_t words;
    memcpy(&words, ((const rz_block_iq1_m *)data)->scales, sizeof words);
    return (uint16_t)((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
}

#endif
