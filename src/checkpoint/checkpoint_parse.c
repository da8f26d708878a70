/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata of a checkpoint, checked by itself: the kinds and ranges of all values, the spec,
 * and that groups and slots exist. Whether it fits an optimizer is checkpoint_match.c's question.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint_internal.h"
#include "checkpoint/json_kind.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/text.h"
#include "core/json_load.h"

#define MUST_BE(error, name, key, value, allowed)                        \
    hone_fail(error, HONE_ERROR_FORMAT,                                  \
              "parameter '%s' in the checkpoint: its %s is %s; allowed " \
              "is " allowed,                                             \
              (name), (key), describe(value).text)

struct described {
    char text[64];
};

/* A value as a message shows it: numbers and strings themselves, anything else by kind. */
static struct described describe(const json_t *value)
{
    struct described d;
    if (json_is_integer(value))
        snprintf(d.text, sizeof d.text, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        hone_format_number(d.text, json_real_value(value));
    else if (json_is_string(value))
        snprintf(d.text, sizeof d.text, "'%.50s'", hone_show(json_string_value(value)).text);
    else
        snprintf(d.text, sizeof d.text, "%s", hone_json_kind(value));
    return d;
}

/* Refuses keys beyond those named; `keys` ends with NULL. */
static hone_status check_keys(json_t *object, const char *const *keys, const char *what,
                              hone_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        int i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        if (keys[i] == NULL)
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "%s: the key '%s' is unknown; a newer version of hone may have "
                             "written it",
                             what, hone_show(key).text);
    }
    return HONE_OK;
}

/* ---- one parameter -------------------------------------------------------------------------- */

static bool integer_between(const json_t *value, int64_t low, int64_t high)
{
    return json_is_integer(value) && json_integer_value(value) >= low &&
           json_integer_value(value) <= high;
}

static hone_status parse_numbers(struct hone_saved_param *param, const json_t *entry,
                                 int group_count, const char *shown, hone_error *error)
{
    const json_t *const group = json_object_get(entry, "group");
    if (!integer_between(group, 0, group_count - 1))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "parameter '%s' in the checkpoint: its group is %s; allowed is an integer "
                         "from 0 to %d",
                         shown, describe(group).text, group_count - 1);
    param->group = (int)json_integer_value(group);
    const json_t *const step = json_object_get(entry, "step");
    if (!integer_between(step, 0, INT64_MAX))
        return MUST_BE(error, shown, "step", step, "an integer from 0 to 2^63 - 1");
    param->step = (uint64_t)json_integer_value(step);
    const json_t *const multiplier = json_object_get(entry, "lr_multiplier");
    param->multiplier = multiplier == NULL ? 1 : json_number_value(multiplier);
    const bool is_number = multiplier == NULL || json_is_number(multiplier);
    if (!is_number || !isfinite(param->multiplier) || param->multiplier < 0)
        return MUST_BE(error, shown, "lr_multiplier", multiplier, "a number of at least 0");
    return HONE_OK;
}

static hone_status parse_shape(struct hone_saved_param *param, const json_t *entry,
                               int64_t *lengths, const char *shown, hone_error *error)
{
    const json_t *const shape = json_object_get(entry, "shape");
    const size_t ndim = json_array_size(shape);
    if (!json_is_array(shape) || ndim > INT32_MAX)
        return MUST_BE(error, shown, "shape", shape, "an array of integers");
    for (size_t i = 0; i < ndim; i++) {
        const json_t *const length = json_array_get(shape, i);
        if (!integer_between(length, 0, INT64_MAX))
            return MUST_BE(error, shown, "shape", length, "an array of integers of at least 0");
        lengths[i] = json_integer_value(length);
    }
    param->ndim = (int32_t)ndim;
    param->shape = lengths;
    return HONE_OK;
}

