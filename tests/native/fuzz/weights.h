/* Random rows of every format. */
#ifndef REALIZAR_FUZZ_WEIGHTS_H
#define REALIZAR_FUZZ_WEIGHTS_H

#include "common.h"
#include "realizar/blocks.h"

static const struct format {
    const char *name;
    int elements, bytes, act_block;
} formats[] = {
#define ROW(NAME, lower, id, elements, bytes, act) {#NAME, elements, bytes, act},
    RZ_FORMATS(ROW)
#undef ROW
};

/* Offsets of the half floats in a block; both 0 if there is only one. */
static const int halves_at[RZ_N_FORMATS][2] = {
    [RZ_Q4_1] = {0, 2}, [RZ_Q5_1] = {0, 2},     [RZ_Q2_K] = {80, 82},   [RZ_Q3_K] = {108, 108}, [RZ_Q4_K] = {0, 2},
    [RZ_Q5_K] = {0, 2}, [RZ_Q6_K] = {208, 208}, [RZ_PTQ1_0] = {26, 26}, [RZ_TQ1_0] = {52, 52},  [RZ_TQ2_0] = {64, 64},
};

/* Of ordinary size; wild: sometimes Inf, NaN, denormal, zero or the largest. */
static uint16_t random_half(int wild)
{
    static const uint16_t odd[] = {0x7c00, 0xfc00, 0x7e01, 0x7c01, 0x0001, 0x83ff, 0x0000, 0x8000, 0x7bff};
    if (wild && one_in(5)) return odd[between(0, (int)(sizeof odd / sizeof *odd) - 1)];
    return (uint16_t)((random_bits() & 0x83ff) | (uint64_t)between(6, 9) << 10);
}

static void random_weights(int f, char *w, size_t n_blocks, int wild)
{
    size_t bytes = (size_t)formats[f].bytes;
    random_bytes(w, n_blocks * bytes);
    for (size_t b = 0; b < n_blocks; b++, w += bytes) {
        float x = wild && one_in(20) ? wild_float() : tame_float();
        if (f == RZ_F32) {
            memcpy(w, &x, sizeof x);
        } else if (f == RZ_BF16) {
            memcpy(w, (char *)&x + 2, 2);
        } else if (f == RZ_MXFP4) {
            w[0] = (char)(wild && one_in(5) ? between(0, 255) : between(118, 122));
        } else if (f == RZ_IQ1_M) {
            uint16_t half = random_half(wild);
            for (int i = 0; i < 4; i++) w[49 + 2 * i] = (char)((w[49 + 2 * i] & 15) | (half >> 4 * i & 15) << 4);
        } else if (f == RZ_NVFP4) {
            for (int i = 0; i < 4; i++) w[i] = (char)(wild && one_in(5) ? between(0, 255) : between(30, 60));
        } else {
            for (int i = 0; i < 2; i++) {
                uint16_t half = random_half(wild);
                memcpy(w + halves_at[f][i], &half, sizeof half);
            }
        }
    }
}

#endif
