/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a spec from JSON. jansson checks the text; what it means is checked here, member by member
 * in the order of the text, against the keys of spec_keys.c. Every refusal names the key path, what
 * was found and what is allowed, and stands at the key's or the value's offset. */
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json_load.h"
#include "core/json_position.h"
#include "core/spec_keys.h"
#include "core/spec_reader.h"

typedef struct hone_json_place place;

/* One object that describes a group: the top level (group 0, `at` NULL) or an entry of "groups". */
struct recipe {
    struct hone_spec_reader *reader;
    const place *at;
    json_t *object;
    int group;
    struct hone_spec_keys keys;
    const char *set_by[HONE_MAX_HYPERS]; /* the key that gave each hyperparameter; NULL: none yet */
    const char *schedule_by;             /* likewise, the key that gave the schedule */
};

static struct hone_group *group_of(const struct recipe *recipe)
{
    return &recipe->reader->spec->groups[recipe->group];
}

static hone_status read_rule(const struct hone_spec_reader *reader, const place *at,
                             const json_t *value, const hone_rule **rule)
{
    *rule = json_is_string(value) ? hone_rule_find(json_string_value(value)) : NULL;
    if (*rule != NULL)
        return HONE_OK;
    const char *names[64];
    int count = 0;
    for (; count < 64 && count < hone_rule_count(); count++)
        names[count] = hone_rule_name(hone_rule_at(count));
    int choice;
    return hone_read_choice(reader, at, value, names, count, &choice);
}

/* {"power": p, "scale": c} */
static hone_status read_curve_object(const struct hone_spec_reader *reader, const place *at,
                                     json_t *value, struct hone_value *curve)
{
    static const char *const names[] = {"power", "scale"};
    static const char *const allowed = "a number";
    double *const targets[] = {&curve->power, &curve->number};
    bool seen[] = {false, false};
    place member = {at, NULL, 0};
    json_t *part;
    json_object_foreach(value, member.key, part)
    {
        const int which = strcmp(member.key, names[0]) == 0   ? 0
                          : strcmp(member.key, names[1]) == 0 ? 1
                                                              : 2;
        if (which == 2)
            return hone_refuse_name(reader, &member, HONE_AT_KEY, "unknown key", member.key, names,
                                    2);
        if (!json_is_number(part))
            return hone_refuse_value(reader, &member, part, allowed);
        *targets[which] = json_number_value(part);
        seen[which] = true;
        member.index++;
    }
    for (int i = 0; i < 2; i++)
        if (!seen[i])
            return hone_refuse(reader, at, HONE_AT_VALUE, "\"%s\" is missing; allowed: %s",
                               names[i], "{\"power\": p, \"scale\": c}, a number, or null");
    return HONE_OK;
}

static hone_status read_curve(const struct hone_spec_reader *reader, const place *at, json_t *value,
                              struct hone_value *curve)
{
    if (json_is_object(value))
        return read_curve_object(reader, at, value, curve);
    if (!json_is_number(value) && !json_is_null(value))
        return hone_refuse_value(reader, at, value,
                                 "{\"power\": p, \"scale\": c}, a number, or null");
    curve->number = json_is_null(value) ? INFINITY : json_number_value(value);
    return HONE_OK;
}

/* ---- hyperparameters ------------------------------------------------------------------------ */

/* Stores a value; a refusal of its range is said again with its place. */
static hone_status store(const struct recipe *recipe, const place *at, int hyper,
                         struct hone_value value)
{
    char path[HONE_JSON_PATH_SIZE];
    hone_error refusal;
    const hone_status status =
        hone_group_store(group_of(recipe), hyper, value, hone_json_path(at, path), &refusal);
    if (status == HONE_OK)
        return status;
    const struct hone_spec_reader *reader = recipe->reader;
    return hone_fail_at(reader->error, HONE_ERROR_SPEC,
                        hone_json_locate(reader->text, reader->length, at).value, "%s",
                        refusal.message);
}

