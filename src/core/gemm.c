/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products by CBLAS. */
#include "core/gemm.h"

#include <cblas.h>

static enum CBLAS_TRANSPOSE transposition(char letter)
{
    return letter == 'T' ? CblasTrans : CblasNoTrans;
}

void hone_gemm_f32(char transpose_a, char transpose_b, int m, int n, int k, const float *a, int lda,
                   const float *b, int ldb, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, transposition(transpose_a), transposition(transpose_b), m, n, k, 1,
                a, lda, b, ldb, 0, c, ldc);
}

void hone_gemm_f64(char transpose_a, char transpose_b, int m, int n, int k, const double *a,
                   int lda, const double *b, int ldb, double *c, int ldc)
{
    cblas_dgemm(CblasRowMajor, transposition(transpose_a), transposition(transpose_b), m, n, k, 1,
                a, lda, b, ldb, 0, c, ldc);
}
