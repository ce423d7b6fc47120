/* Repacks random blocks of every format into memory of just the size of its planes, for the sanitizers. */
#include "realizar/repack.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *random_bytes(size_t n)
{
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; bytes && i < n; i++) bytes[i] = (uint8_t)rand();
    return bytes;
}

static int repack(const struct rz_repack *format, size_t n_row, size_t n_block)
{
    size_t stride = format->block * n_block + 1, n_scales = rz_plane_row(n_block, format->scales);
    uint8_t *from = random_bytes(n_row * stride);
    uint8_t *w = malloc(n_row * rz_plane_row(n_block, format->w));
    uint8_t *high = malloc(n_row * rz_plane_row(n_block, format->high));
    uint8_t *scales = malloc(n_row * n_scales), *again = malloc(n_row * n_scales);
    memset(scales, 0xff, n_row * n_scales);
    memset(again, 0, n_row * n_scales);
    rz_repack_rows(format, from, stride, n_row, n_block, w, high, scales);
    rz_repack_rows(format, from, stride, n_row, n_block, w, high, again);
    int differs = memcmp(scales, again, n_row * n_scales) != 0; /* a byte of a row, or of its padding, is not written */
    free(from), free(w), free(high), free(scales), free(again);
    return differs;
}

int main(void)
{
    int failed = 0;
    for (int i = 0; i < rz_n_repacks; i++)
        for (size_t n_block = 1; n_block < 6; n_block++) failed |= repack(&rz_repacks[i], 3, n_block);
    return failed;
}
