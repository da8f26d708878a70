/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules in an optimizer: the rates of all groups at e, all set or none. */
#include <math.h>

#include "core/optimizer_internal.h"
#include "core/schedule_internal.h"

/* ---- a group's rates ------------------------------------------------------------------------ */

static int find_momentum(const hone_rule *rule)
{
    const int momentum = hone_rule_hyper_find(rule, "momentum");
    return momentum >= 0 ? momentum : hone_rule_hyper_find(rule, "beta1");
}

static double lr_of(const struct hone_group *group)
{
    return group->values[hone_rule_hyper_find(group->rule, "lr")].number;
}

bool hone_group_has_schedule(const struct hone_group *group)
{
    return group->schedule != NULL || group->masked_schedule != NULL;
}

/* lr, what follows it, and momentum. */
static void set_rate(struct hone_group *group)
{
    const hone_schedule *const schedule = group->schedule;
    const struct hone_schedule_state *const state = &group->schedule_state;
    const double e = (double)state->e;
    const int lr = hone_rule_hyper_find(group->rule, "lr");
    const double rate = hone_schedule_rate(schedule, state->base, e);
    group->values[lr].number = rate;
    if (!isnan(state->masked_base))
        group->masked_lr = state->base > 0 ? rate * (state->masked_base / state->base)
                                           : hone_schedule_rate(schedule, state->masked_base, e);
    const double momentum = hone_schedule_momentum(schedule, e);
    if (!isnan(momentum))
        group->values[find_momentum(group->rule)].number = momentum;
}

static void set_masked_rate(struct hone_group *group)
{
    const struct hone_schedule_state *const state = &group->masked_state;
    group->masked_lr = hone_schedule_rate(group->masked_schedule, state->base, (double)state->e);
}

hone_status hone_schedule_check_rule(const hone_schedule *schedule, const hone_rule *rule,
                                     hone_error *error)
{
    if (schedule == NULL || isnan(hone_schedule_momentum(schedule, 0)) || find_momentum(rule) >= 0)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_NAME,
                     "the schedule %s moves momentum, which rule %s does not have; set "
                     "cycle_momentum to false",
                     schedule->type->name, rule->name);
}

/* Where a schedule starts. */
static struct hone_schedule_state first_state(const hone_schedule *schedule, double base,
                                              double masked_base)
{
    const bool largest = hone_schedule_argument(schedule, "mode") == 1;
    return (struct hone_schedule_state){
        .base = base, .masked_base = masked_base, .best = largest ? -HUGE_VAL : HUGE_VAL};
}

static hone_status attach_rate(struct hone_group *group, hone_error *error)
{
    const hone_schedule *const schedule = group->schedule;
    const hone_status status = hone_schedule_check_rule(schedule, group->rule, error);
    if (status != HONE_OK || schedule == NULL)
        return status;
    const bool follows = group->masked_schedule == NULL;
    group->schedule_state =
        first_state(schedule, lr_of(group), follows ? group->masked_lr : (double)NAN);
    set_rate(group);
    return HONE_OK;
}

/* The group has one momentum, and it goes with lr. */
static hone_status attach_masked_rate(struct hone_group *group, hone_error *error)
{
    const hone_schedule *const schedule = group->masked_schedule;
    if (schedule == NULL)
        return HONE_OK;
    if (!isnan(hone_schedule_momentum(schedule, 0)))
        return hone_fail(error, HONE_ERROR_NAME,
                         "the schedule %s of masked_lr moves momentum, which goes with lr; set "
                         "cycle_momentum to false",
                         schedule->type->name);
    const double base = isnan(group->masked_lr) ? lr_of(group) : group->masked_lr;
    group->masked_state = first_state(schedule, base, (double)NAN);
    group->schedule_state.masked_base = (double)NAN;
    set_masked_rate(group);
    return HONE_OK;
}

static bool is_masked_rate(const struct hone_group *group)
{
    const double rate = group->masked_lr;
    return isnan(rate) ? group->masked_schedule == NULL : rate >= 0 && isfinite(rate);
}

