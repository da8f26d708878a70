/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor views: sizes, names and checks. */
#include "core/core.h"

#define LARGEST_NUMEL ((int64_t)1 << 62)

size_t hone_dtype_size(hone_dtype dtype)
{
    switch (dtype) {
#define SIZE(name, bits, text) \
    case HONE_##name:          \
        return bits / 8;
        HONE_DTYPE_MAP(SIZE)
#undef SIZE
    case HONE_DTYPE_COUNT:
        break;
    }
    return 0;
}

const char *hone_dtype_name(hone_dtype dtype)
{
    switch (dtype) {
#define NAME(name, bits, text) \
    case HONE_##name:          \
        return text;
        HONE_DTYPE_MAP(NAME)
#undef NAME
    case HONE_DTYPE_COUNT:
        break;
    }
    return "?";
}

int64_t hone_tensor_numel(const hone_tensor *tensor)
{
    if (tensor == NULL || (tensor->ndim > 0 && tensor->shape == NULL))
        return -1;
    int64_t numel = 1;
    bool empty = false;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] < 0)
            return -1;
        empty = empty || tensor->shape[i] == 0;
    }
    for (int32_t i = 0; i < tensor->ndim && !empty; i++) {
        if (tensor->shape[i] > LARGEST_NUMEL / numel)
            return -1;
        numel *= tensor->shape[i];
    }
    return empty ? 0 : numel;
}

size_t hone_tensor_bytes(const hone_tensor *tensor)
{
    return (size_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
}

hone_tensor hone_tensor_view(void *data, hone_dtype dtype, int32_t ndim, const int64_t *shape)
{
    return (hone_tensor){
        .data = data, .dtype = dtype, .device = HONE_CPU, .ndim = ndim, .shape = shape};
}

bool hone_dtype_format(hone_dtype dtype, enum hone_format *format, int *reals)
{
    *reals = dtype == HONE_C64 || dtype == HONE_C128 ? 2 : 1;
    switch (dtype) {
    case HONE_F32:
    case HONE_C64:
        *format = HONE_FORMAT_F32;
        return true;
    case HONE_F64:
    case HONE_C128:
        *format = HONE_FORMAT_F64;
        return true;
    case HONE_BF16:
        *format = HONE_FORMAT_BF16;
        return true;
    case HONE_F16:
        *format = HONE_FORMAT_F16;
        return true;
    default:
        return false;
    }
}

hone_dtype hone_format_dtype(enum hone_format format)
{
    static const hone_dtype dtypes[] = {[HONE_FORMAT_F32] = HONE_F32,
                                        [HONE_FORMAT_F64] = HONE_F64,
                                        [HONE_FORMAT_BF16] = HONE_BF16,
                                        [HONE_FORMAT_F16] = HONE_F16};
    return dtypes[format];
}

/* Row-major without gaps; the stride of a dimension of length 1 is never used. */
static bool contiguous(const hone_tensor *tensor)
{
    int64_t expected = 1;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected)
            return false;
        expected *= tensor->shape[i];
    }
    return true;
}

hone_status hone_tensor_check_anywhere(const hone_tensor *tensor, const char *what,
                                       hone_error *error)
{
    if (tensor == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: the tensor is NULL", what);
    const size_t size = hone_dtype_size(tensor->dtype);
    if (size == 0)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s: %d is no dtype", what, (int)tensor->dtype);
    if (tensor->device != HONE_CPU && tensor->device != HONE_CUDA)
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "%s: the tensor is on device type %d; tensors are stepped on the CPU "
                         "(device type %d) and on CUDA devices (%d)",
                         what, (int)tensor->device, (int)HONE_CPU, (int)HONE_CUDA);
    if (tensor->ndim < 0 || (tensor->ndim > 0 && tensor->shape == NULL))
        return hone_fail(error, HONE_ERROR_SHAPE, "%s: ndim is %d and shape is %s", what,
                         (int)tensor->ndim, tensor->shape == NULL ? "NULL" : "given");
    const int64_t numel = hone_tensor_numel(tensor);
    if (numel < 0 || numel > LARGEST_NUMEL / (int64_t)size)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s: a length of its shape is negative, or all together are beyond 2^62 "
                         "bytes",
                         what);
    if (numel == 0)
        return HONE_OK;
    if (tensor->data == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s: data is NULL for %lld elements", what,
                         (long long)numel);
    if ((uintptr_t)tensor->data > UINTPTR_MAX - (size_t)numel * size)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s: data at %p and %lld elements reach past the end of memory", what,
                         tensor->data, (long long)numel);
    if (tensor->strides != NULL && !contiguous(tensor))
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s: the tensor is not contiguous; pass a row-major view without gaps",
                         what);
    const size_t alignment =
        tensor->dtype == HONE_C64 || tensor->dtype == HONE_C128 ? size / 2 : size;
    if ((uintptr_t)tensor->data % alignment != 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "%s: data at %p is misaligned; %s elements need a multiple of %zu bytes",
                         what, tensor->data, hone_dtype_name(tensor->dtype), alignment);
    return HONE_OK;
}

hone_status hone_tensor_check(const hone_tensor *tensor, const char *what, hone_error *error)
{
    const hone_status status = hone_tensor_check_anywhere(tensor, what, error);
    if (status != HONE_OK || tensor->device == HONE_CPU)
        return status;
    return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                     "%s: the tensor is on device type %d; this call takes tensors on the CPU "
                     "(device type %d)",
                     what, (int)tensor->device, (int)HONE_CPU);
}
