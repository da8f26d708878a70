/* SPDX-License-Identifier: Apache-2.0 */
/* The state slots of parameters: which exist, in which format, and access to them by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

bool hone_group_needs_slot(const struct hone_group *group, int slot)
{
    const int condition = group->rule->slots[slot].condition;
    return condition < 0 || group->values[condition].number != 0;
}

int hone_group_variant(const struct hone_group *group)
{
    int variant = 0;
    for (int k = 0; k < group->rule->slot_count; k++)
        if (group->rule->slots[k].optional >= 0 && hone_group_needs_slot(group, k))
            variant |= 1 << group->rule->slots[k].optional;
    return variant;
}

static const char *const frame_states[] = {"master", "compensation", "accumulated_grad"};

const char *hone_state_name(const hone_rule *rule, int state)
{
    if (state >= HONE_MAX_SLOTS)
        return frame_states[state - HONE_MAX_SLOTS];
    return state < rule->slot_count ? rule->slots[state].name : NULL;
}

int hone_state_find(const hone_rule *rule, const char *name)
{
    for (int k = 0; name != NULL && k < HONE_STATE_COUNT; k++) {
        const char *const known = hone_state_name(rule, k);
        if (known != NULL && strcmp(known, name) == 0)
            return k;
    }
    return -1;
}

static bool is_16_bit(enum hone_format format)
{
    return format == HONE_FORMAT_BF16 || format == HONE_FORMAT_F16;
}

bool hone_param_needs_state(const struct hone_optimizer *optimizer, const struct hone_param *param,
                            int state)
{
    const struct hone_group *const group = &optimizer->spec->groups[param->group];
    switch (state) {
    case HONE_STATE_MASTER:
        return group->precision == HONE_PRECISION_MASTER && is_16_bit(param->format);
    case HONE_STATE_KAHAN:
        return group->precision == HONE_PRECISION_KAHAN && is_16_bit(param->format);
    case HONE_STATE_ACCUMULATED:
        return optimizer->spec->accumulate > 1;
    default:
        return state < group->rule->slot_count && hone_group_needs_slot(group, state);
    }
}

enum hone_format hone_state_format(const struct hone_optimizer *optimizer,
                                   const struct hone_param *param, int slot)
{
    if (slot == HONE_STATE_KAHAN)
        return param->format;
    const int chosen = slot >= HONE_MAX_SLOTS
                           ? HONE_STATE_DTYPE_DEFAULT
                           : optimizer->spec->groups[param->group].state_dtype[slot];
    enum hone_format format = HONE_FORMAT_F32;
    int reals;
    if (chosen != HONE_STATE_DTYPE_DEFAULT)
        hone_dtype_format((hone_dtype)chosen, &format, &reals);
    else if (param->format == HONE_FORMAT_F64)
        format = HONE_FORMAT_F64;
    return format;
}

static void fill(const hone_context *context, struct hone_state *state, size_t count,
                 double initial)
{
    const struct hone_support_kernels *const support = context->cpu->support;
    const size_t size = hone_format_size(state->format);
    for (size_t i = 0; i < count; i++)
        support->narrow_f64[state->format]((char *)state->data + i * size, &initial, 1);
}

hone_status hone_state_memory(const hone_context *context, struct hone_device *device, size_t size,
                              char **memory, hone_error *error)
{
    if (device != NULL) {
        void *data = NULL;
        const hone_status status = hone_device_allocate(device, size, &data, "states", error);
        *memory = data;
        return status;
    }
    *memory = hone_allocate(context, size);
    return *memory == NULL ? hone_fail_memory(error, size, "states") : HONE_OK;
}

void hone_state_give_back(const hone_context *context, struct hone_device *device, void *memory,
                          size_t size)
{
    if (device != NULL)
        hone_device_release(device, memory, size);
    else
        hone_release(context, memory, size);
}

hone_status hone_state_place(const hone_context *context, struct hone_device *device,
                             struct hone_state *state, void *memory, size_t count,
                             enum hone_format format, double initial, hone_error *error)
{
    const size_t size = count * hone_format_size(format);
    *state = (struct hone_state){
        .data = memory, .format = format, .size = size, .owner = HONE_BLOCK, .device = device};
    if (device == NULL) {
        if (initial == 0)
            memset(memory, 0, size);
        else
            fill(context, state, count, initial);
        return HONE_OK;
    }
    if (count == 0)
        return HONE_OK;
    const hone_status status = hone_device_check(
        device,
        initial == 0 ? device->target->zero(device->queue, memory, size)
                     : device->target->fill(device->queue, memory, format, initial, count),
        "a state", error);
    if (status != HONE_OK)
        *state = (struct hone_state){0};
    return status;
}

hone_status hone_state_create(const hone_context *context, struct hone_device *device,
                              struct hone_state *state, size_t count, enum hone_format format,
                              double initial, hone_error *error)
{
    char *data;
    const size_t size = count * hone_format_size(format);
    hone_status status = hone_state_memory(context, device, size, &data, error);
    if (status != HONE_OK)
        return status;
    status = hone_state_place(context, device, state, data, count, format, initial, error);
    state->owner = HONE_ALONE;
    if (status != HONE_OK)
        hone_state_give_back(context, device, data, size);
    return status;
}

void hone_state_free(const hone_context *context, struct hone_state *state)
{
    if (state->owner == HONE_ALONE)
        hone_state_give_back(context, state->device, state->data, state->size);
    *state = (struct hone_state){0};
}

static hone_status find_slot(const hone_optimizer *optimizer, int64_t index, const char *slot,
                             int *found, hone_error *error)
{
    const hone_status status = hone_check_index(optimizer, index, error);
    if (status != HONE_OK)
        return status;
    if (slot == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the name of a state is NULL");
    const struct hone_param *const param = &optimizer->params[index];
    const hone_rule *const rule = optimizer->spec->groups[param->group].rule;
    *found = hone_state_find(rule, slot);
    if (*found < 0)
        return hone_fail(error, HONE_ERROR_NAME,
                         "parameter \"%s\": rule %s has no state named \"%s\"", param->name,
                         rule->name, slot);
    return HONE_OK;
}

hone_status hone_optimizer_state(const hone_optimizer *optimizer, int64_t index, const char *slot,
                                 hone_tensor *view, hone_error *error)
{
    int k = -1;
    hone_status status = find_slot(optimizer, index, slot, &k, error);
    if (status == HONE_OK)
        status = hone_devices_settle(optimizer, error);
    if (status != HONE_OK)
        return status;
    if (view == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "view is NULL");
    const struct hone_param *const param = &optimizer->params[index];
    const struct hone_state *const state = &param->state[k];
    const hone_dtype dtype = hone_format_dtype(
        state->data != NULL ? state->format : hone_state_format(optimizer, param, k));
    if (state->data == NULL || (param->fresh >> k & 1u) != 0)
        *view = (hone_tensor){.dtype = dtype};
    else
        *view = hone_tensor_view(state->data, dtype,
                                 param->tensor.ndim + (param->reals == 2 ? 1 : 0), param->shape);
    view->device = param->tensor.device;
    view->device_index = param->tensor.device_index;
    return HONE_OK;
}

static bool fits(const struct hone_param *param, const hone_tensor *values)
{
    if (values->ndim != param->tensor.ndim + (param->reals == 2 ? 1 : 0))
        return false;
    for (int32_t i = 0; i < values->ndim; i++)
        if (values->shape[i] != param->shape[i])
            return false;
    return true;
}

/* By way of double, which holds every value of every format. */
static void convert(const hone_context *context, struct hone_state *to, const void *from,
                    enum hone_format format, size_t count)
{
    const struct hone_support_kernels *const support = context->cpu->support;
    double tile[512];
    const size_t tile_count = sizeof tile / sizeof tile[0];
    for (size_t first = 0; first < count; first += tile_count) {
        const size_t n = count - first < tile_count ? count - first : tile_count;
        support->widen_f64[format](tile, (const char *)from + first * hone_format_size(format), n);
        support->narrow_f64[to->format]((char *)to->data + first * hone_format_size(to->format),
                                        tile, n);
    }
}