static hone_status parse_slots(struct hone_saved_param *param, const json_t *entry,
                               const struct hone_checkpoint *checkpoint, const char *shown,
                               hone_error *error)
{
    const hone_rule *const rule = checkpoint->spec->groups[param->group].rule;
    const json_t *const slots = json_object_get(entry, "slots");
    if (!json_is_array(slots))
        return MUST_BE(error, shown, "slots", slots, "an array of strings");
    for (size_t i = 0; i < json_array_size(slots); i++) {
        const json_t *const value = json_array_get(slots, i);
        const int slot = hone_state_find(rule, json_string_value(value));
        if (slot < 0)
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "parameter '%s' in the checkpoint: its slots hold %s, which rule %s "
                             "does not have",
                             shown, describe(value).text, rule->name);
        if (slot == HONE_STATE_ACCUMULATED && checkpoint->micro_step == 0)
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "parameter '%s' in the checkpoint: its slots hold %s, but micro_step "
                             "is 0: no gradient waits for its update",
                             shown, describe(value).text);
        param->slots |= 1u << slot;
    }
    return HONE_OK;
}

/* The hash of the mask, 16 hexadecimal digits; without one there was no mask. */
static hone_status parse_mask(struct hone_saved_param *param, const json_t *entry,
                              const char *shown, hone_error *error)
{
    const json_t *const mask = json_object_get(entry, "mask");
    if (mask == NULL)
        return HONE_OK;
    const char *const text = json_is_string(mask) ? json_string_value(mask) : "";
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return MUST_BE(error, shown, "mask", mask, "16 hexadecimal digits");
    param->masked = true;
    param->mask_hash = strtoull(text, NULL, 16);
    return HONE_OK;
}

static hone_status parse_param(struct hone_saved_param *param, json_t *entry, int64_t *lengths,
                               const struct hone_checkpoint *checkpoint, hone_error *error)
{
    static const char *const keys[] = {"group", "step", "lr_multiplier", "dtype",
                                       "shape", "mask", "slots",         NULL};
    const struct hone_shown shown = hone_show(param->name);
    if (!json_is_object(entry))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "parameter '%s' in the checkpoint: its entry is %s, not an object",
                         shown.text, hone_json_kind(entry));
    char what[HONE_SHOWN_SIZE + 40];
    snprintf(what, sizeof what, "parameter '%s' in the checkpoint", shown.text);
    hone_status status = check_keys(entry, keys, what, error);
    if (status == HONE_OK)
        status = parse_numbers(param, entry, checkpoint->spec->group_count, shown.text, error);
    if (status != HONE_OK)
        return status;
    const json_t *const dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype) || !hone_find_dtype(&param->dtype, json_string_value(dtype)))
        return MUST_BE(error, shown.text, "dtype", dtype, "the name of a dtype");
    status = parse_mask(param, entry, shown.text, error);
    if (status == HONE_OK)
        status = parse_shape(param, entry, lengths, shown.text, error);
    if (status != HONE_OK)
        return status;
    return parse_slots(param, entry, checkpoint, shown.text, error);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static hone_status parse_params(struct hone_checkpoint *checkpoint, json_t *params,
                                hone_error *error)
{
    const char *name;
    json_t *entry;
    checkpoint->count = json_object_size(params);
    json_object_foreach(params, name, entry) checkpoint->length_count +=
        json_array_size(json_object_get(entry, "shape"));
    const size_t params_size = sizeof *checkpoint->params * checkpoint->count;
    const size_t lengths_size = sizeof *checkpoint->lengths * checkpoint->length_count;
    checkpoint->params = hone_allocate_zeroed(checkpoint->context, params_size);
    checkpoint->lengths = hone_allocate(checkpoint->context, lengths_size);
    if (checkpoint->params == NULL || checkpoint->lengths == NULL)
        return hone_fail_memory(error, params_size + lengths_size, "a checkpoint's parameters");
    struct hone_saved_param *param = checkpoint->params;
    int64_t *lengths = checkpoint->lengths;
    json_object_foreach(params, name, entry)
    {
        param->name = name;
        const hone_status status = parse_param(param, entry, lengths, checkpoint, error);
        if (status != HONE_OK)
            return status;
        lengths += param->ndim;
        param++;
    }
    return HONE_OK;
}

