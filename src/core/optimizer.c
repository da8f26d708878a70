/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers: creation, groups, parameters and gradients. The step itself is step.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/optimizer_internal.h"

hone_status hone_optimizer_create(hone_optimizer **optimizer, const hone_context *context,
                                  const hone_spec *spec, hone_error *error)
{
    if (optimizer == NULL || context == NULL || spec == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         optimizer == NULL ? "optimizer"
                         : context == NULL ? "context"
                                           : "spec");
    hone_optimizer *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "an optimizer");
    made->context = context;
    made->loss_scale = 1;
    const hone_status status = hone_spec_copy(&made->spec, context, spec, error);
    if (status != HONE_OK) {
        hone_release(context, made, sizeof *made);
        return status;
    }
    *optimizer = made;
    return HONE_OK;
}

static void free_param(const hone_context *context, struct hone_param *param)
{
    for (int k = 0; k < HONE_STATE_COUNT; k++)
        hone_state_free(context, &param->state[k]);
    hone_release(context, param->mask_size == 0 ? NULL : (void *)(uintptr_t)param->mask,
                 param->mask_size);
    hone_string_free(context, param->name);
    hone_release(context, param->shape, sizeof *param->shape * ((size_t)param->tensor.ndim + 1));
}

void hone_optimizer_free(hone_optimizer *optimizer)
{
    if (optimizer == NULL)
        return;
    const hone_context *const context = optimizer->context;
    for (int64_t i = 0; i < optimizer->count; i++)
        free_param(context, &optimizer->params[i]);
    hone_release(context, optimizer->params,
                 sizeof *optimizer->params * (size_t)optimizer->capacity);
    hone_release(context, optimizer->table,
                 sizeof *optimizer->table * (size_t)optimizer->table_size);
    hone_release(context, optimizer->ranges,
                 sizeof *optimizer->ranges * (size_t)optimizer->range_capacity);
    hone_plan_free(context, &optimizer->plan);
    hone_spec_free(optimizer->spec);
    hone_release(context, optimizer, sizeof *optimizer);
}

const hone_context *hone_optimizer_context(const hone_optimizer *optimizer)
{
    return optimizer->context;
}

const hone_spec *hone_optimizer_spec(const hone_optimizer *optimizer)
{
    return optimizer->spec;
}

/* ---- groups --------------------------------------------------------------------------------- */

int hone_optimizer_group_count(const hone_optimizer *optimizer)
{
    return optimizer->spec->group_count;
}

const hone_rule *hone_optimizer_group_rule(const hone_optimizer *optimizer, int group)
{
    return hone_spec_group_rule(optimizer->spec, group);
}

hone_status hone_optimizer_add_group(hone_optimizer *optimizer, const char *rule, int *group,
                                     hone_error *error)
{
    const hone_status status = hone_spec_add_group(optimizer->spec, rule, NULL, group, error);
    if (status == HONE_OK)
        optimizer->plan.valid = false;
    return status;
}

hone_status hone_optimizer_get(const hone_optimizer *optimizer, int group, const char *hyper,
                               double *value, hone_error *error)
{
    return hone_spec_get(optimizer->spec, group, hyper, value, error);
}

/* A hyperparameter that a slot depends on changes which slots exist. */
static bool is_condition(const hone_rule *rule, const char *hyper)
{
    const int index = hone_rule_hyper_find(rule, hyper);
    for (int k = 0; k < rule->slot_count; k++)
        if (rule->slots[k].condition == index)
            return true;
    return false;
}

hone_status hone_optimizer_set(hone_optimizer *optimizer, int group, const char *hyper,
                               double value, hone_error *error)
{
    const hone_status status = hone_spec_set(optimizer->spec, group, hyper, value, error);
    if (status == HONE_OK && is_condition(optimizer->spec->groups[group].rule, hyper))
        optimizer->plan.valid = false;
    return status;
}

hone_status hone_optimizer_set_curve(hone_optimizer *optimizer, int group, const char *hyper,
                                     double scale, double power, hone_error *error)
{
    return hone_spec_set_curve(optimizer->spec, group, hyper, scale, power, error);
}

