/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller says about devices: streams, capture, and numbers that lie in their memory. */
#include <string.h>

#include <hone/cuda.h>

#include "core/device.h"

hone_status hone_optimizer_set_stream(hone_optimizer *optimizer, int device, void *stream,
                                      hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    struct hone_device *found = NULL;
    if (status == HONE_OK)
        status = hone_device_open(optimizer, device, &found, error);
    if (status != HONE_OK)
        return status;
    const struct hone_device_queue queue = {.device = device, .stream = stream};
    bool capturing;
    if (stream != found->queue.stream)
        status = hone_device_check(found, found->target->inspect(queue, &capturing),
                                   "the stream of an optimizer", error);
    if (status == HONE_OK)
        found->queue.stream = stream;
    return status;
}

hone_status hone_optimizer_set_capturable(hone_optimizer *optimizer, bool capturable,
                                          hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status == HONE_OK)
        status = hone_devices_need(optimizer, error);
    if (status == HONE_OK && optimizer->devices->capturable != capturable)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        optimizer->devices->capturable = capturable;
    return status;
}

/* One element of the types named, on a device. */
static hone_status check_scalar(hone_optimizer *optimizer, const hone_tensor *tensor,
                                bool may_be_double, const char *what, struct hone_device **device,
                                hone_error *error)
{
    const hone_status status = hone_device_check_tensor(optimizer, tensor, what, device, error);
    if (status != HONE_OK)
        return status;
    if (*device == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s is on the CPU; give its value instead, or a tensor on a device", what);
    if (tensor->dtype != HONE_F32 && !(may_be_double && tensor->dtype == HONE_F64))
        return hone_fail(error, HONE_ERROR_DTYPE, "%s is %s; it must be F32%s", what,
                         hone_dtype_name(tensor->dtype), may_be_double ? " or F64" : "");
    if (hone_tensor_numel(tensor) != 1)
        return hone_fail(error, HONE_ERROR_SHAPE, "%s has %lld elements; it must have one", what,
                         (long long)hone_tensor_numel(tensor));
    return HONE_OK;
}

static hone_status reserve_lr(hone_optimizer *optimizer, hone_error *error)
{
    struct hone_devices *const devices = optimizer->devices;
    const int count = optimizer->spec->group_count;
    if (count <= devices->lr_count)
        return HONE_OK;
    const size_t size = sizeof *devices->lr;
    struct hone_device_lr *const grown =
        hone_allocate_zeroed(optimizer->context, size * (size_t)count);
    if (grown == NULL)
        return hone_fail_memory(error, size * (size_t)count, "the learning rates on a device");
    if (devices->lr_count > 0)
        memcpy(grown, devices->lr, size * (size_t)devices->lr_count);
    hone_release(optimizer->context, devices->lr, size * (size_t)devices->lr_count);
    devices->lr = grown;
    devices->lr_count = count;
    return HONE_OK;
}

hone_status hone_optimizer_bind_lr(hone_optimizer *optimizer, int group, const hone_tensor *lr,
                                   hone_error *error)
{
    hone_status status = hone_check_group(optimizer, group, error);
    struct hone_device *device = NULL;
    if (status == HONE_OK && lr == NULL && optimizer->devices == NULL)
        return HONE_OK;
    if (status == HONE_OK && lr != NULL)
        status = check_scalar(optimizer, lr, true, "the learning rate", &device, error);
    if (status == HONE_OK)
        status = reserve_lr(optimizer, error);
    if (status != HONE_OK)
        return status;
    const struct hone_device_lr wanted =
        lr == NULL ? (struct hone_device_lr){0}
                   : (struct hone_device_lr){.data = lr->data,
                                             .is_double = lr->dtype == HONE_F64,
                                             .device = device->queue.device};
    struct hone_device_lr *const bound = &optimizer->devices->lr[group];
    if (bound->data == wanted.data && bound->is_double == wanted.is_double &&
        bound->device == wanted.device)
        return HONE_OK;
    status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        optimizer->devices->lr[group] = wanted;
    return status;
}

hone_status hone_optimizer_bind_loss_scale(hone_optimizer *optimizer, const hone_tensor *scale,
                                           const hone_tensor *found_nonfinite, hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK ||
        (scale == NULL && found_nonfinite == NULL && optimizer->devices == NULL))
        return status;
    struct hone_device *of_scale = NULL, *of_flag = NULL;
    if (optimizer->scaling && (scale != NULL || found_nonfinite != NULL))
        status = hone_fail(error, HONE_ERROR_ARGUMENT,
                           "the optimizer has a scaler, which sets the loss scale itself");
    if (status == HONE_OK && scale != NULL)
        status = check_scalar(optimizer, scale, false, "the loss scale", &of_scale, error);
    if (status == HONE_OK && found_nonfinite != NULL)
        status = check_scalar(optimizer, found_nonfinite, false, "the flag of non-finite gradients",
                              &of_flag, error);
    if (status == HONE_OK && of_scale != NULL && of_flag != NULL && of_scale != of_flag)
        status = hone_fail(error, HONE_ERROR_ARGUMENT,
                           "the loss scale is on device %d, the flag of non-finite gradients on "
                           "device %d; they must be on one",
                           of_scale->queue.device, of_flag->queue.device);
    struct hone_devices *const devices = optimizer->devices;
    const bool appears =
        status == HONE_OK && ((scale != NULL) != (devices->grad_scale != NULL) ||
                              (found_nonfinite != NULL) != (devices->found_inf != NULL));
    if (appears)
        status = hone_devices_take_counters(optimizer, error);
    if (status != HONE_OK)
        return status;
    devices->grad_scale = scale == NULL ? NULL : scale->data;
    devices->found_inf = found_nonfinite == NULL ? NULL : found_nonfinite->data;
    devices->scale_device = of_scale != NULL  ? of_scale->queue.device
                            : of_flag != NULL ? of_flag->queue.device
                                              : 0;
    return HONE_OK;
}

uint64_t hone_optimizer_device_bytes(const hone_optimizer *optimizer, int device)
{
    const struct hone_device *const found =
        optimizer == NULL ? NULL : hone_device_find(optimizer, device);
    return found == NULL ? 0 : found->bytes;
}
