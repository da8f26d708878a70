/* SPDX-License-Identifier: Apache-2.0 */
/* Placing the parameters of models: entries that are the same tensor are joined by sorting, then each
 * is matched against the spec's groups and modules. */
#include <hone/placement.h>

#include <stdlib.h>
#include <string.h>

#include "core/optimizer_internal.h"
#include "core/spec_muon.h"

/* One name of one parameter. */
struct entry {
    char *name; /* in the placement's text */
    hone_tensor tensor;
    bool requires_grad;
    int64_t order; /* among all names; sorting changes places */
    int64_t first; /* the entry that stands for the parameter: itself, or one before it */
    int group;
    int module; /* whose multiplier reaches it by one of its names; -1: none */
    double multiplier;
};

struct hone_placement {
    const hone_context *context;
    hone_spec *spec;
    struct entry *entries;
    int64_t entry_count;
    int64_t *places; /* the entries that stand for parameters, in order */
    int64_t count;
    char *text; /* all names */
    size_t text_size;
};

/* ---- names ---------------------------------------------------------------------------------- */

static bool has_prefix(const hone_model *model)
{
    return model->prefix != NULL && *model->prefix != '\0';
}

static size_t name_size(const hone_model *model, int64_t index)
{
    return strlen(model->parameters[index].name) + 1 +
           (has_prefix(model) ? strlen(model->prefix) + 1 : 0);
}

static hone_status check_parameter(const hone_model_parameter *parameter, int model, int64_t index,
                                   hone_error *error)
{
    const hone_tensor *const tensor = &parameter->tensor;
    if (parameter->name == NULL || *parameter->name == '\0')
        return hone_fail(error, HONE_ERROR_NAME, "parameter %lld of model %d has no name",
                         (long long)index, model);
    if (parameter->table != NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "\"%.120s\" is a table; only parameters are placed: "
                         "hone_filter_out_sparse separates the two",
                         parameter->name);
    if (tensor->ndim < 0 || (tensor->ndim > 0 && tensor->shape == NULL) ||
        hone_tensor_numel(tensor) < 0)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "parameter \"%.120s\" has no shape, or one that no tensor has",
                         parameter->name);
    return HONE_OK;
}

static hone_status measure(hone_placement *placement, const hone_model *models, int model_count,
                           hone_error *error)
{
    for (int m = 0; m < model_count; m++) {
        const hone_model *const model = &models[m];
        if (model->count < 0 || (model->count > 0 && model->parameters == NULL))
            return hone_fail(error, HONE_ERROR_ARGUMENT, "model %d has no list of parameters", m);
        for (int64_t i = 0; i < model->count; i++) {
            const hone_status status = check_parameter(&model->parameters[i], m, i, error);
            if (status != HONE_OK)
                return status;
            placement->text_size += name_size(model, i);
        }
        placement->entry_count += model->count;
    }
    return HONE_OK;
}

static hone_status allocate(hone_placement *placement, hone_error *error)
{
    const size_t count = (size_t)placement->entry_count;
    placement->entries =
        hone_allocate_zeroed(placement->context, sizeof *placement->entries * count);
    placement->places = hone_allocate(placement->context, sizeof *placement->places * count);
    placement->text = hone_allocate(placement->context, placement->text_size);
    if (placement->entries != NULL && placement->places != NULL && placement->text != NULL)
        return HONE_OK;
    return hone_fail_memory(error, sizeof *placement->entries * count, "a list of parameters");
}

