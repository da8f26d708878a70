/* SPDX-License-Identifier: Apache-2.0 */
/* hone_tensor from and to DLPack's DLTensor, the view that array libraries exchange. Not part of
 * hone.h, because it needs <dlpack/dlpack.h> (0.5 or later; on Debian libdlpack-dev). Views are
 * converted, never memory: the result points to the data, shape and strides of what it came from.
 */
#ifndef HONE_DLPACK_H
#define HONE_DLPACK_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <dlpack/dlpack.h>

#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HONE_DLPACK_BOOL 6 /* kDLBool, which headers before DLPack 0.8 lack */

/* (hone dtype, DLPack type code, bits). */
#define HONE_DLPACK_MAP(X)   \
    X(F32, kDLFloat, 32)     \
    X(F64, kDLFloat, 64)     \
    X(BF16, kDLBfloat, 16)   \
    X(F16, kDLFloat, 16)     \
    X(C64, kDLComplex, 64)   \
    X(C128, kDLComplex, 128) \
    X(I64, kDLInt, 64)       \
    X(I32, kDLInt, 32)       \
    X(I16, kDLInt, 16)       \
    X(I8, kDLInt, 8)         \
    X(U64, kDLUInt, 64)      \
    X(U32, kDLUInt, 32)      \
    X(U16, kDLUInt, 16)      \
    X(U8, kDLUInt, 8)        \
    X(BOOL, HONE_DLPACK_BOOL, 8)

/* The dtype of one lane of this code and width; -1 if hone has none. */
static inline int hone_dlpack_dtype(DLDataType type)
{
#define HONE_DLPACK_FROM(name, dl_code, dl_bits)                         \
    if (type.code == dl_code && type.bits == dl_bits && type.lanes == 1) \
        return HONE_##name;
    HONE_DLPACK_MAP(HONE_DLPACK_FROM)
#undef HONE_DLPACK_FROM
    return -1;
}

__attribute__((format(printf, 3, 4))) static inline hone_status
hone_dlpack_fail(hone_error *error, hone_status status, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    if (error != NULL) {
        error->status = status;
        error->offset = -1;
        vsnprintf(error->message, sizeof error->message, format, values);
    }
    va_end(values);
    return status;
}

/* Writes to `tensor` the view that `from` describes; byte_offset is added to the data. Memory of a
 * CPU, pinned by CUDA or not, becomes HONE_CPU. Errors: ARGUMENT (NULL, a negative or missing
 * shape), DTYPE (a type or a number of lanes that hone has no name for), UNSUPPORTED (another
 * device); then `tensor` is untouched. */
static inline hone_status hone_tensor_from_dlpack(hone_tensor *tensor, const DLTensor *from,
                                                  hone_error *error)
{
    if (tensor == NULL || from == NULL)
        return hone_dlpack_fail(error, HONE_ERROR_ARGUMENT, "tensor or from is NULL");
    if (from->ndim < 0)
        return hone_dlpack_fail(error, HONE_ERROR_ARGUMENT, "ndim is %d; it must be at least 0",
                                from->ndim);
    if (from->ndim > 0 && from->shape == NULL)
        return hone_dlpack_fail(error, HONE_ERROR_ARGUMENT,
                                "shape is NULL with ndim %d; only ndim 0 has no shape", from->ndim);
    const int dtype = hone_dlpack_dtype(from->dtype);
    if (dtype < 0 && from->dtype.lanes != 1)
        return hone_dlpack_fail(error, HONE_ERROR_DTYPE,
                                "elements of %d lanes are not supported; only 1 lane is",
                                from->dtype.lanes);
    if (dtype < 0)
        return hone_dlpack_fail(error, HONE_ERROR_DTYPE,
                                "DLPack type code %d with %d bits has no hone_dtype",
                                from->dtype.code, from->dtype.bits);
    const int device = (int)from->device.device_type;
    if (device != kDLCPU && device != kDLCUDAHost && device != kDLCUDA)
        return hone_dlpack_fail(error, HONE_ERROR_UNSUPPORTED,
                                "DLPack device type %d (index %d) is neither CPU nor CUDA", device,
                                (int)from->device.device_id);
    tensor->data = from->data == NULL ? NULL : (char *)from->data + from->byte_offset;
    tensor->dtype = (hone_dtype)dtype;
    tensor->device = device == kDLCUDA ? HONE_CUDA : HONE_CPU;
    tensor->device_index = device == kDLCUDA ? (int32_t)from->device.device_id : 0;
    tensor->ndim = (int32_t)from->ndim;
    tensor->shape = from->shape;
    tensor->strides = from->strides;
    return HONE_OK;
}

/* Writes to `to` the view that `tensor` describes. DLTensor's shape and strides are not const;
 * nobody may write through them. Strides stay NULL where `tensor` has none (row-major). Errors:
 * ARGUMENT (NULL), DTYPE (not a hone_dtype), UNSUPPORTED (not a hone_device_type); then `to` is
 * untouched. */
static inline hone_status hone_tensor_to_dlpack(DLTensor *to, const hone_tensor *tensor,
                                                hone_error *error)
{
    DLDataType type = {0, 0, 1};
    if (to == NULL || tensor == NULL)
        return hone_dlpack_fail(error, HONE_ERROR_ARGUMENT, "to or tensor is NULL");
    switch (tensor->dtype) {
#define HONE_DLPACK_TO(name, dl_code, dl_bits) \
    case HONE_##name:                          \
        type.code = (uint8_t)dl_code;          \
        type.bits = dl_bits;                   \
        break;
        HONE_DLPACK_MAP(HONE_DLPACK_TO)
#undef HONE_DLPACK_TO
    default:
        return hone_dlpack_fail(error, HONE_ERROR_DTYPE,
                                "dtype is %d; it must be a hone_dtype, 0 to %d", (int)tensor->dtype,
                                (int)HONE_DTYPE_COUNT - 1);
    }
    if (tensor->device != HONE_CPU && tensor->device != HONE_CUDA)
        return hone_dlpack_fail(error, HONE_ERROR_UNSUPPORTED,
                                "device type %d (index %d) is neither CPU nor CUDA",
                                (int)tensor->device, (int)tensor->device_index);
    to->data = tensor->data;
    to->device.device_type = tensor->device == HONE_CUDA ? kDLCUDA : kDLCPU;
    to->device.device_id = tensor->device_index;
    to->ndim = tensor->ndim;
    to->dtype = type;
    to->shape = (int64_t *)(uintptr_t)tensor->shape;
    to->strides = (int64_t *)(uintptr_t)tensor->strides;
    to->byte_offset = 0;
    return HONE_OK;
}

#ifdef __cplusplus
}
#endif

#endif
