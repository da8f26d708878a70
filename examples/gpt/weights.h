/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters as a recipe wants them stored: the model's own floats, or bfloat16 beside them. The
 * model computes in float either way; of bfloat16 it sees the rounded values. */
#ifndef GPT_WEIGHTS_H
#define GPT_WEIGHTS_H

#include "model.h"

#include <hone/hone.h>

typedef struct weights {
    gpt_model *model;
    uint16_t **half; /* of each tensor its bfloat16 values; NULL where it stays float */
    int count;
} weights;

/* Tensors whose group keeps something beside 16-bit parameters ("precision": "master", "kahan" or
 * "stochastic") are rounded to bfloat16. -1 after a sentence; weights_free is right then too. */
int weights_create(weights *all, gpt_model *model, const hone_spec *spec);
void weights_free(weights *all);

/* A tensor as it is stored: what the optimizer steps and a checkpoint holds. */
hone_tensor weights_view(const weights *all, int index);

/* Lets the model see what has been stepped or loaded. */
void weights_publish(const weights *all);

#endif