static hone_status check_group(const hone_optimizer *optimizer, int group, hone_error *error)
{
    if (group >= 0 && group < optimizer->spec->group_count)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT, "group %d does not exist; there are %d", group,
                     optimizer->spec->group_count);
}

hone_status hone_optimizer_set_curve_callback(hone_optimizer *optimizer, int group,
                                              const char *hyper, hone_curve_fn *curve, void *user,
                                              hone_error *error)
{
    const hone_status status = check_group(optimizer, group, error);
    if (status != HONE_OK)
        return status;
    struct hone_group *const g = &optimizer->spec->groups[group];
    const int index = hone_rule_hyper_find(g->rule, hyper);
    if (index < 0 || g->rule->hypers[index].kind != HONE_CURVE)
        return hone_fail(error, HONE_ERROR_NAME, "%s has no curve named \"%s\"", g->rule->name,
                         hyper == NULL ? "NULL" : hyper);
    g->values[index].callback = curve;
    g->values[index].user = user;
    return HONE_OK;
}

hone_status hone_optimizer_set_state_dtype(hone_optimizer *optimizer, int group, const char *slot,
                                           hone_dtype dtype, hone_error *error)
{
    const hone_status status = check_group(optimizer, group, error);
    if (status != HONE_OK)
        return status;
    struct hone_group *const g = &optimizer->spec->groups[group];
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(dtype, &format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "a state cannot be stored as %s; F32, F64, BF16 and F16 are possible",
                         hone_dtype_name(dtype));
    const int only = slot == NULL ? -1 : hone_rule_slot_find(g->rule, slot);
    if (slot != NULL && only < 0)
        return hone_fail(error, HONE_ERROR_NAME, "%s has no state named \"%s\"", g->rule->name,
                         slot);
    for (int k = 0; k < g->rule->slot_count; k++)
        if (only < 0 || k == only)
            g->state_dtype[k] = (int)dtype;
    return HONE_OK;
}

hone_status hone_optimizer_set_precision(hone_optimizer *optimizer, int group,
                                         hone_precision precision, hone_error *error)
{
    const hone_status status = hone_spec_set_precision(optimizer->spec, group, precision, error);
    if (status == HONE_OK)
        optimizer->plan.valid = false;
    return status;
}

hone_status hone_optimizer_set_grad_accum_steps(hone_optimizer *optimizer, int steps, bool mean,
                                                hone_error *error)
{
    if (steps < 1)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the number of accumulation steps is %d; it must be at least 1", steps);
    if (optimizer->micro_step != 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%d of %d gradients wait for their update; finish it before changing the "
                         "number of accumulation steps",
                         optimizer->micro_step, optimizer->spec->accumulate);
    optimizer->spec->accumulate = steps;
    optimizer->spec->accumulate_mean = mean;
    optimizer->plan.valid = false;
    return HONE_OK;
}

void hone_param_set_mask(struct hone_optimizer *optimizer, int64_t index, const uint32_t *words,
                         size_t owned_size, uint64_t hash, uint64_t masked_count)
{
    struct hone_param *const param = &optimizer->params[index];
    hone_release(optimizer->context, param->mask_size == 0 ? NULL : (void *)(uintptr_t)param->mask,
                 param->mask_size);
    param->mask = words;
    param->mask_size = owned_size;
    param->mask_hash = hash;
    param->masked_count = masked_count;
    optimizer->plan.valid = false;
}

/* ---- clipping ------------------------------------------------------------------------------- */

hone_status hone_optimizer_clip_norm(hone_optimizer *optimizer, double max_norm, double p,
                                     hone_nonfinite policy, hone_error *error)
{
    if (!(max_norm > 0))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "max_norm is %g; it must be above 0 (infinity: no clipping)", max_norm);
    if (!(p >= 1))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the norm's order p is %g; it must be at least 1 (infinity: the maximum)",
                         p);
    if (policy < HONE_NONFINITE_PROPAGATE || policy > HONE_NONFINITE_SKIP)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "policy %d is none of hone_nonfinite",
                         (int)policy);
    optimizer->spec->clip_norm = max_norm;
    optimizer->spec->clip_norm_type = p;
    optimizer->spec->nonfinite = policy;
    return HONE_OK;
}

