/* SPDX-License-Identifier: Apache-2.0 */
/* Masks from masks: word by word, in parallel where there are many. */
#include "mask/mask_internal.h"

static uint32_t combine_words(uint32_t a, uint32_t b, hone_mask_operation operation)
{
    switch (operation) {
    case HONE_MASK_AND:
        return a & b;
    case HONE_MASK_OR:
        return a | b;
    case HONE_MASK_XOR:
        return a ^ b;
    default:
        return a & ~b;
    }
}

static void combine(hone_mask *to, const hone_mask *a, const hone_mask *b,
                    hone_mask_operation operation)
{
    const int64_t words = hone_mask_word_count(to);
#pragma omp parallel for num_threads(hone_mask_threads(to)) schedule(static)
    for (int64_t first = 0; first < words; first += HONE_MASK_CHUNK_WORDS) {
        const int64_t end =
            first + HONE_MASK_CHUNK_WORDS < words ? first + HONE_MASK_CHUNK_WORDS : words;
        for (int64_t i = first; i < end; i++)
            to->words[i] = combine_words(a->words[i], b->words[i], operation);
    }
    hone_mask_finish(to);
}

hone_status hone_mask_combine(hone_mask **mask, const hone_mask *first, const hone_mask *second,
                              hone_mask_operation operation, hone_error *error)
{
    if (mask == NULL || first == NULL || second == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_combine: %s is NULL",
                         mask == NULL    ? "mask"
                         : first == NULL ? "first"
                                         : "second");
    if ((int)operation < HONE_MASK_AND || (int)operation > HONE_MASK_AND_NOT)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_combine: %d is no operation",
                         (int)operation);
    if (!hone_mask_has_shape(first, second->ndim, second->shape))
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "the masks have the shapes %s and %s; only equal shapes can be combined",
                         hone_mask_show_shape(first->ndim, first->shape).text,
                         hone_mask_show_shape(second->ndim, second->shape).text);
    hone_mask *made = NULL;
    const hone_status status =
        hone_mask_start(&made, first->context, first->ndim, first->shape, "the mask", error);
    if (status != HONE_OK)
        return status;
    combine(made, first, second, operation);
    *mask = made;
    return HONE_OK;
}

hone_status hone_mask_not(hone_mask **mask, const hone_mask *of, hone_error *error)
{
    if (mask == NULL || of == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_not: %s is NULL",
                         mask == NULL ? "mask" : "of");
    hone_mask *made = NULL;
    const hone_status status =
        hone_mask_filled(&made, of->context, of->ndim, of->shape, true, error);
    if (status != HONE_OK)
        return status;
    combine(made, made, of, HONE_MASK_AND_NOT);
    *mask = made;
    return HONE_OK;
}

/* Bit i of the 16 goes to bits 2 * i and 2 * i + 1. */
static uint32_t spread(uint32_t bits)
{
    bits = (bits | bits << 8) & 0x00ff00ffu;
    bits = (bits | bits << 4) & 0x0f0f0f0fu;
    bits = (bits | bits << 2) & 0x33333333u;
    bits = (bits | bits << 1) & 0x55555555u;
    return bits | bits << 1;
}

hone_status hone_mask_double(hone_mask **doubled, const hone_mask *mask, hone_error *error)
{
    const int64_t shape[] = {mask->numel, 2};
    hone_mask *made = NULL;
    const hone_status status =
        hone_mask_start(&made, mask->context, 2, shape, "the doubled mask", error);
    if (status != HONE_OK)
        return status;
    const int64_t words = hone_mask_word_count(made);
#pragma omp parallel for num_threads(hone_mask_threads(made)) schedule(static)
    for (int64_t i = 0; i < words; i++)
        made->words[i] = spread(mask->words[i / 2] >> i % 2 * 16 & 0xffffu);
    made->count = 2 * mask->count;
    *doubled = made;
    return HONE_OK;
}
