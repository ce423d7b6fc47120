/* Rows of a file as planes of codes and scales, for a GPU (realizar/backends/wgpu/planes.py says what planes are). */
#ifndef REALIZAR_REPACK_H
#define REALIZAR_REPACK_H

#include <stddef.h>
#include <stdint.h>

/* How the blocks of a format become planes: bytes of a block in the file and in each plane; 0: it has no such plane. */
struct rz_repack {
    const char *name;
    size_t block, w, high, scales;
    void (*row)(const void *from, size_t n_block, uint8_t *w, uint8_t *high, uint8_t *scales);
};

extern const struct rz_repack rz_repacks[];
extern const int rz_n_repacks;

/* Bytes of a row of a plane, which is padded to whole words. */
static inline size_t rz_plane_row(size_t n_block, size_t bytes) { return (n_block * bytes + 3) / 4 * 4; }

/* Repacks rows that lie `stride` bytes apart; planes are contiguous. */
void rz_repack_rows(const struct rz_repack *format, const uint8_t *from, size_t stride, size_t n_row, size_t n_block,
                    uint8_t *w, uint8_t *high, uint8_t *scales);

#endif
