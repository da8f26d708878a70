/* SPDX-License-Identifier: Apache-2.0 */
/* Edit distance with swaps of neighbours, over names of moderate length. */
#include "nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 255 }; /* longer names are compared by their beginnings */

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int rows[3][LONGEST + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            const int swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped)
                row[j] = least(row[j], before[j - 2] + 1);
        }
        int *const oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_length];
}

static size_t limited_length(const char *name)
{
    const size_t length = strlen(name);
    return length < LONGEST ? length : LONGEST;
}

const char *nearest_name(const char *name, const char *const *names, int64_t count)
{
    const size_t length = limited_length(name);
    const char *best = NULL;
    int best_distance = (int)(length < 6 ? 2 : length / 3) + 1;
    for (int64_t i = 0; i < count; i++) {
        const size_t other = limited_length(names[i]);
        const size_t gap = other > length ? other - length : length - other;
        if (gap >= (size_t)best_distance)
            continue;
        const int d = distance(name, length, names[i], other);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}
