/* SPDX-License-Identifier: Apache-2.0 */
/* The tiles, compiled once per CPU level, and once more for processors that multiply bfloat16. Sums of
 * products and transpositions have a form of their own for AVX-512; the rest is plain loops. */
#include "kernel/tile.h"

#include <string.h>

#include "kernel/format.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define TILE_INLINE static inline __attribute__((always_inline, unused))

enum { TILE = HONE_TILE, HALF = HONE_TILE / 2 };

TILE_INLINE float low(uint32_t word)
{
    return float_of_bits(word << 16);
}

TILE_INLINE float high(uint32_t word)
{
    return float_of_bits(word & 0xffff0000u);
}

static void clear(float *c)
{
    memset(c, 0, HONE_TILE_AREA * sizeof *c);
}

/* ---- sums of products ----------------------------------------------------------------------- */

TILE_INLINE void dot_plainly(bool narrow, const uint32_t *a, const uint32_t *b, size_t words,
                             size_t rows, size_t columns, float *c)
{
    clear(c);
    for (size_t k = 0; k < words; k++, a += TILE, b += TILE)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++)
                c[i * TILE + j] += narrow ? low(a[i]) * low(b[j]) + high(a[i]) * high(b[j])
                                          : float_of_bits(a[i]) * float_of_bits(b[j]);
}

#if defined(__AVX512F__)

enum { ROWS = 8, LANES = 16, VECTORS = TILE / LANES };

/* Words that are summed in registers before they are added to the tile. Short sums are more exact, which
 * floats are worth a few additions; and what is read again for the next rows is still in a cache. */
enum { PASS_F32 = 32, PASS_BF16 = 256 };

