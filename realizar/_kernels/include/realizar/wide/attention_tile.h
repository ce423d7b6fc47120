/* The tile of attention: 64 keys, the queries that see them, and pointers to their K and V. */
#ifndef REALIZAR_WIDE_ATTENTION_TILE_H
#define REALIZAR_WIDE_ATTENTION_TILE_H

#include <stdbool.h>
#include <string.h>

#include "realizar/scalar/kv.h"
#include "realizar/scalar/visible.h"
#include "realizar/wide/outer.h"

/* Q_ROW: an odd number of cache lines, so that rows do not alias in L1. UNPACKED_DIM: K and V of a tile of longer heads
 * would not fit L2 together with the rest. */
enum { TILE_BLOCKS = RZ_ATTEND_TILE / RZ_KV_BLOCK, Q_ROW = RZ_ATTEND_MAX_HEAD_DIM + 16, UNPACKED_DIM = 256 };

/* Rows are queries. The rows [first_row, end_row) see a key of the tile; row r sees the keys [first[r], end[r]), and
 * both bounds are non-decreasing in r. Rows are processed in sets. */
typedef struct {
    float q[RZ_ATTEND_MAX_QUERIES][Q_ROW];
    float s[RZ_OUTER_ROWS][RZ_ATTEND_TILE]; /* scores of the set, then weights */
    float q_scale[RZ_ATTEND_MAX_QUERIES];   /* q4: see attention_q4.h */
    int32_t q_sum[RZ_ATTEND_MAX_QUERIES];
    float k_scale[RZ_ATTEND_TILE], v_scale[RZ_ATTEND_TILE];
    float unpacked[2 * RZ_ATTEND_TILE * UNPACKED_DIM]; /* K, then V; or a longer V alone */
    const char *k[TILE_BLOCKS], *v[TILE_BLOCKS];
    const char *next_k[TILE_BLOCKS], *next_v[TILE_BLOCKS]; /* those of the next tile, to be prefetched */
    int first[RZ_ATTEND_MAX_QUERIES], end[RZ_ATTEND_MAX_QUERIES];
    int first_row, end_row;
    int64_t key0;
} attend_tile;
_Static_assert(sizeof(attend_tile) <= RZ_ATTEND_SCRATCH, "scratch");
_Static_assert(RZ_LATENT_MAX_DIM <= 2 * UNPACKED_DIM, "unpacked");

/* Prefetches part of the next tile, once for each of its cache lines. Into L2: a core can have more such requests in
 * flight. */
RZ_INLINE void fetch(const char *p, size_t offset, int type)
{
    if (type != UNPACKED && offset % 64 == 0) __builtin_prefetch(p + offset, 0, 2);
}

/* Finds the rows that see some of the keys. */
static void open_tile(const struct rz_attend_args *args, attend_tile *tile, struct key_range keys)
{
    tile->first_row = tile->end_row = 0;
    tile->key0 = keys.first;
    for (int t = 0; t < args->n_tokens; t++) {
        struct key_range seen = visible_keys(args, t, keys);
        if (seen.first >= seen.end) continue;
        if (tile->first_row == tile->end_row) tile->first_row = t * args->n_group;
        tile->end_row = (t + 1) * args->n_group;
        for (int row = t * args->n_group; row < tile->end_row; row++) {
            tile->first[row] = (int)(seen.first - keys.first);
            tile->end[row] = (int)(seen.end - keys.first);
        }
    }
}

/* Blocks of the tile that its rows see. */
static struct block_range {
    int first, end;
} seen_blocks(const attend_tile *tile)
{
    int first = tile->first[tile->first_row], end = tile->end[tile->end_row - 1];
    return (struct block_range){first / RZ_KV_BLOCK, (end + RZ_KV_BLOCK - 1) / RZ_KV_BLOCK};
}

/* Copies the scales of a block, if its type has some, and prefetches those of the corresponding block of the next tile. */
static void copy_scales(float *scale, const char *block, const char *next, size_t head_dim, int type)
{
    if (!rz_kv_types[type].scale) return;
    memcpy(scale, kv_scales(block, head_dim, type), RZ_KV_BLOCK * sizeof *scale);
    fetch((const char *)kv_scales(next, head_dim, type), 0, type);
}

/* Points the tile at the blocks that its rows see, and at those of the next tile, which are prefetched. */
static void point_at_blocks(const struct rz_attend_args *args, attend_tile *tile, int64_t key0)
{
    struct block_range seen = seen_blocks(tile);
    for (int block = 0; block < TILE_BLOCKS; block++) tile->next_k[block] = args->k, tile->next_v[block] = args->v;
    for (int block = seen.first; block < seen.end; block++) {
        int64_t key = key0 + block * RZ_KV_BLOCK, next = key + RZ_ATTEND_TILE;
        if (next >= args->n_keys) next = key;
        const char *k = k_block(args, key), *v = v_block(args, key);
        const char *next_k = k_block(args, next), *next_v = v_block(args, next);
        tile->k[block] = k, tile->next_k[block] = next_k;
        tile->v[block] = v, tile->next_v[block] = next_v;
        copy_scales(&tile->k_scale[block * RZ_KV_BLOCK], k, next_k, (size_t)args->head_dim_k, args->k_type);
        if (!args->latent)
            copy_scales(&tile->v_scale[block * RZ_KV_BLOCK], v, next_v, (size_t)args->head_dim_v, args->v_type);
    }
}

