/* SPDX-License-Identifier: Apache-2.0 */
/* A spec as an object: made and copied. Groups, globs and multipliers are arrays whose room is the
 * next power of two, so that growing stays cheap without a field for it. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "core/core.h"

static size_t room_for(int count, size_t entry_size)
{
    size_t room = 1;
    while (room < (size_t)count)
        room *= 2;
    return count == 0 ? 0 : room * entry_size;
}

/* Makes room for one more entry; NULL when out of memory, and then the old array stands. */
static void *grow(const hone_context *context, void *array, int count, size_t entry_size)
{
    const size_t old_size = room_for(count, entry_size);
    const size_t new_size = room_for(count + 1, entry_size);
    return new_size == old_size ? array : hone_reallocate(context, array, old_size, new_size);
}

/* ---- groups --------------------------------------------------------------------------------- */

static struct hone_group group_of_rule(const hone_rule *rule)
{
    struct hone_group group = {.rule = rule, .lr_multiplier = 1, .masked_lr = NAN};
    hone_rule_defaults(rule, group.values);
    for (int i = 0; i < HONE_MAX_SLOTS; i++)
        group.state_dtype[i] = HONE_STATE_DTYPE_DEFAULT;
    return group;
}

static void release_globs(const hone_context *context, struct hone_globs *globs)
{
    for (int i = 0; i < globs->count; i++)
        hone_string_free(context, globs->texts[i]);
    if (globs->texts != NULL)
        hone_release(context, globs->texts, room_for(globs->count, sizeof *globs->texts));
    *globs = (struct hone_globs){NULL, 0};
}

/* Frees what a group owns. */
static void release_group(const hone_context *context, struct hone_group *group)
{
    hone_schedule_free(group->schedule);
    hone_schedule_free(group->masked_schedule);
    group->schedule = NULL;
    group->masked_schedule = NULL;
    release_globs(context, &group->match);
    release_globs(context, &group->except);
}

static hone_status append_glob(const hone_context *context, struct hone_globs *globs,
                               const char *text, hone_error *error)
{
    char *copy = hone_copy_string(context, text);
    char **texts = copy == NULL ? NULL : grow(context, globs->texts, globs->count, sizeof *texts);
    if (texts == NULL) {
        hone_string_free(context, copy);
        return hone_fail_memory(error, strlen(text) + 1, "a pattern of a spec");
    }
    texts[globs->count++] = copy;
    globs->texts = texts;
    return HONE_OK;
}

static hone_status copy_globs(const hone_context *context, struct hone_globs *globs,
                              const struct hone_globs *from, hone_error *error)
{
    hone_status status = HONE_OK;
    for (int i = 0; i < from->count && status == HONE_OK; i++)
        status = append_glob(context, globs, from->texts[i], error);
    return status;
}

/* A group's values without what they own. */
static struct hone_group bare_copy(const struct hone_group *from)
{
    struct hone_group group = *from;
    group.match = group.except = (struct hone_globs){NULL, 0};
    group.min_ndim = 0;
    group.schedule = group.masked_schedule = NULL;
    return group;
}

/* The new group owns what `group` owns. */
static hone_status append_group(hone_spec *spec, const struct hone_group *group, hone_error *error)
{
    if (spec->group_count >= INT_MAX / 2)
        return hone_fail(error, HONE_ERROR_RANGE, "a spec holds at most %d groups", INT_MAX / 2);
    struct hone_group *groups =
        grow(spec->context, spec->groups, spec->group_count, sizeof *groups);
    if (groups == NULL)
        return hone_fail_memory(error, sizeof *groups, "a group of a spec");
    groups[spec->group_count++] = *group;
    spec->groups = groups;
    return HONE_OK;
}

/* `group` has none; `masked`: masked_lr's too. */
static hone_status copy_schedules(const hone_context *context, struct hone_group *group,
                                  const struct hone_group *from, bool masked, hone_error *error)
{
    hone_status status = HONE_OK;
    if (from->schedule != NULL)
        status = hone_schedule_copy(&group->schedule, context, from->schedule, error);
    if (status == HONE_OK && masked && from->masked_schedule != NULL)
        status = hone_schedule_copy(&group->masked_schedule, context, from->masked_schedule, error);
    return status;
}

