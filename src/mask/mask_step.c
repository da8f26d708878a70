/* SPDX-License-Identifier: Apache-2.0 */
/* Where masks meet an optimizer: one parameter at a time, or a whole set by name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/optimizer_internal.h"
#include "mask/mask_internal.h"

static void release_mask(void *owner)
{
    hone_mask_free(owner);
}

/* The mask as the kernels read it: a share of it, or for complex parameters its bits doubled. */
static hone_status mask_of_reals(hone_mask **words, const hone_mask *mask, int reals,
                                 hone_error *error)
{
    if (reals == 2)
        return hone_mask_double(words, mask, error);
    *words = hone_mask_share(mask);
    return HONE_OK;
}

static void give(struct hone_param *param, const hone_mask *mask, hone_mask *words)
{
    hone_param_set_mask(param, hone_mask_words(words), words, release_mask, hone_mask_hash(mask),
                        (uint64_t)hone_mask_count(mask));
}

static hone_status fail_shape(const struct hone_param *param, const hone_mask *mask,
                              hone_error *error)
{
    return hone_fail(error, HONE_ERROR_SHAPE,
                     "Mask shape %s does not match parameter shape %s for '%.160s'",
                     hone_mask_show_shape(hone_mask_ndim(mask), hone_mask_shape(mask)).text,
                     hone_mask_show_shape(param->tensor.ndim, param->shape).text, param->name);
}

static bool fits(const struct hone_param *param, const hone_mask *mask)
{
    return hone_mask_has_shape(mask, param->tensor.ndim, param->shape);
}

hone_status hone_optimizer_set_mask(hone_optimizer *optimizer, int64_t index, const hone_mask *mask,
                                    hone_error *error)
{
    const hone_status found = hone_check_index(optimizer, index, error);
    if (found != HONE_OK)
        return found;
    struct hone_param *const param = &optimizer->params[index];
    hone_mask *words = NULL;
    if (mask != NULL) {
        if (!fits(param, mask))
            return fail_shape(param, mask, error);
        const hone_status status = mask_of_reals(&words, mask, param->reals, error);
        if (status != HONE_OK)
            return status;
        give(param, mask, words);
    } else {
        hone_param_set_mask(param, NULL, NULL, NULL, 0, 0);
    }
    optimizer->plan.valid = false;
    return HONE_OK;
}

/* ---- a set, by name ------------------------------------------------------------------------- */

/* What a set would do to an optimizer: for each parameter the mask it gets, as the kernels read it. */
struct plan {
    hone_optimizer *optimizer;
    const hone_mask_set *set;
    const hone_mask **mask; /* by parameter; NULL: none */
    hone_mask **words;
    hone_mask_match_fn *tell;
    void *user;
    char problems[HONE_ERROR_MESSAGE_SIZE]; /* of a strict call */
    size_t used;
    int64_t mismatches;
};

static void note(struct plan *plan, hone_mask_match match, const char *name, int64_t index)
{
    static const char *const sentence[] = {
        [HONE_MASK_WRONG_SHAPE] = "mask '%.120s' has another shape than its parameter",
        [HONE_MASK_NO_PARAMETER] = "mask '%.120s' has no parameter",
        [HONE_MASK_NO_MASK] = "parameter '%.120s' has no mask"};
    if (plan->tell != NULL)
        plan->tell(match, name, index, plan->user);
    if (match == HONE_MASK_MATCHED)
        return;
    plan->mismatches++;
    if (plan->used + 256 > sizeof plan->problems)
        return;
    plan->used +=
        (size_t)snprintf(plan->problems + plan->used, 8, "%s", plan->used == 0 ? "" : "; ");
    char text[192];
    snprintf(text, sizeof text, sentence[match], name);
    plan->used += (size_t)snprintf(plan->problems + plan->used, sizeof text, "%s", text);
}

#define PREFIX "module."

/* The parameter of a mask's name, also with torch's prefix more or less. */
static int64_t find_param(const hone_optimizer *optimizer, const char *name)
{
    int64_t index = hone_optimizer_find(optimizer, name);
    if (index >= 0)
        return index;
    if (strncmp(name, PREFIX, strlen(PREFIX)) == 0)
        return hone_optimizer_find(optimizer, name + strlen(PREFIX));
    for (index = 0; index < optimizer->count; index++)
        if (strncmp(optimizer->params[index].name, PREFIX, strlen(PREFIX)) == 0 &&
            strcmp(optimizer->params[index].name + strlen(PREFIX), name) == 0)
            return index;
    return -1;
}

