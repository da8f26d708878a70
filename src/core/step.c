/* SPDX-License-Identifier: Apache-2.0 */
/* The step: per-step scalars in double, then one parallel region over the plan's chunks. A norm,
 * when asked for, is a first sweep over the gradients inside the same region. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/device.h"
#include "core/matrix.h"
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

hone_status hone_compute_scalars(const struct hone_group *group, const struct hone_scalars_key *key,
                                 struct hone_scalars *scalars, hone_error *error)
{
    struct hone_value values[HONE_MAX_HYPERS];
    const hone_status status = call_curves(group, key->step, values, error);
    if (status != HONE_OK)
        return status;
    const double lr = hyper(group, "lr") * key->multiplier;
    const double masked_lr = isnan(group->masked_lr) ? lr : group->masked_lr * key->multiplier;
    const struct hone_step_input in = {
        .values = values, .step = key->step, .lr = lr, .fresh = key->fresh};
    hone_prepare_scalars(group->rule->prepare, &in, masked_lr, key->masked,
                         hyper(group, "maximize") != 0, scalars);
    return HONE_OK;
}

static bool same_key(const struct hone_scalars_key *a, const struct hone_scalars_key *b)
{
    return a->step == b->step && a->multiplier == b->multiplier && a->fresh == b->fresh &&
           a->masked == b->masked;
}

/* Fills the plan's scalars; tensors that share group, count and multiplier share them. */
static hone_status update_scalars(struct hone_optimizer *optimizer, hone_error *error)
{
    struct hone_plan *const plan = &optimizer->plan;
    memset(plan->has_last, 0, sizeof *plan->has_last * (size_t)optimizer->spec->group_count);
    size_t count = 0;
    for (size_t i = 0; plan->host_count > 0 && i < plan->tensor_count; i++) {
        struct hone_plan_tensor *const tensor = &plan->tensors[i];
        if (tensor->device != NULL)
            continue;
        const struct hone_param *const param = &optimizer->params[tensor->param];
        const int g = param->group;
        const struct hone_scalars_key key = {.step = param->step + 1,
                                             .multiplier = param->multiplier,
                                             .fresh = param->fresh,
                                             .masked = param->mask != NULL};
        if (!plan->has_last[g] || !same_key(&plan->last_key[g], &key)) {
            const hone_status status = hone_compute_scalars(&optimizer->spec->groups[g], &key,
                                                            &plan->scalars[count], error);
            if (status != HONE_OK)
                return status;
            plan->has_last[g] = true;
            plan->last_key[g] = key;
            plan->last_scalars[g] = count++;
        }
        tensor->scalars = plan->last_scalars[g];
        if (tensor->stage.extra == HONE_EXTRA_STOCHASTIC)
            tensor->noise = hone_noise_of_call(
                hone_noise_of_name(optimizer->context->seed, param->name), key.step);
    }
    return HONE_OK;
}

/* ---- chunks --------------------------------------------------------------------------------- */

struct hone_chunk hone_plan_part(const struct hone_plan_tensor *tensor, size_t first, size_t n)
{
    struct hone_chunk part = {.n = n};
    part.param = (char *)tensor->base.param + first * tensor->param_size;
    part.grad = (const char *)tensor->base.grad + first * tensor->grad_size;
    for (int k = 0; k < HONE_MAX_SLOTS; k++)
        if (tensor->base.slot[k] != NULL)
            part.slot[k] = (char *)tensor->base.slot[k] + first * tensor->slot_size[k];
    if (tensor->base.mask != NULL)
        part.mask = tensor->base.mask + first / 32;
    if (tensor->base.extra != NULL)
        part.extra = (char *)tensor->base.extra + first * 2; /* a 16-bit tensor */
    part.noise = hone_noise_of_chunk(tensor->noise, first);
    return part;
}

