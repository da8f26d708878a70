/* SPDX-License-Identifier: Apache-2.0 */
/* The polar factors of a batch of matrices on a device, by Newton-Schulz steps: what src/core/polar.h
 * does on the CPU. All work is put into a stream; nothing waits for the device, so it can be captured
 * in a graph. */
#ifndef HONE_CUDA_POLAR_H
#define HONE_CUDA_POLAR_H

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stddef.h>

enum hone_device_products {
    HONE_DEVICE_PRODUCTS_HALF,  /* factors in half precision, sums in float */
    HONE_DEVICE_PRODUCTS_FLOAT, /* float, never tf32 */
    HONE_DEVICE_PRODUCTS_DOUBLE
};

/* `batch` row-major matrices of one shape. */
struct hone_device_polar {
    size_t rows, columns, batch;
    enum hone_device_products products;
    double eps; /* a matrix is divided by its Frobenius norm, but by no less than this */
    int steps;
    const double (*coefficients)[3]; /* (a, b, c) of each step; the last one repeats */
    int coefficient_count;
    double scale; /* of the result */
};

/* Bytes of workspace, which is to be aligned to 256. */
size_t hone_device_polar_workspace(const struct hone_device_polar *polar);

/* Replaces the matrices (double for PRODUCTS_DOUBLE, else float; in the memory of the current device)
 * by their polar factors times scale; a matrix of zeros stays one. The handle's stream is set. */
cudaError_t hone_device_polar_run(const struct hone_device_polar *polar, void *matrices,
                              void *workspace, cublasHandle_t handle, cudaStream_t stream);

#endif