static hone_status match_masks(struct plan *plan, hone_error *error)
{
    for (int64_t i = 0; i < hone_mask_set_count(plan->set); i++) {
        const char *const name = hone_mask_set_name(plan->set, i);
        const hone_mask *const mask = hone_mask_set_mask(plan->set, i);
        const int64_t index = find_param(plan->optimizer, name);
        if (index < 0 || plan->mask[index] != NULL) {
            note(plan, HONE_MASK_NO_PARAMETER, name, -1);
            continue;
        }
        const struct hone_param *const param = &plan->optimizer->params[index];
        if (!fits(param, mask)) {
            note(plan, HONE_MASK_WRONG_SHAPE, name, index);
            continue;
        }
        const hone_status status = mask_of_reals(&plan->words[index], mask, param->reals, error);
        if (status != HONE_OK)
            return status;
        plan->mask[index] = mask;
        note(plan, HONE_MASK_MATCHED, name, index);
    }
    for (int64_t i = 0; i < plan->optimizer->count; i++)
        if (plan->mask[i] == NULL)
            note(plan, HONE_MASK_NO_MASK, plan->optimizer->params[i].name, i);
    return HONE_OK;
}

static void commit(struct plan *plan)
{
    hone_optimizer *const optimizer = plan->optimizer;
    for (int64_t i = 0; i < optimizer->count; i++) {
        if (plan->mask[i] == NULL)
            hone_param_set_mask(&optimizer->params[i], NULL, NULL, NULL, 0, 0);
        else
            give(&optimizer->params[i], plan->mask[i], plan->words[i]);
        plan->words[i] = NULL;
    }
    optimizer->plan.valid = false;
}

hone_status hone_optimizer_set_masks(hone_optimizer *optimizer, const hone_mask_set *set,
                                     bool strict, hone_mask_match_fn *tell, void *user,
                                     hone_error *error)
{
    if (optimizer == NULL || set == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         optimizer == NULL ? "optimizer" : "the set of masks");
    const hone_context *const context = optimizer->context;
    const size_t count = (size_t)optimizer->count;
    struct plan plan = {.optimizer = optimizer, .set = set, .tell = tell, .user = user};
    plan.mask = hone_allocate_zeroed(context, sizeof *plan.mask * count);
    plan.words = hone_allocate_zeroed(context, sizeof *plan.words * count);
    hone_status status = HONE_OK;
    if (plan.mask == NULL || plan.words == NULL)
        status = hone_fail_memory(error, sizeof *plan.mask * count, "matching masks");
    if (status == HONE_OK)
        status = match_masks(&plan, error);
    if (status == HONE_OK && strict && plan.mismatches > 0)
        status =
            hone_fail(error, HONE_ERROR_MISMATCH, "%lld masks and parameters do not match: %.900s",
                      (long long)plan.mismatches, plan.problems);
    if (status == HONE_OK)
        commit(&plan);
    for (size_t i = 0; plan.words != NULL && i < count; i++)
        hone_mask_free(plan.words[i]);
    hone_release(context, plan.mask, sizeof *plan.mask * count);
    hone_release(context, plan.words, sizeof *plan.words * count);
    return status;
}

hone_status hone_optimizer_lr_info(const hone_optimizer *optimizer, int group, hone_lr_info *info,
                                   hone_error *error)
{
    if (optimizer == NULL || info == NULL || group < 0 || group >= optimizer->spec->group_count)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "group %d does not exist, or info is NULL",
                         group);
    *info = (hone_lr_info){0};
    hone_status status = hone_optimizer_get(optimizer, group, "lr", &info->unmasked_lr, error);
    if (status == HONE_OK)
        status = hone_optimizer_get(optimizer, group, "masked_lr", &info->masked_lr, error);
    if (isnan(info->masked_lr))
        info->masked_lr = info->unmasked_lr;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        if (param->group != group)
            continue;
        const int64_t numel = (int64_t)(param->count / (size_t)param->reals);
        info->masked_parameters += (int64_t)param->masked_count;
        info->unmasked_parameters += numel - (int64_t)param->masked_count;
        info->masks += param->mask != NULL;
    }
    return status;
}
