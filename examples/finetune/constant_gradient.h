/* SPDX-License-Identifier: Apache-2.0 */
/* Two weights under one gradient that never changes, one of them masked: here the ratio of their
 * ways must be that of their rates. */
#ifndef FINETUNE_CONSTANT_GRADIENT_H
#define FINETUNE_CONSTANT_GRADIENT_H

#include <stdint.h>

#include <hone/hone.h>

typedef struct constant_ways {
    double masked, unmasked; /* how far each has come */
} constant_ways;

/* `steps` of AdamW at both rates, without decay, in one pass with a mask. */
int constant_one_pass(constant_ways *ways, const hone_context *context, double masked_lr, double lr,
                      int64_t steps);

/* The same wish as two plain AdamW steps on shared states, each with the gradient set to zero where
 * the other rate belongs: the wrong way, for comparison. */
int constant_two_passes(constant_ways *ways, const hone_context *context, double masked_lr,
                        double lr, int64_t steps);

#endif
