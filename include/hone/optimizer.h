/* SPDX-License-Identifier: Apache-2.0 */
/* An optimizer: named parameters in groups, their states, and the step that moves them. Each group
 * has its own rule. Parameters and gradients stay the caller's memory; states are the library's.
 *
 *   hone_optimizer_create(&opt, ctx, spec, &err);
 *   hone_optimizer_add(opt, "w", &w, HONE_GROUP_BY_NAME, &w_index, &err);
 *   for each batch: compute g;  hone_optimizer_set_grad(opt, w_index, &g, &err);  // pointer is
 * kept hone_optimizer_step(opt, NULL, &err);
 *
 * One optimizer, one calling thread at a time. A call that fails leaves every parameter, state and
 * counter as it was. */
#ifndef HONE_OPTIMIZER_H
#define HONE_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/spec.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_optimizer hone_optimizer;

/* Creates an optimizer with the spec's groups and no parameters. The spec is copied; the context is
 * borrowed until hone_optimizer_free. */
HONE_API hone_status hone_optimizer_create(hone_optimizer **optimizer, const hone_context *context,
                                           const hone_spec *spec, hone_error *error);
HONE_API void hone_optimizer_free(hone_optimizer *optimizer); /* NULL is accepted */
HONE_API const hone_context *hone_optimizer_context(const hone_optimizer *optimizer);

/* The recipe as it stands now (groups added and values set since creation included), borrowed until
 * the optimizer changes or is freed. */
HONE_API const hone_spec *hone_optimizer_spec(const hone_optimizer *optimizer);

/* Replaces the recipe (copied) and keeps what the parameters have come to, as after loading a
 * checkpoint that another recipe wrote. The patterns choose every parameter's group anew, and its
 * multiplier is that of the group and its module (by the name it is registered under); states and
 * counters stay, in the types they have; masters and compensations that the new precision does not
 * keep are dropped. A schedule goes on where that of the group with the same number stood, from the
 * new learning rate, except that reduce_lr_on_plateau also keeps the rate it has come to. Errors:
 * MISMATCH when a parameter that has been stepped would change its rule, NAME and RANGE of a
 * schedule that does not fit or has ended by then, ARGUMENT when grad_accum_steps changes while
 * gradients wait for their update, MEMORY. */
HONE_API hone_status hone_optimizer_set_spec(hone_optimizer *optimizer, const hone_spec *spec,
                                             hone_error *error);

/* ---- groups: readable and writable between steps -------------------------------------------- */

HONE_API int hone_optimizer_group_count(const hone_optimizer *optimizer);
HONE_API const hone_rule *hone_optimizer_group_rule(const hone_optimizer *optimizer, int group);

/* Appends a group with the rule's defaults (NULL: a copy of group 0); `group` may be NULL. */
HONE_API hone_status hone_optimizer_add_group(hone_optimizer *optimizer, const char *rule,
                                              int *group, hone_error *error);

/* Values by hyperparameter name ("lr", "beta1", "amsgrad", ...); flags are 0 or 1. */
HONE_API hone_status hone_optimizer_get(const hone_optimizer *optimizer, int group,
                                        const char *hyper, double *value, hone_error *error);
HONE_API hone_status hone_optimizer_set(hone_optimizer *optimizer, int group, const char *hyper,
                                        double value, hone_error *error);
HONE_API hone_status hone_optimizer_set_curve(hone_optimizer *optimizer, int group,
                                              const char *hyper, double scale, double power,
                                              hone_error *error);

/* As hone_spec_set_coefficients. */
HONE_API hone_status hone_optimizer_set_coefficients(hone_optimizer *optimizer, int group,
                                                     const double (*triples)[3], int count,
                                                     hone_error *error);

/* A curve computed by the caller: every step asks it for each s (completed calls, from 1 on) that a
 * parameter of the group has, at times more than once, and it must answer alike each time. NaN or a
 * negative answer makes the step RANGE. A callback cannot be saved: a checkpoint of such an
 * optimizer is refused until the curve is data again. `curve` NULL restores the data. */
typedef double hone_curve_fn(uint64_t completed_calls, void *user);
HONE_API hone_status hone_optimizer_set_curve_callback(hone_optimizer *optimizer, int group,
                                                       const char *hyper, hone_curve_fn *curve,
                                                       void *user, hone_error *error);

/* The storage type of new states: HONE_F32 (default for 16-bit parameters) and so on for all slots
 * of the group, or of one slot by name. `dtype` is F32, F64, BF16 or F16. Slots that exist keep
 * their type. By default a slot has the parameter's type, and f32 for 16-bit parameters. */
