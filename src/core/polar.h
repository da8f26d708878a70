/* SPDX-License-Identifier: Apache-2.0 */
/* The polar factor of a matrix by Newton-Schulz steps: what Muon does to its momentum. Each step
 * replaces X by a X + b (X X^T) X + c (X X^T)^2 X, which drives every singular value towards 1. */
#ifndef HONE_CORE_POLAR_H
#define HONE_CORE_POLAR_H

#include <stddef.h>

struct hone_tile_kernels;

struct hone_polar {
    double eps; /* X is divided by its Frobenius norm, but by no less than this */
    int steps;
    const double (*coefficients)[3]; /* (a, b, c) of each step; the last one repeats */
    int coefficient_count;
    const struct hone_tile_kernels *tiles; /* for hone_polar_tiles, and its threads */
    int threads;
};

/* Each replaces the row-major `matrix` by its polar factor times `scale`; a matrix of zeros stays one.
 * By tiles, with the same bits for any number of threads: */
void hone_polar_tiles(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                      float scale, float *workspace);

/* By CBLAS, which has threads of its own: */
void hone_polar_f32(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                    float scale, float *workspace);
void hone_polar_f64(const struct hone_polar *polar, size_t rows, size_t columns, double *matrix,
                    double scale, double *workspace);

/* Elements of workspace for a matrix of this shape: by CBLAS, and by tiles. */
size_t hone_polar_workspace(size_t rows, size_t columns);
size_t hone_polar_tiles_workspace(const struct hone_tile_kernels *tiles, size_t rows,
                                  size_t columns);

/* Coefficient sets by the index of muon's choice "ns_coefficients"; NULL for "custom". */
const double (*hone_polar_coefficients(int choice, int *count))[3];

/* What both ways share: the coefficients of a step; the sum of squares, in double and in a fixed
 * order; and the norm that a matrix is divided by, from that sum. */
const double *hone_polar_step(const struct hone_polar *polar, int step);
double hone_polar_squares_f32(const float *x, size_t count);
double hone_polar_divisor(const struct hone_polar *polar, double squares);

#endif
