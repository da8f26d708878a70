/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions at every level against the slow reference: every 16-bit pattern widened; and
 * narrowed, from float and from double, the values on and beside every pattern and every tie
 * between two patterns (where a second rounding would show), and random patterns. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

#define BATCH HONE_CHUNK

static const enum hone_format small_formats[] = {HONE_FORMAT_BF16, HONE_FORMAT_F16};

/* Values waiting to be narrowed together. */
struct batch {
    const struct hone_cpu_level *level;
    double values[BATCH];
    size_t n;
};

static void check_narrowed(const struct batch *batch, enum hone_format format, const void *narrowed,
                           const char *from)
{
    for (size_t i = 0; i < batch->n; i++) {
        const double value = batch->values[i];
        const uint64_t actual = read_bits(format, narrowed, i);
        const uint64_t expected = reference_narrow(format, value);
        if (actual == expected || (isnan(value) && is_nan_bits(format, actual)))
            continue;
        check(false, "%s: %s %a narrows to %s 0x%llx, expected 0x%llx", batch->level->name, from,
              value, format_name(format), (unsigned long long)actual, (unsigned long long)expected);
    }
}

static void flush_doubles(struct batch *batch)
{
    static double narrowed[BATCH];
    for (int format = 0; format < HONE_FORMAT_COUNT; format++) {
        batch->level->support->narrow_f64[format](narrowed, batch->values, batch->n);
        check_narrowed(batch, (enum hone_format)format, narrowed, "double");
    }
    batch->n = 0;
}

static void flush_floats(struct batch *batch)
{
    static double narrowed[BATCH];
    static float floats[BATCH];
    for (size_t i = 0; i < batch->n; i++)
        batch->values[i] = floats[i] = (float)batch->values[i];
    for (int format = 0; format < HONE_FORMAT_COUNT; format++) {
        batch->level->support->narrow_f32[format](narrowed, floats, batch->n);
        check_narrowed(batch, (enum hone_format)format, narrowed, "float");
    }
    batch->n = 0;
}

static void add(struct batch *batch, double value, void (*flush)(struct batch *))
{
    batch->values[batch->n++] = value;
    if (batch->n == BATCH)
        flush(batch);
}

/* A value, its neighbours in float, and its neighbours in double. */
static void add_around(struct batch *batch, double value)
{
    const float rounded = (float)value;
    add(batch, value, flush_doubles);
    add(batch, nextafter(value, HUGE_VAL), flush_doubles);
    add(batch, nextafter(value, -HUGE_VAL), flush_doubles);
    add(batch, (double)nextafterf(rounded, HUGE_VALF), flush_doubles);
    add(batch, (double)nextafterf(rounded, -HUGE_VALF), flush_doubles);
}

static void narrow_around_every_pattern(struct batch *batch, enum hone_format format)
{
    const uint64_t stride = quick() ? 61 : 1;
    for (uint64_t bits = 0; bits < 65536; bits += stride) {
        const double value = reference_widen(format, bits);
        add_around(batch, value);
        /* The tie with the next pattern away from zero; past the largest number, the tie between it
         * and the power of two that would follow. */
        if ((bits & 0x7fffu) < infinity_bits(format)) {
            const double before =
                reference_widen(format, bits == 0 || bits == 0x8000u ? bits : bits - 1);
            const double next = reference_widen(format, bits + 1);
            add_around(batch, isinf(next) ? value + (value - before) / 2 : value / 2 + next / 2);
        }
    }
    flush_doubles(batch);
}

static void narrow_floats_around_every_pattern(struct batch *batch, enum hone_format format)
{
    const uint32_t stride = quick() ? 61 : 1;
    const int shift = format == HONE_FORMAT_BF16 ? 16 : 13;
    /* Every float whose dropped bits are a tie or beside one: bits below the kept ones set to
     * half, half - 1, half + 1, 0, 1 and all. */
    for (uint32_t kept = 0; kept < (uint32_t)1 << (32 - shift); kept += stride) {
        const uint32_t half = (uint32_t)1 << (shift - 1);
        const uint32_t low[] = {0, 1, half - 1, half, half + 1, 2 * half - 1};
        for (int k = 0; k < 6; k++) {
            const uint32_t bits = kept << shift | low[k];
            float value;
            memcpy(&value, &bits, sizeof value);
            add(batch, (double)value, flush_floats);
        }
    }
    flush_floats(batch);
}

static void narrow_random(struct batch *batch, void (*flush)(struct batch *),
                          enum hone_format source, uint64_t seed)
{
    const int count = quick() ? 20000 : 1000000;
    uint64_t state = seed;
    for (int i = 0; i < count; i++) {
        /* half of the exponents near the small formats' range, half anywhere */
        const uint64_t random = next_random(&state);
        const double anywhere =
            reference_widen(source, source == HONE_FORMAT_F32 ? random >> 32 : random);
        const double near = ldexp(next_uniform(&state) - 0.5, (int)(random % 60) - 30);
        add(batch, (random >> 20) % 2 != 0 ? anywhere : near, flush);
    }
    flush(batch);
}

