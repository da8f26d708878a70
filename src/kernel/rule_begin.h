/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a rule file, after its lists. Each file under src/rules is compiled many times (metadata, and
 * once per compute type and target); this header gives its words their meaning for one such pass.
 *
 * The lists a rule defines before including this:
 *   RULE                              its name
 *   RULE_DOC                          one line
 *   RULE_HYPERS(NUMBER, FLAG, CURVE)  NUMBER(name, default, range, doc), FLAG(name, default, doc),
 *                                     CURVE(name, default scale, default power, doc);
 *                                     lr, weight_decay and maximize are in every list
 *   RULE_CHOICES(CHOICE)              optional: CHOICE(name, default's index, doc, word, word, ...)
 *   RULE_SLOTS(SLOT, OPTIONAL)        SLOT(name, initial, doc); OPTIONAL(name, hyper, initial, doc):
 *                                     there while the hyperparameter is not 0
 *   RULE_COEFS(COEF)                  COEF(name): numbers of one step that the direction reads
 *   RULE_MATRIX                       optional: the direction is turned into another one by a
 *                                     function of the whole matrix (src/core/matrix.c)
 * and after it:
 *   RULE_PREPARE { }    sees h (hyperparameters), t (this call's number, from 1), lr, FRESH(slot);
 *                       fills c->name and, where they differ from rate = lr, keep = 1, l2 = 0, f's
 *   RULE_CHECK { }      returns a sentence if the hyperparameters h do not fit together, else NULL;
 *                       RULE_NO_CHECK where they always do
 *   RULE_DIRECTION { }  sees p, g, s->slot, c->coef, HAS(optional slot); updates the slots, returns
 *                       the direction d of parameter = keep * parameter - rate * d */
#ifndef HONE_KERNEL_RULE_BEGIN_H
#define HONE_KERNEL_RULE_BEGIN_H

#include <stdbool.h>

#include "kernel/kernel.h"
#include "kernel/prepare.h"
#include "kernel/real.h"

#define RULE_PASTE_(a, b) a##b
#define RULE_PASTE(a, b) RULE_PASTE_(a, b)
#define RULE_TEXT_(a) #a
#define RULE_TEXT(a) RULE_TEXT_(a)
#define RULE_NOTHING(...)
#define RULE_PLUS_ONE(...) +1

#if !defined(RULE_CHOICES)
#define RULE_CHOICES(CHOICE)
#endif

#define RULE_HYPER_COUNT \
    (0 RULE_HYPERS(RULE_PLUS_ONE, RULE_PLUS_ONE, RULE_PLUS_ONE) RULE_CHOICES(RULE_PLUS_ONE))
#define RULE_SLOT_COUNT (0 RULE_SLOTS(RULE_PLUS_ONE, RULE_PLUS_ONE))
#define RULE_OPTIONAL_COUNT (0 RULE_SLOTS(RULE_NOTHING, RULE_PLUS_ONE))
#define RULE_COEF_COUNT (0 RULE_COEFS(RULE_PLUS_ONE))

#if RULE_SLOT_COUNT > 4 || RULE_OPTIONAL_COUNT > 2 || RULE_COEF_COUNT > 12 || RULE_HYPER_COUNT > 16
#error "a list is longer than kernel.h's limits (HONE_MAX_...)"
#endif

/* Ranges of numbers. */
#define ANY -HUGE_VAL, HUGE_VAL, false
#define AT_LEAST(low) low, HUGE_VAL, false
#define BELOW(low, high) low, high, true
#define BETWEEN(low, high) low, high, false

#define RULE_INDEX_HYPER(name, ...) HYPER_##name,
enum rule_hyper_index {
    RULE_HYPERS(RULE_INDEX_HYPER, RULE_INDEX_HYPER, RULE_INDEX_HYPER) RULE_CHOICES(RULE_INDEX_HYPER)
};

#define RULE_INDEX_SLOT(name, ...) SLOT_##name,
enum rule_slot_index { RULE_SLOTS(RULE_INDEX_SLOT, RULE_INDEX_SLOT) RULE_SLOT_END };

#define RULE_INDEX_OPTIONAL(name, ...) OPTIONAL_##name,
enum rule_optional_index { RULE_SLOTS(RULE_NOTHING, RULE_INDEX_OPTIONAL) RULE_OPTIONAL_END };

#define RULE_FIELD_NUMBER(name, ...) double name;
#define RULE_FIELD_FLAG(name, ...) bool name;
#define RULE_FIELD_CURVE(name, ...) struct hone_value name;
#define RULE_FIELD_CHOICE(name, ...) int name;
struct rule_hypers {
    RULE_HYPERS(RULE_FIELD_NUMBER, RULE_FIELD_FLAG, RULE_FIELD_CURVE)
    RULE_CHOICES(RULE_FIELD_CHOICE)
};

/* A rule without coefficients or slots still has a field: C forbids empty structs. */
#define RULE_FIELD_COEF(name) double name;
struct rule_coefs {
    RULE_COEFS(RULE_FIELD_COEF) double unused;
};

#define RULE_FIELD_REAL(name, ...) real name;
struct rule_reals {
    RULE_COEFS(RULE_FIELD_REAL) real unused;
};

struct rule_slots {
    RULE_SLOTS(RULE_FIELD_REAL, RULE_FIELD_REAL) real unused;
};

/* What a preparation may say to the frame. */
struct rule_moves {
    double rate, keep, l2;
};

/* Not every rule reads everything it is offered. */
#define RULE_OFFERED __attribute__((unused))

#define RULE_PREPARE                                                                               \
    RULE_ON_HOST_AND_DEVICE void rule_prepare(                                                     \
        RULE_OFFERED const struct rule_hypers *h, RULE_OFFERED uint64_t t, RULE_OFFERED double lr, \
        RULE_OFFERED uint32_t fresh, RULE_OFFERED struct rule_coefs *c,                            \
        RULE_OFFERED struct rule_moves *f)

#define FRESH(slot) (fresh >> SLOT_##slot & 1u)

#define RULE_CHECK \
    static inline RULE_OFFERED const char *rule_check(RULE_OFFERED const struct rule_hypers *h)

#define RULE_DIRECTION                                                  \
    RULE_INLINE real rule_direction(                                    \
        RULE_OFFERED real p, real g, RULE_OFFERED struct rule_slots *s, \
        RULE_OFFERED const struct rule_reals *c, RULE_OFFERED const int variant)

#define HAS(slot) ((variant >> OPTIONAL_##slot & 1) != 0)

/* Rules whose parameters fit together in every combination leave RULE_CHECK out. */
#define RULE_NO_CHECK \
    RULE_CHECK        \
    {                 \
        return NULL;  \
    }

#endif
