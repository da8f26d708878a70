/* SPDX-License-Identifier: Apache-2.0 */
/* Golden numbers of the learning-rate schedules, of gradient clipping and of the loss scale. */
#include "golden_macros.h"

#define VALUES(...) .count = COUNT(NUMBERS(__VA_ARGS__)), .values = NUMBERS(__VA_ARGS__)

const golden_schedule_case golden_schedule_cases[] = {
    {
        .name = "cosine with warmup",
        .schedule = "cosine_with_warmup",
        .base = 1,
        .hypers = HYPERS({"warmup_steps", 2}, {"training_steps", 6}),
        VALUES(0, 0.5, 1, 0.853553390593, 0.5, 0.146446609407, 0, 0, 0),
    },
    {
        .name = "cosine with warmup, rates of calls 1 to 7",
        .schedule = "cosine_with_warmup",
        .base = 1e-3,
        .hypers = HYPERS({"warmup_steps", 2}, {"training_steps", 6}),
        VALUES(0, 0.0005, 0.001, 0.000853553390593, 0.0005, 0.000146446609407, 0),
    },
    {
        .name = "exponential",
        .schedule = "exponential_lr",
        .base = 1e-3,
        .hypers = HYPERS({"gamma", 0.95}),
        VALUES(0.001, 0.00095, 0.0009025, 0.000857375, 0.00081450625),
    },
    {
        .name = "cosine annealing",
        .schedule = "cosine_annealing_lr",
        .base = 1e-3,
        .hypers = HYPERS({"T_max", 4}, {"eta_min", 1e-4}),
        VALUES(0.001, 0.000868198051534, 0.00055, 0.000231801948466, 0.0001, 0.000231801948466,
               0.00055, 0.000868198051534, 0.001),
    },
    {
        .name = "step",
        .schedule = "step_lr",
        .base = 1e-3,
        .hypers = HYPERS({"step_size", 3}, {"gamma", 0.1}),
        VALUES(0.001, 0.001, 0.001, 0.0001, 0.0001, 0.0001, 1e-05, 1e-05, 1e-05),
    },
    {
        .name = "multi-step with a repeated milestone",
        .schedule = "multi_step_lr",
        .base = 1e-3,
        .hypers = HYPERS({"gamma", 0.5}),
        .milestones = (const uint64_t[]){2, 5, 5},
        .milestone_count = 3,
        VALUES(0.001, 0.001, 0.0005, 0.0005, 0.0005, 0.000125, 0.000125, 0.000125, 0.000125),
    },
    {
        .name = "constant",
        .schedule = "constant_lr",
        .base = 1e-3,
        .hypers = HYPERS({"factor", 0.5}, {"total_iters", 3}),
        VALUES(0.0005, 0.0005, 0.0005, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001),
    },
    {
        .name = "linear",
        .schedule = "linear_lr",
        .base = 1e-3,
        .hypers = HYPERS({"start_factor", 0.25}, {"end_factor", 1}, {"total_iters", 4}),
        VALUES(0.00025, 0.0004375, 0.000625, 0.0008125, 0.001, 0.001, 0.001, 0.001, 0.001),
    },
    {
        .name = "polynomial",
        .schedule = "polynomial_lr",
        .base = 1e-3,
        .hypers = HYPERS({"total_iters", 4}, {"power", 0.9}),
        VALUES(0.001, 0.000771889506724, 0.000535886731268, 0.000287174588749, 0, 0, 0, 0, 0),
    },
    {
        .name = "cosine annealing with warm restarts",
        .schedule = "cosine_annealing_warm_restarts",
        .base = 1e-3,
        .hypers = HYPERS({"T_0", 2}, {"T_mult", 2}, {"eta_min", 1e-4}),
        VALUES(0.001, 0.00055, 0.001, 0.000868198051534, 0.00055, 0.000231801948466, 0.001,
               0.00096574578963, 0.000868198051534),
    },
    {
        .name = "cyclic triangular",
        .schedule = "cyclic_lr",
        .mode = "triangular",
        .base = 1e-4,
        .hypers =
            HYPERS({"base_lr", 1e-4}, {"max_lr", 1e-3}, {"step_size_up", 2}, {"step_size_down", 2}),
        VALUES(0.0001, 0.00055, 0.001, 0.00055, 0.0001, 0.00055, 0.001, 0.00055, 0.0001),
    },
    {
        .name = "cyclic triangular2",
        .schedule = "cyclic_lr",
        .mode = "triangular2",
        .base = 1e-4,
        .hypers =
            HYPERS({"base_lr", 1e-4}, {"max_lr", 1e-3}, {"step_size_up", 2}, {"step_size_down", 2}),
        VALUES(0.0001, 0.00055, 0.001, 0.00055, 0.0001, 0.000325, 0.00055, 0.000325, 0.0001),
    },
    {
        .name = "one cycle",
        .schedule = "one_cycle_lr",
        .mode = "cos",
        .base = 4e-5,
        .hypers = HYPERS({"max_lr", 1e-3}, {"total_steps", 8}, {"pct_start", 0.25}),
        VALUES(4e-05, 0.001, 0.000933012969841, 0.000750001, 0.000500002, 0.000250003,
               6.69910301586e-05, 4e-09),
    },
    {
        .name = "reduce on plateau",
        .schedule = "reduce_lr_on_plateau",
        .mode = "min",
        .base = 1e-3,
        .hypers = HYPERS({"factor", 0.1}, {"patience", 1}),
        .metrics = NUMBERS(1, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8),
        VALUES(0.001, 0.001, 0.001, 0.0001, 0.0001, 0.0001, 0.0001, 1e-05),
    },
};
const size_t golden_schedule_count = COUNT(golden_schedule_cases);

const double golden_clip_first[2] = {3, 4};
const double golden_clip_second[1] = {12};

const golden_clip_case golden_clip_cases[] = {
    {"norm 2", 2, 1, 13, NUMBERS(0.230769213018, 0.307692284024, 0.923076852071)},
    {"norm 1", 1, 1, 19, NUMBERS(0.157894728532, 0.210526304709, 0.631578914127)},
    {"norm infinity", INFINITY, 1, 12, NUMBERS(0.249999979167, 0.333333305556, 0.999999916667)},
    {"norm 3", 3, 1, 12.2070549538, NULL},
    {"norm 2 below the limit", 2, 20, 13, NUMBERS(3, 4, 12)},
};
const size_t golden_clip_count = COUNT(golden_clip_cases);

const golden_hyper golden_scaler_hypers[] = {
    {"init_scale", 8}, {"growth_factor", 2}, {"backoff_factor", 0.5}, {"growth_interval", 2},
    {NULL, 0},
};
const golden_scaler_step golden_scaler_steps[] = {
    {false, 8, 1},  {false, 16, 0}, {true, 8, 0},   {false, 8, 1},
    {false, 16, 0}, {false, 16, 1}, {false, 32, 0},
};
const size_t golden_scaler_count = COUNT(golden_scaler_steps);
