/* SPDX-License-Identifier: Apache-2.0 */
/* The bare loops, compiled once per CPU level with HONE_TARGET naming it. Nothing here is tuned by
 * hand: restrict pointers, unit strides, and the compiler's best. */
#include "bench_loops.h"

#include <string.h>

#define PASTE(a, b) a##b
#define PASTE_EXPANDED(a, b) PASTE(a, b)

static void stream28(float *restrict p, const float *restrict g, float *restrict m,
                     float *restrict v, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float x = g[i];
        p[i] += x;
        m[i] += x;
        v[i] += x;
    }
}

static void stream20(float *restrict p, const float *restrict g, float *restrict m, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float x = g[i];
        p[i] += x;
        m[i] += x;
    }
}

static void stream14(uint16_t *restrict p, const uint16_t *restrict g, uint16_t *restrict m,
                     uint16_t *restrict v, uint16_t mask, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint16_t x = g[i] & mask;
        p[i] = (uint16_t)(p[i] + x);
        m[i] = (uint16_t)(m[i] + x);
        v[i] = (uint16_t)(v[i] + x);
    }
}

/* The copy is kept and the parameter cast from it, as a step does: its upper half, plus g & mask. */
static void stream26(uint16_t *restrict p, const uint16_t *restrict g, float *restrict master,
                     float *restrict m, float *restrict v, uint16_t mask, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const uint16_t x = g[i] & mask;
        uint32_t bits;
        master[i] += x;
        memcpy(&bits, &master[i], sizeof bits);
        p[i] = (uint16_t)(bits >> 16);
        m[i] += x;
        v[i] += x;
    }
}

static float read4(const float *restrict g, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += g[i];
    return sum;
}

extern const bench_loops PASTE_EXPANDED(bench_loops_, HONE_TARGET);
const bench_loops PASTE_EXPANDED(bench_loops_, HONE_TARGET) = {stream28, stream20, stream14,
                                                               stream26, read4};
