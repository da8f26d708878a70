/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the list of a spec's keys from the rule's table. */
#include "core/spec_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const hone_spec_dtype_names[HONE_SPEC_DTYPE_COUNT] = {"f32", "f64", "bf16", "f16"};
const hone_dtype hone_spec_dtypes[HONE_SPEC_DTYPE_COUNT] = {HONE_F32, HONE_F64, HONE_BF16,
                                                            HONE_F16};
const char *const hone_spec_nonfinite_names[HONE_SPEC_NONFINITE_COUNT] = {"propagate", "error",
                                                                          "skip"};
const char *const hone_spec_precision_names[HONE_SPEC_PRECISION_COUNT] = {"plain", "master",
                                                                          "stochastic", "kahan"};
const char *const hone_spec_accumulate_names[2] = {"sum", "mean"};

static void add_key(struct hone_spec_keys *keys, const char *name, enum hone_spec_key_kind kind,
                    int hyper, int count)
{
    struct hone_spec_key *key = &keys->keys[keys->count++];
    snprintf(key->name, sizeof key->name, "%s", name);
    key->kind = kind;
    key->hyper = hyper;
    key->count = count;
    key->part = 0;
}

/* How many hyperparameters from `first` on are x1, x2, ... with one x and of kind number; `stem`
 * receives the length of x. */
static int numbered(const hone_rule *rule, int first, size_t *stem)
{
    const char *name = rule->hypers[first].name;
    *stem = strlen(name) - 1;
    int count = 0;
    while (first + count < rule->hyper_count && count < 9) {
        const hone_hyper *next = &rule->hypers[first + count];
        if (next->kind != HONE_NUMBER || strlen(next->name) != *stem + 1 ||
            strncmp(next->name, name, *stem) != 0 || next->name[*stem] != '1' + count)
            break;
        count++;
    }
    return count;
}

static void add_list(struct hone_spec_keys *keys, const hone_rule *rule, int first, int count,
                     size_t stem)
{
    char name[64];
    snprintf(name, sizeof name, "%.*ss", (int)stem, rule->hypers[first].name);
    add_key(keys, name, HONE_KEY_LIST, first, count);
    for (int i = first; i < first + count; i++)
        add_key(keys, rule->hypers[i].name, HONE_KEY_ALIAS, i, 1);
}

static void add_hypers(struct hone_spec_keys *keys, const hone_rule *rule)
{
    for (int i = 0; i < rule->hyper_count;) {
        size_t stem;
        const int count = numbered(rule, i, &stem);
        if (count >= 2) {
            add_list(keys, rule, i, count, stem);
            i += count;
            continue;
        }
        const bool rate = strcmp(rule->hypers[i].name, "lr") == 0;
        if (rate) {
            add_key(keys, "lr", HONE_KEY_ALIAS, i, 1);
            add_key(keys, "unmasked_lr", HONE_KEY_ALIAS, i, 1);
        }
        add_key(keys, rate ? "learning_rate" : rule->hypers[i].name, HONE_KEY_HYPER, i, 1);
        i++;
    }
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct hone_spec_key *)a)->name, ((const struct hone_spec_key *)b)->name);
}

/* The keys of a whole step, which stand at the top level only. */
static void add_step_keys(struct hone_spec_keys *keys)
{
    add_key(keys, "clip_grad_norm", HONE_KEY_CLIP_NORM, 0, 0);
    add_key(keys, "clip_grad_value", HONE_KEY_CLIP_VALUE, 0, 0);
    add_key(keys, "clip_norm_type", HONE_KEY_CLIP_NORM_TYPE, 0, 0);
    add_key(keys, "grad_accum_mode", HONE_KEY_ACCUMULATE_MODE, 0, 0);
    add_key(keys, "grad_accum_steps", HONE_KEY_ACCUMULATE, 0, 0);
    add_key(keys, "groups", HONE_KEY_GROUPS, 0, 0);
    add_key(keys, "lr_multipliers", HONE_KEY_MULTIPLIERS, 0, 0);
    add_key(keys, "masks", HONE_KEY_MASKS, 0, 0);
    add_key(keys, "nonfinite", HONE_KEY_NONFINITE, 0, 0);
}

