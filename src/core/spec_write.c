/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a spec as canonical JSON: the keys in the order of spec_keys.c, those that say nothing new
 * left out. */
#include <math.h>
#include <string.h>

#include "core/schedule_internal.h"
#include "core/spec_muon.h"
#include "core/spec_writer.h"

/* ---- what differs --------------------------------------------------------------------------- */

static bool is_first(const struct hone_subject *subject)
{
    return subject->number == 0;
}

void hone_set_subject(struct hone_subject *subject, const hone_spec *spec, int number)
{
    const struct hone_group *group = &spec->groups[number];
    *subject = (struct hone_subject){.spec = spec, .group = group, .number = number, .first = 1};
    const bool inherits = number > 0 && group->rule == spec->groups[0].rule;
    for (int i = 0; i < HONE_MAX_SLOTS; i++)
        subject->state_dtype[i] =
            inherits ? spec->groups[0].state_dtype[i] : HONE_STATE_DTYPE_DEFAULT;
    subject->masked_lr = inherits ? spec->groups[0].masked_lr : (double)NAN;
    subject->schedule = number > 0 ? spec->groups[0].schedule : NULL;
    subject->masked_schedule = inherits ? spec->groups[0].masked_schedule : NULL;
    subject->precision = inherits ? spec->groups[0].precision : HONE_PRECISION_PLAIN;
    if (inherits)
        memcpy(subject->values, spec->groups[0].values, sizeof subject->values);
    else
        hone_rule_defaults(group->rule, subject->values);
}

static bool hyper_differs(const struct hone_subject *subject, int index)
{
    const struct hone_value *value = &subject->group->values[index];
    const struct hone_value *start = &subject->values[index];
    if (hone_group_is_custom(subject->group, index))
        return true; /* its list may differ from another group's */
    return value->number != start->number || value->power != start->power;
}

static bool dtype_differs(const struct hone_subject *subject, int slot)
{
    return subject->group->state_dtype[slot] != subject->state_dtype[slot];
}

static bool any_hyper_differs(const struct hone_subject *subject, const struct hone_spec_key *key)
{
    for (int i = key->hyper; i < key->hyper + key->count; i++)
        if (hyper_differs(subject, i))
            return true;
    return false;
}

static bool any_dtype_differs(const struct hone_subject *subject)
{
    for (int slot = 0; slot < subject->group->rule->slot_count; slot++)
        if (dtype_differs(subject, slot))
            return true;
    return false;
}

/* Two unset rates are the same. */
static bool masked_lr_differs(const struct hone_subject *subject)
{
    const double own = subject->group->masked_lr, start = subject->masked_lr;
    return isnan(own) ? !isnan(start) : own != start;
}

/* Whether the schedule is written as "lr_decay_gamma". AdamW's own beside Muon has no such short form. */
static bool is_short(const struct hone_subject *subject, const struct hone_spec_key *key)
{
    return hone_schedule_is_decay(subject->group->schedule) &&
           strcmp(key->name, "adamw_schedule") != 0;
}

