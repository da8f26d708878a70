/* SPDX-License-Identifier: Apache-2.0 */
/* A device's part of the plan: the list of its tensors in device memory, grouped by the kernel that
 * steps them, and the classes of tensors that share their scalars and count together. */
#include <math.h>
#include <string.h>

#include "core/device.h"

#define ALIGNMENT ((size_t)256)

static size_t padded(size_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t chunks_of(size_t count)
{
    return (count + HONE_CHUNK - 1) / HONE_CHUNK;
}

/* Room for `needed` elements on the host; contents are kept. */
static hone_status grow(const hone_context *context, void **array, size_t *capacity, size_t needed,
                        size_t size, hone_error *error)
{
    if (needed <= *capacity)
        return HONE_OK;
    const size_t larger = needed + *capacity / 2;
    void *const grown = hone_reallocate(context, *array, *capacity * size, larger * size);
    if (grown == NULL)
        return hone_fail_memory(error, larger * size, "the plan of a device");
    *array = grown;
    *capacity = larger;
    return HONE_OK;
}

/* Room for `size` bytes on the device; contents are not kept. */
hone_status hone_device_reserve(struct hone_device *device, struct hone_device_memory *memory,
                                size_t size, const char *what, hone_error *error)
{
    if (size <= memory->size)
        return HONE_OK;
    void *data;
    const hone_status status = hone_device_allocate(device, size, &data, what, error);
    if (status != HONE_OK)
        return status;
    hone_device_release(device, memory->data, memory->size);
    device->bytes += size - memory->size;
    *memory = (struct hone_device_memory){data, size};
    return HONE_OK;
}

/* ---- classes ---------------------------------------------------------------------------------- */

static bool same_class(const struct hone_device_class *a, const struct hone_device_class *b)
{
    return a->step == b->step && a->multiplier == b->multiplier && a->fresh == b->fresh &&
           a->group == b->group && a->masked == b->masked;
}

/* Tensors of one class are mostly neighbours or few classes apart: the last one used by the group is
 * looked at first, then all. More than this many are not searched but added. */
#define SEARCHED 64

static hone_status class_of(struct hone_device *device, const struct hone_device_class *wanted,
                            uint32_t *found, hone_error *error)
{
    const size_t count = device->class_count;
    for (size_t i = count; i > 0 && count - i < SEARCHED; i--)
        if (same_class(&device->classes[i - 1], wanted)) {
            *found = (uint32_t)(i - 1);
            return HONE_OK;
        }
    void *array = device->classes;
    const hone_status status = grow(device->context, &array, &device->class_capacity,
                                    device->class_count + 1, sizeof *device->classes, error);
    device->classes = array;
    if (status != HONE_OK)
        return status;
    *found = (uint32_t)device->class_count;
    device->classes[device->class_count++] = *wanted;
    return HONE_OK;
}

static hone_status find_classes(hone_optimizer *optimizer, struct hone_device *device,
                                hone_error *error)
{
    device->class_count = 0;
    for (size_t i = 0; i < device->member_count; i++) {
        struct hone_device_member *const member = &device->members[i];
        const struct hone_param *const param = &optimizer->params[member->param];
        const struct hone_device_class wanted = {.step = param->step,
                                                 .multiplier = param->multiplier,
                                                 .fresh = param->fresh,
                                                 .group = (uint32_t)param->group & 0x7fffffffu,
                                                 .masked = param->mask != NULL};
        const hone_status status = class_of(device, &wanted, &member->class_index, error);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

/* ---- the list of tensors ---------------------------------------------------------------------- */

static uint32_t places_of(const struct hone_plan_tensor *tensor, int variant)
{
    const struct hone_stage *const stage = &tensor->stage;
    uint32_t places = hone_place_bits(HONE_PLACE_PARAM, (int)stage->param) |
                      hone_place_bits(HONE_PLACE_GRAD, (int)stage->grad) |
                      hone_place_bits(HONE_PLACE_CAST, (int)stage->cast) |
                      hone_place_bits(HONE_PLACE_EXTRA, (int)stage->extra) |
                      hone_place_bits(HONE_PLACE_VARIANT, variant);
    for (int k = 0; k < HONE_MAX_SLOTS; k++)
        places |= hone_place_bits(HONE_PLACE_SLOT + k, (int)stage->slot[k]);
    return places;
}

static struct hone_device_tensor describe(const hone_optimizer *optimizer,
                                          const struct hone_plan_tensor *tensor)
{
    const struct hone_param *const param = &optimizer->params[tensor->param];
    struct hone_device_tensor out = {
        .param = tensor->base.param,
        .grad = tensor->base.grad,
        .mask = param->mask == NULL ? NULL : param->device_mask.data,
        .extra = tensor->base.extra,
        .count = param->count,
        .places = places_of(tensor, hone_group_variant(&optimizer->spec->groups[param->group]))};
    if (tensor->stage.extra == HONE_EXTRA_STOCHASTIC)
        out.noise = hone_noise_of_name(optimizer->context->seed, param->name);
    for (int k = 0; k < HONE_MAX_SLOTS; k++)
        out.slot[k] = tensor->base.slot[k];
    return out;
}

/* A tensor on the way into the list. */
struct entry {
    struct hone_device_tensor tensor;
    struct hone_device_source source;
    struct hone_device_share share;
    uint32_t *listed; /* the plan's note of where it goes */
    uint32_t bucket;
};

static bool same_bucket(const struct hone_device_bucket *a, const struct hone_device_bucket *wanted)
{
    return a->rule == wanted->rule && a->direct == wanted->direct && a->wide == wanted->wide &&
           (wanted->rows == 0 || hone_device_matrix_fits(a, wanted));
}

static hone_status bucket_of(hone_optimizer *optimizer, struct hone_device *device,
                             const struct hone_plan_tensor *tensor, uint32_t *found,
                             hone_error *error)
{
    const struct hone_group *const group =
        &optimizer->spec->groups[optimizer->params[tensor->param].group];
    struct hone_device_bucket wanted = {.rule = hone_rule_index(group->rule),
                                        .direct = hone_find_direct(&tensor->stage, &tensor->base),
                                        .wide = tensor->stage.param == HONE_FORMAT_F64};
    hone_status status = HONE_OK;
    if (tensor->matrix)
        status = hone_device_matrix_bucket(optimizer, device, tensor, &wanted, error);
    if (status != HONE_OK)
        return status;
    for (size_t i = 0; i < device->bucket_count; i++)
        if (same_bucket(&device->buckets[i], &wanted)) {
            device->buckets[i].batch += wanted.batch;
            *found = (uint32_t)i;
            return HONE_OK;
        }
    void *array = device->buckets;
    status = grow(device->context, &array, &device->bucket_capacity, device->bucket_count + 1,
                  sizeof *device->buckets, error);
    device->buckets = array;
    if (status != HONE_OK)
        return status;
    *found = (uint32_t)device->bucket_count;
    device->buckets[device->bucket_count++] = wanted;
    return HONE_OK;
}

/* The plan's tensors of this device, in the plan's order, and how many chunks come before them in
 * the whole plan. */
static hone_status collect(hone_optimizer *optimizer, struct hone_device *device,
                           struct entry *entries, hone_error *error)
{
    const struct hone_plan *const plan = &optimizer->plan;
    size_t member = 0, before = 0, own = 0;
    device->tensor_count = device->bucket_count = 0;
    device->fresh_masters = false;
    for (size_t i = 0; i < plan->tensor_count; i++) {
        const struct hone_plan_tensor *const tensor = &plan->tensors[i];
        const struct hone_param *const param = &optimizer->params[tensor->param];
        const size_t chunks = chunks_of(param->count);
        if (tensor->device == device) {
            device->fresh_masters =
                device->fresh_masters || (param->fresh >> HONE_STATE_MASTER & 1u) != 0;
            if (param->count > 0) {
                struct entry *const entry = &entries[device->tensor_count];
                entry->tensor = describe(optimizer, tensor);
                entry->tensor.scalars = device->members[member].class_index;
                entry->tensor.share = (uint32_t)own;
                entry->listed = &optimizer->plan.tensors[i].listed;
                entry->share = (struct hone_device_share){own, before, chunks};
                entry->source =
                    (struct hone_device_source){tensor->source, (uint32_t)tensor->source_format};
                const hone_status status =
                    bucket_of(optimizer, device, tensor, &entry->bucket, error);
                if (status != HONE_OK)
                    return status;
                device->tensor_count++;
                own += chunks;
            }
            member++;
        }
        before += chunks;
    }
    if (own > INT32_MAX)
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "device %d would step %zu chunks of %d elements; at most 2^31 - 1 fit one "
                         "launch",
                         device->queue.device, own, HONE_CHUNK);
    device->chunk_count = own;
    return HONE_OK;
}

/* Where everything lies in the tables' memory. */
struct layout {
    size_t first, sources, moves, end;
};

static bool has_matrices(const struct hone_device *device)
{
    bool any = false;
    for (size_t i = 0; i < device->bucket_count; i++)
        any = any || device->buckets[i].rows > 0;
    return any;
}

static struct layout lay_out(const hone_optimizer *optimizer, const struct hone_device *device)
{
    const bool accumulates = optimizer->spec->accumulate > 1;
    struct layout at;
    at.first = padded(sizeof *device->tensors * device->tensor_count);
    at.sources = at.first + padded(sizeof *device->first * device->tensor_count);
    at.moves =
        at.sources + (accumulates ? padded(sizeof *device->sources * device->tensor_count) : 0);
    at.end = at.moves +
             (has_matrices(device) ? padded(sizeof *device->moves * device->tensor_count) : 0);
    return at;
}

/* Sorts the entries by bucket into the image of the tables. */
static void fill_image(struct hone_device *device, const struct entry *entries, char *image,
                       const struct layout *at)
{
    struct hone_device_tensor *const tensors = (void *)image;
    uint32_t *const first = (void *)(image + at->first);
    struct hone_device_source *const sources = (void *)(image + at->sources);
    struct hone_device_tensor *const moves = (void *)(image + at->moves);
    uint32_t tensor = 0, chunk = 0;
    for (size_t b = 0; b < device->bucket_count; b++) {
        struct hone_device_bucket *const bucket = &device->buckets[b];
        size_t element = 0;
        bucket->tensor = tensor;
        bucket->chunk = chunk;
        for (size_t i = 0; i < device->tensor_count; i++) {
            if (entries[i].bucket != b)
                continue;
            tensors[tensor] = entries[i].tensor;
            device->share_ranges[tensor] = entries[i].share;
            *entries[i].listed = tensor;
            first[tensor] = chunk;
            if (at->moves > at->sources)
                sources[tensor] = entries[i].source;
            if (bucket->rows > 0)
                hone_device_matrix_split(device, bucket, element, &tensors[tensor], &moves[tensor]);
            element += entries[i].tensor.count;
            chunk += (uint32_t)chunks_of(entries[i].tensor.count);
            tensor++;
        }
        bucket->tensor_count = tensor - bucket->tensor;
        bucket->chunk_count = chunk - bucket->chunk;
    }
}

static hone_status send_tables(hone_optimizer *optimizer, struct hone_device *device,
                               const struct entry *entries, hone_error *error)
{
    const struct layout at = lay_out(optimizer, device);
    hone_status status =
        hone_device_reserve(device, &device->tables, at.end, "the plan of a device", error);
    if (status != HONE_OK)
        return status;
    if (at.end > device->image.size) {
        void *const image = hone_allocate(device->context, at.end);
        if (image == NULL)
            return hone_fail_memory(error, at.end, "the plan of a device");
        hone_release(device->context, device->image.data, device->image.size);
        device->image = (struct hone_device_memory){image, at.end};
    }
    char *const base = device->tables.data;
    if (at.end > 0)
        memset(device->image.data, 0, at.end);
    fill_image(device, entries, device->image.data, &at);
    device->tensors = (void *)base;
    device->first = (void *)(base + at.first);
    device->sources = at.moves > at.sources ? (void *)(base + at.sources) : NULL;
    device->moves = (void *)(base + at.moves);
    device->moved = false;
    return hone_device_upload(device, base, device->image.data, at.end, "the plan of a device",
                              error);
}

void hone_device_move_grad(struct hone_device *device, const struct hone_plan_tensor *tensor)
{
    char *const image = device->image.data;
    struct hone_device_tensor *const tensors = (void *)image;
    tensors[tensor->listed].grad = tensor->base.grad;
    if (device->sources != NULL) {
        struct hone_device_source *const sources =
            (void *)(image + ((char *)device->sources - (char *)device->tensors));
        sources[tensor->listed].grad = tensor->source;
    }
    device->moved = true;
}

/* ---- masks ------------------------------------------------------------------------------------ */

static hone_status send_mask(struct hone_device *device, struct hone_param *param,
                             hone_error *error)
{
    if (param->mask == NULL || param->device_mask.data != NULL)
        return HONE_OK;
    const size_t size = (param->count + 31) / 32 * sizeof *param->mask;
    void *words;
    hone_status status = hone_device_allocate(device, size, &words, "a mask", error);
    if (status != HONE_OK)
        return status;
    status = hone_device_upload(device, words, param->mask, size, "a mask", error);
    if (status != HONE_OK) {
        hone_device_release(device, words, size);
        return status;
    }
    param->device_mask = (struct hone_state){.data = words, .size = size, .device = device};
    return HONE_OK;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static uint32_t states_of(const hone_optimizer *optimizer, const struct hone_param *param)
{
    uint32_t states = 0;
    for (int k = 0; k < HONE_STATE_COUNT; k++)
        states |= (uint32_t)hone_param_needs_state(optimizer, param, k) << k;
    return states;
}

static hone_status list_members(hone_optimizer *optimizer, struct hone_device *device,
                                hone_error *error)
{
    const struct hone_plan *const plan = &optimizer->plan;
    size_t count = 0;
    for (size_t i = 0; i < plan->tensor_count; i++)
        count += plan->tensors[i].device == device;
    void *array = device->members;
    hone_status status = grow(device->context, &array, &device->member_capacity, count,
                              sizeof *device->members, error);
    device->members = array;
    if (status != HONE_OK)
        return status;
    array = device->share_ranges;
    status = grow(device->context, &array, &device->tensor_capacity, count,
                  sizeof *device->share_ranges, error);
    device->share_ranges = array;
    device->member_count = 0;
    for (size_t i = 0; i < plan->tensor_count && status == HONE_OK; i++) {
        if (plan->tensors[i].device != device)
            continue;
        const int64_t param = plan->tensors[i].param;
        device->members[device->member_count++] = (struct hone_device_member){
            .param = param, .states = states_of(optimizer, &optimizer->params[param])};
        status = send_mask(device, &optimizer->params[param], error);
    }
    return status;
}

/* Kernels of every bucket: the first launch of one must not be what the device has no memory for, when
 * others have stepped already. */
static hone_status load_kernels(struct hone_device *device, hone_error *error)
{
    const struct hone_device_target *const target = device->target;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < device->bucket_count && status == HONE_OK; i++) {
        const struct hone_device_bucket *const bucket = &device->buckets[i];
        status = hone_device_check(
            device, target->load(device->queue, bucket->rule, bucket->wide, bucket->direct),
            "the kernels of a step", error);
        if (status == HONE_OK && bucket->rows > 0)
            status = hone_device_check(
                device,
                target->load(device->queue, hone_rule_count(), bucket->wide, bucket->direct),
                "the kernels of a step", error);
    }
    return status;
}

/* Only where the plan has room for the shares of all places does the host add them up. */
static hone_status reserve_fetched(const hone_optimizer *optimizer, struct hone_device *device,
                                   hone_error *error)
{
    if (optimizer->plan.shares_capacity == 0)
        return HONE_OK;
    void *array = device->fetched;
    const hone_status status = grow(device->context, &array, &device->fetched_capacity,
                                    device->chunk_count, sizeof *device->fetched, error);
    device->fetched = array;
    return status;
}

hone_status hone_device_plan(hone_optimizer *optimizer, struct hone_device *device,
                             hone_error *error)
{
    hone_status status = list_members(optimizer, device, error);
    if (status == HONE_OK)
        status = find_classes(optimizer, device, error);
    if (status != HONE_OK)
        return status;
    const size_t size = sizeof(struct entry) * device->member_count;
    struct entry *const entries = hone_allocate_zeroed(device->context, size);
    if (entries == NULL)
        return hone_fail_memory(error, size, "the plan of a device");
    status = collect(optimizer, device, entries, error);
    if (status == HONE_OK)
        status = reserve_fetched(optimizer, device, error);
    if (status == HONE_OK)
        status = load_kernels(device, error);
    if (status == HONE_OK)
        status = hone_device_matrix_reserve(optimizer, device, error);
    if (status == HONE_OK)
        status = send_tables(optimizer, device, entries, error);
    if (status == HONE_OK)
        status = hone_device_matrix_try(optimizer, device, error);
    hone_release(device->context, entries, size);
    device->counts = false;
    device->classified = status == HONE_OK;
    return status;
}

/* ---- counters --------------------------------------------------------------------------------- */

static hone_status fetch(struct hone_device *device, struct hone_device_outcome *outcome,
                         hone_error *error)
{
    const size_t size = sizeof *device->classes * device->class_count;
    hone_status status = hone_device_download(device, device->classes, device->own_classes, size,
                                              "the step counters", error);
    if (status == HONE_OK)
        status = hone_device_download(device, outcome, device->outcome, sizeof *outcome,
                                      "the step counters", error);
    return status;
}

/* What a class has counted reaches its parameters, and that these steps have filled the plan's states. */
static void tell_params(const hone_optimizer *optimizer, const struct hone_device *device)
{
    for (size_t i = 0; i < device->member_count; i++) {
        struct hone_param *const param = &optimizer->params[device->members[i].param];
        const uint64_t step = device->classes[device->members[i].class_index].step;
        if (param->step != step)
            param->fresh &= ~device->members[i].states;
        param->step = step;
    }
}

/* Steps that the host leads are judged there: it has the scaler, and has counted what was skipped. */
hone_status hone_devices_settle(const hone_optimizer *constant, hone_error *error)
{
    /* What a device has counted belongs to the optimizer already; this fetches it. */
    hone_optimizer *const optimizer = (hone_optimizer *)(uintptr_t)constant;
    struct hone_devices *const devices = optimizer->devices;
    for (int i = 0; devices != NULL && i < devices->count; i++) {
        struct hone_device *const device = devices->list[i];
        if (device->counts) {
            struct hone_device_outcome outcome;
            const hone_status status = fetch(device, &outcome, error);
            if (status != HONE_OK)
                return status;
            if (hone_devices_alone(optimizer)) {
                optimizer->skipped = outcome.skipped;
                optimizer->scaler.scale = outcome.scale.scale;
                optimizer->scaler.growth_tracker = outcome.scale.growth_tracker;
            }
        }
        if (device->counts || device->ahead)
            tell_params(optimizer, device);
        device->ahead = false;
    }
    return HONE_OK;
}

hone_status hone_devices_take_counters(hone_optimizer *optimizer, hone_error *error)
{
    const hone_status status = hone_devices_settle(optimizer, error);
    for (int i = 0;
         status == HONE_OK && optimizer->devices != NULL && i < optimizer->devices->count; i++) {
        optimizer->devices->list[i]->counts = false;
        optimizer->devices->list[i]->classified = false;
    }
    return status;
}