static hone_status parse_spec(struct hone_checkpoint *checkpoint, const json_t *spec,
                              hone_error *error)
{
    char *const text = json_dumps(spec, JSON_COMPACT);
    if (text == NULL)
        return hone_fail_memory(error, 0, "a checkpoint's spec");
    hone_error inner = {.offset = -1};
    const hone_status status =
        hone_spec_parse(&checkpoint->spec, checkpoint->context, text, strlen(text), &inner);
    json_free_t release; /* the program may have given jansson an allocator of its own */
    json_get_alloc_funcs(NULL, &release);
    release(text);
    if (status == HONE_OK)
        return HONE_OK;
    return hone_fail_at(error, status, inner.offset, "the checkpoint's spec: %s", inner.message);
}

static hone_status parse_count(const json_t *object, const char *key, int64_t high, uint64_t *count,
                               hone_error *error)
{
    const json_t *const value = json_object_get(object, key);
    if (value == NULL)
        return HONE_OK;
    if (!integer_between(value, 0, high))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's %s is %s; allowed is an integer from 0 to %lld", key,
                         describe(value).text, (long long)high);
    *count = (uint64_t)json_integer_value(value);
    return HONE_OK;
}

static hone_status parse_state_number(const json_t *object, const char *what, const char *key,
                                      double *number, hone_error *error)
{
    const json_t *const value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return HONE_OK;
    if (!json_is_number(value))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's %s: its %s is %s, not a number", what, key,
                         describe(value).text);
    *number = json_number_value(value);
    return HONE_OK;
}

static hone_status parse_scaler(struct hone_checkpoint *checkpoint, json_t *scaler,
                                hone_error *error)
{
    static const char *const keys[] = {
        "scale",     "growth_factor",   "backoff_factor", "min_scale",
        "max_scale", "growth_interval", "growth_tracker", NULL};
    hone_scaler *const own = &checkpoint->scaler;
    double *const numbers[] = {&own->scale, &own->growth_factor, &own->backoff_factor,
                               &own->min_scale, &own->max_scale};
    hone_scaler_init(own);
    if (!json_is_object(scaler))
        return hone_fail(error, HONE_ERROR_FORMAT, "the checkpoint's scaler is %s, not an object",
                         hone_json_kind(scaler));
    hone_status status = check_keys(scaler, keys, "the checkpoint's scaler", error);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && status == HONE_OK; i++)
        status = parse_state_number(scaler, "scaler", keys[i], numbers[i], error);
    if (status == HONE_OK)
        status = parse_count(scaler, "growth_interval", INT64_MAX, &own->growth_interval, error);
    if (status == HONE_OK)
        status = parse_count(scaler, "growth_tracker", INT64_MAX, &own->growth_tracker, error);
    checkpoint->scaling = true;
    return status == HONE_OK ? hone_scaler_check(own, error) : status;
}

/* The state of one schedule; `state` is where it starts. null stands for what JSON cannot hold: no
 * rate, or no metric yet. */