hone_status hone_optimizer_clip_value(hone_optimizer *optimizer, double limit, hone_error *error)
{
    if (!(limit > 0))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the clip value is %g; it must be above 0 (infinity: no clipping)", limit);
    optimizer->spec->clip_value = limit;
    return HONE_OK;
}

/* ---- names ---------------------------------------------------------------------------------- */

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash ^ hash >> 32;
}

/* The place of `name` in the table: its entry, or the empty one where it would go. */
static int64_t *find_entry(const hone_optimizer *optimizer, int64_t *table, int64_t size,
                           const char *name)
{
    uint64_t place = hash_name(name);
    for (;; place++) {
        int64_t *const entry = &table[place & (uint64_t)(size - 1)];
        if (*entry < 0 || strcmp(optimizer->params[*entry].name, name) == 0)
            return entry;
    }
}

int64_t hone_optimizer_find(const hone_optimizer *optimizer, const char *name)
{
    if (optimizer->table_size == 0 || name == NULL)
        return -1;
    return *find_entry(optimizer, optimizer->table, optimizer->table_size, name);
}

/* Room for one more parameter in every array, so that adding it cannot fail half-way. */
static hone_status grow_arrays(hone_optimizer *optimizer, hone_error *error)
{
    const hone_context *const context = optimizer->context;
    if (optimizer->count == optimizer->capacity) {
        const int64_t capacity = optimizer->capacity == 0 ? 16 : optimizer->capacity * 2;
        const size_t size = sizeof *optimizer->params;
        void *const grown =
            hone_reallocate(context, optimizer->params, size * (size_t)optimizer->capacity,
                            size * (size_t)capacity);
        if (grown == NULL)
            return hone_fail_memory(error, size * (size_t)capacity, "the list of parameters");
        optimizer->params = grown;
        optimizer->capacity = capacity;
    }
    if (optimizer->range_count == optimizer->range_capacity) {
        const int64_t capacity =
            optimizer->range_capacity == 0 ? 16 : optimizer->range_capacity * 2;
        const size_t size = sizeof *optimizer->ranges;
        void *const grown =
            hone_reallocate(context, optimizer->ranges, size * (size_t)optimizer->range_capacity,
                            size * (size_t)capacity);
        if (grown == NULL)
            return hone_fail_memory(error, size * (size_t)capacity, "the list of addresses");
        optimizer->ranges = grown;
        optimizer->range_capacity = capacity;
    }
    if ((optimizer->count + 1) * 2 > optimizer->table_size) {
        const int64_t size = optimizer->table_size == 0 ? 64 : optimizer->table_size * 2;
        int64_t *const table = hone_allocate(context, sizeof *table * (size_t)size);
        if (table == NULL)
            return hone_fail_memory(error, sizeof *table * (size_t)size, "the table of names");
        for (int64_t i = 0; i < size; i++)
            table[i] = -1;
        for (int64_t i = 0; i < optimizer->count; i++)
            *find_entry(optimizer, table, size, optimizer->params[i].name) = i;
        hone_release(context, optimizer->table,
                     sizeof *optimizer->table * (size_t)optimizer->table_size);
        optimizer->table = table;
        optimizer->table_size = size;
    }
    return HONE_OK;
}

/* ---- address ranges ------------------------------------------------------------------------- */

