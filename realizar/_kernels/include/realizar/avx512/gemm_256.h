/* GEMM of the K formats: two tiles of sixteen unpacked rows against up to six tokens at a time (micro_kernels.h).
 *
 *     tile    q [block][64][16 rows][4]     u8, offset by bias
 *     scales  [block][16][16 rows]          one dword per row: pairs of adjacent scales, pairs of minima, d and dmin
 *     panel   [block][6 tokens]             of token_block below
 *
 * isum = sum of scale * (q - bias) * x is computed group by group: vpdpbusd over the elements, then the scale. The sum
 * of a group starts at - center * sum(x), which makes the result fit in 16 bits, so that vpdpwssd can apply the scale
 * in one step. The missing term, (center - bias) * sum of scale * sum(x), is added at the end.
 *
 * If scale * (q - bias) fits in a byte, as in Q2_K and Q3_K, the unpacked elements are center + scale * (q - bias), and
 * the whole block is one group without a scale. */
#ifndef REALIZAR_AVX512_GEMM_256_H
#define REALIZAR_AVX512_GEMM_256_H

#include "realizar/avx512/micro_kernels.h"

/* The scales of one block of sixteen rows: pairs of the n_scale scales as words, then pairs of the n_min minima; at
 * D_AT, d (lower half) and dmin. */
typedef void unpack_scales_fn(const char *const *blocks, int32_t (*scales)[16]);
enum { D_AT = 15 };

/* Unpacks one block of sixteen rows to 4096 bytes of a tile. */
typedef void unpack_256_fn(const char *const *blocks, char *tile);

typedef struct {
    unpack_256_fn *unpack_256;
    unpack_scales_fn *unpack_scales;
    int block_bytes;
    int n_scale; /* scales per block: 8 or 16; 0: they are part of the elements */
    int group;   /* elements summed before they are scaled: 8, 16 or 32; 256: not scaled */
    int center;
    int bias;
    int n_min;  /* minima per block: 0, 8 or 16 */
    int wide;   /* WIDE: the sum of a group has more than 16 bits, and vpmulld scales it; center must be bias */
    int d_bits; /* log2 of the number by which d is divided */
} gemm_256_format;

enum { NARROW, WIDE };

/* d of sixteen rows, from their lower halves. */
RZ_INLINE __m512 d_of_halves(const gemm_256_format *format, __m512i dwords)
{
    __m512 d = low_halves_f32(dwords);
    return format->d_bits ? _mm512_mul_ps(d, _mm512_set1_ps(1.0f / (float)(1 << format->d_bits))) : d;
}

/* avx512.c: by format; NULL for formats with other kernels. The amx level also unpacks with them. */
extern const gemm_256_format *const rz_avx512_gemm_256[RZ_N_FORMATS];

typedef struct {
    char *q;
    int32_t (*scales)[16][16];
} tile_256;

/* One block of a token in a panel, without padding. */
typedef struct {
    int8_t q[256];
    int32_t sum_pairs[8]; /* sums over the elements of each scale or minimum, as pairs of words */
    float d;
    int32_t start[32]; /* - center * the sum of each group */
} token_block;

static inline size_t token_block_bytes(gemm_256_format format)
{
    return offsetof(token_block, start) + 256 / (size_t)format.group * sizeof(int32_t);
}

/* The lower (second = 0) or upper word of each pair, in the form that vpdpwssd requires. */
RZ_INLINE __m512i scale_of_pair(__m512i pairs, int second)
{
    return second ? _mm512_srli_epi32(pairs, 16) : _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
}

/* The same, signed, as dwords. */
RZ_INLINE __m512i dword_of_pair(__m512i pairs, int second)
{
    return _mm512_srai_epi32(second ? pairs : _mm512_slli_epi32(pairs, 16), 16);
}

