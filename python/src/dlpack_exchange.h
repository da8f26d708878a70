/* SPDX-License-Identifier: Apache-2.0 */
/* The part of DLPack's C exchange interface (DLPack 1.2) that reads a tensor without owning it. A type
 * of tensors that has it offers a capsule `__dlpack_c_exchange_api__` with this table of functions.
 * Declared here, since the DLPack headers that distributions ship are older. */
#ifndef HONE_PYTHON_DLPACK_EXCHANGE_H
#define HONE_PYTHON_DLPACK_EXCHANGE_H

#include <stdint.h>

struct exchange_tensor { /* DLTensor */
    void *data;
    int32_t device_type, device_index;
    int32_t ndim;
    uint8_t type_code, type_bits;
    uint16_t type_lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

enum { EXCHANGE_FLOAT = 2, EXCHANGE_BFLOAT = 4, EXCHANGE_COMPLEX = 5 }; /* DLDataTypeCode */

struct exchange_api { /* DLPackExchangeAPI, whose major version is 1 */
    uint32_t major, minor;
    void *previous;
    void *managed_tensor_allocator;
    void *managed_tensor_from_object;
    void *managed_tensor_to_object;
    int (*tensor_from_object)(void *object, struct exchange_tensor *tensor); /* 0, or -1 and an
                                                                               exception */
    void *current_work_stream;
};

#endif
