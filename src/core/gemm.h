/* SPDX-License-Identifier: Apache-2.0 */
/* The seam to matrix products: CBLAS, and oneDNN where it was found. All matrices are row-major; a
 * transposition is 'N' or 'T'. */
#ifndef HONE_CORE_GEMM_H
#define HONE_CORE_GEMM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Whether a call runs on the calling thread alone, so that the caller should cut its products into
 * tiles for its own threads. CBLAS libraries bring threads of their own. */
#if defined(HONE_WITH_ONEDNN)
#define HONE_GEMM_TILED_f32 1
#else
#define HONE_GEMM_TILED_f32 0
#endif
#define HONE_GEMM_TILED_f64 0

/* To be called first in a team of threads that calls the tiled ones. */
void hone_gemm_enter(void);

/* c := op(a) op(b), where op(a) is m x k and op(b) is k x n. */
void hone_gemm_f32(char transpose_a, char transpose_b, int m, int n, int k, const float *a, int lda,
                   const float *b, int ldb, float *c, int ldc);
void hone_gemm_f64(char transpose_a, char transpose_b, int m, int n, int k, const double *a,
                   int lda, const double *b, int ldb, double *c, int ldc);

/* The same for bfloat16 factors, with products and sums in float. Tiled. */
void hone_gemm_bf16(char transpose_a, char transpose_b, int m, int n, int k, const uint16_t *a,
                    int lda, const uint16_t *b, int ldb, float *c, int ldc);

static inline float hone_widen_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest, ties to even. */
static inline uint16_t hone_narrow_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

/* Whether this processor multiplies bfloat16 faster than float, and the library can. */
bool hone_gemm_has_bf16(void);

#endif
