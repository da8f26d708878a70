/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA runtime behind the seam: devices, streams, memory, errors, launches. */
#include <stdio.h>
#include <string.h>

#include "cuda/cuda_target.h"

static enum hone_device_fault fault_of(cudaError_t result)
{
    switch (result) {
    case cudaSuccess:
        return HONE_DEVICE_OK;
    case cudaErrorMemoryAllocation:
        return HONE_DEVICE_MEMORY;
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidKernelImage:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorInvalidPtx:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorNotSupported:
    case cudaErrorStubLibrary:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorDevicesUnavailable:
        return HONE_DEVICE_UNSUPPORTED;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureWrongThread:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorCapturedEvent:
    case cudaErrorNotPermitted:
        return HONE_DEVICE_ARGUMENT;
    default:
        return HONE_DEVICE_LOST;
    }
}

struct hone_device_status hone_cuda_status(cudaError_t result)
{
    const struct hone_device_status status = {fault_of(result), cudaGetErrorString(result)};
    if (result != cudaSuccess)
        cudaGetLastError();
    return status;
}

struct hone_device_status hone_cuda_open(int device, struct hone_device_facts *facts)
{
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count);
    if (result == cudaSuccess && (device < 0 || device >= count))
        result = cudaErrorInvalidDevice;
    if (result != cudaSuccess)
        return hone_cuda_status(result);
    cudaDeviceProp properties;
    result = cudaGetDeviceProperties(&properties, device);
    if (result != cudaSuccess)
        return hone_cuda_status(result);
    snprintf(facts->name, sizeof facts->name, "%.63s", properties.name);
    facts->major = properties.major;
    facts->minor = properties.minor;
    facts->multiprocessors = properties.multiProcessorCount;
    const cuda_scope scope(device);
    cudaFuncAttributes attributes;
    result = scope.result;
    if (result == cudaSuccess)
        result = cudaFuncGetAttributes(&attributes, hone_cuda_some_kernel);
    return hone_cuda_status(result);
}

struct hone_device_status hone_cuda_locate(const void *memory, int *device)
{
    cudaPointerAttributes attributes;
    const cudaError_t result = cudaPointerGetAttributes(&attributes, memory);
    *device = -1;
    if (result == cudaSuccess && (attributes.type == cudaMemoryTypeDevice ||
                                  attributes.type == cudaMemoryTypeManaged))
        *device = attributes.device;
    return hone_cuda_status(result);
}

/* The default streams belong to whichever device is current. */
static bool is_default(cudaStream_t stream)
{
    return stream == NULL || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

struct hone_device_status hone_cuda_inspect(struct hone_device_queue queue, bool *capturing)
{
    const cuda_scope scope(queue.device);
    const cudaStream_t stream = hone_cuda_stream(queue);
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    cudaError_t result = scope.result;
    if (result == cudaSuccess)
        result = cudaStreamIsCapturing(stream, &capture);
    *capturing = capture != cudaStreamCaptureStatusNone;
    /* Other questions about a stream would end its capture. */
    if (result == cudaSuccess && !*capturing && !is_default(stream)) {
        int device = queue.device;
        result = cudaStreamGetDevice(stream, &device);
        if (result == cudaSuccess && device != queue.device) {
            const struct hone_device_status other = {HONE_DEVICE_ARGUMENT,
                                                     "the stream was created on another device"};
            return other;
        }
    }
    return hone_cuda_status(result);
}

struct hone_device_status hone_cuda_allocate(struct hone_device_queue queue, size_t size,
                                             void **memory)
{
    const cuda_scope scope(queue.device);
    return hone_cuda_status(scope.result == cudaSuccess ? cudaMalloc(memory, size) : scope.result);
}

void hone_cuda_release(struct hone_device_queue queue, void *memory)
{
    const cuda_scope scope(queue.device);
    if (scope.result == cudaSuccess)
        hone_cuda_status(cudaFree(memory));
}

struct hone_device_status hone_cuda_upload(struct hone_device_queue queue, void *to,
                                           const void *from, size_t size)
{
    const cuda_scope scope(queue.device);
    cudaError_t result = scope.result;
    if (result == cudaSuccess)
        result = cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, hone_cuda_stream(queue));
    /* `from` may be page-locked, and then the copy has not happened yet. */
    if (result == cudaSuccess)
        result = cudaStreamSynchronize(hone_cuda_stream(queue));
    return hone_cuda_status(result);
}

struct hone_device_status hone_cuda_download(struct hone_device_queue queue, void *to,
                                             const void *from, size_t size)
{
    const cuda_scope scope(queue.device);
    cudaError_t result = scope.result;
    if (result == cudaSuccess)
        result = cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToHost, hone_cuda_stream(queue));
    if (result == cudaSuccess)
        result = cudaStreamSynchronize(hone_cuda_stream(queue));
    return hone_cuda_status(result);
}

struct hone_device_status hone_cuda_zero(struct hone_device_queue queue, void *memory, size_t size)
{
    const cuda_scope scope(queue.device);
    return hone_cuda_status(scope.result == cudaSuccess
                                ? cudaMemsetAsync(memory, 0, size, hone_cuda_stream(queue))
                                : scope.result);
}

struct hone_device_status hone_cuda_wait(struct hone_device_queue queue)
{
    const cuda_scope scope(queue.device);
    return hone_cuda_status(scope.result == cudaSuccess
                                ? cudaStreamSynchronize(hone_cuda_stream(queue))
                                : scope.result);
}

struct hone_device_status hone_cuda_launch(struct hone_device_queue queue, const void *function,
                                           uint32_t blocks, uint32_t threads, const void *argument)
{
    const cuda_scope scope(queue.device);
    void *arguments[] = {const_cast<void *>(argument)};
    return hone_cuda_status(scope.result == cudaSuccess
                                ? cudaLaunchKernel(function, dim3(blocks), dim3(threads), arguments,
                                                   0, hone_cuda_stream(queue))
                                : scope.result);
}

struct hone_device_status hone_cuda_load(struct hone_device_queue queue, const void *function)
{
    const cuda_scope scope(queue.device);
    cudaFuncAttributes attributes;
    return hone_cuda_status(scope.result == cudaSuccess
                                ? cudaFuncGetAttributes(&attributes, function)
                                : scope.result);
}

uint32_t hone_cuda_blocks(size_t count, uint32_t threads)
{
    const size_t enough = 4096; /* fills any device; the rest is walked */
    const size_t blocks = (count + threads - 1) / threads;
    return (uint32_t)(blocks == 0 ? 1 : blocks < enough ? blocks : enough);
}
