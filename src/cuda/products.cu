/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices behind the seam: the handle they need, and the polar factors made of them. */
#include "cuda/cuda_target.h"
#include "cuda/polar.h"
#include "cuda/symmetric.h"

/* cuBLAS allocates nothing once it has this, so its calls can be captured. It lies behind the factors' own
 * workspace. */
static const size_t blas_size = (size_t)32 << 20;

static struct hone_device_status status_of(cublasStatus_t status)
{
    struct hone_device_status out = {HONE_DEVICE_OK, NULL};
    if (status == CUBLAS_STATUS_SUCCESS)
        return out;
    const cudaError_t met = cudaGetLastError();
    out.fault = status == CUBLAS_STATUS_ALLOC_FAILED || met == cudaErrorMemoryAllocation
                    ? HONE_DEVICE_MEMORY
                    : HONE_DEVICE_LOST;
    out.text = cublasGetStatusString(status);
    return out;
}

/* Products are cuBLAS's handle. */
void hone_cuda_close_products(struct hone_device_queue queue, void *products)
{
    const cuda_scope scope(queue.device);
    if (products != NULL)
        cublasDestroy(static_cast<cublasHandle_t>(products));
}

struct hone_device_status hone_cuda_open_products(struct hone_device_queue queue, void **products)
{
    const cuda_scope scope(queue.device);
    cublasHandle_t handle = NULL;
    if (scope.result != cudaSuccess)
        return hone_cuda_status(scope.result);
    const struct hone_device_status status = status_of(cublasCreate(&handle));
    *products = handle;
    return status;
}

bool hone_cuda_polar_narrow(struct hone_device_queue queue, const struct hone_device_polar *polar)
{
    return hone_polar_device_narrow(polar, hone_symmetric_available(queue.device));
}

size_t hone_cuda_polar_batch(const struct hone_device_polar *polar, size_t bytes)
{
    const size_t most = 65535; /* blocks of a launch, one way */
    const size_t size = polar->narrow ? 4 : polar->products == HONE_DEVICE_PRODUCTS_DOUBLE ? 8 : 4;
    struct hone_device_polar one = *polar;
    one.batch = 1;
    const size_t fit =
        bytes / (hone_polar_device_workspace(&one) + polar->rows * polar->columns * size);
    return fit < 1 ? 1 : fit < most ? fit : most;
}

size_t hone_cuda_polar_workspace(const struct hone_device_polar *polar)
{
    return hone_polar_device_workspace(polar) + blas_size;
}

struct hone_device_status hone_cuda_polar(struct hone_device_queue queue, void *products,
                                          const struct hone_device_polar *polar, void *from,
                                          void *to, void *workspace)
{
    const cublasHandle_t handle = static_cast<cublasHandle_t>(products);
    const cuda_scope scope(queue.device);
    if (scope.result != cudaSuccess)
        return hone_cuda_status(scope.result);
    const cudaStream_t stream = hone_cuda_stream(queue);
    struct hone_device_status status = status_of(cublasSetStream(handle, stream));
    char *const blas = (char *)workspace + hone_polar_device_workspace(polar);
    if (status.fault == HONE_DEVICE_OK) /* a new stream takes the workspace away */
        status = status_of(cublasSetWorkspace(handle, blas, blas_size));
    if (status.fault == HONE_DEVICE_OK)
        status = hone_cuda_status(
            hone_polar_on_device(polar, from, to, workspace, handle, stream));
    return status;
}
