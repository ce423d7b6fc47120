/* Shared by the GEMM micro-kernels: two tiles of sixteen rows against at most six tokens, with the 24 sums in
 * registers, and the panels of packed tokens.
 *
 * Each broadcast x is multiplied with both tiles; otherwise the loop would be limited by loads. */
#ifndef REALIZAR_AVX512_MICRO_KERNELS_H
#define REALIZAR_AVX512_MICRO_KERNELS_H

#include "realizar/avx512/tile.h"

enum { STEP_TOKENS = 6, STEP_ROWS = 32 };

/* DO(t) for each of n <= 6 tokens; n is a constant. Not a loop: the compiler keeps an array of sums in registers only
 * if its indices are literals. */
#define EACH_TOKEN(n, DO)                                                                                              \
    do {                                                                                                               \
        if ((n) > 0) {                                                                                                 \
            DO(0)                                                                                                      \
        }                                                                                                              \
        if ((n) > 1) {                                                                                                 \
            DO(1)                                                                                                      \
        }                                                                                                              \
        if ((n) > 2) {                                                                                                 \
            DO(2)                                                                                                      \
        }                                                                                                              \
        if ((n) > 3) {                                                                                                 \
            DO(3)                                                                                                      \
        }                                                                                                              \
        if ((n) > 4) {                                                                                                 \
            DO(4)                                                                                                      \
        }                                                                                                              \
        if ((n) > 5) {                                                                                                 \
            DO(5)                                                                                                      \
        }                                                                                                              \
    } while (0)

/* sum += products of four bytes. Assembly, because for the intrinsic gcc 12 uses a separate result register and moves
 * it back and forth (0.60 instead of 0.79 T operations/s in the loop of a scaled group). */
RZ_INLINE void dot_bytes(__m512i *sum, __m512i w_u8x64, __m512i x_s8x64)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(w_u8x64), "v"(x_s8x64));
}

/* sum += products of two words. */
RZ_INLINE void dot_words(__m512i *sum, __m512i a, __m512i b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sum) : "v"(a), "v"(b));
}

/* Broadcasts a dword of a panel to every lane. */
RZ_INLINE __m512i broadcast_dword(const char *p) { return _mm512_set1_epi32(*(const int32_t *)p); }

/* The rows of the next two tiles, which are prefetched into L2 while the current two are processed: four lines at a
 * time, one of each quarter (streams.h). Evenly, because a burst would wait for memory and then leave it idle. */
typedef struct {
    const char *at, *end; /* of the first quarter */
    size_t quarter;
} fetch_rows;

static inline fetch_rows fetch_rows_from(const void *w, size_t w_stride, size_t r, size_t r1)
{
    size_t quarter = r < r1 ? (r1 - r < STEP_ROWS ? r1 - r : STEP_ROWS) * w_stride / 4 : 0;
    const char *first = (const char *)w + r * w_stride;
    return (fetch_rows){first, first + quarter, quarter};
}

RZ_INLINE void fetch_some(fetch_rows *rows)
{
    if (rows->at >= rows->end) return;
    for (size_t i = 0; i < 4; i++) __builtin_prefetch(rows->at + i * rows->quarter, 0, 2);
    rows->at += 64;
}

static inline void fetch_rest(fetch_rows *rows)
{
    while (rows->at < rows->end) fetch_some(rows);
}

/* Tokens are divided into as few steps as possible, of nearly equal size. */
static inline size_t n_token_steps(size_t n) { return (n + STEP_TOKENS - 1) / STEP_TOKENS; }
static inline size_t first_of_step(size_t n, size_t step) { return step * n / n_token_steps(n); }

/* A slice: the number of elements of a row that are unpacked at a time. For few tokens, two tiles of a slice with their
 * scales stay in half of a common L1 during all steps; for many, larger slices keep the sums in registers longer. */
enum { SLICE_FEW = 512, SLICE_MANY = 4096, FEW_TOKENS = 48, SLICE_TILE_BYTES = 24 * SLICE_MANY };

