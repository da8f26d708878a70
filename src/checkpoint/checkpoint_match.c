/* SPDX-License-Identifier: Apache-2.0 */
/* Does a checkpoint fit an optimizer? Everything that does not is collected, so that one message
 * tells all of it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/checkpoint_internal.h"
#include "checkpoint/text.h"

/* ---- the list of what does not fit ---------------------------------------------------------- */

#define LIST_SIZE 760 /* leaves room for a path before it and the counts */

struct mismatches {
    char text[LIST_SIZE];
    size_t used;
    int64_t count, hidden; /* hidden: counted, but not in the text */
};

static void add(struct mismatches *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct mismatches *list, const char *format, ...)
{
    char phrase[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(phrase, sizeof phrase, format, arguments);
    va_end(arguments);
    list->count++;
    const size_t needed = strlen(phrase) + 2;
    if (list->used + needed >= sizeof list->text) {
        list->hidden++;
        return;
    }
    list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s",
                                   list->used == 0 ? "" : "; ", phrase);
}

static hone_status report(const struct mismatches *list, hone_error *error)
{
    if (list->count == 0)
        return HONE_OK;
    char rest[40] = "";
    if (list->hidden > 0)
        snprintf(rest, sizeof rest, "; and %lld more", (long long)list->hidden);
    return hone_fail(error, HONE_ERROR_MISMATCH,
                     "the checkpoint does not fit the optimizer in %lld place%s: %s%s",
                     (long long)list->count, list->count == 1 ? "" : "s", list->text, rest);
}

/* ---- comparing ------------------------------------------------------------------------------ */

struct matcher {
    struct hone_checkpoint *checkpoint;
    const hone_optimizer *optimizer;
    const hone_file *file;
    bool *known; /* parameters of the optimizer that the checkpoint has */
    bool *used;  /* tensors of the file that belong to a state */
    char *name;  /* room for the longest "<parameter>@<slot>" */
    size_t name_size;
    struct mismatches list;
};

struct shape_text {
    char text[80];
};

/* "[2,3]", cut when long */
static struct shape_text show_shape(int32_t ndim, const int64_t *shape)
{
    struct shape_text s;
    const size_t room = sizeof s.text;
    size_t used = (size_t)snprintf(s.text, room, "[");
    for (int32_t i = 0; i < ndim; i++) {
        if (used + 30 > room) {
            used += (size_t)snprintf(s.text + used, room - used, ",...");
            break;
        }
        used += (size_t)snprintf(s.text + used, room - used, "%s%lld", i == 0 ? "" : ",",
                                 (long long)shape[i]);
    }
    snprintf(s.text + used, room - used, "]");
    return s;
}

static bool same_shape(int32_t ndim, const int64_t *shape, int32_t other_ndim,
                       const int64_t *other_shape)
{
    if (ndim != other_ndim)
        return false;
    for (int32_t i = 0; i < ndim; i++)
        if (shape[i] != other_shape[i])
            return false;
    return true;
}

static void match_state(struct matcher *matcher, struct hone_saved_param *saved, int slot,
                        const hone_rule *rule)
{
    snprintf(matcher->name, matcher->name_size, "%s@%s", saved->name, hone_state_name(rule, slot));
    const struct hone_shown shown = hone_show(matcher->name);
    const int64_t index = hone_file_find(matcher->file, matcher->name);
    saved->tensor[slot] = index;
    if (index < 0) {
        add(&matcher->list, "tensor '%s' is missing", shown.text);
        return;
    }
    matcher->used[index] = true;
    if (saved->param < 0)
        return;
    const struct hone_param *const param = &matcher->optimizer->params[saved->param];
    const int32_t ndim = param->tensor.ndim + (param->reals == 2 ? 1 : 0);
    hone_tensor tensor;
    enum hone_format format;
    int reals;
    hone_file_tensor(matcher->file, index, &tensor, NULL);
    const hone_dtype own = hone_format_dtype(hone_state_format(matcher->optimizer, param, slot));
    if (!hone_dtype_format(tensor.dtype, &format, &reals) || reals != 1)
        add(&matcher->list, "tensor '%s' is %s, but F32, F64, BF16 or F16 is needed", shown.text,
            hone_dtype_name(tensor.dtype));
    else if (slot >= HONE_MAX_SLOTS &&
             tensor.dtype != own) /* kernels read the frame's as they are */
        add(&matcher->list, "tensor '%s' is %s, but %s is needed", shown.text,
            hone_dtype_name(tensor.dtype), hone_dtype_name(own));
    if (!same_shape(tensor.ndim, tensor.shape, ndim, param->shape))
        add(&matcher->list, "tensor '%s' has the shape %s, but %s is needed", shown.text,
            show_shape(tensor.ndim, tensor.shape).text, show_shape(ndim, param->shape).text);
}

