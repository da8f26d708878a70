/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring an optimizer from a checkpoint, in three parts: parse and match (checkpoint_parse.c,
 * checkpoint_match.c), obtain all memory, and only then change anything. */
#include <string.h>

#include "checkpoint/checkpoint_internal.h"
#include "checkpoint/text.h"
#include "core/device.h"

/* The new states of all saved parameters, HONE_STATE_COUNT for each. A slot that exists already in
 * the same format is overwritten in place and has none here; not on a device, where
 * that could fail. */
struct stage {
    struct hone_state *states;
    size_t size;
};

static bool is_saved(const struct hone_saved_param *saved, int slot)
{
    return (saved->slots >> slot & 1u) != 0;
}

static hone_status copy_state(const struct hone_state *state, const hone_file *file, int64_t tensor,
                              hone_error *error)
{
    hone_tensor view;
    hone_file_tensor(file, tensor, &view, NULL);
    return hone_state_send(state, view.data, error);
}

static void release_stage(const hone_context *context, struct stage *stage)
{
    for (size_t i = 0; i < stage->size / sizeof *stage->states; i++)
        if (stage->states[i].data != NULL)
            hone_state_free(context, &stage->states[i]);
    hone_release(context, stage->states, stage->size);
}

static hone_status stage_param(struct hone_state *states, const hone_optimizer *optimizer,
                               const struct hone_saved_param *saved, const hone_file *file,
                               hone_error *error)
{
    const struct hone_param *const param = &optimizer->params[saved->param];
    for (int k = 0; k < HONE_STATE_COUNT; k++) {
        if (!is_saved(saved, k))
            continue;
        hone_tensor view;
        enum hone_format format;
        int reals;
        hone_file_tensor(file, saved->tensor[k], &view, NULL);
        hone_dtype_format(view.dtype, &format, &reals);
        if (param->device == NULL && param->state[k].data != NULL &&
            param->state[k].format == format)
            continue;
        hone_status status = hone_state_create(optimizer->context, param->device, &states[k],
                                               param->count, format, 0, error);
        if (status == HONE_OK)
            status = copy_state(&states[k], file, saved->tensor[k], error);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

static hone_status stage_states(struct stage *stage, const hone_optimizer *optimizer,
                                const struct hone_checkpoint *checkpoint, const hone_file *file,
                                hone_error *error)
{
    stage->size = sizeof *stage->states * HONE_STATE_COUNT * checkpoint->count;
    stage->states = hone_allocate_zeroed(optimizer->context, stage->size);
    if (stage->states == NULL) {
        const size_t size = stage->size;
        stage->size = 0;
        return hone_fail_memory(error, size, "a checkpoint's states");
    }
    hone_status status = HONE_OK;
    for (size_t i = 0; i < checkpoint->count && status == HONE_OK; i++)
        status = stage_param(&stage->states[i * HONE_STATE_COUNT], optimizer,
                             &checkpoint->params[i], file, error);
    return status;
}

/* Cannot fail. Staged states move into the parameter. */
static void commit_param(hone_optimizer *optimizer, struct hone_state *states,
                         const struct hone_saved_param *saved, const hone_file *file)
{
    struct hone_param *const param = &optimizer->params[saved->param];
    for (int k = 0; k < HONE_STATE_COUNT; k++) {
        struct hone_state *const state = &param->state[k];
        if (is_saved(saved, k) && states[k].data == NULL) {
            copy_state(state, file, saved->tensor[k], NULL);
            continue;
        }
        if (state->data != NULL)
            hone_state_free(optimizer->context, state);
        *state = states[k];
        states[k] = (struct hone_state){0};
    }
    param->fresh = 0;
    param->pending = is_saved(saved, HONE_STATE_ACCUMULATED);
    param->group = saved->group;
    param->step = saved->step;
    param->multiplier = saved->multiplier;
}

static hone_status apply(hone_optimizer *optimizer, const struct hone_checkpoint *checkpoint,
                         const hone_file *file, hone_error *error)
{
    struct stage stage = {0};
    hone_status status = stage_states(&stage, optimizer, checkpoint, file, error);
    if (status == HONE_OK)
        status = hone_devices_take_counters(optimizer, error);
    if (status == HONE_OK)
        status = hone_spec_assign(optimizer->spec, checkpoint->spec, error);
    if (status == HONE_OK) {
        for (size_t i = 0; i < checkpoint->count; i++)
            commit_param(optimizer, &stage.states[i * HONE_STATE_COUNT], &checkpoint->params[i],
                         file);
        optimizer->micro_step = checkpoint->micro_step;
        optimizer->skipped = checkpoint->skipped;
        optimizer->scaling = checkpoint->scaling;
        optimizer->scaler = checkpoint->scaler;
        optimizer->plan.valid = false;
    }
    release_stage(optimizer->context, &stage);
    return status;
}

hone_status hone_optimizer_load_file(hone_optimizer *optimizer, const hone_file *file,
                                     hone_error *error)
{
    if (optimizer == NULL || file == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_optimizer_load_file: %s is NULL",
                         optimizer == NULL ? "optimizer" : "file");
    const char *const json = hone_file_metadata(file, HONE_CHECKPOINT_KEY);
    if (json == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the file is not a checkpoint of hone: its metadata has no '%s'",
                         HONE_CHECKPOINT_KEY);
    struct hone_checkpoint checkpoint;
    hone_status status = hone_checkpoint_parse(&checkpoint, optimizer->context, json, error);
    if (status == HONE_OK)
        status = hone_checkpoint_match(&checkpoint, optimizer, file, error);
    if (status == HONE_OK && checkpoint.scaling && hone_devices_have_scale(optimizer->devices))
        status =
            hone_fail(error, HONE_ERROR_ARGUMENT,
                      "the checkpoint has a scaler, but the loss scale or the flag of non-finite "
                      "gradients is bound to a device's memory");
    if (status == HONE_OK)
        status = apply(optimizer, &checkpoint, file, error);
    hone_checkpoint_release(&checkpoint);
    return status;
}

hone_status hone_optimizer_load(hone_optimizer *optimizer, const char *path, hone_error *error)
{
    if (optimizer == NULL || path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_optimizer_load: %s is NULL",
                         optimizer == NULL ? "optimizer" : "path");
    hone_file *file = NULL;
    hone_status status = hone_file_open(&file, optimizer->context, path, error);
    if (status != HONE_OK)
        return status;
    hone_error inner = {.offset = -1};
    status = hone_optimizer_load_file(optimizer, file, &inner);
    hone_file_close(file);
    if (status == HONE_OK)
        return HONE_OK;
    return hone_fail_at(error, status, inner.offset, "'%.180s': %s", path, inner.message);
}
