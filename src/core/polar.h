/* SPDX-License-Identifier: Apache-2.0 */
/* The polar factor of a matrix by Newton-Schulz steps: what Muon does to its momentum. Each step
 * replaces X by a X + b (X X^T) X + c (X X^T)^2 X, which drives every singular value towards 1. The
 * work is cut into tiles of fixed size, so that the result does not depend on the threads. */
#ifndef HONE_CORE_POLAR_H
#define HONE_CORE_POLAR_H

#include <stdbool.h>
#include <stddef.h>

struct hone_polar {
    double eps; /* X is divided by its Frobenius norm, but by no less than this */
    int steps;
    int threads;
    const double (*coefficients)[3]; /* (a, b, c) of each step; the last one repeats */
    int coefficient_count;
};

/* Elements of workspace for a matrix of this shape; those of the bf16 function are floats. */
size_t hone_polar_workspace(size_t rows, size_t columns);

/* Replaces the row-major `matrix` by its polar factor times `scale`. A matrix of zeros stays one. */
void hone_polar_f32(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                    float scale, float *workspace);
void hone_polar_f64(const struct hone_polar *polar, size_t rows, size_t columns, double *matrix,
                    double scale, double *workspace);

/* The same with the products' factors rounded to bfloat16, for where hone_gemm_has_bf16(). */
void hone_polar_bf16(const struct hone_polar *polar, size_t rows, size_t columns, float *matrix,
                     float scale, float *workspace);

/* Coefficient sets by the index of muon's choice "ns_coefficients"; NULL for "custom". */
const double (*hone_polar_coefficients(int choice, int *count))[3];

/* What both files of steps share: the coefficients of a step; and the norm that a team divides its
 * matrix by, from `shares` of the sum of squares that the team measured. */
enum { HONE_POLAR_SHARES = 64 };
const double *hone_polar_step(const struct hone_polar *polar, int step);
void hone_polar_measure(const float *x, size_t count, double shares[HONE_POLAR_SHARES]);
double hone_polar_divisor(const struct hone_polar *polar, const double shares[HONE_POLAR_SHARES]);

/* Below this many multiplications a second thread costs more than it saves. */
int hone_polar_threads(const struct hone_polar *polar, size_t n, size_t m);

#endif
