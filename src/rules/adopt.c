/* SPDX-License-Identifier: Apache-2.0 */
/* ADOPT: Taniguchi et al. 2024, arXiv 2411.02853v2, algorithm 2 with the clip, as the authors' code
 * computes it. s counts completed calls.
 *   s = 0:  v := v + g^2, nothing else
 *   later:  n := clamp(g / max(sqrt(v), eps), +-clip(s));  m := m + (1 - b1)(n - m);  p := p - lr m
 *           v := b2 v + (1 - b2) g^2
 * weight_decay is L2 (from the first call on), or with decouple p := p (1 - lr wd) from the second.
 */
#define RULE adopt
#define RULE_DOC "Adam modified to converge with any beta2"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                                      \
    NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")                                            \
    NUMBER(beta1, 0.9, BELOW(0, 1), "decay of the first moment")                              \
    NUMBER(beta2, 0.9999, BELOW(0, 1), "decay of the second moment")                          \
    NUMBER(eps, 1e-6, AT_LEAST(0), "floor of the root of the second moment")                  \
    NUMBER(weight_decay, 0, AT_LEAST(0), "L2, or decoupled with decouple")                    \
    CURVE(clip_lambda, 1, 0.25, "bound of the normalised gradient after s calls; null: none") \
    FLAG(decouple, 0, "decay the parameter instead of adding to the gradient")                \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL)                              \
    SLOT(exp_avg, 0, "first moment of the normalised gradient") \
    SLOT(exp_avg_sq, 0, "second moment, used one call later")
#define RULE_COEFS(COEF) COEF(first) COEF(weight1) COEF(beta2) COEF(weight2) COEF(eps) COEF(clip)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->first = t == 1;
    c->weight1 = 1 - h->beta1;
    c->beta2 = t == 1 ? 1 : h->beta2;
    c->weight2 = t == 1 ? 1 : 1 - h->beta2;
    c->eps = h->eps;
    c->clip = t == 1 ? HUGE_VAL : curve_at(&h->clip_lambda, t - 1);
    f->l2 = h->decouple ? 0 : h->weight_decay;
    f->keep = h->decouple && t > 1 ? 1 - lr * h->weight_decay : 1;
    f->rate = t == 1 ? 0 : lr;
}

RULE_NO_CHECK

RULE_DIRECTION
{
    const real normalised = r_clamp(g / r_max(r_sqrt(s->exp_avg_sq), c->eps), c->clip);
    const real first_moment = r_lerp(s->exp_avg, normalised, c->weight1);
    s->exp_avg = c->first != 0 ? s->exp_avg : first_moment;
    s->exp_avg_sq = c->beta2 * s->exp_avg_sq + c->weight2 * g * g;
    return s->exp_avg;
}

#include "kernel/rule_end.h"