static void match_param(struct matcher *matcher, struct hone_saved_param *saved)
{
    const hone_optimizer *const optimizer = matcher->optimizer;
    const hone_rule *const rule = matcher->checkpoint->spec->groups[saved->group].rule;
    const struct hone_shown shown = hone_show(saved->name);
    saved->param = hone_optimizer_find(optimizer, saved->name);
    if (saved->param < 0) {
        add(&matcher->list, "parameter '%s' is unexpected", shown.text);
    } else {
        const struct hone_param *const param = &optimizer->params[saved->param];
        const hone_rule *const own_rule = optimizer->spec->groups[param->group].rule;
        matcher->known[saved->param] = true;
        if (saved->dtype != param->tensor.dtype ||
            !same_shape(saved->ndim, saved->shape, param->tensor.ndim, param->shape))
            add(&matcher->list, "parameter '%s' was %s %s, but is %s %s", shown.text,
                hone_dtype_name(saved->dtype), show_shape(saved->ndim, saved->shape).text,
                hone_dtype_name(param->tensor.dtype),
                show_shape(param->tensor.ndim, param->shape).text);
        if (saved->masked && param->mask == NULL)
            add(&matcher->list, "parameter '%s' was stepped under a mask, and has none now",
                shown.text);
        else if (!saved->masked && param->mask != NULL)
            add(&matcher->list, "parameter '%s' has a mask, and was stepped without one",
                shown.text);
        else if (saved->masked && saved->mask_hash != param->mask_hash)
            add(&matcher->list, "parameter '%s' was stepped under another mask", shown.text);
        if (rule != own_rule)
            add(&matcher->list, "parameter '%s' was stepped by %s, but its group has %s",
                shown.text, rule->name, own_rule->name);
    }
    for (int k = 0; k < HONE_STATE_COUNT; k++)
        if ((saved->slots >> k & 1u) != 0)
            match_state(matcher, saved, k, rule);
}

static void match_all(struct matcher *matcher)
{
    for (size_t i = 0; i < matcher->checkpoint->count; i++)
        match_param(matcher, &matcher->checkpoint->params[i]);
    for (int64_t i = 0; i < matcher->optimizer->count; i++)
        if (!matcher->known[i])
            add(&matcher->list, "parameter '%s' is missing",
                hone_show(matcher->optimizer->params[i].name).text);
    for (int64_t i = 0; i < hone_file_count(matcher->file); i++)
        if (!matcher->used[i])
            add(&matcher->list, "tensor '%s' is unexpected",
                hone_show(hone_file_name(matcher->file, i)).text);
}

static size_t longest_name(const struct hone_checkpoint *checkpoint)
{
    size_t name = 0, slot = 0;
    for (size_t i = 0; i < checkpoint->count; i++) {
        const size_t length = strlen(checkpoint->params[i].name);
        name = length > name ? length : name;
    }
    for (int g = 0; g < checkpoint->spec->group_count; g++) {
        const hone_rule *const rule = checkpoint->spec->groups[g].rule;
        for (int k = 0; k < HONE_STATE_COUNT; k++) {
            const char *const known = hone_state_name(rule, k);
            const size_t length = known == NULL ? 0 : strlen(known);
            slot = length > slot ? length : slot;
        }
    }
    return name + slot + 2;
}

hone_status hone_checkpoint_match(struct hone_checkpoint *checkpoint,
                                  const hone_optimizer *optimizer, const hone_file *file,
                                  hone_error *error)
{
    const hone_context *const context = checkpoint->context;
    struct matcher matcher = {.checkpoint = checkpoint, .optimizer = optimizer, .file = file};
    const size_t known_size = (size_t)optimizer->count, used_size = (size_t)hone_file_count(file);
    matcher.name_size = longest_name(checkpoint);
    matcher.known = hone_allocate_zeroed(context, known_size);
    matcher.used = hone_allocate_zeroed(context, used_size);
    matcher.name = hone_allocate(context, matcher.name_size);
    hone_status status;
    if (matcher.known == NULL || matcher.used == NULL || matcher.name == NULL) {
        status = hone_fail_memory(error, known_size + used_size + matcher.name_size,
                                  "comparing a checkpoint");
    } else {
        match_all(&matcher);
        status = report(&matcher.list, error);
    }
    hone_release(context, matcher.known, known_size);
    hone_release(context, matcher.used, used_size);
    hone_release(context, matcher.name, matcher.name_size);
    return status;
}
