/* SPDX-License-Identifier: Apache-2.0 */
/* What a step's norm and loss scale come to, in double: the same text on the host and on a device. */
#ifndef HONE_KERNEL_JUDGE_H
#define HONE_KERNEL_JUDGE_H

#include "kernel/prepare.h"

/* The factor that undoes a loss scale, rounded as torch.amp does, and makes a sum of gradients a
 * mean of `accumulated`. */
RULE_ON_HOST_AND_DEVICE double hone_unscale(double loss_scale, double accumulated)
{
    return (double)(float)(1 / loss_scale) / accumulated;
}

/* The norm of order p from the sum of |g|^p, or the maximum where p is infinite. */
RULE_ON_HOST_AND_DEVICE double hone_norm_of_sum(double sum, double p)
{
    return p == 2 ? sqrt(sum) : p == 1 || isinf(p) ? sum : pow(sum, 1 / p);
}

RULE_ON_HOST_AND_DEVICE double hone_coef_of_norm(double max_norm, double norm)
{
    const double coef = max_norm / (norm + 1e-6);
    return coef > 1 ? 1 : coef;
}

/* Whether a share of a norm may hide what a scaler asks: entries that are not finite behind a value
 * clip, or sums of finite ones that overflow. Then the entries decide, and one that is not finite makes
 * the share NaN, which finite entries never do. */
RULE_ON_HOST_AND_DEVICE bool hone_share_hides(double share, double value_limit)
{
    return !isfinite(share) || isfinite(value_limit);
}

/* Whether all entries were finite, as far as their norm tells: under a scaler it tells exactly. */
RULE_ON_HOST_AND_DEVICE bool hone_entries_finite(double norm, bool scaling)
{
    return scaling ? norm == norm : isfinite(norm) != 0;
}

/* A loss scale that grows after a run of finite steps and shrinks after one that is not. */
struct hone_loss_scale {
    double scale, growth_factor, backoff_factor, min_scale, max_scale;
    uint64_t growth_interval, growth_tracker;
};

/* The scale as torch keeps it, in float: growth past float's range is refused, and so is a scale of 0,
 * from which it would never come back. */
RULE_ON_HOST_AND_DEVICE double hone_bounded_scale(const struct hone_loss_scale *s, double scale)
{
    if (!isfinite((float)scale) || (float)scale == 0)
        return s->scale;
    return fmin(fmax(scale, s->min_scale), s->max_scale);
}

RULE_ON_HOST_AND_DEVICE void hone_next_scale(struct hone_loss_scale *s, bool found_nonfinite)
{
    if (found_nonfinite) {
        s->scale = hone_bounded_scale(s, s->scale * s->backoff_factor);
        s->growth_tracker = 0;
    } else if (++s->growth_tracker >= s->growth_interval) {
        s->scale = hone_bounded_scale(s, s->scale * s->growth_factor);
        s->growth_tracker = 0;
    }
}

#endif