hone_status hone_state_fetch(const struct hone_state *state, void *to, hone_error *error)
{
    if (state->device != NULL)
        return hone_device_download(state->device, to, state->data, state->size, "a state", error);
    if (state->size > 0)
        memcpy(to, state->data, state->size);
    return HONE_OK;
}

hone_status hone_state_send(const struct hone_state *state, const void *from, hone_error *error)
{
    if (state->device != NULL)
        return hone_device_upload(state->device, state->data, from, state->size, "a state", error);
    if (state->size > 0)
        memcpy(state->data, from, state->size);
    return HONE_OK;
}

/* As convert, to a state on a device: converted here, in pieces. */
static hone_status convert_to_device(const hone_context *context, const struct hone_state *to,
                                     const void *from, enum hone_format format, size_t count,
                                     hone_error *error)
{
    enum { PIECE = 1 << 20 };
    const size_t size = hone_format_size(to->format);
    const size_t room = (count < PIECE ? count : PIECE) * size;
    void *const piece = hone_allocate(context, room);
    if (piece == NULL)
        return hone_fail_memory(error, room, "a state on its way to a device");
    hone_status status = HONE_OK;
    for (size_t first = 0; first < count && status == HONE_OK; first += PIECE) {
        const size_t n = count - first < PIECE ? count - first : PIECE;
        struct hone_state part = {.data = piece, .format = to->format};
        convert(context, &part, (const char *)from + first * hone_format_size(format), format, n);
        status = hone_device_upload(to->device, (char *)to->data + first * size, piece, n * size,
                                    "a state", error);
    }
    hone_release(context, piece, room);
    return status;
}

