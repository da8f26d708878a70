/* SPDX-License-Identifier: Apache-2.0 */
/* Masks from coordinates, positions and words, and back to them. Numbers are read byte by byte
 * through memcpy: in files they may lie anywhere. */
#include <inttypes.h>
#include <string.h>

#include "mask/mask_internal.h"

#define TILE 1024 /* entries whose positions are computed together, one dimension after another */

static inline int64_t load_index(const char *at, bool wide)
{
    int64_t large;
    int32_t small;
    if (wide) {
        memcpy(&large, at, sizeof large);
        return large;
    }
    memcpy(&small, at, sizeof small);
    return small;
}

static inline void store_index(char *at, bool wide, int64_t value)
{
    const int32_t small = (int32_t)value;
    if (wide)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &small, sizeof small);
}

/* Steps in bytes; where a dimension has one element or none, any step of its owner may stand. */
static void byte_strides(const hone_tensor *tensor, int64_t *strides)
{
    hone_mask_strides(tensor, strides);
    for (int32_t d = 0; d < tensor->ndim; d++)
        strides[d] = tensor->shape[d] <= 1
                         ? 0
                         : (int64_t)((uint64_t)strides[d] * hone_dtype_size(tensor->dtype));
}

static void set_bit(hone_mask *mask, int64_t position)
{
    mask->words[position / HONE_MASK_WORD_BITS] |= 1u << position % HONE_MASK_WORD_BITS;
}

static hone_status check_indices(const hone_tensor *tensor, const char *what, int32_t ndim,
                                 hone_error *error)
{
    const hone_status status = hone_mask_check_view(tensor, what, error);
    if (status != HONE_OK)
        return status;
    if (tensor->dtype != HONE_I32 && tensor->dtype != HONE_I64)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s: they are I32 or I64; this tensor is %s",
                         what, hone_dtype_name(tensor->dtype));
    if (tensor->ndim != ndim)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s: the shape is %s; it must have %" PRId32 " dimension%s", what,
                         hone_mask_show_shape(tensor->ndim, tensor->shape).text, ndim,
                         ndim == 1 ? "" : "s");
    return HONE_OK;
}

/* ---- positions ------------------------------------------------------------------------------ */

static hone_status fill_from_positions(hone_mask *mask, const hone_tensor *positions,
                                       hone_error *error)
{
    const bool wide = positions->dtype == HONE_I64;
    int64_t step;
    byte_strides(positions, &step);
    for (int64_t j = 0; j < positions->shape[0]; j++) {
        const int64_t position = load_index((const char *)positions->data + j * step, wide);
        if (position < 0 || position >= mask->numel)
            return hone_fail(error, HONE_ERROR_RANGE,
                             "positions: number %" PRId64 " is %" PRId64 "; a mask of shape %s has "
                             "the positions from 0 to below %" PRId64,
                             j, position, hone_mask_show_shape(mask->ndim, mask->shape).text,
                             mask->numel);
        set_bit(mask, position);
    }
    hone_mask_finish(mask);
    return HONE_OK;
}

hone_status hone_mask_from_positions(hone_mask **mask, const hone_context *context, int32_t ndim,
                                     const int64_t *shape, const hone_tensor *positions,
                                     hone_error *error)
{
    hone_mask *made = NULL;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_from_positions", error);
    if (status == HONE_OK)
        status = check_indices(positions, "positions", 1, error);
    if (status == HONE_OK)
        status = hone_mask_start(&made, context, ndim, shape, "the mask", error);
    if (status != HONE_OK)
        return status;
    status = fill_from_positions(made, positions, error);
    if (status == HONE_OK)
        *mask = made;
    else
        hone_mask_free(made);
    return status;
}

hone_dtype hone_mask_position_dtype(const hone_mask *mask)
{
    return hone_mask_numel(mask) > (int64_t)INT32_MAX + 1 ? HONE_I64 : HONE_I32;
}

/* Calls for every true element, in ascending order: the body of a loop over `position`. */
#define FOR_EACH_TRUE(mask, position)                                                              \
    for (int64_t word_ = 0; word_ < hone_mask_word_count(mask); word_++)                           \
        for (uint32_t bits_ = (mask)->words[word_]; bits_ != 0; bits_ &= bits_ - 1)                \
            for (int64_t position = word_ * HONE_MASK_WORD_BITS + __builtin_ctz(bits_), once_ = 1; \
                 once_ != 0; once_ = 0)

