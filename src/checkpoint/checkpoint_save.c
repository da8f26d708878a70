/* SPDX-License-Identifier: Apache-2.0 */
/* Saving an optimizer: one tensor per state, and JSON for everything else. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/checkpoint_internal.h"
#include "checkpoint/text.h"

struct saver {
    const hone_optimizer *optimizer;
    hone_file_entry *entries;
    struct home { /* of an entry on a device: its values, fetched; else NULL */
        void *values;
        size_t size;
    } * homes;
    char *names; /* of all entries, one block */
    int64_t count;
    size_t names_size;
    struct hone_text json;
};

static const hone_rule *rule_of(const hone_optimizer *optimizer, const struct hone_param *param)
{
    return optimizer->spec->groups[param->group].rule;
}

/* A slot that no step has filled yet holds nothing that its next creation would not; nor does the
 * sum of gradients between two rounds. */
static bool is_saved(const struct hone_param *param, int slot)
{
    if (slot == HONE_STATE_ACCUMULATED && !param->pending)
        return false;
    return param->state[slot].data != NULL && (param->fresh >> slot & 1u) == 0;
}

/* ---- the tensors ---------------------------------------------------------------------------- */

static void measure(struct saver *saver)
{
    const hone_optimizer *const optimizer = saver->optimizer;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        const hone_rule *const rule = rule_of(optimizer, param);
        for (int k = 0; k < HONE_STATE_COUNT; k++) {
            if (!is_saved(param, k))
                continue;
            saver->count++;
            saver->names_size += strlen(param->name) + strlen(hone_state_name(rule, k)) + 2;
        }
    }
}

static char *put(char *to, const char *text)
{
    const size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

/* Where the host can read a state: in place, or in a copy that the saver keeps. */
static hone_status bring_home(struct saver *saver, const struct hone_state *state, int64_t index,
                              void **values, hone_error *error)
{
    *values = state->data;
    if (state->device == NULL)
        return HONE_OK;
    struct home *const home = &saver->homes[index];
    *values = home->values = hone_allocate(saver->optimizer->context, state->size);
    home->size = state->size;
    if (*values == NULL)
        return hone_fail_memory(error, state->size, "a state of a device");
    return hone_state_fetch(state, *values, error);
}

static hone_status list_tensors(struct saver *saver, hone_error *error)
{
    const hone_optimizer *const optimizer = saver->optimizer;
    hone_file_entry *entry = saver->entries;
    char *name = saver->names;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        const hone_rule *const rule = rule_of(optimizer, param);
        for (int k = 0; k < HONE_STATE_COUNT; k++) {
            if (!is_saved(param, k))
                continue;
            entry->name = name;
            name = put(put(put(name, param->name), "@"), hone_state_name(rule, k));
            *name++ = '\0';
            const struct hone_state *const state = &param->state[k];
            void *values;
            const hone_status status =
                bring_home(saver, state, entry - saver->entries, &values, error);
            if (status != HONE_OK)
                return status;
            entry->tensor =
                hone_tensor_view(values, hone_format_dtype(state->format),
                                 param->tensor.ndim + (param->reals == 2 ? 1 : 0), param->shape);
            entry++;
        }
    }
    return HONE_OK;
}

static void release_homes(struct saver *saver)
{
    for (int64_t i = 0; saver->homes != NULL && i < saver->count; i++)
        hone_release(saver->optimizer->context, saver->homes[i].values, saver->homes[i].size);
    hone_release(saver->optimizer->context, saver->homes,
                 sizeof *saver->homes * (size_t)saver->count);
}

/* ---- the metadata --------------------------------------------------------------------------- */

static void write_slots(struct hone_text *json, const struct hone_param *param,
                        const hone_rule *rule)
{
    const char *before = "[";
    for (int k = 0; k < HONE_STATE_COUNT; k++) {
        if (!is_saved(param, k))
            continue;
        hone_text_string(json, before);
        hone_text_json(json, hone_state_name(rule, k), strlen(hone_state_name(rule, k)));
        before = ",";
    }
    hone_text_string(json, *before == '[' ? "[]" : "]");
}

