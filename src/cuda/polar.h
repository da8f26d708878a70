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

/* Bytes of workspace, which is to be aligned to 256. */
size_t hone_polar_device_workspace(const struct hone_device_polar *polar);

/* Whether these matrices can come and go as halves. */
bool hone_polar_device_narrow(const struct hone_device_polar *polar, bool hopper);

/* to := the polar factors of `from` times scale, in the memory of the current device; a matrix of zeros
 * stays one. Elements are double for PRODUCTS_DOUBLE, half for narrow matrices, else float. `to` may be
 * `from` unless they are narrow, which loses `from`. The handle's stream is `stream`. */
cudaError_t hone_polar_on_device(const struct hone_device_polar *polar, void *from, void *to,
                                 void *workspace, cublasHandle_t handle, cudaStream_t stream);

#endif
