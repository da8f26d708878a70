/* SPDX-License-Identifier: Apache-2.0 */
/* A throw-away rule for the tests: the sign of a momentum (Bernstein et al. 2018, arXiv 1802.04434),
 * with a dead zone of its own so that it has a hyperparameter no other rule has.
 *   b := momentum b + (1 - momentum) g;  p := p (1 - lr wd);  p := p - lr sign(b) where |b| > zone */
#define RULE sign_momentum
#define RULE_DOC "The sign of a momentum, with a dead zone"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                          \
    NUMBER(lr, 0.01, AT_LEAST(0), "learning rate")                                \
    NUMBER(momentum, 0.75, BELOW(0, 1), "decay of the momentum")                  \
    NUMBER(dead_zone, 0, BETWEEN(0, 4), "momenta up to this size move nothing")   \
    NUMBER(weight_decay, 0, AT_LEAST(0), "decoupled: p *= 1 - lr * weight_decay") \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL) SLOT(sign_buffer, 0, "momentum")
#define RULE_COEFS(COEF) COEF(momentum) COEF(weight) COEF(dead_zone)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    (void)t;
    c->momentum = h->momentum;
    c->weight = 1 - h->momentum;
    c->dead_zone = h->dead_zone;
    f->keep = 1 - lr * h->weight_decay;
}

RULE_NO_CHECK

RULE_DIRECTION
{
    s->sign_buffer = c->momentum * s->sign_buffer + c->weight * g;
    return r_abs(s->sign_buffer) > c->dead_zone ? r_sign(s->sign_buffer) : 0;
}

#include "kernel/rule_end.h"
