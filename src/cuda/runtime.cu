/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA runtime behind the seam: devices, streams, memory, errors, launches. */
#include <atomic>
#include <cuda.h>
#include <cudaTypedefs.h>
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

/* ---- the current device ------------------------------------------------------------------------- */

void *hone_cuda_driver(const char *name, unsigned version)
{
    void *function = NULL;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t result =
        cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
    return result == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : NULL;
}

/* The runtime's errors are numbered as the driver's. */
static cudaError_t of_driver(CUresult result)
{
    return static_cast<cudaError_t>(result);
}

enum { MOST_DEVICES = 256 };

/* The context that the runtime uses on a device, made where there is none yet. It is never given back: the
 * memory that callers have on the device would go with it. */
static cudaError_t primary_context(int device, CUcontext *context)
{
    static std::atomic<CUcontext> contexts[MOST_DEVICES];
    if (device < 0 || device >= MOST_DEVICES)
        return cudaErrorInvalidDevice;
    *context = contexts[device].load();
    if (*context != NULL)
        return cudaSuccess;
    const auto get = (PFN_cuDeviceGet_v2000)hone_cuda_driver("cuDeviceGet", 2000);
    const auto retain =
        (PFN_cuDevicePrimaryCtxRetain_v7000)hone_cuda_driver("cuDevicePrimaryCtxRetain", 7000);
    if (get == NULL || retain == NULL)
        return cudaErrorInsufficientDriver;
    CUdevice handle;
    cudaError_t result = of_driver(get(&handle, device));
    if (result == cudaSuccess)
        result = of_driver(retain(context, handle));
    if (result == cudaSuccess)
        contexts[device].store(*context);
    return result;
}

cuda_scope::cuda_scope(int device)
{
    int current = -1;
    result = cudaGetDevice(&current);
    if (result != cudaSuccess || current == device)
        return;
    static const auto push = (PFN_cuCtxPushCurrent_v4000)hone_cuda_driver("cuCtxPushCurrent", 4000);
    CUcontext context = NULL;
    result = push == NULL ? cudaErrorInsufficientDriver : primary_context(device, &context);
    if (result == cudaSuccess)
        result = of_driver(push(context));
    pushed = result == cudaSuccess;
}

cuda_scope::~cuda_scope()
{
    static const auto pop = (PFN_cuCtxPopCurrent_v4000)hone_cuda_driver("cuCtxPopCurrent", 4000);
    CUcontext own;
    if (pushed && pop != NULL)
        pop(&own);
}

/* ---- devices, streams, memory, launches --------------------------------------------------------- */

static cudaError_t load_all(const void *const *kernels)
{
    cudaFuncAttributes attributes;
    cudaError_t result = cudaSuccess;
    for (; *kernels != NULL && result == cudaSuccess; kernels++)
        result = cudaFuncGetAttributes(&attributes, *kernels);
    return result;
}

/* Kernels of any step come to the device here, so that no step is the first to need room for one. */
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
    result = scope.result;
    if (result == cudaSuccess)
        result = load_all(hone_cuda_array_kernels);
    if (result == cudaSuccess)
        result = load_all(hone_cuda_norm_kernels);
    return hone_cuda_status(result);
}

/* By the driver, which needs no current device for it. */
struct hone_device_status hone_cuda_locate(const void *memory, int *device)
{
    static const auto ask =
        (PFN_cuPointerGetAttributes_v7000)hone_cuda_driver("cuPointerGetAttributes", 7000);
    CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    unsigned type = 0, managed = 0;
    int ordinal = -1;
    void *answers[] = {&type, &managed, &ordinal};
    const cudaError_t result =
        ask == NULL ? cudaErrorInsufficientDriver
                    : of_driver(ask(3, attributes, answers, (CUdeviceptr)memory));
    *device = -1;
    if (result == cudaSuccess && (type == CU_MEMORYTYPE_DEVICE || managed != 0))
        *device = ordinal;
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
