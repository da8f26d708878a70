/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold between the calls of one kernel: masks that choose nothing are the dense form,
 * frozen elements keep their bits while the slots run on, and cutting a run changes nothing. */
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

struct work {
    const struct hone_cpu_level *level;
    struct combination dense, masked;
    char label[2 * LABEL_SIZE];
    struct arrays *before, *expected, *actual;
};

static void run(const struct work *work, const struct combination *combination,
                struct arrays *result, const struct scenario *scenario)
{
    arrays_copy(result, work->before);
    const struct hone_chunk chunk = arrays_chunk(result, combination->form);
    combination_kernel(combination, work->level)(&chunk, &scenario->scalars, &scenario->frame);
}

static const char *describe(struct work *work, const char *law)
{
    char name[LABEL_SIZE];
    combination_label(name, &work->dense);
    snprintf(work->label, sizeof work->label, "%s_%s n %zu: %s", name, work->level->name,
             work->before->n, law);
    return work->label;
}

static struct scenario with_one_rate(const struct scenario *scenario, int kept)
{
    struct scenario one = *scenario;
    one.scalars.rate[1 - kept] = one.scalars.rate[kept];
    one.scalars.keep[1 - kept] = one.scalars.keep[kept];
    one.scalars.frozen[1 - kept] = one.scalars.frozen[kept];
    return one;
}

static void masks_that_choose_nothing(struct work *work, const struct scenario *scenario)
{
    const struct scenario plain = with_one_rate(scenario, 0), chosen = with_one_rate(scenario, 1);
    run(work, &work->dense, work->expected, scenario);
    run(work, &work->masked, work->actual, &plain);
    check_equal(work->actual, work->expected, describe(work, "equal rates are the dense form"));

    arrays_fill_mask(work->before, 0);
    run(work, &work->masked, work->actual, scenario);
    check_equal(work->actual, work->expected, describe(work, "an empty mask is the dense form"));

    arrays_fill_mask(work->before, ~(uint32_t)0);
    run(work, &work->dense, work->expected, &chosen);
    run(work, &work->masked, work->actual, scenario);
    check_equal(work->actual, work->expected,
                describe(work, "a full mask is the dense form with the masked rate"));
}

static void mask_selects(struct work *work, const struct scenario *scenario)
{
    const struct scenario chosen = with_one_rate(scenario, 1);
    const struct formats *const formats = &work->before->formats;
    run(work, &work->dense, work->expected, scenario);
    run(work, &work->masked, work->actual, scenario);
    struct arrays *const other = arrays_new();
    run(work, &work->dense, other, &chosen);
    for (size_t i = 0; i < work->before->n; i++) {
        uint32_t word;
        memcpy(&word, work->before->mask.data + i / 32 * sizeof word, sizeof word);
        if ((word >> i % 32 & 1u) == 0)
            continue;
        write_bits(formats->param, work->expected->param.data, i,
                   read_bits(formats->param, other->param.data, i));
        if (formats->has_extra)
            write_bits(formats->extra_format, work->expected->extra.data, i,
                       read_bits(formats->extra_format, other->extra.data, i));
    }
    check_equal(work->actual, work->expected,
                describe(work, "the mask chooses each element's rate"));
    arrays_free(other);
}

/* Kahan's rests as a frozen step leaves them: the same values, though a rest of -0 becomes 0. */
static void copy_rests(struct arrays *to, const struct arrays *from)
{
    const enum hone_format format = from->formats.extra_format;
    for (size_t i = 0; i < from->n; i++) {
        const uint64_t bits = read_bits(format, from->extra.data, i);
        write_bits(format, to->extra.data, i, reference_widen(format, bits) == 0 ? 0 : bits);
    }
}

/* The caller's tensor as a frozen step leaves it: the master, rounded. */
static void cast_master(struct arrays *arrays)
{
    const struct formats *const formats = &arrays->formats;
    for (size_t i = 0; i < arrays->n; i++) {
        const uint64_t master = read_bits(formats->param, arrays->param.data, i);
        write_bits(
            formats->extra_format, arrays->extra.data, i,
            reference_narrow(formats->extra_format, reference_widen(formats->param, master)));
    }
}

