/* SPDX-License-Identifier: Apache-2.0 */
/* Norm shares and their combination: the documented order of summation bit for bit, the true sum
 * closely, at every level; scaling and clamping in place against one element at a time. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

#define LANES \
    1024 /* element i belongs to lane i % LANES; lanes are then halved onto themselves \
          */

static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 31, 33, 1023, 1024, 1025, 4097, HONE_CHUNK};
static const double orders[] = {1, 2, HUGE_VAL, 3, 2.5};

enum { LENGTH_COUNT = sizeof lengths / sizeof lengths[0] };
enum { ORDER_COUNT = sizeof orders / sizeof orders[0] };

/* |clamp(g * scale)| in the compute type of the format. */
static double magnitude(enum hone_format format, const void *values, size_t i, double scale,
                        double limit)
{
    const double stored = reference_widen(format, read_bits(format, values, i));
    if (format == HONE_FORMAT_F64) {
        const double g = fabs(stored * scale);
        return g > limit ? limit : g;
    }
    const float g = fabsf((float)stored * (float)scale);
    return (double)(g > (float)limit ? (float)limit : g);
}

static double term(double magnitude_, double order)
{
    return order == 1 || isinf(order) ? magnitude_
           : order == 2               ? magnitude_ * magnitude_
                                      : pow(magnitude_, order);
}

