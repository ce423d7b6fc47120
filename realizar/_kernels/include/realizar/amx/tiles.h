/* Tile registers: their configuration, and the few instructions that the products need. */
#ifndef REALIZAR_AMX_TILES_H
#define REALIZAR_AMX_TILES_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum { TILE_ROWS = 16, TILE_BYTES = 1024 };

/* The configuration that ldtilecfg reads (Intel SDM, volume 1, 18.3.2). */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

_Static_assert(sizeof(tile_config) == 64, "tile_config");

/* Configures registers 0 to 3 for sums, 4 and 5 for tokens, 6 and 7 for weights: sixteen rows of n elements; a row of a
 * weight register has four elements of each of sixteen weight rows. Assembly, because gcc 12's _tile_loadconfig
 * declares only 8 of the 64 bytes that it reads, so that gcc never writes the others. */
static inline void configure_tiles(int n_elements)
{
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? n_elements : 64);
        config.rows[i] = (uint8_t)(i < 6 ? TILE_ROWS : n_elements / 4);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

static inline void release_tiles(void) { _tile_release(); }

/* Load register TILE from rows a stride apart, OFFSET bytes after p; and store it. Assembly, because for the intrinsics
 * gcc computes a separate address for each, which needs more registers than there are. */
#define RZ_TILE_LOAD(TILE, p, OFFSET, stride)                                                                          \
    __asm__ volatile("tileloadd " #OFFSET "(%0,%1,1), %%tmm" #TILE : : "r"(p), "r"((size_t)(stride)) : "memory")
#define RZ_TILE_STORE(TILE, p, OFFSET, stride)                                                                         \
    __asm__ volatile("tilestored %%tmm" #TILE ", " #OFFSET "(%0,%1,1)" : : "r"(p), "r"((size_t)(stride)) : "memory")

#endif