static hone_status parse_state(struct hone_schedule_state *state, const hone_schedule *schedule,
                               const json_t *entry, hone_error *error)
{
    state->base = state->masked_base = (double)NAN;
    hone_status status = parse_count(entry, "e", INT64_MAX, &state->e, error);
    if (status == HONE_OK)
        status = parse_count(entry, "bad", INT64_MAX, &state->bad, error);
    if (status == HONE_OK)
        status = parse_count(entry, "cooldown", INT64_MAX, &state->cooldown, error);
    if (status == HONE_OK)
        status = parse_state_number(entry, "schedules", "base", &state->base, error);
    if (status == HONE_OK)
        status = parse_state_number(entry, "schedules", "masked_base", &state->masked_base, error);
    if (status == HONE_OK)
        status = parse_state_number(entry, "schedules", "best", &state->best, error);
    if (status == HONE_OK && (!(state->base >= 0) || state->masked_base < 0))
        status = hone_fail(error, HONE_ERROR_FORMAT,
                           "the checkpoint's schedules: base is missing, or a base is below 0");
    hone_error past_end;
    if (status == HONE_OK &&
        hone_schedule_check_end(schedule, (double)state->e, &past_end) != HONE_OK)
        status =
            hone_fail(error, HONE_ERROR_FORMAT, "the checkpoint's schedules: %s", past_end.message);
    return status;
}

static hone_status parse_masked_state(struct hone_group *group, json_t *entry, hone_error *error)
{
    static const char *const keys[] = {"e", "bad", "cooldown", "base", "best", NULL};
    json_t *const masked = json_object_get(entry, "masked");
    if (json_is_object(masked) != (group->masked_schedule != NULL) ||
        (masked != NULL && !json_is_object(masked)))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's schedules hold %s as masked for a group whose masked_lr "
                         "has %s schedule",
                         masked == NULL ? "nothing" : hone_json_kind(masked),
                         group->masked_schedule == NULL ? "no" : "a");
    if (masked == NULL)
        return HONE_OK;
    const hone_status status = check_keys(masked, keys, "the checkpoint's schedules", error);
    return status != HONE_OK
               ? status
               : parse_state(&group->masked_state, group->masked_schedule, masked, error);
}

static hone_status parse_schedule(struct hone_group *group, json_t *entry, hone_error *error)
{
    static const char *const keys[] = {"e",           "bad",  "cooldown", "base",
                                       "masked_base", "best", "masked",   NULL};
    static const char *const masked_only[] = {"masked", NULL};
    const bool any = hone_group_has_schedule(group);
    if (!any && json_is_null(entry))
        return HONE_OK;
    if (!any || !json_is_object(entry))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's schedules hold %s for a group that has %s schedule",
                         hone_json_kind(entry), any ? "a" : "no");
    hone_status status = check_keys(entry, group->schedule == NULL ? masked_only : keys,
                                    "the checkpoint's schedules", error);
    if (status == HONE_OK)
        status = hone_group_attach(group, error);
    if (status == HONE_OK && group->schedule != NULL)
        status = parse_state(&group->schedule_state, group->schedule, entry, error);
    return status == HONE_OK ? parse_masked_state(group, entry, error) : status;
}

static hone_status parse_schedules(struct hone_checkpoint *checkpoint, const json_t *list,
                                   hone_error *error)
{
    hone_spec *const spec = checkpoint->spec;
    bool any = false;
    for (int g = 0; g < spec->group_count; g++)
        any = any || hone_group_has_schedule(&spec->groups[g]);
    const size_t wanted = any ? (size_t)spec->group_count : 0;
    if (json_array_size(list) != wanted)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's schedules hold %zu entries; its spec needs %zu",
                         json_array_size(list), wanted);
    hone_status status = HONE_OK;
    for (size_t g = 0; g < wanted && status == HONE_OK; g++) {
        const struct hone_group saved = spec->groups[g]; /* attaching would move its rates */
        status = parse_schedule(&spec->groups[g], json_array_get(list, g), error);
        memcpy(spec->groups[g].values, saved.values, sizeof saved.values);
        spec->groups[g].masked_lr = saved.masked_lr;
    }
    return status;
}