static void step_chunk(const struct hone_plan *plan, const struct hone_plan_chunk *chunk,
                       const struct hone_frame *frame)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    if (tensor->matrix)
        return;
    const struct hone_chunk part = hone_plan_part(tensor, chunk->first, chunk->n);
    const struct hone_scalars *const scalars = &plan->scalars[tensor->scalars];
    if (tensor->kernel != NULL)
        tensor->kernel(&part, scalars, frame);
    else
        hone_stage_step(&tensor->stage, &part, scalars, frame);
}

static double norm_share(const struct hone_plan *plan, const struct hone_plan_chunk *chunk,
                         const struct hone_support_kernels *support, const struct hone_call *call)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    const enum hone_format format = tensor->stage.grad;
    const char *const grad = (const char *)tensor->base.grad + chunk->first * tensor->grad_size;
    const double scale = call->frame.grad_scale, unlimited = (double)INFINITY;
    const double share =
        support->norm[format](grad, chunk->n, call->order, scale, call->frame.value_limit);
    if (!call->scaling || !hone_share_hides(share, call->frame.value_limit))
        return share;
    const double largest = support->norm[format](grad, chunk->n, unlimited, scale, unlimited);
    return isfinite(largest) ? share : (double)NAN;
}

/* Adds this call's gradient to the sum. */
static void accumulate_chunk(const struct hone_plan *plan, const struct hone_plan_chunk *chunk,
                             const struct hone_support_kernels *support)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    if (tensor->source == NULL)
        return;
    const char *const from =
        (const char *)tensor->source + chunk->first * hone_format_size(tensor->source_format);
    void *const sum = (char *)(uintptr_t)tensor->base.grad + chunk->first * tensor->grad_size;
    if (tensor->stage.grad == HONE_FORMAT_F64)
        support->accumulate_f64[tensor->source_format](sum, from, chunk->n, 1);
    else
        support->accumulate_f32[tensor->source_format](sum, from, chunk->n, 1);
}