/* The working set of a product: two tiles of rows against n tokens, slice after slice. */
typedef struct {
    char *tile[2];                    /* each: a slice of sixteen rows */
    float (*acc)[2][STEP_TOKENS][16]; /* of each step */
    char *panels;                     /* [slice][step][block of the slice][STEP_TOKENS] */
    size_t k, n_tokens, n_steps, slice, block;
    size_t step_bytes; /* of one block of a panel */
    int known;         /* the panels already contain these tokens */
} gemm_room;

/* Identifies the contents of the panels; other formats may use another layout. */
typedef struct {
    const void *x, *layout;
    size_t k, n_tokens;
} panel_key;

_Static_assert(sizeof(panel_key) <= RZ_KEY_BYTES, "key");
_Static_assert(2 * SLICE_TILE_BYTES + 960 / STEP_TOKENS * sizeof(float[2][STEP_TOKENS][16]) <= RZ_STEP_BYTES, "acc");

/* Returns whether the panels in scratch contain these tokens, and records that they will. */
static inline int panels_known(void *scratch, const void *x, const void *layout, size_t k, size_t n_tokens)
{
    panel_key key = {x, layout, k, n_tokens};
    int known = memcmp(scratch, &key, sizeof key) == 0;
    memcpy(scratch, &key, sizeof key);
    return known;
}

/* block_bytes: size of one block of `block` elements of a token; layout: the same pointer for formats with equal
 * panels. */
static inline gemm_room room_for(void *scratch, const void *x, size_t k, size_t n_tokens, size_t block,
                                 size_t block_bytes, const void *layout)
{
    char *tiles = (char *)scratch + RZ_KEY_BYTES;
    return (gemm_room){
        .tile = {tiles, tiles + SLICE_TILE_BYTES},
        .acc = (float (*)[2][STEP_TOKENS][16])(tiles + 2 * SLICE_TILE_BYTES),
        .panels = tiles + RZ_STEP_BYTES,
        .k = k,
        .n_tokens = n_tokens,
        .n_steps = n_token_steps(n_tokens),
        .slice = n_tokens <= FEW_TOKENS ? SLICE_FEW : SLICE_MANY,
        .block = block,
        .step_bytes = block_bytes * STEP_TOKENS,
        .known = panels_known(scratch, x, layout, k, n_tokens),
    };
}

/* The panel of a slice and a step; all earlier slices have full length. */
static inline char *panel_at(const gemm_room *room, size_t slice, size_t step)
{
    size_t left = room->k - slice * room->slice, own = left < room->slice ? left : room->slice;
    return room->panels + (slice * room->n_steps * room->slice + step * own) / room->block * room->step_bytes;
}

/* The sums of a step; with a single slice, all steps share one buffer. */
static inline float (*sums_of(const gemm_room *room, size_t k, size_t step))
    [STEP_TOKENS][16] { return room->acc[k <= room->slice ? 0 : step]; }

/* Masks of the rows [r, r + 32) that are below r1, of the first tile and of the second. */
typedef struct {
    __mmask16 first, second;
} rows_there;

static inline rows_there rows_there_at(size_t r, size_t r1)
{
    return (rows_there){(__mmask16)(r1 - r >= 16 ? 0xffff : (1u << (r1 - r)) - 1),
                        (__mmask16)(r1 - r >= 32  ? 0xffff
                                    : r1 - r > 16 ? (1u << (r1 - r - 16)) - 1
                                                  : 0)};
}

/* Stores the sums of a step to those rows [r, r + 32) of y that are below r1. */
static inline void store_step(const gemm_room *room, size_t step, float (*sums)[STEP_TOKENS][16], size_t r, size_t r1,
                              float *y, size_t ldy)
{
    rows_there there = rows_there_at(r, r1);
    size_t t0 = first_of_step(room->n_tokens, step), t1 = first_of_step(room->n_tokens, step + 1);
    for (size_t t = t0; t < t1; t++) {
        _mm512_mask_storeu_ps(y + t * ldy + r, there.first, _mm512_load_ps(sums[0][t - t0]));
        _mm512_mask_storeu_ps(y + t * ldy + r + 16, there.second, _mm512_load_ps(sums[1][t - t0]));
    }
}

#endif
