/* SPDX-License-Identifier: Apache-2.0 */
/* AdamW: Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2, as torch.optim.AdamW computes it.
 *   p := p (1 - lr wd)
 *   m := m + (1 - b1)(g - m);  v := b2 v + (1 - b2) g^2;  amsgrad: v' := max(v', v)
 *   p := p - lr / (1 - b1^t) * m / (sqrt(v or v') / sqrt(1 - b2^t) + eps) */
#define RULE adamw
#define RULE_DOC "Adam with decoupled weight decay"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                             \
    NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")                                   \
    NUMBER(beta1, 0.9, BELOW(0, 1), "decay of the first moment")                     \
    NUMBER(beta2, 0.999, BELOW(0, 1), "decay of the second moment")                  \
    NUMBER(eps, 1e-8, AT_LEAST(0), "added to the root of the second moment")         \
    NUMBER(weight_decay, 1e-2, AT_LEAST(0), "decoupled: p *= 1 - lr * weight_decay") \
    FLAG(amsgrad, 0, "divide by the largest second moment so far")                   \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL)       \
    SLOT(exp_avg, 0, "first moment")     \
    SLOT(exp_avg_sq, 0, "second moment") \
    OPTIONAL(max_exp_avg_sq, amsgrad, 0, "largest second moment so far, not bias-corrected")
#define RULE_COEFS(COEF) COEF(weight1) COEF(beta2) COEF(weight2) COEF(root_bias2) COEF(eps)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->weight1 = 1 - h->beta1;
    c->beta2 = h->beta2;
    c->weight2 = 1 - h->beta2;
    c->root_bias2 = sqrt(1 - power(h->beta2, t));
    c->eps = h->eps;
    f->rate = lr / (1 - power(h->beta1, t));
    f->keep = 1 - lr * h->weight_decay;
}

RULE_NO_CHECK

RULE_DIRECTION
{
    s->exp_avg = r_lerp(s->exp_avg, g, c->weight1);
    s->exp_avg_sq = c->beta2 * s->exp_avg_sq + c->weight2 * g * g;
    if (HAS(max_exp_avg_sq))
        s->max_exp_avg_sq = r_max(s->max_exp_avg_sq, s->exp_avg_sq);
    const real second = HAS(max_exp_avg_sq) ? s->max_exp_avg_sq : s->exp_avg_sq;
    return s->exp_avg / (r_sqrt(second) / c->root_bias2 + c->eps);
}

#include "kernel/rule_end.h"