/* Random rounding goes on from where it was only under the same seed. */
static hone_status parse_seed(const struct hone_checkpoint *checkpoint, const json_t *root,
                              hone_error *error)
{
    const json_t *const seed = json_object_get(root, "seed");
    if (seed == NULL)
        return HONE_OK;
    const char *const text = json_is_string(seed) ? json_string_value(seed) : "";
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's seed is %s; it is 16 hexadecimal digits",
                         describe(seed).text);
    if (strtoull(text, NULL, 16) == checkpoint->context->seed)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_MISMATCH,
                     "the checkpoint was written under the seed 0x%s and rounds at random; this "
                     "context's seed is 0x%016llx",
                     text, (unsigned long long)checkpoint->context->seed);
}

static hone_status parse_progress(struct hone_checkpoint *checkpoint, const json_t *root,
                                  hone_error *error)
{
    uint64_t micro_step = 0;
    hone_status status =
        parse_count(root, "micro_step", checkpoint->spec->accumulate - 1, &micro_step, error);
    checkpoint->micro_step = (int)micro_step;
    if (status == HONE_OK)
        status = parse_count(root, "skipped", INT64_MAX, &checkpoint->skipped, error);
    if (status == HONE_OK)
        status = parse_seed(checkpoint, root, error);
    if (status == HONE_OK)
        status = parse_schedules(checkpoint, json_object_get(root, "schedules"), error);
    json_t *const scaler = json_object_get(root, "scaler");
    if (status == HONE_OK && scaler != NULL)
        status = parse_scaler(checkpoint, scaler, error);
    return status;
}

static hone_status parse_root(struct hone_checkpoint *checkpoint, hone_error *error)
{
    static const char *const keys[] = {"format", "version", "spec",      "micro_step", "skipped",
                                       "scaler", "params",  "schedules", "seed",       NULL};
    json_t *const root = checkpoint->root;
    const json_t *const format = json_object_get(root, "format");
    if (!integer_between(format, HONE_CHECKPOINT_FORMAT, HONE_CHECKPOINT_FORMAT))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the checkpoint's format is %s; this version reads format %d",
                         describe(format).text, HONE_CHECKPOINT_FORMAT);
    hone_status status = check_keys(root, keys, "the checkpoint's metadata", error);
    if (status != HONE_OK)
        return status;
    json_t *const spec = json_object_get(root, "spec"), *params = json_object_get(root, "params");
    if (!json_is_object(spec) || !json_is_object(params))
        return hone_fail(error, HONE_ERROR_FORMAT, "the checkpoint's %s is %s; an object is needed",
                         json_is_object(spec) ? "params" : "spec",
                         hone_json_kind(json_is_object(spec) ? params : spec));
    status = parse_spec(checkpoint, spec, error);
    if (status == HONE_OK)
        status = parse_progress(checkpoint, root, error);
    return status == HONE_OK ? parse_params(checkpoint, params, error) : status;
}

hone_status hone_checkpoint_parse(struct hone_checkpoint *checkpoint, const hone_context *context,
                                  const char *json, hone_error *error)
{
    *checkpoint = (struct hone_checkpoint){.context = context};
    json_error_t problem = {0}; /* jansson does not always set its code */
    checkpoint->root = json_loads(json, JSON_REJECT_DUPLICATES, &problem);
    if (checkpoint->root == NULL && hone_json_out_of_memory(&problem, json, strlen(json)))
        return hone_fail_memory(error, strlen(json), "a checkpoint's metadata");
    if (checkpoint->root == NULL)
        return hone_fail_at(error, HONE_ERROR_FORMAT, problem.position,
                            "the checkpoint's metadata is not valid JSON: %s",
                            hone_show(problem.text).text);
    return parse_root(checkpoint, error);
}

void hone_checkpoint_release(struct hone_checkpoint *checkpoint)
{
    const hone_context *const context = checkpoint->context;
    json_decref(checkpoint->root);
    hone_spec_free(checkpoint->spec);
    hone_release(context, checkpoint->params, sizeof *checkpoint->params * checkpoint->count);
    hone_release(context, checkpoint->lengths,
                 sizeof *checkpoint->lengths * checkpoint->length_count);
}
