/* SPDX-License-Identifier: Apache-2.0 */
/* The staged loop: the bits of the direct loop where there is one, and for any other mix of formats
 * the bits of converting whole arrays, stepping them and converting back, at every level. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

struct work {
    struct combination combination;
    struct arrays *before, *expected, *actual, *wide;
};

static struct hone_stage stage_of(const struct combination *combination,
                                  const struct formats *formats, const struct hone_cpu_level *level)
{
    struct hone_stage stage = {.support = level->support,
                               .kernel = tile_kernel(combination, level),
                               .param = formats->param,
                               .grad = formats->grad,
                               .slot_count = formats->slot_count,
                               .extra = formats->extra,
                               .cast = formats->extra_format};
    for (int k = 0; k < formats->slot_count; k++)
        stage.slot[k] = formats->slot[k];
    return stage;
}

static void run_staged(const struct work *work, const struct hone_cpu_level *level,
                       const struct scenario *scenario)
{
    const struct hone_stage stage = stage_of(&work->combination, &work->before->formats, level);
    arrays_copy(work->actual, work->before);
    const struct hone_chunk chunk = arrays_chunk(work->actual, work->combination.form);
    hone_stage_step(&stage, &chunk, &scenario->scalars, &scenario->frame);
}

static void compare(const struct work *work, const struct hone_cpu_level *level, const char *what,
                    enum fill fill)
{
    const struct formats *const formats = &work->before->formats;
    char name[LABEL_SIZE], label[2 * LABEL_SIZE];
    combination_label(name, &work->combination);
    int length = snprintf(label, sizeof label, "%s_%s n %zu fill %s %s, staged as %s %s", name,
                          level->name, work->before->n, fill_name(fill), what,
                          format_name(formats->param), format_name(formats->grad));
    for (int k = 0; k < formats->slot_count; k++)
        length += snprintf(label + length, sizeof label - (size_t)length, " %s",
                           format_name(formats->slot[k]));
    check_canaries(work->actual, label);
    check_gradient(work->actual, work->before, label);
    check_equal(work->actual, work->expected, label);
}

static void staged_is_direct(const struct work *work, const struct scenario *scenario,
                             enum fill fill)
{
    for (int k = 0; k < hone_cpu_level_count(); k++) {
        const struct hone_cpu_level *const level = hone_cpu_level_at(k);
        arrays_copy(work->expected, work->before);
        const struct hone_chunk chunk = arrays_chunk(work->expected, work->combination.form);
        combination_kernel(&work->combination, level)(&chunk, &scenario->scalars, &scenario->frame);
        run_staged(work, level, scenario);
        compare(work, level, "direct", fill);
    }
}

/* One array through the slow reference; a float compute type rounds a double on its way in. */
static void convert(enum hone_format to_format, struct array *to, enum hone_format from_format,
                    const struct array *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double value = reference_widen(from_format, read_bits(from_format, from->data, i));
        write_bits(to_format, to->data, i, reference_narrow(to_format, value));
    }
}

static float value_at(const struct array *array, enum hone_format format, size_t i)
{
    return (float)reference_widen(format, read_bits(format, array->data, i));
}

/* Kahan's pairs as one float each, and back: the parameter rounded, the rest cut off. */
static void join_pairs(struct arrays *wide, const struct arrays *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const float low = value_at(&pairs->extra, pairs->formats.extra_format, i);
        if (low != 0) {
            const float sum = value_at(&wide->param, HONE_FORMAT_F32, i) + low;
            memcpy(wide->param.data + i * sizeof sum, &sum, sizeof sum);
        }
    }
}

static void split_pairs(struct arrays *pairs, const struct arrays *wide)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const float high = value_at(&pairs->param, pairs->formats.param, i);
        const float rest = value_at(&wide->param, HONE_FORMAT_F32, i) - high;
        write_bits(pairs->formats.extra_format, pairs->extra.data, i,
                   reference_cut(pairs->formats.extra_format, isfinite(high) ? (double)rest : 0));
    }
}