/* Unpacks some blocks of sixteen rows, from block `first` on. */
RZ_INLINE void unpack_slice_256(gemm_256_format format, const tile_rows *rows, size_t first, size_t n_blocks,
                                const tile_256 *tile, fetch_rows *next)
{
    for (size_t b = 0; b < n_blocks; b++) {
        const char *blocks[16];
        for (int r = 0; r < 16; r++) blocks[r] = rows->row[r] + (first + b) * (size_t)format.block_bytes;
        for (int i = 0; i < 5; i++) fetch_some(next);
        format.unpack_256(blocks, tile->q + b * 4096);
        format.unpack_scales(blocks, tile->scales[b]);
    }
}

/* Widens the four bytes of each dword to two pairs of words, unsigned or signed. */
RZ_INLINE void store_pairs_u8(int32_t (*pairs)[16], __m512i bytes)
{
    const __m512i first = _mm512_set4_epi32((int)0x800d800c, (int)0x80098008, (int)0x80058004, (int)0x80018000);
    _mm512_store_si512(pairs[0], _mm512_shuffle_epi8(bytes, first));
    _mm512_store_si512(pairs[1], _mm512_shuffle_epi8(bytes, _mm512_add_epi8(first, _mm512_set1_epi16(2))));
}

RZ_INLINE void store_pairs_s8(int32_t (*pairs)[16], __m512i bytes)
{
    const __m512i first = _mm512_set4_epi32((int)0x0d800c80, (int)0x09800880, (int)0x05800480, (int)0x01800080);
    const __m512i last = _mm512_add_epi8(first, _mm512_set1_epi16(0x0200));
    _mm512_store_si512(pairs[0], _mm512_srai_epi16(_mm512_shuffle_epi8(bytes, first), 8));
    _mm512_store_si512(pairs[1], _mm512_srai_epi16(_mm512_shuffle_epi8(bytes, last), 8));
}

/* For formats that unpack 64 elements of a row at once. */
RZ_INLINE void unpack_256_by_64(unpack_64_fn *unpack_64, const char *const *blocks, char *tile)
{
    for (size_t i = 0; i < 4; i++) unpack_tile_64(unpack_64, blocks, i, tile + i * 1024);
}

/* Sixteen sums of eight elements: dword i of the result belongs to elements [8 i, 8 i + 8) of the 128 at q. */
RZ_INLINE __m512i sums_of_8(const char *q)
{
    const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i low = _mm512_dpbusd_epi32(zero, ones, _mm512_loadu_si512(q));
    __m512i high = _mm512_dpbusd_epi32(zero, ones, _mm512_loadu_si512(q + 64));
    __m512i evens = _mm512_permutex2var_epi32(low, even, high);
    return _mm512_add_epi32(evens, _mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high));
}

/* Copies one block of a quantized row into its slot of a panel. */
RZ_INLINE void fill_token_block(gemm_256_format format, const char *q_row, size_t k, size_t b, token_block *out)
{
    const char *q = q_row + b * 256;
    __m256i sum_16 = _mm256_loadu_si256((const __m256i *)(q_row + rz_act_s_offset(k, 256)) + b);
    __m256i sum_32 = _mm256_madd_epi16(sum_16, _mm256_set1_epi16(1));
    __m512i center = _mm512_set1_epi32(-format.center);
    for (int i = 0; i < 256; i += 64) _mm512_storeu_si512(out->q + i, _mm512_loadu_si512(q + i));
    __m256i pairs =
        format.n_scale == 16 || format.n_min == 16 ? sum_16 : _mm256_zextsi128_si256(_mm256_cvtepi32_epi16(sum_32));
    _mm256_storeu_si256((__m256i *)out->sum_pairs, pairs);
    memcpy(&out->d, q_row + rz_act_d_offset(k) + b * sizeof(float), sizeof(float));
    if (format.group == 8)
        for (int half = 0; half < 2; half++)
            _mm512_storeu_si512(out->start + 16 * half, _mm512_mullo_epi32(sums_of_8(q + 128 * half), center));
    else if (format.group == 16)
        _mm512_storeu_si512(out->start, _mm512_mullo_epi32(_mm512_cvtepi16_epi32(sum_16), center));
    else if (format.group == 32)
        _mm256_storeu_si256((__m256i *)out->start, _mm256_mullo_epi32(sum_32, _mm512_castsi512_si256(center)));
    else
        out->start[0] = -format.center * _mm512_reduce_add_epi32(_mm512_zextsi256_si512(sum_32));
}

