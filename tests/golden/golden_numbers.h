/* SPDX-License-Identifier: Apache-2.0 */
/* The golden numbers of hone: for each rule, inputs and the float64 results that every
 * implementation must reach. Plain data, to be iterated by any test that can run a rule by name.
 * They were computed by models outside this repository and printed to 12 significant digits. */
#ifndef GOLDEN_NUMBERS_H
#define GOLDEN_NUMBERS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What float64 results may differ by; Muon, whose products sum in any order, gets more room. */
#define GOLDEN_RELATIVE 5e-12
#define GOLDEN_ABSOLUTE 1e-14
#define GOLDEN_MUON_RELATIVE 1e-10

static inline bool golden_close(double actual, double expected, double relative)
{
    return fabs(actual - expected) <= GOLDEN_ABSOLUTE + relative * fabs(expected);
}

/* Hyperparameters carry PyTorch's names; betas are beta1 and beta2, a flag is 1. Names of our own:
 * clip_power, clip_scale, clip_none and compatibility_2024_11_06 (ADOPT), masked_lr and
 * unmasked_lr. One that is not listed has the rule's default. Lists end with a NULL name. */
typedef struct golden_hyper {
    const char *name;
    double value;
} golden_hyper;

/* ---- dense rules: sgd, adam, adamw, rmsprop, adopt, adamw_tf ---- */

/* A slot ("param" is the parameter itself) after calls first_call .. first_call + calls - 1, one
 * row of n values per call. Calls count from 1. Lists end with a NULL slot. */
typedef struct golden_expectation {
    const char *slot;
    size_t first_call, calls;
    const double *values;
} golden_expectation;

/* Call k uses gradient row (k - 1) % gradient_rows. The mask, where there is one, chooses
 * masked_lr over unmasked_lr per element; the rule's step counter ends at `calls`. */
typedef struct golden_case {
    const char *name, *rule;
    const golden_hyper *hypers;
    size_t n;
    const double *param;
    const bool *mask;
    size_t calls, gradient_rows;
    const double *gradients;
    const golden_expectation *expectations;
} golden_case;

extern const golden_case golden_sgd_cases[];
extern const size_t golden_sgd_count;
extern const golden_case golden_adam_cases[]; /* adam, adamw, masked adamw, adamw_tf */
extern const size_t golden_adam_count;
extern const golden_case golden_rmsprop_cases[];
extern const size_t golden_rmsprop_count;
extern const golden_case golden_adopt_cases[];
extern const size_t golden_adopt_count;

/* The groups above, for a loop over everything dense. */
typedef struct golden_group {
    const golden_case *cases;
    const size_t *count;
} golden_group;

#define GOLDEN_DENSE_GROUPS 4
extern const golden_group golden_dense_groups[GOLDEN_DENSE_GROUPS];

/* ---- rows of a hash table: sparse_adam, sparse_adamw, sparse_adamw_tf ---- */

#define GOLDEN_MAX_WIDTH 2

/* One row's gradient in one micro-step; repeated keys of a micro-step add up. */
typedef struct golden_row_gradient {
    size_t micro_step; /* from 1, ascending */
    int64_t key;
    double values[GOLDEN_MAX_WIDTH];
} golden_row_gradient;

typedef struct golden_row {
    int64_t key;
    double values[GOLDEN_MAX_WIDTH];
} golden_row;

/* A slot of one key after a micro-step. The slots "beta1" and "beta2" are the table's running
 * powers: values[0] counts and key means nothing. Lists end with a NULL slot. */
typedef struct golden_row_expectation {
    size_t micro_step;
    int64_t key;
    const char *slot;
    double values[GOLDEN_MAX_WIDTH];
} golden_row_expectation;

/* The table takes part in every micro-step, also in one that lists no gradient for it. An update
 * is applied after each `accumulate` micro-steps, from the sum of their gradients or, if mean is
 * set, from that sum divided by accumulate. `torch_sparse_adam` marks cases that PyTorch's own
 * SparseAdam must reproduce too. */
typedef struct golden_table_case {
    const char *name, *rule;
    const golden_hyper *hypers;
    size_t width, row_count;
    const golden_row *rows;
    size_t micro_steps, accumulate;
    bool mean, torch_sparse_adam;
    size_t gradient_count;
    const golden_row_gradient *gradients;
    const golden_row_expectation *expectations;
} golden_table_case;

extern const golden_table_case golden_table_cases[];
extern const size_t golden_table_count;

/* ---- Muon ---- */

#define GOLDEN_MUON_CALLS 2

/* Row-major matrices; an expectation that is NULL is not given. Hyperparameter names: lr,
 * weight_decay, momentum, nesterov; coefficients and steps are the defaults. direction is the
 * orthogonalised update. */
typedef struct golden_muon_case {
    const char *name, *adjust_lr_fn;
    const golden_hyper *hypers;
    size_t rows, columns;
    const double *param;
    const double *gradients[GOLDEN_MUON_CALLS];
    const double *expected_param[GOLDEN_MUON_CALLS];
    const double *expected_momentum_buffer[GOLDEN_MUON_CALLS];
    const double *expected_direction[GOLDEN_MUON_CALLS];
} golden_muon_case;

extern const golden_muon_case golden_muon_cases[];
extern const size_t golden_muon_count;

/* The direction of case 0, call 1, with every product rounded to bfloat16, and its relative
 * Frobenius distance to the float64 one; bfloat16 implementations may be 3e-2 away. */
extern const double golden_muon_bfloat16_direction[6];
extern const double golden_muon_bfloat16_distance;

/* ---- schedules ---- */

/* Hyperparameters carry PyTorch's argument names (milestones are listed apart; warmup_steps and
 * training_steps belong to cosine_with_warmup). values[e] is the rate at e = 0, 1, 2, ... from base
 * rate `base`; base 1 gives the multiplier itself. For reduce_lr_on_plateau values[e] is the rate
 * after metrics[e]. */
typedef struct golden_schedule_case {
    const char *name, *schedule, *mode;
    double base;
    const golden_hyper *hypers;
    const uint64_t *milestones;
    size_t milestone_count;
    const double *metrics;
    size_t count;
    const double *values;
} golden_schedule_case;

extern const golden_schedule_case golden_schedule_cases[];
extern const size_t golden_schedule_count;

/* ---- clipping and loss scaling ---- */

/* Two gradients, [3, 4] and [12]; values_after is NULL where none are given. */
typedef struct golden_clip_case {
    const char *name;
    double norm_type, max_norm, total;
    const double *values_after;
} golden_clip_case;

extern const double golden_clip_first[2], golden_clip_second[1];
extern const golden_clip_case golden_clip_cases[];
extern const size_t golden_clip_count;

typedef struct golden_scaler_step {
    bool found_inf;
    double scale;
    uint64_t growth_tracker;
} golden_scaler_step;

/* Initial scale, growth, backoff, interval, then the state after each update. */
extern const golden_hyper golden_scaler_hypers[];
extern const golden_scaler_step golden_scaler_steps[];
extern const size_t golden_scaler_count;

#endif
