/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the short form of Muon beside AdamW: one flat object becomes two groups. A key belongs to one
 * of them (spec_keys.c); what both have is read for Muon's and copied to the other. */
#include "core/spec_muon.h"

#include <string.h>

#include "core/spec_recipe.h"

typedef struct hone_json_place place;

void hone_muon_spec_start(enum hone_muon_part part, struct hone_value *values)
{
    const hone_rule *const rule = hone_rule_find(part == HONE_PART_MUON ? "muon" : "adamw");
    hone_rule_defaults(rule, values);
    values[hone_rule_hyper_find(rule, "lr")].number = part == HONE_PART_MUON ? 0.02 : 0.0003;
    if (part == HONE_PART_MUON) { /* more than two dimensions only where that is asked for */
        const int matrices = hone_rule_hyper_find(rule, "matrices");
        values[matrices].number = rule->hypers[matrices].high;
    }
}

/* ---- the split ------------------------------------------------------------------------------ */

#define EMBEDDINGS_AND_HEADS "embeddings_and_heads"

static const char *const everything[] = {"*", NULL};
static const char *const transformer[] = {"*transformer*", NULL};
static const char *const nothing[] = {NULL};
static const char *const embeddings_and_heads[] = {"*embed*",  "*emb.*",        "*wte.*",
                                                   "*wpe.*",   "head.*",        "*.head.*",
                                                   "*_head.*", "*classifier.*", NULL};

/* Splits with a name; all of them leave vectors to AdamW. */
static const struct split {
    const char *name;
    const char *const *match, *const *except;
} splits[] = {
    {HONE_MUON_SPLIT_DEFAULT, transformer, nothing},
    {"matrices", everything, nothing},
    {"hidden", everything, embeddings_and_heads},
};
#define SPLIT_COUNT 3

static bool are(const struct hone_globs *globs, const char *const *texts)
{
    int i = 0;
    while (i < globs->count && texts[i] != NULL && strcmp(globs->texts[i], texts[i]) == 0)
        i++;
    return i == globs->count && texts[i] == NULL;
}

bool hone_except_is_standard(const struct hone_globs *except)
{
    return are(except, embeddings_and_heads);
}

const char *hone_muon_split_name(const struct hone_group *group)
{
    for (int i = 0; group->min_ndim == HONE_MUON_MIN_NDIM && i < SPLIT_COUNT; i++)
        if (are(&group->match, splits[i].match) && are(&group->except, splits[i].except))
            return splits[i].name;
    return NULL;
}

static hone_status set_globs(const struct hone_spec_reader *reader, struct hone_globs *globs,
                             const char *const *texts)
{
    hone_status status = HONE_OK;
    hone_spec_clear_globs(reader->spec, globs);
    for (; *texts != NULL && status == HONE_OK; texts++)
        status = hone_spec_append_glob(reader->spec, globs, *texts, reader->error);
    return status;
}

static hone_status set_split(const struct hone_spec_reader *reader, struct hone_group *group,
                             const struct split *split)
{
    group->min_ndim = HONE_MUON_MIN_NDIM;
    const hone_status status = set_globs(reader, &group->match, split->match);
    return status == HONE_OK ? set_globs(reader, &group->except, split->except) : status;
}

/* {"match": globs, "except": globs, "min_ndim": n}, each with a default. */
static hone_status read_split_object(struct hone_recipe *recipe, const place *at, json_t *value)
{
    static const char *const names[] = {"except", "match", "min_ndim"};
    const struct hone_spec_reader *const reader = recipe->reader;
    struct hone_group *const group = hone_recipe_group(recipe);
    struct hone_spec_keys keys;
    hone_spec_keys(group->rule, HONE_LEVEL_GROUP, &keys);
    place member = {at, NULL, 0};
    json_t *part;
    hone_status status = set_split(reader, group, &splits[1]);
    json_object_foreach(value, member.key, part)
    {
        int which = 0;
        while (which < 3 && strcmp(member.key, names[which]) != 0)
            which++;
        if (status == HONE_OK && which == 3)
            status = hone_refuse_name(reader, &member, HONE_AT_KEY, "unknown key of split",
                                      member.key, names, 3);
        const char *const text = json_string_value(part);
        if (status == HONE_OK && which == 0 && text != NULL &&
            strcmp(text, EMBEDDINGS_AND_HEADS) == 0)
            status = set_globs(reader, &group->except, embeddings_and_heads);
        else if (status == HONE_OK)
            status = hone_read_member(recipe, &member, part, hone_spec_key_find(&keys, member.key));
        member.index++;
    }
    return status;
}

