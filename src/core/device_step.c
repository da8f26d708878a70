/* SPDX-License-Identifier: Apache-2.0 */
/* A device's part of a step: launches on its stream, and no waiting unless the caller asks what came
 * of it. Scalars are prepared on the host and travel with the launch, or, where the step itself
 * decides whether it counts or its rate lies in device memory, on the device. */
#include <stddef.h>
#include <string.h>

#include "core/device.h"

/* ---- who decides ------------------------------------------------------------------------------ */

/* A step that may turn out not to count. */
static bool conditional(const hone_optimizer *optimizer)
{
    return optimizer->spec->nonfinite != HONE_NONFINITE_PROPAGATE || optimizer->scaling ||
           optimizer->devices->found_inf != NULL;
}

bool hone_devices_alone(const hone_optimizer *optimizer)
{
    int places = optimizer->plan.host_count > 0;
    HONE_EACH_DEVICE(optimizer->devices, i)
    places += optimizer->devices->list[i]->member_count > 0;
    return optimizer->plan.host_count == 0 && places == 1;
}

bool hone_devices_have_lr(const struct hone_devices *devices)
{
    for (int g = 0; g < devices->lr_count; g++)
        if (devices->lr[g].data != NULL)
            return true;
    return false;
}

bool hone_devices_have_scale(const struct hone_devices *devices)
{
    return devices != NULL && (devices->grad_scale != NULL || devices->found_inf != NULL);
}

bool hone_devices_prepare(const hone_optimizer *optimizer)
{
    const struct hone_devices *const devices = optimizer->devices;
    return devices != NULL &&
           (devices->capturable || hone_devices_have_lr(devices) || devices->grad_scale != NULL ||
            (conditional(optimizer) && hone_devices_alone(optimizer)));
}

int64_t hone_devices_param_count(const hone_optimizer *optimizer)
{
    int64_t count = 0;
    HONE_EACH_DEVICE(optimizer->devices, i)
    count += (int64_t)optimizer->devices->list[i]->member_count;
    return count;
}

/* ---- what only this call asks for ------------------------------------------------------------- */

/* A device has at most as many classes as tensors, so the plan's scalars after the host's own have room. */
static hone_status prepare_on_host(hone_optimizer *optimizer, struct hone_device *device,
                                   hone_error *error)
{
    struct hone_scalars *const scalars = optimizer->plan.scalars + optimizer->plan.host_count;
    const size_t size = sizeof *scalars * device->class_count;
    memset(scalars, 0, size);
    for (size_t i = 0; i < device->class_count; i++) {
        const struct hone_device_class *const one = &device->classes[i];
        const struct hone_scalars_key key = {.step = one->step + 1,
                                             .multiplier = one->multiplier,
                                             .fresh = one->fresh,
                                             .masked = one->masked != 0};
        const hone_status status =
            hone_compute_scalars(&optimizer->spec->groups[one->group], &key, &scalars[i], error);
        if (status != HONE_OK)
            return status;
    }
    if (device->class_count > HONE_DEVICE_SCALARS)
        return hone_device_check(device,
                                 device->target->put(device->queue, device->scalars, scalars, size),
                                 "a step", error);
    memcpy(device->call.own, scalars, size);
    return HONE_OK;
}