HONE_API hone_status hone_optimizer_set_state_dtype(hone_optimizer *optimizer, int group,
                                                    const char *slot /* NULL: all */,
                                                    hone_dtype dtype, hone_error *error);

/* What is kept beside the group's 16-bit parameters; see hone_precision. States exist from the next
 * step on; a master starts as the parameter's value at the first step that counts. After writing to
 * a parameter that has a master, write the state "master" too (hone_optimizer_set_state). */
HONE_API hone_status hone_optimizer_set_precision(hone_optimizer *optimizer, int group,
                                                  hone_precision precision, hone_error *error);

/* ---- parameters ----------------------------------------------------------------------------- */

#define HONE_GROUP_BY_NAME (-1) /* the spec's patterns choose the group */

/* Registers a parameter: `name` (unique, not empty, without '@') is copied, the view's shape is
 * copied, its data borrowed until the optimizer is freed or hone_optimizer_rebind. F32, F64, BF16,
 * F16, C64 or C128, contiguous, of any length including 0; it may not overlap another parameter.
 * `index` (may be NULL) receives its number, which is stable. Errors: ARGUMENT, DTYPE, SHAPE, NAME,
 * MEMORY. */
HONE_API hone_status hone_optimizer_add(hone_optimizer *optimizer, const char *name,
                                        const hone_tensor *tensor, int group, int64_t *index,
                                        hone_error *error);

HONE_API int64_t hone_optimizer_count(const hone_optimizer *optimizer);
HONE_API int64_t hone_optimizer_find(const hone_optimizer *optimizer, const char *name); /* or -1 */
HONE_API const char *hone_optimizer_name(const hone_optimizer *optimizer, int64_t index);
HONE_API int hone_optimizer_group_of(const hone_optimizer *optimizer, int64_t index); /* or -1 */
HONE_API hone_status hone_optimizer_tensor(const hone_optimizer *optimizer, int64_t index,
                                           hone_tensor *tensor, hone_error *error);

/* The same parameter at a new address (same dtype and shape); its state stays. */
HONE_API hone_status hone_optimizer_rebind(hone_optimizer *optimizer, int64_t index,
                                           const hone_tensor *tensor, hone_error *error);

/* Hands in the gradient for the next steps: the pointer is kept until replaced, so a training loop
 * that reuses its buffers calls this once. NULL: no gradient; the parameter is skipped, without
 * decay and without counting. F32, F64, BF16 or F16 (C64, C128 for complex parameters), of the
 * parameter's shape, contiguous, and not overlapping any parameter. Never written, except by
 * hone_optimizer_zero_grad and the functions of clip.h. */
HONE_API hone_status hone_optimizer_set_grad(hone_optimizer *optimizer, int64_t index,
                                             const hone_tensor *grad, hone_error *error);

/* Multiplies the group's learning rate for one parameter; finite and >= 0; default: what the spec
 * says of its group and its module. */
HONE_API hone_status hone_optimizer_set_lr_multiplier(hone_optimizer *optimizer, int64_t index,
                                                      double multiplier, hone_error *error);
HONE_API hone_status hone_optimizer_lr_multiplier(const hone_optimizer *optimizer, int64_t index,
                                                  double *multiplier, hone_error *error);

/* ---- clipping inside the step (clip.h has it as functions on gradients) ---------------------- */

typedef enum hone_nonfinite {
    HONE_NONFINITE_PROPAGATE, /* IEEE arithmetic goes on, as torch does (default) */
    HONE_NONFINITE_ERROR, /* HONE_ERROR_NONFINITE; parameters, states and step counts are as they
                                 were. A round of accumulated gradients is dropped, the step counts
                                 in hone_optimizer_skipped, and a scaler is updated all the same */
    HONE_NONFINITE_SKIP   /* the same without the error: hone_step_report.skipped tells */
} hone_nonfinite;

/* Scales all gradients, as they are read, by min(1, max_norm / (total + 1e-6)), where total is the
 * norm of order p (1 <= p, infinity allowed) over all gradients of the step, in double. Where the
 * powers of finite entries overflow (3^1000; squares from 1e154 on) it is infinite, and the factor
 * 0, as in torch. `policy` says what an infinite or NaN total means; a scaler judges the entries
 * and not their sum. Gradients are not written. max_norm 0 < x; infinity switches it off. */
HONE_API hone_status hone_optimizer_clip_norm(hone_optimizer *optimizer, double max_norm, double p,
                                              hone_nonfinite policy, hone_error *error);

/* Clamps every gradient entry to [-limit, limit] as it is read; NaN stays NaN; infinity: off. With
 * both clips the norm is that of the clamped gradients. */
