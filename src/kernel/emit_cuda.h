/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA pass: a kernel per direct format combination, variant and form, each walking a list of
 * chunks in device memory, and the table that names them. The arithmetic is rule_element's, as on
 * the CPU; compile with -fmad=false, or the bits differ. */
#ifndef HONE_KERNEL_EMIT_CUDA_H
#define HONE_KERNEL_EMIT_CUDA_H

#include "kernel/device.h"
#include "kernel/element.h"

/* One block, one chunk: a thread takes every HONE_DEVICE_THREADS-th element, so that neighbouring
 * threads touch neighbouring memory and the 32 threads of a warp share a word of the mask. */
RULE_INLINE void rule_block(const struct hone_device_chunk *chunks,
                            const struct hone_scalars *scalars, const struct hone_frame *frame,
                            const struct rule_shape shape, const bool masked)
{
    const struct hone_device_chunk work = chunks[blockIdx.x];
    const struct hone_scalars *const mine = &scalars[work.scalars];
    const struct rule_reals c = rule_reals_round(mine);
    const struct rule_frame f = rule_frame_round(mine, frame);
    for (size_t i = threadIdx.x; i < work.chunk.n; i += blockDim.x) {
        const bool on = masked && (work.chunk.mask[i / 32] >> (i % 32) & 1u) != 0;
        rule_element(&work.chunk, i, on, &c, &f, shape);
    }
}

#define RULE_IS_MASKED_dense false
#define RULE_IS_MASKED_masked true

#define RULE_JOIN_(rule, form, p, g, s, v) hone_##rule##_##form##_##p##_##g##_##s##_v##v##_cuda
#define RULE_JOIN(rule, form, p, g, s, v) RULE_JOIN_(rule, form, p, g, s, v)
#define RULE_LOOP(form, P, G, S, v) RULE_JOIN(RULE, form, P, G, S, v)

#define RULE_EMIT_FORM(form, P, G, S, v)                                                        \
    static __global__ void __launch_bounds__(HONE_DEVICE_THREADS) RULE_LOOP(form, P, G, S, v)(  \
        const struct hone_device_chunk *chunks, const struct hone_scalars *scalars,             \
        const struct hone_frame *frame)                                                         \
    {                                                                                           \
        const struct rule_shape shape = {v, HONE_FORMAT_##P, HONE_FORMAT_##G, HONE_FORMAT_##S}; \
        rule_block(chunks, scalars, frame, shape, RULE_IS_MASKED_##form);                       \
    }
#define RULE_EMIT(P, G, S, v) RULE_EMIT_FORM(dense, P, G, S, v) RULE_EMIT_FORM(masked, P, G, S, v)

/* A row of the table: the variants of one format combination, in order. */
#define RULE_PAIR(P, G, S, v) {RULE_LOOP(dense, P, G, S, v), RULE_LOOP(masked, P, G, S, v)},
#if RULE_OPTIONAL_COUNT == 0
#define RULE_VARIANTS(index, P, G, S) RULE_EMIT(P, G, S, 0)
#define RULE_ROW(index, P, G, S) {RULE_PAIR(P, G, S, 0)},
#elif RULE_OPTIONAL_COUNT == 1
#define RULE_VARIANTS(index, P, G, S) RULE_EMIT(P, G, S, 0) RULE_EMIT(P, G, S, 1)
#define RULE_ROW(index, P, G, S) {RULE_PAIR(P, G, S, 0) RULE_PAIR(P, G, S, 1)},
#else
#define RULE_VARIANTS(index, P, G, S) \
    RULE_EMIT(P, G, S, 0) RULE_EMIT(P, G, S, 1) RULE_EMIT(P, G, S, 2) RULE_EMIT(P, G, S, 3)
#define RULE_ROW(index, P, G, S) \
    {RULE_PAIR(P, G, S, 0) RULE_PAIR(P, G, S, 1) RULE_PAIR(P, G, S, 2) RULE_PAIR(P, G, S, 3)},
#endif

#if HONE_REAL_BITS == 64
#define RULE_DIRECT(X) HONE_DIRECT_F64(X)
#else
#define RULE_DIRECT(X) HONE_DIRECT_F32(X)
#endif

RULE_DIRECT(RULE_VARIANTS)

#define RULE_KERNELS_(rule, type) hone_kernels_##rule##_##type##_cuda
#define RULE_KERNELS(rule, type) RULE_KERNELS_(rule, type)
#define RULE_KERNEL_TABLE RULE_KERNELS(RULE, HONE_REAL_NAME)

/* C++ has no designated array elements: the rows rely on the lists of kernel.h counting from 0. */
extern "C" const struct hone_rule_device_kernels RULE_KERNEL_TABLE;
const struct hone_rule_device_kernels RULE_KERNEL_TABLE = {{RULE_DIRECT(RULE_ROW)}};

#endif
