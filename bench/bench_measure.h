/* SPDX-License-Identifier: Apache-2.0 */
/* Timing things against each other: each repetition runs all of them, in turning order, so that a
 * machine that changes its mind changes it for all. */
#ifndef HONE_BENCH_MEASURE_H
#define HONE_BENCH_MEASURE_H

typedef struct bench_contender {
    void (*run)(void *user);
    void *user;
    int calls;       /* of run, in one repetition */
    double *seconds; /* one call's, per repetition; room for all repetitions */
} bench_contender;

/* Runs each once to warm up, then `repetitions` rounds. `label` is for the progress bar. */
void bench_measure(const bench_contender *contenders, int count, int repetitions,
                   const char *label);

typedef struct bench_quartiles {
    double low, median, high;
} bench_quartiles;

bench_quartiles bench_summarize(const double *values, int count);

/* Of a[i] / b[i]. */
bench_quartiles bench_summarize_ratios(const double *a, const double *b, int count);

#endif