void hone_param_copy_master(const struct hone_optimizer *optimizer, struct hone_param *param)
{
    convert(optimizer->context, &param->state[HONE_STATE_MASTER], param->tensor.data, param->format,
            param->count);
}

hone_status hone_optimizer_set_state(hone_optimizer *optimizer, int64_t index, const char *slot,
                                     const hone_tensor *values, hone_error *error)
{
    int k = -1;
    hone_status status = find_slot(optimizer, index, slot, &k, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    char what[200];
    snprintf(what, sizeof what, "the new %s of \"%.120s\"", slot, param->name);
    status = hone_tensor_check(values, what, error);
    if (status != HONE_OK)
        return status;
    enum hone_format format;
    int reals;
    if (!hone_dtype_format(values->dtype, &format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s is %s; F32, F64, BF16 or F16 can be copied",
                         what, hone_dtype_name(values->dtype));
    if (!fits(param, values))
        return hone_fail(error, HONE_ERROR_SHAPE, "%s does not have the parameter's shape", what);
    struct hone_state *const state = &param->state[k];
    status = hone_devices_take_counters(optimizer, error);
    if (status != HONE_OK)
        return status;
    if (state->data == NULL) {
        status = hone_state_create(optimizer->context, param->device, state, param->count,
                                   hone_state_format(optimizer, param, k), 0, error);
        if (status != HONE_OK)
            return status;
        optimizer->plan.valid = false;
    }
    if (state->device != NULL)
        status =
            convert_to_device(optimizer->context, state, values->data, format, param->count, error);
    else
        convert(optimizer->context, state, values->data, format, param->count);
    if (status == HONE_OK)
        param->fresh &= ~(1u << k);
    return status;
}

/* What a caller's memory has to be: the slot's own shape, in a format that states can have, and no
 * part of a parameter. */
static hone_status check_memory(hone_optimizer *optimizer, const struct hone_param *param,
                                const char *slot, const hone_tensor *memory,
                                enum hone_format *format, hone_error *error)
{
    char what[200];
    snprintf(what, sizeof what, "the memory for %s of \"%.120s\"", slot, param->name);
    struct hone_device *device;
    const hone_status status = hone_device_check_tensor(optimizer, memory, what, &device, error);
    if (status != HONE_OK)
        return status;
    if (device != param->device)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s is not where the parameter is: states lie on their parameter's device",
                         what);
    int reals;
    if (!hone_dtype_format(memory->dtype, format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "%s is %s; F32, F64, BF16 or F16 can hold a state", what,
                         hone_dtype_name(memory->dtype));
    if (!fits(param, memory))
        return hone_fail(error, HONE_ERROR_SHAPE, "%s does not have the parameter's shape", what);
    const size_t size = hone_tensor_bytes(memory);
    const int64_t other = size == 0 ? -1 : hone_overlapping(optimizer, memory->data, size, -1);
    if (other >= 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s overlaps the memory of parameter \"%.120s\"", what,
                         optimizer->params[other].name);
    return HONE_OK;
}

hone_status hone_optimizer_bind_state(hone_optimizer *optimizer, int64_t index, const char *slot,
                                      const hone_tensor *memory, bool adopt, hone_error *error)
{
    int k = -1;
    hone_status status = find_slot(optimizer, index, slot, &k, error);
    if (status != HONE_OK)
        return status;
    struct hone_param *const param = &optimizer->params[index];
    const hone_rule *const rule = optimizer->spec->groups[param->group].rule;
    struct hone_state *const state = &param->state[k];
    struct hone_state bound = {0};
    if (memory != NULL) {
        status = check_memory(optimizer, param, slot, memory, &bound.format, error);
        if (status != HONE_OK)
            return status;
        bound.data = memory->data != NULL ? memory->data : param->shape; /* empty, yet there */
        bound.size = hone_tensor_bytes(memory);
        bound.owner = HONE_CALLER;
        bound.device = param->device;
    }
    status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK && memory != NULL && !adopt && param->count > 0) {
        const double initial = k < rule->slot_count ? rule->slots[k].initial : 0;
        struct hone_state filled = bound;
        status = hone_state_place(optimizer->context, param->device, &filled, bound.data,
                                  param->count, bound.format, initial, error);
    }
    if (status != HONE_OK)
        return status;
    hone_state_free(optimizer->context, state);
    *state = bound;
    param->fresh &= ~(1u << k);
    if (memory != NULL && !adopt)
        param->fresh |= 1u << k;
    optimizer->bound_changed = true;
    optimizer->plan.valid = false;
    return HONE_OK;
}

/* ---- callers' memory ------------------------------------------------------------------------- */

/* A state in the caller's memory. */
struct bound {
    uintptr_t begin, end;
    const struct hone_param *param;
    const char *slot;
};

static int compare_addresses(const void *a, const void *b)
{
    const struct bound *const one = a, *const other = b;
    return one->begin < other->begin ? -1 : one->begin > other->begin;
}

/* Writes the optimizer's bound states that have elements to `list`, or only counts them (NULL). */
static size_t list_bound(const hone_optimizer *optimizer, struct bound *list)
{
    size_t count = 0;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        for (int k = 0; k < HONE_STATE_COUNT; k++) {
            const struct hone_state *const state = &param->state[k];
            if (state->owner != HONE_CALLER || state->size == 0)
                continue;
            const uintptr_t begin = (uintptr_t)state->data;
            if (list != NULL)
                list[count] =
                    (struct bound){begin, begin + state->size, param,
                                   hone_state_name(optimizer->spec->groups[param->group].rule, k)};
            count++;
        }
    }
    return count;
}

