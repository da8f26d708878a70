/* SPDX-License-Identifier: Apache-2.0 */
/* Bare streams: what the memory gives when the arithmetic is one addition. Reads `reads` arrays and writes
 * the last `writes` of them, 16 bytes a thread and array; the bytes of AdamW's traffic without AdamW. */
#include <stdint.h>

#define THREADS 512

template <int READS, int WRITES>
static __global__ void __launch_bounds__(THREADS) stream_kernel(uint4 *a, uint4 *b, uint4 *c, uint4 *d,
                                                                size_t vectors)
{
    uint4 *const array[4] = {a, b, c, d};
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= vectors)
        return;
    uint4 value[READS];
#pragma unroll
    for (int k = 0; k < READS; k++)
        value[k] = array[k][i];
    uint4 sum = value[0];
#pragma unroll
    for (int k = 1; k < READS; k++)
        sum.x += value[k].x, sum.y += value[k].y, sum.z += value[k].z, sum.w += value[k].w;
#pragma unroll
    for (int k = 0; k < WRITES; k++) {
        uint4 out = sum;
        out.x += k;
        array[READS - 1 - k][i] = out;
    }
}

static __global__ void __launch_bounds__(THREADS) read_kernel(const uint4 *a, size_t vectors,
                                                              uint32_t *out)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= vectors)
        return;
    const uint4 v = a[i];
    if ((v.x ^ v.y ^ v.z ^ v.w) == 0x9e3779b9u) /* hardly ever, but the load has to happen */
        *out = v.x;
}

/* Four arrays of `bytes` each: all read, three written, as AdamW does. */
extern "C" void hone_bare_4r3w(void *g, void *p, void *m, void *v, size_t bytes, void *stream)
{
    const size_t vectors = bytes / sizeof(uint4);
    const size_t blocks = (vectors + THREADS - 1) / THREADS;
    stream_kernel<4, 3><<<(uint32_t)blocks, THREADS, 0, (cudaStream_t)stream>>>(
        (uint4 *)g, (uint4 *)p, (uint4 *)m, (uint4 *)v, vectors);
}

/* One array read. */
extern "C" void hone_bare_1r(const void *g, size_t bytes, void *out, void *stream)
{
    const size_t vectors = bytes / sizeof(uint4);
    const size_t blocks = (vectors + THREADS - 1) / THREADS;
    read_kernel<<<(uint32_t)blocks, THREADS, 0, (cudaStream_t)stream>>>((const uint4 *)g, vectors,
                                                                      (uint32_t *)out);
}