RZ_INLINE void fill_panels_256(gemm_256_format format, const char *x, size_t x_stride, size_t k, const gemm_room *room)
{
    size_t bytes = token_block_bytes(format), per_slice = room->slice / 256;
    for (size_t first = 0, slice = 0; first < k / 256; first += per_slice, slice++) {
        size_t n_blocks = k / 256 - first < per_slice ? k / 256 - first : per_slice;
        for (size_t step = 0; step < room->n_steps; step++) {
            char *panel = panel_at(room, slice, step);
            size_t t0 = first_of_step(room->n_tokens, step), t1 = first_of_step(room->n_tokens, step + 1);
            for (size_t t = t0; t < t1; t++)
                for (size_t b = 0; b < n_blocks; b++)
                    fill_token_block(format, x + t * x_stride, k, first + b,
                                     (token_block *)(panel + (b * STEP_TOKENS + t - t0) * bytes));
        }
    }
}

/* Adds scale * (sum over the elements of group g) to isum[tile][t]; without scales, sets isum to that sum. */
RZ_INLINE void multiply_group(gemm_256_format format, const tile_256 *tiles, size_t block, int g, const char *x, int n,
                              __m512i (*isum)[STEP_TOKENS])
{
    const size_t bytes = token_block_bytes(format), at = (size_t)(g * format.group);
    const char *w_0 = tiles[0].q + block * 4096 + 16 * at, *w_1 = tiles[1].q + block * 4096 + 16 * at;
    __m512i part[2][STEP_TOKENS];
#define RZ_START(t)                                                                                                    \
    part[0][t] = part[1][t] = broadcast_dword(x + t * bytes + offsetof(token_block, start) + 4 * (size_t)g);
    EACH_TOKEN(n, RZ_START);
#undef RZ_START
#pragma GCC unroll 8
    for (int step = 0; step < format.group / 4; step++) {
        __m512i w_0_u8x64 = _mm512_load_si512(w_0 + 64 * step), w_1_u8x64 = _mm512_load_si512(w_1 + 64 * step);
#define RZ_DOT(t)                                                                                                      \
    __m512i x_s8x64 = broadcast_dword(x + t * bytes + at + 4 * (size_t)step);                                          \
    dot_bytes(&part[0][t], w_0_u8x64, x_s8x64);                                                                        \
    dot_bytes(&part[1][t], w_1_u8x64, x_s8x64);
        EACH_TOKEN(n, RZ_DOT);
#undef RZ_DOT
    }
    if (!format.n_scale) {
#define RZ_KEEP(t) isum[0][t] = part[0][t], isum[1][t] = part[1][t];
        EACH_TOKEN(n, RZ_KEEP);
#undef RZ_KEEP
        return;
    }
    int scale = g * format.n_scale * format.group / 256;
    if (format.wide) {
        __m512i scale_0 = dword_of_pair(_mm512_load_si512(tiles[0].scales[block][scale / 2]), scale % 2);
        __m512i scale_1 = dword_of_pair(_mm512_load_si512(tiles[1].scales[block][scale / 2]), scale % 2);
#define RZ_SCALE_WIDE(t)                                                                                               \
    isum[0][t] = _mm512_add_epi32(isum[0][t], _mm512_mullo_epi32(part[0][t], scale_0));                                \
    isum[1][t] = _mm512_add_epi32(isum[1][t], _mm512_mullo_epi32(part[1][t], scale_1));
        EACH_TOKEN(n, RZ_SCALE_WIDE);
#undef RZ_SCALE_WIDE
        return;
    }
    __m512i factor_0 = scale_of_pair(_mm512_load_si512(tiles[0].scales[block][scale / 2]), scale % 2);
    __m512i factor_1 = scale_of_pair(_mm512_load_si512(tiles[1].scales[block][scale / 2]), scale % 2);
#define RZ_SCALE(t)                                                                                                    \
    dot_words(&isum[0][t], part[0][t], factor_0);                                                                      \
    dot_words(&isum[1][t], part[1][t], factor_1);
    EACH_TOKEN(n, RZ_SCALE);
#undef RZ_SCALE
}