/* A list of coefficient triples, or one of them. */
static hone_status read_triples(struct recipe *recipe, const place *at, json_t *json)
{
    static const char *const allowed = "a name, [a, b, c], or a list of 1 to 16 such triples";
    double triples[HONE_MAX_TRIPLES][3];
    const bool nested = json_is_array(json_array_get(json, 0));
    const size_t count = nested ? json_array_size(json) : 1;
    if (count > HONE_MAX_TRIPLES)
        return hone_refuse_value(recipe->reader, at, json, allowed);
    for (size_t i = 0; i < count; i++) {
        json_t *const triple = nested ? json_array_get(json, i) : json;
        if (!json_is_array(triple) || json_array_size(triple) != 3)
            return hone_refuse_value(recipe->reader, at, json, allowed);
        for (size_t k = 0; k < 3; k++) {
            if (!json_is_number(json_array_get(triple, k)))
                return hone_refuse_value(recipe->reader, at, json, allowed);
            triples[i][k] = json_number_value(json_array_get(triple, k));
        }
    }
    return hone_spec_set_coefficients(recipe->reader->spec, recipe->group,
                                      (const double(*)[3])triples, (int)count,
                                      recipe->reader->error);
}

/* The word of a choice; Newton-Schulz coefficients may also be spelt out. null is the default. */
static hone_status read_word(struct recipe *recipe, const place *at, json_t *json, int hyper)
{
    const hone_hyper *const info = &group_of(recipe)->rule->hypers[hyper];
    if (json_is_array(json) && strcmp(info->name, "ns_coefficients") == 0)
        return read_triples(recipe, at, json);
    int choice = (int)info->default_value;
    hone_status status = HONE_OK;
    if (!json_is_null(json))
        status =
            hone_read_choice(recipe->reader, at, json, info->words, (int)info->high + 1, &choice);
    return status == HONE_OK ? store(recipe, at, hyper, (struct hone_value){.number = choice})
                             : status;
}

static hone_status read_hyper(struct recipe *recipe, const place *at, json_t *json, int hyper)
{
    const hone_hyper *info = &group_of(recipe)->rule->hypers[hyper];
    struct hone_value value = {.number = 0};
    char range[96], allowed[128];
    switch (info->kind) {
    case HONE_NUMBER:
        if (!json_is_number(json)) {
            hone_describe_range(range, sizeof range, info);
            snprintf(allowed, sizeof allowed, "a number, %s", range);
            return hone_refuse_value(recipe->reader, at, json, allowed);
        }
        value.number = json_number_value(json);
        break;
    case HONE_FLAG:
        if (!json_is_boolean(json))
            return hone_refuse_value(recipe->reader, at, json, "true or false");
        value.number = json_is_true(json) ? 1 : 0;
        break;
    case HONE_CHOICE:
        return read_word(recipe, at, json, hyper);
    case HONE_CURVE: {
        const hone_status status = read_curve(recipe->reader, at, json, &value);
        if (status != HONE_OK)
            return status;
        break;
    }
    }
    return store(recipe, at, hyper, value);
}

/* A hyperparameter may be given once, under one of its spellings. */
static hone_status claim(struct recipe *recipe, const place *at, const struct hone_spec_key *key)
{
    for (int i = key->hyper; i < key->hyper + key->count; i++) {
        if (recipe->set_by[i] != NULL)
            return hone_refuse(
                recipe->reader, at, HONE_AT_KEY,
                "found beside \"%s\", which gives the same value; allowed: one of them",
                recipe->set_by[i]);
        recipe->set_by[i] = at->key;
    }
    return HONE_OK;
}

