/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_require(hone_status status, const hone_error *error)
{
    if (status == HONE_OK)
        return;
    fprintf(stderr, "bench: %s\n", error->message);
    exit(1);
}

void *bench_demand(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return memory;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

/* Knuth's MMIX generator; its upper bits are the random ones. */
uint64_t bench_random(uint64_t *state, uint64_t limit)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 16) % limit;
}

hone_context *bench_context(int threads)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    hone_context *context = NULL;
    hone_error error;
    bench_require(hone_context_create(&context, &options, &error), &error);
    return context;
}
