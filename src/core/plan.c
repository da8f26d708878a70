/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a step: all tensors that have a gradient, cut into chunks, in one flat list. Built
 * when something changed, then used as it is by every step. */
#include <string.h>

#include "core/device.h"
#include "core/optimizer_internal.h"

void hone_plan_free(const hone_context *context, struct hone_plan *plan)
{
    hone_release(context, plan->tensors, sizeof *plan->tensors * plan->tensor_capacity);
    hone_release(context, plan->chunks, sizeof *plan->chunks * plan->chunk_capacity);
    hone_release(context, plan->scalars, sizeof *plan->scalars * plan->scalars_capacity);
    hone_release(context, plan->shares, sizeof *plan->shares * plan->shares_capacity);
    hone_matrix_plan_free(context, &plan->matrix);
    const size_t groups = (size_t)plan->group_capacity;
    hone_release(context, plan->last_key, sizeof *plan->last_key * groups);
    hone_release(context, plan->last_scalars, sizeof *plan->last_scalars * groups);
    hone_release(context, plan->has_last, sizeof *plan->has_last * groups);
    *plan = (struct hone_plan){0};
}

hone_status hone_plan_reserve(const hone_context *context, void **array, size_t *capacity,
                              size_t needed, size_t size, hone_error *error)
{
    if (needed <= *capacity)
        return HONE_OK;
    void *const grown = hone_allocate(context, needed * size);
    if (grown == NULL)
        return hone_fail_memory(error, needed * size, "the plan of a step");
    hone_release(context, *array, *capacity * size);
    *array = grown;
    *capacity = needed;
    return HONE_OK;
}

static hone_status reserve_groups(const hone_context *context, struct hone_plan *plan, int groups,
                                  hone_error *error)
{
    if (groups <= plan->group_capacity)
        return HONE_OK;
    const size_t n = (size_t)groups, old = (size_t)plan->group_capacity;
    struct hone_scalars_key *const key = hone_allocate(context, sizeof *key * n);
    size_t *const scalars = hone_allocate(context, sizeof *scalars * n);
    bool *const has = hone_allocate(context, sizeof *has * n);
    if (key == NULL || scalars == NULL || has == NULL) {
        hone_release(context, key, sizeof *key * n);
        hone_release(context, scalars, sizeof *scalars * n);
        hone_release(context, has, sizeof *has * n);
        return hone_fail_memory(error, sizeof *key * n, "the plan of a step");
    }
    hone_release(context, plan->last_key, sizeof *plan->last_key * old);
    hone_release(context, plan->last_scalars, sizeof *plan->last_scalars * old);
    hone_release(context, plan->has_last, sizeof *plan->has_last * old);
    plan->last_key = key;
    plan->last_scalars = scalars;
    plan->has_last = has;
    plan->group_capacity = groups;
    return HONE_OK;
}

static size_t chunks_of(size_t count)
{
    return (count + HONE_CHUNK - 1) / HONE_CHUNK;
}

bool hone_param_is_stepped(const struct hone_param *param)
{
    return param->has_grad || param->pending;
}

/* Shares of a norm are kept here only where the host adds some of them up. */
static hone_status reserve_all(struct hone_optimizer *optimizer, hone_error *error)
{
    size_t tensors = 0, chunks = 0, shares = 0;
    const struct hone_device *first = NULL;
    bool several = false;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        if (!hone_param_is_stepped(param))
            continue;
        several = several || (tensors > 0 && param->device != first);
        first = param->device;
        tensors++;
        chunks += param->device == NULL ? chunks_of(param->count) : 0;
        shares += chunks_of(param->count);
    }
    if (first != NULL && !several)
        shares = 0;
    struct hone_plan *const plan = &optimizer->plan;
    const hone_context *const context = optimizer->context;
    void *array[4] = {plan->tensors, plan->chunks, plan->scalars, plan->shares};
    hone_status status = hone_plan_reserve(context, &array[0], &plan->tensor_capacity, tensors,
                                           sizeof *plan->tensors, error);
    if (status == HONE_OK)
        status = hone_plan_reserve(context, &array[1], &plan->chunk_capacity, chunks,
                                   sizeof *plan->chunks, error);
    if (status == HONE_OK)
        status = hone_plan_reserve(context, &array[2], &plan->scalars_capacity, tensors,
                                   sizeof *plan->scalars, error);
    if (status == HONE_OK)
        status = hone_plan_reserve(context, &array[3], &plan->shares_capacity, shares,
                                   sizeof *plan->shares, error);
    plan->tensors = array[0];
    plan->chunks = array[1];
    plan->scalars = array[2];
    plan->shares = array[3];
    if (status == HONE_OK)
        status = reserve_groups(context, plan, optimizer->spec->group_count, error);
    return status;
}

