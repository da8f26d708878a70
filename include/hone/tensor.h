/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor is a view: hone never owns or frees the memory behind `data`, `shape` or `strides`.
 * The fields are those of DLPack's DLTensor; <hone/dlpack.h> converts in both directions. */
#ifndef HONE_TENSOR_H
#define HONE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include <hone/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* (name, bits of one element, safetensors name). Complex elements are pairs of reals. Only the
 * first six can be stepped; the others appear in files. */
#define HONE_DTYPE_MAP(X) \
    X(F32, 32, "F32")     \
    X(F64, 64, "F64")     \
    X(BF16, 16, "BF16")   \
    X(F16, 16, "F16")     \
    X(C64, 64, "C64")     \
    X(C128, 128, "C128")  \
    X(I64, 64, "I64")     \
    X(I32, 32, "I32")     \
    X(I16, 16, "I16")     \
    X(I8, 8, "I8")        \
    X(U64, 64, "U64")     \
    X(U32, 32, "U32")     \
    X(U16, 16, "U16")     \
    X(U8, 8, "U8")        \
    X(BOOL, 8, "BOOL")

typedef enum hone_dtype {
#define HONE_DTYPE_ENUM(name, bits, text) HONE_##name,
    HONE_DTYPE_MAP(HONE_DTYPE_ENUM)
#undef HONE_DTYPE_ENUM
        HONE_DTYPE_COUNT
} hone_dtype;

typedef enum hone_device_type { HONE_CPU = 1, HONE_CUDA = 2 } hone_device_type; /* DLPack's codes */

typedef struct hone_tensor {
    void *data; /* may be NULL only when the tensor has no elements */
    hone_dtype dtype;
    hone_device_type device;
    int32_t device_index;
    int32_t ndim;           /* 0: a single element */
    const int64_t *shape;   /* ndim lengths, each >= 0 */
    const int64_t *strides; /* ndim steps in elements, or NULL for a contiguous row-major view */
} hone_tensor;

HONE_API size_t hone_dtype_size(hone_dtype dtype);      /* bytes of one element; 0 if not a dtype */
HONE_API const char *hone_dtype_name(hone_dtype dtype); /* "F32"; "?" if not a dtype */

/* Product of the shape (1 for ndim 0); -1 if a length is negative, the product passes 2^62, or the
 * tensor or its shape is NULL. */
HONE_API int64_t hone_tensor_numel(const hone_tensor *tensor);

/* A contiguous CPU view; `shape` is borrowed for as long as the view is used. */
HONE_API hone_tensor hone_tensor_view(void *data, hone_dtype dtype, int32_t ndim,
                                      const int64_t *shape);

#ifdef __cplusplus
}
#endif

#endif
