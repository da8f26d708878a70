/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters: their names, their memory, their multipliers and their counters. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

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
    if (optimizer == NULL || optimizer->table_size == 0 || name == NULL)
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

/* ---- parameters ----------------------------------------------------------------------------- */

static hone_status check_name(const hone_optimizer *optimizer, const char *name, hone_error *error)
{
    if (name == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a parameter needs a name; this one's is NULL");
    if (name[0] == '\0')
        return hone_fail(error, HONE_ERROR_NAME, "a parameter needs a name; this one's is empty");
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

static hone_status check_param_tensor(hone_optimizer *optimizer, const char *name,
                                      const hone_tensor *tensor, int64_t except,
                                      struct hone_device **device, hone_error *error)
{
    char what[160];
    snprintf(what, sizeof what, "parameter \"%.120s\"", name);
    const hone_status status = hone_device_check_tensor(optimizer, tensor, what, device, error);
    if (status != HONE_OK)
        return status;
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(tensor->dtype, &format, &reals))
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "%s is %s; F32, F64, BF16, F16, C64 and C128 can be stepped", what,
                         hone_dtype_name(tensor->dtype));
    const size_t size = hone_tensor_bytes(tensor);
    const int64_t other = size == 0 ? -1 : hone_overlapping(optimizer, tensor->data, size, except);
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
    return HONE_OK;
}

hone_status hone_optimizer_add(hone_optimizer *optimizer, const char *name,
                               const hone_tensor *tensor, int group, int64_t *index,
                               hone_error *error)
{
    struct hone_device *device = NULL;
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status == HONE_OK)
        status = check_name(optimizer, name, error);
    if (status == HONE_OK)
        status = check_param_tensor(optimizer, name, tensor, -1, &device, error);
    if (status != HONE_OK)
        return status;
    if (group == HONE_GROUP_BY_NAME)
        group = hone_spec_match(optimizer->spec, name, tensor->ndim);
    status = hone_check_group(optimizer, group, error);
    double multiplier = 1;
    if (status == HONE_OK)
        status = hone_spec_multiplier(optimizer->spec, group,
                                      hone_spec_find_module(optimizer->spec, name), name,
                                      &multiplier, error);
    size_t unused;
    if (status == HONE_OK && optimizer->spec->groups[group].rule->matrix)
        status = hone_matrix_shape(&optimizer->spec->groups[group], tensor, name, &unused, &unused,
                                   &unused, error);
    if (status == HONE_OK)
        status = grow_arrays(optimizer, error);
    struct hone_param param;
    if (status == HONE_OK)
        status = init_param(optimizer, &param, name, tensor, group, error);
    if (status != HONE_OK)
        return status;
    param.multiplier = multiplier;

    const int64_t at = optimizer->count;
    param.device = device;
    optimizer->params[at] = param;
    optimizer->count++;
    *find_entry(optimizer, optimizer->table, optimizer->table_size, name) = at;
    hone_range_insert(optimizer, tensor->data, hone_tensor_bytes(tensor), at);
    optimizer->plan.valid = false;
    optimizer->ranges_changed = true;
    if (index != NULL)
        *index = at;
    return HONE_OK;
}

int64_t hone_optimizer_count(const hone_optimizer *optimizer)
{
    return optimizer == NULL ? 0 : optimizer->count;
}

static bool exists(const hone_optimizer *optimizer, int64_t index)
{
    return optimizer != NULL && index >= 0 && index < optimizer->count;
}

hone_status hone_check_index(const hone_optimizer *optimizer, int64_t index, hone_error *error)
{
    if (exists(optimizer, index))
        return HONE_OK;
    if (optimizer == NULL)
        return hone_check_optimizer(optimizer, error);
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
    hone_status status = hone_check_index(optimizer, index, error);
    if (status == HONE_OK && tensor == NULL)
        status = hone_fail(error, HONE_ERROR_ARGUMENT, "tensor is NULL");
    if (status == HONE_OK)
        *tensor = optimizer->params[index].tensor;
    return status;
}

bool hone_same_shape(const hone_tensor *a, const hone_tensor *b)
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

hone_status hone_fail_shape(const struct hone_param *param, const hone_tensor *tensor,
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
    hone_status status = hone_check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    struct hone_device *device;
    status = check_param_tensor(optimizer, param->name, tensor, index, &device, error);
    if (status != HONE_OK)
        return status;
    char place[HONE_PLACE_TEXT];
    if (device != param->device)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "parameter \"%s\" is on %s with its states; it cannot move elsewhere",
                         param->name, hone_device_text(place, param->device));
    if (tensor->dtype != param->tensor.dtype)
        return hone_fail(error, HONE_ERROR_DTYPE, "parameter \"%s\" is %s; it cannot become %s",
                         param->name, hone_dtype_name(param->tensor.dtype),
                         hone_dtype_name(tensor->dtype));
    if (!hone_same_shape(tensor, &param->tensor))
        return hone_fail_shape(param, tensor, "the new address", error);
    hone_range_remove(optimizer, index);
    hone_range_insert(optimizer, tensor->data, hone_tensor_bytes(tensor), index);
    param->tensor.data = tensor->data;
    optimizer->plan.valid = false;
    optimizer->ranges_changed = true;
    return HONE_OK;
}

hone_status hone_optimizer_set_lr_multiplier(hone_optimizer *optimizer, int64_t index,
                                             double multiplier, hone_error *error)
{
    hone_status status = hone_check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    if (!isfinite(multiplier) || multiplier < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the learning-rate multiplier of \"%s\" is %g; it must be finite and at "
                         "least 0",
                         optimizer->params[index].name, multiplier);
    if (optimizer->params[index].device != NULL)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        optimizer->params[index].multiplier = multiplier;
    return status;
}

hone_status hone_optimizer_lr_multiplier(const hone_optimizer *optimizer, int64_t index,
                                         double *multiplier, hone_error *error)
{
    hone_status status = hone_check_index(optimizer, index, error);
    if (status == HONE_OK && multiplier == NULL)
        status = hone_fail(error, HONE_ERROR_ARGUMENT, "multiplier is NULL");
    if (status == HONE_OK)
        *multiplier = optimizer->params[index].multiplier;
    return status;
}

/* ---- counters ------------------------------------------------------------------------------- */

hone_status hone_optimizer_step_count(const hone_optimizer *optimizer, int64_t index,
                                      uint64_t *count, hone_error *error)
{
    hone_status status = hone_check_index(optimizer, index, error);
    if (status == HONE_OK && count == NULL)
        status = hone_fail(error, HONE_ERROR_ARGUMENT, "count is NULL");
    if (status == HONE_OK && optimizer->params[index].device != NULL)
        status = hone_devices_settle(optimizer, error);
    if (status == HONE_OK)
        *count = optimizer->params[index].step;
    return status;
}

hone_status hone_optimizer_set_step_count(hone_optimizer *optimizer, int64_t index, uint64_t count,
                                          hone_error *error)
{
    hone_status status = hone_check_index(optimizer, index, error);
    if (status == HONE_OK && optimizer->params[index].device != NULL)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        optimizer->params[index].step = count;
    return status;
}