static hone_status check_output(const hone_mask *mask, hone_dtype dtype, const void *numbers,
                                int64_t largest, const char *call, hone_error *error)
{
    if (mask == NULL || (numbers == NULL && mask->count > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: %s is NULL", call,
                         mask == NULL ? "mask" : "the output");
    if (dtype != HONE_I32 && dtype != HONE_I64)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s: %s was asked for; allowed: I32 or I64", call,
                         hone_dtype_name(dtype));
    if (dtype == HONE_I32 && largest > INT32_MAX)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "%s: numbers go up to %" PRId64 ", more than I32 holds; ask for I64", call,
                         largest);
    return HONE_OK;
}

hone_status hone_mask_to_positions(const hone_mask *mask, hone_dtype dtype, void *positions,
                                   hone_error *error)
{
    const hone_status status =
        check_output(mask, dtype, positions, mask == NULL ? 0 : mask->numel - 1,
                     "hone_mask_to_positions", error);
    if (status != HONE_OK)
        return status;
    const bool wide = dtype == HONE_I64;
    const size_t size = hone_dtype_size(dtype);
    char *at = positions;
    FOR_EACH_TRUE(mask, position)
    {
        store_index(at, wide, position);
        at += size;
    }
    return HONE_OK;
}

/* ---- coordinates ---------------------------------------------------------------------------- */

/* Whether a stored value counts as true: anything but zero of either sign. */
static bool is_nonzero(const char *at, hone_dtype dtype)
{
    uint64_t words[2] = {0, 0};
    memcpy(words, at, hone_dtype_size(dtype));
    switch (dtype) {
    case HONE_F32:
        return (words[0] & INT32_MAX) != 0;
    case HONE_F64:
        return (words[0] & INT64_MAX) != 0;
    case HONE_BF16:
    case HONE_F16:
        return (words[0] & INT16_MAX) != 0;
    case HONE_C64:
        return (words[0] & UINT64_C(0x7fffffff7fffffff)) != 0;
    case HONE_C128:
        return ((words[0] | words[1]) & INT64_MAX) != 0;
    default:
        return words[0] != 0;
    }
}

struct coo {
    const hone_tensor *indices, *values;
    int64_t index_strides[2], value_stride; /* in bytes */
};

/* The positions of `n` columns from `first` on. */
static hone_status compute_positions(const hone_mask *mask, const struct coo *coo, int64_t first,
                                     int64_t n, int64_t *positions, hone_error *error)
{
    const bool wide = coo->indices->dtype == HONE_I64;
    memset(positions, 0, (size_t)n * sizeof *positions);
    for (int32_t d = 0; d < mask->ndim; d++) {
        const int64_t length = mask->shape[d];
        const char *const row = (const char *)coo->indices->data + d * coo->index_strides[0] +
                                first * coo->index_strides[1];
        for (int64_t j = 0; j < n; j++) {
            const int64_t index = load_index(row + j * coo->index_strides[1], wide);
            if (index < 0 || index >= length)
                return hone_fail(error, HONE_ERROR_RANGE,
                                 "indices: entry %" PRId64 " is %" PRId64 " in dimension %" PRId32
                                 ", which goes from 0 to below %" PRId64,
                                 first + j, index, d, length);
            positions[j] = positions[j] * length + index;
        }
    }
    return HONE_OK;
}

static hone_status fill_from_coo(hone_mask *mask, const struct coo *coo, hone_error *error)
{
    int64_t positions[TILE];
    const int64_t entries = coo->indices->shape[1];
    for (int64_t first = 0; first < entries; first += TILE) {
        const int64_t n = entries - first < TILE ? entries - first : TILE;
        const hone_status status = compute_positions(mask, coo, first, n, positions, error);
        if (status != HONE_OK)
            return status;
        for (int64_t j = 0; j < n; j++)
            if (coo->values == NULL ||
                is_nonzero((const char *)coo->values->data + (first + j) * coo->value_stride,
                           coo->values->dtype))
                set_bit(mask, positions[j]);
    }
    hone_mask_finish(mask);
    return HONE_OK;
}

static hone_status check_values(const hone_tensor *values, int64_t entries, hone_error *error)
{
    const hone_status status = hone_mask_check_view(values, "values", error);
    if (status != HONE_OK)
        return status;
    if (values->ndim != 1 || values->shape[0] != entries)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "values: the shape is %s; %" PRId64 " indices need [%" PRId64 "]",
                         hone_mask_show_shape(values->ndim, values->shape).text, entries, entries);
    return HONE_OK;
}

