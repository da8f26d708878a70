/* SPDX-License-Identifier: Apache-2.0 */
/* AdamW in TensorFlow's arrangement (Kingma & Ba 2015, end of section 2: "eps hat"), with the raw
 * decay of alibaba/RecIS's AdamWTF: no learning-rate factor, 1 % per call at the default.
 *   p := p (1 - wd)
 *   m := b1 m + (1 - b1) g;  v := b2 v + (1 - b2) g^2
 *   p := p - lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps) */
#define RULE adamw_tf
#define RULE_DOC "Adam with TensorFlow's epsilon and a decay that ignores the learning rate"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                                \
    NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")                                      \
    NUMBER(beta1, 0.9, BELOW(0, 1), "decay of the first moment")                        \
    NUMBER(beta2, 0.999, BELOW(0, 1), "decay of the second moment")                     \
    NUMBER(eps, 1e-8, AT_LEAST(0), "added to the root, not bias-corrected")             \
    NUMBER(weight_decay, 1e-2, AT_LEAST(0), "raw: p *= 1 - weight_decay at every call") \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL)   \
    SLOT(exp_avg, 0, "first moment") \
    SLOT(exp_avg_sq, 0, "second moment")
#define RULE_COEFS(COEF) COEF(beta1) COEF(weight1) COEF(beta2) COEF(weight2) COEF(eps)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->beta1 = h->beta1;
    c->weight1 = 1 - h->beta1;
    c->beta2 = h->beta2;
    c->weight2 = 1 - h->beta2;
    c->eps = h->eps;
    f->rate = lr / (1 - power(h->beta1, t)) * sqrt(1 - power(h->beta2, t));
    f->keep = 1 - h->weight_decay;
}

RULE_NO_CHECK

RULE_DIRECTION
{
    s->exp_avg = c->beta1 * s->exp_avg + c->weight1 * g;
    s->exp_avg_sq = c->beta2 * s->exp_avg_sq + c->weight2 * g * g;
    return s->exp_avg / (r_sqrt(s->exp_avg_sq) + c->eps);
}

#include "kernel/rule_end.h"