static bool missing_state(const struct hone_optimizer *optimizer, const struct hone_param *param,
                          int state)
{
    return hone_param_is_stepped(param) && param->state[state].data == NULL &&
           hone_param_needs_state(optimizer, param, state);
}

#define ALL_STATES ((1u << HONE_STATE_COUNT) - 1)

/* Frees what create_states made before it failed. */
static void undo_states(struct hone_optimizer *optimizer)
{
    for (int64_t i = 0; i < optimizer->count; i++) {
        struct hone_param *const param = &optimizer->params[i];
        for (int k = 0; k < HONE_STATE_COUNT; k++)
            if ((param->fresh >> (HONE_STATE_COUNT + k) & 1u) != 0)
                hone_state_free(optimizer->context, &param->state[k]);
        param->fresh &= ALL_STATES;
    }
}

/* States below this many bytes share a block: thousands of small tensors then stream like a large one,
 * on huge pages where the system has them. */
#define SMALL_STATE ((size_t)1 << 20)
#define STATE_ALIGNMENT ((size_t)64)

static size_t state_bytes(const struct hone_optimizer *optimizer, const struct hone_param *param,
                          int k)
{
    return param->count * hone_format_size(hone_state_format(optimizer, param, k));
}

/* Never 0: an empty state has a place of its own too. On a device, whose memory is counted, no more than
 * aligned; on the host always some more. */
static size_t padded(size_t size, const struct hone_device *device)
{
    const size_t more = device == NULL ? STATE_ALIGNMENT : STATE_ALIGNMENT - 1;
    const size_t room = (size + more) / STATE_ALIGNMENT * STATE_ALIGNMENT;
    return room == 0 ? STATE_ALIGNMENT : room;
}

/* Whether state k of a parameter goes into the block of its device (NULL: the host) in this round. */
static bool is_small(const struct hone_optimizer *optimizer, const struct hone_param *param, int k,
                     const struct hone_device *device)
{
    return param->device == device && missing_state(optimizer, param, k) &&
           state_bytes(optimizer, param, k) < SMALL_STATE;
}

/* A block for all small states that are missing; NULL in `*next` when there are none. */
static hone_status reserve_block(struct hone_optimizer *optimizer, struct hone_device *device,
                                 char **next, hone_error *error)
{
    const hone_context *const context = optimizer->context;
    size_t size = 0;
    for (int64_t i = 0; i < optimizer->count; i++)
        for (int k = 0; k < HONE_STATE_COUNT; k++)
            if (is_small(optimizer, &optimizer->params[i], k, device))
                size += padded(state_bytes(optimizer, &optimizer->params[i], k), device);
    *next = NULL;
    if (size == 0)
        return HONE_OK;
    if (optimizer->block_count == optimizer->block_capacity) {
        const size_t capacity = optimizer->block_capacity * 2 + 4;
        const size_t entry = sizeof *optimizer->blocks;
        void *const grown = hone_reallocate(context, optimizer->blocks,
                                            entry * optimizer->block_capacity, entry * capacity);
        if (grown == NULL)
            return hone_fail_memory(error, entry * capacity, "the list of state blocks");
        optimizer->blocks = grown;
        optimizer->block_capacity = capacity;
    }
    const hone_status status = hone_state_memory(context, device, size, next, error);
    if (status == HONE_OK)
        optimizer->blocks[optimizer->block_count++] = (struct hone_block){*next, size, device};
    return status;
}

