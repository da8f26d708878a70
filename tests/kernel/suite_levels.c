/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel at every CPU level gives the bytes of level base, and writes nowhere it should not:
 * rule, compute type, formats, variant, form, length, alignment and fill. */
#include <stdio.h>

#include "kernel_test.h"

static const size_t full_lengths[] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,   18,   19,
    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 63, 64, 65, 1023, 4097, HONE_CHUNK};
static const size_t quick_lengths[] = {0, 1, 3, 8, 17, 33, 65, 130};

struct work {
    struct arrays *before, *expected, *actual;
};

static void run_level(const struct work *work, const struct combination *combination, int level,
                      const struct scenario *scenario, size_t offset, enum fill fill)
{
    const struct hone_cpu_level *const cpu = hone_cpu_level_at(level);
    struct arrays *const result = level == 0 ? work->expected : work->actual;
    arrays_copy(result, work->before);
    const struct hone_chunk chunk = arrays_chunk(result, combination->form);
    combination_kernel(combination, cpu)(&chunk, &scenario->scalars, &scenario->frame);
    char name[LABEL_SIZE], label[LABEL_SIZE + 80];
    combination_label(name, combination);
    snprintf(label, sizeof label, "%s_%s n %zu offset %zu fill %s", name, cpu->name,
             work->before->n, offset, fill_name(fill));
    check_canaries(result, label);
    check_gradient(result, work->before, label);
    if (level > 0)
        check_equal(result, work->expected, label);
}

static void run_length(const struct work *work, const struct combination *combination, size_t n,
                       uint64_t *state)
{
    const int level_count = hone_cpu_level_count();
    for (size_t offset = 0; offset < 4; offset += quick() ? 3 : 1)
        for (int fill = 0; fill < FILL_COUNT; fill++) {
            const struct scenario scenario = scenario_make(combination, next_random(state));
            arrays_place(work->before, &combination->formats, n, offset);
            arrays_fill(work->before, (enum fill)fill, next_random(state));
            for (int level = 0; level < level_count; level++)
                run_level(work, combination, level, &scenario, offset, (enum fill)fill);
        }
}

void suite_levels(void)
{
    const size_t *const lengths = quick() ? quick_lengths : full_lengths;
    const size_t length_count =
        quick() ? sizeof quick_lengths / sizeof *lengths : sizeof full_lengths / sizeof *lengths;
    const struct work work = {arrays_new(), arrays_new(), arrays_new()};
    uint64_t state = 1;
    for (int i = 0; i < combination_count(); i++) {
        const struct combination combination = combination_at(i);
        for (size_t k = 0; k < length_count; k++)
            run_length(&work, &combination, lengths[k], &state);
    }
    arrays_free(work.before);
    arrays_free(work.expected);
    arrays_free(work.actual);
}
