/* SPDX-License-Identifier: Apache-2.0 */
/* Masks as objects: creation, sharing, and what can be asked of one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mask/mask_internal.h"

/* ---- shapes --------------------------------------------------------------------------------- */

struct hone_mask_shape_text hone_mask_show_shape(int32_t ndim, const int64_t *shape)
{
    struct hone_mask_shape_text shown = {"["};
    size_t used = 1;
    for (int32_t i = 0; i < ndim; i++) {
        char number[32];
        const int length =
            snprintf(number, sizeof number, "%s%" PRId64, i == 0 ? "" : ",", shape[i]);
        if (used + (size_t)length > sizeof shown.text - sizeof "...]") {
            used += (size_t)sprintf(shown.text + used, "...");
            break;
        }
        memcpy(shown.text + used, number, (size_t)length);
        used += (size_t)length;
    }
    memcpy(shown.text + used, "]", 2);
    return shown;
}

static hone_status check_shape(int32_t ndim, const int64_t *shape, const char *what, int64_t *numel,
                               hone_error *error)
{
    if (ndim < 0 || ndim > HONE_MASK_MAX_NDIM)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s: it has %" PRId32 " dimensions; allowed: 0 to %d", what, ndim,
                         HONE_MASK_MAX_NDIM);
    if (ndim > 0 && shape == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: the shape is NULL", what);
    const hone_tensor view = hone_tensor_view(NULL, HONE_BOOL, ndim, shape);
    *numel = hone_tensor_numel(&view);
    if (*numel < 0)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s: the shape %s has a negative length or more than 2^62 elements", what,
                         hone_mask_show_shape(ndim, shape).text);
    return HONE_OK;
}

hone_status hone_mask_check_call(hone_mask *const *mask, const hone_context *context,
                                 const char *call, hone_error *error)
{
    if (mask != NULL && context != NULL)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: %s is NULL", call,
                     mask == NULL ? "mask" : "context");
}

hone_status hone_mask_check_view(const hone_tensor *tensor, const char *what, hone_error *error)
{
    if (tensor == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: the tensor is NULL", what);
    if (hone_dtype_size(tensor->dtype) == 0)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s: %d is no dtype", what, (int)tensor->dtype);
    if (tensor->device != HONE_CPU)
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "%s: the tensor is on device type %d; masks are made from tensors on the "
                         "CPU (device type %d)",
                         what, (int)tensor->device, (int)HONE_CPU);
    int64_t numel = 0;
    const hone_status status = check_shape(tensor->ndim, tensor->shape, what, &numel, error);
    if (status == HONE_OK && numel > 0 && tensor->data == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: data is NULL for %" PRId64 " elements",
                         what, numel);
    return status;
}

void hone_mask_strides(const hone_tensor *tensor, int64_t *strides)
{
    uint64_t step = 1; /* unsigned: without elements it may pass 2^63, and is never used */
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        strides[i] = tensor->strides == NULL ? (int64_t)step : tensor->strides[i];
        step *= (uint64_t)tensor->shape[i];
    }
}

/* ---- making --------------------------------------------------------------------------------- */

static uint64_t words_size(int64_t numel)
{
    const uint64_t bits = 8 * HONE_MASK_ALIGNMENT;
    return ((uint64_t)numel + bits - 1) / bits * HONE_MASK_ALIGNMENT;
}

static size_t object_size(int32_t ndim)
{
    return sizeof(hone_mask) + (size_t)ndim * sizeof(int64_t);
}

hone_status hone_mask_start(hone_mask **mask, const hone_context *context, int32_t ndim,
                            const int64_t *shape, const char *what, hone_error *error)
{
    int64_t numel = 0;
    const hone_status status = check_shape(ndim, shape, what, &numel, error);
    if (status != HONE_OK)
        return status;
    const uint64_t size = words_size(numel);
    hone_mask *const made = hone_allocate(context, object_size(ndim));
    if (made == NULL)
        return hone_fail_memory(error, object_size(ndim), "a mask");
    uint32_t *words = NULL;
    if (size <= SIZE_MAX)
        words = hone_allocate_aligned(context, (size_t)size, HONE_MASK_ALIGNMENT);
    if (words == NULL) {
        hone_release(context, made, object_size(ndim));
        return hone_fail_memory(error, (size_t)size, "the bits of a mask");
    }
    memset(words, 0, (size_t)size);
    *made = (hone_mask){.context = context,
                        .owners = 1,
                        .ndim = ndim,
                        .numel = numel,
                        .words = words,
                        .words_size = (size_t)size};
    if (ndim > 0)
        memcpy(made->shape, shape, (size_t)ndim * sizeof *shape);
    *mask = made;
    return HONE_OK;
}

/* Bits of a word, in steps that the compiler makes vectors of. */
static inline uint32_t count_word(uint32_t x)
{
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    x += x >> 8;
    return (x + (x >> 16)) & 0x3fu;
}

