/* SPDX-License-Identifier: Apache-2.0 */
/* What a norm adds up, element by element. Sums have one order whatever the level, thread count or
 * device: a chunk's elements fall into HONE_LANES lanes (element i into lane i % HONE_LANES), each
 * lane adds its elements in order, and the lanes are halved onto themselves. */
#ifndef HONE_KERNEL_SUMS_H
#define HONE_KERNEL_SUMS_H

#include "kernel/format.h"
#include "kernel/prepare.h"

#define HONE_LANES 1024 /* two for each thread of a CUDA block; 8 rows make a chunk */

/* float arithmetic for every format but f64 */
RULE_INLINE double value_at(const enum hone_format format, const void *values, size_t i)
{
    if (format == HONE_FORMAT_F64)
        return ((const double *)values)[i];
    return (double)load(format, values, i);
}

/* The gradient's magnitude as the frame sees it before the norm's clip: scaled and clamped in the
 * compute type. */
RULE_INLINE double magnitude_at(const enum hone_format format, const void *grad, size_t i,
                                double scale, double limit)
{
    if (format == HONE_FORMAT_F64) {
        const double g = ((const double *)grad)[i] * scale;
        const double clamped = g > limit ? limit : g < -limit ? -limit : g;
        return clamped < 0 ? -clamped : clamped + 0; /* -0 too becomes 0 */
    }
    const float g = r_clamp(load(format, grad, i) * (float)scale, (float)limit);
    return (double)r_abs(g);
}

RULE_INLINE double larger(double a, double b)
{
    return a > b || a != a ? a : b;
}

enum norm_kind { NORM_ONE, NORM_TWO, NORM_MAXIMUM, NORM_GENERAL };

RULE_ON_HOST_AND_DEVICE enum norm_kind norm_kind_of(double order)
{
    return order == 2     ? NORM_TWO
           : isinf(order) ? NORM_MAXIMUM
           : order == 1   ? NORM_ONE
                          : NORM_GENERAL;
}

/* A lane's sum with one more magnitude. Orders other than 1, 2 and infinity call the C library's pow
 * per element: rare, and slow is fine. */
RULE_INLINE double norm_add(const enum norm_kind kind, double sum, double x, double order)
{
    return kind == NORM_MAXIMUM   ? larger(sum, x)
           : kind == NORM_TWO     ? sum + x * x
           : kind == NORM_GENERAL ? sum + pow(x, order)
                                  : sum + x;
}

/* Two lanes, or two shares, into one. */
RULE_INLINE double norm_join(bool maximum, double a, double b)
{
    return maximum ? larger(a, b) : a + b;
}

#endif
