/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers: creation, groups and clipping. Parameters are param.c, gradients grad.c, the step is
 * step.c. */
#include <string.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

hone_status hone_optimizer_create(hone_optimizer **optimizer, const hone_context *context,
                                  const hone_spec *spec, hone_error *error)
{
    if (optimizer == NULL || context == NULL || spec == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         optimizer == NULL ? "optimizer"
                         : context == NULL ? "context"
                                           : "spec");
    hone_optimizer *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "an optimizer");
    made->context = context;
    made->loss_scale = 1;
    hone_status status = hone_spec_copy(&made->spec, context, spec, error);
    for (int g = 0; status == HONE_OK && g < made->spec->group_count; g++)
        status = hone_group_attach(&made->spec->groups[g], error);
    if (status != HONE_OK) {
        hone_spec_free(made->spec);
        hone_release(context, made, sizeof *made);
        return status;
    }
    *optimizer = made;
    return HONE_OK;
}

static void free_param(const hone_context *context, struct hone_param *param)
{
    for (int k = 0; k < HONE_STATE_COUNT; k++)
        hone_state_free(context, &param->state[k]);
    hone_param_set_mask(param, NULL, NULL, NULL, 0, 0);
    hone_string_free(context, param->name);
    hone_release(context, param->shape, sizeof *param->shape * ((size_t)param->tensor.ndim + 1));
}

void hone_optimizer_free(hone_optimizer *optimizer)
{
    if (optimizer == NULL)
        return;
    const hone_context *const context = optimizer->context;
    for (int64_t i = 0; i < optimizer->count; i++)
        free_param(context, &optimizer->params[i]);
    hone_release(context, optimizer->params,
                 sizeof *optimizer->params * (size_t)optimizer->capacity);
    hone_release(context, optimizer->table,
                 sizeof *optimizer->table * (size_t)optimizer->table_size);
    hone_release(context, optimizer->ranges,
                 sizeof *optimizer->ranges * (size_t)optimizer->range_capacity);
    for (size_t i = 0; i < optimizer->block_count; i++)
        hone_state_give_back(context, optimizer->blocks[i].device, optimizer->blocks[i].memory,
                             optimizer->blocks[i].size);
    hone_release(context, optimizer->blocks, sizeof *optimizer->blocks * optimizer->block_capacity);
    hone_plan_free(context, &optimizer->plan);
    hone_devices_free(optimizer);
    hone_spec_free(optimizer->spec);
    hone_release(context, optimizer, sizeof *optimizer);
}

const hone_context *hone_optimizer_context(const hone_optimizer *optimizer)
{
    return optimizer == NULL ? NULL : optimizer->context;
}

const hone_spec *hone_optimizer_spec(const hone_optimizer *optimizer)
{
    return optimizer == NULL ? NULL : optimizer->spec;
}

hone_status hone_check_optimizer(const hone_optimizer *optimizer, hone_error *error)
{
    return optimizer != NULL ? HONE_OK : hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
}

/* ---- groups --------------------------------------------------------------------------------- */

int hone_optimizer_group_count(const hone_optimizer *optimizer)
{
    return hone_spec_group_count(hone_optimizer_spec(optimizer));
}

const hone_rule *hone_optimizer_group_rule(const hone_optimizer *optimizer, int group)
{
    return hone_spec_group_rule(hone_optimizer_spec(optimizer), group);
}

hone_status hone_optimizer_add_group(hone_optimizer *optimizer, const char *rule, int *group,
                                     hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    int added = 0;
    const hone_rule *const found = rule == NULL ? NULL : hone_rule_find(rule);
    if (found != NULL)
        status = hone_schedule_check_rule(optimizer->spec->groups[0].schedule, found, error);
    if (status == HONE_OK)
        status = hone_spec_add_group(optimizer->spec, rule, NULL, &added, error);
    if (status != HONE_OK)
        return status;
    struct hone_group *const made = &optimizer->spec->groups[added];
    if (rule != NULL)
        hone_group_attach(made, NULL); /* checked above */
    optimizer->plan.valid = false;
    if (group != NULL)
        *group = added;
    return HONE_OK;
}

hone_status hone_optimizer_get(const hone_optimizer *optimizer, int group, const char *hyper,
                               double *value, hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    return status != HONE_OK ? status : hone_spec_get(optimizer->spec, group, hyper, value, error);
}

/* What of a group a plan is made for beside its formats: which optional slots exist, and of a matrix rule its
 * choices, which may change what a matrix is, and the steps of its polar factor, which take room on a device. */
static bool is_structural(const struct hone_group *group, const char *hyper, int variant_before)
{
    const int index = hone_rule_hyper_find(group->rule, hyper); /* -1: masked_lr, no rule's */
    return hone_group_variant(group) != variant_before ||
           (index >= 0 && (group->rule->hypers[index].kind == HONE_CHOICE ||
                           (group->rule->matrix && strcmp(hyper, "ns_steps") == 0)));
}

hone_status hone_optimizer_set(hone_optimizer *optimizer, int group, const char *hyper,
                               double value, hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    const hone_spec *const spec = optimizer->spec;
    const int before =
        group >= 0 && group < spec->group_count ? hone_group_variant(&spec->groups[group]) : 0;
    status = hone_spec_set(optimizer->spec, group, hyper, value, error);
    if (status == HONE_OK && is_structural(&spec->groups[group], hyper, before))
        optimizer->plan.valid = false;
    return status;
}

hone_status hone_optimizer_set_curve(hone_optimizer *optimizer, int group, const char *hyper,
                                     double scale, double power, hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    return status != HONE_OK
               ? status
               : hone_spec_set_curve(optimizer->spec, group, hyper, scale, power, error);
}

