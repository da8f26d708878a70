/* SPDX-License-Identifier: Apache-2.0 */
/* The rates of a recipe's groups over its first steps, as an optimizer made from it would use them. */
#ifndef HONE_CLI_CURVES_H
#define HONE_CLI_CURVES_H

#include <hone/hone.h>

typedef enum curve_kind {
    CURVE_RATE,        /* the learning rate, multiplier included */
    CURVE_MASKED_RATE, /* of elements under a mask */
    CURVE_MOMENTUM,    /* the hyperparameter that a schedule moves against the rate */
    CURVE_KINDS
} curve_kind;

typedef struct curve {
    int group;
    curve_kind kind;
    const char *hyper; /* "lr", "masked_lr", "momentum" or "beta1" */
    const char *name;  /* the same, but a schedule alone moves "momentum" */
    double multiplier;
    double *values; /* one for each step */
    bool same;      /* as an earlier curve of its kind: shown there */
    char *title;    /* "learning rate, cosine_annealing" */
    char *owner;    /* "group 1 (muon: *.weight)", "groups 0, 2"; NULL of a schedule alone */
} curve;

typedef struct curves {
    hone_context *context;
    hone_optimizer *optimizer; /* without parameters */
    bool bare;                 /* made for a schedule alone */
    int64_t steps;
    int64_t epoch_steps; /* steps in an epoch; 0: schedules counted in epochs move with each step */
    const char *unit;    /* what the steps count: "step" or "epoch" */
    curve *list;
    int count;
} curves;

/* Reads a recipe, or a schedule that stands alone (`base` is its rate), from a file; and runs it over
 * steps and epoch_steps as set. Both return 0, or an exit code after a sentence. */
int curves_read(curves *curves, const char *path, double base);
int curves_run(curves *curves);
void curves_end(curves *curves);

/* What moves a curve; NULL: nothing. */
const hone_schedule *curve_schedule(const curves *curves, const curve *curve);

/* Lowest, highest and where the highest is first met. */
typedef struct curve_range {
    double low, high;
    int64_t highest_at;
} curve_range;
curve_range curve_find_range(const curve *curve, int64_t steps);

#endif
