/* SPDX-License-Identifier: Apache-2.0 */
/* Steps a chunk whose formats have no direct loop: tile by tile through the compute type. */
#ifndef HONE_KERNEL_STAGE_H
#define HONE_KERNEL_STAGE_H

#include "kernel/kernel.h"

struct hone_stage {
    const struct hone_support_kernels *support;
    hone_kernel_fn *kernel; /* the all-f32 or all-f64 loop of the same variant and form */
    enum hone_format param, grad, slot[HONE_MAX_SLOTS];
    int slot_count;
    enum hone_extra extra; /* of 16-bit parameters and their masters only */
    enum hone_format cast; /* of the caller's tensor beside a master */
    bool random_slots;     /* 16-bit slots are rounded at random, too; where sums are in float */
};

void hone_stage_step(const struct hone_stage *stage, const struct hone_chunk *chunk,
                     const struct hone_scalars *scalars, const struct hone_frame *frame);

/* A matrix rule's direction, through the same tile: `kernel` is its direction loop, and `direction`
 * receives the chunk's directions in the compute type. The parameter is read, not written. */
void hone_stage_direction(const struct hone_stage *stage, const struct hone_chunk *chunk,
                          const struct hone_scalars *scalars, const struct hone_frame *frame,
                          void *direction);

#endif