hone_status hone_check_group(const hone_optimizer *optimizer, int group, hone_error *error)
{
    if (optimizer == NULL)
        return hone_check_optimizer(optimizer, error);
    if (group >= 0 && group < optimizer->spec->group_count)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT, "group %d does not exist; there are %d", group,
                     optimizer->spec->group_count);
}

hone_status hone_optimizer_set_curve_callback(hone_optimizer *optimizer, int group,
                                              const char *hyper, hone_curve_fn *curve, void *user,
                                              hone_error *error)
{
    const hone_status status = hone_check_group(optimizer, group, error);
    if (status != HONE_OK)
        return status;
    if (hyper == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the name of a curve is NULL");
    struct hone_group *const g = &optimizer->spec->groups[group];
    const int index = hone_rule_hyper_find(g->rule, hyper);
    if (index < 0 || g->rule->hypers[index].kind != HONE_CURVE)
        return hone_fail(error, HONE_ERROR_NAME, "%s has no curve named \"%s\"", g->rule->name,
                         hyper);
    g->values[index].callback = curve;
    g->values[index].user = user;
    return HONE_OK;
}

/* States that no step has filled are made again, in the type that holds by then. */
static void drop_fresh_states(hone_optimizer *optimizer, int group)
{
    for (int64_t i = 0; i < optimizer->count; i++) {
        struct hone_param *const param = &optimizer->params[i];
        for (int k = 0; param->group == group && k < HONE_STATE_COUNT; k++)
            if ((param->fresh >> k & 1u) != 0 && param->state[k].owner != HONE_CALLER) {
                hone_state_free(optimizer->context, &param->state[k]);
                param->fresh &= ~(1u << k);
            }
    }
    optimizer->plan.valid = false;
}

hone_status hone_optimizer_set_state_dtype(hone_optimizer *optimizer, int group, const char *slot,
                                           hone_dtype dtype, hone_error *error)
{
    const hone_status status = hone_check_group(optimizer, group, error);
    if (status != HONE_OK)
        return status;
    struct hone_group *const g = &optimizer->spec->groups[group];
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(dtype, &format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "a state cannot be stored as %s; F32, F64, BF16 and F16 are possible",
                         hone_dtype_name(dtype));
    const int only = slot == NULL ? -1 : hone_rule_slot_find(g->rule, slot);
    if (slot != NULL && only < 0)
        return hone_fail(error, HONE_ERROR_NAME, "%s has no state named \"%s\"", g->rule->name,
                         slot);
    const hone_status settled = hone_devices_take_counters(optimizer, error);
    if (settled != HONE_OK)
        return settled;
    for (int k = 0; k < g->rule->slot_count; k++)
        if (only < 0 || k == only)
            g->state_dtype[k] = (int)dtype;
    drop_fresh_states(optimizer, group);
    return HONE_OK;
}

hone_status hone_optimizer_set_coefficients(hone_optimizer *optimizer, int group,
                                            const double (*triples)[3], int count,
                                            hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    return status == HONE_OK
               ? hone_spec_set_coefficients(optimizer->spec, group, triples, count, error)
               : status;
}

hone_status hone_optimizer_set_precision(hone_optimizer *optimizer, int group,
                                         hone_precision precision, hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status == HONE_OK)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        status = hone_spec_set_precision(optimizer->spec, group, precision, error);
    if (status != HONE_OK)
        return status;
    for (int64_t i = 0; i < optimizer->count; i++)
        if (optimizer->params[i].group == group)
            hone_param_drop_precision(optimizer, &optimizer->params[i]);
    optimizer->plan.valid = false;
    return HONE_OK;
}

hone_status hone_optimizer_set_grad_accum_steps(hone_optimizer *optimizer, int steps, bool mean,
                                                hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    if (steps < 1)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the number of accumulation steps is %d; it must be at least 1", steps);
    if (optimizer->micro_step != 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%d of %d gradients wait for their update; finish it before changing the "
                         "number of accumulation steps",
                         optimizer->micro_step, optimizer->spec->accumulate);
    optimizer->spec->accumulate = steps;
    optimizer->spec->accumulate_mean = mean;
    optimizer->plan.valid = false;
    return HONE_OK;
}

void hone_param_set_mask(struct hone_param *param, const uint32_t *words, void *owner,
                         void (*release)(void *owner), uint64_t hash, uint64_t masked_count)
{
    if (param->mask_release != NULL)
        param->mask_release(param->mask_owner);
    if (param->device_mask.data != NULL)
        hone_state_free(NULL, &param->device_mask); /* the device knows its context */
    param->mask = words;
    param->mask_owner = owner;
    param->mask_release = release;
    param->mask_hash = hash;
    param->masked_count = masked_count;
}

/* ---- clipping ------------------------------------------------------------------------------- */

hone_status hone_optimizer_clip_norm(hone_optimizer *optimizer, double max_norm, double p,
                                     hone_nonfinite policy, hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    if (!(max_norm > 0))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "max_norm is %g; it must be above 0 (infinity: no clipping)", max_norm);
    if (!(p >= 1))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the norm's order p is %g; it must be at least 1 (infinity: the maximum)",
                         p);
    if (policy < HONE_NONFINITE_PROPAGATE || policy > HONE_NONFINITE_SKIP)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "policy %d is none of hone_nonfinite",
                         (int)policy);
    optimizer->spec->clip_norm = max_norm;
    optimizer->spec->clip_norm_type = p;
    optimizer->spec->nonfinite = policy;
    return HONE_OK;
}

hone_status hone_optimizer_clip_value(hone_optimizer *optimizer, double limit, hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    if (!(limit > 0))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the clip value is %g; it must be above 0 (infinity: no clipping)", limit);
    optimizer->spec->clip_value = limit;
    return HONE_OK;
}