hone_status hone_devices_begin(hone_optimizer *optimizer, const struct hone_call *call,
                               bool reported, hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    const bool prepared = hone_devices_prepare(optimizer);
    const bool waits =
        call->update && ((reported && (prepared || call->norm)) ||
                         (call->norm && (optimizer->spec->nonfinite == HONE_NONFINITE_ERROR ||
                                         !hone_devices_alone(optimizer))));
    HONE_EACH_DEVICE(devices, i)
    {
        struct hone_device *const device = devices->list[i];
        if (device->member_count == 0)
            continue;
        if (device->capturing && (waits || optimizer->plan.host_count > 0 || call->accumulate))
            return hone_fail(
                error, HONE_ERROR_ARGUMENT,
                "device %d: a graph is being captured, but this step %s", device->queue.device,
                waits ? "has to wait for the device: its report, an error for gradients "
                        "that are not finite, or a norm over several devices"
                : call->accumulate ? "is one of a round that adds up gradients"
                                   : "moves parameters on the CPU too");
        if (!call->update || prepared)
            continue;
        const hone_status status = prepare_on_host(optimizer, device, error);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

/* ---- launches --------------------------------------------------------------------------------- */

/* The whole list, or a bucket of it. */
static void aim(struct hone_device *device, const struct hone_device_bucket *bucket)
{
    struct hone_device_call *const call = &device->call;
    call->tensors = device->tensors + (bucket == NULL ? 0 : bucket->tensor);
    call->first = device->first + (bucket == NULL ? 0 : bucket->tensor);
    call->tensor_count = bucket == NULL ? (uint32_t)device->tensor_count : bucket->tensor_count;
    call->chunk_count = bucket == NULL ? (uint32_t)device->chunk_count : bucket->chunk_count;
    call->base = bucket == NULL ? 0 : bucket->chunk;
}

static hone_status launch_step(const hone_optimizer *optimizer, struct hone_device *device,
                               const struct hone_frame *frame,
                               const struct hone_device_outcome *outcome, bool stored,
                               hone_error *error)
{
    struct hone_device_call *const call = &device->call;
    hone_status status = HONE_OK;
    call->frame = *frame;
    call->outcome = outcome;
    call->scalars = stored ? device->scalars : NULL;
    for (size_t b = 0; b < device->bucket_count && status == HONE_OK; b++) {
        const struct hone_device_bucket *const bucket = &device->buckets[b];
        aim(device, bucket);
        if (bucket->rows > 0) {
            status = hone_device_matrix_step(optimizer, device, bucket, error);
            continue;
        }
        status = hone_device_check(
            device,
            device->target->step(device->queue, bucket->rule, bucket->wide, bucket->direct, call),
            "a step", error);
    }
    return status;
}

static hone_status launch_norm(struct hone_device *device, const struct hone_call *call,
                               const struct hone_device_outcome *outcome, hone_error *error)
{
    const struct hone_device_norm norm = {.tensors = device->tensors,
                                          .first = device->first,
                                          .tensor_count = (uint32_t)device->tensor_count,
                                          .chunk_count = (uint32_t)device->chunk_count,
                                          .shares = device->shares.data,
                                          .scaling = call->scaling,
                                          .order = call->order,
                                          .value_limit = call->frame.value_limit,
                                          .grad_scale = call->frame.grad_scale,
                                          .outcome = outcome};
    if (device->chunk_count == 0)
        return HONE_OK;
    return hone_device_check(device, device->target->norm(device->queue, &norm), "a norm", error);
}

static hone_status launch_prepare(struct hone_device *device, hone_error *error)
{
    struct hone_device_prepare call = {.groups = device->own_groups,
                                       .classes = device->own_classes,
                                       .scalars = device->scalars,
                                       .outcome = device->outcome,
                                       .class_count = (uint32_t)device->class_count};
    uint64_t done = 0; /* rules: a bit each; a registry has far fewer than 64 */
    hone_status status = HONE_OK;
    for (size_t i = 0; i < device->class_count && status == HONE_OK; i++) {
        call.rule = device->groups[device->classes[i].group].rule;
        if ((done >> (call.rule % 64) & 1u) != 0)
            continue;
        done |= (uint64_t)1 << (call.rule % 64);
        status = hone_device_check(device, device->target->prepare(device->queue, &call), "a step",
                                   error);
    }
    return status;
}

static hone_status make_masters(const hone_optimizer *optimizer, struct hone_device *device,
                                hone_error *error)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; device->fresh_masters && i < device->member_count; i++) {
        const struct hone_param *const param = &optimizer->params[device->members[i].param];
        const struct hone_state *const master = &param->state[HONE_STATE_MASTER];
        if ((param->fresh >> HONE_STATE_MASTER & 1u) == 0 || param->count == 0 || status != HONE_OK)
            continue;
        status = hone_device_check(device,
                                   device->target->convert(device->queue, master->data,
                                                           master->format, param->tensor.data,
                                                           param->format, param->count),
                                   "a master", error);
    }
    device->fresh_masters = device->fresh_masters && status != HONE_OK;
    return status;
}