void hone_mask_finish(hone_mask *mask)
{
    const int64_t words = hone_mask_word_count(mask);
    mask->count = 0;
    for (int64_t first = 0; first < words; first += HONE_MASK_CHUNK_WORDS) {
        const int64_t left = words - first;
        const int64_t n = left < HONE_MASK_CHUNK_WORDS ? left : HONE_MASK_CHUNK_WORDS;
        uint32_t count = 0;
        for (int64_t i = 0; i < n; i++)
            count += count_word(mask->words[first + i]);
        mask->count += count;
    }
}

hone_status hone_mask_filled(hone_mask **mask, const hone_context *context, int32_t ndim,
                             const int64_t *shape, bool value, hone_error *error)
{
    hone_mask *made = NULL;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_filled", error);
    if (status == HONE_OK)
        status = hone_mask_start(&made, context, ndim, shape, "the mask", error);
    if (status != HONE_OK)
        return status;
    if (value) {
        const int64_t whole = made->numel / HONE_MASK_WORD_BITS;
        memset(made->words, 0xff, (size_t)whole * sizeof *made->words);
        if (made->numel % HONE_MASK_WORD_BITS != 0)
            made->words[whole] = (1u << made->numel % HONE_MASK_WORD_BITS) - 1;
        made->count = made->numel;
    }
    *mask = made;
    return HONE_OK;
}

hone_mask *hone_mask_share(const hone_mask *mask)
{
    hone_mask *const shared = (hone_mask *)(uintptr_t)mask; /* only the count of owners changes */
    if (mask != NULL)
        __atomic_fetch_add(&shared->owners, 1, __ATOMIC_RELAXED);
    return shared;
}

void hone_mask_free(hone_mask *mask)
{
    if (mask == NULL || __atomic_fetch_sub(&mask->owners, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    const hone_context *const context = mask->context;
    hone_release(context, mask->words, mask->words_size);
    hone_release(context, mask, object_size(mask->ndim));
}

/* ---- asking --------------------------------------------------------------------------------- */

int32_t hone_mask_ndim(const hone_mask *mask)
{
    return mask == NULL ? 0 : mask->ndim;
}

const int64_t *hone_mask_shape(const hone_mask *mask)
{
    return mask == NULL ? NULL : mask->shape;
}

int64_t hone_mask_numel(const hone_mask *mask)
{
    return mask == NULL ? 0 : mask->numel;
}

int64_t hone_mask_count(const hone_mask *mask)
{
    return mask == NULL ? 0 : mask->count;
}

double hone_mask_density(const hone_mask *mask)
{
    return hone_mask_numel(mask) == 0 ? 0 : (double)mask->count / (double)mask->numel;
}

bool hone_mask_get(const hone_mask *mask, int64_t position)
{
    if (position < 0 || position >= hone_mask_numel(mask))
        return false;
    return (mask->words[position / HONE_MASK_WORD_BITS] >> position % HONE_MASK_WORD_BITS & 1) != 0;
}

const uint32_t *hone_mask_words(const hone_mask *mask)
{
    return mask == NULL ? NULL : mask->words;
}

int64_t hone_mask_word_count(const hone_mask *mask)
{
    const int64_t numel = hone_mask_numel(mask);
    return numel / HONE_MASK_WORD_BITS + (numel % HONE_MASK_WORD_BITS != 0);
}

bool hone_mask_has_shape(const hone_mask *mask, int32_t ndim, const int64_t *shape)
{
    if (mask == NULL || mask->ndim != ndim || (ndim > 0 && shape == NULL))
        return false;
    for (int32_t i = 0; i < ndim; i++)
        if (mask->shape[i] != shape[i])
            return false;
    return true;
}

bool hone_mask_equal(const hone_mask *first, const hone_mask *second)
{
    return first == second ||
           (second != NULL && hone_mask_has_shape(first, second->ndim, second->shape) &&
            first->count == second->count &&
            memcmp(first->words, second->words,
                   (size_t)hone_mask_word_count(first) * sizeof *first->words) == 0);
}

/* One round of SplitMix64 (Steele, Lea and Flood 2014) over state and value. */
static uint64_t mix(uint64_t state, uint64_t value)
{
    uint64_t z = (state ^ value) + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t hone_mask_hash(const hone_mask *mask)
{
    if (mask == NULL)
        return 0;
    uint64_t hash = mix(0, (uint64_t)mask->ndim);
    for (int32_t i = 0; i < mask->ndim; i++)
        hash = mix(hash, (uint64_t)mask->shape[i]);
    const int64_t words = hone_mask_word_count(mask);
    for (int64_t i = 0; i < words; i += 2) /* an odd last word is followed by a padding of zeros */
        hash = mix(hash, mask->words[i] | (uint64_t)mask->words[i + 1] << 32);
    return hash;
}
