/* SPDX-License-Identifier: Apache-2.0 */
/* The seam to CBLAS. All matrices are row-major; a transposition is 'N' or 'T'. */
#ifndef HONE_CORE_GEMM_H
#define HONE_CORE_GEMM_H

/* c := op(a) op(b), where op(a) is m x k and op(b) is k x n. */
void hone_gemm_f32(char transpose_a, char transpose_b, int m, int n, int k, const float *a, int lda,
                   const float *b, int ldb, float *c, int ldc);
void hone_gemm_f64(char transpose_a, char transpose_b, int m, int n, int k, const double *a,
                   int lda, const double *b, int ldb, double *c, int ldc);

#endif
