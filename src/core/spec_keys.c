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

void hone_spec_keys(const hone_rule *rule, enum hone_spec_level level, struct hone_spec_keys *keys)
{
    keys->count = 0;
    add_key(keys, "optimizer_type", HONE_KEY_RULE, 0, 0);
    add_key(keys, "state_dtype", HONE_KEY_STATE_DTYPE, 0, 0);
    add_key(keys, "lr_decay_gamma", HONE_KEY_DECAY, 0, 0);
    add_key(keys, "schedule", HONE_KEY_SCHEDULE, 0, 0);
    add_key(keys, "masked_lr", HONE_KEY_MASKED_LR, 0, 0);
    add_key(keys, "masked_schedule", HONE_KEY_MASKED_SCHEDULE, 0, 0);
    add_key(keys, "precision", HONE_KEY_PRECISION, 0, 0);
    add_hypers(keys, rule);
    if (level == HONE_LEVEL_GROUP) {
        add_key(keys, "match", HONE_KEY_MATCH, 0, 0);
        add_key(keys, "lr_multiplier", HONE_KEY_MULTIPLIER, 0, 0);
    } else {
        add_key(keys, "clip_grad_norm", HONE_KEY_CLIP_NORM, 0, 0);
        add_key(keys, "clip_grad_value", HONE_KEY_CLIP_VALUE, 0, 0);
        add_key(keys, "clip_norm_type", HONE_KEY_CLIP_NORM_TYPE, 0, 0);
        add_key(keys, "grad_accum_mode", HONE_KEY_ACCUMULATE_MODE, 0, 0);
        add_key(keys, "grad_accum_steps", HONE_KEY_ACCUMULATE, 0, 0);
        add_key(keys, "groups", HONE_KEY_GROUPS, 0, 0);
        add_key(keys, "masks", HONE_KEY_MASKS, 0, 0);
        add_key(keys, "nonfinite", HONE_KEY_NONFINITE, 0, 0);
    }
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
