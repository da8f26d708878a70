/* SPDX-License-Identifier: Apache-2.0 */
/* Masks from dense tensors, by truth or by size of their elements, and back to dense. The unit of
 * work is a chunk of the mask, gathered into a tile where the tensor has strides. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "mask/mask_internal.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "masks are packed from little-endian words"
#endif

static int64_t chunk_count(const hone_mask *mask)
{
    return (mask->numel + HONE_CHUNK - 1) / HONE_CHUNK;
}

static int64_t chunk_length(const hone_mask *mask, int64_t chunk)
{
    const int64_t left = mask->numel - chunk * HONE_CHUNK;
    return left < HONE_CHUNK ? left : HONE_CHUNK;
}

/* ---- truth ---------------------------------------------------------------------------------- */

/* Bit j of the result says whether byte j is other than 0. A byte's top bit is set by adding 127 to
 * its low seven bits or was there before; the product then gathers the eight in the top byte. */
static uint32_t pack_eight(const unsigned char *bytes)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t x;
    memcpy(&x, bytes, sizeof x);
    x = (((x & low) + low) | x) >> 7 & UINT64_C(0x0101010101010101);
    return (uint32_t)(x * UINT64_C(0x0102040810204080) >> 56);
}

static void pack(uint32_t *words, const unsigned char *bytes, int64_t n)
{
    int64_t i = 0;
    for (; i + 32 <= n; i += 32)
        words[i / 32] = pack_eight(bytes + i) | pack_eight(bytes + i + 8) << 8 |
                        pack_eight(bytes + i + 16) << 16 | pack_eight(bytes + i + 24) << 24;
    for (; i < n; i++)
        words[i / 32] |= (uint32_t)(bytes[i] != 0) << i % 32;
}

/* Copies `n` elements of one byte from row-major position `first` on. */
static void gather(unsigned char *tile, const hone_tensor *tensor, const int64_t *strides,
                   int64_t first, int64_t n)
{
    int64_t index[HONE_MASK_MAX_NDIM];
    const unsigned char *at = tensor->data;
    for (int32_t d = tensor->ndim - 1; d >= 0; d--) {
        index[d] = first % tensor->shape[d];
        first /= tensor->shape[d];
        at += index[d] * strides[d];
    }
    for (int64_t i = 0; i < n; i++) {
        tile[i] = *at;
        int32_t d = tensor->ndim - 1;
        for (; d >= 0 && ++index[d] == tensor->shape[d]; d--) {
            index[d] = 0;
            at -= (tensor->shape[d] - 1) * strides[d];
        }
        if (d >= 0)
            at += strides[d];
    }
}

static bool is_contiguous(const hone_tensor *tensor, const int64_t *strides)
{
    const hone_tensor plain = hone_tensor_view(NULL, tensor->dtype, tensor->ndim, tensor->shape);
    int64_t expected[HONE_MASK_MAX_NDIM];
    hone_mask_strides(&plain, expected);
    for (int32_t d = 0; d < tensor->ndim; d++)
        if (tensor->shape[d] != 1 && strides[d] != expected[d])
            return false;
    return true;
}

static void fill_from_bytes(hone_mask *mask, const hone_tensor *values)
{
    int64_t strides[HONE_MASK_MAX_NDIM];
    hone_mask_strides(values, strides);
    const bool contiguous = is_contiguous(values, strides);
    const int64_t chunks = chunk_count(mask);
    const int threads = hone_mask_threads(mask);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t c = 0; c < chunks; c++) {
        unsigned char tile[HONE_CHUNK];
        const int64_t first = c * HONE_CHUNK, n = chunk_length(mask, c);
        const unsigned char *bytes = tile;
        if (contiguous)
            bytes = (const unsigned char *)values->data + first;
        else
            gather(tile, values, strides, first, n);
        pack(mask->words + first / HONE_MASK_WORD_BITS, bytes, n);
    }
    hone_mask_finish(mask);
}

hone_status hone_mask_from_dense(hone_mask **mask, const hone_context *context,
                                 const hone_tensor *values, hone_error *error)
{
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_from_dense", error);
    if (status == HONE_OK)
        status = hone_mask_check_view(values, "values", error);
    if (status != HONE_OK)
        return status;
    if (values->dtype != HONE_BOOL && values->dtype != HONE_U8)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "values: a dense mask is BOOL or U8; this tensor is %s",
                         hone_dtype_name(values->dtype));
    hone_mask *made = NULL;
    status = hone_mask_start(&made, context, values->ndim, values->shape, "values", error);
    if (status != HONE_OK)
        return status;
    fill_from_bytes(made, values);
    *mask = made;
    return HONE_OK;
}

hone_status hone_mask_to_dense(const hone_mask *mask, void *values, hone_error *error)
{
    if (mask == NULL || (values == NULL && mask->numel > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_to_dense: %s is NULL",
                         mask == NULL ? "mask" : "values");
    unsigned char *const bytes = values;
    const int threads = hone_mask_threads(mask);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < mask->numel; i++)
        bytes[i] =
            (unsigned char)(mask->words[i / HONE_MASK_WORD_BITS] >> i % HONE_MASK_WORD_BITS & 1);
    return HONE_OK;
}

/* ---- size ----------------------------------------------------------------------------------- */

static void fill_from_threshold(hone_mask *mask, const hone_tensor *values, enum hone_format format,
                                double threshold)
{
    const struct hone_support_kernels *const support = mask->context->cpu->support;
    const size_t size = hone_format_size(format);
    const int64_t chunks = chunk_count(mask);
    const int threads = hone_mask_threads(mask);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t c = 0; c < chunks; c++) {
        double wide[HONE_CHUNK / 8];
        const int64_t n = chunk_length(mask, c);
        for (int64_t done = 0; done < n; done += HONE_CHUNK / 8) {
            const int64_t first = c * HONE_CHUNK + done;
            const int64_t part = n - done < HONE_CHUNK / 8 ? n - done : HONE_CHUNK / 8;
            support->widen_f64[format](wide, (const char *)values->data + (size_t)first * size,
                                       (size_t)part);
            uint32_t *const words = mask->words + first / HONE_MASK_WORD_BITS;
            for (int64_t i = 0; i < part; i++)
                words[i / 32] |= (uint32_t)(fabs(wide[i]) >= threshold) << i % 32;
        }
    }
    hone_mask_finish(mask);
}

hone_status hone_mask_check_sizes(const hone_tensor *values, enum hone_format *format,
                                  hone_error *error)
{
    int reals;
    const hone_status status = hone_tensor_check(values, "values", error);
    if (status != HONE_OK)
        return status;
    if (!hone_dtype_format(values->dtype, format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "values: a mask by size is made from F32, F64, BF16 or F16; this tensor "
                         "is %s",
                         hone_dtype_name(values->dtype));
    return HONE_OK;
}

hone_status hone_mask_from_threshold(hone_mask **mask, const hone_context *context,
                                     const hone_tensor *values, double threshold, hone_error *error)
{
    enum hone_format format;
    hone_status status = hone_mask_check_call(mask, context, "hone_mask_from_threshold", error);
    if (status == HONE_OK)
        status = hone_mask_check_sizes(values, &format, error);
    if (status != HONE_OK)
        return status;
    if (!(threshold >= 0))
        return hone_fail(error, HONE_ERROR_RANGE, "the threshold is %g; it must be at least 0",
                         threshold);
    hone_mask *made = NULL;
    status = hone_mask_start(&made, context, values->ndim, values->shape, "values", error);
    if (status != HONE_OK)
        return status;
    fill_from_threshold(made, values, format, threshold);
    *mask = made;
    return HONE_OK;
}