static hone_status accumulate(struct hone_device *device, const struct hone_device_source *sources,
                              hone_error *error)
{
    aim(device, NULL);
    if (device->chunk_count == 0)
        return HONE_OK;
    return hone_device_check(device,
                             device->target->accumulate(device->queue, &device->call, sources),
                             "a sum of gradients", error);
}

/* ---- the parts of a step that the host leads --------------------------------------------------- */

hone_status hone_devices_accumulate(hone_optimizer *optimizer, const struct hone_call *call,
                                    hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    hone_status status = HONE_OK;
    HONE_EACH_DEVICE(devices, i)
    if (call->accumulate && devices->list[i]->member_count > 0 && status == HONE_OK)
        status = accumulate(devices->list[i], devices->list[i]->sources, error);
    return status;
}

static hone_status fetch_shares(hone_optimizer *optimizer, struct hone_device *device,
                                hone_error *error)
{
    const double *const own = device->fetched;
    const hone_status status =
        hone_device_download(device, device->fetched, device->shares.data,
                             sizeof(double) * device->chunk_count, "a norm", error);
    for (size_t i = 0; i < device->tensor_count && status == HONE_OK; i++) {
        const struct hone_device_share *const range = &device->share_ranges[i];
        memcpy(optimizer->plan.shares + range->global, own + range->own,
               sizeof(double) * range->count);
    }
    return status;
}

hone_status hone_devices_shares(hone_optimizer *optimizer, const struct hone_call *call,
                                hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    hone_status status = HONE_OK;
    HONE_EACH_DEVICE(devices, i)
    if (status == HONE_OK)
        status = launch_norm(devices->list[i], call, NULL, error);
    HONE_EACH_DEVICE(devices, i)
    if (status == HONE_OK && devices->list[i]->chunk_count > 0)
        status = fetch_shares(optimizer, devices->list[i], error);
    return status;
}

/* A step that is prepared on the device. The host has judged already: the device's judgement only lets the
 * preparation go ahead. */
static hone_status step_prepared(hone_optimizer *optimizer, struct hone_device *device,
                                 const struct hone_frame *frame, hone_error *error)
{
    const struct hone_device_judgement judgement = {
        .outcome = device->outcome, .open = true, .close = true, .loss_scale = 1, .accumulated = 1};
    hone_status status = hone_device_check(device, device->target->judge(device->queue, &judgement),
                                           "a step", error);
    if (status == HONE_OK)
        status = launch_prepare(device, error);
    return status == HONE_OK ? launch_step(optimizer, device, frame, NULL, true, error) : status;
}

hone_status hone_devices_step(hone_optimizer *optimizer, const struct hone_frame *frame,
                              hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    const bool prepared = hone_devices_prepare(optimizer);
    hone_status status = HONE_OK;
    HONE_EACH_DEVICE(devices, i)
    {
        struct hone_device *const device = devices->list[i];
        if (device->member_count == 0 || status != HONE_OK)
            continue;
        status = make_masters(optimizer, device, error);
        if (status == HONE_OK)
            status = prepared ? step_prepared(optimizer, device, frame, error)
                              : launch_step(optimizer, device, frame, NULL,
                                            device->class_count > HONE_DEVICE_SCALARS, error);
    }
    return status;
}

hone_status hone_devices_clear(hone_optimizer *optimizer, const struct hone_call *call,
                               hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    hone_status status = HONE_OK;
    HONE_EACH_DEVICE(devices, i)
    if (call->accumulate && call->update && devices->list[i]->member_count > 0 && status == HONE_OK)
        status = accumulate(devices->list[i], NULL, error);
    return status;
}

void hone_devices_count(hone_optimizer *optimizer)
{
    struct hone_devices *const devices = optimizer->devices;
    if (devices == NULL || hone_devices_prepare(optimizer))
        return;
    HONE_EACH_DEVICE(devices, i)
    {
        struct hone_device *const device = devices->list[i];
        for (size_t k = 0; k < device->class_count; k++) {
            device->classes[k].step++;
            device->classes[k].fresh = 0;
        }
        device->ahead = true;
    }
}

