/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a spec from JSON. jansson checks the text; what it means is checked here, member by member
 * in the order of the text, against the keys of spec_keys.c. Every refusal names the key path, what
 * was found and what is allowed, and stands at the key's or the value's offset. */
#include <stdio.h>
#include <string.h>

#include "core/json_load.h"
#include "core/spec_recipe.h"

typedef struct hone_json_place place;

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

/* A key that neither Muon alone nor Muon beside AdamW knows. */
static hone_status refuse_key_of_muon(const struct hone_recipe *recipe, const place *at)
{
    const char *names[2 * HONE_MAX_SPEC_KEYS];
    struct hone_spec_keys beside;
    int count = 0;
    hone_spec_keys(NULL, HONE_LEVEL_MUON_SPEC, &beside);
    for (; count < recipe->keys.count; count++)
        names[count] = recipe->keys.names[count];
    for (int i = 0; i < beside.count; i++)
        if (hone_spec_key_find(&recipe->keys, beside.names[i]) == NULL)
            names[count++] = beside.names[i];
    return hone_refuse_name(recipe->reader, at, HONE_AT_KEY, "unknown key of muon", at->key, names,
                            count);
}

static hone_status refuse_key(const struct hone_recipe *recipe, const place *at)
{
    const hone_rule *rule = hone_recipe_group(recipe)->rule;
    const enum hone_spec_level other = recipe->group == 0 ? HONE_LEVEL_GROUP : HONE_LEVEL_TOP;
    struct hone_spec_keys elsewhere;
    hone_spec_keys(rule, other, &elsewhere);
    if (hone_spec_key_find(&elsewhere, at->key) != NULL)
        return hone_refuse(recipe->reader, at, HONE_AT_KEY, "found in the wrong place; allowed: %s",
                           other == HONE_LEVEL_TOP ? "at the top level"
                                                   : "in an entry of \"groups\"");
    if (recipe->group == 0 && strcmp(rule->name, "muon") == 0)
        return refuse_key_of_muon(recipe, at);
    char found[96];
    snprintf(found, sizeof found, "unknown key of %s", rule->name);
    return hone_refuse_name(recipe->reader, at, HONE_AT_KEY, found, at->key, recipe->keys.names,
                            recipe->keys.count);
}

hone_status hone_refuse_values(const struct hone_spec_reader *reader, const place *at,
                               json_t *object, const char *complaint)
{
    place member = {at, NULL, 0};
    json_t *value;
    json_object_foreach(object, member.key, value)
    {
        const size_t length = strlen(member.key);
        if (strncmp(complaint, member.key, length) == 0 && complaint[length] == ' ')
            return hone_refuse(reader, &member, HONE_AT_VALUE, "%s", complaint + length + 1);
        member.index++;
    }
    return hone_refuse(reader, at, HONE_AT_VALUE, "%s", complaint);
}

static hone_status read_recipe(struct hone_recipe *recipe)
{
    const hone_rule *rule = hone_recipe_group(recipe)->rule;
    hone_spec_keys(rule, recipe->group == 0 ? HONE_LEVEL_TOP : HONE_LEVEL_GROUP, &recipe->keys);
    place member = {recipe->at, NULL, 0};
    json_t *value;
    json_object_foreach(recipe->object, member.key, value)
    {
        const struct hone_spec_key *key = hone_spec_key_find(&recipe->keys, member.key);
        if (key == NULL)
            return refuse_key(recipe, &member);
        const hone_status status = hone_read_member(recipe, &member, value, key);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    const char *complaint = rule->check(hone_recipe_group(recipe)->values);
    if (complaint == NULL)
        return HONE_OK;
    return hone_refuse_values(recipe->reader, recipe->at, recipe->object, complaint);
}

json_t *hone_find_member(json_t *object, const place *at, const char *name, place *found)
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
    struct hone_recipe recipe = {.reader = reader, .at = at, .object = object};
    place member;
    const hone_rule *rule = NULL;
    json_t *value = hone_find_member(object, at, "optimizer_type", &member);
    hone_status status = value == NULL ? HONE_OK : read_rule(reader, &member, value, &rule);
    if (status != HONE_OK)
        return status;
    if (hone_find_member(object, at, "match", &member) == NULL)
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
    json_t *groups = hone_find_member(root, NULL, "groups", &at);
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

/* The rule of the whole: what the object names, or `name`, which it then may leave out. */
static hone_status read_type(const struct hone_spec_reader *reader, json_t *root, const char *name,
                             const hone_rule **rule)
{
    place member;
    json_t *type = hone_find_member(root, NULL, "optimizer_type", &member);
    if (type == NULL && name == NULL)
        return hone_refuse(reader, NULL, HONE_AT_VALUE,
                           "\"optimizer_type\" is missing; allowed: the name of a rule");
    int choice;
    if (name == NULL)
        return read_rule(reader, &member, type, rule);
    *rule = hone_rule_find(name);
    return type == NULL ? HONE_OK : hone_read_choice(reader, &member, type, &name, 1, &choice);
}

/* One rule, and groups that may have others. */
static hone_status read_rule_spec(struct hone_spec_reader *reader, const hone_context *context,
                                  json_t *root, const hone_rule *rule)
{
    const hone_status status = hone_spec_create(&reader->spec, context, rule->name, reader->error);
    struct hone_recipe recipe = {.reader = reader, .at = NULL, .object = root, .group = 0};
    return status == HONE_OK ? read_recipe(&recipe) : status;
}

static hone_status read_spec(struct hone_spec_reader *reader, const hone_context *context,
                             json_t *root, const char *name)
{
    if (!json_is_object(root))
        return hone_refuse_value(reader, NULL, root, "an object");
    const hone_rule *rule = NULL;
    hone_status status = read_type(reader, root, name, &rule);
    if (status != HONE_OK)
        return status;
    if (strcmp(rule->name, "muon") == 0 && (name != NULL || hone_is_muon_spec(root)))
        status = hone_read_muon_spec(reader, context, root);
    else
        status = read_rule_spec(reader, context, root, rule);
    return status == HONE_OK ? read_groups(reader, root) : status;
}

static hone_status parse(hone_spec **spec, const hone_context *context, const char *name,
                         const char *json, size_t length, hone_error *error)
{
    json_t *root;
    hone_status status = hone_json_load(&root, json, length, error);
    if (status != HONE_OK)
        return status;
    struct hone_spec_reader reader = {.text = json, .length = length, .spec = NULL, .error = error};
    status = read_spec(&reader, context, root, name);
    json_decref(root);
    if (status == HONE_OK)
        *spec = reader.spec;
    else
        hone_spec_free(reader.spec);
    return status;
}

hone_status hone_spec_parse(hone_spec **spec, const hone_context *context, const char *json,
                            size_t length, hone_error *error)
{
    if (spec == NULL || context == NULL || json == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_parse needs a spec, a context and a text; one is NULL");
    return parse(spec, context, NULL, json, length, error);
}

hone_status hone_spec_from_serialized(hone_spec **spec, const hone_context *context,
                                      const char *name, const char *json, size_t length,
                                      hone_error *error)
{
    static const char *const names[] = {"adam", "adamw", "muon"};
    if (spec == NULL || context == NULL || name == NULL || json == NULL)
        return hone_fail(
            error, HONE_ERROR_ARGUMENT,
            "hone_spec_from_serialized needs a spec, a context, a name and a text; one "
            "is NULL");
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0)
            return parse(spec, context, name, json, length, error);
    return hone_fail(error, HONE_ERROR_NAME,
                     "unknown optimizer name \"%.60s\"; allowed: adam, adamw, muon", name);
}