static hone_status append_group_copy(hone_spec *spec, const struct hone_group *from,
                                     hone_error *error)
{
    struct hone_group group = bare_copy(from);
    group.min_ndim = from->min_ndim;
    hone_status status = copy_schedules(spec->context, &group, from, true, error);
    if (status == HONE_OK)
        status = copy_globs(spec->context, &group.match, &from->match, error);
    if (status == HONE_OK)
        status = copy_globs(spec->context, &group.except, &from->except, error);
    if (status == HONE_OK)
        status = append_group(spec, &group, error);
    if (status != HONE_OK)
        release_group(spec->context, &group);
    return status;
}

/* ---- multipliers ---------------------------------------------------------------------------- */

static hone_status insert_module(hone_spec *spec, int at, const char *module, double value,
                                 hone_error *error)
{
    char *copy = hone_copy_string(spec->context, module);
    struct hone_multiplier *multipliers =
        copy == NULL
            ? NULL
            : grow(spec->context, spec->multipliers, spec->multiplier_count, sizeof *multipliers);
    if (multipliers == NULL) {
        hone_string_free(spec->context, copy);
        return hone_fail_memory(error, strlen(module) + 1, "a multiplier of a spec");
    }
    for (int i = spec->multiplier_count++; i > at; i--)
        multipliers[i] = multipliers[i - 1];
    multipliers[at] = (struct hone_multiplier){copy, value};
    spec->multipliers = multipliers;
    return HONE_OK;
}

