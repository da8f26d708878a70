/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that a spec's JSON may hold, made from the rule's table. One list serves the reader, the
 * writer and the search for the nearest known name. */
#ifndef HONE_CORE_SPEC_KEYS_H
#define HONE_CORE_SPEC_KEYS_H

#include "core/core.h"

enum hone_spec_key_kind {
    HONE_KEY_RULE,        /* "optimizer_type" */
    HONE_KEY_HYPER,       /* one hyperparameter under its own name; "lr" as "learning_rate" */
    HONE_KEY_ALIAS,       /* another spelling of one, or of a part of a list; never written */
    HONE_KEY_LIST,        /* numbered hyperparameters x1, x2, ... as the list "xs" */
    HONE_KEY_STATE_DTYPE, /* storage of the state slots */
    HONE_KEY_MASKED_LR,
    HONE_KEY_MASKED_SCHEDULE, /* masked_lr over time */
    HONE_KEY_PRECISION,
    HONE_KEY_SCHEDULE, /* the learning rate over time */
    HONE_KEY_DECAY,    /* a schedule in short: the factor of an epoch */
    HONE_KEY_CLIP_NORM,
    HONE_KEY_CLIP_NORM_TYPE,
    HONE_KEY_CLIP_VALUE,
    HONE_KEY_NONFINITE,
    HONE_KEY_ACCUMULATE,
    HONE_KEY_MASKS,
    HONE_KEY_ACCUMULATE_MODE,
    HONE_KEY_GROUPS,
    HONE_KEY_MATCH,
    HONE_KEY_EXCEPT,
    HONE_KEY_MIN_NDIM,
    HONE_KEY_FLATTEN,     /* of the short form below: a flag in place of Muon's choice "matrices" */
    HONE_KEY_SPLIT,       /* of the short form of Muon beside AdamW: which parameters Muon takes */
    HONE_KEY_MULTIPLIERS, /* of modules */
    HONE_KEY_MULTIPLIER
};

enum hone_spec_level {
    HONE_LEVEL_TOP,
    HONE_LEVEL_GROUP,
    HONE_LEVEL_MUON_SPEC /* the top level of the short form of Muon beside AdamW */
};

/* That form is two groups of a spec; which of them a key speaks of. */
enum hone_muon_part { HONE_PART_ADAMW, HONE_PART_MUON, HONE_PART_COUNT };

#define HONE_MOST_MIN_NDIM 64

struct hone_spec_key {
    char name[64];
    enum hone_spec_key_kind kind;
    int hyper, count; /* the first hyperparameter it sets and how many; else 0 */
    int part;         /* enum hone_muon_part: the group whose hyperparameter or schedule it is */
};

#define HONE_MAX_SPEC_KEYS (2 * HONE_MAX_HYPERS + 32)

struct hone_spec_keys {
    struct hone_spec_key keys[HONE_MAX_SPEC_KEYS];
    const char *names[HONE_MAX_SPEC_KEYS]; /* of the same keys, for hone_nearest */
    int count;
};

/* Fills `keys`, sorted by name, with those that a recipe (or one of its groups) of this rule knows;
 * at HONE_LEVEL_MUON_SPEC the rule does not matter. */
void hone_spec_keys(const hone_rule *rule, enum hone_spec_level level, struct hone_spec_keys *keys);

/* NULL if there is none of this name. */
const struct hone_spec_key *hone_spec_key_find(const struct hone_spec_keys *keys, const char *name);

/* "f32", "f64", "bf16", "f16": the storage formats as a spec spells them. */
#define HONE_SPEC_DTYPE_COUNT 4
extern const char *const hone_spec_dtype_names[HONE_SPEC_DTYPE_COUNT];
extern const hone_dtype hone_spec_dtypes[HONE_SPEC_DTYPE_COUNT];

/* By hone_nonfinite: "propagate", "error", "skip". */
#define HONE_SPEC_NONFINITE_COUNT 3
extern const char *const hone_spec_nonfinite_names[HONE_SPEC_NONFINITE_COUNT];

/* By hone_precision: "plain", "master", "stochastic", "kahan". */
#define HONE_SPEC_PRECISION_COUNT 4
extern const char *const hone_spec_precision_names[HONE_SPEC_PRECISION_COUNT];

/* "sum", "mean": what accumulated gradients become. */
extern const char *const hone_spec_accumulate_names[2];

#endif
