/* SPDX-License-Identifier: Apache-2.0 */
/* Formats by hand. A format is its number of significant digits and its range of exponents. */
#include "support/numbers.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct small {
    int digits;  /* significant binary digits of a normal value */
    int lowest;  /* exponent of the smallest normal value */
    int highest; /* exponent of the largest value */
};

static struct small small_format(hone_dtype dtype)
{
    return dtype == HONE_BF16 ? (struct small){8, -126, 127} : (struct small){11, -14, 15};
}

hone_dtype number_real(hone_dtype dtype)
{
    return dtype == HONE_C64 ? HONE_F32 : dtype == HONE_C128 ? HONE_F64 : dtype;
}

/* The exponent of the last digit of a finite value other than 0. */
static int last_digit(struct small format, double value)
{
    const int exponent = ilogb(value);
    return (exponent < format.lowest ? format.lowest : exponent) - (format.digits - 1);
}

static double round_small(struct small format, double value)
{
    if (value == 0 || !isfinite(value))
        return value;
    const int last = last_digit(format, value);
    const double rounded = ldexp(nearbyint(ldexp(value, -last)), last);
    return fabs(rounded) >= ldexp(1, format.highest + 1) ? copysign((double)INFINITY, value)
                                                         : rounded;
}

double number_round(hone_dtype dtype, double value)
{
    switch (number_real(dtype)) {
    case HONE_F64:
        return value;
    case HONE_F32:
        return (double)(float)value;
    default:
        return round_small(small_format(dtype), value);
    }
}

static double read_small(struct small format, uint16_t stored)
{
    const int fraction_digits = format.digits - 1;
    const int fraction = stored & ((1 << fraction_digits) - 1);
    const int exponent = (stored & 0x7fff) >> fraction_digits;
    const int special = format.highest - format.lowest + 2;
    const double sign = stored & 0x8000 ? -1 : 1;
    if (exponent == special)
        return fraction == 0 ? sign * (double)INFINITY : (double)NAN;
    const int whole = exponent == 0 ? 0 : 1 << fraction_digits;
    const int scale = (exponent == 0 ? 1 : exponent) - 1 + format.lowest - fraction_digits;
    return sign * ldexp(whole + fraction, scale);
}

static uint16_t encode_small(struct small format, double value)
{
    const int fraction_digits = format.digits - 1;
    const int special = format.highest - format.lowest + 2;
    const int sign = signbit(value) ? 0x8000 : 0;
    if (isnan(value))
        return (uint16_t)(special << fraction_digits | 1 << (fraction_digits - 1));
    const double rounded = fabs(round_small(format, value));
    if (isinf(rounded))
        return (uint16_t)(sign | special << fraction_digits);
    if (rounded == 0)
        return (uint16_t)sign;
    const int last = last_digit(format, rounded);
    const int digits = (int)ldexp(rounded, -last);
    const int steps = last + fraction_digits - format.lowest;
    return (uint16_t)(sign | (digits + (steps << fraction_digits)));
}

double number_read(hone_dtype dtype, const void *values, size_t i)
{
    switch (number_real(dtype)) {
    case HONE_F64:
        return ((const double *)values)[i];
    case HONE_F32:
        return (double)((const float *)values)[i];
    default:
        return read_small(small_format(dtype), ((const uint16_t *)values)[i]);
    }
}

void number_write(hone_dtype dtype, void *values, size_t i, double value)
{
    switch (number_real(dtype)) {
    case HONE_F64:
        ((double *)values)[i] = value;
        break;
    case HONE_F32:
        ((float *)values)[i] = (float)value;
        break;
    default:
        ((uint16_t *)values)[i] = encode_small(small_format(dtype), value);
    }
}

void *numbers_store(hone_dtype dtype, const double *values, size_t count)
{
    void *const stored = malloc(count * hone_dtype_size(number_real(dtype)) + 1);
    if (stored == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        number_write(dtype, stored, i, values[i]);
    return stored;
}

void numbers_load(hone_dtype dtype, const void *stored, double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = number_read(dtype, stored, i);
}

bool number_same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

size_t numbers_differ(const double *a, const double *b, size_t count)
{
    size_t i = 0;
    while (i < count && number_same(a[i], b[i]))
        i++;
    return i;
}
