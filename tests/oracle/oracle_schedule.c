/* SPDX-License-Identifier: Apache-2.0 */
/* Closed forms of the learning-rate schedules in float64, straight from their definitions. */
#include "oracle_schedule.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static double smaller(uint64_t a, uint64_t b)
{
    return (double)(a < b ? a : b);
}

double oracle_step_lr(double base, uint64_t step_size, double gamma, uint64_t e)
{
    return base * pow(gamma, (double)(e / step_size));
}

double oracle_multi_step_lr(double base, const uint64_t *milestones, size_t count, double gamma,
                            uint64_t e)
{
    unsigned reached = 0;
    for (size_t i = 0; i < count; i++)
        if (milestones[i] <= e)
            reached++;
    return base * pow(gamma, reached);
}

double oracle_constant_lr(double base, double factor, uint64_t total_iters, uint64_t e)
{
    return e < total_iters ? base * factor : base;
}

double oracle_linear_lr(double base, double start, double end, uint64_t total_iters, uint64_t e)
{
    double progress = smaller(total_iters, e) / (double)total_iters;
    return base * (start + (end - start) * progress);
}

double oracle_exponential_lr(double base, double gamma, uint64_t e)
{
    return base * pow(gamma, (double)e);
}

double oracle_polynomial_lr(double base, uint64_t total_iters, double power, uint64_t e)
{
    double progress = smaller(total_iters, e) / (double)total_iters;
    return base * pow(1 - progress, power);
}

double oracle_cosine_annealing_lr(double base, double T_max, double eta_min, uint64_t e)
{
    return eta_min + (base - eta_min) * (1 + cos(pi * (double)e / T_max)) / 2;
}

double oracle_cosine_annealing_warm_restarts(double base, double T_0, double T_mult, double eta_min,
                                             double e)
{
    double length = T_0;
    double position = e;
    while (position >= length) {
        position -= length;
        length *= T_mult;
    }
    return eta_min + (base - eta_min) * (1 + cos(pi * position / length)) / 2;
}

/* Where in its cycle an epoch is: the number of the cycle from 1, and the height from 0 to 1. */
static double cyclic_height(const oracle_cyclic *c, uint64_t e, double *cycle)
{
    double total = c->step_size_up + c->step_size_down;
    double up = c->step_size_up / total;
    *cycle = floor(1 + (double)e / total);
    double x = 1 + (double)e / total - *cycle;
    return x <= up ? x / up : (x - 1) / (up - 1);
}

static double cyclic_damping(const oracle_cyclic *c, uint64_t e, double cycle)
{
    switch (c->mode) {
    case ORACLE_TRIANGULAR2:
        return pow(2, -(cycle - 1));
    case ORACLE_EXP_RANGE:
        return pow(c->gamma, (double)e);
    case ORACLE_TRIANGULAR:
    default:
        return 1;
    }
}

double oracle_cyclic_lr(const oracle_cyclic *cyclic, uint64_t e)
{
    double cycle;
    double height = cyclic_height(cyclic, e, &cycle);
    return cyclic->base_lr +
           (cyclic->max_lr - cyclic->base_lr) * height * cyclic_damping(cyclic, e, cycle);
}

double oracle_cyclic_momentum(const oracle_cyclic *cyclic, uint64_t e)
{
    double cycle;
    double height = cyclic_height(cyclic, e, &cycle);
    return cyclic->max_momentum - (cyclic->max_momentum - cyclic->base_momentum) * height *
                                      cyclic_damping(cyclic, e, cycle);
}

oracle_one_cycle oracle_one_cycle_default(double max_lr, double total_steps)
{
    return (oracle_one_cycle){.max_lr = max_lr,
                              .total_steps = total_steps,
                              .pct_start = 0.3,
                              .div_factor = 25,
                              .final_div_factor = 1e4,
                              .base_momentum = 0.85,
                              .max_momentum = 0.95};
}

