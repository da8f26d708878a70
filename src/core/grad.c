/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients: handed in by the caller, checked, remembered, zeroed. */
#include <stdio.h>
#include <string.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

static hone_status check_grad(hone_optimizer *optimizer, const struct hone_param *param,
                              const hone_tensor *grad, hone_error *error)
{
    char what[160];
    snprintf(what, sizeof what, "the gradient of \"%.120s\"", param->name);
    struct hone_device *device;
    const hone_status status = hone_device_check_tensor(optimizer, grad, what, &device, error);
    if (status != HONE_OK)
        return status;
    char found[HONE_PLACE_TEXT], wanted[HONE_PLACE_TEXT];
    if (device != param->device)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is on %s; the parameter is on %s", what,
                         hone_device_text(found, device), hone_device_text(wanted, param->device));
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(grad->dtype, &format, &reals) || reals != param->reals)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s is %s; a parameter of type %s takes %s", what,
                         hone_dtype_name(grad->dtype), hone_dtype_name(param->tensor.dtype),
                         param->reals == 2 ? "C64 or C128" : "F32, F64, BF16 or F16");
    if (!hone_same_shape(grad, &param->tensor))
        return hone_fail_shape(param, grad, "the gradient", error);
    const size_t size = hone_tensor_bytes(grad);
    const int64_t other = size == 0 ? -1 : hone_overlapping(optimizer, grad->data, size, -1);
    if (other >= 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s overlaps the memory of parameter \"%.120s\"", what,
                         optimizer->params[other].name);
    return HONE_OK;
}

/* Whether a gradient differs from the one before in nothing but its address, which nobody else has:
 * what every step of a training loop hands in that makes its gradients anew. */
static bool only_moved(const hone_optimizer *optimizer, const struct hone_param *param,
                       const hone_tensor *grad)
{
    const size_t size = param->count * hone_format_size(param->grad_format);
    return param->has_grad && grad->dtype == param->grad_dtype &&
           hone_device_holds(param->device, grad) && grad->ndim == param->tensor.ndim &&
           (grad->ndim == 0 || grad->shape != NULL) && grad->strides == NULL &&
           hone_same_shape(grad, &param->tensor) && size > 0 && grad->data != NULL &&
           (uintptr_t)grad->data % hone_format_size(param->grad_format) == 0 &&
           hone_overlapping(optimizer, grad->data, size, -1) < 0;
}

hone_status hone_optimizer_set_grad(hone_optimizer *optimizer, int64_t index,
                                    const hone_tensor *grad, hone_error *error)
{
    hone_status status = hone_check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    if (grad == NULL) {
        optimizer->plan.valid = optimizer->plan.valid && !param->has_grad;
        param->has_grad = false;
        param->grad = NULL;
        return HONE_OK;
    }
    if (only_moved(optimizer, param, grad)) {
        param->grad = grad->data;
        if (optimizer->plan.valid)
            hone_plan_move_grad(optimizer, param);
        return HONE_OK;
    }
    status = check_grad(optimizer, param, grad, error);
    if (status != HONE_OK)
        return status;
    const bool same_place = param->grad == grad->data || param->count == 0; /* nothing is there */
    if (param->has_grad && same_place && param->grad_dtype == grad->dtype)
        return HONE_OK;
    int reals;
    hone_dtype_format(grad->dtype, &param->grad_format, &reals);
    param->grad_dtype = grad->dtype;
    param->grad = grad->data;
    param->has_grad = true;
    optimizer->plan.valid = false;
    return HONE_OK;
}

hone_status hone_check_grads(hone_optimizer *optimizer, hone_error *error)
{
    if (!optimizer->ranges_changed)
        return HONE_OK;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        const size_t size = param->count * hone_format_size(param->grad_format);
        if (!param->has_grad || size == 0)
            continue;
        const int64_t other = hone_overlapping(optimizer, param->grad, size, -1);
        if (other >= 0)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "the gradient of \"%.120s\" overlaps the memory of parameter "
                             "\"%.120s\", which came there later",
                             param->name, optimizer->params[other].name);
    }
    optimizer->ranges_changed = false;
    return HONE_OK;
}

static hone_status zero(const struct hone_param *param, hone_error *error)
{
    const size_t size = param->count * hone_format_size(param->grad_format);
    struct hone_device *const device = param->device;
    if (device != NULL)
        return hone_device_check(device, device->target->zero(device->queue, param->grad, size),
                                 "a gradient", error);
    memset(param->grad, 0, size);
    return HONE_OK;
}

hone_status hone_optimizer_zero_grad(hone_optimizer *optimizer, bool set_to_none, hone_error *error)
{
    const hone_status status = hone_check_optimizer(optimizer, error);
    if (status != HONE_OK)
        return status;
    for (int64_t i = 0; i < optimizer->count; i++) {
        struct hone_param *const param = &optimizer->params[i];
        if (!param->has_grad)
            continue;
        if (set_to_none) {
            param->has_grad = false;
            param->grad = NULL;
            optimizer->plan.valid = false;
        } else if (param->count > 0) {
            const hone_status zeroed = zero(param, error);
            if (zeroed != HONE_OK)
                return zeroed;
        }
    }
    return HONE_OK;
}