/* The sum has been used: the next one starts from nothing. */
static void clear_chunk(const struct hone_plan *plan, const struct hone_plan_chunk *chunk)
{
    const struct hone_plan_tensor *const tensor = &plan->tensors[chunk->tensor];
    char *const sum = (char *)(uintptr_t)tensor->base.grad + chunk->first * tensor->grad_size;
    memset(sum, 0, chunk->n * tensor->grad_size);
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

static struct hone_call plan_call(const struct hone_optimizer *optimizer)
{
    const hone_spec *const spec = optimizer->spec;
    struct hone_call call = {.order = spec->clip_norm_type};
    call.accumulate = spec->accumulate > 1;
    call.accumulated = spec->accumulate_mean ? spec->accumulate : 1;
    call.update = optimizer->micro_step + 1 >= spec->accumulate;
    call.clip = isfinite(spec->clip_norm);
    call.scaling = optimizer->scaling;
    call.norm = call.clip || spec->nonfinite != HONE_NONFINITE_PROPAGATE || optimizer->scaling;
    if (!call.clip && spec->nonfinite == HONE_NONFINITE_PROPAGATE)
        call.order = (double)INFINITY; /* a finite check: no sum that could overflow */
    const double scale = optimizer->scaling ? optimizer->scaler.scale : optimizer->loss_scale;
    call.frame = (struct hone_frame){.grad_scale = hone_unscale(scale, call.accumulated),
                                     .value_limit = spec->clip_value,
                                     .clip_coef = 1};
    return call;
}

/* The norm from the chunks' shares, and what it means for the step. */
static struct hone_outcome judge_norm(const struct hone_optimizer *optimizer,
                                      const struct hone_call *call)
{
    const struct hone_plan *const plan = &optimizer->plan;
    const hone_spec *const spec = optimizer->spec;
    const double sum = optimizer->context->cpu->support->combine(plan->shares, plan->share_count,
                                                                 isinf(call->order));
    struct hone_outcome outcome = {.norm = hone_norm_of_sum(sum, call->order), .coef = 1};
    if (call->clip)
        outcome.coef = hone_coef_of_norm(spec->clip_norm, outcome.norm);
    outcome.finite = hone_entries_finite(outcome.norm, call->scaling);
    outcome.go = (outcome.finite || !call->scaling) &&
                 (isfinite(outcome.norm) || spec->nonfinite == HONE_NONFINITE_PROPAGATE);
    return outcome;
}

/* One parallel region: add to the sums, measure the gradients, step. Devices work beside it; their
 * shares of a norm are waited for, and where they refuse their part of the step, nothing is stepped. */
static hone_status sweep(struct hone_optimizer *optimizer, const struct hone_call *call,
                         struct hone_outcome *result, hone_error *error)
{
    struct hone_plan *const plan = &optimizer->plan;
    const struct hone_support_kernels *const support = optimizer->context->cpu->support;
    struct hone_frame frame = call->frame;
    struct hone_outcome outcome = *result;
    const bool measured = call->update && call->norm;
    bool steps = call->update;
    hone_status status = hone_devices_accumulate(optimizer, call, error);
    if (status == HONE_OK && measured)
        status = hone_devices_shares(optimizer, call, error);
    else if (status == HONE_OK && steps)
        status = hone_devices_step(optimizer, &frame, error);
    if (status != HONE_OK)
        return status;

#pragma omp parallel num_threads(thread_count(optimizer))
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        const size_t begin = share_begin(plan, thread, threads);
        const size_t end = share_begin(plan, thread + 1, threads);
        for (size_t i = begin; call->accumulate && i < end; i++)
            accumulate_chunk(plan, &plan->chunks[i], support);
        if (measured) {
            for (size_t i = begin; i < end; i++)
                plan->shares[plan->chunks[i].share] =
                    norm_share(plan, &plan->chunks[i], support, call);
#pragma omp barrier
#pragma omp single
            {
                outcome = judge_norm(optimizer, call);
                frame.clip_coef = outcome.coef;
                if (outcome.go)
                    status = hone_devices_step(optimizer, &frame, error);
                steps = outcome.go && status == HONE_OK;
            }
        }
        for (size_t i = begin; steps && i < end; i++)
            step_chunk(plan, &plan->chunks[i], &frame);
    }
    *result = outcome;
    if (status != HONE_OK)
        return status;
    if (steps)
        hone_matrix_step(optimizer, &frame);
    for (size_t i = 0; call->update && call->accumulate && i < plan->chunk_count; i++)
        clear_chunk(plan, &plan->chunks[i]);
    return hone_devices_clear(optimizer, call, error);
}

/* ---- the step ------------------------------------------------------------------------------- */

static void count_step(struct hone_optimizer *optimizer)
{
    hone_devices_count(optimizer);
    for (size_t i = 0; optimizer->plan.host_count > 0 && i < optimizer->plan.tensor_count; i++) {
        struct hone_param *const param = &optimizer->params[optimizer->plan.tensors[i].param];
        if (param->device != NULL)
            continue;
        param->step++;
        for (int k = 0; param->fresh != 0 && k < HONE_STATE_COUNT; k++)
            if (hone_param_needs_state(optimizer, param, k))
                param->fresh &= ~(1u << k);
    }
}

/* Gradients were added: remember whose, and where in the round of micro-batches this is. */
static void count_accumulation(struct hone_optimizer *optimizer, const struct hone_call *call)
{
    if (!call->accumulate)
        return;
    optimizer->micro_step = call->update ? 0 : optimizer->micro_step + 1;
    for (size_t i = 0; i < optimizer->plan.tensor_count; i++) {
        struct hone_param *const param = &optimizer->params[optimizer->plan.tensors[i].param];
        param->pending = !call->update;
        param->fresh &= ~(1u << HONE_STATE_ACCUMULATED);
        if (call->update && !param->has_grad)
            optimizer->plan.valid = false;
    }
}

/* A master made before the caller filled the parameter would start from the wrong value. */
static void refresh_masters(struct hone_optimizer *optimizer)
{
    for (size_t i = 0; optimizer->plan.host_count > 0 && i < optimizer->plan.tensor_count; i++) {
        struct hone_param *const param = &optimizer->params[optimizer->plan.tensors[i].param];
        if (param->device == NULL && (param->fresh >> HONE_STATE_MASTER & 1u) != 0)
            hone_param_copy_master(optimizer, param);
    }
}

