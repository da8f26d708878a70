/* SPDX-License-Identifier: Apache-2.0 */
/* The step: per-step scalars in double, then one parallel region over the plan's chunks. A norm,
 * when asked for, is a first sweep over the gradients inside the same region. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/optimizer_internal.h"

/* Below this many elements a second thread costs more than it saves. */
#define ELEMENTS_PER_THREAD 16384

/* ---- scalars -------------------------------------------------------------------------------- */

static double hyper(const struct hone_group *group, const char *name)
{
    const int index = hone_rule_hyper_find(group->rule, name);
    return index < 0 ? 0 : group->values[index].number;
}

/* Replaces callbacks by what they return for this call, so that a bad value is found before
 * anything is written. */
static hone_status call_curves(const struct hone_group *group, uint64_t step,
                               struct hone_value *values, hone_error *error)
{
    memcpy(values, group->values, sizeof group->values);
    for (int i = 0; i < group->rule->hyper_count; i++) {
        if (values[i].callback == NULL)
            continue;
        const double bound = step == 1 ? 0 : values[i].callback(step - 1, values[i].user);
        values[i] = (struct hone_value){.number = bound};
        if (!(bound >= 0))
            return hone_fail(
                error, HONE_ERROR_RANGE,
                "the callback for %s returned %g after %llu calls; it must be at least "
                "0 (infinity: no bound)",
                group->rule->hypers[i].name, bound, (unsigned long long)(step - 1));
    }
    return HONE_OK;
}

static hone_status compute_scalars(const struct hone_group *group,
                                   const struct hone_scalars_key *key, struct hone_scalars *scalars,
                                   hone_error *error)
{
    struct hone_value values[HONE_MAX_HYPERS];
    const hone_status status = call_curves(group, key->step, values, error);
    if (status != HONE_OK)
        return status;
    const struct hone_step_input in = {.values = values,
                                       .step = key->step,
                                       .lr = hyper(group, "lr") * key->multiplier,
                                       .fresh = key->fresh};
    struct hone_step_output out = {.coef = scalars->coef};
    group->rule->prepare(&in, &out);
    for (int k = 0; k < 2; k++) {
        scalars->rate[k] = out.rate;
        scalars->keep[k] = out.keep;
        scalars->frozen[k] = out.rate == 0 && out.keep == 1;
    }
    scalars->l2 = out.l2;
    scalars->maximize = hyper(group, "maximize") != 0;
    return HONE_OK;
}

/* Fills the plan's scalars; tensors that share group, count and multiplier share them. */
static hone_status update_scalars(struct hone_optimizer *optimizer, hone_error *error)
{
    struct hone_plan *const plan = &optimizer->plan;
    memset(plan->has_last, 0, sizeof *plan->has_last * (size_t)optimizer->spec->group_count);
    size_t count = 0;
    for (size_t i = 0; i < plan->tensor_count; i++) {
        const struct hone_param *const param = &optimizer->params[plan->tensors[i].param];
        const int g = param->group;
        const struct hone_scalars_key key = {param->step + 1, param->multiplier, param->fresh};
        const struct hone_scalars_key *const last = &plan->last_key[g];
        if (!plan->has_last[g] || last->step != key.step || last->multiplier != key.multiplier ||
            last->fresh != key.fresh) {
            const hone_status status =
                compute_scalars(&optimizer->spec->groups[g], &key, &plan->scalars[count], error);
            if (status != HONE_OK)
                return status;
            plan->has_last[g] = true;
            plan->last_key[g] = key;
            plan->last_scalars[g] = count++;
        }
        plan->tensors[i].scalars = plan->last_scalars[g];
    }
    return HONE_OK;
}

/* ---- chunks --------------------------------------------------------------------------------- */

static void step_chunk(const struct hone_plan *plan, const struct hone_plan_chunk *chunk,
                       const struct hone_frame *frame)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    struct hone_chunk part = {.n = chunk->n};
    part.param = (char *)tensor->base.param + chunk->first * tensor->param_size;
    part.grad = (const char *)tensor->base.grad + chunk->first * tensor->grad_size;
    for (int k = 0; k < tensor->stage.slot_count; k++)
        if (tensor->base.slot[k] != NULL)
            part.slot[k] = (char *)tensor->base.slot[k] + chunk->first * tensor->slot_size[k];
    if (tensor->base.mask != NULL)
        part.mask = tensor->base.mask + chunk->first / 32;
    const struct hone_scalars *const scalars = &plan->scalars[tensor->scalars];
    if (tensor->kernel != NULL)
        tensor->kernel(&part, scalars, frame);
    else
        hone_stage_step(&tensor->stage, &part, scalars, frame);
}

static double norm_share(const struct hone_plan *plan, const struct hone_plan_chunk *chunk,
                         const struct hone_support_kernels *support, double order,
                         const struct hone_frame *frame)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    const char *const grad = (const char *)tensor->base.grad + chunk->first * tensor->grad_size;
    return support->norm[tensor->stage.grad](grad, chunk->n, order, frame->grad_scale,
                                             frame->value_limit);
}

/* The first chunk of `thread`'s share: threads get equal numbers of elements, in order, so that a
 * page stays with the thread that first touched it. */
