/* SPDX-License-Identifier: Apache-2.0 */
/* Symmetric products in half precision on Hopper: what Muon's steps are made of. The lower triangle
 * is computed and mirrored, which takes little more than half of a full product's operations. */
#ifndef HONE_CUDA_SYMMETRIC_H
#define HONE_CUDA_SYMMETRIC_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>

/* For each of `batch` matrices: c := by (alpha a b^T + beta d + gamma I), where a and b are n x k and the
 * result is known to be symmetric. Row-major, one after another without gaps; n is a multiple of 8 and
 * every array begins at a multiple of 16 bytes. `columns_first`: a and b are stored as k rows of n; else
 * k is a multiple of 8 as well. `d` may be NULL (beta is then not read), or a or b, but not c; it must be
 * symmetric. gamma reaches only the first `diagonal` rows. `by`, in the device's memory, has a factor for
 * each matrix; NULL: 1. `next`, there too, is 0 before. */
struct hone_symmetric {
    const __half *a, *b, *d;
    __half *c;
    float alpha, beta, gamma;
    const float *by;
    int *next;
    int n, k, diagonal, batch;
    bool columns_first;
};

/* Whether this device has the instructions (compute capability 9.0). */
bool hone_symmetric_available(int device);

cudaError_t hone_symmetric_product(const struct hone_symmetric *product, cudaStream_t stream);

#endif
