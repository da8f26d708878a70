/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a spec as canonical JSON: the keys in the order of spec_keys.c, those that say nothing new
 * left out. The text is made twice, once to be counted and once to be kept, so that it is one
 * allocation of exactly its size. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/schedule_internal.h"
#include "core/spec_keys.h"

/* A text being written, or only counted while `text` is NULL. */
struct writer {
    char *text;
    size_t length;
};

static void put(struct writer *writer, const char *text)
{
    const size_t length = strlen(text);
    if (writer->text != NULL)
        memcpy(writer->text + writer->length, text, length);
    writer->length += length;
}

static void put_number(struct writer *writer, double value)
{
    char text[32];
    put(writer, hone_format_number(text, value));
}

static void put_string(struct writer *writer, const char *text)
{
    put(writer, "\"");
    for (; *text != '\0'; text++) {
        char piece[8] = {*text, '\0'};
        if (*text == '"' || *text == '\\')
            snprintf(piece, sizeof piece, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            snprintf(piece, sizeof piece, "\\u%04x", (unsigned)*text);
        put(writer, piece);
    }
    put(writer, "\"");
}

/* ---- what differs --------------------------------------------------------------------------- */

/* A group, and the values it would have if its JSON said nothing. */
struct subject {
    const hone_spec *spec;
    const struct hone_group *group;
    int number;
    struct hone_value values[HONE_MAX_HYPERS];
    int state_dtype[HONE_MAX_SLOTS];
    double masked_lr;
    hone_precision precision;
    const hone_schedule *schedule, *masked_schedule;
};

static bool is_first(const struct subject *subject)
{
    return subject->number == 0;
}

static void set_subject(struct subject *subject, const hone_spec *spec, int number)
{
    const struct hone_group *group = &spec->groups[number];
    *subject = (struct subject){.spec = spec, .group = group, .number = number};
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

static bool hyper_differs(const struct subject *subject, int index)
{
    const struct hone_value *value = &subject->group->values[index];
    const struct hone_value *start = &subject->values[index];
    if (hone_group_is_custom(subject->group, index))
        return true; /* its list may differ from another group's */
    return value->number != start->number || value->power != start->power;
}

static bool dtype_differs(const struct subject *subject, int slot)
{
    return subject->group->state_dtype[slot] != subject->state_dtype[slot];
}

static bool any_hyper_differs(const struct subject *subject, const struct hone_spec_key *key)
{
    for (int i = key->hyper; i < key->hyper + key->count; i++)
        if (hyper_differs(subject, i))
            return true;
    return false;
}

static bool any_dtype_differs(const struct subject *subject)
{
    for (int slot = 0; slot < subject->group->rule->slot_count; slot++)
        if (dtype_differs(subject, slot))
            return true;
    return false;
}

/* A schedule that "lr_decay_gamma" says in full. */
static bool is_decay(const hone_schedule *schedule)
{
    return schedule != NULL && schedule->per_epoch && schedule->warmup_steps == 0 &&
           strcmp(schedule->type->name, "exponential") == 0 && schedule->arguments[0] > 0 &&
           schedule->arguments[0] <= 1;
}

/* Two unset rates are the same. */
static bool masked_lr_differs(const struct subject *subject)
{
    const double own = subject->group->masked_lr, start = subject->masked_lr;
    return isnan(own) ? !isnan(start) : own != start;
}

static bool is_written(const struct subject *subject, const struct hone_spec_key *key)
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
        return spec->group_count > 1;
    case HONE_KEY_MATCH:
        return true;
    case HONE_KEY_MULTIPLIER:
        return subject->group->lr_multiplier != 1;
    case HONE_KEY_SCHEDULE:
    case HONE_KEY_DECAY:
        return !hone_schedule_equal(subject->group->schedule, subject->schedule) &&
               (key->kind == HONE_KEY_DECAY) == is_decay(subject->group->schedule);
    case HONE_KEY_ALIAS:
        return false;
    }
    return false;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void put_curve(struct writer *writer, const struct hone_value *value)
{
    if (isinf(value->number)) {
        put(writer, "null");
    } else if (value->power == 0) {
        put_number(writer, value->number);
    } else {
        put(writer, "{\"power\":");
        put_number(writer, value->power);
        put(writer, ",\"scale\":");
        put_number(writer, value->number);
        put(writer, "}");
    }
}

static void put_triples(struct writer *writer, const struct hone_group *group)
{
    for (int i = 0; i < group->triple_count; i++)
        for (int k = 0; k < 3; k++) {
            put(writer, k > 0 ? "," : i == 0 ? "[[" : ",[");
            put_number(writer, group->triples[i][k]);
            if (k == 2)
                put(writer, "]");
        }
    put(writer, "]");
}

static void put_word(struct writer *writer, const struct hone_group *group, int index)
{
    const hone_hyper *const info = &group->rule->hypers[index];
    const char *const word = info->words[(int)group->values[index].number];
    if (hone_group_is_custom(group, index))
        put_triples(writer, group);
    else
        put_string(writer, word);
}

static void put_hyper(struct writer *writer, const struct hone_group *group, int index)
{
    const struct hone_value *value = &group->values[index];
    switch (group->rule->hypers[index].kind) {
    case HONE_NUMBER:
        put_number(writer, value->number);
        break;
    case HONE_FLAG:
        put(writer, value->number != 0 ? "true" : "false");
        break;
    case HONE_CHOICE:
        put_word(writer, group, index);
        break;
    case HONE_CURVE:
        put_curve(writer, value);
        break;
    }
}

static void put_list(struct writer *writer, const struct hone_group *group,
                     const struct hone_spec_key *key)
{
    for (int i = 0; i < key->count; i++) {
        put(writer, i == 0 ? "[" : ",");
        put_hyper(writer, group, key->hyper + i);
    }
    put(writer, "]");
}

static void put_dtype(struct writer *writer, int dtype)
{
    for (int i = 0; i < HONE_SPEC_DTYPE_COUNT; i++)
        if ((int)hone_spec_dtypes[i] == dtype) {
            put_string(writer, hone_spec_dtype_names[i]);
            return;
        }
    put(writer, "null");
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
static void put_state_dtype(struct writer *writer, const struct subject *subject)
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
        put(writer, before);
        put_string(writer, rule->slots[slot].name);
        put(writer, ":");
        put_dtype(writer, dtypes[slot]);
        before = ",";
    }
    put(writer, "}");
}

