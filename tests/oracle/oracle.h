/* SPDX-License-Identifier: Apache-2.0 */
/* The independent float64 model of hone's update rules. It is written from the formulas alone and
 * shares no text with the library, so that a wrong formula cannot agree with itself. Per-element
 * loops, libm, no speed: a test links it beside the library and compares numbers. */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every hyperparameter of every rule; each rule reads the ones it has and ignores the others. */
typedef struct oracle_options {
    double lr, beta1, beta2, eps, weight_decay;
    double momentum, dampening, alpha;
    bool nesterov, amsgrad, centered, decouple, maximize;

    /* ADOPT clips its normalised gradient to clip_scale * s^clip_power, s completed calls before
     * this one; a power of 0 is a constant clip, clip_none switches it off. */
    double clip_power, clip_scale;
    bool clip_none;
    /* ADOPT as its authors published it until November 2024, for old checkpoints only. */
    bool compatibility_2024_11_06;

    /* Both are multiplied onto the gradient, in this order around the sign flip; 1 means none.
     * grad_scale is the inverse of a loss scaler's scale. */
    double grad_scale, clip_coef;
    /* A call that is told of non-finite gradients changes nothing, counters included. */
    bool found_inf;

    /* Two rates: element i uses masked_lr where mask[i], else unmasked_lr, instead of lr. A missing
     * mask is all false. A rate of exactly 0 leaves its elements' bits alone (moments still run).
     * Here this holds for every rule, not only for AdamW. */
    bool two_rates;
    double masked_lr, unmasked_lr;
} oracle_options;

/* PyTorch's defaults of one rule, no clip coefficient, no loss scale, one rate. */
oracle_options oracle_default_options(const char *rule);

/* Sets one hyperparameter by its field name; true values are any non-zero number. Setting masked_lr
 * or unmasked_lr also switches two_rates on. False if there is no such name. */
bool oracle_set_option(oracle_options *options, const char *name, double value);

/* One parameter of n elements with every slot any rule may need, zeroed; `step` counts completed
 * calls (also for SGD, which has no such slot). */
typedef struct oracle_state {
    size_t n;
    uint64_t step;
    bool has_momentum_buffer; /* SGD copies its first gradient instead of damping it */
    double *param;
    double *exp_avg, *exp_avg_sq, *max_exp_avg_sq;
    double *momentum_buffer, *square_avg, *grad_avg;
} oracle_state;

/* A state that owns its arrays; param is copied. Freed by oracle_state_free. */
oracle_state *oracle_state_create(size_t n, const double *param);
void oracle_state_free(oracle_state *state);

/* The array of a slot by PyTorch's slot name, or "param"; NULL for an unknown name. */
double *oracle_slot(oracle_state *state, const char *slot);

/* Rules of oracle_step: "sgd" "adam" "adamw" "rmsprop" "adopt" "adamw_tf". */
bool oracle_knows_rule(const char *rule);

/* One call of a dense rule. A NULL gradient is a missing one: nothing happens. mask may be NULL.
 * Aborts on an unknown rule, because a test that asks for one is broken. */
void oracle_step(const char *rule, const oracle_options *options, oracle_state *state,
                 const double *grad, const bool *mask);

/* torch.optim.SparseAdam: `count` entries (flat position, value), repeated positions add up; only
 * the elements present are touched, the counter advances even if none is. */
void oracle_torch_sparse_adam(const oracle_options *options, oracle_state *state, size_t count,
                              const size_t *positions, const double *values);

/* The rows of one hash table under "sparse_adam", "sparse_adamw" or "sparse_adamw_tf". */
typedef struct oracle_table {
    size_t rows, width;
    uint64_t step;
    double beta1_power, beta2_power; /* running products, 1 before the first applied step */
    double *param, *exp_avg, *exp_avg_sq;
    double *pending; /* gradients summed since the last apply */
    bool *touched;   /* rows that have a pending gradient */
} oracle_table;

oracle_table *oracle_table_create(size_t rows, size_t width, const double *param);
void oracle_table_free(oracle_table *table);

/* Rows x width of "param", "exp_avg" or "exp_avg_sq"; one number of "beta1" or "beta2" (the
 * powers); NULL for an unknown name. */
double *oracle_table_slot(oracle_table *table, const char *slot);

/* Adds one gradient row; row -1 (an absent id) is skipped. */
void oracle_table_add(oracle_table *table, int64_t row, const double *grad);

/* Applies and clears what was added. Powers and step advance even when no row was touched. Mean
 * accumulation over n micro-steps is grad_scale = 1 / n. Aborts on an unknown rule. */
void oracle_table_apply(const char *rule, const oracle_options *options, oracle_table *table);

/* The p-norm of all entries of `count` arrays, p > 0 or infinity; 0 without entries. */
double oracle_total_norm(double p, size_t count, const double *const *arrays, const size_t *sizes);

/* min(max_norm / (total + 1e-6), 1), a NaN total giving NaN. */
double oracle_clip_coefficient(double total_norm, double max_norm);

/* Clamps to [-limit, limit] in place; NaN stays NaN. */
void oracle_clip_value(size_t n, double *grad, double limit);

/* The loss scale and what moves it. */
typedef struct oracle_scaler {
    double scale, growth_factor, backoff_factor;
    uint64_t growth_interval, growth_tracker;
} oracle_scaler;

oracle_scaler oracle_scaler_create(void); /* PyTorch's defaults */
void oracle_scaler_update(oracle_scaler *scaler, bool found_inf);

/* The factor that undoes the scale: its inverse, rounded once to float32. */
double oracle_scaler_inverse(const oracle_scaler *scaler);

#endif
