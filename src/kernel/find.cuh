/* SPDX-License-Identifier: Apache-2.0 */
/* How a block of a launch finds its tensor. */
#ifndef HONE_KERNEL_FIND_CUH
#define HONE_KERNEL_FIND_CUH

#include <stdint.h>

/* The last tensor whose first chunk is not after `chunk`, by a warp: each round looks at 32 tensors
 * at once, so a thousand take two rounds and a million four. No tensor of the list is empty. */
static __device__ __forceinline__ uint32_t hone_find_tensor(const uint32_t *first, uint32_t count,
                                                            uint32_t chunk)
{
    const uint32_t lane = threadIdx.x % 32;
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        const uint32_t step = (high - low + 31) / 32;
        const uint32_t mine = low + lane * step;
        const bool before = mine < high && first[mine] <= chunk;
        const uint32_t found = __popc(__ballot_sync(0xffffffffu, before)) - 1;
        low += found * step;
        high = low + step < high ? low + step : high;
    }
    return low;
}

#endif
