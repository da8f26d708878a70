/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the different mask files share, and what they put into a set.
 * Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_MASK_FILE_H
#define HONE_CHECKPOINT_MASK_FILE_H

#include <hone/mask.h>

#include "core/core.h"

void hone_mask_set_put_summary(hone_mask_set *set, int64_t index, const hone_mask_summary *summary);
void hone_mask_set_put_form(hone_mask_set *set, int64_t index, hone_mask_form form);
void hone_mask_set_put_key(hone_mask_set *set, const char *key); /* a string that lives on */
const hone_context *hone_mask_set_context(const hone_mask_set *set);

struct hone_mask_load {
    const hone_context *context;
    hone_mask_set *set;
    uint64_t limit, used; /* bytes beside the file */
    uint64_t repeats;     /* entries beyond the masks' elements that may still come */
    hone_error *error;
};

/* Says that a mask of this shape will be made: fails when it would pass the limit. */
hone_status hone_mask_load_reserve(struct hone_mask_load *load, const char *name, int32_t ndim,
                                   const int64_t *shape);

/* Puts a mask that was just made into the set, which becomes its owner. When `status` is an error,
 * that of making it, says it again with the mask's name. */
hone_status hone_mask_load_add(struct hone_mask_load *load, const char *name, hone_status status,
                               const hone_error *reason, hone_mask *mask, hone_mask_form form);

/* The sentence, with the mask's name before it. */
hone_status hone_mask_load_fail(struct hone_mask_load *load, hone_status status, const char *name,
                                const char *format, ...) __attribute__((format(printf, 4, 5)));

hone_status hone_mask_load_pt(struct hone_mask_load *load, const void *bytes, size_t size);
hone_status hone_mask_load_safetensors(struct hone_mask_load *load, const void *bytes, size_t size);

#endif