static void frozen_elements_keep_their_bits(struct work *work, const struct scenario *scenario)
{
    struct scenario frozen = *scenario, free = *scenario;
    const struct formats *const formats = &work->before->formats;
    frozen.scalars.frozen[0] = frozen.scalars.frozen[1] = true;
    free.scalars.frozen[0] = free.scalars.frozen[1] = false;
    const struct combination *const forms[] = {&work->dense, &work->masked};
    if (formats->extra == HONE_EXTRA_KAHAN) { /* what a step leaves is a proper pair */
        run(work, &work->dense, work->actual, &free);
        arrays_copy(work->before, work->actual);
    }
    for (int k = 0; k < 2; k++) {
        run(work, forms[k], work->expected, &free);
        run(work, forms[k], work->actual, &frozen);
        memcpy(work->expected->param.data, work->before->param.data, work->before->param.size);
        if (formats->extra == HONE_EXTRA_KAHAN)
            copy_rests(work->expected, work->before);
        if (formats->extra == HONE_EXTRA_MASTER)
            cast_master(work->expected);
        check_equal(work->actual, work->expected,
                    describe(work, "frozen parameters keep their bits, slots run on"));
    }
}

/* Not with random rounding: its noise counts from the chunk's first element. */
static void cuts_change_nothing(struct work *work, const struct combination *combination,
                                const struct scenario *scenario, uint64_t *state)
{
    if (combination->formats.extra == HONE_EXTRA_STOCHASTIC)
        return;
    run(work, combination, work->expected, scenario);
    arrays_copy(work->actual, work->before);
    const bool masked = combination->form == HONE_FORM_MASKED;
    const struct hone_chunk whole = arrays_chunk(work->actual, combination->form);
    for (size_t first = 0; first < whole.n;) {
        size_t n = 1 + next_random(state) % 97;
        n = masked ? 32 * n : n; /* a chunk begins with a word of its mask */
        if (n > whole.n - first)
            n = whole.n - first;
        const struct hone_chunk part = chunk_part(work->actual, &whole, first, n);
        combination_kernel(combination, work->level)(&part, &scenario->scalars, &scenario->frame);
        first += n;
    }
    check_equal(work->actual, work->expected, describe(work, "cutting a run changes nothing"));
    check_canaries(work->actual, describe(work, "cutting a run"));
}

static void every_law(struct work *work, enum fill fill, size_t n, uint64_t *state)
{
    const struct scenario scenario = scenario_make(&work->dense, next_random(state));
    arrays_place(work->before, &work->dense.formats, n, next_random(state) % 4);
    arrays_fill(work->before, fill, next_random(state));
    mask_selects(work, &scenario);
    frozen_elements_keep_their_bits(work, &scenario);
    cuts_change_nothing(work, &work->dense, &scenario, state);
    cuts_change_nothing(work, &work->masked, &scenario, state);
    masks_that_choose_nothing(work, &scenario);
}

void suite_laws(void)
{
    static const size_t lengths[] = {5, 100, 1000, 8191};
    const size_t length_count = quick() ? 2 : 4;
    struct work work = {.before = arrays_new(), .expected = arrays_new(), .actual = arrays_new()};
    uint64_t state = 2;
    for (int i = 0; i < combination_count(); i++) {
        work.dense = combination_at(i);
        if (!has_forms(&work.dense))
            continue;
        work.masked = combination_at(++i);
        for (int level = 0; level < hone_cpu_level_count(); level++) {
            work.level = hone_cpu_level_at(level);
            for (int fill = 0; fill < FILL_COUNT; fill++)
                for (size_t k = 0; k < length_count; k++)
                    every_law(&work, (enum fill)fill, lengths[k], &state);
        }
    }
    arrays_free(work.before);
    arrays_free(work.expected);
    arrays_free(work.actual);
}
