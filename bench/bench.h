/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmarks: what hone-bench and "hone bench" share. A run gives results, each a time of hone,
 * a time of something it is compared with in the same run, and their ratio. */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include <stdio.h>

#include <hone/hone.h>

typedef struct bench_options {
    int64_t elements;  /* of the large tensor */
    int repetitions;   /* of what takes long; what is short is repeated more often */
    bool whole_models; /* also the shapes of GPT-2 124M, which take 4 GB */
    const char *only;  /* NULL, or a part of the names of the cases to run */
} bench_options;

extern const bench_options bench_full;  /* 64 M elements: the numbers to reach */
extern const bench_options bench_short; /* 16 M: a look */

enum bench_target { BENCH_NO_TARGET, BENCH_AT_LEAST, BENCH_AT_MOST };

typedef struct bench_result {
    char name[64];
    char against[64];                    /* what it is compared with */
    const char *unit;                    /* of the times */
    double time, against_time;           /* medians */
    double ratio, ratio_low, ratio_high; /* median and quartiles over the repetitions */
    const char *ratio_is;                /* "speed" or "time", of hone in units of the other */
    double bytes;                        /* that one step moves; 0: not counted */
    int repetitions;
    enum bench_target target;
    double target_ratio;
} bench_result;

typedef struct bench_results {
    bench_result *list;
    int count, capacity;
    char cpu[16]; /* level of the context */
    int threads;
} bench_results;

/* Runs the cases, with a progress bar on a terminal. */
hone_status bench_run(const bench_options *options, bench_results *results, hone_error *error);
void bench_results_free(bench_results *results);

bool bench_reached(const bench_result *result); /* also true where there is no target */

void bench_print(const bench_results *results, FILE *stream);
void bench_write_json(const bench_results *results, const bench_options *options,
                      const char *command, FILE *stream);

typedef struct bench_machine {
    char cpu[128], system[128], date[32];
    long cores;
    uint64_t memory;
} bench_machine;

void bench_describe_machine(bench_machine *machine);

#endif
