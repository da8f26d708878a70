/* SPDX-License-Identifier: Apache-2.0 */
/* What has to lie on a device before a step is launched there: memory for its numbers, groups, counters
 * and gradients that moved. All that can fail fails here, before the first write. */
#include <math.h>
#include <string.h>

#include "core/device.h"

static size_t padded(size_t size)
{
    return (size + 255) / 256 * 256;
}

static hone_status reserve(struct hone_device *device, struct hone_device_memory *memory,
                           size_t size, bool capturing, hone_error *error)
{
    if (size <= memory->size)
        return HONE_OK;
    if (capturing)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "device %d: a step needs memory that it does not have yet, and a graph is "
                         "being captured; call hone_optimizer_prepare before the capture",
                         device->queue.device);
    return hone_device_reserve(device, memory, size, "a step", error);
}

static bool takes_norm(const hone_optimizer *optimizer)
{
    return isfinite(optimizer->spec->clip_norm) ||
           optimizer->spec->nonfinite != HONE_NONFINITE_PROPAGATE || optimizer->scaling;
}

/* Memory of the numbers that do not travel with a launch. */
static hone_status reserve_numbers(hone_optimizer *optimizer, struct hone_device *device,
                                   bool capturing, hone_error *error)
{
    const bool prepared = hone_devices_prepare(optimizer);
    const bool stored = prepared || device->class_count > HONE_DEVICE_SCALARS;
    const size_t groups = (size_t)optimizer->spec->group_count;
    const size_t at_scalars = padded(sizeof *device->outcome);
    const size_t at_classes =
        at_scalars + (stored ? padded(sizeof *device->scalars * device->class_count) : 0);
    const size_t at_groups =
        at_classes + (prepared ? padded(sizeof *device->own_classes * device->class_count) : 0);
    const size_t end = at_groups + (prepared ? padded(sizeof *device->own_groups * groups) : 0);
    const void *const before = device->prepared.data;
    hone_status status = HONE_OK;
    if (takes_norm(optimizer))
        status = reserve(device, &device->shares, sizeof(double) * (device->chunk_count + 1),
                         capturing, error);
    if (status == HONE_OK)
        status = reserve(device, &device->prepared, end, capturing, error);
    if (status != HONE_OK)
        return status;
    char *const base = device->prepared.data;
    struct hone_device_class *const own_classes = (void *)(base + at_classes);
    struct hone_device_group *const own_groups = (void *)(base + at_groups);
    if (base != before || own_classes != device->own_classes || own_groups != device->own_groups) {
        device->counts = false;
        device->sent_groups = 0;
    }
    device->outcome = (void *)base;
    device->scalars = (void *)(base + at_scalars);
    device->own_classes = own_classes;
    device->own_groups = own_groups;
    return HONE_OK;
}

static int hyper_index(const hone_rule *rule, const char *name)
{
    return hone_rule_hyper_find(rule, name);
}

static hone_status describe_group(const hone_optimizer *optimizer, const struct hone_device *device,
                                  int index, struct hone_device_group *out, hone_error *error)
{
    const struct hone_devices *const devices = optimizer->devices;
    const struct hone_group *const group = &optimizer->spec->groups[index];
    memset(out, 0, sizeof *out); /* compared as bytes */
    for (int i = 0; i < group->rule->hyper_count; i++) {
        if (group->values[i].callback != NULL)
            return hone_fail(
                error, HONE_ERROR_UNSUPPORTED,
                "group %d: %s is computed by a callback, which a step that is prepared "
                "on device %d cannot call; give it as a scale and a power",
                index, group->rule->hypers[i].name, device->queue.device);
        out->number[i] = group->values[i].number;
        out->power[i] = group->values[i].power;
    }
    out->masked_lr = group->masked_lr;
    out->rule = hone_rule_index(group->rule);
    out->lr_index = hyper_index(group->rule, "lr");
    out->maximize_index = hyper_index(group->rule, "maximize");
    if (index < devices->lr_count && devices->lr[index].data != NULL) {
        out->lr = devices->lr[index].data;
        out->lr_is_double = devices->lr[index].is_double;
    }
    return HONE_OK;
}

static hone_status fail_capture(const struct hone_device *device, const char *what,
                                hone_error *error)
{
    return hone_fail(error, HONE_ERROR_ARGUMENT,
                     "device %d: %s since the last step, and a graph is being captured; call "
                     "hone_optimizer_prepare before the capture",
                     device->queue.device, what);
}

/* Hyperparameters that differ from what the device holds go there. */
static hone_status send_groups(hone_optimizer *optimizer, struct hone_device *device,
                               bool capturing, hone_error *error)
{
    const size_t count = (size_t)optimizer->spec->group_count;
    if (count > device->group_capacity) {
        struct hone_device_group *const grown =
            hone_allocate(device->context, sizeof *grown * count);
        if (grown == NULL)
            return hone_fail_memory(error, sizeof *grown * count, "the groups of a device");
        hone_release(device->context, device->groups,
                     sizeof *device->groups * device->group_capacity);
        device->groups = grown;
        device->group_capacity = count;
        device->sent_groups = 0;
    }
    for (size_t g = 0; g < count; g++) {
        struct hone_device_group now;
        hone_status status = describe_group(optimizer, device, (int)g, &now, error);
        if (status != HONE_OK)
            return status;
        if (g < device->sent_groups && memcmp(&now, &device->groups[g], sizeof now) == 0)
            continue;
        if (capturing)
            return fail_capture(device, "hyperparameters have changed", error);
        device->groups[g] = now;
        status = hone_device_check(
            device, device->target->put(device->queue, device->own_groups + g, &now, sizeof now),
            "a step", error);
        if (status != HONE_OK) {
            device->sent_groups = 0;
            return status;
        }
    }
    device->sent_groups = count;
    return HONE_OK;
}

