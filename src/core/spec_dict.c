/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a spec as the optimizer specifications AdamSpec, AdamWSpec and MuonSpec serialise
 * themselves: their fields always and in their order, then whatever else differs from its default. */
#include <string.h>

#include "core/spec_muon.h"
#include "core/spec_writer.h"

/* Fields that come first; of these the first `always` are written whatever they are. */
struct form {
    const char *const *fields;
    int field_count, always;
};

static const char *const adam_fields[] = {"optimizer_type", "learning_rate", "lr_decay_gamma",
                                          "betas",          "eps",           "weight_decay"};
static const char *const muon_fields[] = {
    "optimizer_type", "learning_rate", "lr_decay_gamma", "momentum",          "nesterov",
    "adamw_lr",       "weight_decay",  "betas",          "muon_weight_decay", "adamw_eps",
    "ns_steps",       "adjust_lr_fn",  "split"};
static const struct form adam_form = {adam_fields, 6, 6}, muon_form = {muon_fields, 13, 8};

/* A spec in its form: one subject, or one for each part of Muon beside AdamW. */
struct dict {
    const struct form *form;
    const char *name;
    struct hone_spec_keys keys;
    struct hone_subject subjects[HONE_PART_COUNT];
};

/* ---- does Muon's form hold it? -------------------------------------------------------------- */

static void set_part(struct hone_subject *subject, const hone_spec *spec, enum hone_muon_part part)
{
    hone_set_subject(subject, spec, 0);
    subject->group = &spec->groups[part];
    subject->number = (int)part;
    subject->first = HONE_PART_COUNT;
    subject->schedule = part == HONE_PART_ADAMW ? spec->groups[HONE_PART_MUON].schedule : NULL;
    hone_muon_spec_start(part, subject->values);
}

/* Whether one of the form's keys gives hyperparameter `hyper` of `part`. */
static bool gives(const struct hone_spec_keys *keys, int part, int hyper)
{
    for (int i = 0; i < keys->count; i++) {
        const struct hone_spec_key *const key = &keys->keys[i];
        const bool value = key->kind == HONE_KEY_HYPER || key->kind == HONE_KEY_LIST;
        if (value && key->part == part && hyper >= key->hyper && hyper < key->hyper + key->count)
            return true;
    }
    return false;
}

/* Whether all that differs in a part has a key in the form. */
static bool holds_part(const struct dict *dict, enum hone_muon_part part)
{
    const struct hone_subject *const subject = &dict->subjects[part];
    struct hone_spec_keys keys;
    hone_spec_keys(subject->group->rule, HONE_LEVEL_GROUP, &keys);
    for (int i = 0; i < keys.count; i++) {
        const struct hone_spec_key *const key = &keys.keys[i];
        switch (key->kind) {
        case HONE_KEY_HYPER:
        case HONE_KEY_LIST:
            if (hone_is_written(subject, key) && !gives(&dict->keys, (int)part, key->hyper))
                return false;
            break;
        case HONE_KEY_STATE_DTYPE:
        case HONE_KEY_MASKED_LR:
        case HONE_KEY_MASKED_SCHEDULE:
        case HONE_KEY_MULTIPLIER:
            if (hone_is_written(subject, key))
                return false;
            break;
        default: /* the form has them */
            break;
        }
    }
    return true;
}

static bool set_muon(struct dict *dict, const hone_spec *spec)
{
    if (spec->group_count < HONE_PART_COUNT ||
        strcmp(spec->groups[HONE_PART_ADAMW].rule->name, "adamw") != 0 ||
        strcmp(spec->groups[HONE_PART_MUON].rule->name, "muon") != 0)
        return false;
    dict->form = &muon_form;
    dict->name = "muon";
    hone_spec_keys(NULL, HONE_LEVEL_MUON_SPEC, &dict->keys);
    for (int part = 0; part < HONE_PART_COUNT; part++)
        set_part(&dict->subjects[part], spec, (enum hone_muon_part)part);
    return spec->groups[HONE_PART_ADAMW].precision == spec->groups[HONE_PART_MUON].precision &&
           holds_part(dict, HONE_PART_ADAMW) && holds_part(dict, HONE_PART_MUON);
}

static bool set_adam(struct dict *dict, const hone_spec *spec)
{
    const hone_rule *const rule = spec->groups[0].rule;
    dict->form = &adam_form;
    dict->name = rule->name;
    hone_spec_keys(rule, HONE_LEVEL_TOP, &dict->keys);
    hone_set_subject(&dict->subjects[0], spec, 0);
    return strcmp(rule->name, "adam") == 0 || strcmp(rule->name, "adamw") == 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int find_field(const struct form *form, const char *name)
{
    int at = 0;
    while (at < form->field_count && strcmp(form->fields[at], name) != 0)
        at++;
    return at < form->field_count ? at : -1;
}

/* "flatten" says it in place of Muon's choice. */
static bool is_said(const struct hone_subject *subject, const struct hone_spec_key *key)
{
    return key->part == HONE_PART_MUON && key->kind == HONE_KEY_HYPER &&
           strcmp(key->name, "matrices") == 0 && subject->group->values[key->hyper].number == 0;
}

static void put_member(struct hone_writer *writer, const struct dict *dict,
                       const struct hone_spec_key *key, const char **before, bool always)
{
    const struct hone_subject *const subject = &dict->subjects[key->part];
    if (!always && (!hone_is_written(subject, key) || is_said(subject, key)))
        return;
    hone_put_key(writer, before, key->name);
    if (key->kind == HONE_KEY_RULE)
        hone_put_string(writer, dict->name);
    else if (key->kind == HONE_KEY_DECAY && !hone_schedule_is_decay(subject->group->schedule))
        hone_put(writer, "null");
    else
        hone_put_value(writer, subject, key);
}

static void put_dict(struct hone_writer *writer, const struct dict *dict)
{
    const struct form *const form = dict->form;
    const char *before = "{";
    for (int i = 0; i < form->field_count; i++)
        put_member(writer, dict, hone_spec_key_find(&dict->keys, form->fields[i]), &before,
                   i < form->always);
    for (int i = 0; i < dict->keys.count; i++)
        if (find_field(form, dict->keys.names[i]) < 0)
            put_member(writer, dict, &dict->keys.keys[i], &before, false);
    hone_put(writer, "}");
}

hone_status hone_spec_to_dict(const hone_spec *spec, const char **name, char **json,
                              hone_error *error)
{
    if (spec == NULL || json == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_to_dict needs a spec and a place for the text; one is NULL");
    struct dict dict;
    if (!set_muon(&dict, spec) && !set_adam(&dict, spec))
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "a recipe of %s is none of AdamSpec, AdamWSpec and MuonSpec; "
                         "hone_spec_write writes it",
                         spec->groups[0].rule->name);
    const hone_status status = hone_check_writable(spec, error);
    if (status != HONE_OK)
        return status;
    struct hone_writer counter = {NULL, 0};
    put_dict(&counter, &dict);
    struct hone_writer writer = {hone_allocate(spec->context, counter.length + 1), 0};
    if (writer.text == NULL)
        return hone_fail_memory(error, counter.length + 1, "a spec's JSON text");
    put_dict(&writer, &dict);
    writer.text[writer.length] = '\0';
    *json = writer.text;
    if (name != NULL)
        *name = dict.name;
    return HONE_OK;
}
