/* SPDX-License-Identifier: Apache-2.0 */
/* The loss scale and its update; the step (step.c) unscales, checks and calls it. */
#include <math.h>

#include "core/optimizer_internal.h"

void hone_scaler_init(hone_scaler *scaler)
{
    *scaler = (hone_scaler){.scale = 65536,
                            .growth_factor = 2,
                            .backoff_factor = 0.5,
                            .growth_interval = 2000,
                            .max_scale = (double)INFINITY};
}

/* The scale as torch keeps it, in float: growth past float's range is refused. */
static double bounded(const hone_scaler *scaler, double scale)
{
    if (!isfinite((float)scale))
        return scaler->scale;
    return fmin(fmax(scale, scaler->min_scale), scaler->max_scale);
}

void hone_scaler_update(hone_scaler *scaler, bool found_nonfinite)
{
    if (found_nonfinite) {
        scaler->scale = bounded(scaler, scaler->scale * scaler->backoff_factor);
        scaler->growth_tracker = 0;
    } else if (++scaler->growth_tracker >= scaler->growth_interval) {
        scaler->scale = bounded(scaler, scaler->scale * scaler->growth_factor);
        scaler->growth_tracker = 0;
    }
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
    if (!(scaler->min_scale >= 0) || !(scaler->max_scale >= scaler->min_scale))
        return hone_fail(
            error, HONE_ERROR_RANGE,
            "the loss scale's bounds are %g and %g; they must be 0 or more, the second "
            "at least the first",
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
        optimizer->scaler = *scaler;
    }
    optimizer->scaling = scaler != NULL;
    optimizer->loss_scale = 1;
    return HONE_OK;
}

bool hone_optimizer_scaler(const hone_optimizer *optimizer, hone_scaler *scaler)
{
    if (optimizer->scaling && scaler != NULL)
        *scaler = optimizer->scaler;
    return optimizer->scaling;
}

double hone_optimizer_loss_scale(const hone_optimizer *optimizer)
{
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
    return optimizer->skipped;
}
