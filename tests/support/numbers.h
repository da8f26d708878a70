/* SPDX-License-Identifier: Apache-2.0 */
/* Stored values read, written and rounded by arithmetic on doubles, without the bit tricks of the
 * library: what the library's conversions are compared with. A complex dtype is a run of reals. */
#ifndef SUPPORT_NUMBERS_H
#define SUPPORT_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include <hone/tensor.h>

/* The dtype of the reals behind a dtype: F32 for C64, F64 for C128, else itself. */
hone_dtype number_real(hone_dtype dtype);

/* The value nearest to `value`, ties to the even one, that `dtype` can hold. */
double number_round(hone_dtype dtype, double value);

double number_read(hone_dtype dtype, const void *values, size_t i);
void number_write(hone_dtype dtype, void *values, size_t i, double value);

/* A new array of `count` reals of the dtype, written from doubles; released with free. */
void *numbers_store(hone_dtype dtype, const double *values, size_t count);
void numbers_load(hone_dtype dtype, const void *stored, double *values, size_t count);

/* The same bits, NaNs counting as one value. */
bool number_same(double a, double b);

/* The first place where two arrays differ, or `count`. */
size_t numbers_differ(const double *a, const double *b, size_t count);

#endif
