/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts the distances of each kind once; the rest is read off. */
#include "movement.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int bin_of(float distance)
{
    if (!(distance > 0))
        return 0;
    const double place = 10 * (log10((double)distance) - MOVEMENT_LOWEST);
    return place < 0 ? 0 : place >= MOVEMENT_BINS ? MOVEMENT_BINS - 1 : (int)place;
}

static void measure_kind(movement *result, int kind, float *distances, int64_t n)
{
    result->count[kind] = n;
    if (n == 0)
        return;
    qsort(distances, (size_t)n, sizeof *distances, compare_floats);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)distances[i];
        result->share[kind][bin_of(distances[i])] += 1 / (double)n;
    }
    result->median[kind] = ((double)distances[(n - 1) / 2] + (double)distances[n / 2]) / 2;
    result->mean[kind] = sum / (double)n;
    result->most[kind] = (double)distances[n - 1];
}

int movement_measure(movement *result, const float *moved, const uint8_t *masked, int64_t count)
{
    *result = (movement){0};
    float *const distances = malloc((size_t)count * sizeof *distances);
    if (distances == NULL)
        return failure("no memory to sort distances");
    for (int kind = 0; kind < N_KINDS; kind++) {
        int64_t n = 0;
        for (int64_t i = 0; i < count; i++)
            if (masked[i] == kind)
                distances[n++] = moved[i];
        measure_kind(result, kind, distances, n);
    }
    free(distances);
    return 0;
}
