/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products by CBLAS or oneDNN. A product that oneDNN refuses, which is for want of memory, is
 * made without it. */
#include "core/gemm.h"

#include <cblas.h>
#include <omp.h>
#include <stddef.h>

static enum CBLAS_TRANSPOSE transposition(char letter)
{
    return letter == 'T' ? CblasTrans : CblasNoTrans;
}

void hone_gemm_f64(char transpose_a, char transpose_b, int m, int n, int k, const double *a,
                   int lda, const double *b, int ldb, double *c, int ldc)
{
    cblas_dgemm(CblasRowMajor, transposition(transpose_a), transposition(transpose_b), m, n, k, 1,
                a, lda, b, ldb, 0, c, ldc);
}

#if defined(HONE_WITH_ONEDNN)
#include <oneapi/dnnl/dnnl.h>

/* Exported by release 2.6.3 and used by oneDNN's own tests, though in no header; called as
 * dnnl_sgemm. The build probes for it. */
dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n,
                                    dnnl_dim_t k, float alpha, const uint16_t *a, dnnl_dim_t lda,
                                    const uint16_t *b, dnnl_dim_t ldb, float beta, float *c,
                                    dnnl_dim_t ldc);

void hone_gemm_enter(void)
{
    omp_set_num_threads(1); /* of this thread alone, and until the parallel region ends */
}

bool hone_gemm_has_bf16(void)
{
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
}

void hone_gemm_f32(char transpose_a, char transpose_b, int m, int n, int k, const float *a, int lda,
                   const float *b, int ldb, float *c, int ldc)
{
    if (dnnl_sgemm(transpose_a, transpose_b, m, n, k, 1, a, lda, b, ldb, 0, c, ldc) != dnnl_success)
        cblas_sgemm(CblasRowMajor, transposition(transpose_a), transposition(transpose_b), m, n, k,
                    1, a, lda, b, ldb, 0, c, ldc);
}

/* Needs no memory. */
static void multiply_plainly(char transpose_a, char transpose_b, int m, int n, int k,
                             const uint16_t *a, int lda, const uint16_t *b, int ldb, float *c,
                             int ldc)
{
    const size_t a_row = transpose_a == 'T' ? 1 : (size_t)lda,
                 a_column = a_row == 1 ? (size_t)lda : 1;
    const size_t b_row = transpose_b == 'T' ? 1 : (size_t)ldb,
                 b_column = b_row == 1 ? (size_t)ldb : 1;
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t j = 0; j < (size_t)n; j++) {
            float sum = 0;
            for (size_t l = 0; l < (size_t)k; l++)
                sum += hone_widen_bf16(a[i * a_row + l * a_column]) *
                       hone_widen_bf16(b[l * b_row + j * b_column]);
            c[i * (size_t)ldc + j] = sum;
        }
}

void hone_gemm_bf16(char transpose_a, char transpose_b, int m, int n, int k, const uint16_t *a,
                    int lda, const uint16_t *b, int ldb, float *c, int ldc)
{
    if (dnnl_gemm_bf16bf16f32(transpose_a, transpose_b, m, n, k, 1, a, lda, b, ldb, 0, c, ldc) !=
        dnnl_success)
        multiply_plainly(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc);
}

#else

void hone_gemm_enter(void)
{
}

bool hone_gemm_has_bf16(void)
{
    return false;
}

void hone_gemm_f32(char transpose_a, char transpose_b, int m, int n, int k, const float *a, int lda,
                   const float *b, int ldb, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, transposition(transpose_a), transposition(transpose_b), m, n, k, 1,
                a, lda, b, ldb, 0, c, ldc);
}

#endif
