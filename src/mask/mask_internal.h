/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a mask, and what the files of src/mask share. Private to src/. */
#ifndef HONE_MASK_MASK_INTERNAL_H
#define HONE_MASK_MASK_INTERNAL_H

#include <hone/mask.h>

#include "core/core.h"

#define HONE_MASK_WORD_BITS 32
#define HONE_MASK_ALIGNMENT 64 /* of the words, and of their size */
#define HONE_MASK_CHUNK_WORDS (HONE_CHUNK / HONE_MASK_WORD_BITS) /* the unit of parallel work */

struct hone_mask {
    const hone_context *context;
    int owners; /* changed atomically; all else never changes */
    int32_t ndim;
    int64_t numel, count;
    uint32_t *words;
    size_t words_size; /* allocated, zero beyond the last element */
    int64_t shape[];
};

/* What every constructor needs: where to put the mask, and a context. */
hone_status hone_mask_check_call(hone_mask *const *mask, const hone_context *context,
                                 const char *call, hone_error *error);

/* A mask with all bits 0 and a count of 0, which its maker goes on to fill and then finishes. The
 * sentence of a refusal calls the shape `what`. */
hone_status hone_mask_start(hone_mask **mask, const hone_context *context, int32_t ndim,
                            const int64_t *shape, const char *what, hone_error *error);

/* Counts the bits, once they are in place. */
void hone_mask_finish(hone_mask *mask);

/* The tensor as an argument of a constructor: known dtype, on the CPU, a shape that fits, data
 * where there are elements. Strides may be any. */
hone_status hone_mask_check_view(const hone_tensor *tensor, const char *what, hone_error *error);

/* The tensor as one whose elements are ordered by size: contiguous, aligned, real. */
hone_status hone_mask_check_sizes(const hone_tensor *values, enum hone_format *format,
                                  hone_error *error);

/* Every bit twice, for a complex parameter, whose elements are two reals each: a mask of the shape
 * [numel, 2]. */
hone_status hone_mask_double(hone_mask **doubled, const hone_mask *mask, hone_error *error);

/* "[2,3]", cut with "..." when it is too long. */
#define HONE_MASK_SHAPE_TEXT 128
struct hone_mask_shape_text {
    char text[HONE_MASK_SHAPE_TEXT];
};
struct hone_mask_shape_text hone_mask_show_shape(int32_t ndim, const int64_t *shape);

/* The step of a dimension in elements: the tensor's own, or the row-major one. */
void hone_mask_strides(const hone_tensor *tensor, int64_t *strides);

/* Threads for a loop over a mask: below a million elements, a second one costs more than it saves. */
static inline int hone_mask_threads(const hone_mask *mask)
{
    return mask->numel < (int64_t)1 << 20 ? 1 : mask->context->threads;
}

#endif