/* The keys of the short form that speak of one of its two rules. */
static void add_part_keys(struct hone_spec_keys *keys)
{
    static const struct {
        const char *key, *hyper;
        int count, part;
        enum hone_spec_key_kind kind;
    } list[] = {
        {"learning_rate", "lr", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"lr", "lr", 1, HONE_PART_MUON, HONE_KEY_ALIAS},
        {"momentum", "momentum", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"nesterov", "nesterov", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"muon_weight_decay", "weight_decay", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"muon_eps", "eps", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"ns_steps", "ns_steps", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"ns_coefficients", "ns_coefficients", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"adjust_lr_fn", "adjust_lr_fn", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"products", "products", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"matrices", "matrices", 1, HONE_PART_MUON, HONE_KEY_HYPER},
        {"flatten", "matrices", 1, HONE_PART_MUON, HONE_KEY_FLATTEN},
        {"adamw_lr", "lr", 1, HONE_PART_ADAMW, HONE_KEY_HYPER},
        {"adamw_eps", "eps", 1, HONE_PART_ADAMW, HONE_KEY_HYPER},
        {"weight_decay", "weight_decay", 1, HONE_PART_ADAMW, HONE_KEY_HYPER},
        {"betas", "beta1", 2, HONE_PART_ADAMW, HONE_KEY_LIST},
    };
    const hone_rule *const rules[HONE_PART_COUNT] = {hone_rule_find("adamw"),
                                                     hone_rule_find("muon")};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        add_key(keys, list[i].key, list[i].kind,
                hone_rule_hyper_find(rules[list[i].part], list[i].hyper), list[i].count);
        keys->keys[keys->count - 1].part = list[i].part;
    }
    add_key(keys, "adamw_schedule", HONE_KEY_SCHEDULE, 0, 0);
    add_key(keys, "split", HONE_KEY_SPLIT, 0, 0);
    keys->keys[keys->count - 1].part = HONE_PART_MUON;
}

static void add_group_keys(struct hone_spec_keys *keys)
{
    add_key(keys, "match", HONE_KEY_MATCH, 0, 0);
    add_key(keys, "except", HONE_KEY_EXCEPT, 0, 0);
    add_key(keys, "min_ndim", HONE_KEY_MIN_NDIM, 0, 0);
    add_key(keys, "lr_multiplier", HONE_KEY_MULTIPLIER, 0, 0);
}

void hone_spec_keys(const hone_rule *rule, enum hone_spec_level level, struct hone_spec_keys *keys)
{
    const int part = level == HONE_LEVEL_MUON_SPEC ? HONE_PART_MUON : 0;
    keys->count = 0;
    add_key(keys, "optimizer_type", HONE_KEY_RULE, 0, 0);
    add_key(keys, "lr_decay_gamma", HONE_KEY_DECAY, 0, 0);
    add_key(keys, "schedule", HONE_KEY_SCHEDULE, 0, 0);
    add_key(keys, "precision", HONE_KEY_PRECISION, 0, 0);
    for (int i = 0; i < keys->count; i++)
        keys->keys[i].part = part;
    if (level == HONE_LEVEL_MUON_SPEC) {
        add_part_keys(keys);
    } else {
        add_key(keys, "state_dtype", HONE_KEY_STATE_DTYPE, 0, 0);
        add_key(keys, "masked_lr", HONE_KEY_MASKED_LR, 0, 0);
        add_key(keys, "masked_schedule", HONE_KEY_MASKED_SCHEDULE, 0, 0);
        add_hypers(keys, rule);
    }
    if (level == HONE_LEVEL_GROUP)
        add_group_keys(keys);
    else
        add_step_keys(keys);
    qsort(keys->keys, (size_t)keys->count, sizeof keys->keys[0], compare_keys);
    for (int i = 0; i < keys->count; i++)
        keys->names[i] = keys->keys[i].name;
}

const struct hone_spec_key *hone_spec_key_find(const struct hone_spec_keys *keys, const char *name)
{
    for (int i = 0; i < keys->count; i++)
        if (strcmp(keys->names[i], name) == 0)
            return &keys->keys[i];
    return NULL;
}
