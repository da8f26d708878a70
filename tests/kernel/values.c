/* SPDX-License-Identifier: Apache-2.0 */
/* Formats as bit patterns: reading, writing, and conversions by exact integer arithmetic on the
 * fields, written from IEEE 754's definition and sharing nothing with src/kernel/format.h. */
#include <math.h>
#include <string.h>

#include "kernel_test.h"

struct layout {
    const char *name;
    int exponent_bits, fraction_bits;
};

static const struct layout layouts[HONE_FORMAT_COUNT] = {
    [HONE_FORMAT_F32] = {"F32", 8, 23},
    [HONE_FORMAT_F64] = {"F64", 11, 52},
    [HONE_FORMAT_BF16] = {"BF16", 8, 7},
    [HONE_FORMAT_F16] = {"F16", 5, 10},
};

const char *format_name(enum hone_format format)
{
    return layouts[format].name;
}

uint64_t read_bits(enum hone_format format, const void *values, size_t i)
{
    const size_t size = hone_format_size(format);
    const unsigned char *const from = (const unsigned char *)values + i * size;
    uint64_t eight;
    uint32_t four;
    uint16_t two;
    switch (size) {
    case 8:
        memcpy(&eight, from, 8);
        return eight;
    case 4:
        memcpy(&four, from, 4);
        return four;
    default:
        memcpy(&two, from, 2);
        return two;
    }
}

void write_bits(enum hone_format format, void *values, size_t i, uint64_t bits)
{
    const size_t size = hone_format_size(format);
    unsigned char *const to = (unsigned char *)values + i * size;
    const uint32_t four = (uint32_t)bits;
    const uint16_t two = (uint16_t)bits;
    switch (size) {
    case 8:
        memcpy(to, &bits, 8);
        break;
    case 4:
        memcpy(to, &four, 4);
        break;
    default:
        memcpy(to, &two, 2);
    }
}

uint64_t infinity_bits(enum hone_format format)
{
    const struct layout *const layout = &layouts[format];
    return (((uint64_t)1 << layout->exponent_bits) - 1) << layout->fraction_bits;
}

static uint64_t sign_bit(enum hone_format format)
{
    return (uint64_t)1 << (layouts[format].exponent_bits + layouts[format].fraction_bits);
}

bool is_nan_bits(enum hone_format format, uint64_t bits)
{
    return (bits & (sign_bit(format) - 1)) > infinity_bits(format);
}

/* The exponent of the last place of a denormal number. */
static int smallest_place(const struct layout *layout)
{
    const int bias = (1 << (layout->exponent_bits - 1)) - 1;
    return 1 - bias - layout->fraction_bits;
}

double reference_widen(enum hone_format format, uint64_t bits)
{
    const struct layout *const layout = &layouts[format];
    const uint64_t magnitude = bits & (sign_bit(format) - 1);
    const double sign = (bits & sign_bit(format)) != 0 ? -1 : 1;
    if (magnitude > infinity_bits(format))
        return NAN;
    if (magnitude == infinity_bits(format))
        return sign * HUGE_VAL;
    const uint64_t one = (uint64_t)1 << layout->fraction_bits;
    const int exponent = (int)(magnitude >> layout->fraction_bits);
    const uint64_t fraction = magnitude & (one - 1);
    const uint64_t integer = exponent == 0 ? fraction : fraction + one;
    const int place = smallest_place(layout) + (exponent == 0 ? 0 : exponent - 1);
    return sign * ldexp((double)integer, place);
}

/* integer / 2^shift, to nearest, ties to even. */
static uint64_t shift_right_rounded(uint64_t integer, int shift)
{
    if (shift > 60)
        return 0;
    const uint64_t quotient = integer >> shift;
    const uint64_t rest = integer - (quotient << shift);
    const uint64_t half = (uint64_t)1 << shift >> 1;
    const bool up = rest > half || (rest == half && (quotient & 1) != 0);
    return shift == 0 ? quotient : quotient + (up ? 1 : 0);
}

uint64_t reference_narrow(enum hone_format format, double value)
{
    const struct layout *const layout = &layouts[format];
    const uint64_t infinity = infinity_bits(format);
    const uint64_t sign = signbit(value) ? sign_bit(format) : 0;
    if (isnan(value))
        return infinity + 1;
    if (isinf(value))
        return sign | infinity;
    if (value == 0)
        return sign;
    int exponent;
    const uint64_t integer = (uint64_t)ldexp(frexp(fabs(value), &exponent), 53);
    int place = exponent - 1 - layout->fraction_bits;
    if (place < smallest_place(layout))
        place = smallest_place(layout);
    const uint64_t rounded = shift_right_rounded(integer, place - (exponent - 53));
    const uint64_t steps = (uint64_t)(place - smallest_place(layout));
    const uint64_t magnitude = (steps << layout->fraction_bits) + rounded;
    return sign | (magnitude > infinity ? infinity : magnitude);
}

uint64_t reference_cut(enum hone_format format, double value)
{
    const uint64_t nearest = reference_narrow(format, value);
    return fabs(reference_widen(format, nearest)) > fabs(value) ? nearest - 1 : nearest;
}

/* splitmix64: Steele, Lea and Flood 2014. */
uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double next_uniform(uint64_t *state)
{
    return ldexp((double)(next_random(state) >> 11), -53);
}
