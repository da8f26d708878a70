/* SPDX-License-Identifier: Apache-2.0 */
/* Which group of a spec takes a parameter, and by what its learning rate is multiplied there. */
#include <math.h>
#include <string.h>

#include "core/core.h"

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

static const char *glob_at(const struct hone_globs *globs, int index)
{
    return index < 0 || index >= globs->count ? NULL : globs->texts[index];
}

const char *hone_spec_group_pattern(const hone_spec *spec, int group, int index)
{
    return has_group(spec, group) ? glob_at(&spec->groups[group].match, index) : NULL;
}

const char *hone_spec_group_except(const hone_spec *spec, int group, int index)
{
    return has_group(spec, group) ? glob_at(&spec->groups[group].except, index) : NULL;
}

int hone_spec_group_min_ndim(const hone_spec *spec, int group)
{
    return has_group(spec, group) ? spec->groups[group].min_ndim : 0;
}

bool hone_globs_take(const struct hone_globs *globs, const char *name)
{
    for (int i = 0; i < globs->count; i++)
        if (hone_glob_takes(globs->texts[i], name))
            return true;
    return false;
}

int hone_spec_match(const hone_spec *spec, const char *name, int32_t ndim)
{
    for (int number = hone_spec_group_count(spec) - 1; number > 0 && name != NULL; number--) {
        const struct hone_group *const group = &spec->groups[number];
        if (ndim >= group->min_ndim && hone_globs_take(&group->match, name) &&
            !hone_globs_take(&group->except, name))
            return number;
    }
    return 0;
}

static bool takes_any(const char *glob, const char *const *names, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (names[i] != NULL && hone_glob_takes(glob, names[i]))
            return true;
    return false;
}

const char *hone_spec_unmatched(const hone_spec *spec, const char *const *names, int64_t count,
                                int *group, int *index)
{
    if (group == NULL || index == NULL || *group < 0 || *index < 0 || (names == NULL && count > 0))
        return NULL;
    for (; has_group(spec, *group); ++*group, *index = 0) {
        const struct hone_globs *const globs = &spec->groups[*group].match;
        while (*index < globs->count) {
            const char *glob = globs->texts[(*index)++];
            if (!takes_any(glob, names, count))
                return glob;
        }
    }
    return NULL;
}

/* ---- multipliers ---------------------------------------------------------------------------- */

const char *hone_spec_lr_module(const hone_spec *spec, int index, double *multiplier)
{
    if (spec == NULL || index < 0 || index >= spec->multiplier_count)
        return NULL;
    if (multiplier != NULL)
        *multiplier = spec->multipliers[index].value;
    return spec->multipliers[index].module;
}

/* "head" holds "head" and "head.weight", but not "header.weight". */
bool hone_module_holds(const hone_spec *spec, int index, const char *name)
{
    const char *const module = spec->multipliers[index].module;
    const size_t length = strlen(module);
    return strncmp(module, name, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

int hone_spec_place_module(const hone_spec *spec, const char *name, size_t length, bool *there)
{
    int low = 0, high = spec->multiplier_count;
    *there = false;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const char *const module = spec->multipliers[middle].module;
        const int order = strncmp(module, name, length);
        if (order == 0 && module[length] == '\0')
            *there = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int hone_spec_find_module(const hone_spec *spec, const char *name)
{
    size_t length = spec->multiplier_count == 0 ? 0 : strlen(name);
    for (; length > 0; length--) {
        if (name[length] != '\0' && name[length] != '.')
            continue;
        bool there;
        const int at = hone_spec_place_module(spec, name, length, &there);
        if (there)
            return at;
    }
    return -1;
}

hone_status hone_spec_multiplier(const hone_spec *spec, int group, int module, const char *name,
                                 double *value, hone_error *error)
{
    const struct hone_group *const own = &spec->groups[group];
    *value = own->lr_multiplier;
    if (module >= 0 && !own->rule->matrix)
        *value *= spec->multipliers[module].value;
    if (isfinite(*value))
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_RANGE,
                     "parameter \"%.120s\": the multipliers of its group and of the module "
                     "\"%.120s\" make more than a double holds",
                     name, spec->multipliers[module].module);
}