static void write_param(struct hone_text *json, const struct hone_param *param,
                        const hone_rule *rule)
{
    hone_text_json(json, param->name, strlen(param->name));
    hone_text_string(json, ":{\"group\":");
    hone_text_integer(json, (uint64_t)param->group);
    hone_text_string(json, ",\"step\":");
    hone_text_integer(json, param->step);
    if (param->multiplier != 1) {
        char number[32];
        hone_text_string(json, ",\"lr_multiplier\":");
        hone_text_string(json, hone_format_number(number, param->multiplier));
    }
    hone_text_string(json, ",\"dtype\":\"");
    hone_text_string(json, hone_dtype_name(param->tensor.dtype));
    hone_text_string(json, "\",\"shape\":");
    hone_text_shape(json, param->tensor.ndim, param->shape);
    if (param->mask != NULL) {
        char hash[24];
        snprintf(hash, sizeof hash, "\"%016llx\"", (unsigned long long)param->mask_hash);
        hone_text_string(json, ",\"mask\":");
        hone_text_string(json, hash);
    }
    hone_text_string(json, ",\"slots\":");
    write_slots(json, param, rule);
    hone_text_string(json, "}");
}

/* null stands for a bound or a rate that is not there: JSON has no infinity and no NaN. */
static void write_number(struct hone_text *json, const char *key, double value)
{
    char number[32];
    hone_text_string(json, key);
    hone_text_string(json, isfinite(value) ? hone_format_number(number, value) : "null");
}

/* Numbers of steps that no run reaches, such as an interval of UINT64_MAX for "never", are saved as
 * the largest that a reader takes. */
static void write_count(struct hone_text *json, const char *key, uint64_t count)
{
    hone_text_string(json, key);
    hone_text_integer(json, count > INT64_MAX ? INT64_MAX : count);
}

/* The members of a schedule's state; masked_lr's own schedule has no rate that follows it. */
static void write_schedule(struct hone_text *json, const struct hone_schedule_state *state,
                           bool masked)
{
    write_count(json, "\"e\":", state->e);
    write_count(json, ",\"bad\":", state->bad);
    write_count(json, ",\"cooldown\":", state->cooldown);
    write_number(json, ",\"base\":", state->base);
    if (!masked)
        write_number(json, ",\"masked_base\":", state->masked_base);
    write_number(json, ",\"best\":", state->best);
}

/* Where each group's schedules stand; null for a group without one. */
static void write_schedules(struct hone_text *json, const hone_spec *spec)
{
    bool any = false;
    for (int g = 0; g < spec->group_count; g++)
        any = any || hone_group_has_schedule(&spec->groups[g]);
    for (int g = 0; any && g < spec->group_count; g++) {
        const struct hone_group *const group = &spec->groups[g];
        hone_text_string(json, g == 0 ? ",\"schedules\":[" : ",");
        if (!hone_group_has_schedule(group)) {
            hone_text_string(json, "null");
            continue;
        }
        hone_text_string(json, "{");
        if (group->schedule != NULL)
            write_schedule(json, &group->schedule_state, false);
        if (group->masked_schedule != NULL) {
            hone_text_string(json, group->schedule == NULL ? "\"masked\":{" : ",\"masked\":{");
            write_schedule(json, &group->masked_state, true);
            hone_text_string(json, "}");
        }
        hone_text_string(json, "}");
    }
    if (any)
        hone_text_string(json, "]");
}

/* What the optimizer as a whole has come to; left out where there is nothing to say. */
static void write_progress(struct hone_text *json, const hone_optimizer *optimizer)
{
    if (optimizer->micro_step != 0)
        write_count(json, ",\"micro_step\":", (uint64_t)optimizer->micro_step);
    if (optimizer->skipped != 0)
        write_count(json, ",\"skipped\":", optimizer->skipped);
    if (hone_spec_is_random(optimizer->spec)) {
        char seed[24];
        snprintf(seed, sizeof seed, "\"%016llx\"", (unsigned long long)optimizer->context->seed);
        hone_text_string(json, ",\"seed\":");
        hone_text_string(json, seed);
    }
    write_schedules(json, optimizer->spec);
    hone_scaler scaler;
    if (!hone_optimizer_scaler(optimizer, &scaler))
        return;
    write_number(json, ",\"scaler\":{\"scale\":", scaler.scale);
    write_number(json, ",\"growth_factor\":", scaler.growth_factor);
    write_number(json, ",\"backoff_factor\":", scaler.backoff_factor);
    write_number(json, ",\"min_scale\":", scaler.min_scale);
    write_number(json, ",\"max_scale\":", scaler.max_scale);
    write_count(json, ",\"growth_interval\":", scaler.growth_interval);
    write_count(json, ",\"growth_tracker\":", scaler.growth_tracker);
    hone_text_string(json, "}");
}