static char *put(char *to, const char *text)
{
    const size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

static void list_entries(hone_placement *placement, const hone_model *models, int model_count)
{
    struct entry *entry = placement->entries;
    char *text = placement->text;
    for (int m = 0; m < model_count; m++)
        for (int64_t i = 0; i < models[m].count; i++, entry++) {
            const hone_model_parameter *const parameter = &models[m].parameters[i];
            const int64_t order = entry - placement->entries;
            *entry = (struct entry){.name = text,
                                    .tensor = parameter->tensor,
                                    .requires_grad = parameter->requires_grad,
                                    .order = order,
                                    .first = order,
                                    .module = -1};
            if (has_prefix(&models[m]))
                text = put(put(text, models[m].prefix), ".");
            text = put(text, parameter->name);
            *text++ = '\0';
        }
}

/* ---- the same parameter --------------------------------------------------------------------- */

static bool same_view(const struct entry *a, const struct entry *b)
{
    return a->tensor.data == b->tensor.data && a->tensor.dtype == b->tensor.dtype &&
           hone_same_shape(&a->tensor, &b->tensor);
}

static int by_order(const void *a, const void *b)
{
    const struct entry *const x = a, *const y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *const x = a, *const y = b;
    const int order = strcmp(x->name, y->name);
    return order != 0 ? order : by_order(a, b);
}

static int by_address(const void *a, const void *b)
{
    const struct entry *const x = a, *const y = b;
    const uintptr_t left = (uintptr_t)x->tensor.data, right = (uintptr_t)y->tensor.data;
    return left != right ? (left < right ? -1 : 1) : by_order(a, b);
}

static void sort(hone_placement *placement, int (*order)(const void *, const void *))
{
    if (placement->entry_count > 0)
        qsort(placement->entries, (size_t)placement->entry_count, sizeof *placement->entries,
              order);
}

static void join(struct entry *entry, const struct entry *with)
{
    if (with->first < entry->first)
        entry->first = with->first;
}

/* A name that occurs twice must mean the same tensor. */
static hone_status join_names(hone_placement *placement, hone_error *error)
{
    sort(placement, by_name);
    for (int64_t i = 1; i < placement->entry_count; i++) {
        struct entry *const entry = &placement->entries[i];
        const struct entry *const before = entry - 1;
        if (strcmp(entry->name, before->name) != 0)
            continue;
        if (!same_view(entry, before))
            return hone_fail(error, HONE_ERROR_NAME,
                             "the name \"%.120s\" belongs to two tensors; models that share names "
                             "need prefixes",
                             entry->name);
        join(entry, before);
    }
    return HONE_OK;
}

/* Tensors with elements are the same wherever their memory is; after join_names. */
static void join_addresses(hone_placement *placement)
{
    sort(placement, by_address);
    int64_t run = 0; /* where the entries of this address begin */
    for (int64_t i = 1; i < placement->entry_count; i++) {
        struct entry *const entry = &placement->entries[i];
        if (entry->tensor.data != placement->entries[run].tensor.data)
            run = i;
        const bool real = entry->tensor.data != NULL && hone_tensor_numel(&entry->tensor) > 0;
        for (int64_t k = run; real && k < i; k++)
            if (same_view(entry, &placement->entries[k])) {
                join(entry, &placement->entries[k]);
                break;
            }
    }
}

/* ---- groups and modules --------------------------------------------------------------------- */

static hone_status fail_modules(const hone_placement *placement, const struct entry *parameter,
                                const struct entry *alias, int module, hone_error *error)
{
    const hone_spec *const spec = placement->spec;
    const struct hone_multiplier *const one = &spec->multipliers[parameter->module];
    const struct hone_multiplier *const other = &spec->multipliers[module];
    char left[32], right[32];
    return hone_fail(
        error, HONE_ERROR_ARGUMENT,
        "parameter \"%.120s\" is in the modules \"%.80s\", whose multiplier is %s, and "
        "\"%.80s\" (as \"%.120s\"), whose multiplier is %s; allowed: equal ones",
        parameter->name, one->module, hone_format_number(left, one->value), other->module,
        alias->name, hone_format_number(right, other->value));
}

static bool is_matrix(const hone_placement *placement, const struct entry *entry)
{
    return placement->spec->groups[entry->group].rule->matrix;
}

/* A name adds its module to the parameter's; unequal ones conflict where they would count. */
static hone_status add_module(const hone_placement *placement, struct entry *parameter,
                              const struct entry *alias, hone_error *error)
{
    const struct hone_multiplier *const multipliers = placement->spec->multipliers;
    const int module = hone_spec_find_module(placement->spec, alias->name);
    if (module < 0)
        return HONE_OK;
    if (parameter->module < 0)
        parameter->module = module;
    else if (multipliers[module].value != multipliers[parameter->module].value &&
             !is_matrix(placement, parameter))
        return fail_modules(placement, parameter, alias, module, error);
    return HONE_OK;
}

static hone_status place_entry(hone_placement *placement, struct entry *entry, hone_error *error)
{
    struct entry *const parameter = &placement->entries[entry->first];
    if (parameter == entry) {
        placement->places[placement->count++] = entry->order;
        entry->group = hone_spec_match(placement->spec, entry->name, entry->tensor.ndim);
    } else if (entry->requires_grad) {
        parameter->requires_grad = true;
    }
    return add_module(placement, parameter, entry, error);
}

static bool is_steppable(const struct entry *entry)
{
    enum hone_format format;
    int reals;
    return hone_dtype_format(entry->tensor.dtype, &format, &reals);
}

/* Frozen parameters keep their places in a plain recipe; see the header. */
static bool keeps_frozen(const hone_spec *spec)
{
    for (int i = 0; i < spec->multiplier_count; i++)
        if (spec->multipliers[i].value != 1)
            return false;
    for (int g = 0; g < spec->group_count; g++)
        if (spec->groups[g].rule->matrix || spec->groups[g].lr_multiplier != 1)
            return false;
    return true;
}

static bool is_left_out(const hone_placement *placement, const struct entry *entry)
{
    return !entry->requires_grad && !(keeps_frozen(placement->spec) && is_steppable(entry));
}

static hone_status finish_entry(const hone_placement *placement, struct entry *entry,
                                hone_error *error)
{
    size_t unused;
    hone_status status = hone_spec_multiplier(placement->spec, entry->group, entry->module,
                                              entry->name, &entry->multiplier, error);
    if (status == HONE_OK && is_matrix(placement, entry) && !is_left_out(placement, entry))
        status = hone_matrix_shape(&placement->spec->groups[entry->group], &entry->tensor,
                                   entry->name, &unused, &unused, &unused, error);
    return status;
}

static hone_status place_all(hone_placement *placement, hone_error *error)
{
    hone_status status = join_names(placement, error);
    if (status != HONE_OK)
        return status;
    join_addresses(placement);
    sort(placement, by_order);
    for (int64_t i = 0; i < placement->entry_count && status == HONE_OK; i++)
        status = place_entry(placement, &placement->entries[i], error);
    for (int64_t i = 0; i < placement->count && status == HONE_OK; i++)
        status = finish_entry(placement, &placement->entries[placement->places[i]], error);
    return status;
}

/* ---- the object ----------------------------------------------------------------------------- */

hone_status hone_placement_create(hone_placement **placement, const hone_context *context,
                                  const hone_spec *spec, const hone_model *models, int model_count,
                                  hone_error *error)
{
    if (placement == NULL || context == NULL || spec == NULL || (models == NULL && model_count > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_placement_create needs a placement, a context, a spec and models; "
                         "one is NULL");
    if (model_count < 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the number of models is %d", model_count);
    hone_placement *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a placement");
    made->context = context;
    hone_status status = hone_spec_copy(&made->spec, context, spec, error);
    if (status == HONE_OK)
        status = measure(made, models, model_count, error);
    if (status == HONE_OK)
        status = allocate(made, error);
    if (status == HONE_OK) {
        list_entries(made, models, model_count);
        status = place_all(made, error);
    }
    if (status == HONE_OK)
        *placement = made;
    else
        hone_placement_free(made);
    return status;
}

void hone_placement_free(hone_placement *placement)
{
    if (placement == NULL)
        return;
    const hone_context *const context = placement->context;
    const size_t count = (size_t)placement->entry_count;
    hone_release(context, placement->entries, sizeof *placement->entries * count);
    hone_release(context, placement->places, sizeof *placement->places * count);
    hone_release(context, placement->text, placement->text_size);
    hone_spec_free(placement->spec);
    hone_release(context, placement, sizeof *placement);
}

int64_t hone_placement_count(const hone_placement *placement)
{
    return placement == NULL ? 0 : placement->count;
}

hone_status hone_placement_at(const hone_placement *placement, int64_t index, hone_place *place,
                              hone_error *error)
{
    if (placement == NULL || place == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         placement == NULL ? "placement" : "place");
    if (index < 0 || index >= placement->count)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "parameter %lld does not exist; there are %lld", (long long)index,
                         (long long)hone_placement_count(placement));
    const struct entry *const entry = &placement->entries[placement->places[index]];
    const hone_spec *const spec = placement->spec;
    double lr = 0;
    hone_spec_get(spec, entry->group, "lr", &lr, NULL);
    *place = (hone_place){.name = entry->name,
                          .tensor = entry->tensor,
                          .group = entry->group,
                          .lr = lr * entry->multiplier,
                          .multiplier = entry->multiplier,
                          .left_out = is_left_out(placement, entry)};
    if (entry->module >= 0) {
        place->module = spec->multipliers[entry->module].module;
        place->module_ignored = is_matrix(placement, entry);
    }
    return HONE_OK;
}

/* ---- notices -------------------------------------------------------------------------------- */

static bool glob_works(const hone_placement *placement, int group, const char *glob, bool exception)
{
    const struct hone_group *const own = &placement->spec->groups[group];
    for (int64_t i = 0; i < placement->count; i++) {
        const struct entry *const entry = &placement->entries[placement->places[i]];
        bool takes = hone_glob_takes(glob, entry->name);
        if (!exception)
            takes = takes && entry->tensor.ndim >= own->min_ndim &&
                    !hone_globs_take(&own->except, entry->name);
        if (takes)
            return true;
    }
    return false;
}

/* By any name; of parameters that need gradients. `matrices` receives those it does not count for. */
static bool module_reaches(const hone_placement *placement, int module, int64_t *matrices)
{
    bool reaches = false;
    *matrices = 0;
    for (int64_t i = 0; i < placement->entry_count; i++) {
        const struct entry *const entry = &placement->entries[i];
        const struct entry *const parameter = &placement->entries[entry->first];
        if (!parameter->requires_grad || !hone_module_holds(placement->spec, module, entry->name))
            continue;
        reaches = true;
        if (parameter->module == module && entry == parameter && is_matrix(placement, parameter))
            ++*matrices;
    }
    return reaches;
}

/* Whether there is something to tell of glob `at` of a group's two lists. */
static bool notice_glob(const hone_placement *placement, int group, int at, hone_notice *notice)
{
    const struct hone_group *const own = &placement->spec->groups[group];
    const bool exception = at >= own->match.count;
    const char *const text =
        exception ? own->except.texts[at - own->match.count] : own->match.texts[at];
    *notice =
        (hone_notice){exception ? HONE_NOTICE_EXCEPTION : HONE_NOTICE_PATTERN, text, group, 0};
    if (exception && hone_except_is_standard(&own->except))
        return false; /* no model has all of the names in that list */
    return !glob_works(placement, group, text, exception);
}

static bool notice_module(const hone_placement *placement, int module, hone_notice *notice)
{
    int64_t matrices = 0;
    const bool reaches = module_reaches(placement, module, &matrices);
    *notice = (hone_notice){reaches ? HONE_NOTICE_MATRICES : HONE_NOTICE_MODULE,
                            placement->spec->multipliers[module].module, -1, matrices};
    return !reaches || (matrices > 0 && placement->spec->multipliers[module].value != 1);
}

bool hone_placement_notice(const hone_placement *placement, int *index, hone_notice *notice)
{
    if (placement == NULL || index == NULL || notice == NULL || *index < 0)
        return false;
    const hone_spec *const spec = placement->spec;
    int before = 0; /* globs of the groups already passed */
    for (int group = 0; group < spec->group_count; group++) {
        const int count = spec->groups[group].match.count + spec->groups[group].except.count;
        while (*index < before + count)
            if (notice_glob(placement, group, (*index)++ - before, notice))
                return true;
        before += count;
    }
    while (*index < before + spec->multiplier_count)
        if (notice_module(placement, (*index)++ - before, notice))
            return true;
    return false;
}

/* ---- an optimizer of it --------------------------------------------------------------------- */

static hone_status add_all(hone_optimizer *optimizer, const hone_placement *placement,
                           hone_error *error)
{
    for (int64_t i = 0; i < placement->count; i++) {
        const struct entry *const entry = &placement->entries[placement->places[i]];
        int64_t index = 0;
        if (is_left_out(placement, entry))
            continue;
        const hone_status status =
            hone_optimizer_add(optimizer, entry->name, &entry->tensor, entry->group, &index, error);
        if (status != HONE_OK)
            return status;
        optimizer->params[index].multiplier = entry->multiplier; /* by any of its names */
    }
    return HONE_OK;
}

hone_status hone_optimizer_create_placed(hone_optimizer **optimizer,
                                         const hone_placement *placement, hone_error *error)
{
    if (optimizer == NULL || placement == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         optimizer == NULL ? "optimizer" : "placement");
    bool any = false;
    for (int64_t i = 0; i < placement->count; i++)
        any = any || placement->entries[placement->places[i]].requires_grad;
    if (!any)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "none of the models' %lld parameters needs a gradient",
                         (long long)placement->count);
    hone_optimizer *made = NULL;
    hone_status status = hone_optimizer_create(&made, placement->context, placement->spec, error);
    if (status == HONE_OK)
        status = add_all(made, placement, error);
    if (status == HONE_OK)
        *optimizer = made;
    else
        hone_optimizer_free(made);
    return status;
}
