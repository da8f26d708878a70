/* SPDX-License-Identifier: Apache-2.0 */
/* One training run: the model, the text, the optimizer that a recipe describes, and the loop that
 * brings them together. */
#ifndef GPT_TRAINING_H
#define GPT_TRAINING_H

#include "arguments.h"
#include "checkpoint.h"
#include "progress.h"

typedef struct training_options {
    const char *recipe;
    words text;
    const char *out;
    const char *resume; /* a checkpoint's directory, or NULL */
    int64_t steps;
    int64_t save_every;     /* 0: only at the end */
    int64_t evaluate_every; /* steps between losses on held-out text; 0: only at the end */
    int64_t seed;           /* of weights and batches */
} training_options;

typedef struct training {
    const training_options *options;
    char name[64]; /* of the recipe */
    gpt_config config;
    corpus text;
    hone_context *context;
    hone_spec *spec;
    gpt_model *model;
    weights weights;
    hone_optimizer *optimizer;
    uint8_t *inputs, *targets;
    FILE *losses;   /* losses.tsv, one line for every step */
    FILE *held_out; /* held-out.tsv, one line for every evaluation; NULL without any */
    int64_t first, step;
    double *seconds; /* of every step from first on */
    double optimizer_seconds;
} training;

/* Makes everything ready for the first step, from the checkpoint when one is named. Call
 * training_close in any case. */
int training_open(training *run, const training_options *options);

/* Trains up to the last step, saving on the way and at the end. */
int training_run(training *run);

/* Mean loss over the held-out part, in nats per byte. */
double training_held_out_loss(training *run);

/* Writes result.tsv, which has a name and a value on each line. */
int training_write_result(training *run, double held_out_loss);

void training_close(training *run);

#endif