/* Whole arrays to the compute type, one step at level base, and back. */
static void step_converted(const struct work *work, const struct scenario *scenario)
{
    const struct formats *const formats = &work->before->formats;
    const enum hone_format real =
        work->combination.real_bits == 64 ? HONE_FORMAT_F64 : HONE_FORMAT_F32;
    struct formats wide = *formats;
    wide.param = wide.grad = real;
    wide.extra = HONE_EXTRA_NONE;
    wide.has_extra = false;
    for (int k = 0; k < wide.slot_count; k++)
        wide.slot[k] = real;
    const size_t n = work->before->n;
    arrays_copy(work->expected, work->before);
    arrays_place(work->wide, &wide, n, 0);
    convert(real, &work->wide->param, formats->param, &work->before->param, n);
    if (formats->extra == HONE_EXTRA_KAHAN)
        join_pairs(work->wide, work->before);
    convert(real, &work->wide->grad, formats->grad, &work->before->grad, n);
    for (int k = 0; k < wide.slot_count; k++)
        if ((formats->present >> k & 1u) != 0)
            convert(real, &work->wide->slot[k], formats->slot[k], &work->before->slot[k], n);
    struct hone_chunk chunk = arrays_chunk(work->wide, HONE_FORM_DENSE);
    if (work->combination.form == HONE_FORM_MASKED)
        chunk.mask = arrays_chunk(work->before, HONE_FORM_MASKED).mask;
    tile_kernel(&work->combination, hone_cpu_level_at(0))(&chunk, &scenario->scalars,
                                                          &scenario->frame);
    convert(formats->param, &work->expected->param, real, &work->wide->param, n);
    if (formats->extra == HONE_EXTRA_KAHAN)
        split_pairs(work->expected, work->wide);
    if (formats->extra == HONE_EXTRA_MASTER)
        convert(formats->extra_format, &work->expected->extra, real, &work->wide->param, n);
    for (int k = 0; k < wide.slot_count; k++)
        if ((formats->present >> k & 1u) != 0)
            convert(formats->slot[k], &work->expected->slot[k], real, &work->wide->slot[k], n);
}

static struct formats draw_formats(const struct combination *combination, uint64_t *state)
{
    static const enum hone_format of_f32[] = {HONE_FORMAT_F32, HONE_FORMAT_BF16, HONE_FORMAT_F16};
    struct formats formats = combination->formats;
    const enum hone_format small = of_f32[1 + next_random(state) % 2];
    formats.param = combination->real_bits == 64         ? HONE_FORMAT_F64
                    : formats.extra == HONE_EXTRA_KAHAN  ? small
                    : formats.extra == HONE_EXTRA_MASTER ? HONE_FORMAT_F32
                                                         : of_f32[next_random(state) % 3];
    if (formats.extra != HONE_EXTRA_NONE)
        formats.extra_format = small;
    formats.grad = (enum hone_format)(next_random(state) % HONE_FORMAT_COUNT);
    for (int k = 0; k < formats.slot_count; k++)
        formats.slot[k] = (enum hone_format)(next_random(state) % HONE_FORMAT_COUNT);
    return formats;
}

static void run_case(const struct work *work, enum fill fill, size_t n, uint64_t *state)
{
    const struct scenario scenario = scenario_make(&work->combination, next_random(state));
    arrays_place(work->before, &work->combination.formats, n, next_random(state) % 4);
    arrays_fill(work->before, fill, next_random(state));
    staged_is_direct(work, &scenario, fill);

    if (work->combination.formats.extra == HONE_EXTRA_STOCHASTIC)
        return; /* random rounding has a suite of its own; here its bits are the direct loop's */
    const struct formats odd = draw_formats(&work->combination, state);
    arrays_place(work->before, &odd, n, next_random(state) % 4);
    arrays_fill(work->before, fill, next_random(state));
    step_converted(work, &scenario);
    for (int k = 0; k < hone_cpu_level_count(); k++) {
        run_staged(work, hone_cpu_level_at(k), &scenario);
        compare(work, hone_cpu_level_at(k), "odd mix", fill);
    }
}

void suite_stage(void)
{
    static const size_t lengths[] = {0, 3, 37, 512, 515, 1600};
    const size_t length_count = quick() ? 3 : 6;
    struct work work = {.before = arrays_new(),
                        .expected = arrays_new(),
                        .actual = arrays_new(),
                        .wide = arrays_new()};
    uint64_t state = 3;
    for (int i = 0; i < combination_count(); i++) {
        work.combination = combination_at(i);
        if (!has_forms(&work.combination))
            continue;
        for (int fill = 0; fill < FILL_COUNT; fill++)
            for (size_t k = 0; k < length_count; k++)
                run_case(&work, (enum fill)fill, lengths[k], &state);
    }
    arrays_free(work.before);
    arrays_free(work.expected);
    arrays_free(work.actual);
    arrays_free(work.wide);
}
