/* The block structs of GGUF files, byte for byte (source: the gguf specification and ggml-common.h of ggml).
 *
 * d is always a scale and m a minimum, as IEEE half floats; all numbers are little endian. A value is d * q, or
 * d * q + m; in the K formats each sub-block has an integer scale, and in some also an integer minimum. */
#ifndef REALIZAR_BLOCKS_H
#define REALIZAR_BLOCKS_H

#include <assert.h>
#include <stdint.h>

#include "realizar/formats.h"

#pragma pack(push, 1)

typedef struct {
    float x;
} rz_block_f32;

typedef struct {
    uint16_t x;
} rz_block_f16;

typedef struct {
    uint16_t x; /* the upper half of a float */
} rz_block_bf16;

typedef struct {
    uint16_t d;
    uint8_t qs[16]; /* low nibbles: elements 0..15; high nibbles: 16..31; value d * (q - 8) */
} rz_block_q4_0;

typedef struct {
    uint16_t d, m;
    uint8_t qs[16]; /* nibbles as in q4_0; value d * q + m */
} rz_block_q4_1;

typedef struct {
    uint16_t d;
    uint8_t qh[4];  /* bit i: the fifth bit of element i */
    uint8_t qs[16]; /* value d * (q - 16) */
} rz_block_q5_0;

typedef struct {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16]; /* value d * q + m */
} rz_block_q5_1;

typedef struct {
    uint16_t d;
    int8_t qs[32]; /* value d * q */
} rz_block_q8_0;

typedef struct {
    uint8_t e;      /* d = 2^(e - 128) */
    uint8_t qs[16]; /* nibbles as in q4_0, each a number of four bits: value d * RZ_MXFP4_VALUES[nibble] */
} rz_block_mxfp4;

typedef struct {
    uint8_t scales[16]; /* of 16 elements each; low nibble: scale, high nibble: minimum */
    uint8_t qs[64];     /* per half of 128: 32 bytes; bit pair j of byte i: element 32 * j + i */
    uint16_t d, dmin;
} rz_block_q2_k; /* value d * scale * q - dmin * min */

typedef struct {
    uint8_t hmask[32];  /* bit j of byte i: the third bit of element 32 * j + i */
    uint8_t qs[64];     /* as in q2_k */
    uint8_t scales[12]; /* sixteen 6-bit scales, see q3_k_scale */
    uint16_t d;
} rz_block_q3_k; /* value d * (scale - 32) * (q - 4) */

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12]; /* eight 6-bit scales and eight 6-bit minima, see rz_k_scales */
    uint8_t qs[128];    /* 32 bytes for two sub-blocks of 32: low nibbles the first, high the second */
} rz_block_q4_k;        /* value d * scale * q - dmin * min */

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; /* bit j of byte i: the fifth bit of element i of sub-block j */
    uint8_t qs[128];
} rz_block_q5_k; /* value d * scale * q - dmin * min */

typedef struct {
    uint8_t ql[128];   /* per half of 128: 64 bytes; low nibbles: elements 0..63, high: 64..127 */
    uint8_t qh[64];    /* per half: 32 bytes; bit pair j of byte i: upper bits of element 32 * j + i */
    int8_t scales[16]; /* of 16 elements each */
    uint16_t d;
} rz_block_q6_k; /* value d * scale * (q - 32) */

typedef struct {
    uint16_t d;
    uint8_t qs[16]; /* nibbles as in q4_0: value d * RZ_IQ4_VALUES[nibble] (codebooks.h) */
} rz_block_iq4_nl;

typedef struct {
    uint16_t d, scales_h; /* bit pair j: upper bits of the scale of sub-block j of 32 */
    uint8_t scales_l[4];  /* nibble j: its lower bits */
    uint8_t qs[128];      /* sub-blocks as in iq4_nl */
} rz_block_iq4_xs;        /* value d * (scale - 32) * RZ_IQ4_VALUES[nibble] */

/* In the other IQ formats, an index selects the magnitudes of eight (IQ2) or four (IQ3) elements in a codebook. Their
 * signs are bits, of eight elements each, of which seven are stored where an even number is set. Scales are odd. */
typedef struct {
    uint16_t d;
    uint8_t qs[64];    /* indices */
    uint8_t signs[32]; /* a dword for each sub-block of 32: four times seven sign bits and four bits of scale */
} rz_block_iq3_xxs;    /* value d / 4 * (2 * scale + 1) * q */

typedef struct {
    uint16_t d;
    uint8_t qs[64], qh[8]; /* bit j of byte i: the ninth bit of index 8 * i + j */
    uint8_t signs[32];
    uint8_t scales[4]; /* a nibble for each sub-block of 32 */
} rz_block_iq3_s;      /* value d * (2 * scale + 1) * q */

typedef struct {
    uint16_t d;
    uint8_t qs[64]; /* for each sub-block of 32: four indices, then a dword as in iq3_xxs */
} rz_block_iq2_xxs; /* value d / 8 * (2 * scale + 1) * q */

typedef struct {
    uint16_t d, qs[32]; /* nine bits of index, seven of signs */
    uint8_t scales[8];  /* a nibble for each sub-block of 16 */
} rz_block_iq2_xs;      /* value as in iq2_xxs */

typedef struct {
    uint16_t d;
    uint8_t qs[32], signs[32], qh[8]; /* bit pair j of byte i of qh: the upper bits of index 4 * i + j */
    uint8_t scales[8];
} rz_block_iq2_s; /* value as in iq2_xxs */

typedef struct {
    uint16_t d;
    uint8_t qs[32];
    uint16_t
        qh[8];    /* for each sub-block of 32: upper three bits of four indices, the scale (3 bits), the delta's sign */
} rz_block_iq1_s; /* value d / 8 * (2 * scale + 1) * (8 * q + delta), q in -1..1, delta -1 or 1 */

typedef struct {
    uint8_t qs[32], qh[16]; /* nibble j of qh: upper three bits of index j and the sign of its delta */
    uint16_t scales[4];     /* four scales of 3 bits, of 16 elements each; above them a nibble of d */
} rz_block_iq1_m;           /* value as in iq1_s */

#pragma pack(pop)

/* Twice the numbers of FP4 E2M1: sign, two bits of exponent, one of fraction (Open Compute Project, Microscaling
 * Formats specification 1.0, 2023), so that they are integers; the scale is half of the specification's instead. */
#define RZ_MXFP4_VALUES 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

#define RZ_CHECK_BLOCK_SIZE(NAME, lower, id, elements, bytes, act)                                                     \
    static_assert(sizeof(rz_block_##lower) == (bytes), "a " #NAME " block has " #bytes " bytes in the file");
RZ_FORMATS(RZ_CHECK_BLOCK_SIZE)
#undef RZ_CHECK_BLOCK_SIZE

#endif
