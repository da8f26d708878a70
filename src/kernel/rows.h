/* SPDX-License-Identifier: Apache-2.0 */
/* Loops over the values of one row of a table: first values drawn from noise, and the mean square
 * of a gradient. The results are the same at every CPU level. */
#ifndef HONE_KERNEL_ROWS_H
#define HONE_KERNEL_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct hone_row_kernels {
    /* Element i is a function of stream and i alone: uniform in [low, high), and mean + deviation *
     * the normal quantile of a probability uniform in (below, 1 - below). */
    void (*uniform)(float *to, size_t n, uint64_t stream, double low, double high);
    void (*normal)(float *to, size_t n, uint64_t stream, double mean, double deviation,
                   double below);
    /* The mean of (scale g)^2, added up in double in 16 lanes, whatever the level. */
    double (*mean_square_f32)(const float *grad, size_t n, double scale);
    double (*mean_square_f64)(const double *grad, size_t n, double scale);
};

#endif