static void widen_every_pattern(const struct hone_cpu_level *level, enum hone_format format)
{
    static uint16_t patterns[BATCH];
    static float floats[BATCH];
    static double doubles[BATCH];
    for (uint32_t first = 0; first < 65536; first += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++)
            patterns[i] = (uint16_t)(first + i);
        level->support->widen_f32[format](floats, patterns, BATCH);
        level->support->widen_f64[format](doubles, patterns, BATCH);
        for (uint32_t i = 0; i < BATCH; i++) {
            const double expected = reference_widen(format, first + i);
            const double values[] = {(double)floats[i], doubles[i]};
            for (int k = 0; k < 2; k++)
                check(isnan(expected)
                          ? isnan(values[k])
                          : values[k] == expected && signbit(values[k]) == signbit(expected),
                      "%s: %s 0x%04x widens to %a in f%d, expected %a", level->name,
                      format_name(format), first + i, values[k], k == 0 ? 32 : 64, expected);
        }
    }
}

static void narrow_undoes_widen(const struct hone_cpu_level *level, enum hone_format format)
{
    static uint16_t patterns[BATCH], back[2][BATCH];
    static float floats[BATCH];
    static double doubles[BATCH];
    for (uint32_t first = 0; first < 65536; first += BATCH) {
        for (uint32_t i = 0; i < BATCH; i++)
            patterns[i] = (uint16_t)(first + i);
        level->support->widen_f32[format](floats, patterns, BATCH);
        level->support->narrow_f32[format](back[0], floats, BATCH);
        level->support->widen_f64[format](doubles, patterns, BATCH);
        level->support->narrow_f64[format](back[1], doubles, BATCH);
        check_values(format, back[0], patterns, BATCH, level->name, "there and back by float");
        check_values(format, back[1], patterns, BATCH, level->name, "there and back by double");
    }
}

/* float to double is exact, float to float and double to double keep their bits. */
static void widen_wide(const struct hone_cpu_level *level)
{
    static uint32_t narrow[BATCH];
    static uint64_t wide[BATCH];
    static float floats[BATCH];
    static double doubles[BATCH];
    uint64_t state = 4;
    for (size_t i = 0; i < BATCH; i++) {
        narrow[i] = (uint32_t)(next_random(&state) >> 32);
        wide[i] = next_random(&state);
    }
    level->support->widen_f32[HONE_FORMAT_F32](floats, narrow, BATCH);
    check_values(HONE_FORMAT_F32, floats, narrow, BATCH, level->name, "float to float");
    level->support->widen_f64[HONE_FORMAT_F64](doubles, wide, BATCH);
    check_values(HONE_FORMAT_F64, doubles, wide, BATCH, level->name, "double to double");
    level->support->widen_f64[HONE_FORMAT_F32](doubles, narrow, BATCH);
    level->support->widen_f32[HONE_FORMAT_F64](floats, wide, BATCH);
    for (size_t i = 0; i < BATCH; i++) {
        const double exact = reference_widen(HONE_FORMAT_F32, narrow[i]);
        check(isnan(exact) ? isnan(doubles[i]) : doubles[i] == exact,
              "%s: float 0x%08x widens to %a", level->name, (unsigned)narrow[i], doubles[i]);
        const double value = reference_widen(HONE_FORMAT_F64, wide[i]);
        const uint64_t expected = reference_narrow(HONE_FORMAT_F32, value);
        check(isnan(value) ? isnan(floats[i]) : read_bits(HONE_FORMAT_F32, floats, i) == expected,
              "%s: double %a rounds to float %a", level->name, value, (double)floats[i]);
    }
}

/* The reference itself, against the compiler's own conversions where it has them. */
static void reference_agrees_with_compiler(void)
{
    uint64_t state = 5;
    for (int i = 0; i < 200000; i++) {
        const double value =
            ldexp(next_uniform(&state) - 0.5, (int)(next_random(&state) % 320) - 160);
        const float rounded = (float)value;
        check(reference_narrow(HONE_FORMAT_F32, value) == read_bits(HONE_FORMAT_F32, &rounded, 0),
              "the reference rounds %a to float otherwise than the compiler", value);
#ifdef __FLT16_MAX__
        const double small = ldexp(value, (int)(next_random(&state) % 48) - 24);
        const _Float16 half = (_Float16)small;
        check(reference_narrow(HONE_FORMAT_F16, small) == read_bits(HONE_FORMAT_F16, &half, 0),
              "the reference rounds %a to half otherwise than the compiler", small);
#endif
    }
}

void suite_formats(void)
{
    static struct batch batch;
    reference_agrees_with_compiler();
    for (int k = 0; k < hone_cpu_level_count(); k++) {
        batch.level = hone_cpu_level_at(k);
        widen_wide(batch.level);
        for (int s = 0; s < 2; s++) {
            widen_every_pattern(batch.level, small_formats[s]);
            narrow_undoes_widen(batch.level, small_formats[s]);
            narrow_around_every_pattern(&batch, small_formats[s]);
            narrow_floats_around_every_pattern(&batch, small_formats[s]);
        }
        narrow_random(&batch, flush_doubles, HONE_FORMAT_F64, 6);
        narrow_random(&batch, flush_floats, HONE_FORMAT_F32, 7);
    }
}