/* ---- the step that one device leads ------------------------------------------------------------ */

/* What the norm, the loss scale and the caller's flag come to. A scale that only the device knows has
 * to be read before the norm; else one launch judges all. */
static hone_status judge(hone_optimizer *optimizer, struct hone_device *device,
                         const struct hone_call *call, hone_error *error)
{
    const struct hone_devices *const devices = optimizer->devices;
    const hone_spec *const spec = optimizer->spec;
    struct hone_device_judgement judgement = {.outcome = device->outcome,
                                              .open = true,
                                              .close = true,
                                              .scaling = optimizer->scaling,
                                              .skip_nonfinite =
                                                  spec->nonfinite != HONE_NONFINITE_PROPAGATE,
                                              .clip = call->clip,
                                              .grad_scale = devices->grad_scale,
                                              .found_inf = devices->found_inf,
                                              .loss_scale = optimizer->loss_scale,
                                              .accumulated = call->accumulated,
                                              .order = call->order,
                                              .max_norm = spec->clip_norm};
    hone_status status = HONE_OK;
    if (call->norm) {
        const bool unknown = devices->grad_scale != NULL || optimizer->scaling;
        if (unknown) {
            judgement.close = false;
            status = hone_device_check(device, device->target->judge(device->queue, &judgement),
                                       "a step", error);
            judgement.open = false;
            judgement.close = true;
        }
        if (status == HONE_OK)
            status = launch_norm(device, call, unknown ? device->outcome : NULL, error);
        judgement.shares = device->shares.data;
        judgement.chunk_count = (uint32_t)device->chunk_count;
    }
    return status == HONE_OK
               ? hone_device_check(device, device->target->judge(device->queue, &judgement),
                                   "a step", error)
               : status;
}

static hone_status fetch_outcome(struct hone_device *device, struct hone_outcome *outcome,
                                 hone_error *error)
{
    struct hone_device_outcome own;
    const size_t size = offsetof(struct hone_device_outcome, skipped); /* what each step decides */
    const hone_status status =
        hone_device_download(device, &own, device->outcome, size, "a step", error);
    if (status == HONE_OK)
        *outcome = (struct hone_outcome){
            .norm = own.norm, .coef = own.coef, .finite = own.finite != 0, .go = own.go != 0};
    return status;
}

hone_status hone_device_step_alone(hone_optimizer *optimizer, const struct hone_call *call,
                                   struct hone_outcome *outcome, hone_error *error)
{
    struct hone_device *device = NULL;
    HONE_EACH_DEVICE(optimizer->devices, i)
    if (optimizer->devices->list[i]->member_count > 0)
        device = optimizer->devices->list[i];
    hone_status status = hone_devices_accumulate(optimizer, call, error);
    if (status != HONE_OK || !call->update)
        return status;
    const bool prepared = hone_devices_prepare(optimizer);
    const bool judged = prepared || call->norm, first = device->fresh_masters;
    status = make_masters(optimizer, device, error);
    if (status == HONE_OK && judged)
        status = judge(optimizer, device, call, error);
    if (status == HONE_OK && prepared)
        status = launch_prepare(device, error);
    if (status == HONE_OK)
        status = launch_step(optimizer, device, &call->frame, judged ? device->outcome : NULL,
                             prepared || device->class_count > HONE_DEVICE_SCALARS, error);
    if (status == HONE_OK)
        status = hone_devices_clear(optimizer, call, error);
    /* A step that does not count leaves making the masters to the next one. */
    struct hone_outcome own = {.go = true};
    if (outcome == NULL && first && conditional(optimizer))
        outcome = &own;
    if (status == HONE_OK && outcome != NULL && judged)
        status = fetch_outcome(device, outcome, error);
    if (status == HONE_OK && first)
        device->fresh_masters = outcome != NULL && !outcome->go;
    if (status == HONE_OK)
        hone_devices_count(optimizer);
    return status;
}
