/* SPDX-License-Identifier: Apache-2.0 */
/* What masks take in the forms they are kept in, and what that saves beside one byte per element:
 * the numbers themselves, whichever way they speak. */
#include "mask/mask_internal.h"

#define COMPACT_OVERHEAD 64 /* of one compact dictionary, as its writers count it */

static int64_t form_bytes(const hone_mask *mask, hone_mask_form form)
{
    const int64_t coordinates = 8 * (int64_t)mask->ndim * mask->count;
    switch (form) {
    case HONE_MASK_DENSE:
        return mask->numel;
    case HONE_MASK_COO_F32:
        return coordinates + 4 * mask->count;
    case HONE_MASK_COO_BOOL:
        return coordinates + mask->count;
    case HONE_MASK_COMPACT:
        return (int64_t)hone_dtype_size(hone_mask_position_dtype(mask)) * mask->count +
               COMPACT_OVERHEAD;
    default:
        return mask->numel / 8 + (mask->numel % 8 != 0);
    }
}

static hone_mask_memory report(hone_mask_form form, int64_t bytes, int64_t dense)
{
    return (hone_mask_memory){.form = form,
                              .bytes = bytes,
                              .dense_bytes = dense,
                              .saved_bytes = dense - bytes,
                              .saved_ratio =
                                  dense == 0 ? 0 : (double)(dense - bytes) / (double)dense};
}

hone_mask_memory hone_mask_memory_as(const hone_mask *mask, hone_mask_form form)
{
    return mask == NULL ? report(form, 0, 0) : report(form, form_bytes(mask, form), mask->numel);
}

hone_mask_memory hone_mask_set_memory_as(const hone_mask_set *set, hone_mask_form form)
{
    int64_t bytes = 0, dense = 0;
    for (int64_t i = 0; i < hone_mask_set_count(set); i++) {
        const hone_mask *const mask = hone_mask_set_mask(set, i);
        bytes += form_bytes(mask, form);
        dense += mask->numel;
    }
    return report(form, bytes, dense);
}

const char *hone_mask_form_name(hone_mask_form form)
{
    switch (form) {
    case HONE_MASK_BITMAP:
        return "bitmap";
    case HONE_MASK_DENSE:
        return "dense";
    case HONE_MASK_COO_F32:
        return "coo_float32";
    case HONE_MASK_COO_BOOL:
        return "coo_bool";
    case HONE_MASK_COMPACT:
        return "compact_sparse";
    case HONE_MASK_FORM_COUNT:
        break;
    }
    return NULL;
}