static void put_match(struct writer *writer, const struct hone_group *group)
{
    if (group->pattern_count != 1)
        put(writer, "[");
    for (int i = 0; i < group->pattern_count; i++) {
        if (i > 0)
            put(writer, ",");
        put_string(writer, group->patterns[i]);
    }
    if (group->pattern_count != 1)
        put(writer, "]");
}

static void put_key(struct writer *writer, const char **before, const char *name)
{
    put(writer, *before);
    put_string(writer, name);
    put(writer, ":");
    *before = ",";
}

static bool argument_differs(const hone_schedule *schedule, int index)
{
    const struct hone_schedule_argument *argument = &schedule->type->arguments[index];
    const double start =
        argument->other >= 0 ? schedule->arguments[argument->other] : argument->default_value;
    return schedule->arguments[index] != start; /* a required one's default is NaN */
}

static void put_argument(struct writer *writer, const hone_schedule *schedule, int index)
{
    const struct hone_schedule_argument *argument = &schedule->type->arguments[index];
    const double value = schedule->arguments[index];
    if (argument->kind == HONE_ARGUMENT_CHOICE)
        put_string(writer, argument->words[(int)value]);
    else if (argument->kind == HONE_ARGUMENT_FLAG)
        put(writer, value != 0 ? "true" : "false");
    else
        put_number(writer, value);
}

static void put_schedule(struct writer *writer, const hone_schedule *schedule);

static void put_children(struct writer *writer, const hone_schedule *schedule)
{
    for (size_t i = 0; i < schedule->child_count; i++) {
        put(writer, i == 0 ? "[" : ",");
        put_schedule(writer, schedule->children[i]);
    }
    put(writer, "]");
}

static void put_milestones(struct writer *writer, const hone_schedule *schedule)
{
    put(writer, "[");
    for (size_t i = 0; i < schedule->milestone_count; i++) {
        if (i > 0)
            put(writer, ",");
        put_number(writer, (double)schedule->milestones[i]);
    }
    put(writer, "]");
}

/* The type first, then its arguments as the table lists them, then what every type takes. */
static void put_schedule(struct writer *writer, const hone_schedule *schedule)
{
    const char *before = "{";
    if (schedule == NULL) {
        put(writer, "null");
        return;
    }
    put_key(writer, &before, "type");
    put_string(writer, schedule->type->name);
    for (int i = 0; i < schedule->type->argument_count; i++)
        if (argument_differs(schedule, i)) {
            put_key(writer, &before, schedule->type->arguments[i].name);
            put_argument(writer, schedule, i);
        }
    if (schedule->type->milestones) {
        put_key(writer, &before, "milestones");
        put_milestones(writer, schedule);
    }
    if (schedule->type->children) {
        put_key(writer, &before, "schedulers");
        put_children(writer, schedule);
    }
    if (schedule->warmup_steps != 0) {
        put_key(writer, &before, "warmup_steps");
        put_number(writer, schedule->warmup_steps);
    }
    if (schedule->warmup_from_one) {
        put_key(writer, &before, "warmup_from_one");
        put(writer, "true");
    }
    if (schedule->per_epoch) {
        put_key(writer, &before, "per");
        put_string(writer, "epoch");
    }
    put(writer, "}");
}

