/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic gradient descent with momentum (Polyak 1964; Nesterov 1983; Sutskever et al. 2013), as
 * torch.optim.SGD computes it.
 *   g := g + wd p
 *   first call with momentum: b := g;  later: b := momentum b + (1 - dampening) g
 *   p := p - lr (nesterov ? g + momentum b : b) */
#define RULE sgd
#define RULE_DOC "Stochastic gradient descent, with momentum if asked for"
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                         \
    NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")                               \
    NUMBER(momentum, 0, AT_LEAST(0), "weight of the momentum buffer; 0: none")   \
    NUMBER(dampening, 0, ANY, "the gradient enters the buffer by 1 - dampening") \
    NUMBER(weight_decay, 0, AT_LEAST(0), "L2: g += weight_decay * p")            \
    FLAG(nesterov, 0, "look ahead along the buffer")                             \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_SLOTS(SLOT, OPTIONAL) OPTIONAL(momentum_buffer, momentum, 0, "momentum")
#define RULE_COEFS(COEF) COEF(momentum) COEF(undamped) COEF(nesterov) COEF(first)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->momentum = h->momentum;
    c->undamped = 1 - h->dampening;
    c->nesterov = h->nesterov;
    c->first = FRESH(momentum_buffer);
    f->l2 = h->weight_decay;
}

RULE_CHECK
{
    if (h->nesterov && (h->momentum <= 0 || h->dampening != 0))
        return "Nesterov momentum requires a momentum and zero dampening";
    return NULL;
}

RULE_DIRECTION
{
    if (!HAS(momentum_buffer))
        return g;
    const real buffer = c->momentum * s->momentum_buffer + c->undamped * g;
    s->momentum_buffer = c->first != 0 ? g : buffer;
    const real ahead = g + c->momentum * s->momentum_buffer;
    return c->nesterov != 0 ? ahead : s->momentum_buffer;
}

#include "kernel/rule_end.h"
