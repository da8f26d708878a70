/* SPDX-License-Identifier: Apache-2.0 */
/* Learning rates over time. A schedule is immutable data: a type with arguments, and for every e =
 * 0, 1, 2, ... a rate in closed form, so that resuming is exact. The conventions are PyTorch's:
 * attaching a schedule sets the rate to value(0), and each hone_optimizer_schedule_step moves on by
 * one, so the k-th update uses value(k - 1). docs/schedules.md lists the types and their arguments;
 * in a spec:
 *
 *   "schedule": {"type": "cosine_annealing", "T_max": 100, "eta_min": 1e-6, "warmup_steps": 10}
 *
 * Every type takes "warmup_steps" w (the rate rises linearly from 0 over the first w values, from
 * 1 / w with "warmup_from_one"), and "per": "step" or "epoch", which says what e counts. */
#ifndef HONE_SCHEDULE_H
#define HONE_SCHEDULE_H

#include <hone/optimizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_schedule hone_schedule;

/* From the JSON object above. Errors: SPEC with key path and offset, MEMORY. The
 * caller frees it. */
HONE_API hone_status hone_schedule_parse(hone_schedule **schedule, const hone_context *context,
                                         const char *json, size_t length, hone_error *error);

/* base * factor(e), computed by the caller; cannot be saved. */
typedef double hone_schedule_fn(double e, void *user);
HONE_API hone_status hone_schedule_create_callback(hone_schedule **schedule,
                                                   const hone_context *context,
                                                   hone_schedule_fn *factor, void *user,
                                                   hone_error *error);
HONE_API void hone_schedule_free(hone_schedule *schedule); /* NULL is accepted */

HONE_API const char *hone_schedule_type(const hone_schedule *schedule); /* "cosine_annealing" */

/* Whether e counts epochs ("per": "epoch"): moved by hone_optimizer_schedule_epoch, not _step. */
HONE_API bool hone_schedule_counts_epochs(const hone_schedule *schedule);

/* The rate at e >= 0 of a group whose own rate is `base`; e may be fractional where the type's
 * formula allows it. RANGE past the end of "one_cycle"; ARGUMENT for "reduce_lr_on_plateau", which
 * depends on metrics. */
HONE_API hone_status hone_schedule_value(const hone_schedule *schedule, double base, double e,
                                         double *value, hone_error *error);

/* Attaches a copy to a group (NULL: none) and sets the group's rate to value(0); the rate it has
 * now becomes the base. masked_lr keeps its ratio to lr, and with lr 0 is itself driven, unless it
 * has a schedule of its own. Errors: NAME when a type that moves momentum meets a rule without
 * momentum and beta1, RANGE when value(0) is nothing that the rule takes, MEMORY. */
HONE_API hone_status hone_optimizer_set_schedule(hone_optimizer *optimizer, int group,
                                                 const hone_schedule *schedule, hone_error *error);
HONE_API const hone_schedule *hone_optimizer_schedule(const hone_optimizer *optimizer, int group);

/* The same for masked_lr alone: its base is the rate it has now, or lr where it has none. NULL: it
 * follows lr again, with the ratio that the two have now. Both schedules are moved by the functions
 * below. Errors: NAME for a type that moves momentum, RANGE as above, MEMORY. */
HONE_API hone_status hone_optimizer_set_masked_schedule(hone_optimizer *optimizer, int group,
                                                        const hone_schedule *schedule,
                                                        hone_error *error);
HONE_API const hone_schedule *hone_optimizer_masked_schedule(const hone_optimizer *optimizer,
                                                             int group);

/* The next value of every schedule counted in steps (or in epochs). Call it after the step (or at
 * the end of an epoch). Setting "lr" by hand in between rescales what follows. Errors: RANGE past
 * the end of a schedule, or where the rule does not take what it gives (an infinite rate, a beta1
 * of 1); then no rate has changed. */
HONE_API hone_status hone_optimizer_schedule_step(hone_optimizer *optimizer, hone_error *error);
HONE_API hone_status hone_optimizer_schedule_epoch(hone_optimizer *optimizer, hone_error *error);

/* Hands a metric to every "reduce_lr_on_plateau". NaN counts as no improvement. */
HONE_API hone_status hone_optimizer_schedule_metric(hone_optimizer *optimizer, double metric,
                                                    hone_error *error);

/* Where a group's schedule stands: e, the count of its steps; 0 without one. */
HONE_API uint64_t hone_optimizer_schedule_count(const hone_optimizer *optimizer, int group);
HONE_API uint64_t hone_optimizer_masked_schedule_count(const hone_optimizer *optimizer, int group);

#ifdef __cplusplus
}
#endif

#endif
