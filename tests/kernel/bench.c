/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds per element of every kernel at every level, on one chunk in cache: the best of
 * several rounds. For looking at one machine, not for comparing machines. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kernel_test.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double time_kernel(struct arrays *work, const struct arrays *before,
                          const struct combination *combination, const struct hone_cpu_level *level)
{
    enum { ROUNDS = 7, CALLS = 20 };
    const struct scenario scenario = scenario_make(combination, 1);
    double best = HUGE_VAL;
    for (int round = 0; round < ROUNDS; round++) {
        arrays_copy(work, before);
        const struct hone_chunk chunk = arrays_chunk(work, combination->form);
        const double start = now();
        for (int call = 0; call < CALLS; call++)
            combination_kernel(combination, level)(&chunk, &scenario.scalars, &scenario.frame);
        best = fmin(best, (now() - start) / ((double)CALLS * (double)before->n));
    }
    return best;
}

void bench(const char *filter)
{
    struct arrays *const before = arrays_new(), *const work = arrays_new();
    printf("%-44s", "ns per element, one chunk in cache");
    for (int k = 0; k < hone_cpu_level_count(); k++)
        printf("%9s", hone_cpu_level_at(k)->name);
    putchar('\n');
    for (int i = 0; i < combination_count(); i++) {
        const struct combination combination = combination_at(i);
        char name[LABEL_SIZE];
        combination_label(name, &combination);
        if (filter != NULL && strstr(name, filter) == NULL)
            continue;
        arrays_place(before, &combination.formats, HONE_CHUNK, 0);
        arrays_fill(before, FILL_RANDOM, 1);
        printf("%-44s", name);
        for (int k = 0; k < hone_cpu_level_count(); k++)
            printf("%9.3f", time_kernel(work, before, &combination, hone_cpu_level_at(k)));
        putchar('\n');
    }
    arrays_free(before);
    arrays_free(work);
}