static hone_status read_split(struct hone_recipe *recipe, const place *at, json_t *value)
{
    if (json_is_object(value))
        return read_split_object(recipe, at, value);
    if (json_is_array(value)) { /* these and no others, whatever their dimensions */
        struct hone_group *const group = hone_recipe_group(recipe);
        group->min_ndim = 0;
        return hone_read_globs(recipe->reader, at, value, &group->match);
    }
    const char *names[SPLIT_COUNT];
    for (int i = 0; i < SPLIT_COUNT; i++)
        names[i] = splits[i].name;
    int choice = 0;
    const hone_status status =
        hone_read_choice(recipe->reader, at, value, names, SPLIT_COUNT, &choice);
    return status == HONE_OK ? set_split(recipe->reader, hone_recipe_group(recipe), &splits[choice])
                             : status;
}

/* ---- the object ----------------------------------------------------------------------------- */

bool hone_is_muon_spec(json_t *root)
{
    struct hone_spec_keys own, alone;
    hone_spec_keys(NULL, HONE_LEVEL_MUON_SPEC, &own);
    hone_spec_keys(hone_rule_find("muon"), HONE_LEVEL_TOP, &alone);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (hone_spec_key_find(&own, key) != NULL && hone_spec_key_find(&alone, key) == NULL)
            return true;
    }
    return false;
}

static hone_status create(struct hone_spec_reader *reader, const hone_context *context)
{
    hone_status status = hone_spec_create(&reader->spec, context, "adamw", reader->error);
    if (status == HONE_OK)
        status = hone_spec_add_group(reader->spec, "muon", NULL, NULL, reader->error);
    if (status != HONE_OK)
        return status;
    struct hone_group *const groups = reader->spec->groups;
    for (int part = 0; part < HONE_PART_COUNT; part++)
        hone_muon_spec_start((enum hone_muon_part)part, groups[part].values);
    return set_split(reader, &groups[HONE_PART_MUON], &splits[0]);
}

/* Precision is the same for both, and so is the schedule unless AdamW's rate has its own. */
static hone_status share(struct hone_spec_reader *reader, json_t *root)
{
    struct hone_group *const adamw = &reader->spec->groups[HONE_PART_ADAMW];
    const struct hone_group *const muon = &reader->spec->groups[HONE_PART_MUON];
    adamw->precision = muon->precision;
    if (json_object_get(root, "adamw_schedule") != NULL || muon->schedule == NULL)
        return HONE_OK;
    return hone_schedule_copy(&adamw->schedule, reader->spec->context, muon->schedule,
                              reader->error);
}

static hone_status read_members(struct hone_recipe *parts, json_t *root,
                                const struct hone_spec_keys *keys)
{
    place member = {NULL, NULL, 0};
    json_t *value;
    json_object_foreach(root, member.key, value)
    {
        const struct hone_spec_key *const key = hone_spec_key_find(keys, member.key);
        if (key == NULL)
            return hone_refuse_name(parts->reader, &member, HONE_AT_KEY,
                                    "unknown key of muon beside adamw", member.key, keys->names,
                                    keys->count);
        struct hone_recipe *const part = &parts[key->part];
        const hone_status status = key->kind == HONE_KEY_SPLIT
                                       ? read_split(part, &member, value)
                                       : hone_read_member(part, &member, value, key);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    return HONE_OK;
}

hone_status hone_read_muon_spec(struct hone_spec_reader *reader, const hone_context *context,
                                json_t *root)
{
    hone_status status = create(reader, context);
    if (status != HONE_OK)
        return status;
    struct hone_recipe parts[HONE_PART_COUNT] = {{.reader = reader}, {.reader = reader}};
    for (int part = 0; part < HONE_PART_COUNT; part++)
        parts[part].group = part;
    struct hone_spec_keys keys;
    hone_spec_keys(NULL, HONE_LEVEL_MUON_SPEC, &keys);
    status = read_members(parts, root, &keys);
    for (int part = 0; part < HONE_PART_COUNT && status == HONE_OK; part++) {
        const struct hone_group *const group = &reader->spec->groups[part];
        const char *const complaint = group->rule->check(group->values);
        if (complaint != NULL)
            status = hone_refuse_values(reader, NULL, root, complaint);
    }
    return status == HONE_OK ? share(reader, root) : status;
}
