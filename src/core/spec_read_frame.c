/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the members of a spec's objects that are the frame's and not a rule's: schedules, clipping,
 * accumulation, masks, and which parameters a group takes. */
#include "core/spec_recipe.h"

#include <limits.h>
#include <math.h>
#include <string.h>

typedef struct hone_json_place place;

/* The group's schedule may be given once, in full or as the decay of an epoch; null: none. */
static hone_status set_schedule(struct hone_recipe *recipe, const place *at,
                                hone_schedule *schedule)
{
    struct hone_group *const group = hone_recipe_group(recipe);
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

static hone_status read_schedule(struct hone_recipe *recipe, const place *at, json_t *value)
{
    hone_schedule *schedule = NULL;
    hone_status status = HONE_OK;
    if (!json_is_null(value))
        status =
            hone_read_schedule(recipe->reader, recipe->reader->spec->context, at, value, &schedule);
    return status == HONE_OK ? set_schedule(recipe, at, schedule) : status;
}

static hone_status read_masked_schedule(struct hone_recipe *recipe, const place *at, json_t *value)
{
    struct hone_group *const group = hone_recipe_group(recipe);
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

static hone_status read_decay(struct hone_recipe *recipe, const place *at, const json_t *value)
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
static hone_status read_masked_lr(struct hone_recipe *recipe, const place *at, const json_t *value)
{
    const double number = json_is_null(value) ? (double)NAN : json_number_value(value);
    if (!json_is_null(value) && (!json_is_number(value) || !(number >= 0)))
        return hone_refuse_value(recipe->reader, at, value, "a number >= 0, or null");
    hone_recipe_group(recipe)->masked_lr = number + 0.0;
    return HONE_OK;
}

static hone_status read_precision(struct hone_recipe *recipe, const place *at, const json_t *value)
{
    int choice = 0;
    const hone_status status = hone_read_choice(
        recipe->reader, at, value, hone_spec_precision_names, HONE_SPEC_PRECISION_COUNT, &choice);
    if (status == HONE_OK)
        hone_recipe_group(recipe)->precision = (hone_precision)choice;
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

static hone_status read_multiplier(struct hone_recipe *recipe, const place *at, const json_t *value)
{
    if (!json_is_number(value) || !(json_number_value(value) >= 0))
        return hone_refuse_value(recipe->reader, at, value, "a number >= 0");
    hone_recipe_group(recipe)->lr_multiplier = json_number_value(value) + 0.0;
    return HONE_OK;
}

static hone_status read_glob(const struct hone_spec_reader *reader, const place *at,
                             const json_t *value, struct hone_globs *globs)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return hone_refuse_value(reader, at, value, "a glob of at least one character");
    return hone_spec_append_glob(reader->spec, globs, json_string_value(value), reader->error);
}

hone_status hone_read_globs(const struct hone_spec_reader *reader, const place *at, json_t *value,
                            struct hone_globs *globs)
{
    hone_spec_clear_globs(reader->spec, globs);
    if (json_is_string(value))
        return read_glob(reader, at, value, globs);
    if (!json_is_array(value))
        return hone_refuse_value(reader, at, value, "a glob or a list of globs");
    hone_status status = HONE_OK;
    for (size_t i = 0; i < json_array_size(value) && status == HONE_OK; i++) {
        const place element = {at, NULL, i};
        status = read_glob(reader, &element, json_array_get(value, i), globs);
    }
    return status;
}

static hone_status read_min_ndim(struct hone_recipe *recipe, const place *at, const json_t *value)
{
    const double ndim = json_number_value(value);
    if (!json_is_number(value) || !(ndim >= 0 && ndim <= HONE_MOST_MIN_NDIM) || ndim != trunc(ndim))
        return hone_refuse_value(recipe->reader, at, value, "an integer from 0 to 64");
    hone_recipe_group(recipe)->min_ndim = (int32_t)ndim;
    return HONE_OK;
}

/* From module to number. */
static hone_status read_multipliers(const struct hone_spec_reader *reader, const place *at,
                                    json_t *value)
{
    if (!json_is_object(value) && !json_is_null(value))
        return hone_refuse_value(reader, at, value, "an object from module to a number >= 0");
    place member = {at, NULL, 0};
    json_t *multiplier;
    json_object_foreach(value, member.key, multiplier)
    {
        if (*member.key == '\0')
            return hone_refuse(reader, &member, HONE_AT_KEY,
                               "found an empty name; allowed: the name of a module");
        if (!json_is_number(multiplier) || !(json_number_value(multiplier) >= 0))
            return hone_refuse_value(reader, &member, multiplier, "a number >= 0");
        const hone_status status = hone_spec_set_lr_multiplier(
            reader->spec, member.key, json_number_value(multiplier), reader->error);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    return HONE_OK;
}

/* ---- all of them ---------------------------------------------------------------------------- */

hone_status hone_read_member(struct hone_recipe *recipe, const place *at, json_t *value,
                             const struct hone_spec_key *key)
{
    const struct hone_spec_reader *reader = recipe->reader;
    switch (key->kind) {
    case HONE_KEY_HYPER:
    case HONE_KEY_ALIAS:
    case HONE_KEY_LIST:
    case HONE_KEY_FLATTEN:
        return hone_read_hypers(recipe, at, value, key);
    case HONE_KEY_STATE_DTYPE:
        return hone_read_state_dtype(recipe, at, value);
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
        return hone_read_globs(reader, at, value, &hone_recipe_group(recipe)->match);
    case HONE_KEY_EXCEPT:
        return hone_read_globs(reader, at, value, &hone_recipe_group(recipe)->except);
    case HONE_KEY_MIN_NDIM:
        return read_min_ndim(recipe, at, value);
    case HONE_KEY_MULTIPLIERS:
        return read_multipliers(reader, at, value);
    case HONE_KEY_MULTIPLIER:
        return read_multiplier(recipe, at, value);
    case HONE_KEY_RULE:   /* read before all others, which depend on it */
    case HONE_KEY_GROUPS: /* read after all others, from which they start */
    case HONE_KEY_SPLIT:  /* read by spec_muon.c */
        break;
    }
    return HONE_OK;
}