/* Interpolates from `from` at epoch `start` to `to` at epoch `end`. */
static double anneal(bool linear, double from, double to, double start, double end, double e)
{
    double progress = (e - start) / (end - start);
    if (linear)
        return from + (to - from) * progress;
    return to + (from - to) / 2 * (cos(pi * progress) + 1);
}

/* The value at e of a quantity that goes low, peak, low, last over the phases of the cycle. */
static double one_cycle_value(const oracle_one_cycle *c, double low, double peak, double last,
                              uint64_t epoch)
{
    double e = (double)epoch;
    double first_end = c->pct_start * c->total_steps - 1;
    double second_end = 2 * c->pct_start * c->total_steps - 2;
    double final_end = c->total_steps - 1;
    if (e > final_end)
        return NAN;
    if (e <= first_end)
        return anneal(c->linear, low, peak, 0, first_end, e);
    if (!c->three_phase)
        return anneal(c->linear, peak, last, first_end, final_end, e);
    if (e <= second_end)
        return anneal(c->linear, peak, low, first_end, second_end, e);
    return anneal(c->linear, low, last, second_end, final_end, e);
}

double oracle_one_cycle_lr(const oracle_one_cycle *cycle, uint64_t e)
{
    double initial = cycle->max_lr / cycle->div_factor;
    double minimum = initial / cycle->final_div_factor;
    return one_cycle_value(cycle, initial, cycle->max_lr, minimum, e);
}

double oracle_one_cycle_momentum(const oracle_one_cycle *cycle, uint64_t e)
{
    return one_cycle_value(cycle, cycle->max_momentum, cycle->base_momentum, cycle->max_momentum,
                           e);
}

double oracle_cosine_with_warmup(uint64_t warmup_steps, uint64_t training_steps, bool clamped,
                                 bool from_one, uint64_t e)
{
    double s = (double)e;
    double w = (double)warmup_steps;
    if (e < warmup_steps)
        return (from_one ? s + 1 : s) / w;
    double span = (double)training_steps - w;
    double progress = (s - w) / (span > 1 ? span : 1);
    if (clamped && progress > 1)
        progress = 1;
    double value = (1 + cos(pi * progress)) / 2;
    return value > 0 ? value : 0;
}

size_t oracle_sequential_index(const uint64_t *milestones, size_t count, uint64_t e,
                               uint64_t *local_epoch)
{
    size_t index = 0;
    *local_epoch = e;
    while (index < count && milestones[index] <= e) {
        *local_epoch = e - milestones[index];
        index++;
    }
    return index;
}

oracle_plateau oracle_plateau_create(bool mode_max)
{
    return (oracle_plateau){.mode_max = mode_max,
                            .factor = 0.1,
                            .threshold = 1e-4,
                            .eps = 1e-8,
                            .patience = 10,
                            .best = mode_max ? -INFINITY : INFINITY};
}

static bool plateau_better(const oracle_plateau *p, double a)
{
    if (p->mode_max)
        return p->threshold_absolute ? a > p->best + p->threshold
                                     : a > p->best * (1 + p->threshold);
    return p->threshold_absolute ? a < p->best - p->threshold : a < p->best * (1 - p->threshold);
}

double oracle_plateau_step(oracle_plateau *plateau, double lr, double metric)
{
    if (plateau_better(plateau, metric)) {
        plateau->best = metric;
        plateau->bad_epochs = 0;
    } else {
        plateau->bad_epochs++;
    }
    if (plateau->cooldown_left > 0) {
        plateau->cooldown_left--;
        plateau->bad_epochs = 0;
    }
    if (plateau->bad_epochs <= plateau->patience)
        return lr;
    plateau->cooldown_left = plateau->cooldown;
    plateau->bad_epochs = 0;
    double lowered = lr * plateau->factor;
    if (lowered < plateau->min_lr)
        lowered = plateau->min_lr;
    return lr - lowered > plateau->eps ? lowered : lr;
}