static hone_status read_list(struct recipe *recipe, const place *at, json_t *json,
                             const struct hone_spec_key *key)
{
    if (!json_is_array(json) || json_array_size(json) != (size_t)key->count) {
        char allowed[64];
        snprintf(allowed, sizeof allowed, "a list of %d numbers", key->count);
        return hone_refuse_value(recipe->reader, at, json, allowed);
    }
    for (int i = 0; i < key->count; i++) {
        const place element = {at, NULL, (size_t)i};
        const hone_status status =
            read_hyper(recipe, &element, json_array_get(json, (size_t)i), key->hyper + i);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

static hone_status read_hypers(struct recipe *recipe, const place *at, json_t *json,
                               const struct hone_spec_key *key)
{
    const hone_status status = claim(recipe, at, key);
    if (status != HONE_OK)
        return status;
    return key->kind == HONE_KEY_LIST ? read_list(recipe, at, json, key)
                                      : read_hyper(recipe, at, json, key->hyper);
}

/* ---- storage of states ---------------------------------------------------------------------- */

static hone_status read_dtype(const struct hone_spec_reader *reader, const place *at,
                              const json_t *value, int *dtype)
{
    *dtype = HONE_STATE_DTYPE_DEFAULT;
    if (json_is_null(value))
        return HONE_OK;
    int choice = 0;
    const hone_status status =
        hone_read_choice(reader, at, value, hone_spec_dtype_names, HONE_SPEC_DTYPE_COUNT, &choice);
    if (status == HONE_OK)
        *dtype = (int)hone_spec_dtypes[choice];
    return status;
}

/* One type for all slots, or an object from slot to type; null is the default. */
static hone_status read_state_dtype(struct recipe *recipe, const place *at, json_t *value)
{
    struct hone_group *group = group_of(recipe);
    const hone_rule *rule = group->rule;
    if (!json_is_object(value)) {
        int dtype;
        const hone_status status = read_dtype(recipe->reader, at, value, &dtype);
        for (int i = 0; i < rule->slot_count && status == HONE_OK; i++)
            group->state_dtype[i] = dtype;
        return status;
    }
    const char *names[HONE_MAX_SLOTS];
    for (int i = 0; i < rule->slot_count; i++)
        names[i] = rule->slots[i].name;
    place member = {at, NULL, 0};
    json_t *dtype;
    json_object_foreach(value, member.key, dtype)
    {
        const int slot = hone_rule_slot_find(rule, member.key);
        if (slot < 0)
            return hone_refuse_name(recipe->reader, &member, HONE_AT_KEY, "unknown state",
                                    member.key, names, rule->slot_count);
        const hone_status status =
            read_dtype(recipe->reader, &member, dtype, &group->state_dtype[slot]);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    return HONE_OK;
}

/* ---- the frame's keys ----------------------------------------------------------------------- */

/* The group's schedule may be given once, in full or as the decay of an epoch; null: none. */
static hone_status set_schedule(struct recipe *recipe, const place *at, hone_schedule *schedule)
{
    struct hone_group *const group = group_of(recipe);
    if (recipe->schedule_by != NULL) {
        hone_schedule_free(schedule);
        return hone_refuse(recipe->reader, at, HONE_AT_KEY,
                           "found beside \"%s\", which gives a schedule too; allowed: one of them",
                           recipe->schedule_by);
    }
    hone_schedule_free(group->schedule);
    group->schedule = schedule;
    recipe->schedule_by = schedule == NULL ? NULL : at->key;
    return HONE_OK;
}

static hone_status read_schedule(struct recipe *recipe, const place *at, json_t *value)
{
    hone_schedule *schedule = NULL;
    hone_status status = HONE_OK;
    if (!json_is_null(value))
        status =
            hone_read_schedule(recipe->reader, recipe->reader->spec->context, at, value, &schedule);
    return status == HONE_OK ? set_schedule(recipe, at, schedule) : status;
}

static hone_status read_masked_schedule(struct recipe *recipe, const place *at, json_t *value)
{
    struct hone_group *const group = group_of(recipe);
    hone_schedule *schedule = NULL;
    if (!json_is_null(value)) {
        const hone_status status =
            hone_read_schedule(recipe->reader, recipe->reader->spec->context, at, value, &schedule);
        if (status != HONE_OK)
            return status;
    }
    hone_schedule_free(group->masked_schedule);
    group->masked_schedule = schedule;
    return HONE_OK;
}

static hone_status read_decay(struct recipe *recipe, const place *at, const json_t *value)
{
    hone_schedule *schedule = NULL;
    const double gamma = json_number_value(value);
    if (!json_is_null(value)) {
        if (!json_is_number(value) || !(gamma > 0 && gamma <= 1))
            return hone_refuse_value(recipe->reader, at, value,
                                     "a number above 0 and at most 1, or null");
        const hone_status status = hone_schedule_create_decay(
            &schedule, recipe->reader->spec->context, gamma, recipe->reader->error);
        if (status != HONE_OK)
            return status;
    }
    return set_schedule(recipe, at, schedule);
}

/* A limit above 0, or null for none, which is infinite. */
static hone_status read_limit(const struct hone_spec_reader *reader, const place *at,
                              const json_t *value, double *limit)
{
    const double number = json_is_null(value) ? INFINITY : json_number_value(value);
    if (!(number > 0))
        return hone_refuse_value(reader, at, value, "a number > 0, or null");
    *limit = number;
    return HONE_OK;
}

static hone_status read_norm_type(const struct hone_spec_reader *reader, const place *at,
                                  const json_t *value, double *order)
{
    const bool infinite = json_is_string(value) && strcmp(json_string_value(value), "inf") == 0;
    const double number = infinite ? INFINITY : json_number_value(value);
    if (!(number >= 1))
        return hone_refuse_value(reader, at, value, "a number >= 1, or \"inf\"");
    *order = number;
    return HONE_OK;
}

static hone_status read_nonfinite(const struct hone_spec_reader *reader, const place *at,
                                  const json_t *value, hone_nonfinite *policy)
{
    int choice = 0;
    const hone_status status = hone_read_choice(reader, at, value, hone_spec_nonfinite_names,
                                                HONE_SPEC_NONFINITE_COUNT, &choice);
    if (status == HONE_OK)
        *policy = (hone_nonfinite)choice;
    return status;
}

/* A rate of its own, or null for the learning rate itself. */
static hone_status read_masked_lr(struct recipe *recipe, const place *at, const json_t *value)
{
    const double number = json_is_null(value) ? (double)NAN : json_number_value(value);
    if (!json_is_null(value) && (!json_is_number(value) || !(number >= 0)))
        return hone_refuse_value(recipe->reader, at, value, "a number >= 0, or null");
    group_of(recipe)->masked_lr = number + 0.0;
    return HONE_OK;
}

static hone_status read_precision(struct recipe *recipe, const place *at, const json_t *value)
{
    int choice = 0;
    const hone_status status = hone_read_choice(
        recipe->reader, at, value, hone_spec_precision_names, HONE_SPEC_PRECISION_COUNT, &choice);
    if (status == HONE_OK)
        group_of(recipe)->precision = (hone_precision)choice;
    return status;
}

static hone_status read_accumulate(const struct hone_spec_reader *reader, const place *at,
                                   const json_t *value)
{
    const double steps = json_number_value(value); /* integers are decoded as reals */
    if (!json_is_number(value) || !(steps >= 1 && steps <= INT_MAX) || steps != trunc(steps))
        return hone_refuse_value(reader, at, value, "an integer from 1 to 2147483647");
    reader->spec->accumulate = (int)steps;
    return HONE_OK;
}

static hone_status read_accumulate_mode(const struct hone_spec_reader *reader, const place *at,
                                        const json_t *value)
{
    int choice = 0;
    const hone_status status =
        hone_read_choice(reader, at, value, hone_spec_accumulate_names, 2, &choice);
    if (status == HONE_OK)
        reader->spec->accumulate_mean = choice == 1;
    return status;
}

static hone_status read_masks(const struct hone_spec_reader *reader, const place *at,
                              const json_t *value)
{
    if (!json_is_null(value) && (!json_is_string(value) || json_string_length(value) == 0))
        return hone_refuse_value(reader, at, value, "the name of a file, or null");
    return hone_spec_set_masks(reader->spec, json_is_null(value) ? NULL : json_string_value(value),
                               reader->error);
}

static hone_status read_multiplier(struct recipe *recipe, const place *at, const json_t *value)
{
    if (!json_is_number(value) || !(json_number_value(value) >= 0))
        return hone_refuse_value(recipe->reader, at, value, "a number >= 0");
    group_of(recipe)->lr_multiplier = json_number_value(value) + 0.0;
    return HONE_OK;
}

static hone_status read_pattern(struct recipe *recipe, const place *at, const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return hone_refuse_value(recipe->reader, at, value, "a glob of at least one character");
    return hone_spec_append_pattern(recipe->reader->spec, recipe->group, json_string_value(value),
                                    recipe->reader->error);
}

static hone_status read_match(struct recipe *recipe, const place *at, json_t *value)
{
    if (json_is_string(value))
        return read_pattern(recipe, at, value);
    if (!json_is_array(value))
        return hone_refuse_value(recipe->reader, at, value, "a glob or a list of globs");
    hone_status status = HONE_OK;
    for (size_t i = 0; i < json_array_size(value) && status == HONE_OK; i++) {
        const place element = {at, NULL, i};
        status = read_pattern(recipe, &element, json_array_get(value, i));
    }
    return status;
}

/* ---- objects -------------------------------------------------------------------------------- */

static hone_status read_member(struct recipe *recipe, const place *at, json_t *value,
                               const struct hone_spec_key *key)
{
    const struct hone_spec_reader *reader = recipe->reader;
    switch (key->kind) {
    case HONE_KEY_HYPER:
    case HONE_KEY_ALIAS:
    case HONE_KEY_LIST:
        return read_hypers(recipe, at, value, key);
    case HONE_KEY_STATE_DTYPE:
        return read_state_dtype(recipe, at, value);
    case HONE_KEY_SCHEDULE:
        return read_schedule(recipe, at, value);
    case HONE_KEY_DECAY:
        return read_decay(recipe, at, value);
    case HONE_KEY_CLIP_NORM:
        return read_limit(reader, at, value, &reader->spec->clip_norm);
    case HONE_KEY_CLIP_VALUE:
        return read_limit(reader, at, value, &reader->spec->clip_value);
    case HONE_KEY_CLIP_NORM_TYPE:
        return read_norm_type(reader, at, value, &reader->spec->clip_norm_type);
    case HONE_KEY_NONFINITE:
        return read_nonfinite(reader, at, value, &reader->spec->nonfinite);
    case HONE_KEY_MASKED_LR:
        return read_masked_lr(recipe, at, value);
    case HONE_KEY_MASKED_SCHEDULE:
        return read_masked_schedule(recipe, at, value);
    case HONE_KEY_MASKS:
        return read_masks(reader, at, value);
    case HONE_KEY_PRECISION:
        return read_precision(recipe, at, value);
    case HONE_KEY_ACCUMULATE:
        return read_accumulate(reader, at, value);
    case HONE_KEY_ACCUMULATE_MODE:
        return read_accumulate_mode(reader, at, value);
    case HONE_KEY_MATCH:
        return read_match(recipe, at, value);
    case HONE_KEY_MULTIPLIER:
        return read_multiplier(recipe, at, value);
    case HONE_KEY_RULE:   /* read before all others, which depend on it */
    case HONE_KEY_GROUPS: /* read after all others, from which they start */
        break;
    }
    return HONE_OK;
}

static hone_status refuse_key(const struct recipe *recipe, const place *at)
{
    const hone_rule *rule = group_of(recipe)->rule;
    const enum hone_spec_level other = recipe->group == 0 ? HONE_LEVEL_GROUP : HONE_LEVEL_TOP;
    struct hone_spec_keys elsewhere;
    hone_spec_keys(rule, other, &elsewhere);
    if (hone_spec_key_find(&elsewhere, at->key) != NULL)
        return hone_refuse(recipe->reader, at, HONE_AT_KEY, "found in the wrong place; allowed: %s",
                           other == HONE_LEVEL_TOP ? "at the top level"
                                                   : "in an entry of \"groups\"");
    char found[96];
    snprintf(found, sizeof found, "unknown key of %s", rule->name);
    return hone_refuse_name(recipe->reader, at, HONE_AT_KEY, found, at->key, recipe->keys.names,
                            recipe->keys.count);
}

static hone_status read_recipe(struct recipe *recipe)
{
    const hone_rule *rule = group_of(recipe)->rule;
    hone_spec_keys(rule, recipe->group == 0 ? HONE_LEVEL_TOP : HONE_LEVEL_GROUP, &recipe->keys);
    place member = {recipe->at, NULL, 0};
    json_t *value;
    json_object_foreach(recipe->object, member.key, value)
    {
        const struct hone_spec_key *key = hone_spec_key_find(&recipe->keys, member.key);
        if (key == NULL)
            return refuse_key(recipe, &member);
        const hone_status status = read_member(recipe, &member, value, key);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    const char *complaint = rule->check(group_of(recipe)->values);
    if (complaint != NULL)
        return hone_refuse(recipe->reader, recipe->at, HONE_AT_VALUE, "%s", complaint);
    return HONE_OK;
}

/* A member by name, with its place; NULL if there is none. */
static json_t *find_member(json_t *object, const place *at, const char *name, place *found)
{
    *found = (place){at, NULL, 0};
    json_t *value;
    json_object_foreach(object, found->key, value)
    {
        if (strcmp(found->key, name) == 0)
            return value;
        found->index++;
    }
    return NULL;
}

static hone_status read_group(struct hone_spec_reader *reader, const place *at, json_t *object)
{
    if (!json_is_object(object))
        return hone_refuse_value(reader, at, object, "an object with \"match\"");
    struct recipe recipe = {.reader = reader, .at = at, .object = object};
    place member;
    const hone_rule *rule = NULL;
    json_t *value = find_member(object, at, "optimizer_type", &member);
    hone_status status = value == NULL ? HONE_OK : read_rule(reader, &member, value, &rule);
    if (status != HONE_OK)
        return status;
    if (find_member(object, at, "match", &member) == NULL)
        return hone_refuse(reader, at, HONE_AT_VALUE,
                           "\"match\" is missing; allowed: a glob or a list of "
                           "globs");
    if (rule == reader->spec->groups[0].rule)
        rule = NULL; /* the same rule: start from the recipe's values */
    status = hone_spec_add_group(reader->spec, rule == NULL ? NULL : rule->name, NULL,
                                 &recipe.group, reader->error);
    return status != HONE_OK ? status : read_recipe(&recipe);
}

static hone_status read_groups(struct hone_spec_reader *reader, json_t *root)
{
    place at;
    json_t *groups = find_member(root, NULL, "groups", &at);
    if (groups == NULL)
        return HONE_OK;
    if (!json_is_array(groups))
        return hone_refuse_value(reader, &at, groups, "a list of objects");
    hone_status status = HONE_OK;
    for (size_t i = 0; i < json_array_size(groups) && status == HONE_OK; i++) {
        const place element = {&at, NULL, i};
        status = read_group(reader, &element, json_array_get(groups, i));
    }
    return status;
}

static hone_status read_spec(struct hone_spec_reader *reader, const hone_context *context,
                             json_t *root)
{
    if (!json_is_object(root))
        return hone_refuse_value(reader, NULL, root, "an object");
    place member;
    json_t *type = find_member(root, NULL, "optimizer_type", &member);
    if (type == NULL)
        return hone_refuse(reader, NULL, HONE_AT_VALUE,
                           "\"optimizer_type\" is missing; allowed: the name of a rule");
    const hone_rule *rule;
    hone_status status = read_rule(reader, &member, type, &rule);
    if (status == HONE_OK)
        status = hone_spec_create(&reader->spec, context, rule->name, reader->error);
    if (status != HONE_OK)
        return status;
    struct recipe recipe = {.reader = reader, .at = NULL, .object = root, .group = 0};
    status = read_recipe(&recipe);
    return status != HONE_OK ? status : read_groups(reader, root);
}

hone_status hone_spec_parse(hone_spec **spec, const hone_context *context, const char *json,
                            size_t length, hone_error *error)
{
    if (spec == NULL || context == NULL || json == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_parse needs a spec, a context and a text; one is NULL");
    json_t *root;
    hone_status status = hone_json_load(&root, json, length, error);
    if (status != HONE_OK)
        return status;
    struct hone_spec_reader reader = {.text = json, .length = length, .spec = NULL, .error = error};
    status = read_spec(&reader, context, root);
    json_decref(root);
    if (status == HONE_OK)
        *spec = reader.spec;
    else
        hone_spec_free(reader.spec);
    return status;
}
