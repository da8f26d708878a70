/* SPDX-License-Identifier: Apache-2.0 */
/* Loops over the values of a table's rows: first values drawn from noise, the mean square of a
 * gradient, sums of gradients, and copies. The results are the same at every CPU level. */
#ifndef HONE_KERNEL_ROWS_H
#define HONE_KERNEL_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel.h"

/* For functions whose only effect is a request for memory: gcc takes them for functions without
 * effects and drops calls that are not inlined early. */
#define HONE_INLINED static inline __attribute__((always_inline, unused))
#define HONE_MOST_REQUESTED ((size_t)4096)

/* Asks for `size` bytes that are about to be used, up to the second cache, which can wait for more
 * lines at a time than the first. */
HONE_INLINED void hone_request(const void *from, size_t size)
{
    if (size > HONE_MOST_REQUESTED)
        size = HONE_MOST_REQUESTED;
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)from + at, 0, 2);
}

/* Rows `at[0]`, `at[1]`, ... of an array of rows. */
struct hone_row_list {
    const void *from;
    size_t width; /* elements of a row */
    const uint32_t *at;
    const double *factor; /* of each; NULL: 1 */
    size_t count;
};

struct hone_row_kernels {
    /* Element i is a function of stream and i alone: uniform in [low, high), and mean + deviation *
     * the normal quantile of a probability uniform in (below, 1 - below). */
    void (*uniform)(float *to, size_t n, uint64_t stream, double low, double high);
    void (*normal)(float *to, size_t n, uint64_t stream, double mean, double deviation,
                   double below);
    /* The mean of (scale g)^2, added up in double in 16 lanes, whatever the level. */
    double (*mean_square_f32)(const float *grad, size_t n, double scale);
    double (*mean_square_f64)(const double *grad, size_t n, double scale);
    /* Copies `size` bytes to the row at[i] of an array of rows of that size: those at from[i] after
     * `lead` others, which will be wanted too; zeros where from[i] is NULL. */
    void (*copy)(void *to, const uint32_t *at, void *const *from, size_t lead, size_t size,
                 size_t count);
    /* Adds factor * row for each row of the list, in its order, to the `width` elements at `to`. */
    void (*add_f32[HONE_FORMAT_COUNT])(float *to, const struct hone_row_list *list);
    void (*add_f64[HONE_FORMAT_COUNT])(double *to, const struct hone_row_list *list);
};

#endif
