/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls that a life is made of, each with arguments drawn from the life's seed and made to both
 * sides. What it must answer is checked where it is made, what it has led to by who compares the sides. */
#ifndef DEVICE_CALLS_H
#define DEVICE_CALLS_H

#include "device/lockstep.h"

/* Call 0 is the step, which no life is without; calls 1 to 3 are those that graphs need. */
enum { CALLS = 33, CALL_STEP = 1 << 0, CALLS_OF_GRAPHS = 7 << 1 };

extern const struct call {
    const char *name;
    void (*run)(struct lockstep *l);
    unsigned weight;  /* how often it comes */
    bool keeps_graph; /* else it ends the subject's graph */
} calls[CALLS];

/* One of them, which starts a life too. */
void calls_add(struct lockstep *l);

#endif
