/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of matrix products with float sums, whose factors are floats or bfloat16. A *panel* is HONE_TILE
 * rows of a matrix. It lies column after column, a word for each row: a float; or, of two columns at
 * once, two bfloat16, the even column in the low half. So a product of two panels reads both from front
 * to back. HONE_TILE columns of a panel are a *block*. Missing rows and columns are zeros. */
#ifndef HONE_KERNEL_TILE_H
#define HONE_KERNEL_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HONE_TILE 48
#define HONE_TILE_AREA ((size_t)HONE_TILE * HONE_TILE) /* floats of a tile, row by row */

/* c := product c + weight[0] term[0] + weight[1] term[1]. The terms are blocks of a panel whose rows
 * are the tile's columns; NULL: none. */
struct hone_tile_sum {
    float product, weight[2];
    const uint32_t *term[2];
};

/* Everything must be aligned to 64 bytes but the x of a matrix. */
struct hone_tile_kernels {
    bool fast;              /* written with this level's instructions for products */
    size_t columns_of_word; /* 1 or 2 */

    /* c(i, j) := the sum over k of a(i, k) b(j, k), for the columns in `words` words of both panels;
     * i < rows, j < columns, all others zero. `upper`: those below the diagonal may be anything. */
    void (*dot)(const uint32_t *a, const uint32_t *b, size_t words, size_t rows, size_t columns,
                bool upper, float *c);

    void (*combine)(const struct hone_tile_sum *sum, float *c);

    /* Rounds the tile into a block of the panel of its columns and, unless that is NULL, one of the
     * panel of its rows. */
    void (*round)(const float *c, uint32_t *by_columns, uint32_t *by_rows);

    /* The elements below the diagonal become those above it. */
    void (*mirror)(float *c);

    /* Of a row-major matrix with `stride` elements to a row: x := x * scale, and its blocks as by
     * `round`. */
    void (*pack)(float *x, size_t stride, size_t rows, size_t columns, double scale,
                 uint32_t *by_columns, uint32_t *by_rows);

    /* x := scale (keep x + c) */
    void (*update)(float *x, size_t stride, size_t rows, size_t columns, float scale, float keep,
                   const float *c);
};

/* Every level has an array of two. */
enum { HONE_TILE_F32, HONE_TILE_BF16, HONE_TILE_KINDS };

#endif
