/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that do more than round to nearest: random rounding gives one of the two neighbours, with
 * the right odds, by the same noise at every level; Kahan's pairs split and join as defined; and
 * gradient accumulation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

#define BATCH HONE_CHUNK

static const struct hone_support_kernels *support_at(int level)
{
    return hone_cpu_level_at(level)->support;
}

/* ---- random rounding ------------------------------------------------------------------------- */

static void neighbours(enum hone_format format, uint64_t *state)
{
    static float values[BATCH];
    static double rounded[BATCH], base[BATCH];
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        const uint32_t key = (uint32_t)next_random(state);
        for (size_t i = 0; i < BATCH; i++) /* every third value is one of the format's own */
            values[i] = (float)reference_widen(
                i % 3 == 0 ? format : HONE_FORMAT_F32,
                fill_bits(i % 3 == 0 ? format : HONE_FORMAT_F32, (enum fill)fill, state));
        for (int level = 0; level < hone_cpu_level_count(); level++) {
            const char *const name = hone_cpu_level_at(level)->name;
            support_at(level)->narrow_random_f32[format](rounded, values, BATCH, key, 100);
            if (level == 0)
                memcpy(base, rounded, sizeof base);
            check_values(format, rounded, base, BATCH, name, "random rounding");
            support_at(level)->narrow_random_f32[format](rounded, values + 333, 500, key, 433);
            check_values(format, rounded, (char *)base + 333 * hone_format_size(format), 500, name,
                         "random rounding of a part");
        }
        for (size_t i = 0; i < BATCH; i++) {
            const double value = (double)values[i];
            const uint64_t actual = read_bits(format, base, i), cut = reference_cut(format, value);
            const bool exact = reference_widen(format, cut) == value;
            check(isnan(value) ? is_nan_bits(format, actual)
                               : actual == cut || (!exact && actual == cut + 1),
                  "random rounding of %a to %s gives 0x%llx, neighbour below is 0x%llx", value,
                  format_name(format), (unsigned long long)actual, (unsigned long long)cut);
        }
    }
}

/* The share of results away from zero is the value's place between its neighbours, within five
 * standard deviations. */
static void odds(enum hone_format format, enum fill fill, uint64_t *state)
{
    const int keys = quick() ? 2 : 20;
    static float values[BATCH];
    static double rounded[BATCH];
    const double value =
        (double)(float)(1.0009 * reference_widen(format, fill_bits(format, fill, state)));
    const uint64_t cut = reference_cut(format, value);
    const double below = fabs(reference_widen(format, cut));
    const double above = fabs(reference_widen(format, cut + 1));
    const double place = (fabs(value) - below) / (above - below);
    for (size_t i = 0; i < BATCH; i++)
        values[i] = (float)value;
    double ups = 0;
    for (int k = 0; k < keys; k++) {
        const uint32_t key = (uint32_t)next_random(state);
        support_at(0)->narrow_random_f32[format](rounded, values, BATCH, key, 0);
        for (size_t i = 0; i < BATCH; i++)
            ups += read_bits(format, rounded, i) == cut + 1 ? 1 : 0;
    }
    const double count = (double)keys * BATCH;
    const double deviation = sqrt(place * (1 - place) / count) + 0x1p-13;
    check(fabs(ups / count - place) <= 5 * deviation,
          "random rounding of %a to %s went up in %.4f of the cases, expected %.4f", value,
          format_name(format), ups / count, place);
}

/* ---- Kahan's pairs --------------------------------------------------------------------------- */

static void pairs(enum hone_format format, int level, uint64_t *state)
{
    static float values[BATCH], joined[BATCH], sums[BATCH];
    static double high[BATCH], low[BATCH], expected_high[BATCH], expected_low[BATCH];
    const char *const name = hone_cpu_level_at(level)->name;
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        for (size_t i = 0; i < BATCH; i++) {
            values[i] = (float)reference_widen(HONE_FORMAT_F32,
                                               fill_bits(HONE_FORMAT_F32, (enum fill)fill, state));
            write_bits(format, expected_high, i, reference_narrow(format, (double)values[i]));
            const float stored =
                (float)reference_widen(format, read_bits(format, expected_high, i));
            const float rest = values[i] - stored;
            write_bits(format, expected_low, i,
                       reference_cut(format, isfinite(stored) ? (double)rest : 0));
            const float cut = (float)reference_widen(format, read_bits(format, expected_low, i));
            joined[i] = stored;
            sums[i] = cut == 0 ? stored : stored + cut;
        }
        support_at(level)->split_f32[format](high, low, values, BATCH);
        check_values(format, high, expected_high, BATCH, name, "the stored part of a pair");
        check_values(format, low, expected_low, BATCH, name, "the rest of a pair");
        support_at(level)->join_f32[format](joined, low, BATCH);
        check_values(HONE_FORMAT_F32, joined, sums, BATCH, name, "a joined pair");
    }
}

/* ---- accumulation ---------------------------------------------------------------------------- */

static void accumulation(enum hone_format format, int level, uint64_t *state)
{
    static double from[BATCH], wide[BATCH], expected_wide[BATCH];
    static float narrow[BATCH], expected_narrow[BATCH];
    const char *const name = hone_cpu_level_at(level)->name;
    for (int fill = 0; fill < FILL_COUNT; fill++) {
        for (size_t i = 0; i < BATCH; i++) {
            write_bits(format, from, i, fill_bits(format, (enum fill)fill, state));
            const double value = reference_widen(format, read_bits(format, from, i));
            wide[i] = next_uniform(state);
            narrow[i] = (float)wide[i];
            expected_wide[i] = wide[i] + value * 0.3;
            expected_narrow[i] = narrow[i] + (float)value * (float)0.3;
        }
        support_at(level)->accumulate_f32[format](narrow, from, BATCH, 0.3);
        support_at(level)->accumulate_f64[format](wide, from, BATCH, 0.3);
        check_values(HONE_FORMAT_F32, narrow, expected_narrow, BATCH, name, "float accumulation");
        check_values(HONE_FORMAT_F64, wide, expected_wide, BATCH, name, "double accumulation");
    }
}

void suite_rounding(void)
{
    uint64_t state = 11;
    for (int format = 0; format < HONE_FORMAT_COUNT; format++) {
        for (int level = 0; level < hone_cpu_level_count(); level++) {
            accumulation((enum hone_format)format, level, &state);
            pairs((enum hone_format)format, level, &state);
        }
        if (hone_format_size((enum hone_format)format) != 2)
            continue;
        neighbours((enum hone_format)format, &state);
        for (int k = 0; k < (quick() ? 4 : 20); k++) {
            odds((enum hone_format)format, FILL_RANDOM, &state);
            odds((enum hone_format)format, FILL_DENORMAL, &state);
            odds((enum hone_format)format, FILL_TINY, &state);
        }
    }
}