/* Index of the first range that ends beyond `begin`. */
static int64_t first_range_after(const hone_optimizer *optimizer, uintptr_t begin)
{
    int64_t low = 0, high = optimizer->range_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (optimizer->ranges[middle].end > begin)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The parameter other than `except` whose memory [data, data + size) touches, or -1. */
static int64_t overlapping(const hone_optimizer *optimizer, const void *data, size_t size,
                           int64_t except)
{
    const uintptr_t begin = (uintptr_t)data, end = begin + size;
    for (int64_t i = first_range_after(optimizer, begin);
         i < optimizer->range_count && optimizer->ranges[i].begin < end; i++)
        if (optimizer->ranges[i].param != except)
            return optimizer->ranges[i].param;
    return -1;
}

static void insert_range(hone_optimizer *optimizer, const void *data, size_t size, int64_t param)
{
    if (size == 0)
        return;
    const int64_t at = first_range_after(optimizer, (uintptr_t)data);
    struct hone_range *const ranges = optimizer->ranges;
    memmove(ranges + at + 1, ranges + at, sizeof *ranges * (size_t)(optimizer->range_count - at));
    ranges[at] = (struct hone_range){(uintptr_t)data, (uintptr_t)data + size, param};
    optimizer->range_count++;
}

static void remove_range(hone_optimizer *optimizer, int64_t param)
{
    for (int64_t i = 0; i < optimizer->range_count; i++)
        if (optimizer->ranges[i].param == param) {
            optimizer->range_count--;
            memmove(optimizer->ranges + i, optimizer->ranges + i + 1,
                    sizeof *optimizer->ranges * (size_t)(optimizer->range_count - i));
            return;
        }
}

static size_t bytes_of(const hone_tensor *tensor)
{
    return (size_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
}

/* ---- parameters ----------------------------------------------------------------------------- */

static hone_status check_name(const hone_optimizer *optimizer, const char *name, hone_error *error)
{
    if (name == NULL || name[0] == '\0')
        return hone_fail(error, HONE_ERROR_NAME, "a parameter needs a name; this one's is %s",
                         name == NULL ? "NULL" : "empty");
    if (strchr(name, '@') != NULL)
        return hone_fail(error, HONE_ERROR_NAME,
                         "parameter \"%s\": a name may not hold '@', which separates parameter and "
                         "state in checkpoints",
                         name);
    if (hone_optimizer_find(optimizer, name) >= 0)
        return hone_fail(error, HONE_ERROR_NAME,
                         "parameter \"%s\" is registered already; names are unique", name);
    return HONE_OK;
}

static hone_status check_param_tensor(const hone_optimizer *optimizer, const char *name,
                                      const hone_tensor *tensor, int64_t except, hone_error *error)
{
    char what[160];
    snprintf(what, sizeof what, "parameter \"%.120s\"", name);
    const hone_status status = hone_tensor_check(tensor, what, error);
    if (status != HONE_OK)
        return status;
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(tensor->dtype, &format, &reals))
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "%s is %s; F32, F64, BF16, F16, C64 and C128 can be stepped", what,
                         hone_dtype_name(tensor->dtype));
    const size_t size = bytes_of(tensor);
    const int64_t other = size == 0 ? -1 : overlapping(optimizer, tensor->data, size, except);
    if (other >= 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s overlaps the memory of parameter \"%.120s\"; a tensor can be stepped "
                         "only once",
                         what, optimizer->params[other].name);
    return HONE_OK;
}

/* A copy of the shape with room for the 2 of complex states. */
static hone_status init_param(const hone_optimizer *optimizer, struct hone_param *param,
                              const char *name, const hone_tensor *tensor, int group,
                              hone_error *error)
{
    memset(param, 0, sizeof *param);
    const size_t lengths = (size_t)tensor->ndim + 1;
    param->name = hone_copy_string(optimizer->context, name);
    param->shape = hone_allocate(optimizer->context, sizeof *param->shape * lengths);
    if (param->name == NULL || param->shape == NULL) {
        hone_string_free(optimizer->context, param->name);
        hone_release(optimizer->context, param->shape, sizeof *param->shape * lengths);
        return hone_fail_memory(error, sizeof *param->shape * lengths, "a parameter");
    }
    if (tensor->ndim > 0)
        memcpy(param->shape, tensor->shape, sizeof *param->shape * (size_t)tensor->ndim);
    param->shape[tensor->ndim] = 2;
    param->tensor = *tensor;
    param->tensor.shape = param->shape;
    param->tensor.strides = NULL;
    hone_dtype_format(tensor->dtype, &param->format, &param->reals);
    param->count = (size_t)hone_tensor_numel(tensor) * (size_t)param->reals;
    param->group = group;
    param->multiplier = optimizer->spec->groups[group].lr_multiplier;
    return HONE_OK;
}

