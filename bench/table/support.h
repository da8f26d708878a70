/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks of tables share: a clock, an end with a message where something fails, medians,
 * and pseudo-random numbers. */
#ifndef BENCH_TABLE_SUPPORT_H
#define BENCH_TABLE_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include <hone/hone.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds since some moment. */
double bench_now(void);

/* End the program with a message if a call failed or memory is NULL. */
void bench_require(hone_status status, const hone_error *error);
void *bench_demand(void *memory);

/* The median of values, which are put in order. There must be one. */
double bench_median(double *values, size_t count);

/* The next number of a sequence that `state` is the place in, below `limit`. */
uint64_t bench_random(uint64_t *state, uint64_t limit);

/* A context with so many threads, and otherwise defaults. */
hone_context *bench_context(int threads);

#ifdef __cplusplus
}
#endif

#endif
