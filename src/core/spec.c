/* SPDX-License-Identifier: Apache-2.0 */
/* A spec as an object: made, copied, and asked which group takes a parameter. Groups and patterns
 * are arrays whose room is the next power of two, so that growing stays cheap without a field for
 * it. */
#define _POSIX_C_SOURCE 200809L

#include <fnmatch.h>
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

/* Frees what a group owns. */
static void release_group(const hone_context *context, struct hone_group *group)
{
    hone_schedule_free(group->schedule);
    hone_schedule_free(group->masked_schedule);
    group->schedule = NULL;
    group->masked_schedule = NULL;
    for (int i = 0; i < group->pattern_count; i++)
        hone_string_free(context, group->patterns[i]);
    if (group->patterns != NULL)
        hone_release(context, group->patterns,
                     room_for(group->pattern_count, sizeof *group->patterns));
    group->patterns = NULL;
    group->pattern_count = 0;
}

static hone_status append_pattern(const hone_context *context, struct hone_group *group,
                                  const char *pattern, hone_error *error)
{
    char *copy = hone_copy_string(context, pattern);
    char **patterns = copy == NULL
                          ? NULL
                          : grow(context, group->patterns, group->pattern_count, sizeof *patterns);
    if (patterns == NULL) {
        hone_string_free(context, copy);
        return hone_fail_memory(error, strlen(pattern) + 1, "a pattern of a spec");
    }
    patterns[group->pattern_count++] = copy;
    group->patterns = patterns;
    return HONE_OK;
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
    struct hone_group group = *from;
    group.patterns = NULL;
    group.pattern_count = 0;
    group.schedule = NULL;
    group.masked_schedule = NULL;
    hone_status status = copy_schedules(spec->context, &group, from, true, error);
    for (int i = 0; i < from->pattern_count && status == HONE_OK; i++)
        status = append_pattern(spec->context, &group, from->patterns[i], error);
    if (status == HONE_OK)
        status = append_group(spec, &group, error);
    if (status != HONE_OK)
        release_group(spec->context, &group);
    return status;
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

hone_status hone_spec_append_pattern(hone_spec *spec, int group, const char *pattern,
                                     hone_error *error)
{
    return append_pattern(spec->context, &spec->groups[group], pattern, error);
}

/* Whether `text` is UTF-8, which JSON strings have to be: no surrogates, nothing longer than
 * needed, nothing past U+10FFFF. */
static bool is_utf8(const char *text)
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
    if (pattern != NULL && (*pattern == '\0' || !is_utf8(pattern)))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a group's pattern must be a shell glob in UTF-8 of at least one byte");
    struct hone_group made = spec->groups[0];
    made.patterns = NULL;
    made.pattern_count = 0;
    made.schedule = NULL;
    made.masked_schedule = NULL;
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
        status = append_pattern(spec->context, &made, pattern, error);
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

/* ---- asking --------------------------------------------------------------------------------- */

int hone_spec_group_count(const hone_spec *spec)
{
    return spec == NULL ? 0 : spec->group_count;
}

static bool has_group(const hone_spec *spec, int group)
{
    return spec != NULL && group >= 0 && group < spec->group_count;
}

const hone_rule *hone_spec_group_rule(const hone_spec *spec, int group)
{
    return has_group(spec, group) ? spec->groups[group].rule : NULL;
}

const char *hone_spec_group_pattern(const hone_spec *spec, int group, int index)
{
    if (!has_group(spec, group) || index < 0 || index >= spec->groups[group].pattern_count)
        return NULL;
    return spec->groups[group].patterns[index];
}

static bool pattern_takes(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, 0) == 0;
}

int hone_spec_match(const hone_spec *spec, const char *name)
{
    for (int group = hone_spec_group_count(spec) - 1; group > 0 && name != NULL; group--)
        for (int i = 0; i < spec->groups[group].pattern_count; i++)
            if (pattern_takes(spec->groups[group].patterns[i], name))
                return group;
    return 0;
}

static bool takes_any(const char *pattern, const char *const *names, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (names[i] != NULL && pattern_takes(pattern, names[i]))
            return true;
    return false;
}

const char *hone_spec_unmatched(const hone_spec *spec, const char *const *names, int64_t count,
                                int *group, int *index)
{
    if (group == NULL || index == NULL || *group < 0 || *index < 0 || (names == NULL && count > 0))
        return NULL;
    for (; has_group(spec, *group); ++*group, *index = 0)
        while (*index < spec->groups[*group].pattern_count) {
            const char *pattern = spec->groups[*group].patterns[(*index)++];
            if (!takes_any(pattern, names, count))
                return pattern;
        }
    return NULL;
}

/* ---- values --------------------------------------------------------------------------------- */

