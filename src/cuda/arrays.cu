/* SPDX-License-Identifier: Apache-2.0 */
/* Whole arrays: conversions, fills, and small things that travel inside a launch. */
#define HONE_REAL_BITS 64 /* double holds every value of every format */
#include <string.h>

#include "cuda/cuda_target.h"
#include "kernel/format.h"

#define THREADS 256

/* ---- conversions ------------------------------------------------------------------------------ */

struct conversion {
    void *to;
    const void *from; /* NULL: value */
    double value;
    size_t count;
    enum hone_format to_format, from_format;
};

static __global__ void convert_kernel(const __grid_constant__ struct conversion call)
{
    const size_t stride = (size_t)gridDim.x * THREADS;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < call.count; i += stride)
        store(call.to_format, call.to, i,
              call.from == NULL ? call.value : load(call.from_format, call.from, i));
}

static struct hone_device_status run(struct hone_device_queue queue, const struct conversion *call)
{
    return hone_cuda_launch(queue, (const void *)convert_kernel,
                            hone_cuda_blocks(call->count, THREADS), THREADS, call);
}

struct hone_device_status hone_cuda_convert(struct hone_device_queue queue, void *to,
                                            enum hone_format to_format, const void *from,
                                            enum hone_format from_format, size_t count)
{
    const struct conversion call = {to, from, 0, count, to_format, from_format};
    return run(queue, &call);
}

struct hone_device_status hone_cuda_fill(struct hone_device_queue queue, void *to,
                                         enum hone_format format, double value, size_t count)
{
    const struct conversion call = {to, NULL, value, count, format, HONE_FORMAT_F64};
    return run(queue, &call);
}

/* ---- small things ----------------------------------------------------------------------------- */

#define PARCEL 32000 /* bytes: a launch's arguments are at most 32764 */

struct parcel {
    unsigned char *to;
    uint32_t size;
    unsigned char data[PARCEL];
};

static __global__ void put_kernel(const __grid_constant__ struct parcel call)
{
    for (uint32_t i = threadIdx.x; i < call.size; i += THREADS)
        call.to[i] = call.data[i];
}

struct hone_device_status hone_cuda_put(struct hone_device_queue queue, void *to, const void *from,
                                        size_t size)
{
    struct hone_device_status status = {HONE_DEVICE_OK, ""};
    for (size_t first = 0; first < size && status.fault == HONE_DEVICE_OK; first += PARCEL) {
        struct parcel call;
        call.to = (unsigned char *)to + first;
        call.size = (uint32_t)(size - first < PARCEL ? size - first : PARCEL);
        memcpy(call.data, (const unsigned char *)from + first, call.size);
        status = hone_cuda_launch(queue, (const void *)put_kernel, 1, THREADS, &call);
    }
    return status;
}

const void *const hone_cuda_array_kernels[] = {(const void *)convert_kernel, (const void *)put_kernel, NULL};
