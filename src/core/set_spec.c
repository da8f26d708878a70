/* SPDX-License-Identifier: Apache-2.0 */
/* A new recipe for an optimizer that has been running: everything is checked on a copy of the new
 * spec, then the copy takes the old one's place. */
#include "core/device.h"
#include "core/optimizer_internal.h"

/* A state of the library's own that no step has filled yet. */
static bool is_blank(const struct hone_param *param, int state)
{
    return (param->fresh >> state & 1u) != 0 && param->state[state].owner != HONE_CALLER;
}

static bool has_history(const struct hone_param *param)
{
    if (param->step != 0)
        return true;
    bool any = false;
    for (int k = 0; k < HONE_MAX_SLOTS; k++)
        any = any || (param->state[k].data != NULL && !is_blank(param, k));
    return any;
}

/* States are the rule's, so a parameter that has any stays with its rule; and rates are finite. */
static hone_status check_params(const hone_optimizer *optimizer, const hone_spec *spec,
                                hone_error *error)
{
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        const hone_rule *const rule = optimizer->spec->groups[param->group].rule;
        const int group = hone_spec_match(spec, param->name, param->tensor.ndim);
        const hone_rule *const next = spec->groups[group].rule;
        double unused;
        const hone_status status = hone_spec_multiplier(
            spec, group, hone_spec_find_module(spec, param->name), param->name, &unused, error);
        if (status != HONE_OK)
            return status;
        if (rule != next && has_history(param))
            return hone_fail(error, HONE_ERROR_MISMATCH,
                             "parameter \"%.120s\" was stepped by %s; the new recipe would step it "
                             "by %s, which cannot use its states",
                             param->name, rule->name, next->name);
    }
    return HONE_OK;
}

static hone_status check_accumulation(const hone_optimizer *optimizer, const hone_spec *spec,
                                      hone_error *error)
{
    const hone_spec *const own = optimizer->spec;
    if (optimizer->micro_step == 0 ||
        (spec->accumulate == own->accumulate && spec->accumulate_mean == own->accumulate_mean))
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT,
                     "%d of %d gradients wait for their update; finish it before changing the "
                     "number of accumulation steps",
                     optimizer->micro_step, own->accumulate);
}

static hone_status place_schedules(hone_spec *spec, const hone_spec *before, hone_error *error)
{
    for (int g = 0; g < spec->group_count; g++) {
        struct hone_group *const group = &spec->groups[g];
        const hone_status status = g < before->group_count
                                       ? hone_group_resume(group, &before->groups[g], error)
                                       : hone_group_attach(group, error);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

static void drop_state(const hone_optimizer *optimizer, struct hone_param *param, int index)
{
    if (param->state[index].data != NULL)
        hone_state_free(optimizer->context, &param->state[index]);
    param->fresh &= ~(1u << index);
}

void hone_param_drop_precision(const hone_optimizer *optimizer, struct hone_param *param)
{
    const hone_precision precision = optimizer->spec->groups[param->group].precision;
    if (precision != HONE_PRECISION_MASTER)
        drop_state(optimizer, param, HONE_STATE_MASTER);
    if (precision != HONE_PRECISION_KAHAN)
        drop_state(optimizer, param, HONE_STATE_KAHAN);
}

/* Cannot fail. */
static void move_parameters(hone_optimizer *optimizer)
{
    const hone_spec *const spec = optimizer->spec;
    for (int64_t i = 0; i < optimizer->count; i++) {
        struct hone_param *const param = &optimizer->params[i];
        param->group = hone_spec_match(spec, param->name, param->tensor.ndim);
        hone_spec_multiplier(spec, param->group, hone_spec_find_module(spec, param->name),
                             param->name, &param->multiplier, NULL); /* checked above */
        hone_param_drop_precision(optimizer, param);
        for (int k = 0; k < HONE_MAX_SLOTS; k++)
            if (is_blank(param, k)) /* it may get another type, or is of another rule */
                drop_state(optimizer, param, k);
    }
}

hone_status hone_optimizer_set_spec(hone_optimizer *optimizer, const hone_spec *spec,
                                    hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status == HONE_OK && spec == NULL)
        status = hone_fail(error, HONE_ERROR_ARGUMENT, "spec is NULL");
    if (status == HONE_OK)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        status = check_params(optimizer, spec, error);
    if (status == HONE_OK)
        status = check_accumulation(optimizer, spec, error);
    if (status != HONE_OK)
        return status;
    hone_spec *made = NULL;
    status = hone_spec_copy(&made, optimizer->context, spec, error);
    if (status != HONE_OK)
        return status;
    status = place_schedules(made, optimizer->spec, error);
    if (status != HONE_OK) {
        hone_spec_free(made);
        return status;
    }
    hone_spec_free(optimizer->spec);
    optimizer->spec = made;
    move_parameters(optimizer);
    optimizer->plan.valid = false;
    return HONE_OK;
}
