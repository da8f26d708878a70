/* SPDX-License-Identifier: Apache-2.0 */
/* RMSprop: Hinton 2012 (lecture 6e), centered form Graves 2013, arXiv 1308.0850, as
 * torch.optim.RMSprop computes it: eps outside the root.
 *   g := g + wd p;  q := alpha q + (1 - alpha) g^2
 *   centered: a := a + (1 - alpha)(g - a);  D := sqrt(max(q - a^2, 0)) + eps
 *   else:     D := sqrt(q) + eps
 *   momentum: b := momentum b + g / D;  p := p - lr b
 *   else:     p := p - lr g / D
 * torch leaves q - a^2 unclamped and gets NaN where rounding makes it negative. */
#define RULE rmsprop
#define RULE_DOC "Divides by a running root mean square of the gradient"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                                  \
    NUMBER(lr, 1e-2, AT_LEAST(0), "learning rate")                                        \
    NUMBER(alpha, 0.99, AT_LEAST(0), "decay of the mean square")                          \
    NUMBER(eps, 1e-8, AT_LEAST(0), "added to the root")                                   \
    NUMBER(weight_decay, 0, AT_LEAST(0), "L2: g += weight_decay * p")                     \
    NUMBER(momentum, 0, AT_LEAST(0), "weight of the momentum buffer; 0: none")            \
    FLAG(centered, 0, "divide by the standard deviation instead of the root mean square") \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL)                     \
    SLOT(square_avg, 0, "mean square")                 \
    OPTIONAL(momentum_buffer, momentum, 0, "momentum") \
    OPTIONAL(grad_avg, centered, 0, "mean gradient")
#define RULE_COEFS(COEF) COEF(alpha) COEF(weight) COEF(eps) COEF(momentum)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->alpha = h->alpha;
    c->weight = 1 - h->alpha;
    c->eps = h->eps;
    c->momentum = h->momentum;
    f->l2 = h->weight_decay;
}

RULE_NO_CHECK

RULE_DIRECTION
{
    s->square_avg = c->alpha * s->square_avg + c->weight * g * g;
    if (HAS(grad_avg))
        s->grad_avg = r_lerp(s->grad_avg, g, c->weight);
    const real variance =
        HAS(grad_avg) ? r_max(s->square_avg - s->grad_avg * s->grad_avg, 0) : s->square_avg;
    const real scaled = g / (r_sqrt(variance) + c->eps);
    if (!HAS(momentum_buffer))
        return scaled;
    s->momentum_buffer = c->momentum * s->momentum_buffer + scaled;
    return s->momentum_buffer;
}

#include "kernel/rule_end.h"
