/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping as functions on gradients, outside any optimizer. Sums are accumulated in double in a
 * fixed order: the same bits at any thread count and CPU level. A tensor may be given several
 * times, and counts and changes as often; otherwise tensors do not overlap. */
#ifndef HONE_CLIP_H
#define HONE_CLIP_H

#include <stdbool.h>
#include <stdint.h>

#include <hone/context.h>
#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The norm of order p (1 <= p <= infinity) over all entries of `count` tensors; entries of `grads`
 * that are NULL are missing gradients and ignored; none at all: 0. F32, F64, BF16, F16, C64 and
 * C128 (as pairs of reals), contiguous. */
HONE_API hone_status hone_total_norm(const hone_context *context, const hone_tensor *const *grads,
                                     int64_t count, double p, double *total, hone_error *error);

/* Multiplies every entry by min(1, max_norm / (total + 1e-6)), and writes none where that is 1;
 * writes the norm before clipping to `total` (may be NULL). With error_if_nonfinite a NaN or
 * infinite norm is HONE_ERROR_NONFINITE and the gradients stay as they were. max_norm >= 0. */
HONE_API hone_status hone_clip_grad_norm(const hone_context *context,
                                         const hone_tensor *const *grads, int64_t count,
                                         double max_norm, double p, bool error_if_nonfinite,
                                         double *total, hone_error *error);

/* The second half alone, with a total computed before. */
HONE_API hone_status hone_clip_grads_with_norm(const hone_context *context,
                                               const hone_tensor *const *grads, int64_t count,
                                               double max_norm, double total, hone_error *error);

/* Clamps every entry to [-limit, limit]; NaN stays NaN; limit >= 0. */
HONE_API hone_status hone_clip_grad_value(const hone_context *context,
                                          const hone_tensor *const *grads, int64_t count,
                                          double limit, hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
