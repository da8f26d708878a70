/* SPDX-License-Identifier: Apache-2.0 */
/* Symmetric products in half precision on Hopper: what Muon's steps are made of. The lower triangle
 * is computed and mirrored, which takes 0.6 of the operations of a full product. */
#ifndef HONE_CUDA_SYMMETRIC_H
#define HONE_CUDA_SYMMETRIC_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>

/* For each of `batch` matrices: c := alpha a b^T + beta d + gamma I, where a and b are n x k and the
 * result is known to be symmetric. Row-major, one after another without gaps; n and k are multiples
 * of 8 and every array begins at a multiple of 16 bytes. `d` may be NULL (beta is then not read), or a or b, but not c; it
 * must be symmetric. gamma reaches only the first `diagonal` rows. */
struct hone_symmetric {
    const __half *a, *b, *d;
    __half *c;
    float alpha, beta, gamma;
    int n, k, diagonal, batch;
};

/* Whether this device has the instructions (compute capability 9.0). */
bool hone_symmetric_available(int device);

/* Tiles of one product, a multiprocessor each. */
int hone_symmetric_tiles(int n);

cudaError_t hone_symmetric_product(const struct hone_symmetric *product, cudaStream_t stream);

#endif
