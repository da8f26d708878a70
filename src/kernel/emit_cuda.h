/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA pass: a kernel per direct format combination, variant and form, each walking a list of
 * chunks in device memory, and the table that names them. The arithmetic is rule_element's, as on
 * the CPU; compile with -fmad=false, or the bits differ. */
#ifndef HONE_KERNEL_EMIT_CUDA_H
#define HONE_KERNEL_EMIT_CUDA_H

#include "kernel/device.h"
#include "kernel/element.h"

/* One block, one chunk: a thread takes every blockDim.x-th element, so that neighbouring threads
 * touch neighbouring memory and the 32 threads of a warp share a word of the mask. */
RULE_INLINE void rule_block(const struct hone_chunk *chunk, const struct rule_reals *c,
                            const struct rule_frame *f, const struct rule_shape shape,
                            const bool masked)
{
    for (size_t i = threadIdx.x; i < chunk->n; i += blockDim.x) {
        const bool on = masked && (chunk->mask[i / 32] >> (i % 32) & 1u) != 0;
        rule_element(chunk, i, on, c, f, shape);
    }
}

/* The same in front of a matrix rule. */
RULE_INLINE void rule_block_direction(const struct hone_chunk *chunk, const struct rule_reals *c,
                                      const struct rule_frame *f, const struct rule_shape shape)
{
    for (size_t i = threadIdx.x; i < chunk->n; i += blockDim.x)
        rule_element_direction(chunk, i, c, f, shape);
}

/* A kernel's head, and this block's work in registers. */
#define RULE_GLOBAL(name)                                                            \
    static __global__ void __launch_bounds__(HONE_DEVICE_THREADS)                    \
        name(const struct hone_device_chunk *chunks, const struct hone_scalars *all, \
             const struct hone_frame *frame)
#define RULE_THIS_BLOCK                                            \
    const struct hone_device_chunk work = chunks[blockIdx.x];      \
    const struct hone_scalars *const scalars = all + work.scalars; \
    const struct rule_reals c = rule_reals_round(scalars);         \
    const struct rule_frame f = rule_frame_round(scalars, frame);

#define RULE_IS_MASKED_dense false
#define RULE_IS_MASKED_masked true

#define RULE_JOIN_(rule, form, p, g, s, extra, v) \
    hone_##rule##_##form##_##p##_##g##_##s##_##extra##_v##v##_cuda
#define RULE_JOIN(rule, form, p, g, s, extra, v) RULE_JOIN_(rule, form, p, g, s, extra, v)
#define RULE_LOOP(form, P, G, S, E, v) RULE_JOIN(RULE, form, P, G, S, E, v)

#define RULE_EMIT_FORM(form, P, G, S, E, X, v)                         \
    RULE_GLOBAL(RULE_LOOP(form, P, G, S, E, v))                        \
    {                                                                  \
        RULE_THIS_BLOCK                                                \
        const struct rule_shape shape = {v,                            \
                                         HONE_FORMAT_##P,              \
                                         HONE_FORMAT_##G,              \
                                         HONE_FORMAT_##S,              \
                                         HONE_EXTRA_##E,               \
                                         HONE_FORMAT_##X};             \
        rule_block(&work.chunk, &c, &f, shape, RULE_IS_MASKED_##form); \
    }
#define RULE_EMIT(P, G, S, E, X, v) \
    RULE_EMIT_FORM(dense, P, G, S, E, X, v) RULE_EMIT_FORM(masked, P, G, S, E, X, v)

/* A row of the table: the variants of one format combination, in order. */
#define RULE_PAIR(P, G, S, E, v) \
    {RULE_LOOP(dense, P, G, S, E, v), RULE_LOOP(masked, P, G, S, E, v)},
#if RULE_OPTIONAL_COUNT == 0
#define RULE_VARIANTS(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 0)
#define RULE_ROW(index, P, G, S, E, X) {RULE_PAIR(P, G, S, E, 0)},
#elif RULE_OPTIONAL_COUNT == 1
#define RULE_VARIANTS(index, P, G, S, E, X) RULE_EMIT(P, G, S, E, X, 0) RULE_EMIT(P, G, S, E, X, 1)
#define RULE_ROW(index, P, G, S, E, X) {RULE_PAIR(P, G, S, E, 0) RULE_PAIR(P, G, S, E, 1)},
#else
#define RULE_VARIANTS(index, P, G, S, E, X) \
    RULE_EMIT(P, G, S, E, X, 0)             \
    RULE_EMIT(P, G, S, E, X, 1) RULE_EMIT(P, G, S, E, X, 2) RULE_EMIT(P, G, S, E, X, 3)
#define RULE_ROW(index, P, G, S, E, X)                                          \
    {RULE_PAIR(P, G, S, E, 0) RULE_PAIR(P, G, S, E, 1) RULE_PAIR(P, G, S, E, 2) \
         RULE_PAIR(P, G, S, E, 3)},
#endif

#if HONE_REAL_BITS == 64
#define RULE_DIRECT(X) HONE_DIRECT_F64(X)
#define RULE_FORMAT HONE_FORMAT_F64
#else
#define RULE_DIRECT(X) HONE_DIRECT_F32(X)
#define RULE_FORMAT HONE_FORMAT_F32
#endif

#define RULE_KERNELS_(rule, type) hone_kernels_##rule##_##type##_cuda
#define RULE_KERNELS(rule, type) RULE_KERNELS_(rule, type)
#define RULE_KERNEL_TABLE RULE_KERNELS(RULE, HONE_REAL_NAME)

extern "C" const struct hone_rule_device_kernels RULE_KERNEL_TABLE;

#if defined(RULE_MATRIX)

#define RULE_DIRECTION_LOOP_(rule, type) hone_##rule##_direction_##type##_cuda
#define RULE_DIRECTION_LOOP(rule, type) RULE_DIRECTION_LOOP_(rule, type)
#define RULE_DIRECTION_NAME RULE_DIRECTION_LOOP(RULE, HONE_REAL_NAME)

RULE_GLOBAL(RULE_DIRECTION_NAME)
{
    RULE_THIS_BLOCK
    const struct rule_shape shape = {0,           RULE_FORMAT,     RULE_FORMAT,
                                     RULE_FORMAT, HONE_EXTRA_NONE, RULE_FORMAT};
    rule_block_direction(&work.chunk, &c, &f, shape);
}

const struct hone_rule_device_kernels RULE_KERNEL_TABLE = {{}, {RULE_DIRECTION_NAME}};

#else

RULE_DIRECT(RULE_VARIANTS)

/* C++ has no designated array elements: the rows rely on the lists of kernel.h counting from 0. */
const struct hone_rule_device_kernels RULE_KERNEL_TABLE = {{RULE_DIRECT(RULE_ROW)}, {}};

#endif

#endif