/* The sum of scale * sum(x) over the scales (or minima), from pairs of both. */
RZ_INLINE __m512i dot_pairs(const int32_t (*pairs)[16], const char *sum_pairs, int n_pair)
{
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int p = 0; p < n_pair; p++) dot_words(&sum, _mm512_load_si512(pairs[p]), broadcast_dword(sum_pairs + 4 * p));
    return sum;
}

/* Finishes a block of one tile: adds the missing term to isum, then acc[t] + d dx isum (- dmin dx xsum). */
RZ_INLINE void finish_block_256(gemm_256_format format, const __m512i *isum, const int32_t (*scales)[16], const char *x,
                                int n, float (*acc)[16])
{
    const int n_scale_pair = format.n_scale / 2, n_min_pair = format.n_min / 2, missing = format.center - format.bias;
    const size_t bytes = token_block_bytes(format);
    __m512i dwords = _mm512_load_si512(scales[D_AT]);
    __m512 d = d_of_halves(&format, dwords), dmin = low_halves_f32(_mm512_srli_epi32(dwords, 16));
#define RZ_FINISH(t)                                                                                                   \
    const char *pairs = x + t * bytes + offsetof(token_block, sum_pairs);                                              \
    __m512i all = isum[t];                                                                                             \
    if (n_scale_pair && missing) {                                                                                     \
        __m512i more = dot_pairs(scales, pairs, n_scale_pair);                                                         \
        all = _mm512_add_epi32(all, _mm512_slli_epi32(more, (unsigned)__builtin_ctz((unsigned)missing)));              \
    }                                                                                                                  \
    __m512 dx = _mm512_castsi512_ps(broadcast_dword(x + t * bytes + offsetof(token_block, d)));                        \
    __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), _mm512_mul_ps(d, dx), _mm512_load_ps(acc[t]));               \
    if (n_min_pair) {                                                                                                  \
        __m512 xsum = _mm512_cvtepi32_ps(dot_pairs(scales + n_scale_pair, pairs, n_min_pair));                         \
        sum = _mm512_fnmadd_ps(_mm512_mul_ps(dmin, dx), xsum, sum);                                                    \
    }                                                                                                                  \
    _mm512_store_ps(acc[t], sum);
    EACH_TOKEN(n, RZ_FINISH);
#undef RZ_FINISH
}

/* Some blocks of two tiles against the n tokens of a panel. */
RZ_INLINE void multiply_slice_256(gemm_256_format format, const tile_256 *tiles, size_t n_blocks, const char *panel,
                                  int n, fetch_rows *next, float (*acc)[STEP_TOKENS][16])
{
    for (size_t b = 0; b < n_blocks; b++) {
        const char *x = panel + b * STEP_TOKENS * token_block_bytes(format);
        __m512i isum[2][STEP_TOKENS];
#define RZ_CLEAR(t) isum[0][t] = isum[1][t] = _mm512_setzero_si512();
        EACH_TOKEN(n, RZ_CLEAR);
#undef RZ_CLEAR
        for (int g = 0; g < 256 / format.group; g += 2) { /* two at a time, so that the half of a pair is a constant */
            fetch_some(next);
            multiply_group(format, tiles, b, g, x, n, isum);
            if (format.group < 256) multiply_group(format, tiles, b, g + 1, x, n, isum);
        }
        finish_block_256(format, isum[0], (const int32_t (*)[16])tiles[0].scales[b], x, n, acc[0]);
        finish_block_256(format, isum[1], (const int32_t (*)[16])tiles[1].scales[b], x, n, acc[1]);
    }
}

typedef void multiply_slice_256_fn(const tile_256 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,
                                   float (*acc)[STEP_TOKENS][16]);