hone_status hone_optimizer_add(hone_optimizer *optimizer, const char *name,
                               const hone_tensor *tensor, int group, int64_t *index,
                               hone_error *error)
{
    hone_status status = check_name(optimizer, name, error);
    if (status == HONE_OK)
        status = check_param_tensor(optimizer, name, tensor, -1, error);
    if (status != HONE_OK)
        return status;
    if (group == HONE_GROUP_BY_NAME)
        group = hone_spec_match(optimizer->spec, name);
    status = check_group(optimizer, group, error);
    if (status == HONE_OK)
        status = grow_arrays(optimizer, error);
    struct hone_param param;
    if (status == HONE_OK)
        status = init_param(optimizer, &param, name, tensor, group, error);
    if (status != HONE_OK)
        return status;

    const int64_t at = optimizer->count;
    optimizer->params[at] = param;
    optimizer->count++;
    *find_entry(optimizer, optimizer->table, optimizer->table_size, name) = at;
    insert_range(optimizer, tensor->data, bytes_of(tensor), at);
    optimizer->plan.valid = false;
    if (index != NULL)
        *index = at;
    return HONE_OK;
}

int64_t hone_optimizer_count(const hone_optimizer *optimizer)
{
    return optimizer->count;
}

static bool exists(const hone_optimizer *optimizer, int64_t index)
{
    return index >= 0 && index < optimizer->count;
}

static hone_status check_index(const hone_optimizer *optimizer, int64_t index, hone_error *error)
{
    if (exists(optimizer, index))
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT, "parameter %lld does not exist; there are %lld",
                     (long long)index, (long long)optimizer->count);
}

const char *hone_optimizer_name(const hone_optimizer *optimizer, int64_t index)
{
    return exists(optimizer, index) ? optimizer->params[index].name : NULL;
}

int hone_optimizer_group_of(const hone_optimizer *optimizer, int64_t index)
{
    return exists(optimizer, index) ? optimizer->params[index].group : -1;
}

hone_status hone_optimizer_tensor(const hone_optimizer *optimizer, int64_t index,
                                  hone_tensor *tensor, hone_error *error)
{
    const hone_status status = check_index(optimizer, index, error);
    if (status == HONE_OK)
        *tensor = optimizer->params[index].tensor;
    return status;
}

static bool same_shape(const hone_tensor *a, const hone_tensor *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int32_t i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

/* "[2, 3]", cut when long */
static const char *shape_text(char *text, size_t size, const hone_tensor *tensor)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < tensor->ndim && used + 32 < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i == 0 ? "" : ", ",
                                 (long long)tensor->shape[i]);
    snprintf(text + used, size - used, "]");
    return text;
}

static hone_status fail_shape(const struct hone_param *param, const hone_tensor *tensor,
                              const char *what, hone_error *error)
{
    char found[128], wanted[128];
    return hone_fail(error, HONE_ERROR_SHAPE, "%s of \"%.120s\" has shape %s; the parameter has %s",
                     what, param->name, shape_text(found, sizeof found, tensor),
                     shape_text(wanted, sizeof wanted, &param->tensor));
}

hone_status hone_optimizer_rebind(hone_optimizer *optimizer, int64_t index,
                                  const hone_tensor *tensor, hone_error *error)
{
    hone_status status = check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    status = check_param_tensor(optimizer, param->name, tensor, index, error);
    if (status != HONE_OK)
        return status;
    if (tensor->dtype != param->tensor.dtype)
        return hone_fail(error, HONE_ERROR_DTYPE, "parameter \"%s\" is %s; it cannot become %s",
                         param->name, hone_dtype_name(param->tensor.dtype),
                         hone_dtype_name(tensor->dtype));
    if (!same_shape(tensor, &param->tensor))
        return fail_shape(param, tensor, "the new address", error);
    remove_range(optimizer, index);
    insert_range(optimizer, tensor->data, bytes_of(tensor), index);
    param->tensor.data = tensor->data;
    optimizer->plan.valid = false;
    return HONE_OK;
}