/* Whose gradient is not finite, where one alone is to blame: sums of finite shares may overflow. The
 * shares of a step that one device leads stay there. */
static const struct hone_param *find_nonfinite(const hone_optimizer *optimizer)
{
    const struct hone_plan *const plan = &optimizer->plan;
    size_t share = 0;
    for (size_t i = 0; i < plan->tensor_count && !hone_devices_alone(optimizer); i++) {
        const struct hone_param *const param = &optimizer->params[plan->tensors[i].param];
        for (size_t first = 0; first < param->count; first += HONE_CHUNK)
            if (!isfinite(plan->shares[share++]))
                return param;
    }
    return NULL;
}

static hone_status fail_nonfinite(const hone_optimizer *optimizer, const struct hone_call *call,
                                  const struct hone_outcome *outcome, hone_error *error)
{
    if (optimizer->spec->nonfinite != HONE_NONFINITE_ERROR)
        return HONE_OK;
    const struct hone_param *const param = find_nonfinite(optimizer);
    if (param != NULL)
        return hone_fail(
            error, HONE_ERROR_NONFINITE,
            "the gradients' total norm of order %g is %g, first by that of \"%s\"; nothing was "
            "stepped",
            call->order, outcome->norm, param->name);
    return hone_fail(error, HONE_ERROR_NONFINITE,
                     "the gradients' total norm of order %g is %g; nothing was stepped",
                     call->order, outcome->norm);
}

/* A step that one device leads, which alone knows whether it counted. */
static hone_status step_on_device(hone_optimizer *optimizer, const struct hone_call *call,
                                  hone_step_report *report, hone_error *error)
{
    struct hone_outcome outcome = {.norm = (double)NAN, .coef = 1, .finite = true, .go = true};
    const bool asked = report != NULL || optimizer->spec->nonfinite == HONE_NONFINITE_ERROR;
    hone_status status = hone_device_step_alone(optimizer, call, asked ? &outcome : NULL, error);
    if (status != HONE_OK)
        return status;
    count_accumulation(optimizer, call);
    if (!outcome.go)
        status = fail_nonfinite(optimizer, call, &outcome, error);
    if (status == HONE_OK && report != NULL)
        *report = (hone_step_report){
            .stepped = call->update && outcome.go ? hone_devices_param_count(optimizer) : 0,
            .total_norm = outcome.norm,
            .clip_coef = outcome.coef,
            .skipped = !outcome.go};
    return status;
}

hone_status hone_optimizer_step(hone_optimizer *optimizer, hone_step_report *report,
                                hone_error *error)
{
    hone_status status = hone_optimizer_prepare(optimizer, error);
    if (status == HONE_OK)
        status = update_scalars(optimizer, error);
    if (status != HONE_OK)
        return status;
    const struct hone_call call = plan_call(optimizer);
    status = hone_devices_begin(optimizer, &call, report != NULL, error);
    if (status != HONE_OK)
        return status;
    if (hone_devices_alone(optimizer))
        return step_on_device(optimizer, &call, report, error);
    if (call.update)
        refresh_masters(optimizer);
    struct hone_outcome outcome = {.norm = (double)NAN, .coef = 1, .finite = true, .go = true};
    status = sweep(optimizer, &call, &outcome, error);
    if (status != HONE_OK)
        return status;
    count_accumulation(optimizer, &call);
    if (call.update && optimizer->scaling)
        hone_scaler_update(&optimizer->scaler, !outcome.finite);
    const bool moved = call.update && outcome.go;
    if (moved)
        count_step(optimizer);
    if (!outcome.go) {
        optimizer->skipped++;
        status = fail_nonfinite(optimizer, &call, &outcome, error);
        if (status != HONE_OK)
            return status;
    }
    if (report != NULL)
        *report = (hone_step_report){.stepped = moved ? (int64_t)optimizer->plan.tensor_count : 0,
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
