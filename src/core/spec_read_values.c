/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the values of a rule from a spec's JSON: hyperparameters of every kind, and how states are
 * stored. */
#include "core/spec_recipe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct hone_json_place place;

struct hone_group *hone_recipe_group(const struct hone_recipe *recipe)
{
    return &recipe->reader->spec->groups[recipe->group];
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
static hone_status store(const struct hone_recipe *recipe, const place *at, int hyper,
                         struct hone_value value)
{
    char path[HONE_JSON_PATH_SIZE];
    hone_error refusal;
    const hone_status status = hone_group_store(hone_recipe_group(recipe), hyper, value,
                                                hone_json_path(at, path), &refusal);
    if (status == HONE_OK)
        return status;
    const struct hone_spec_reader *reader = recipe->reader;
    return hone_fail_at(reader->error, HONE_ERROR_SPEC,
                        hone_json_locate(reader->text, reader->length, at).value, "%s",
                        refusal.message);
}

/* A list of coefficient triples, or one of them. */
static hone_status read_triples(struct hone_recipe *recipe, const place *at, json_t *json)
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
static hone_status read_word(struct hone_recipe *recipe, const place *at, json_t *json, int hyper)
{
    const hone_hyper *const info = &hone_recipe_group(recipe)->rule->hypers[hyper];
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

static hone_status read_hyper(struct hone_recipe *recipe, const place *at, json_t *json, int hyper)
{
    const hone_hyper *info = &hone_recipe_group(recipe)->rule->hypers[hyper];
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
static hone_status claim(struct hone_recipe *recipe, const place *at,
                         const struct hone_spec_key *key)
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

static hone_status read_list(struct hone_recipe *recipe, const place *at, json_t *json,
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

/* The first word of "matrices", or the last, which is strict. */
static hone_status read_flatten(struct hone_recipe *recipe, const place *at, const json_t *json,
                                int matrices)
{
    const hone_hyper *const info = &hone_recipe_group(recipe)->rule->hypers[matrices];
    if (!json_is_boolean(json))
        return hone_refuse_value(recipe->reader, at, json, "true or false");
    return store(recipe, at, matrices,
                 (struct hone_value){.number = json_is_true(json) ? 0 : info->high});
}

hone_status hone_read_hypers(struct hone_recipe *recipe, const place *at, json_t *json,
                             const struct hone_spec_key *key)
{
    const hone_status status = claim(recipe, at, key);
    if (status != HONE_OK)
        return status;
    if (key->kind == HONE_KEY_FLATTEN)
        return read_flatten(recipe, at, json, key->hyper);
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
hone_status hone_read_state_dtype(struct hone_recipe *recipe, const place *at, json_t *value)
{
    struct hone_group *group = hone_recipe_group(recipe);
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