static hone_status check_group(const hone_spec *spec, int group, const char *function,
                               hone_error *error)
{
    if (has_group(spec, group))
        return HONE_OK;
    if (spec == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s needs a spec; it is NULL", function);
    return hone_fail(error, HONE_ERROR_ARGUMENT, "there is no group %d; this spec has 0 to %d",
                     group, spec->group_count - 1);
}

/* The index of a hyperparameter of the group's rule. */
static hone_status find_hyper(const hone_rule *rule, const char *name, int *index,
                              hone_error *error)
{
    *index = name == NULL ? -1 : hone_rule_hyper_find(rule, name);
    if (*index >= 0)
        return HONE_OK;
    if (name == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the name of a hyperparameter is NULL");
    const char *names[HONE_MAX_HYPERS];
    for (int i = 0; i < rule->hyper_count; i++)
        names[i] = rule->hypers[i].name;
    const char *nearest = hone_nearest(name, names, rule->hyper_count);
    return hone_fail(error, HONE_ERROR_NAME, "%s has no hyperparameter \"%s\"%s%s%s", rule->name,
                     name, nearest == NULL ? "" : "; the nearest is \"",
                     nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"");
}

static hone_status find_value(const hone_spec *spec, int group, const char *hyper,
                              const char *function, int *index, hone_error *error)
{
    const hone_status status = check_group(spec, group, function, error);
    return status != HONE_OK ? status : find_hyper(spec->groups[group].rule, hyper, index, error);
}

static bool stands_for_triples(const hone_hyper *hyper, double value)
{
    return hyper->kind == HONE_CHOICE && value == hyper->high &&
           strcmp(hyper->words[(int)hyper->high], "custom") == 0;
}

bool hone_group_is_custom(const struct hone_group *group, int index)
{
    return stands_for_triples(&group->rule->hypers[index], group->values[index].number);
}

hone_status hone_group_store(struct hone_group *group, int index, struct hone_value value,
                             const char *path, hone_error *error)
{
    value.number += 0.0; /* -0 becomes 0, so that equal values are written alike */
    value.power = isinf(value.number) && !isnan(value.power) ? 0 : value.power + 0.0;
    const hone_status status = hone_rule_check_value(group->rule, index, &value, path, error);
    if (status != HONE_OK)
        return status;
    if (stands_for_triples(&group->rule->hypers[index], value.number) && group->triple_count == 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "%s = %g does not fit the group's other values: \"custom\" needs "
                         "coefficients of its own; give them as a list",
                         path, value.number);
    group->values[index] = value;
    return HONE_OK;
}

/* Stores a value and checks that the group's values still fit together; else puts the old one back.
 */
static hone_status set_value(hone_spec *spec, int group, int index, const struct hone_value *value,
                             hone_error *error)
{
    struct hone_group *target = &spec->groups[group];
    const char *name = target->rule->hypers[index].name;
    const struct hone_value old = target->values[index];
    const hone_status status = hone_group_store(target, index, *value, name, error);
    if (status != HONE_OK)
        return status;
    const char *complaint = target->rule->check(target->values);
    if (complaint == NULL)
        return HONE_OK;
    target->values[index] = old;
    char number[32];
    return hone_fail(error, HONE_ERROR_RANGE, "%s = %s does not fit the group's other values: %s",
                     name, hone_format_number(number, value->number), complaint);
}

static double lr_of(const struct hone_group *group)
{
    return group->values[hone_rule_hyper_find(group->rule, "lr")].number;
}

/* "masked_lr" belongs to the frame, not to a rule. */
static bool is_masked_lr(const char *hyper)
{
    return hyper != NULL && strcmp(hyper, "masked_lr") == 0;
}

static const char *real_name(const char *hyper)
{
    return hyper != NULL && strcmp(hyper, "unmasked_lr") == 0 ? "lr" : hyper;
}

static hone_status set_masked_lr(struct hone_group *group, double value, hone_error *error)
{
    char number[32];
    if (!isnan(value) && !(value >= 0 && isfinite(value)))
        return hone_fail(
            error, HONE_ERROR_RANGE,
            "masked_lr is %s; allowed is a finite number of at least 0, or NaN for the "
            "learning rate itself",
            hone_format_number(number, value));
    const double old = group->masked_lr;
    group->masked_lr = value + 0.0;
    hone_group_rescale(group, lr_of(group), old);
    return HONE_OK;
}

hone_status hone_spec_get(const hone_spec *spec, int group, const char *hyper, double *value,
                          hone_error *error)
{
    int index = 0;
    hyper = real_name(hyper);
    if (is_masked_lr(hyper) && has_group(spec, group) && value != NULL) {
        *value = spec->groups[group].masked_lr;
        return HONE_OK;
    }
    const hone_status status = find_value(spec, group, hyper, "hone_spec_get", &index, error);
    if (status != HONE_OK)
        return status;
    if (value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_spec_get needs a place for the value");
    const struct hone_value *found = &spec->groups[group].values[index];
    if (found->callback != NULL || found->power != 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s is a curve that is not constant; hone_spec_get_curve reads it", hyper);
    *value = found->number;
    return HONE_OK;
}

hone_status hone_spec_set(hone_spec *spec, int group, const char *hyper, double value,
                          hone_error *error)
{
    int index = 0;
    hyper = real_name(hyper);
    if (is_masked_lr(hyper) && has_group(spec, group))
        return set_masked_lr(&spec->groups[group], value, error);
    const hone_status status = find_value(spec, group, hyper, "hone_spec_set", &index, error);
    if (status != HONE_OK)
        return status;
    const double old = lr_of(&spec->groups[group]);
    const hone_status result =
        set_value(spec, group, index, &(struct hone_value){.number = value}, error);
    if (result == HONE_OK)
        hone_group_rescale(&spec->groups[group], old, spec->groups[group].masked_lr);
    return result;
}

static hone_status find_curve(const hone_spec *spec, int group, const char *hyper,
                              const char *function, int *index, hone_error *error)
{
    const hone_status status = find_value(spec, group, hyper, function, index, error);
    if (status != HONE_OK)
        return status;
    if (spec->groups[group].rule->hypers[*index].kind != HONE_CURVE)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s of %s is not a curve", hyper,
                         spec->groups[group].rule->name);
    return HONE_OK;
}

hone_status hone_spec_set_curve(hone_spec *spec, int group, const char *hyper, double scale,
                                double power, hone_error *error)
{
    int index = 0;
    const hone_status status = find_curve(spec, group, hyper, "hone_spec_set_curve", &index, error);
    if (status != HONE_OK)
        return status;
    const struct hone_value value = {.number = scale, .power = power};
    return set_value(spec, group, index, &value, error);
}

hone_status hone_spec_get_curve(const hone_spec *spec, int group, const char *hyper, double *scale,
                                double *power, hone_error *error)
{
    int index = 0;
    const hone_status status = find_curve(spec, group, hyper, "hone_spec_get_curve", &index, error);
    if (status != HONE_OK)
        return status;
    if (scale == NULL || power == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_get_curve needs places for scale and power");
    const struct hone_value *found = &spec->groups[group].values[index];
    if (found->callback != NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s is computed by the caller's function, which has no scale and power",
                         hyper);
    *scale = found->number;
    *power = found->power;
    return HONE_OK;
}

hone_status hone_spec_set_coefficients(hone_spec *spec, int group, const double (*triples)[3],
                                       int count, hone_error *error)
{
    int index = 0;
    const hone_status status =
        find_value(spec, group, "ns_coefficients", "hone_spec_set_coefficients", &index, error);
    if (status != HONE_OK)
        return status;
    if (triples == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_set_coefficients needs coefficients; they are NULL");
    if (count < 1 || count > HONE_MAX_TRIPLES)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "ns_coefficients has %d triples; allowed are 1 to %d", count,
                         HONE_MAX_TRIPLES);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++)
            if (!isfinite(triples[i][k]))
                return hone_fail(error, HONE_ERROR_RANGE,
                                 "ns_coefficients[%d][%d] is %g; it must be finite", i, k,
                                 triples[i][k]);
    struct hone_group *const target = &spec->groups[group];
    memmove(target->triples, triples, sizeof *triples * (size_t)count);
    target->triple_count = count;
    target->values[index] = (struct hone_value){.number = target->rule->hypers[index].high};
    return HONE_OK;
}

const char *hone_spec_masks(const hone_spec *spec)
{
    return spec == NULL ? NULL : spec->masks;
}

hone_status hone_spec_set_masks(hone_spec *spec, const char *path, hone_error *error)
{
    if (spec == NULL || (path != NULL && !is_utf8(path)))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s",
                         spec == NULL ? "hone_spec_set_masks needs a spec; it is NULL"
                                      : "the name of the file of masks is not UTF-8");
    char *copy = NULL;
    if (path != NULL && *path != '\0') {
        copy = hone_copy_string(spec->context, path);
        if (copy == NULL)
            return hone_fail_memory(error, strlen(path) + 1, "a file name in a spec");
    }
    hone_string_free(spec->context, spec->masks);
    spec->masks = copy;
    return HONE_OK;
}

hone_status hone_spec_set_precision(hone_spec *spec, int group, hone_precision precision,
                                    hone_error *error)
{
    const hone_status status = check_group(spec, group, "hone_spec_set_precision", error);
    if (status != HONE_OK)
        return status;
    if (precision < HONE_PRECISION_PLAIN || precision > HONE_PRECISION_KAHAN)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "precision %d is none of hone_precision",
                         (int)precision);
    spec->groups[group].precision = precision;
    return HONE_OK;
}

hone_status hone_spec_get_precision(const hone_spec *spec, int group, hone_precision *precision,
                                    hone_error *error)
{
    const hone_status status = check_group(spec, group, "hone_spec_get_precision", error);
    if (status == HONE_OK && precision == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_get_precision needs a place for the value");
    if (status == HONE_OK)
        *precision = spec->groups[group].precision;
    return status;
}

hone_status hone_spec_group_multiplier(const hone_spec *spec, int group, double *value,
                                       hone_error *error)
{
    const hone_status status = check_group(spec, group, "hone_spec_group_multiplier", error);
    if (status != HONE_OK)
        return status;
    if (value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_group_multiplier needs a place for the value");
    *value = spec->groups[group].lr_multiplier;
    return HONE_OK;
}
