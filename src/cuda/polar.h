/* SPDX-License-Identifier: Apache-2.0 */
/* The polar factors of a batch of matrices on a device, by Newton-Schulz steps: what src/core/polar.h
 * does on the CPU. All work is put into a stream; nothing waits for the device, so it can be captured
 * in a graph. */
#ifndef HONE_CUDA_POLAR_H
#define HONE_CUDA_POLAR_H

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <stddef.h>

#include "kernel/device.h"

/* Bytes of workspace, which is to be aligned to 256; and how many matrices fit into so many bytes, as
 * hone_device_target's polar_batch. */
size_t hone_polar_device_workspace(const struct hone_device_polar *polar);
size_t hone_polar_device_batch(const struct hone_device_polar *polar, size_t bytes,
                               int multiprocessors);

/* Replaces the matrices (double for PRODUCTS_DOUBLE, else float; in the memory of the current device)
 * by their polar factors times scale; a matrix of zeros stays one. The
 * handle's stream is `stream`. */
cudaError_t hone_polar_on_device(const struct hone_device_polar *polar, void *matrices,
                                 void *workspace, cublasHandle_t handle, cudaStream_t stream);

#endif
