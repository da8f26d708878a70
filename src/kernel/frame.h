/* SPDX-License-Identifier: Apache-2.0 */
/* The frame: what happens around every rule's direction, in one order for all of them:
 *   unscale, maximize sign -> value clip -> global-norm clip -> L2 decay -> DIRECTION
 *   -> decoupled decay -> learning rate -> freeze
 * No direction reads the parameter, so decaying after it is the same arithmetic as before it. */
#ifndef HONE_KERNEL_FRAME_H
#define HONE_KERNEL_FRAME_H

#include "kernel/real.h"

/* hone_scalars and hone_frame, rounded once to the compute type. Flags are reals so that selecting
 * by them is a blend of ordinary lanes. */
struct rule_frame {
    real scale; /* unscaling factor with the maximize sign */
    real value_limit;
    real clip_coef;
    real l2;
    real has_l2;
    real rate[2], keep[2], frozen[2];
};

RULE_INLINE struct rule_frame rule_frame_round(const struct hone_scalars *scalars,
                                               const struct hone_frame *frame)
{
    struct rule_frame f;
    f.scale = (real)(scalars->maximize ? -frame->grad_scale : frame->grad_scale);
    f.value_limit = (real)frame->value_limit;
    f.clip_coef = (real)frame->clip_coef;
    f.l2 = (real)scalars->l2;
    f.has_l2 = scalars->l2 != 0 ? 1 : 0;
    for (int k = 0; k < 2; k++) {
        f.rate[k] = (real)scalars->rate[k];
        f.keep[k] = (real)scalars->keep[k];
        f.frozen[k] = scalars->frozen[k] ? 1 : 0;
    }
    return f;
}

/* The gradient as the direction sees it. */
RULE_INLINE real rule_frame_gradient(const struct rule_frame *f, real p, real g)
{
    g = r_clamp(g * f->scale, f->value_limit) * f->clip_coef;
    return f->has_l2 != 0 ? g + f->l2 * p : g;
}

/* The parameter after the step. `on` chooses the masked element's rates. */
RULE_INLINE real rule_frame_move(const struct rule_frame *f, real p, real direction, bool on)
{
    const real rate = on ? f->rate[1] : f->rate[0];
    const real keep = on ? f->keep[1] : f->keep[0];
    const real frozen = on ? f->frozen[1] : f->frozen[0];
    const real moved = p * keep - rate * direction;
    return frozen != 0 ? p : moved;
}

#endif