static void put_group(struct writer *writer, const hone_spec *spec, int number);

static void put_groups(struct writer *writer, const hone_spec *spec)
{
    for (int i = 1; i < spec->group_count; i++) {
        put(writer, i == 1 ? "[" : ",");
        put_group(writer, spec, i);
    }
    put(writer, "]");
}

static void put_value(struct writer *writer, const struct subject *subject,
                      const struct hone_spec_key *key)
{
    const hone_spec *spec = subject->spec;
    switch (key->kind) {
    case HONE_KEY_RULE:
        put_string(writer, subject->group->rule->name);
        break;
    case HONE_KEY_HYPER:
        put_hyper(writer, subject->group, key->hyper);
        break;
    case HONE_KEY_LIST:
        put_list(writer, subject->group, key);
        break;
    case HONE_KEY_STATE_DTYPE:
        put_state_dtype(writer, subject);
        break;
    case HONE_KEY_MASKED_LR:
        if (isnan(subject->group->masked_lr))
            put(writer, "null");
        else
            put_number(writer, subject->group->masked_lr);
        break;
    case HONE_KEY_PRECISION:
        put_string(writer, hone_spec_precision_names[subject->group->precision]);
        break;
    case HONE_KEY_ACCUMULATE:
        put_number(writer, spec->accumulate);
        break;
    case HONE_KEY_MASKS:
        put_string(writer, spec->masks);
        break;
    case HONE_KEY_ACCUMULATE_MODE:
        put_string(writer, hone_spec_accumulate_names[spec->accumulate_mean ? 1 : 0]);
        break;
    case HONE_KEY_CLIP_NORM:
        put_number(writer, spec->clip_norm);
        break;
    case HONE_KEY_CLIP_NORM_TYPE:
        if (isinf(spec->clip_norm_type))
            put(writer, "\"inf\"");
        else
            put_number(writer, spec->clip_norm_type);
        break;
    case HONE_KEY_CLIP_VALUE:
        put_number(writer, spec->clip_value);
        break;
    case HONE_KEY_NONFINITE:
        put_string(writer, hone_spec_nonfinite_names[spec->nonfinite]);
        break;
    case HONE_KEY_GROUPS:
        put_groups(writer, spec);
        break;
    case HONE_KEY_MATCH:
        put_match(writer, subject->group);
        break;
    case HONE_KEY_MULTIPLIER:
        put_number(writer, subject->group->lr_multiplier);
        break;
    case HONE_KEY_SCHEDULE:
        put_schedule(writer, subject->group->schedule);
        break;
    case HONE_KEY_MASKED_SCHEDULE:
        put_schedule(writer, subject->group->masked_schedule);
        break;
    case HONE_KEY_DECAY:
        put_number(writer, subject->group->schedule->arguments[0]);
        break;
    case HONE_KEY_ALIAS:
        break;
    }
}

static void put_group(struct writer *writer, const hone_spec *spec, int number)
{
    struct hone_spec_keys keys;
    struct subject subject;
    hone_spec_keys(spec->groups[number].rule, number == 0 ? HONE_LEVEL_TOP : HONE_LEVEL_GROUP,
                   &keys);
    set_subject(&subject, spec, number);
    const char *before = "{";
    for (int i = 0; i < keys.count; i++) {
        if (!is_written(&subject, &keys.keys[i]))
            continue;
        put(writer, before);
        put_string(writer, keys.names[i]);
        put(writer, ":");
        put_value(writer, &subject, &keys.keys[i]);
        before = ",";
    }
    put(writer, "}");
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

/* A callback cannot be written; nothing else can go wrong but memory. */
static hone_status check_writable(const hone_spec *spec, hone_error *error)
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
    const hone_status status = check_writable(spec, error);
    if (status != HONE_OK)
        return status;
    struct writer counter = {NULL, 0};
    put_group(&counter, spec, 0);
    struct writer writer = {hone_allocate(spec->context, counter.length + 1), 0};
    if (writer.text == NULL)
        return hone_fail_memory(error, counter.length + 1, "a spec's JSON text");
    put_group(&writer, spec, 0);
    writer.text[writer.length] = '\0';
    *json = writer.text;
    return HONE_OK;
}
