/* SPDX-License-Identifier: Apache-2.0 */
/* How far weights moved, those under a mask and the others apart: medians, means, and how many
 * moved how far. */
#ifndef FINETUNE_MOVEMENT_H
#define FINETUNE_MOVEMENT_H

#include <stdint.h>

/* Distances from 10^MOVEMENT_LOWEST to 1 in tenths of a decade; the ends hold what is beyond. */
enum { MOVEMENT_LOWEST = -8, MOVEMENT_BINS = -10 * MOVEMENT_LOWEST };

enum { UNMASKED, MASKED, N_KINDS };

typedef struct movement {
    int64_t count[N_KINDS];
    double median[N_KINDS], mean[N_KINDS], most[N_KINDS];
    double share[N_KINDS][MOVEMENT_BINS]; /* of the weights of its kind */
} movement;

/* Of `count` distances; masked[i] says of which kind each is. 0, or -1 without memory. */
int movement_measure(movement *result, const float *moved, const uint8_t *masked, int64_t count);

#endif
