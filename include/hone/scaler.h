/* SPDX-License-Identifier: Apache-2.0 */
/* Loss scaling for 16-bit training: the loss is multiplied by a scale so that small gradients do
 * not vanish; the step divides it out again, and a step that finds a gradient that is not finite
 * changes nothing, is counted, and halves the scale. The arithmetic is that of
 * torch.amp.GradScaler, with bounds.
 *
 *   hone_optimizer_set_scaler(opt, &scaler, &err);
 *   for each batch: loss *= hone_optimizer_loss_scale(opt);  ... gradients ...
 *                   hone_optimizer_step(opt, &report, &err);   // report.skipped tells */
#ifndef HONE_SCALER_H
#define HONE_SCALER_H

#include <hone/optimizer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Plain data; hone_scaler_init writes the defaults named here. */
typedef struct hone_scaler {
    double scale;             /* > 0; default 65536 */
    double growth_factor;     /* > 1; default 2 */
    double backoff_factor;    /* in (0, 1); default 0.5 */
    uint64_t growth_interval; /* finite steps in a row before the scale grows; > 0; default 2000 */
    double min_scale;         /* finite, >= 0; default 0: no bound */
    double max_scale;         /* > 0 and >= min_scale; default infinity: no bound */
    uint64_t growth_tracker;  /* finite steps since the last change */
} hone_scaler;

HONE_API void hone_scaler_init(hone_scaler *scaler);

/* Lets every step unscale, check, and update the scale afterwards. A copy is kept, and saved in
 * checkpoints. NULL: no scaler, scale 1. Errors: RANGE; ARGUMENT beside a scale or flag in a
 * device's memory (hone_optimizer_bind_loss_scale). */
HONE_API hone_status hone_optimizer_set_scaler(hone_optimizer *optimizer, const hone_scaler *scaler,
                                               hone_error *error);

/* The scaler as it stands; false if there is none. */
HONE_API bool hone_optimizer_scaler(const hone_optimizer *optimizer, hone_scaler *scaler);

/* What to multiply the next loss by; 1 without a scaler. */
HONE_API double hone_optimizer_loss_scale(const hone_optimizer *optimizer);

/* A scale kept by the caller: gradients are multiplied by float(1 / scale) as they are read.
 * Nothing is checked or updated unless clip_norm's policy says so. Not together with a scaler. */
HONE_API hone_status hone_optimizer_set_loss_scale(hone_optimizer *optimizer, double scale,
                                                   hone_error *error);

/* Steps skipped so far because a gradient was not finite. */
HONE_API uint64_t hone_optimizer_skipped(const hone_optimizer *optimizer);

/* One update of the scale on its own, as a step makes it. */
HONE_API void hone_scaler_update(hone_scaler *scaler, bool found_nonfinite);

#ifdef __cplusplus
}
#endif

#endif
