/* SPDX-License-Identifier: Apache-2.0 */
/* One training on the CPU or on the device under test, described by a struct: rule, formats and
 * everything the frame can do. Two trials that differ in nothing but the place must end with the same
 * bits. */
#ifndef DEVICE_TRIAL_H
#define DEVICE_TRIAL_H

#include <hone/hone.h>

#include "property/run.h"

struct trial {
    struct run run; /* rule, values, formats, clips, multiplier */
    hone_precision precision;
    bool masked;
    double masked_lr;
    int accumulate;
    bool mean;
    bool scaled; /* a loss scaler, and gradients that overflow it at times */
    hone_nonfinite nonfinite;
    bool special;        /* gradients with zeros, denormals, infinities, NaN */
    bool capturable;     /* prepared on the device */
    bool several_groups; /* every second parameter in a group of its own */
    bool mixed;          /* every third parameter stays on the CPU */
    bool resumed;        /* half-way, states and counters move to a new optimizer */
    int steps;
};

struct trial trial_of(const struct run *run);

/* What it ends with: parameters, all states, step counts, the scale and the skipped steps. Released with
 * free. */
double *trial_end(const struct trial *trial, bool on_device, size_t *count);

/* Fails with the law and the place unless CPU and device end alike. */
void trial_check(const char *law, const struct trial *trial);

#endif
