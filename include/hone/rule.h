/* SPDX-License-Identifier: Apache-2.0 */
/* The update rules and what each is made of. This is the one door for introspection: specs, the
 * command line, checkpoints, documentation, bindings and the generic tests read nothing else.
 * All objects are constant and live as long as the library is loaded. */
#ifndef HONE_RULE_H
#define HONE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hone/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_rule hone_rule;

typedef enum hone_hyper_kind {
    HONE_NUMBER, /* a double in the range below */
    HONE_FLAG,   /* 0 or 1 */
    HONE_CHOICE, /* the index of one of `words` */
    HONE_CURVE   /* a bound that grows with the step: scale * s^power, a constant (power 0), none
                    (scale infinite), or a callback; s counts the parameter's completed calls */
} hone_hyper_kind;

typedef struct hone_hyper {
    const char *name; /* PyTorch's: "lr", "beta1", "weight_decay", "amsgrad", ... */
    hone_hyper_kind kind;
    double default_value; /* of a curve: its scale */
    double default_power; /* of a curve; else 0 */
    double low, high; /* low <= value <= high, or < high if high_open; infinities mean no bound */
    bool high_open;
    const char *doc;
    const char *const *words; /* of a choice, up to a NULL; else NULL */
} hone_hyper;

typedef struct hone_slot {
    const char *name; /* PyTorch's: "exp_avg", "momentum_buffer", ... */
    double initial;   /* value of every element when the slot is created */
    int condition;    /* index of the hyperparameter that must not be 0 for the slot to exist; -1:
                         the slot always exists */
    int optional;     /* its number among the conditional slots; -1: the slot always exists */
    const char *doc;
} hone_slot;

HONE_API int hone_rule_count(void);
HONE_API const hone_rule *hone_rule_at(int index); /* alphabetical; NULL outside 0..count-1 */
HONE_API const hone_rule *hone_rule_find(const char *name); /* NULL if there is none */

HONE_API const char *hone_rule_name(const hone_rule *rule);
HONE_API const char *hone_rule_doc(const hone_rule *rule); /* one line */
HONE_API bool hone_rule_is_matrix(const hone_rule *rule);  /* steps matrices, not single elements */
HONE_API int hone_rule_hyper_count(const hone_rule *rule);
HONE_API const hone_hyper *hone_rule_hyper(const hone_rule *rule, int index);
HONE_API int hone_rule_hyper_find(const hone_rule *rule, const char *name); /* -1 if none */
HONE_API int hone_rule_slot_count(const hone_rule *rule);
HONE_API const hone_slot *hone_rule_slot(const hone_rule *rule, int index);
HONE_API int hone_rule_slot_find(const hone_rule *rule, const char *name); /* -1 if none */

/* The nearest known rule name to a misspelt one; NULL when none is near. */
HONE_API const char *hone_rule_nearest(const char *name);

#ifdef __cplusplus
}
#endif

#endif
