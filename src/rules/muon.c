/* SPDX-License-Identifier: Apache-2.0 */
/* Muon: Jordan et al. 2024 (kellerjordan.github.io/posts/muon), as torch.optim.Muon computes it, for
 * a matrix of A rows and B columns.
 *   b := b + (1 - momentum)(g - b);  u := nesterov ? g + momentum (b - g) : b
 *   O := the polar factor of u, nearly, by Newton-Schulz steps (src/core/polar.c)
 *   p := p (1 - lr wd) - lr adjust(A, B) O */
#define RULE muon
#define RULE_DOC "Momentum made orthogonal, for matrices"
#define RULE_MATRIX
#define RULE_HYPERS(NUMBER, FLAG, CURVE)                                              \
    NUMBER(lr, 1e-3, AT_LEAST(0), "learning rate")                                    \
    NUMBER(momentum, 0.95, AT_LEAST(0), "decay of the momentum buffer")               \
    NUMBER(weight_decay, 0.1, AT_LEAST(0), "decoupled: p *= 1 - lr * weight_decay")   \
    NUMBER(eps, 1e-7, AT_LEAST(0), "floor of the norm that the update is divided by") \
    NUMBER(ns_steps, 5, BETWEEN(1, 99), "Newton-Schulz steps, a whole number")        \
    FLAG(nesterov, 1, "look ahead along the buffer")                                  \
    FLAG(maximize, 0, "ascend instead of descend")
#define RULE_CHOICES(CHOICE)                                                                    \
    CHOICE(adjust_lr_fn, 0, "how the rate depends on the shape", "original", "match_rms_adamw", \
           "spectral_unclamped")                                                                \
    CHOICE(ns_coefficients, 0, "polynomials of the Newton-Schulz steps", "standard", "dion",    \
           "polar_express", "turbo", "custom")                                                  \
    CHOICE(products, 0,                                                                         \
           "factors of the steps' products; bfloat16 where the processor is faster with them",  \
           "float32", "bfloat16")                                                               \
    CHOICE(matrices, 0,                                                                         \
           "tensors of more than two dimensions are one matrix (first, rest), a "               \
           "batch of matrices, or an error",                                                    \
           "flatten", "batch", "strict")
#define RULE_SLOTS(SLOT, OPTIONAL) SLOT(momentum_buffer, 0, "momentum")
#define RULE_COEFS(COEF) COEF(momentum) COEF(weight) COEF(nesterov)
#include "kernel/rule_begin.h"

RULE_PREPARE
{
    c->momentum = h->momentum;
    c->weight = 1 - h->momentum;
    c->nesterov = h->nesterov;
    f->keep = 1 - lr * h->weight_decay;
}

RULE_CHECK
{
    return h->ns_steps == floor(h->ns_steps) ? NULL : "ns_steps must be a whole number";
}

RULE_DIRECTION
{
    s->momentum_buffer = r_lerp(s->momentum_buffer, g, c->weight);
    const real ahead = r_lerp(g, s->momentum_buffer, c->momentum);
    return c->nesterov != 0 ? ahead : s->momentum_buffer;
}

#include "kernel/rule_end.h"
