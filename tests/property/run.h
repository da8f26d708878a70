/* SPDX-License-Identifier: Apache-2.0 */
/* One training run through the public functions, described by a struct, so that a law reads "this
 * run and that run end alike". The data are one long row of reals; a run cuts it into parameters.
 */
#ifndef PROPERTY_RUN_H
#define PROPERTY_RUN_H

#include "support/checks.h"
#include "support/numbers.h"
#include "support/random.h"

#define RUN_MAX_HYPERS 16
#define RUN_MAX_SLOTS 4
#define RUN_DEFAULT_DTYPE (-1)

/* What a run is fed: n reals, and n for each of its steps. */
struct run_data {
    size_t n, steps;
    double *start;
    double *grads;
};

/* Plain: normal values of both signs. Special: also zeros, denormals, infinities, NaN, huge and
 * tiny values. */
struct run_data run_data_create(size_t n, size_t steps, uint64_t seed, bool special);
void run_data_free(struct run_data *data);

struct run {
    const hone_context *context; /* NULL: one thread, the default level */
    const hone_rule *rule;
    double value[RUN_MAX_HYPERS], power[RUN_MAX_HYPERS]; /* in the table's order */
    hone_dtype param, grad;
    int slot[RUN_MAX_SLOTS]; /* hone_dtype or RUN_DEFAULT_DTYPE */
    const size_t *pieces;    /* lengths in reals of the parameters, in order; NULL: one */
    size_t piece_count;
    bool backwards;   /* register the last piece first */
    uint32_t missing; /* bit i: step i has no gradient */
    double multiplier;
    double clip_norm, clip_order, clip_value;
    bool clip_outside; /* clip by hone_clip_grad_norm and _value before the step instead */
    bool negate;       /* every gradient */
};

/* The rule's defaults, f32, no clipping. */
struct run run_of_rule(const hone_rule *rule);

/* Sets a hyperparameter by name; false if the rule has none of that name. */
bool run_set(struct run *run, const char *hyper, double value);

/* The whole of `values` into an optimizer's group 0, in an order that no rule's check refuses while
 * the end result is acceptable. False if the rule refuses the combination. */
bool run_apply_hypers(const struct run *run, hone_optimizer *optimizer);

/* Whether the rule accepts the values. */
bool run_is_possible(const struct run *run);

/* What a run ends with: n reals of the parameters, then n of each slot of the rule (a slot that
 * does not exist counts as a value no slot holds). Released with free. */
double *run_end(const struct run *run, const struct run_data *data);
size_t run_end_count(const struct run *run, const struct run_data *data);

/* Fails with the rule, the slot and the element unless both runs end with the same bits. */
void assert_same_end(const char *law, const struct run *a, const struct run *b,
                     const struct run_data *data);

/* A line that names rule and values, for messages. */
const char *run_text(const struct run *run);

/* Calls `visit` with the rule's defaults and with every combination of its flags, at least one
 * condition of each optional slot included. */
typedef void run_visit_fn(const struct run *run, void *user);
void run_each_variant(run_visit_fn *visit, void *user);

/* Calls `visit` with every combination of flags and of several values of each number, for each rule
 * of the registry, as far as the rule accepts it. Quick runs visit one in `quick_stride`. */
void run_each_combination(run_visit_fn *visit, size_t quick_stride, void *user);

#endif