HONE_API hone_status hone_optimizer_clip_value(hone_optimizer *optimizer, double limit,
                                               hone_error *error);

/* ---- accumulation over micro-batches --------------------------------------------------------- */

/* Makes `steps` calls of hone_optimizer_step one update with the sum (or the mean) of their
 * gradients, added up in f32 (f64 for f64 parameters) in state "accumulated_grad". The first
 * steps - 1 calls only add. 1: off. ARGUMENT while gradients wait for their update. */
HONE_API hone_status hone_optimizer_set_grad_accum_steps(hone_optimizer *optimizer, int steps,
                                                         bool mean, hone_error *error);

/* ---- the step ------------------------------------------------------------------------------- */

typedef struct hone_step_report {
    int64_t stepped; /* parameters that had a gradient and were stepped; 0 while accumulating */
    double
        total_norm;   /* before clipping; NaN when no norm was asked for, or a scaler found an entry
                          that is not finite */
    double clip_coef; /* what the gradients were multiplied by; 1 without a clip */
    bool skipped;     /* a non-finite step was skipped by policy or scaler: nothing moved */
} hone_step_report;

/* Moves every parameter that has a gradient by its group's rule. `report` may be NULL. Allocates
 * only when parameters, gradients' presence or options changed since the last step (new states are
 * created then); hone_optimizer_prepare does that ahead of time. */
HONE_API hone_status hone_optimizer_step(hone_optimizer *optimizer, hone_step_report *report,
                                         hone_error *error);
HONE_API hone_status hone_optimizer_prepare(hone_optimizer *optimizer, hone_error *error);

/* Runs `closure` first: it recomputes the loss and the gradients (it may call set_grad and
 * zero_grad), writes the loss and returns 0; any other value stops the step with
 * HONE_ERROR_CLOSURE. Then steps. `loss` may be NULL. */
typedef int hone_closure_fn(double *loss, void *user);
HONE_API hone_status hone_optimizer_step_closure(hone_optimizer *optimizer,
                                                 hone_closure_fn *closure, void *user, double *loss,
                                                 hone_step_report *report, hone_error *error);

/* Drops every gradient (set_to_none), or writes zeros into them in place. */
HONE_API hone_status hone_optimizer_zero_grad(hone_optimizer *optimizer, bool set_to_none,
                                              hone_error *error);

/* ---- state ---------------------------------------------------------------------------------- */

/* Completed calls of one parameter (calls in which it had a gradient). */
HONE_API hone_status hone_optimizer_step_count(const hone_optimizer *optimizer, int64_t index,
                                               uint64_t *count, hone_error *error);
HONE_API hone_status hone_optimizer_set_step_count(hone_optimizer *optimizer, int64_t index,
                                                   uint64_t count, hone_error *error);

/* A view of one state slot by name; its data is the optimizer's, writable between steps, valid
 * until the optimizer is freed. NAME if the rule has no such slot; data NULL and ndim 0 with
 * HONE_OK if the slot has not been created yet. Complex parameters have real slots with a last
 * dimension of 2. */
HONE_API hone_status hone_optimizer_state(const hone_optimizer *optimizer, int64_t index,
                                          const char *slot, hone_tensor *view, hone_error *error);

/* Creates the slot if it is missing (with its initial value) and copies `values` into it,
 * converting between F32, F64, BF16 and F16. */
HONE_API hone_status hone_optimizer_set_state(hone_optimizer *optimizer, int64_t index,
                                              const char *slot, const hone_tensor *values,
                                              hone_error *error);

/* Keeps the slot in the caller's memory from now on: a contiguous view of the slot's shape, F32,
 * F64, BF16 or F16 whatever hone_optimizer_set_state_dtype says, overlapping neither a parameter
 * nor another state. With `adopt` its values are the state; without, they are replaced by those of
 * a new state. The memory is borrowed until the optimizer is freed or the slot is bound again; what
 * the library held there is freed. NULL: the slot is as if it had never been created. Does not
 * touch the step count. Errors: NAME, ARGUMENT, DTYPE, SHAPE. Memory that two states share is found
 * by the next step (ARGUMENT), so that states can trade places. */
HONE_API hone_status hone_optimizer_bind_state(hone_optimizer *optimizer, int64_t index,
                                               const char *slot, const hone_tensor *memory,
                                               bool adopt, hone_error *error);

/* Bytes held by all states, without those in the caller's memory. */
HONE_API uint64_t hone_optimizer_state_bytes(const hone_optimizer *optimizer);

#ifdef __cplusplus
}
#endif

#endif
