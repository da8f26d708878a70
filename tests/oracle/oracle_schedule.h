/* SPDX-License-Identifier: Apache-2.0 */
/* The learning-rate schedules of the float64 model as closed forms: the value at epoch e, counted
 * from 0, from the base rate and the schedule's own numbers. Optimizer call k uses epoch k - 1. */
#ifndef ORACLE_SCHEDULE_H
#define ORACLE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

double oracle_step_lr(double base, uint64_t step_size, double gamma, uint64_t e);
/* Milestones count with multiplicity and need no order. */
double oracle_multi_step_lr(double base, const uint64_t *milestones, size_t count, double gamma,
                            uint64_t e);
double oracle_constant_lr(double base, double factor, uint64_t total_iters, uint64_t e);
double oracle_linear_lr(double base, double start, double end, uint64_t total_iters, uint64_t e);
double oracle_exponential_lr(double base, double gamma, uint64_t e);
double oracle_polynomial_lr(double base, uint64_t total_iters, double power, uint64_t e);
double oracle_cosine_annealing_lr(double base, double T_max, double eta_min, uint64_t e);
/* Fractional epochs are allowed. */
double oracle_cosine_annealing_warm_restarts(double base, double T_0, double T_mult, double eta_min,
                                             double e);

typedef enum oracle_cyclic_mode {
    ORACLE_TRIANGULAR,
    ORACLE_TRIANGULAR2,
    ORACLE_EXP_RANGE
} oracle_cyclic_mode;

typedef struct oracle_cyclic {
    oracle_cyclic_mode mode;
    double base_lr, max_lr, step_size_up, step_size_down, gamma;
    double base_momentum, max_momentum; /* 0.8 and 0.9 by default */
} oracle_cyclic;

double oracle_cyclic_lr(const oracle_cyclic *cyclic, uint64_t e);
double oracle_cyclic_momentum(const oracle_cyclic *cyclic, uint64_t e);

typedef struct oracle_one_cycle {
    double max_lr, total_steps, pct_start, div_factor, final_div_factor;
    double base_momentum, max_momentum; /* 0.85 and 0.95 by default */
    bool three_phase, linear;
} oracle_one_cycle;

/* 0.3, 25, 1e4, cosine, two phases. */
oracle_one_cycle oracle_one_cycle_default(double max_lr, double total_steps);
/* NaN past the last step, where the library reports an error. */
double oracle_one_cycle_lr(const oracle_one_cycle *cycle, uint64_t e);
double oracle_one_cycle_momentum(const oracle_one_cycle *cycle, uint64_t e);

/* The multiplier of a cosine with linear warmup. clamped holds 0 after the last training step
 * (otherwise the cosine rises again); from_one starts the warmup at 1 / w instead of 0. */
double oracle_cosine_with_warmup(uint64_t warmup_steps, uint64_t training_steps, bool clamped,
                                 bool from_one, uint64_t e);

/* Which scheduler of a sequence is active at e, and its own epoch. Milestones ascend. */
size_t oracle_sequential_index(const uint64_t *milestones, size_t count, uint64_t e,
                               uint64_t *local_epoch);

typedef struct oracle_plateau {
    bool mode_max, threshold_absolute;
    double factor, threshold, min_lr, eps;
    uint64_t patience, cooldown;
    double best;
    uint64_t bad_epochs, cooldown_left;
} oracle_plateau;

oracle_plateau oracle_plateau_create(bool mode_max);
/* The rate after one metric. */
double oracle_plateau_step(oracle_plateau *plateau, double lr, double metric);

#endif