/* What schedules give has to be what could be set by hand: a rule cannot step with anything else, and
 * a checkpoint of it could not be loaded. */
static hone_status check_given(const struct hone_group *group, hone_error *error)
{
    const hone_rule *const rule = group->rule;
    const int lr = hone_rule_hyper_find(rule, "lr"), momentum = find_momentum(rule);
    hone_status status = HONE_OK;
    if (!hone_group_has_schedule(group))
        return HONE_OK;
    status = hone_rule_check_value(rule, lr, &group->values[lr], "the schedule's lr", error);
    if (status == HONE_OK && momentum >= 0)
        status = hone_rule_check_value(rule, momentum, &group->values[momentum],
                                       "the schedule's momentum", error);
    if (status != HONE_OK)
        return status;
    char found[32];
    if (!is_masked_rate(group))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the schedule's masked_lr is %s; it must be finite and at least 0",
                         hone_format_number(found, group->masked_lr));
    const char *const complaint = rule->check(group->values);
    return complaint == NULL
               ? HONE_OK
               : hone_fail(error, HONE_ERROR_RANGE, "the schedule's values: %s", complaint);
}

hone_status hone_group_attach(struct hone_group *group, hone_error *error)
{
    /* In this order: without a rate of its own the masked one starts from lr's base. */
    hone_status status = attach_masked_rate(group, error);
    if (status == HONE_OK)
        status = attach_rate(group, error);
    return status == HONE_OK ? check_given(group, error) : status;
}

/* Moves a schedule that was just attached to where another one stands. */
static hone_status resume(const hone_schedule *schedule, struct hone_schedule_state *state,
                          const hone_schedule *before,
                          const struct hone_schedule_state *before_state, hone_error *error)
{
    const struct hone_schedule_state first = *state;
    if (schedule == NULL || before == NULL)
        return HONE_OK;
    const bool plateau = hone_schedule_is_plateau(schedule);
    if (plateau != hone_schedule_is_plateau(before))
        return HONE_OK; /* metrics and steps count different things */
    const hone_status status = hone_schedule_check_end(schedule, (double)before_state->e, error);
    if (status != HONE_OK)
        return status;
    *state = *before_state;
    if (!plateau) {
        state->base = first.base;
        state->masked_base = first.masked_base;
    }
    return HONE_OK;
}

hone_status hone_group_resume(struct hone_group *group, const struct hone_group *before,
                              hone_error *error)
{
    hone_status status = hone_group_attach(group, error);
    if (status == HONE_OK)
        status = resume(group->schedule, &group->schedule_state, before->schedule,
                        &before->schedule_state, error);
    if (status == HONE_OK)
        status = resume(group->masked_schedule, &group->masked_state, before->masked_schedule,
                        &before->masked_state, error);
    if (status == HONE_OK && group->schedule != NULL)
        set_rate(group);
    if (status == HONE_OK && group->masked_schedule != NULL)
        set_masked_rate(group);
    return status == HONE_OK ? check_given(group, error) : status;
}

/* masked_lr follows lr again, with the ratio that the two have now. */
static void follow_rate(struct hone_group *group)
{
    const double lr = lr_of(group);
    if (group->schedule != NULL)
        group->schedule_state.masked_base =
            lr > 0 ? group->masked_lr * (group->schedule_state.base / lr) : group->masked_lr;
}

static hone_status set_schedule(hone_optimizer *optimizer, int group, bool masked,
                                const hone_schedule *schedule, hone_error *error)
{
    const hone_status found = hone_check_group(optimizer, group, error);
    if (found != HONE_OK)
        return found;
    struct hone_group *const target = &optimizer->spec->groups[group];
    hone_schedule *copy = NULL;
    hone_status status = HONE_OK;
    if (schedule != NULL)
        status = hone_schedule_copy(&copy, optimizer->context, schedule, error);
    if (status != HONE_OK)
        return status;
    struct hone_group changed = *target;
    hone_schedule *const old = masked ? target->masked_schedule : target->schedule;
    *(masked ? &changed.masked_schedule : &changed.schedule) = copy;
    status = masked ? attach_masked_rate(&changed, error) : attach_rate(&changed, error);
    if (status == HONE_OK)
        status = check_given(&changed, error);
    if (status != HONE_OK) {
        hone_schedule_free(copy);
        return status;
    }
    if (masked && copy == NULL && old != NULL)
        follow_rate(&changed);
    const bool momentum = hone_group_variant(target) != hone_group_variant(&changed);
    hone_schedule_free(old);
    *target = changed;
    optimizer->plan.valid = optimizer->plan.valid && !momentum; /* it has come or gone */
    return HONE_OK;
}