static hone_status check_coo(const hone_tensor *indices, const hone_tensor *values, int32_t ndim,
                             hone_error *error)
{
    const hone_status status = check_indices(indices, "indices", 2, error);
    if (status != HONE_OK)
        return status;
    if (indices->shape[0] != ndim)
        return hone_fail(
            error, HONE_ERROR_SHAPE,
            "indices: the shape is %s; a mask of %" PRId32 " dimension%s needs as many "
            "rows",
            hone_mask_show_shape(indices->ndim, indices->shape).text, ndim, ndim == 1 ? "" : "s");
    return values == NULL ? HONE_OK : check_values(values, indices->shape[1], error);
}

hone_status hone_mask_from_coo(hone_mask **mask, const hone_context *context, int32_t ndim,
                               const int64_t *shape, const hone_tensor *indices,
                               const hone_tensor *values, hone_error *error)
{
    hone_mask *made = NULL;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_from_coo", error);
    if (status == HONE_OK)
        status = check_coo(indices, values, ndim, error);
    if (status == HONE_OK)
        status = hone_mask_start(&made, context, ndim, shape, "the mask", error);
    if (status != HONE_OK)
        return status;
    struct coo coo = {.indices = indices, .values = values};
    byte_strides(indices, coo.index_strides);
    if (values != NULL)
        byte_strides(values, &coo.value_stride);
    status = fill_from_coo(made, &coo, error);
    if (status == HONE_OK)
        *mask = made;
    else
        hone_mask_free(made);
    return status;
}

static void split(const hone_mask *mask, int64_t position, int64_t *index)
{
    for (int32_t d = mask->ndim - 1; d >= 0; d--) {
        index[d] = position % mask->shape[d];
        position /= mask->shape[d];
    }
}

static int64_t longest(const hone_mask *mask)
{
    int64_t length = 0;
    for (int32_t d = 0; d < mask->ndim; d++)
        length = mask->shape[d] > length ? mask->shape[d] : length;
    return length;
}

hone_status hone_mask_to_coo(const hone_mask *mask, hone_dtype dtype, void *indices,
                             hone_error *error)
{
    const hone_status status = check_output(
        mask, dtype, indices, mask == NULL ? 0 : longest(mask) - 1, "hone_mask_to_coo", error);
    if (status != HONE_OK || mask->ndim == 0)
        return status;
    const bool wide = dtype == HONE_I64;
    const size_t size = hone_dtype_size(dtype);
    const int32_t last = mask->ndim - 1;
    int64_t index[HONE_MASK_MAX_NDIM], before = 0, entry = 0;
    memset(index, 0, sizeof index);
    FOR_EACH_TRUE(mask, position)
    {
        index[last] += position - before; /* mostly it stays in its row: no divisions */
        before = position;
        if (index[last] >= mask->shape[last])
            split(mask, position, index);
        for (int32_t d = 0; d < mask->ndim; d++)
            store_index((char *)indices + (size_t)(d * mask->count + entry) * size, wide, index[d]);
        entry++;
    }
    return HONE_OK;
}

/* ---- words ---------------------------------------------------------------------------------- */

hone_status hone_mask_from_words(hone_mask **mask, const hone_context *context, int32_t ndim,
                                 const int64_t *shape, const hone_tensor *words, hone_error *error)
{
    hone_mask *made = NULL;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_from_words", error);
    if (status == HONE_OK)
        status = hone_tensor_check(words, "words", error);
    if (status != HONE_OK)
        return status;
    if (words->dtype != HONE_U32)
        return hone_fail(error, HONE_ERROR_DTYPE, "words: they are U32; this tensor is %s",
                         hone_dtype_name(words->dtype));
    status = hone_mask_start(&made, context, ndim, shape, "the mask", error);
    if (status != HONE_OK)
        return status;
    const int64_t count = hone_mask_word_count(made);
    const uint32_t *const from = words->data;
    const int64_t used = made->numel % HONE_MASK_WORD_BITS;
    if (words->ndim != 1 || words->shape[0] != count)
        status = hone_fail(error, HONE_ERROR_SHAPE,
                           "words: the shape is %s; a mask of shape %s needs [%" PRId64 "]",
                           hone_mask_show_shape(words->ndim, words->shape).text,
                           hone_mask_show_shape(ndim, shape).text, count);
    else if (used != 0 && from[count - 1] >> used != 0)
        status = hone_fail(error, HONE_ERROR_RANGE,
                           "words: the last one is 0x%08" PRIx32 "; bits beyond the last element "
                           "must be 0, and it holds %" PRId64 " elements",
                           from[count - 1], used);
    if (status != HONE_OK) {
        hone_mask_free(made);
        return status;
    }
    if (count > 0)
        memcpy(made->words, from, (size_t)count * sizeof *from);
    hone_mask_finish(made);
    *mask = made;
    return HONE_OK;
}
