/* SPDX-License-Identifier: Apache-2.0 */
/* The polar factor of a matrix by Newton-Schulz steps: what Muon does to its momentum. Each step
 * replaces X by a X + b (X X^T) X + c (X X^T)^2 X, which drives every singular value towards 1. */
#ifndef HONE_CORE_POLAR_H
#define HONE_CORE_POLAR_H

#include <stdbool.h>
#include <stddef.h>

struct hone_polar {
    double eps; /* X is divided by its Frobenius norm, but by no less than this */
    int steps;
    const double (*coefficients)[3]; /* (a, b, c) of each step; the last one repeats */
    int coefficient_count;
};

/* Elements of workspace for a matrix of this shape. */
size_t hone_polar_workspace(size_t rows, size_t columns);

/* Replaces the row-major `matrix` by its polar factor times `scale`. A matrix of zeros stays one. */
void hone_polar_f32(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                    float scale, float *workspace);
void hone_polar_f64(const struct hone_polar *polar, size_t rows, size_t columns, double *matrix,
                    double scale, double *workspace);

/* Coefficient sets by the index of muon's choice "ns_coefficients"; NULL for "custom". */
const double (*hone_polar_coefficients(int choice, int *count))[3];

#endif
