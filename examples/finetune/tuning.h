/* SPDX-License-Identifier: Apache-2.0 */
/* The model with its two texts: training it on either, finding the weights that the new text pulls
 * at most, and going back to where it was. */
#ifndef FINETUNE_TUNING_H
#define FINETUNE_TUNING_H

#include "arguments.h"
#include "data.h"
#include "model.h"

#include <hone/hone.h>

enum { FIRST_TEXT, NEW_TEXT, N_TEXTS };
enum { TUNING_POINTS = 11 }; /* where a run's losses are measured: at its start and every tenth */

typedef struct tuner {
    gpt_config config;
    gpt_model *model;
    hone_context *context;
    corpus texts[N_TEXTS];
    uint8_t *inputs, *targets;
    hone_mask_set *masks; /* one for every tensor; NULL before tuner_choose_weights */
    int64_t count;        /* of all weights, which stand tensor after tensor in what follows */
    float *kept;          /* the weights that tuner_restore brings back */
    uint8_t *masked;      /* 1 where a mask is true */
} tuner;

typedef struct tuning_plan {
    const char *label;
    const char *recipe; /* a hone spec in JSON */
    int text;
    bool masked; /* with the tuner's masks */
    int64_t steps;
} tuning_plan;

typedef struct tuning_run {
    tuning_plan plan;
    int64_t steps[TUNING_POINTS];          /* done at each point */
    double losses[TUNING_POINTS][N_TEXTS]; /* held-out, in nats per byte */
    int points;
    float *moved; /* per weight, from first to last: the absolute difference */
} tuning_run;

/* Every failure has been reported when a function returns -1. Call tuner_close in any case. */
int tuner_open(tuner *all, const words texts[N_TEXTS], int64_t seed);
void tuner_close(tuner *all);

/* Remembers the weights as they are; goes back to them. */
void tuner_keep(tuner *all);
void tuner_restore(tuner *all);

/* Masks of the `fraction` of each tensor's weights whose gradient, summed over a few batches of the
 * new text, is largest. */
int tuner_choose_weights(tuner *all, double fraction);

/* Trains from the weights as they are; release with tuning_run_free. */
int tuner_train(tuner *all, const tuning_plan *plan, tuning_run *run);
void tuning_run_free(tuning_run *run);

#endif