hone_status hone_optimizer_set_schedule(hone_optimizer *optimizer, int group,
                                        const hone_schedule *schedule, hone_error *error)
{
    return set_schedule(optimizer, group, false, schedule, error);
}

hone_status hone_optimizer_set_masked_schedule(hone_optimizer *optimizer, int group,
                                               const hone_schedule *schedule, hone_error *error)
{
    return set_schedule(optimizer, group, true, schedule, error);
}

static const struct hone_group *find_group(const hone_optimizer *optimizer, int group)
{
    return optimizer == NULL || group < 0 || group >= optimizer->spec->group_count
               ? NULL
               : &optimizer->spec->groups[group];
}

const hone_schedule *hone_optimizer_schedule(const hone_optimizer *optimizer, int group)
{
    const struct hone_group *const found = find_group(optimizer, group);
    return found == NULL ? NULL : found->schedule;
}

const hone_schedule *hone_optimizer_masked_schedule(const hone_optimizer *optimizer, int group)
{
    const struct hone_group *const found = find_group(optimizer, group);
    return found == NULL ? NULL : found->masked_schedule;
}

uint64_t hone_optimizer_schedule_count(const hone_optimizer *optimizer, int group)
{
    return hone_optimizer_schedule(optimizer, group) == NULL
               ? 0
               : optimizer->spec->groups[group].schedule_state.e;
}

uint64_t hone_optimizer_masked_schedule_count(const hone_optimizer *optimizer, int group)
{
    return hone_optimizer_masked_schedule(optimizer, group) == NULL
               ? 0
               : optimizer->spec->groups[group].masked_state.e;
}

static bool advances(const hone_schedule *schedule, bool epoch)
{
    return schedule != NULL && schedule->per_epoch == epoch && !hone_schedule_is_plateau(schedule);
}

bool hone_group_advances(const struct hone_group *group, bool epoch)
{
    return advances(group->schedule, epoch) || advances(group->masked_schedule, epoch);
}

void hone_group_advance(struct hone_group *group, bool epoch)
{
    if (advances(group->schedule, epoch)) {
        group->schedule_state.e++;
        set_rate(group);
    }
    if (advances(group->masked_schedule, epoch)) {
        group->masked_state.e++;
        set_masked_rate(group);
    }
}

hone_status hone_group_check_next(const struct hone_group *group, bool epoch, hone_error *error)
{
    hone_status status = HONE_OK;
    if (advances(group->schedule, epoch))
        status =
            hone_schedule_check_end(group->schedule, (double)group->schedule_state.e + 1, error);
    if (status == HONE_OK && advances(group->masked_schedule, epoch))
        status = hone_schedule_check_end(group->masked_schedule, (double)group->masked_state.e + 1,
                                         error);
    if (status != HONE_OK)
        return status;
    struct hone_group next = *group;
    hone_group_advance(&next, epoch);
    return check_given(&next, error);
}