/* ---- unpacking: when several sets of rows need the same K and V as floats ------------------------------------------ */

RZ_INLINE void unpack_k_as(const struct rz_attend_args *args, attend_tile *tile, int type)
{
    size_t head_dim = (size_t)args->head_dim_k, line = RZ_KV_BLOCK * kv_bytes(type);
    struct block_range seen = seen_blocks(tile);
    for (int block = seen.first; block < seen.end; block++) {
        float *out = tile->unpacked + (size_t)block * RZ_KV_BLOCK * head_dim;
        f32x16 scale = f32x16_load(&tile->k_scale[block * RZ_KV_BLOCK]);
        for (size_t d = 0; d < head_dim; d++) {
            fetch(tile->next_k[block], d * line, type);
            f32x16_store(out + d * RZ_KV_BLOCK, load_kv(tile->k[block] + d * line, scale, type));
        }
        tile->k[block] = (const char *)out;
    }
}

static float *unpacked_v(const struct rz_attend_args *args, attend_tile *tile, int block)
{
    size_t head_dim = (size_t)args->head_dim_v, first = head_dim > UNPACKED_DIM ? 0 : RZ_ATTEND_TILE * UNPACKED_DIM;
    return tile->unpacked + first + (size_t)block * RZ_KV_BLOCK * head_dim;
}

RZ_INLINE void unpack_v_as(const struct rz_attend_args *args, attend_tile *tile, int type)
{
    size_t head_dim = (size_t)args->head_dim_v;
    struct block_range seen = seen_blocks(tile);
    for (int block = seen.first; block < seen.end; block++) {
        float *out = unpacked_v(args, tile, block);
        for (size_t slot = 0; slot < RZ_KV_BLOCK; slot++) {
            f32x16 scale = f32x16_set(tile->v_scale[(size_t)block * RZ_KV_BLOCK + slot]);
            for (size_t d = 0; d < head_dim; d += 16) {
                size_t i = slot * head_dim + d, offset = i * kv_bytes(type);
                fetch(tile->next_v[block], offset, type);
                f32x16 v = load_first_kv(tile->v[block] + offset, head_dim - d, scale, type);
                f32x16_store_first(out + i, v, head_dim - d);
            }
        }
        tile->v[block] = (const char *)out;
    }
}

/* Transposes V out of the cached or unpacked K: sixteen elements of sixteen keys at a time. */
RZ_INLINE void transpose_as(const struct rz_attend_args *args, attend_tile *tile, int type)
{
    size_t head_dim = (size_t)args->head_dim_v;
    struct block_range seen = seen_blocks(tile);
    for (int block = seen.first; block < seen.end; block++) {
        float *out = unpacked_v(args, tile, block);
        f32x16 scale = f32x16_load(&tile->k_scale[block * RZ_KV_BLOCK]);
        for (size_t d = 0; d < head_dim; d += 16) {
            size_t n = head_dim - d < 16 ? head_dim - d : 16;
            f32x16 x[16];
            for (size_t i = 0; i < 16; i++) x[i] = i < n ? load_k(tile->k[block], d + i, scale, type) : f32x16_zero();
            f32x16_transpose(x);
            for (size_t slot = 0; slot < RZ_KV_BLOCK; slot++) f32x16_store_first(out + slot * head_dim + d, x[slot], n);
        }
        tile->v[block] = (const char *)out;
    }
}

/* Extracts V from K of this type, in the layout of the products. */
static int transpose_latent(const struct rz_attend_args *args, attend_tile *tile, int k_type)
{
    if (k_type == RZ_KV_F16)
        transpose_as(args, tile, RZ_KV_F16);
    else if (k_type == RZ_KV_INT8)
        transpose_as(args, tile, RZ_KV_INT8);
    else if (k_type == RZ_KV_Q4)
        transpose_as(args, tile, RZ_KV_Q4);
    else
        transpose_as(args, tile, UNPACKED);
    return UNPACKED;
}

/* Whether unpacking the tile pays off: for few sets of rows, the cache is read directly. */
static bool has_many_rows(const struct rz_attend_args *args, const attend_tile *tile)
{
    return tile->end_row - tile->first_row > 2 * RZ_OUTER_ROWS && args->head_dim_k <= UNPACKED_DIM &&
           args->head_dim_v <= UNPACKED_DIM;
}

/* Types whose products read the cache also for many rows. */
static bool is_read_directly(int type) { return type == RZ_KV_Q4 || (type == RZ_KV_F16 && !RZ_UNPACKS_HALVES); }

/* Unpacks K and returns the type as which the products read it. */
static int unpack_k(const struct rz_attend_args *args, attend_tile *tile)
{
    if (is_read_directly(args->k_type)) return args->k_type;
    if (args->k_type == RZ_KV_F16) unpack_k_as(args, tile, RZ_KV_F16);
    if (args->k_type == RZ_KV_INT8) unpack_k_as(args, tile, RZ_KV_INT8);
    return UNPACKED;
}

static int unpack_v(const struct rz_attend_args *args, attend_tile *tile)
{
    if (is_read_directly(args->v_type)) return args->v_type;
    if (args->v_type == RZ_KV_F16) unpack_v_as(args, tile, RZ_KV_F16);
    if (args->v_type == RZ_KV_INT8) unpack_v_as(args, tile, RZ_KV_INT8);
    return UNPACKED;
}

#endif
