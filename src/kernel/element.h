/* SPDX-License-Identifier: Apache-2.0 */
/* One element through a rule: load, frame, direction, frame, store. The CPU loops and the CUDA
 * kernel both call this and nothing else, so there is one arithmetic. */
#ifndef HONE_KERNEL_ELEMENT_H
#define HONE_KERNEL_ELEMENT_H

#include "kernel/format.h"
#include "kernel/frame.h"

/* A combination of compile-time constants; the calls below fold them away. */
struct rule_shape {
    int variant;
    enum hone_format param, grad, slot;
    enum hone_extra extra;
    enum hone_format cast; /* of the caller's tensor beside a master */
};

/* Slots into registers and back, for the functions below. */
#define RULE_LOAD_SLOT(name, ...) s.name = load(shape.slot, chunk->slot[SLOT_##name], i);
#define RULE_LOAD_OPTIONAL(name, ...) \
    s.name = HAS(name) ? load(shape.slot, chunk->slot[SLOT_##name], i) : 0;
#define RULE_LOAD_SLOTS \
    s.unused = 0;       \
    RULE_SLOTS(RULE_LOAD_SLOT, RULE_LOAD_OPTIONAL)
#define RULE_STORE_SLOT(name, ...) store(shape.slot, chunk->slot[SLOT_##name], i, s.name);
#define RULE_STORE_OPTIONAL(name, ...) \
    if (HAS(name))                     \
        store(shape.slot, chunk->slot[SLOT_##name], i, s.name);
#define RULE_STORE_SLOTS RULE_SLOTS(RULE_STORE_SLOT, RULE_STORE_OPTIONAL)

RULE_INLINE struct rule_reals rule_reals_round(const struct hone_scalars *scalars)
{
    struct rule_reals c;
    RULE_OFFERED int i = 0;
#define RULE_ROUND_COEF(name) c.name = (real)scalars->coef[i++];
    RULE_COEFS(RULE_ROUND_COEF)
    (void)scalars;
    c.unused = 0;
    return c;
}

/* The parameter, with what earlier roundings took from it. */
RULE_INLINE real rule_load_param(const struct hone_chunk *chunk, size_t i,
                                 const struct rule_shape shape)
{
    const real p = load(shape.param, chunk->param, i);
    return shape.extra == HONE_EXTRA_KAHAN ? join(p, load(shape.param, chunk->extra, i)) : p;
}

RULE_INLINE void rule_store_param(const struct hone_chunk *chunk, size_t i, real value,
                                  const struct rule_shape shape)
{
    if (shape.extra == HONE_EXTRA_STOCHASTIC)
        store_random(shape.param, chunk->param, i, value, noise_at(chunk->noise, i));
    else if (shape.extra == HONE_EXTRA_KAHAN)
        store_split(shape.param, chunk->param, chunk->extra, i, value);
    else
        store(shape.param, chunk->param, i, value);
    if (shape.extra == HONE_EXTRA_MASTER)
        store(shape.cast, chunk->extra, i, value);
}

/* A matrix rule's element: the slots move on, the direction goes to `extra`. */
RULE_INLINE void rule_element_direction(const struct hone_chunk *chunk, size_t i,
                                        const struct rule_reals *c, const struct rule_frame *f,
                                        const struct rule_shape shape)
{
    const int variant = shape.variant;
    struct rule_slots s;
    RULE_LOAD_SLOTS
    const real p = load(shape.param, chunk->param, i);
    const real g = rule_frame_gradient(f, p, load(shape.grad, chunk->grad, i));
    const real direction = rule_direction(p, g, &s, c, variant);
    store(shape.param, chunk->extra, i, direction);
    RULE_STORE_SLOTS
}

RULE_INLINE void rule_element(const struct hone_chunk *chunk, size_t i, bool on,
                              const struct rule_reals *c, const struct rule_frame *f,
                              const struct rule_shape shape)
{
    const int variant = shape.variant;
    struct rule_slots s;
    RULE_LOAD_SLOTS

    const real p = rule_load_param(chunk, i, shape);
    const real g = rule_frame_gradient(f, p, load(shape.grad, chunk->grad, i));
    const real direction = rule_direction(p, g, &s, c, variant);
    rule_store_param(chunk, i, rule_frame_move(f, p, direction, on), shape);
    RULE_STORE_SLOTS
}

#endif
