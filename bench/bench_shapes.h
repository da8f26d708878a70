/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of the tensors that the benchmarks step. */
#ifndef HONE_BENCH_SHAPES_H
#define HONE_BENCH_SHAPES_H

#include <stdint.h>

enum { BENCH_GPT2_TENSORS = 148 };

/* The tensors of GPT-2 124M with tied output weights, in the model's order; their sum. */
int64_t bench_gpt2_lengths(int64_t lengths[BENCH_GPT2_TENSORS]);

#endif