static hone_status create_state(struct hone_optimizer *optimizer, struct hone_param *param, int k,
                                char **next, hone_error *error)
{
    const hone_rule *const rule = optimizer->spec->groups[param->group].rule;
    const double initial = k < rule->slot_count ? rule->slots[k].initial : 0;
    const enum hone_format format = hone_state_format(optimizer, param, k);
    hone_status status = HONE_OK;
    if (is_small(optimizer, param, k, param->device)) {
        char *const memory = *next;
        *next += padded(state_bytes(optimizer, param, k), param->device);
        status = hone_state_place(optimizer->context, param->device, &param->state[k], memory,
                                  param->count, format, initial, error);
    } else {
        status = hone_state_create(optimizer->context, param->device, &param->state[k],
                                   param->count, format, initial, error);
    }
    if (status == HONE_OK)
        param->fresh |= 1u << (HONE_STATE_COUNT + k);
    return status;
}

/* Slot by slot and then parameter by parameter, so that in a block each slot's states of neighbouring
 * parameters are neighbours: the order in which a step reads them. */
static hone_status create_on(struct hone_optimizer *optimizer, struct hone_device *device,
                             hone_error *error)
{
    char *next;
    hone_status status = reserve_block(optimizer, device, &next, error);
    for (int k = 0; k < HONE_STATE_COUNT; k++)
        for (int64_t i = 0; i < optimizer->count && status == HONE_OK; i++)
            if (optimizer->params[i].device == device &&
                missing_state(optimizer, &optimizer->params[i], k))
                status = create_state(optimizer, &optimizer->params[i], k, &next, error);
    return status;
}

static hone_status create_missing(struct hone_optimizer *optimizer, hone_error *error)
{
    const struct hone_devices *const devices = optimizer->devices;
    const size_t blocks = optimizer->block_count;
    hone_status status = create_on(optimizer, NULL, error);
    for (int i = 0; devices != NULL && i < devices->count && status == HONE_OK; i++)
        status = create_on(optimizer, devices->list[i], error);
    if (status == HONE_OK)
        return HONE_OK;
    undo_states(optimizer);
    while (optimizer->block_count > blocks) {
        const struct hone_block *const block = &optimizer->blocks[--optimizer->block_count];
        hone_state_give_back(optimizer->context, block->device, block->memory, block->size);
    }
    return status;
}

/* Creates every state that a step will need. While it runs, bits HONE_STATE_COUNT + k of `fresh`
 * mark the states made by this call. */
static hone_status create_states(struct hone_optimizer *optimizer, hone_error *error)
{
    const hone_status status = create_missing(optimizer, error);
    for (int64_t i = 0; i < optimizer->count && status == HONE_OK; i++) {
        const uint32_t fresh = optimizer->params[i].fresh;
        optimizer->params[i].fresh = (fresh | fresh >> HONE_STATE_COUNT) & ALL_STATES;
    }
    return status;
}

/* ---- choosing kernels ----------------------------------------------------------------------- */

struct direct {
    int index;
    enum hone_format param, grad, slot;
    enum hone_extra extra;
    enum hone_format cast;
};