static double add(double a, double b, bool maximum)
{
    if (!maximum)
        return a + b;
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

static double fold(double lane[LANES], bool maximum)
{
    for (size_t count = LANES / 2; count > 0; count /= 2)
        for (size_t j = 0; j < count; j++)
            lane[j] = add(lane[j], lane[j + count], maximum);
    return lane[0];
}

/* A sum or maximum that is right to the last bit or two: Neumaier's (1974) compensated sum. Not a long
 * double, which emulators shorten. */
struct total {
    double high, low;
};

static void total_add(struct total *total, double x, bool maximum)
{
    const double sum = total->high + x;
    if (maximum)
        total->high = fmax(total->high, x);
    else {
        total->low += fabs(total->high) >= x ? (total->high - sum) + x : (x - sum) + total->high;
        total->high = sum;
    }
}

static bool near(double actual, struct total total)
{
    const double right = total.high + total.low;
    return fabs(actual - right) <= 1e-13 * right;
}

static bool same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void check_norm(enum hone_format format, const void *values, size_t n, double order,
                       double scale, double limit, const char *label)
{
    double lane[LANES] = {0};
    struct total right = {0, 0};
    const bool maximum = isinf(order);
    for (size_t i = 0; i < n; i++) {
        const double x = term(magnitude(format, values, i, scale, limit), order);
        lane[i % LANES] = add(lane[i % LANES], x, maximum);
        total_add(&right, x, maximum);
    }
    const double expected = fold(lane, maximum);
    for (int k = 0; k < hone_cpu_level_count(); k++) {
        const struct hone_cpu_level *const level = hone_cpu_level_at(k);
        const double actual = level->support->norm[format](values, n, order, scale, limit);
        check(same_double(actual, expected),
              "%s: norm of %s at %s n %zu order %g is %a, expected %a", label, format_name(format),
              level->name, n, order, actual, expected);
        check(!isfinite(expected) || near(actual, right),
              "%s: norm of %s at %s n %zu order %g is %.17g, far from %.17g", label,
              format_name(format), level->name, n, order, actual, right.high + right.low);
    }
}

static void norms(struct arrays *arrays, enum hone_format format, uint64_t *state)
{
    static const double scales[] = {1, 0.375}, limits[] = {HUGE_VAL, 0.75};
    const struct formats formats = {.param = format, .grad = format};
    for (int length = 0; length < LENGTH_COUNT; length++)
        for (int fill = 0; fill < FILL_COUNT; fill++) {
            arrays_place(arrays, &formats, lengths[length], next_random(state) % 4);
            arrays_fill(arrays, (enum fill)fill, next_random(state));
            for (int k = 0; k < 2; k++)
                for (int order = 0; order < ORDER_COUNT; order++)
                    check_norm(format, arrays->grad.data, lengths[length], orders[order], scales[k],
                               limits[k], fill_name((enum fill)fill));
            check_canaries(arrays, "norm");
        }
}

static void combinations(void)
{
    static const size_t counts[] = {0, 1, 2, 1000, 1024, 1025, 5000};
    static double shares[5000];
    uint64_t state = 8;
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
        for (int kind = 0; kind < 4; kind++) { /* sum, maximum; each with and without a NaN */
            const bool maximum = kind % 2 != 0;
            double lane[LANES] = {0};
            struct total right = {0, 0};
            for (size_t i = 0; i < counts[k]; i++) {
                shares[i] = ldexp(next_uniform(&state), (int)(next_random(&state) % 20));
                if (kind >= 2 && i == counts[k] / 2)
                    shares[i] = NAN;
                lane[i % LANES] = add(lane[i % LANES], shares[i], maximum);
                total_add(&right, shares[i], maximum);
            }
            const double expected = fold(lane, maximum);
            for (int level = 0; level < hone_cpu_level_count(); level++) {
                const struct hone_cpu_level *const cpu = hone_cpu_level_at(level);
                const double actual = cpu->support->combine(shares, counts[k], maximum);
                check(same_double(actual, expected),
                      "combine at %s n %zu kind %d is %a, expected %a", cpu->name, counts[k], kind,
                      actual, expected);
                check(isnan(expected) || near(actual, right),
                      "combine at %s n %zu kind %d is %.17g, far from %.17g", cpu->name, counts[k],
                      kind, actual, right.high + right.low);
            }
        }
}

static uint64_t scaled_bits(enum hone_format format, uint64_t bits, double factor)
{
    const double value = reference_widen(format, bits);
    return reference_narrow(format, format == HONE_FORMAT_F64
                                        ? value * factor
                                        : (double)((float)value * (float)factor));
}

static uint64_t clamped_bits(enum hone_format format, uint64_t bits, double limit)
{
    const double value = reference_widen(format, bits);
    const double high = format == HONE_FORMAT_F64 ? limit : (double)(float)limit;
    return reference_narrow(format, value > high ? high : value < -high ? -high : value);
}

static void in_place(struct arrays *before, struct arrays *actual, enum hone_format format,
                     uint64_t *state)
{
    const struct formats formats = {.param = format, .grad = format};
    for (int length = 0; length < LENGTH_COUNT; length++)
        for (int fill = 0; fill < FILL_COUNT; fill++)
            for (int level = 0; level < hone_cpu_level_count(); level++)
                for (int clamp = 0; clamp < 2; clamp++) {
                    const struct hone_cpu_level *const cpu = hone_cpu_level_at(level);
                    const size_t n = lengths[length];
                    arrays_place(before, &formats, n, next_random(state) % 4);
                    arrays_fill(before, (enum fill)fill, next_random(state));
                    arrays_copy(actual, before);
                    (clamp ? cpu->support->clamp : cpu->support->scale)[format](actual->param.data,
                                                                                n, 0.3);
                    for (size_t i = 0; i < n; i++) {
                        const uint64_t bits = read_bits(format, before->param.data, i);
                        write_bits(format, before->param.data, i,
                                   (clamp ? clamped_bits : scaled_bits)(format, bits, 0.3));
                    }
                    char label[LABEL_SIZE];
                    snprintf(label, sizeof label, "%s %s at %s fill %s", clamp ? "clamp" : "scale",
                             format_name(format), cpu->name, fill_name((enum fill)fill));
                    check_equal(actual, before, label);
                    check_canaries(actual, label);
                }
}

void suite_sums(void)
{
    struct arrays *const before = arrays_new(), *const actual = arrays_new();
    uint64_t state = 9;
    combinations();
    for (int format = 0; format < HONE_FORMAT_COUNT; format++) {
        norms(before, (enum hone_format)format, &state);
        in_place(before, actual, (enum hone_format)format, &state);
    }
    arrays_free(before);
    arrays_free(actual);
}