/* The host's counters become the device's. */
static hone_status send_counters(hone_optimizer *optimizer, struct hone_device *device,
                                 bool capturing, hone_error *error)
{
    if (device->counts)
        return HONE_OK;
    if (capturing)
        return fail_capture(device, "counters or multipliers have changed", error);
    const struct hone_device_outcome outcome = {.norm = (double)NAN,
                                                .coef = 1,
                                                .grad_scale = 1,
                                                .finite = 1,
                                                .go = 1,
                                                .skipped = optimizer->skipped,
                                                .scale = hone_scaler_state(&optimizer->scaler)};
    hone_status status =
        hone_device_check(device,
                          device->target->put(device->queue, device->own_classes, device->classes,
                                              sizeof *device->classes * device->class_count),
                          "a step", error);
    if (status == HONE_OK)
        status = hone_device_check(
            device, device->target->put(device->queue, device->outcome, &outcome, sizeof outcome),
            "a step", error);
    device->counts = status == HONE_OK;
    return status;
}

/* New addresses of gradients, without waiting: they travel inside launches. Each replay of a graph sends
 * those that it was captured with, whatever steps outside of it have sent, and these send theirs again. */
static hone_status send_moved(struct hone_device *device, bool capturing, hone_error *error)
{
    device->captured = device->captured || capturing;
    if (device->tensor_count == 0 || (!device->moved && !device->captured))
        return HONE_OK;
    const char *const image = device->image.data;
    const size_t sources =
        device->sources == NULL ? 0 : (size_t)((char *)device->sources - (char *)device->tensors);
    hone_status status =
        hone_device_check(device,
                          device->target->put(device->queue, device->tensors, image,
                                              sizeof *device->tensors * device->tensor_count),
                          "the plan of a device", error);
    if (status == HONE_OK && sources > 0)
        status =
            hone_device_check(device,
                              device->target->put(device->queue, device->sources, image + sources,
                                                  sizeof *device->sources * device->tensor_count),
                              "the plan of a device", error);
    device->moved = status != HONE_OK;
    return status;
}

static hone_status ready(hone_optimizer *optimizer, struct hone_device *device, hone_error *error)
{
    bool capturing;
    hone_status status = hone_device_inspect(device, &capturing, error);
    if (status != HONE_OK)
        return status;
    if (!device->classified) {
        status = capturing ? fail_capture(device, "counters or multipliers have changed", error)
                           : hone_device_plan(optimizer, device, error);
        if (status != HONE_OK)
            return status;
    }
    const bool prepared = hone_devices_prepare(optimizer);
    if (capturing && !prepared)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "device %d: a graph is being captured, but the optimizer keeps its rates "
                         "and counters on the host; see hone_optimizer_set_capturable",
                         device->queue.device);
    if (capturing && device->fresh_masters)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "device %d: masters are made from the parameters by the first step, which "
                         "a graph would repeat; take one step before the capture",
                         device->queue.device);
    status = send_moved(device, capturing, error);
    if (status == HONE_OK)
        status = reserve_numbers(optimizer, device, capturing, error);
    if (status == HONE_OK && prepared)
        status = send_groups(optimizer, device, capturing, error);
    if (status == HONE_OK && prepared)
        status = send_counters(optimizer, device, capturing, error);
    device->capturing = capturing;
    return status;
}

/* What a step reads from device memory must be on the device that reads it. */
static hone_status check_bound(const hone_optimizer *optimizer, hone_error *error)
{
    const struct hone_devices *const devices = optimizer->devices;
    for (size_t i = 0; i < optimizer->plan.tensor_count; i++) {
        const struct hone_param *const param = &optimizer->params[optimizer->plan.tensors[i].param];
        const int index = param->device == NULL ? -1 : param->device->queue.device;
        char place[HONE_PLACE_TEXT];
        if (param->group < devices->lr_count && devices->lr[param->group].data != NULL &&
            devices->lr[param->group].device != index)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "group %d reads its learning rate on device %d, but its parameter "
                             "\"%.120s\" is on %s",
                             param->group, devices->lr[param->group].device, param->name,
                             hone_device_text(place, param->device));
    }
    if (hone_devices_have_scale(devices) &&
        (!hone_devices_alone(optimizer) ||
         hone_device_find(optimizer, devices->scale_device)->member_count == 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "the loss scale lies on device %d, but not all stepped parameters do",
                         devices->scale_device);
    return HONE_OK;
}

/* Where devices have counted so far and the host will: before their numbers find other places. */
static hone_status bring_counters_home(hone_optimizer *optimizer, hone_error *error)
{
    bool counted = false;
    HONE_EACH_DEVICE(optimizer->devices, i)
    counted = counted || optimizer->devices->list[i]->counts;
    return counted && !hone_devices_prepare(optimizer)
               ? hone_devices_take_counters(optimizer, error)
               : HONE_OK;
}

hone_status hone_devices_ready(hone_optimizer *optimizer, hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    if (devices == NULL)
        return HONE_OK;
    hone_status status = HONE_OK;
    if (hone_devices_have_lr(devices) || hone_devices_have_scale(devices))
        status = check_bound(optimizer, error);
    if (status == HONE_OK)
        status = bring_counters_home(optimizer, error);
    HONE_EACH_DEVICE(devices, i)
    if (status == HONE_OK && devices->list[i]->member_count > 0)
        status = ready(optimizer, devices->list[i], error);
    return status;
}
