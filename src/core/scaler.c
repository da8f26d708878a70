/* SPDX-License-Identifier: Apache-2.0 */
/* The loss scale and its update; the step (step.c) unscales, checks and calls it. */
#include <math.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

void hone_scaler_init(hone_scaler *scaler)
{
    if (scaler == NULL)
        return;
    *scaler = (hone_scaler){.scale = 65536,
                            .growth_factor = 2,
                            .backoff_factor = 0.5,
                            .growth_interval = 2000,
                            .max_scale = (double)INFINITY};
}

struct hone_loss_scale hone_scaler_state(const hone_scaler *scaler)
{
    return (struct hone_loss_scale){.scale = scaler->scale,
                                    .growth_factor = scaler->growth_factor,
                                    .backoff_factor = scaler->backoff_factor,
                                    .min_scale = scaler->min_scale,
                                    .max_scale = scaler->max_scale,
                                    .growth_interval = scaler->growth_interval,
                                    .growth_tracker = scaler->growth_tracker};
}

void hone_scaler_update(hone_scaler *scaler, bool found_nonfinite)
{
    if (scaler == NULL)
        return;
    struct hone_loss_scale state = hone_scaler_state(scaler);
    hone_next_scale(&state, found_nonfinite);
    scaler->scale = state.scale;
    scaler->growth_tracker = state.growth_tracker;
}

hone_status hone_scaler_check(const hone_scaler *scaler, hone_error *error)
{
    if (!(scaler->scale > 0) || !isfinite(scaler->scale))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the loss scale is %g; it must be finite and above 0", scaler->scale);
    if (!(scaler->growth_factor > 1) || !isfinite(scaler->growth_factor))
        return hone_fail(error, HONE_ERROR_RANGE, "growth_factor is %g; it must be above 1",
                         scaler->growth_factor);
    if (!(scaler->backoff_factor > 0) || !(scaler->backoff_factor < 1))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "backoff_factor is %g; it must be above 0 and below 1",
                         scaler->backoff_factor);
    if (scaler->growth_interval == 0)
        return hone_fail(error, HONE_ERROR_RANGE, "growth_interval is 0; it must be at least 1");
    if (!(scaler->min_scale >= 0) || !isfinite(scaler->min_scale) || !(scaler->max_scale > 0) ||
        !(scaler->max_scale >= scaler->min_scale))
        return hone_fail(
            error, HONE_ERROR_RANGE,
            "the loss scale's bounds are %g and %g; the first must be finite and 0 or more, the "
            "second above 0 and at least the first",
            scaler->min_scale, scaler->max_scale);
    return HONE_OK;
}

hone_status hone_optimizer_set_scaler(hone_optimizer *optimizer, const hone_scaler *scaler,
                                      hone_error *error)
{
    if (optimizer == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
    if (scaler != NULL) {
        const hone_status status = hone_scaler_check(scaler, error);
        if (status != HONE_OK)
            return status;
    }
    if (scaler != NULL && hone_devices_have_scale(optimizer->devices))
        return hone_fail(
            error, HONE_ERROR_ARGUMENT,
            "the loss scale or the flag of non-finite gradients is bound to a device's "
            "memory, which leaves a scaler nothing to do");
    const hone_status settled = hone_devices_take_counters(optimizer, error);
    if (settled != HONE_OK)
        return settled;
    if (scaler != NULL)
        optimizer->scaler = *scaler;
    optimizer->scaling = scaler != NULL;
    optimizer->loss_scale = 1;
    return HONE_OK;
}

bool hone_optimizer_scaler(const hone_optimizer *optimizer, hone_scaler *scaler)
{
    if (optimizer == NULL)
        return false;
    hone_devices_settle(optimizer, NULL);
    if (optimizer->scaling && scaler != NULL)
        *scaler = optimizer->scaler;
    return optimizer->scaling;
}

double hone_optimizer_loss_scale(const hone_optimizer *optimizer)
{
    if (optimizer == NULL)
        return 1;
    hone_devices_settle(optimizer, NULL);
    return optimizer->scaling ? optimizer->scaler.scale : optimizer->loss_scale;
}

hone_status hone_optimizer_set_loss_scale(hone_optimizer *optimizer, double scale,
                                          hone_error *error)
{
    if (optimizer == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
    if (optimizer->scaling)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "the optimizer has a scaler, which sets the loss scale itself");
    if (!(scale > 0) || !isfinite(scale))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the loss scale is %g; it must be finite and above 0", scale);
    optimizer->loss_scale = scale;
    return HONE_OK;
}

uint64_t hone_optimizer_skipped(const hone_optimizer *optimizer)
{
    if (optimizer == NULL)
        return 0;
    hone_devices_settle(optimizer, NULL);
    return optimizer->skipped;
}
