/* SPDX-License-Identifier: Apache-2.0 */
/* The values of a spec's groups, got and set by name. */
#include <math.h>
#include <string.h>

#include "core/core.h"

static hone_status check_group(const hone_spec *spec, int group, const char *function,
                               hone_error *error)
{
    if (hone_spec_group_rule(spec, group) != NULL)
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
    if (value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_spec_get needs a place for the value; it is NULL");
    if (is_masked_lr(hyper) && hone_spec_group_rule(spec, group) != NULL) {
        *value = spec->groups[group].masked_lr;
        return HONE_OK;
    }
    const hone_status status = find_value(spec, group, hyper, "hone_spec_get", &index, error);
    if (status != HONE_OK)
        return status;
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
    if (is_masked_lr(hyper) && hone_spec_group_rule(spec, group) != NULL)
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
                         "hone_spec_get_curve needs places for scale and power; one is NULL");
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
    if (spec == NULL || (path != NULL && !hone_text_is_utf8(path)))
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
                         "hone_spec_get_precision needs a place for the value; it is NULL");
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
                         "hone_spec_group_multiplier needs a place for the value; it is NULL");
    *value = spec->groups[group].lr_multiplier;
    return HONE_OK;
}