TILE_INLINE __m512 multiply_add(bool narrow, __m512i a, __m512i b, __m512 sum)
{
#if defined(__AVX512BF16__)
    if (narrow)
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#endif
    (void)narrow;
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

/* Adds ROWS x (LANES * vectors) sums, made in registers, to c. */
TILE_INLINE void add_rows(bool narrow, const uint32_t *a, const uint32_t *b, size_t words, float *c,
                          int vectors)
{
    __m512 sum[ROWS][VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm512_setzero_ps();
    for (size_t k = 0; k < words; k++, a += TILE, b += TILE) {
        __m512i column[VECTORS];
        for (int v = 0; v < vectors; v++)
            column[v] = _mm512_load_si512((const void *)(b + v * LANES));
        for (int i = 0; i < ROWS; i++) {
            const __m512i row = _mm512_set1_epi32((int)a[i]);
            for (int v = 0; v < vectors; v++)
                sum[i][v] = multiply_add(narrow, row, column[v], sum[i][v]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < vectors; v++) {
            float *const to = c + i * TILE + v * LANES;
            _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), sum[i][v]));
        }
}

TILE_INLINE void dot_in_registers(bool narrow, const uint32_t *a, const uint32_t *b, size_t words,
                                  size_t rows, size_t columns, bool upper, float *c)
{
    const int vectors = ((int)columns + LANES - 1) / LANES;
    const size_t pass = narrow ? PASS_BF16 : PASS_F32;
    clear(c);
    for (size_t k = 0; k < words; k += pass, a += pass * TILE, b += pass * TILE) {
        const size_t count = words - k < pass ? words - k : pass;
        for (int i = 0; i < (int)rows; i += ROWS) {
            const int first = upper ? i / LANES : 0;
            float *const to = c + i * TILE + first * LANES;
            if (vectors - first == 3)
                add_rows(narrow, a + i, b, count, to, 3);
            else if (vectors - first == 2)
                add_rows(narrow, a + i, b + first * LANES, count, to, 2);
            else if (vectors - first == 1)
                add_rows(narrow, a + i, b + first * LANES, count, to, 1);
        }
    }
}

static void dot_f32(const uint32_t *a, const uint32_t *b, size_t words, size_t rows, size_t columns,
                    bool upper, float *c)
{
    dot_in_registers(false, a, b, words, rows, columns, upper, c);
}

#else

static void dot_f32(const uint32_t *a, const uint32_t *b, size_t words, size_t rows, size_t columns,
                    bool upper, float *c)
{
    (void)upper;
    dot_plainly(false, a, b, words, rows, columns, c);
}

#endif

static void dot_bf16(const uint32_t *a, const uint32_t *b, size_t words, size_t rows,
                     size_t columns, bool upper, float *c)
{
#if defined(__AVX512BF16__)
    dot_in_registers(true, a, b, words, rows, columns, upper, c);
#else
    (void)upper;
    dot_plainly(true, a, b, words, rows, columns, c);
#endif
}

/* ---- transpositions ------------------------------------------------------------------------- */

#if defined(__AVX512F__)

/* 8 x 8 elements of 64 bits. */
TILE_INLINE void transpose_eight(__m512i row[8])
{
    __m512i mixed[8];
    for (int i = 0; i < 8; i += 2) {
        mixed[i] = _mm512_unpacklo_epi64(row[i], row[i + 1]);
        mixed[i + 1] = _mm512_unpackhi_epi64(row[i], row[i + 1]);
    }
    /* Part l of 128 bits of mixed[2 p + q] has column 2 l + q of rows 2 p and 2 p + 1. */
    for (int q = 0; q < 2; q++) {
        const __m512i a = _mm512_shuffle_i64x2(mixed[q], mixed[2 + q], 0x44);
        const __m512i b = _mm512_shuffle_i64x2(mixed[4 + q], mixed[6 + q], 0x44);
        const __m512i c = _mm512_shuffle_i64x2(mixed[q], mixed[2 + q], 0xee);
        const __m512i d = _mm512_shuffle_i64x2(mixed[4 + q], mixed[6 + q], 0xee);
        row[q] = _mm512_shuffle_i64x2(a, b, 0x88);
        row[2 + q] = _mm512_shuffle_i64x2(a, b, 0xdd);
        row[4 + q] = _mm512_shuffle_i64x2(c, d, 0x88);
        row[6 + q] = _mm512_shuffle_i64x2(c, d, 0xdd);
    }
}

/* Two words side by side hold two rows of two columns, which a swap of the middle halves turns. */
static void transpose_bf16(const uint32_t *from, uint32_t *to)
{
    for (size_t i = 0; i < HALF; i += 8)
        for (size_t j = 0; j < HALF; j += 8) {
            __m512i row[8];
            for (size_t k = 0; k < 8; k++) {
                row[k] = _mm512_load_si512((const void *)(from + (i + k) * TILE + 2 * j));
                row[k] = _mm512_shufflehi_epi16(_mm512_shufflelo_epi16(row[k], 0xd8), 0xd8);
            }
            transpose_eight(row);
            for (size_t k = 0; k < 8; k++)
                _mm512_store_si512((void *)(to + (j + k) * TILE + 2 * i), row[k]);
        }
}

/* Pairs of rows make elements of 64 bits, of the even columns and of the odd ones. */
static void transpose_f32(const float *from, float *to)
{
    const __m512i even =
        _mm512_setr_epi32(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
    for (size_t i = 0; i < TILE; i += 16)
        for (size_t j = 0; j < TILE; j += 16)
            for (size_t odd = 0; odd < 2; odd++) {
                const __m512i chosen = _mm512_add_epi32(even, _mm512_set1_epi32((int)odd));
                __m512i row[8];
                for (size_t k = 0; k < 8; k++) {
                    const float *const pair = from + (i + 2 * k) * TILE + j;
                    row[k] = _mm512_castps_si512(_mm512_permutex2var_ps(
                        _mm512_load_ps(pair), chosen, _mm512_load_ps(pair + TILE)));
                }
                transpose_eight(row);
                for (size_t k = 0; k < 8; k++)
                    _mm512_store_si512((void *)(to + (j + 2 * k + odd) * TILE + i), row[k]);
            }
}

#else

static void transpose_bf16(const uint32_t *from, uint32_t *to)
{
    for (size_t i = 0; i < HALF; i++)
        for (size_t j = 0; j < HALF; j++) {
            const uint32_t even = from[i * TILE + 2 * j], odd = from[i * TILE + 2 * j + 1];
            to[j * TILE + 2 * i] = (even & 0xffffu) | odd << 16;
            to[j * TILE + 2 * i + 1] = even >> 16 | (odd & 0xffff0000u);
        }
}

static void transpose_f32(const float *from, float *to)
{
    for (size_t i = 0; i < TILE; i++)
        for (size_t j = 0; j < TILE; j++)
            to[j * TILE + i] = from[i * TILE + j];
}

#endif

/* ---- between tiles and blocks --------------------------------------------------------------- */

static void combine_bf16(const struct hone_tile_sum *sum, float *c)
{
    for (size_t i = 0; i < HONE_TILE_AREA; i++)
        c[i] *= sum->product;
    for (int t = 0; t < 2; t++) {
        const float weight = sum->weight[t];
        for (size_t i = 0; sum->term[t] != NULL && i < HALF; i++) {
            const uint32_t *const words = sum->term[t] + i * TILE;
            float *const even = c + 2 * i * TILE, *const odd = even + TILE;
            for (size_t j = 0; j < TILE; j++) {
                even[j] += weight * low(words[j]);
                odd[j] += weight * high(words[j]);
            }
        }
    }
}

static void combine_f32(const struct hone_tile_sum *sum, float *c)
{
    for (size_t i = 0; i < HONE_TILE_AREA; i++)
        c[i] *= sum->product;
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; sum->term[t] != NULL && i < HONE_TILE_AREA; i++)
            c[i] += sum->weight[t] * float_of_bits(sum->term[t][i]);
}

static void round_bf16(const float *c, uint32_t *by_columns, uint32_t *by_rows)
{
    for (size_t i = 0; i < HALF; i++)
        for (size_t j = 0; j < TILE; j++)
            by_columns[i * TILE + j] = narrow_bf16(c[2 * i * TILE + j]) |
                                       (uint32_t)narrow_bf16(c[(2 * i + 1) * TILE + j]) << 16;
    if (by_rows != NULL)
        transpose_bf16(by_columns, by_rows);
}

static void round_f32(const float *c, uint32_t *by_columns, uint32_t *by_rows)
{
    memcpy(by_columns, c, HONE_TILE_AREA * sizeof *c);
    if (by_rows != NULL) {
        _Alignas(64) float turned[HONE_TILE_AREA];
        transpose_f32(c, turned);
        memcpy(by_rows, turned, sizeof turned);
    }
}

static void mirror(float *c)
{
    for (size_t i = 1; i < TILE; i++)
        for (size_t j = 0; j < i; j++)
            c[i * TILE + j] = c[j * TILE + i];
}

TILE_INLINE void scale_tile(float *x, size_t stride, size_t rows, size_t columns, double scale,
                            float *c)
{
    if (rows < TILE || columns < TILE)
        clear(c);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            c[i * TILE + j] = x[i * stride + j] = (float)((double)x[i * stride + j] * scale);
}

static void pack_bf16(float *x, size_t stride, size_t rows, size_t columns, double scale,
                      uint32_t *by_columns, uint32_t *by_rows)
{
    _Alignas(64) float c[HONE_TILE_AREA];
    scale_tile(x, stride, rows, columns, scale, c);
    round_bf16(c, by_columns, by_rows);
}

static void pack_f32(float *x, size_t stride, size_t rows, size_t columns, double scale,
                     uint32_t *by_columns, uint32_t *by_rows)
{
    _Alignas(64) float c[HONE_TILE_AREA];
    scale_tile(x, stride, rows, columns, scale, c);
    round_f32(c, by_columns, by_rows);
}

static void update(float *x, size_t stride, size_t rows, size_t columns, float scale, float keep,
                   const float *c)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            x[i * stride + j] = scale * (keep * x[i * stride + j] + c[i * TILE + j]);
}

#define NAME__(prefix, target) prefix##target
#define NAME_(prefix, target) NAME__(prefix, target)
#define NAME(prefix) NAME_(prefix, HONE_TARGET)

#if defined(__AVX512BF16__)
#define FAST_BF16 true
#else
#define FAST_BF16 false
#endif
#if defined(__AVX512F__)
#define FAST_F32 true
#else
#define FAST_F32 false
#endif

extern const struct hone_tile_kernels NAME(hone_tiles_)[];
const struct hone_tile_kernels NAME(hone_tiles_)[HONE_TILE_KINDS] = {
    [HONE_TILE_F32] = {FAST_F32, 1, dot_f32, combine_f32, round_f32, mirror, pack_f32, update},
    [HONE_TILE_BF16] = {FAST_BF16, 2, dot_bf16, combine_bf16, round_bf16, mirror, pack_bf16,
                        update},
};