static hone_status check_sorted(const hone_optimizer *optimizer, const struct bound *list,
                                size_t count, hone_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct bound *const one = &list[i];
        const int64_t param =
            hone_overlapping(optimizer, (const void *)one->begin, one->end - one->begin, -1);
        if (param >= 0)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "the memory for %s of \"%.120s\" overlaps the memory of parameter "
                             "\"%.120s\", which came there later",
                             one->slot, one->param->name, optimizer->params[param].name);
        if (i > 0 && one->begin < list[i - 1].end)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "the memory for %s of \"%.120s\" overlaps that for %s of \"%.120s\"",
                             one->slot, one->param->name, list[i - 1].slot,
                             list[i - 1].param->name);
    }
    return HONE_OK;
}

hone_status hone_check_bound(hone_optimizer *optimizer, hone_error *error)
{
    if (!optimizer->bound_changed && !optimizer->ranges_changed)
        return HONE_OK;
    const size_t count = list_bound(optimizer, NULL), size = count * sizeof(struct bound);
    if (count > 0) {
        struct bound *const list = hone_allocate(optimizer->context, size);
        if (list == NULL)
            return hone_fail_memory(error, size, "the addresses of states");
        list_bound(optimizer, list);
        qsort(list, count, sizeof *list, compare_addresses);
        const hone_status status = check_sorted(optimizer, list, count, error);
        hone_release(optimizer->context, list, size);
        if (status != HONE_OK)
            return status;
    }
    optimizer->bound_changed = false;
    return HONE_OK;
}

uint64_t hone_optimizer_state_bytes(const hone_optimizer *optimizer)
{
    uint64_t bytes = 0;
    for (int64_t i = 0; i < hone_optimizer_count(optimizer); i++)
        for (int k = 0; k < HONE_STATE_COUNT; k++)
            if (optimizer->params[i].state[k].owner != HONE_CALLER)
                bytes += optimizer->params[i].state[k].size;
    return bytes;
}
