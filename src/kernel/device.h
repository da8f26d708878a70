/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules compiled for CUDA look like from outside: the list of chunks in device memory that
 * one launch walks, and the tables that name the kernels. */
#ifndef HONE_KERNEL_DEVICE_H
#define HONE_KERNEL_DEVICE_H

#include "kernel/kernel.h"

/* Threads of a block; a block steps one chunk of at most HONE_CHUNK elements. */
#define HONE_DEVICE_THREADS 512

/* A block's work. All pointers are the device's. */
struct hone_device_chunk {
    struct hone_chunk chunk;
    uint64_t scalars; /* index into the launch's array of scalars */
};

/* Launched with as many blocks as there are chunks. All three arguments are in device memory, so
 * that a captured launch replays with new learning rates, step counts and scales. */
typedef void hone_device_kernel_fn(const struct hone_device_chunk *chunks,
                                   const struct hone_scalars *scalars,
                                   const struct hone_frame *frame);

/* The kernels of one rule for one compute type, as hone_rule_kernels names the CPU's: step of an
 * element rule, direction of a matrix rule. */
struct hone_rule_device_kernels {
    hone_device_kernel_fn *step[HONE_MAX_DIRECT][HONE_MAX_VARIANTS][HONE_FORM_COUNT];
    hone_device_kernel_fn *direction[HONE_MAX_VARIANTS];
};

#endif