#define DIRECT(index, P, G, S, E, C) \
    {index, HONE_FORMAT_##P, HONE_FORMAT_##G, HONE_FORMAT_##S, HONE_EXTRA_##E, HONE_FORMAT_##C},
static const struct direct direct_f32[] = {HONE_DIRECT_F32(DIRECT)};
static const struct direct direct_f64[] = {HONE_DIRECT_F64(DIRECT)};
#undef DIRECT

int hone_find_direct(const struct hone_stage *stage, const struct hone_chunk *base)
{
    const bool wide = stage->param == HONE_FORMAT_F64;
    const struct direct *const list = wide ? direct_f64 : direct_f32;
    const size_t count =
        wide ? sizeof direct_f64 / sizeof direct_f64[0] : sizeof direct_f32 / sizeof direct_f32[0];
    for (size_t i = 0; i < count; i++) {
        bool same = list[i].param == stage->param && list[i].grad == stage->grad &&
                    list[i].extra == stage->extra &&
                    (stage->extra != HONE_EXTRA_MASTER || list[i].cast == stage->cast);
        for (int k = 0; k < stage->slot_count; k++)
            same = same && (base->slot[k] == NULL || list[i].slot == stage->slot[k]);
        if (same)
            return list[i].index;
    }
    return -1;
}

static void choose_kernel(const struct hone_optimizer *optimizer, const struct hone_group *group,
                          struct hone_plan_tensor *tensor)
{
    const struct hone_cpu_level *const cpu = optimizer->context->cpu;
    const bool wide = tensor->stage.param == HONE_FORMAT_F64;
    const struct hone_rule_kernels *const kernels =
        (wide ? cpu->f64 : cpu->f32)[hone_rule_index(group->rule)];
    const int variant = hone_group_variant(group);
    const int direct = hone_find_direct(&tensor->stage, &tensor->base);
    tensor->stage.support = cpu->support;
    tensor->stage.kernel = kernels->step[0][variant][tensor->form];
    tensor->kernel = direct < 0 ? NULL : kernels->step[direct][variant][tensor->form];
}

/* A matrix tensor is stepped in two passes: the rule's directions, and the frame around what the matrix
 * makes of them. */
static void choose_matrix_kernels(const struct hone_optimizer *optimizer,
                                  const struct hone_group *group, struct hone_plan_tensor *tensor)
{
    const struct hone_cpu_level *const cpu = optimizer->context->cpu;
    const bool wide = tensor->stage.param == HONE_FORMAT_F64;
    const int rule = hone_rule_index(group->rule);
    const struct hone_rule_kernels *const move = wide ? cpu->move_f64 : cpu->move_f32;
    tensor->stage.support = cpu->support;
    tensor->direction = tensor->stage;
    tensor->direction.extra = HONE_EXTRA_NONE; /* no direction reads the parameter */
    tensor->direction.kernel = (wide ? cpu->f64 : cpu->f32)[rule]->direction[0];
    tensor->move = tensor->stage;
    tensor->move.grad = wide ? HONE_FORMAT_F64 : HONE_FORMAT_F32;
    tensor->move.slot_count = 0;
    tensor->move.kernel = move->step[0][0][tensor->form];
    const int direct = hone_find_direct(&tensor->move, &tensor->base);
    tensor->kernel = direct < 0 ? NULL : move->step[direct][0][tensor->form];
}

/* The parameter, or its master with the parameter beside it. */
static void fill_param(const struct hone_optimizer *optimizer, const struct hone_param *param,
                       struct hone_plan_tensor *tensor)
{
    const struct hone_group *const group = &optimizer->spec->groups[param->group];
    struct hone_stage *const stage = &tensor->stage;
    tensor->base.param = param->tensor.data;
    stage->param = param->format;
    if (hone_param_needs_state(optimizer, param, HONE_STATE_MASTER)) {
        stage->extra = HONE_EXTRA_MASTER;
        stage->cast = param->format;
        stage->param = HONE_FORMAT_F32;
        tensor->base.param = param->state[HONE_STATE_MASTER].data;
        tensor->base.extra = param->tensor.data;
    } else if (hone_param_needs_state(optimizer, param, HONE_STATE_KAHAN)) {
        stage->extra = HONE_EXTRA_KAHAN;
        tensor->base.extra = param->state[HONE_STATE_KAHAN].data;
    } else if (group->precision == HONE_PRECISION_STOCHASTIC &&
               hone_format_size(param->format) == 2) {
        stage->extra = HONE_EXTRA_STOCHASTIC;
    }
    tensor->param_size = hone_format_size(stage->param);
}

/* This call's gradient, or the sum it will be added to. */
static void fill_grad(const struct hone_optimizer *optimizer, const struct hone_param *param,
                      struct hone_plan_tensor *tensor)
{
    tensor->base.grad = param->grad;
    tensor->stage.grad = param->grad_format;
    if (optimizer->spec->accumulate > 1) {
        const struct hone_state *const sum = &param->state[HONE_STATE_ACCUMULATED];
        tensor->source = param->has_grad ? param->grad : NULL;
        tensor->source_format = param->grad_format;
        tensor->base.grad = sum->data;
        tensor->stage.grad = sum->format;
    }
    tensor->grad_size = hone_format_size(tensor->stage.grad);
}

static void fill_tensor(const struct hone_optimizer *optimizer, int64_t index,
                        struct hone_plan_tensor *tensor)
{
    const struct hone_param *const param = &optimizer->params[index];
    const struct hone_group *const group = &optimizer->spec->groups[param->group];
    memset(tensor, 0, sizeof *tensor);
    tensor->param = index;
    tensor->form = param->mask == NULL ? HONE_FORM_DENSE : HONE_FORM_MASKED;
    tensor->base.mask = param->mask;
    fill_param(optimizer, param, tensor);
    fill_grad(optimizer, param, tensor);
    tensor->stage.slot_count = group->rule->slot_count;
    for (int k = 0; k < group->rule->slot_count; k++) {
        if (!hone_group_needs_slot(group, k))
            continue;
        tensor->base.slot[k] = param->state[k].data;
        tensor->stage.slot[k] = param->state[k].format;
        tensor->slot_size[k] = hone_format_size(param->state[k].format);
    }
    tensor->matrix = group->rule->matrix;
    tensor->device = param->device;
    if (tensor->device != NULL)
        return;
    if (tensor->matrix)
        choose_matrix_kernels(optimizer, group, tensor);
    else
        choose_kernel(optimizer, group, tensor);
}

void hone_plan_move_grad(struct hone_optimizer *optimizer, const struct hone_param *param)
{
    struct hone_plan_tensor *const tensor = &optimizer->plan.tensors[param->planned];
    fill_grad(optimizer, param, tensor);
    if (tensor->device != NULL)
        hone_device_move_grad(tensor->device, tensor);
}

static void append_chunks(struct hone_plan *plan, size_t tensor, size_t count)
{
    for (size_t first = 0; first < count; first += HONE_CHUNK) {
        const size_t n = count - first < HONE_CHUNK ? count - first : HONE_CHUNK;
        plan->chunks[plan->chunk_count++] =
            (struct hone_plan_chunk){.tensor = tensor,
                                     .first = first,
                                     .n = n,
                                     .before = plan->elements,
                                     .share = plan->share_count + first / HONE_CHUNK};
        plan->elements += n;
    }
}

/* A new plan allocates and copies, which a graph cannot hold. */
static hone_status check_not_capturing(const struct hone_optimizer *optimizer, hone_error *error)
{
    const struct hone_devices *const devices = optimizer->devices;
    for (int i = 0; devices != NULL && i < devices->count; i++) {
        bool capturing;
        const hone_status status = hone_device_inspect(devices->list[i], &capturing, error);
        if (status != HONE_OK)
            return status;
        if (capturing)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "device %d: parameters, gradients, groups or masks have changed since "
                             "the last step, and a graph is being captured; call "
                             "hone_optimizer_prepare before the capture",
                             devices->list[i]->queue.device);
    }
    return HONE_OK;
}