static hone_status check_grad(const hone_optimizer *optimizer, const struct hone_param *param,
                              const hone_tensor *grad, hone_error *error)
{
    char what[160];
    snprintf(what, sizeof what, "the gradient of \"%.120s\"", param->name);
    const hone_status status = hone_tensor_check(grad, what, error);
    if (status != HONE_OK)
        return status;
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(grad->dtype, &format, &reals) || reals != param->reals)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s is %s; a parameter of type %s takes %s", what,
                         hone_dtype_name(grad->dtype), hone_dtype_name(param->tensor.dtype),
                         param->reals == 2 ? "C64 or C128" : "F32, F64, BF16 or F16");
    if (!same_shape(grad, &param->tensor))
        return fail_shape(param, grad, "the gradient", error);
    const size_t size = bytes_of(grad);
    const int64_t other = size == 0 ? -1 : overlapping(optimizer, grad->data, size, -1);
    if (other >= 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s overlaps the memory of parameter \"%.120s\"", what,
                         optimizer->params[other].name);
    return HONE_OK;
}

hone_status hone_optimizer_set_grad(hone_optimizer *optimizer, int64_t index,
                                    const hone_tensor *grad, hone_error *error)
{
    hone_status status = check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    if (grad == NULL) {
        optimizer->plan.valid = optimizer->plan.valid && !param->has_grad;
        param->has_grad = false;
        param->grad = NULL;
        return HONE_OK;
    }
    status = check_grad(optimizer, param, grad, error);
    if (status != HONE_OK)
        return status;
    if (param->has_grad && param->grad == grad->data && param->grad_dtype == grad->dtype)
        return HONE_OK;
    int reals;
    hone_dtype_format(grad->dtype, &param->grad_format, &reals);
    param->grad_dtype = grad->dtype;
    param->grad = grad->data;
    param->has_grad = true;
    optimizer->plan.valid = false;
    return HONE_OK;
}

hone_status hone_optimizer_set_lr_multiplier(hone_optimizer *optimizer, int64_t index,
                                             double multiplier, hone_error *error)
{
    const hone_status status = check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    if (!isfinite(multiplier) || multiplier < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the learning-rate multiplier of \"%s\" is %g; it must be finite and at "
                         "least 0",
                         optimizer->params[index].name, multiplier);
    optimizer->params[index].multiplier = multiplier;
    return HONE_OK;
}

hone_status hone_optimizer_lr_multiplier(const hone_optimizer *optimizer, int64_t index,
                                         double *multiplier, hone_error *error)
{
    const hone_status status = check_index(optimizer, index, error);
    if (status == HONE_OK)
        *multiplier = optimizer->params[index].multiplier;
    return status;
}

hone_status hone_optimizer_zero_grad(hone_optimizer *optimizer, bool set_to_none, hone_error *error)
{
    if (optimizer == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "optimizer is NULL");
    for (int64_t i = 0; i < optimizer->count; i++) {
        struct hone_param *const param = &optimizer->params[i];
        if (!param->has_grad)
            continue;
        if (set_to_none) {
            param->has_grad = false;
            param->grad = NULL;
            optimizer->plan.valid = false;
        } else if (param->count > 0) {
            memset(param->grad, 0, param->count * hone_format_size(param->grad_format));
        }
    }
    return HONE_OK;
}

/* ---- counters ------------------------------------------------------------------------------- */

hone_status hone_optimizer_step_count(const hone_optimizer *optimizer, int64_t index,
                                      uint64_t *count, hone_error *error)
{
    const hone_status status = check_index(optimizer, index, error);
    if (status == HONE_OK)
        *count = optimizer->params[index].step;
    return status;
}

hone_status hone_optimizer_set_step_count(hone_optimizer *optimizer, int64_t index, uint64_t count,
                                          hone_error *error)
{
    const hone_status status = check_index(optimizer, index, error);
    if (status == HONE_OK)
        optimizer->params[index].step = count;
    return status;
}