hone_status hone_spec_set_lr_multiplier(hone_spec *spec, const char *module, double multiplier,
                                        hone_error *error)
{
    if (spec == NULL || module == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_set_lr_multiplier needs a spec and a module; one is NULL");
    if (*module == '\0' || !hone_text_is_utf8(module))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a module's name must be UTF-8 of at least one byte");
    char number[32];
    if (!isfinite(multiplier) || multiplier < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the learning-rate multiplier of the module \"%.120s\" is %s; it must be "
                         "finite and at least 0",
                         module, hone_format_number(number, multiplier));
    bool there;
    const int at = hone_spec_place_module(spec, module, strlen(module), &there);
    if (!there)
        return insert_module(spec, at, module, multiplier + 0.0, error);
    spec->multipliers[at].value = multiplier + 0.0;
    return HONE_OK;
}

static void release_multipliers(hone_spec *spec)
{
    for (int i = 0; i < spec->multiplier_count; i++)
        hone_string_free(spec->context, spec->multipliers[i].module);
    if (spec->multipliers != NULL)
        hone_release(spec->context, spec->multipliers,
                     room_for(spec->multiplier_count, sizeof *spec->multipliers));
}

/* ---- the object ----------------------------------------------------------------------------- */

static hone_status new_spec(hone_spec **spec, const hone_context *context, hone_error *error)
{
    hone_spec *made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a spec");
    made->context = context;
    made->clip_norm = INFINITY;
    made->clip_norm_type = 2;
    made->clip_value = INFINITY;
    made->nonfinite = HONE_NONFINITE_PROPAGATE;
    made->accumulate = 1;
    *spec = made;
    return HONE_OK;
}

static hone_status find_rule(const hone_rule **rule, const char *name, hone_error *error)
{
    *rule = hone_rule_find(name);
    if (*rule != NULL)
        return HONE_OK;
    const char *nearest = hone_rule_nearest(name);
    return hone_fail(error, HONE_ERROR_NAME, "there is no rule \"%s\"%s%s%s", name,
                     nearest == NULL ? "" : "; the nearest is \"", nearest == NULL ? "" : nearest,
                     nearest == NULL ? "" : "\"");
}

hone_status hone_spec_create(hone_spec **spec, const hone_context *context, const char *rule,
                             hone_error *error)
{
    if (spec == NULL || context == NULL || rule == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_create needs a spec, a context and a rule; one is NULL");
    const hone_rule *found;
    hone_status status = find_rule(&found, rule, error);
    if (status != HONE_OK)
        return status;
    hone_spec *made = NULL;
    status = new_spec(&made, context, error);
    if (status != HONE_OK)
        return status;
    const struct hone_group group = group_of_rule(found);
    status = append_group(made, &group, error);
    if (status == HONE_OK)
        *spec = made;
    else
        hone_spec_free(made);
    return status;
}

void hone_spec_free(hone_spec *spec)
{
    if (spec == NULL)
        return;
    const hone_context *context = spec->context;
    for (int i = 0; i < spec->group_count; i++)
        release_group(context, &spec->groups[i]);
    hone_string_free(context, spec->masks);
    release_multipliers(spec);
    if (spec->groups != NULL)
        hone_release(context, spec->groups, room_for(spec->group_count, sizeof *spec->groups));
    hone_release(context, spec, sizeof *spec);
}

hone_status hone_spec_copy(hone_spec **copy, const hone_context *context, const hone_spec *spec,
                           hone_error *error)
{
    hone_spec *made = NULL;
    hone_status status = new_spec(&made, context, error);
    if (status != HONE_OK)
        return status;
    made->clip_norm = spec->clip_norm;
    made->clip_norm_type = spec->clip_norm_type;
    made->clip_value = spec->clip_value;
    made->nonfinite = spec->nonfinite;
    made->accumulate = spec->accumulate;
    made->accumulate_mean = spec->accumulate_mean;
    status = hone_spec_set_masks(made, spec->masks, error);
    for (int i = 0; i < spec->group_count && status == HONE_OK; i++)
        status = append_group_copy(made, &spec->groups[i], error);
    for (int i = 0; i < spec->multiplier_count && status == HONE_OK; i++)
        status =
            insert_module(made, i, spec->multipliers[i].module, spec->multipliers[i].value, error);
    if (status == HONE_OK)
        *copy = made;
    else
        hone_spec_free(made);
    return status;
}

hone_status hone_spec_assign(hone_spec *spec, const hone_spec *from, hone_error *error)
{
    hone_spec *copy;
    const hone_status status = hone_spec_copy(&copy, spec->context, from, error);
    if (status != HONE_OK)
        return status;
    const hone_spec old = *spec;
    *spec = *copy;
    *copy = old;
    hone_spec_free(copy);
    return HONE_OK;
}

hone_status hone_spec_append_glob(hone_spec *spec, struct hone_globs *globs, const char *text,
                                  hone_error *error)
{
    return append_glob(spec->context, globs, text, error);
}

void hone_spec_clear_globs(hone_spec *spec, struct hone_globs *globs)
{
    release_globs(spec->context, globs);
}

/* ---- groups added to a spec ------------------------------------------------------------------ */

bool hone_text_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != 0) {
        const int more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
        if ((*at >= 0x80 && *at < 0xc2) || *at > 0xf4 || (*at == 0xe0 && at[1] < 0xa0) ||
            (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) ||
            (*at == 0xf4 && at[1] > 0x8f))
            return false;
        for (int i = 1; i <= more; i++)
            if ((at[i] & 0xc0) != 0x80)
                return false;
        at += more + 1;
    }
    return true;
}

hone_status hone_spec_add_group(hone_spec *spec, const char *rule, const char *pattern, int *group,
                                hone_error *error)
{
    if (spec == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_add_group needs a spec; it is NULL");
    if (pattern != NULL && (*pattern == '\0' || !hone_text_is_utf8(pattern)))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a group's pattern must be a shell glob in UTF-8 of at least one byte");
    struct hone_group made = bare_copy(&spec->groups[0]);
    if (rule != NULL) {
        const hone_rule *found;
        const hone_status status = find_rule(&found, rule, error);
        if (status != HONE_OK)
            return status;
        made = group_of_rule(found);
    }
    hone_status status =
        copy_schedules(spec->context, &made, &spec->groups[0], rule == NULL, error);
    if (status == HONE_OK && pattern != NULL)
        status = append_glob(spec->context, &made.match, pattern, error);
    if (status == HONE_OK)
        status = append_group(spec, &made, error);
    if (status != HONE_OK)
        release_group(spec->context, &made);
    else if (group != NULL)
        *group = spec->group_count - 1;
    return status;
}

bool hone_spec_is_random(const hone_spec *spec)
{
    for (int i = 0; i < spec->group_count; i++)
        if (spec->groups[i].precision == HONE_PRECISION_STOCHASTIC)
            return true;
    return false;
}