static hone_status write_metadata(struct saver *saver, hone_error *error)
{
    const hone_optimizer *const optimizer = saver->optimizer;
    struct hone_text *const json = &saver->json;
    char *spec = NULL;
    const hone_status status = hone_spec_write(optimizer->spec, &spec, error);
    if (status != HONE_OK)
        return status;
    hone_text_string(json, "{\"format\":");
    hone_text_integer(json, HONE_CHECKPOINT_FORMAT);
    hone_text_string(json, ",\"version\":\"" HONE_VERSION_STRING "\",\"spec\":");
    hone_text_string(json, spec);
    write_progress(json, optimizer);
    hone_text_string(json, ",\"params\":{");
    for (int64_t i = 0; i < optimizer->count; i++) {
        if (i > 0)
            hone_text_string(json, ",");
        write_param(json, &optimizer->params[i], rule_of(optimizer, &optimizer->params[i]));
    }
    hone_text_bytes(json, "}}", sizeof "}}");
    hone_string_free(optimizer->context, spec);
    return json->failed ? hone_fail_memory(error, json->capacity, "a checkpoint's metadata")
                        : HONE_OK;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static hone_status check_savable(const hone_optimizer *optimizer, hone_error *error)
{
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        if (param->step > INT64_MAX)
            return hone_fail(error, HONE_ERROR_RANGE,
                             "parameter '%s': its step count is %llu; a checkpoint holds at most "
                             "2^63 - 1",
                             hone_show(param->name).text, (unsigned long long)param->step);
        if (!hone_is_utf8(param->name))
            return hone_fail(error, HONE_ERROR_NAME,
                             "parameter '%s': its name is not UTF-8, which a checkpoint needs",
                             hone_show(param->name).text);
    }
    return HONE_OK;
}

static hone_status save(struct saver *saver, const char *path, hone_error *error)
{
    const hone_context *const context = saver->optimizer->context;
    const size_t entries_size = sizeof *saver->entries * (size_t)saver->count;
    saver->entries = hone_allocate(context, entries_size);
    saver->names = hone_allocate(context, saver->names_size);
    saver->homes = hone_allocate_zeroed(context, sizeof *saver->homes * (size_t)saver->count);
    hone_status status = HONE_OK;
    if (saver->entries == NULL || saver->names == NULL || saver->homes == NULL)
        status = hone_fail_memory(error, entries_size, "the list of a checkpoint's tensors");
    if (status == HONE_OK)
        status = write_metadata(saver, error);
    if (status == HONE_OK)
        status = list_tensors(saver, error);
    if (status == HONE_OK) {
        const hone_file_pair pair = {HONE_CHECKPOINT_KEY, saver->json.bytes};
        status = hone_file_write(context, path, saver->entries, saver->count, &pair, 1, error);
    }
    release_homes(saver);
    hone_release(context, saver->entries, entries_size);
    hone_release(context, saver->names, saver->names_size);
    return status;
}

hone_status hone_optimizer_save(const hone_optimizer *optimizer, const char *path,
                                hone_error *error)
{
    if (optimizer == NULL || path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_optimizer_save: %s is NULL",
                         optimizer == NULL ? "optimizer" : "path");
    hone_status status = hone_devices_settle(optimizer, error);
    if (status == HONE_OK)
        status = check_savable(optimizer, error);
    if (status != HONE_OK)
        return status;
    struct saver saver = {.optimizer = optimizer};
    hone_text_start(&saver.json, optimizer->context);
    measure(&saver);
    status = save(&saver, path, error);
    hone_text_release(&saver.json);
    return status;
}