bool hone_is_written(const struct hone_subject *subject, const struct hone_spec_key *key)
{
    const hone_spec *spec = subject->spec;
    switch (key->kind) {
    case HONE_KEY_RULE:
        return is_first(subject) || subject->group->rule != spec->groups[0].rule;
    case HONE_KEY_HYPER:
        return any_hyper_differs(subject, key) ||
               (is_first(subject) && strcmp(key->name, "learning_rate") == 0);
    case HONE_KEY_LIST:
        return any_hyper_differs(subject, key);
    case HONE_KEY_FLATTEN:
        return subject->group->values[key->hyper].number == 0;
    case HONE_KEY_STATE_DTYPE:
        return any_dtype_differs(subject);
    case HONE_KEY_MASKED_LR:
        return masked_lr_differs(subject);
    case HONE_KEY_MASKED_SCHEDULE:
        return !hone_schedule_equal(subject->group->masked_schedule, subject->masked_schedule);
    case HONE_KEY_PRECISION:
        return subject->group->precision != subject->precision;
    case HONE_KEY_ACCUMULATE:
        return spec->accumulate != 1;
    case HONE_KEY_MASKS:
        return spec->masks != NULL;
    case HONE_KEY_ACCUMULATE_MODE:
        return spec->accumulate_mean;
    case HONE_KEY_CLIP_NORM:
        return isfinite(spec->clip_norm);
    case HONE_KEY_CLIP_NORM_TYPE:
        return spec->clip_norm_type != 2;
    case HONE_KEY_CLIP_VALUE:
        return isfinite(spec->clip_value);
    case HONE_KEY_NONFINITE:
        return spec->nonfinite != HONE_NONFINITE_PROPAGATE;
    case HONE_KEY_GROUPS:
        return spec->group_count > subject->first;
    case HONE_KEY_MATCH:
        return true;
    case HONE_KEY_EXCEPT:
        return subject->group->except.count > 0;
    case HONE_KEY_MIN_NDIM:
        return subject->group->min_ndim > 0;
    case HONE_KEY_SPLIT: {
        const char *const name = hone_muon_split_name(subject->group);
        return name == NULL || strcmp(name, HONE_MUON_SPLIT_DEFAULT) != 0;
    }
    case HONE_KEY_MULTIPLIERS:
        return spec->multiplier_count > 0;
    case HONE_KEY_MULTIPLIER:
        return subject->group->lr_multiplier != 1;
    case HONE_KEY_SCHEDULE:
    case HONE_KEY_DECAY:
        return !hone_schedule_equal(subject->group->schedule, subject->schedule) &&
               (key->kind == HONE_KEY_DECAY) == is_short(subject, key);
    case HONE_KEY_ALIAS:
        return false;
    }
    return false;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void put_curve(struct hone_writer *writer, const struct hone_value *value)
{
    if (isinf(value->number)) {
        hone_put(writer, "null");
    } else if (value->power == 0) {
        hone_put_number(writer, value->number);
    } else {
        hone_put(writer, "{\"power\":");
        hone_put_number(writer, value->power);
        hone_put(writer, ",\"scale\":");
        hone_put_number(writer, value->number);
        hone_put(writer, "}");
    }
}

static void put_triples(struct hone_writer *writer, const struct hone_group *group)
{
    for (int i = 0; i < group->triple_count; i++)
        for (int k = 0; k < 3; k++) {
            hone_put(writer, k > 0 ? "," : i == 0 ? "[[" : ",[");
            hone_put_number(writer, group->triples[i][k]);
            if (k == 2)
                hone_put(writer, "]");
        }
    hone_put(writer, "]");
}

static void put_word(struct hone_writer *writer, const struct hone_group *group, int index)
{
    const hone_hyper *const info = &group->rule->hypers[index];
    const char *const word = info->words[(int)group->values[index].number];
    if (hone_group_is_custom(group, index))
        put_triples(writer, group);
    else
        hone_put_string(writer, word);
}

static void put_hyper(struct hone_writer *writer, const struct hone_group *group, int index)
{
    const struct hone_value *value = &group->values[index];
    switch (group->rule->hypers[index].kind) {
    case HONE_NUMBER:
        hone_put_number(writer, value->number);
        break;
    case HONE_FLAG:
        hone_put(writer, value->number != 0 ? "true" : "false");
        break;
    case HONE_CHOICE:
        put_word(writer, group, index);
        break;
    case HONE_CURVE:
        put_curve(writer, value);
        break;
    }
}

static void put_list(struct hone_writer *writer, const struct hone_group *group,
                     const struct hone_spec_key *key)
{
    for (int i = 0; i < key->count; i++) {
        hone_put(writer, i == 0 ? "[" : ",");
        put_hyper(writer, group, key->hyper + i);
    }
    hone_put(writer, "]");
}

static void put_dtype(struct hone_writer *writer, int dtype)
{
    for (int i = 0; i < HONE_SPEC_DTYPE_COUNT; i++)
        if ((int)hone_spec_dtypes[i] == dtype) {
            hone_put_string(writer, hone_spec_dtype_names[i]);
            return;
        }
    hone_put(writer, "null");
}

/* The slot after `last` in the order of names; -1 when there is none. */
static int next_slot(const hone_rule *rule, int last)
{
    int next = -1;
    for (int slot = 0; slot < rule->slot_count; slot++) {
        const char *name = rule->slots[slot].name;
        if ((last < 0 || strcmp(name, rule->slots[last].name) > 0) &&
            (next < 0 || strcmp(name, rule->slots[next].name) < 0))
            next = slot;
    }
    return next;
}

/* One word if all slots have the same type, else an object of those that differ. */
static void put_state_dtype(struct hone_writer *writer, const struct hone_subject *subject)
{
    const hone_rule *rule = subject->group->rule;
    const int *dtypes = subject->group->state_dtype;
    int same = 1;
    while (same < rule->slot_count && dtypes[same] == dtypes[0])
        same++;
    if (same == rule->slot_count) {
        put_dtype(writer, dtypes[0]);
        return;
    }
    const char *before = "{";
    for (int slot = next_slot(rule, -1); slot >= 0; slot = next_slot(rule, slot)) {
        if (!dtype_differs(subject, slot))
            continue;
        hone_put(writer, before);
        hone_put_string(writer, rule->slots[slot].name);
        hone_put(writer, ":");
        put_dtype(writer, dtypes[slot]);
        before = ",";
    }
    hone_put(writer, "}");
}

static void put_glob_list(struct hone_writer *writer, const struct hone_globs *globs)
{
    hone_put(writer, "[");
    for (int i = 0; i < globs->count; i++) {
        hone_put(writer, i == 0 ? "" : ",");
        hone_put_string(writer, globs->texts[i]);
    }
    hone_put(writer, "]");
}

/* A list of one is its element. */
static void put_globs(struct hone_writer *writer, const struct hone_globs *globs)
{
    if (globs->count == 1)
        hone_put_string(writer, globs->texts[0]);
    else
        put_glob_list(writer, globs);
}

static void put_split(struct hone_writer *writer, const struct hone_group *group)
{
    const char *before = "{";
    if (hone_muon_split_name(group) != NULL) {
        hone_put_string(writer, hone_muon_split_name(group));
        return;
    }
    if (group->except.count == 0 && group->min_ndim == 0) {
        put_glob_list(writer, &group->match);
        return;
    }
    if (group->except.count > 0) {
        hone_put_key(writer, &before, "except");
        put_globs(writer, &group->except);
    }
    hone_put_key(writer, &before, "match");
    put_globs(writer, &group->match);
    if (group->min_ndim != HONE_MUON_MIN_NDIM) {
        hone_put_key(writer, &before, "min_ndim");
        hone_put_number(writer, group->min_ndim);
    }
    hone_put(writer, "}");
}

static void put_multipliers(struct hone_writer *writer, const hone_spec *spec)
{
    const char *before = "{";
    for (int i = 0; i < spec->multiplier_count; i++) {
        hone_put_key(writer, &before, spec->multipliers[i].module);
        hone_put_number(writer, spec->multipliers[i].value);
    }
    hone_put(writer, "}");
}

static void put_group(struct hone_writer *writer, const hone_spec *spec, int number);

static void put_groups(struct hone_writer *writer, const hone_spec *spec, int first)
{
    for (int i = first; i < spec->group_count; i++) {
        hone_put(writer, i == first ? "[" : ",");
        put_group(writer, spec, i);
    }
    hone_put(writer, "]");
}

void hone_put_value(struct hone_writer *writer, const struct hone_subject *subject,
                    const struct hone_spec_key *key)
{
    const hone_spec *spec = subject->spec;
    switch (key->kind) {
    case HONE_KEY_RULE:
        hone_put_string(writer, subject->group->rule->name);
        break;
    case HONE_KEY_HYPER:
        put_hyper(writer, subject->group, key->hyper);
        break;
    case HONE_KEY_FLATTEN:
        hone_put(writer, "true");
        break;
    case HONE_KEY_LIST:
        put_list(writer, subject->group, key);
        break;
    case HONE_KEY_STATE_DTYPE:
        put_state_dtype(writer, subject);
        break;
    case HONE_KEY_MASKED_LR:
        if (isnan(subject->group->masked_lr))
            hone_put(writer, "null");
        else
            hone_put_number(writer, subject->group->masked_lr);
        break;
    case HONE_KEY_PRECISION:
        hone_put_string(writer, hone_spec_precision_names[subject->group->precision]);
        break;
    case HONE_KEY_ACCUMULATE:
        hone_put_number(writer, spec->accumulate);
        break;
    case HONE_KEY_MASKS:
        hone_put_string(writer, spec->masks);
        break;
    case HONE_KEY_ACCUMULATE_MODE:
        hone_put_string(writer, hone_spec_accumulate_names[spec->accumulate_mean ? 1 : 0]);
        break;
    case HONE_KEY_CLIP_NORM:
        hone_put_number(writer, spec->clip_norm);
        break;
    case HONE_KEY_CLIP_NORM_TYPE:
        if (isinf(spec->clip_norm_type))
            hone_put(writer, "\"inf\"");
        else
            hone_put_number(writer, spec->clip_norm_type);
        break;
    case HONE_KEY_CLIP_VALUE:
        hone_put_number(writer, spec->clip_value);
        break;
    case HONE_KEY_NONFINITE:
        hone_put_string(writer, hone_spec_nonfinite_names[spec->nonfinite]);
        break;
    case HONE_KEY_GROUPS:
        put_groups(writer, spec, subject->first);
        break;
    case HONE_KEY_MATCH:
        put_globs(writer, &subject->group->match);
        break;
    case HONE_KEY_EXCEPT:
        put_globs(writer, &subject->group->except);
        break;
    case HONE_KEY_MIN_NDIM:
        hone_put_number(writer, subject->group->min_ndim);
        break;
    case HONE_KEY_SPLIT:
        put_split(writer, subject->group);
        break;
    case HONE_KEY_MULTIPLIERS:
        put_multipliers(writer, spec);
        break;
    case HONE_KEY_MULTIPLIER:
        hone_put_number(writer, subject->group->lr_multiplier);
        break;
    case HONE_KEY_SCHEDULE:
        hone_put_schedule(writer, subject->group->schedule);
        break;
    case HONE_KEY_MASKED_SCHEDULE:
        hone_put_schedule(writer, subject->group->masked_schedule);
        break;
    case HONE_KEY_DECAY:
        hone_put_number(writer, subject->group->schedule->arguments[0]);
        break;
    case HONE_KEY_ALIAS:
        break;
    }
}

static void put_group(struct hone_writer *writer, const hone_spec *spec, int number)
{
    struct hone_spec_keys keys;
    struct hone_subject subject;
    hone_spec_keys(spec->groups[number].rule, number == 0 ? HONE_LEVEL_TOP : HONE_LEVEL_GROUP,
                   &keys);
    hone_set_subject(&subject, spec, number);
    const char *before = "{";
    for (int i = 0; i < keys.count; i++) {
        if (!hone_is_written(&subject, &keys.keys[i]))
            continue;
        hone_put(writer, before);
        hone_put_string(writer, keys.names[i]);
        hone_put(writer, ":");
        hone_put_value(writer, &subject, &keys.keys[i]);
        before = ",";
    }
    hone_put(writer, "}");
}

static bool has_callback(const hone_schedule *schedule)
{
    if (schedule == NULL)
        return false;
    for (size_t i = 0; i < schedule->child_count; i++)
        if (has_callback(schedule->children[i]))
            return true;
    return schedule->callback != NULL;
}

hone_status hone_check_writable(const hone_spec *spec, hone_error *error)
{
    for (int i = 0; i < spec->group_count; i++)
        if (has_callback(spec->groups[i].schedule) || has_callback(spec->groups[i].masked_schedule))
            return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                             "the schedule of group %d is computed by a callback, which a spec's "
                             "JSON cannot hold",
                             i);
    for (int i = 0; i < spec->group_count; i++)
        for (int j = 0; j < spec->groups[i].rule->hyper_count; j++)
            if (spec->groups[i].values[j].callback != NULL)
                return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                                 "%s of group %d is computed by a callback, which a spec's JSON "
                                 "cannot hold; give it a scale and a power",
                                 spec->groups[i].rule->hypers[j].name, i);
    return HONE_OK;
}

hone_status hone_spec_write(const hone_spec *spec, char **json, hone_error *error)
{
    if (spec == NULL || json == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_write needs a spec and a place for the text; one is NULL");
    const hone_status status = hone_check_writable(spec, error);
    if (status != HONE_OK)
        return status;
    struct hone_writer counter = {NULL, 0};
    put_group(&counter, spec, 0);
    struct hone_writer writer = {hone_allocate(spec->context, counter.length + 1), 0};
    if (writer.text == NULL)
        return hone_fail_memory(error, counter.length + 1, "a spec's JSON text");
    put_group(&writer, spec, 0);
    writer.text[writer.length] = '\0';
    *json = writer.text;
    return HONE_OK;
}