static size_t share_begin(const struct hone_plan *plan, int thread, int threads)
{
    const size_t wanted = plan->elements / (size_t)threads * (size_t)thread;
    size_t low = 0, high = plan->chunk_count;
    if (thread == threads)
        return high;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (plan->chunks[middle].before < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int thread_count(const struct hone_optimizer *optimizer)
{
    const size_t useful = optimizer->plan.elements / ELEMENTS_PER_THREAD;
    const size_t most = (size_t)optimizer->context->threads;
    return (int)(useful < 1 ? 1 : useful < most ? useful : most);
}

/* ---- norm ----------------------------------------------------------------------------------- */

static bool wants_norm(const hone_spec *spec)
{
    return isfinite(spec->clip_norm) || spec->nonfinite != HONE_NONFINITE_PROPAGATE;
}

struct outcome {
    double norm, coef;
    bool go; /* false: leave everything as it is */
};

/* The norm from the chunks' shares, and what it means for the step. */
static struct outcome judge_norm(const struct hone_optimizer *optimizer)
{
    const struct hone_plan *const plan = &optimizer->plan;
    const hone_spec *const spec = optimizer->spec;
    const double p = spec->clip_norm_type;
    const double sum =
        optimizer->context->cpu->support->combine(plan->shares, plan->chunk_count, isinf(p));
    struct outcome outcome = {.coef = 1, .go = true};
    outcome.norm = p == 2 ? sqrt(sum) : p == 1 || isinf(p) ? sum : pow(sum, 1 / p);
    if (isfinite(spec->clip_norm)) {
        const double coef = spec->clip_norm / (outcome.norm + 1e-6);
        outcome.coef = coef > 1 ? 1 : coef;
    }
    outcome.go = isfinite(outcome.norm) || spec->nonfinite == HONE_NONFINITE_PROPAGATE;
    return outcome;
}

static struct outcome sweep(struct hone_optimizer *optimizer)
{
    struct hone_plan *const plan = &optimizer->plan;
    const struct hone_support_kernels *const support = optimizer->context->cpu->support;
    const hone_spec *const spec = optimizer->spec;
    const bool norm = wants_norm(spec);
    struct hone_frame frame = {.grad_scale = 1, .value_limit = spec->clip_value, .clip_coef = 1};
    struct outcome outcome = {.norm = (double)NAN, .coef = 1, .go = true};

#pragma omp parallel num_threads(thread_count(optimizer))
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        const size_t begin = share_begin(plan, thread, threads);
        const size_t end = share_begin(plan, thread + 1, threads);
        if (norm) {
            for (size_t i = begin; i < end; i++)
                plan->shares[i] =
                    norm_share(plan, &plan->chunks[i], support, spec->clip_norm_type, &frame);
#pragma omp barrier
#pragma omp single
            {
                outcome = judge_norm(optimizer);
                frame.clip_coef = outcome.coef;
            }
        }
        for (size_t i = begin; outcome.go && i < end; i++)
            step_chunk(plan, &plan->chunks[i], &frame);
    }
    return outcome;
}

/* ---- the step ------------------------------------------------------------------------------- */

static void count_step(struct hone_optimizer *optimizer)
{
    for (size_t i = 0; i < optimizer->plan.tensor_count; i++) {
        struct hone_param *const param = &optimizer->params[optimizer->plan.tensors[i].param];
        param->step++;
        for (int k = 0; k < HONE_MAX_SLOTS; k++)
            if (optimizer->plan.tensors[i].base.slot[k] != NULL)
                param->fresh &= ~(1u << k);
    }
}

hone_status hone_optimizer_step(hone_optimizer *optimizer, hone_step_report *report,
                                hone_error *error)
{
    hone_status status = hone_optimizer_prepare(optimizer, error);
    if (status == HONE_OK)
        status = update_scalars(optimizer, error);
    if (status != HONE_OK)
        return status;
    const struct outcome outcome = sweep(optimizer);
    if (!outcome.go && optimizer->spec->nonfinite == HONE_NONFINITE_ERROR)
        return hone_fail(error, HONE_ERROR_NONFINITE,
                         "the gradients' total norm of order %g is %g; nothing was stepped",
                         optimizer->spec->clip_norm_type, outcome.norm);
    if (outcome.go)
        count_step(optimizer);
    if (report != NULL)
        *report =
            (hone_step_report){.stepped = outcome.go ? (int64_t)optimizer->plan.tensor_count : 0,
                               .total_norm = outcome.norm,
                               .clip_coef = outcome.coef,
                               .skipped = !outcome.go};
    return HONE_OK;
}

hone_status hone_optimizer_step_closure(hone_optimizer *optimizer, hone_closure_fn *closure,
                                        void *user, double *loss, hone_step_report *report,
                                        hone_error *error)
{
    if (optimizer == NULL || closure == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         optimizer == NULL ? "optimizer" : "closure");
    double value = (double)NAN;
    const int result = closure(&value, user);
    if (result != 0)
        return hone_fail(error, HONE_ERROR_CLOSURE, "the closure returned %d; nothing was stepped",
                         result);
    if (loss != NULL)
        *loss = value;
    return hone_optimizer_step(optimizer, report, error);
}
