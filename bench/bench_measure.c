/* SPDX-License-Identifier: Apache-2.0 */
/* Interleaved timing, medians and quartiles. */
#include "bench_measure.h"

#include <stdlib.h>
#include <string.h>

#include "terminal/bar.h"
#include "terminal/text.h"

static double time_one(const bench_contender *contender, int calls)
{
    const double start = bar_now();
    for (int i = 0; i < calls; i++)
        contender->run(contender->user);
    return (bar_now() - start) / calls;
}

void bench_measure(const bench_contender *contenders, int count, int repetitions, const char *label)
{
    bar bar;
    bar_begin(&bar);
    for (int k = 0; k < count; k++)
        time_one(&contenders[k], (contenders[k].calls + 9) / 10);
    for (int r = 0; r < repetitions; r++) {
        bar_show(&bar, label, r, repetitions);
        for (int k = 0; k < count; k++) {
            const bench_contender *const contender = &contenders[(k + r) % count];
            contender->seconds[r] = time_one(contender, contender->calls);
        }
    }
    bar_end(&bar);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two nearest values. */
static double quantile(const double *sorted, int count, double q)
{
    const double place = q * (count - 1);
    const int below = (int)place;
    const int above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

bench_quartiles bench_summarize(const double *values, int count)
{
    const size_t size = (size_t)count * sizeof *values;
    double *const sorted = memcpy(text_allocate(size), values, size);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    const bench_quartiles quartiles = {quantile(sorted, count, 0.25), quantile(sorted, count, 0.5),
                                       quantile(sorted, count, 0.75)};
    free(sorted);
    return quartiles;
}

bench_quartiles bench_summarize_ratios(const double *a, const double *b, int count)
{
    double *const ratios = text_allocate((size_t)count * sizeof *ratios);
    for (int i = 0; i < count; i++)
        ratios[i] = a[i] / b[i];
    const bench_quartiles quartiles = bench_summarize(ratios, count);
    free(ratios);
    return quartiles;
}