hone_status hone_plan_update(struct hone_optimizer *optimizer, hone_error *error)
{
    struct hone_plan *const plan = &optimizer->plan;
    if (plan->valid)
        return HONE_OK;
    hone_status status = hone_check_bound(optimizer, error);
    if (status == HONE_OK)
        status = hone_check_grads(optimizer, error);
    if (status == HONE_OK)
        status = check_not_capturing(optimizer, error);
    if (status == HONE_OK)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        status = reserve_all(optimizer, error);
    if (status == HONE_OK)
        status = hone_matrix_plan(optimizer, error);
    if (status == HONE_OK)
        status = create_states(optimizer, error);
    if (status != HONE_OK)
        return status;
    plan->tensor_count = plan->host_count = plan->chunk_count = plan->share_count = 0;
    plan->elements = 0;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        if (!hone_param_is_stepped(param))
            continue;
        fill_tensor(optimizer, i, &plan->tensors[plan->tensor_count]);
        optimizer->params[i].planned = plan->tensor_count;
        if (param->device == NULL) {
            append_chunks(plan, plan->tensor_count, param->count);
            plan->host_count++;
        }
        plan->share_count += chunks_of(param->count);
        plan->tensor_count++;
    }
    for (int i = 0; optimizer->devices != NULL && i < optimizer->devices->count; i++) {
        status = hone_device_plan(optimizer, optimizer->devices->list[i], error);
        if (status != HONE_OK)
            return status;
    }
    plan->valid = true;
    return HONE_OK;
}

hone_status hone_optimizer_prepare(hone_optimizer *optimizer, hone_error *error)
{
    hone_status status = hone_check_optimizer(optimizer, error);
    if (status == HONE_OK)
        status = hone_plan_update(optimizer, error);
    return status == HONE_OK ? hone_devices_ready(optimizer, error) : status;
}