/* Thirty-two rows from row r on against all tokens. */
RZ_INLINE void multiply_rows_256(gemm_256_format format, multiply_slice_256_fn *const *multiply, const void *w,
                                 size_t w_stride, size_t k, size_t r, size_t r1, const gemm_room *room, float *y,
                                 size_t ldy)
{
    const size_t per_slice = room->slice / 256;
    fetch_rows next = fetch_rows_from(w, w_stride, r + STEP_ROWS, r1);
    tile_rows rows[2] = {tile_rows_at(w, w_stride, r, r1), tile_rows_at(w, w_stride, r + 16, r1)};
    tile_256 tiles[2];
    for (int i = 0; i < 2; i++)
        tiles[i] = (tile_256){room->tile[i], (int32_t (*)[16][16])(room->tile[i] + 16 * room->slice)};
    for (size_t first = 0, slice = 0; first < k / 256; first += per_slice, slice++) {
        size_t n_blocks = k / 256 - first < per_slice ? k / 256 - first : per_slice;
        for (int i = 0; i < 2; i++) unpack_slice_256(format, &rows[i], first, n_blocks, &tiles[i], &next);
        for (size_t step = 0; step < room->n_steps; step++) {
            size_t n = first_of_step(room->n_tokens, step + 1) - first_of_step(room->n_tokens, step);
            float (*sums)[STEP_TOKENS][16] = sums_of(room, k, step);
            if (first == 0) memset(sums, 0, sizeof *room->acc);
            multiply[n](tiles, n_blocks, panel_at(room, slice, step), &next, sums);
            if (first + n_blocks == k / 256) store_step(room, step, sums, r, r1, y, ldy);
        }
    }
    fetch_rest(&next);
}

RZ_INLINE void gemm_256(gemm_256_format format, multiply_slice_256_fn *const *multiply, RZ_MATMUL_PARAMS)
{
    size_t most = rz_gemm_tokens(k);
    for (size_t t0 = 0; t0 < n; t0 += most) {
        const char *here = (const char *)x + t0 * x_stride;
        gemm_room room =
            room_for(scratch, here, k, n - t0 < most ? n - t0 : most, 256, token_block_bytes(format), multiply);
        fetch_rows first = fetch_rows_from(w, w_stride, r0, r1);
        fetch_rest(&first);
        if (!room.known) fill_panels_256(format, here, x_stride, k, &room);
        for (size_t r = r0; r < r1; r += STEP_ROWS)
            multiply_rows_256(format, multiply, w, w_stride, k, r, r1, &room, y + t0 * ldy, ldy);
    }
}

/* NAME_gemm of the format NAME_gemm_format. */
#define RZ_GEMM_256_STEP(name, n)                                                                                      \
    static void name##_multiply_##n(const tile_256 *tiles, size_t n_blocks, const char *panel, fetch_rows *next,       \
                                    float (*acc)[STEP_TOKENS][16])                                                     \
    {                                                                                                                  \
        multiply_slice_256(name##_gemm_format, tiles, n_blocks, panel, n, next, acc);                                  \
    }
#define RZ_GEMM_256(name)                                                                                              \
    RZ_GEMM_256_STEP(name, 1)                                                                                          \
    RZ_GEMM_256_STEP(name, 2)                                                                                          \
    RZ_GEMM_256_STEP(name, 3)                                                                                          \
    RZ_GEMM_256_STEP(name, 4)                                                                                          \
    RZ_GEMM_256_STEP(name, 5)                                                                                          \
    RZ_GEMM_256_STEP(name, 6)                                                                                          \
    static void name##_gemm(RZ_MATMUL_PARAMS)                                                                          \
    {                                                                                                                  \
        static multiply_slice_256_fn *const multiply[] = {NULL,                                                        \
                                                          name##_multiply_1,                                           \
                                                          name##_multiply_2,                                           \
                                                          name##_multiply_3,                                           \
                                                          name##_multiply_4,                                           \
                                                          name##_multiply_5,                                           \
                                                          name##_multiply_6};                                          \
        gemm_256(name##_gemm_format, multiply, RZ_MATMUL_ARGS);                                                        \
    }

#endif
