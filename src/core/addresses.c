/* SPDX-License-Identifier: Apache-2.0 */
/* Where registered parameters lie in memory: their address ranges, sorted, so that a tensor that
 * touches one is found in a few comparisons. */
#include <string.h>

#include "core/optimizer_internal.h"

/* Index of the first range that ends beyond `begin`. */
static int64_t first_range_after(const hone_optimizer *optimizer, uintptr_t begin)
{
    int64_t low = 0, high = optimizer->range_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (optimizer->ranges[middle].end > begin)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int64_t hone_overlapping(const hone_optimizer *optimizer, const void *data, size_t size,
                         int64_t except)
{
    const uintptr_t begin = (uintptr_t)data, end = begin + size;
    for (int64_t i = first_range_after(optimizer, begin);
         i < optimizer->range_count && optimizer->ranges[i].begin < end; i++)
        if (optimizer->ranges[i].param != except)
            return optimizer->ranges[i].param;
    return -1;
}

void hone_range_insert(hone_optimizer *optimizer, const void *data, size_t size, int64_t param)
{
    if (size == 0)
        return;
    const int64_t at = first_range_after(optimizer, (uintptr_t)data);
    struct hone_range *const ranges = optimizer->ranges;
    memmove(ranges + at + 1, ranges + at, sizeof *ranges * (size_t)(optimizer->range_count - at));
    ranges[at] = (struct hone_range){(uintptr_t)data, (uintptr_t)data + size, param};
    optimizer->range_count++;
}

void hone_range_remove(hone_optimizer *optimizer, int64_t param)
{
    for (int64_t i = 0; i < optimizer->range_count; i++)
        if (optimizer->ranges[i].param == param) {
            optimizer->range_count--;
            memmove(optimizer->ranges + i, optimizer->ranges + i + 1,
                    sizeof *optimizer->ranges * (size_t)(optimizer->range_count - i));
            return;
        }
}