static hone_status advance(hone_optimizer *optimizer, bool epoch, hone_error *error)
{
    if (optimizer == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
    hone_spec *const spec = optimizer->spec;
    hone_status status = HONE_OK;
    bool momentum = false;
    for (int g = 0; g < spec->group_count && status == HONE_OK; g++) {
        struct hone_group next = spec->groups[g];
        status = hone_group_check_next(&next, epoch, error);
        if (status == HONE_OK)
            hone_group_advance(&next, epoch);
        momentum = momentum || hone_group_variant(&next) != hone_group_variant(&spec->groups[g]);
    }
    if (status != HONE_OK)
        return status;
    for (int g = 0; g < spec->group_count; g++)
        hone_group_advance(&spec->groups[g], epoch);
    optimizer->plan.valid = optimizer->plan.valid && !momentum; /* it has come or gone */
    return HONE_OK;
}

hone_status hone_optimizer_schedule_step(hone_optimizer *optimizer, hone_error *error)
{
    return advance(optimizer, false, error);
}

hone_status hone_optimizer_schedule_epoch(hone_optimizer *optimizer, hone_error *error)
{
    return advance(optimizer, true, error);
}

/* The base under which a schedule gives `rate` where it gave `old_rate`. */
static double rescaled(double base, double rate, double old_rate)
{
    if (rate == old_rate)
        return base;
    return old_rate > 0 ? base * (rate / old_rate) : rate;
}

void hone_group_rescale(struct hone_group *group, double old_lr, double old_masked_lr)
{
    const double masked_lr = group->masked_lr;
    const bool anew = isnan(masked_lr) || isnan(old_masked_lr);
    if (group->schedule != NULL) {
        struct hone_schedule_state *const state = &group->schedule_state;
        state->base = rescaled(state->base, lr_of(group), old_lr);
        if (group->masked_schedule == NULL)
            state->masked_base =
                anew ? masked_lr : rescaled(state->masked_base, masked_lr, old_masked_lr);
    }
    if (group->masked_schedule == NULL)
        return;
    if (isnan(masked_lr))
        group->masked_state.base = lr_of(group);
    else
        group->masked_state.base =
            anew ? masked_lr : rescaled(group->masked_state.base, masked_lr, old_masked_lr);
}

/* ---- reduce on plateau ---------------------------------------------------------------------- */

static bool is_better(const hone_schedule *schedule, double metric, double best)
{
    const bool largest = hone_schedule_argument(schedule, "mode") == 1;
    const bool absolute = hone_schedule_argument(schedule, "threshold_mode") == 1;
    const double threshold = hone_schedule_argument(schedule, "threshold");
    if (largest)
        return metric > (absolute ? best + threshold : best * (1 + threshold));
    return metric < (absolute ? best - threshold : best * (1 - threshold));
}

static double reduced(const hone_schedule *schedule, double lr)
{
    const double lower = fmax(lr * hone_schedule_argument(schedule, "factor"),
                              hone_schedule_argument(schedule, "min_lr"));
    return lr - lower > hone_schedule_argument(schedule, "eps") ? lower : lr;
}

/* Whether the rate changed. */
static bool observe(const hone_schedule *schedule, struct hone_schedule_state *state, double metric)
{
    if (schedule == NULL || !hone_schedule_is_plateau(schedule))
        return false;
    if (is_better(schedule, metric, state->best)) {
        state->best = metric;
        state->bad = 0;
    } else {
        state->bad++;
    }
    if (state->cooldown > 0) {
        state->cooldown--;
        state->bad = 0;
    }
    state->e++;
    if ((double)state->bad <= hone_schedule_argument(schedule, "patience"))
        return false;
    const double before = state->base;
    state->base = reduced(schedule, before);
    if (!isnan(state->masked_base) && before > 0)
        state->masked_base *= state->base / before;
    state->cooldown = (uint64_t)hone_schedule_argument(schedule, "cooldown");
    state->bad = 0;
    return true;
}

void hone_group_observe(struct hone_group *group, double metric)
{
    if (observe(group->schedule, &group->schedule_state, metric))
        set_rate(group);
    if (observe(group->masked_schedule, &group->masked_state, metric))
        set_masked_rate(group);
}

hone_status hone_optimizer_schedule_metric(hone_optimizer *optimizer, double metric,
                                           hone_error *error)
{
    if (optimizer == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
    for (int g = 0; g < optimizer->spec->group_count; g++)
        hone_group_observe(&optimizer->spec->groups[g], metric);
    return HONE_OK;
}
