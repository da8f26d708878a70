/* SPDX-License-Identifier: Apache-2.0 */
/* Newton-Schulz steps as products of small square matrices (src/core/polar_steps.h tells why that is
 * the same): with R = X X^T of the shorter side, several steps are made on n x n matrices alone, and X
 * is touched once at the end of such a segment.
 *
 * In half precision a factor is stored times a power of two that keeps it among the normal numbers:
 * X so that its elements are about 1, R times RANGE. Half has 11 bits where bfloat16 has 8, and all
 * factors are bounded once X is normalised, so nothing is lost by its short exponent.
 *
 * Directions that come as halves already (narrow) are X but for a power of two for each chunk, which is
 * made one for each matrix, and for the matrix's norm, which goes into the first R and into the first
 * polynomial that meets X. */
#include "cuda/polar.h"

#include <cuda_fp16.h>
#include <float.h>
#include <math.h>
#include <stdint.h>

#include "cuda/symmetric.h"

namespace {

enum {
    CHUNK = HONE_CHUNK, /* elements of one share of the sum of squares */
    SUMMING = 256,
    MOVING = 256,
    ALONG = 4,
    ALIGNING = 32, /* chunks of a block */
    ALIGNMENT = 256
};
const float RANGE = 1024; /* R's entries are at most about 1.5 */

struct layout {
    size_t n, m; /* the shorter and the longer side */
    size_t padded_n;
    bool tall;
    size_t rows, columns; /* of X: the matrix's, padded */
    size_t batch;
};

layout lay_out(const struct hone_device_polar *polar)
{
    layout l;
    l.tall = polar->rows > polar->columns;
    l.n = l.tall ? polar->columns : polar->rows;
    l.m = l.tall ? polar->rows : polar->columns;
    const size_t to = polar->products == HONE_DEVICE_PRODUCTS_HALF ? 8 : 1;
    l.padded_n = (l.n + to - 1) / to * to;
    l.rows = l.tall ? l.m : l.padded_n;
    l.columns = (polar->columns + to - 1) / to * to;
    l.batch = polar->batch;
    return l;
}

size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* More than all products of square matrices. */
size_t counters_of(const struct hone_device_polar *polar)
{
    return 8 * (size_t)polar->steps;
}

size_t shares_of(const struct hone_device_polar *polar)
{
    return (polar->rows * polar->columns + CHUNK - 1) / CHUNK;
}

/* Steps on n x n matrices before X is touched again. Longer segments take fewer operations where the
 * matrix is oblong, and lose accuracy in its small singular values; these lengths stay more exact
 * than products rounded to bfloat16 (docs/muon.md). */
int longest_segment(const struct hone_device_polar *polar, const layout &l)
{
    const bool oblong = 3 * l.m > 4 * l.n;
    if (polar->products == HONE_DEVICE_PRODUCTS_HALF)
        return oblong ? 5 : 3;
    return oblong ? 2 : 1;
}

/* Whether X is touched before the end, which needs a second place for it. */
bool has_room(const struct hone_device_polar *polar, const layout &l)
{
    return polar->steps > longest_segment(polar, l);
}

/* ---- kernels: the norm, and X from the directions --------------------------------------------- */

__device__ double sum_of_block(double value, double *memory)
{
    memory[threadIdx.x] = value;
    __syncthreads();
    for (int width = SUMMING / 2; width > 0; width /= 2) {
        if (threadIdx.x < width)
            memory[threadIdx.x] += memory[threadIdx.x + width];
        __syncthreads();
    }
    return memory[0];
}

template <typename real>
__global__ void __launch_bounds__(SUMMING)
    measure_kernel(const real *matrices, size_t area, double *shares)
{
    __shared__ double memory[SUMMING];
    const size_t first = (size_t)blockIdx.x * CHUNK, left = area - first;
    const real *const x = matrices + blockIdx.y * area + first;
    const int n = left < CHUNK ? (int)left : CHUNK;
    double sum = 0;
    for (int i = threadIdx.x; i < n; i += SUMMING)
        sum += (double)x[i] * (double)x[i];
    sum = sum_of_block(sum, memory);
    if (threadIdx.x == 0)
        shares[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/* A matrix's sum of squares. */
__device__ double sum_of_shares(const double *shares, size_t count, double *memory)
{
    double sum = 0;
    for (size_t i = threadIdx.x; i < count; i += SUMMING)
        sum += shares[blockIdx.x * count + i];
    return sum_of_block(sum, memory);
}

/* 1 / max(norm, eps), or 0 where that is 1 / 0; NaN goes on */
__device__ double inverse_of(double norm, double eps)
{
    const double divisor = norm <= eps ? eps : norm;
    return divisor == 0 ? 0 : 1 / divisor;
}

__global__ void __launch_bounds__(SUMMING)
    norm_kernel(const double *shares, size_t count, double eps, double *inverse)
{
    __shared__ double memory[SUMMING];
    const double norm = sqrt(sum_of_shares(shares, count, memory));
    if (threadIdx.x == 0)
        inverse[blockIdx.x] = inverse_of(norm, eps);
}

/* Of narrow matrices: the power of two that all of one are to be stored times, and what R and the first
 * polynomial are to be multiplied by because they have been. */
struct narrow_scales {
    int *exponent;
    float *r, *q;
};

__global__ void __launch_bounds__(SUMMING)
    narrow_norm_kernel(const double *shares, size_t count, size_t area, double eps, double range,
                       narrow_scales to)
{
    __shared__ double memory[SUMMING];
    const double squares = sum_of_shares(shares, count, memory), norm = sqrt(squares);
    if (threadIdx.x != 0)
        return;
    int exponent = hone_half_exponent(squares, (double)area);
    while (ldexp(norm, exponent) > 60000 && norm < INFINITY) /* no element may pass 65504 */
        exponent--;
    const double scale = ldexp(inverse_of(norm, eps), -exponent);
    to.exponent[blockIdx.x] = exponent;
    to.r[blockIdx.x] = (float)(scale * scale);
    to.q[blockIdx.x] = (float)(scale * range);
}

/* Gives all chunks of a narrow matrix the matrix's power of two. Few have another one; a block looks at
 * ALIGNING of them. */
__global__ void __launch_bounds__(MOVING)
    align_kernel(__half *matrices, size_t area, const double *shares, size_t count,
                 const int *exponent)
{
    __shared__ int by[ALIGNING];
    const size_t begin = (size_t)blockIdx.x * ALIGNING;
    if (threadIdx.x < ALIGNING) {
        const size_t chunk = begin + threadIdx.x, first = chunk * CHUNK;
        const double squares = chunk < count ? shares[blockIdx.y * count + chunk] : 0;
        const double n = area - first < CHUNK ? (double)(area - first) : CHUNK;
        by[threadIdx.x] = squares == 0 ? 0 : exponent[blockIdx.y] - hone_half_exponent(squares, n);
    }
    __syncthreads();
    for (int k = 0; k < ALIGNING; k++) {
        const size_t first = (begin + k) * CHUNK;
        if (by[k] == 0)
            continue;
        __half *const x = matrices + blockIdx.y * area + first;
        const int n = area - first < CHUNK ? (int)(area - first) : CHUNK;
        for (int i = threadIdx.x; i < n; i += MOVING)
            x[i] = __float2half_rn(scalbnf(__half2float(x[i]), by[k]));
    }
}

template <typename factor> __device__ factor narrow(double value)
{
    return (factor)value;
}

template <> __device__ __half narrow<__half>(double value)
{
    return __float2half_rn((float)value);
}

/* x := matrix * inverse * scale, padded with zeros. A block takes ALONG * MOVING elements of a row, or of
 * rows far apart where there are very many. */
template <typename real, typename factor>
__global__ void __launch_bounds__(MOVING)
    normalise_kernel(const real *matrices, size_t rows, size_t columns, const double *inverse,
                     double scale, layout l, factor *x)
{
    const double by = inverse[blockIdx.z] * scale;
    const size_t first = (size_t)blockIdx.x * ALONG * MOVING + threadIdx.x;
    for (size_t row = blockIdx.y; row < l.rows; row += gridDim.y) {
        const real *const from = matrices + (blockIdx.z * rows + row) * columns;
        factor *const to = x + (blockIdx.z * l.rows + row) * l.columns;
#pragma unroll
        for (int k = 0; k < ALONG; k++) {
            const size_t column = first + (size_t)k * MOVING;
            if (column < l.columns)
                to[column] = narrow<factor>(
                    row < rows && column < columns ? (double)from[column] * by : 0);
        }
    }
}

/* c[i][i] += gamma for i < n */
template <typename factor>
__global__ void add_diagonal(factor *c, size_t n, size_t padded, double gamma)
{
    const size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    if (i < n) {
        factor *const at = c + blockIdx.y * padded * padded + i * padded + i;
        *at = narrow<factor>((double)*at + gamma);
    }
}

/* ---- products --------------------------------------------------------------------------------- */

template <typename factor> struct types;
template <> struct types<__half> {
    typedef float scalar, real;
    static const cudaDataType_t data = CUDA_R_16F, result = CUDA_R_32F;
    static const cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
};
template <> struct types<float> {
    typedef float scalar, real;
    static const cudaDataType_t data = CUDA_R_32F, result = CUDA_R_32F;
    static const cublasComputeType_t compute = CUBLAS_COMPUTE_32F_PEDANTIC;
};
template <> struct types<double> {
    typedef double scalar, real;
    static const cudaDataType_t data = CUDA_R_64F, result = CUDA_R_64F;
    static const cublasComputeType_t compute = CUBLAS_COMPUTE_64F;
};

/* cuBLAS does not tell what it met in the runtime: kernels that found no memory, for one. */
cudaError_t of_cublas(cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return cudaSuccess;
    const cudaError_t met = cudaGetLastError();
    return status == CUBLAS_STATUS_ALLOC_FAILED ? cudaErrorMemoryAllocation
           : met != cudaSuccess                 ? met
                                                : cudaErrorUnknown;
}

/* One call's work: where things are, and the first error, after which nothing is done any more. */
template <typename factor> struct work {
    typedef typename types<factor>::scalar scalar;
    typedef typename types<factor>::real real;

    const struct hone_device_polar *polar;
    layout l;
    cublasHandle_t handle;
    cudaStream_t stream;
    bool hopper;
    cudaError_t status;
    double range, x_range; /* what R and X are stored times; of narrow matrices X only once R is made */
    narrow_scales scales;  /* of narrow matrices */
    factor *x, *room, *r, *z, *q, *t, *next;
    int *counter; /* of the next product of hone's own kernel; zeros */

    void check(cudaError_t result)
    {
        if (status == cudaSuccess)
            status = result;
    }

    /* cuBLAS counts columns first: our row-major matrices are the transposes of its. */
    void gemm(cublasOperation_t of_a, cublasOperation_t of_b, size_t m, size_t n, size_t k,
              double alpha, const factor *a, size_t lda, size_t area_a, const factor *b, size_t ldb,
              size_t area_b, double beta, void *c, cudaDataType_t type, size_t ldc, size_t area_c)
    {
        const scalar by = (scalar)alpha, keep = (scalar)beta;
        if (status != cudaSuccess)
            return;
        check(of_cublas(cublasGemmStridedBatchedEx(
            handle, of_a, of_b, (int)m, (int)n, (int)k, &by, a, types<factor>::data, (int)lda,
            (long long)area_a, b, types<factor>::data, (int)ldb, (long long)area_b, &keep, c, type,
            (int)ldc, (long long)area_c, (int)l.batch, types<factor>::compute,
            CUBLAS_GEMM_DEFAULT)));
    }

    size_t square(void) const
    {
        return l.padded_n * l.padded_n;
    }

    /* c := by (alpha a b + beta d + gamma I), where all are symmetric */
    void symmetric(const factor *a, const factor *b, double alpha, const factor *d, double beta,
                   double gamma, const float *by, factor *c)
    {
        const size_t n = l.padded_n;
        if (status != cudaSuccess || symmetric_here(a, b, n, alpha, d, beta, gamma, by, c))
            return;
        if (d != NULL)
            check(cudaMemcpyAsync(c, d, square() * l.batch * sizeof(factor),
                                  cudaMemcpyDeviceToDevice, stream));
        gemm(CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, alpha, b, n, square(), a, n, square(),
             d != NULL ? beta : 0, c, types<factor>::data, n, square());
        if (gamma != 0 && status == cudaSuccess) {
            const dim3 blocks((unsigned)((l.n + MOVING - 1) / MOVING), (unsigned)l.batch);
            add_diagonal<<<blocks, MOVING, 0, stream>>>(c, l.n, n, gamma);
            check(cudaGetLastError());
        }
    }

    /* The same by hone's own kernel, where that can; a and b are n x k, or X twice. */
    bool symmetric_here(const factor *a, const factor *b, size_t k, double alpha, const factor *d,
                        double beta, double gamma, const float *by, factor *c);

    /* z := by (k0 I + k1 R + k2 R^2) */
    void polynomial(const double *k, const float *by, factor *to)
    {
        symmetric(r, r, k[2] / (range * range), r, k[1] / range, k[0], by, to);
    }

    /* r := X X^T, or X^T X of a tall matrix */
    void gram(const float *by)
    {
        const size_t n = l.padded_n, k = l.tall ? l.rows : l.columns, area = l.rows * l.columns;
        const double alpha = by != NULL ? range : range / (x_range * x_range);
        if (status != cudaSuccess || symmetric_here(x, x, k, alpha, NULL, 0, 0, by, r))
            return;
        if (l.tall)
            gemm(CUBLAS_OP_N, CUBLAS_OP_T, n, n, k, alpha, x, n, area, x, n, area, 0, r,
                 types<factor>::data, n, square());
        else
            gemm(CUBLAS_OP_T, CUBLAS_OP_N, n, n, k, alpha, x, k, area, x, k, area, 0, r,
                 types<factor>::data, n, square());
    }

    const double *step(int index) const
    {
        const int last = polar->coefficient_count - 1;
        return polar->coefficients[index < last ? index : last];
    }

    /* q := the polynomial of steps first..first + count - 1 in R */
    void segment(int first, int count)
    {
        const bool scaled = polar->narrow && first == 0;
        const float *const by = scaled ? scales.q : NULL;
        gram(scaled ? scales.r : NULL);
        polynomial(step(first), count == 1 ? by : NULL, q);
        for (int i = 1; i < count; i++) {
            const factor *const before = i == 1 ? q : z;
            symmetric(before, r, 1, NULL, 0, 0, NULL, t);
            symmetric(before, t, 1, NULL, 0, 0, NULL, next);
            exchange(&r, &next);
            polynomial(step(first + i), NULL, z);
            symmetric(z, q, 1, NULL, 0, 0, i == count - 1 ? by : NULL, t);
            exchange(&q, &t);
        }
    }

    static void exchange(factor **a, factor **b)
    {
        factor *const old = *a;
        *a = *b;
        *b = old;
    }

    /* to := alpha q x, or alpha x q of a tall matrix; `to` is n x m or m x n */
    void touch(double alpha, void *to, cudaDataType_t type, size_t n, size_t m)
    {
        const size_t side = l.padded_n, area = l.rows * l.columns;
        if (l.tall)
            gemm(CUBLAS_OP_N, CUBLAS_OP_N, n, m, side, alpha, q, side, square(), x, l.columns, area, 0,
                 to, type, n, n * m);
        else
            gemm(CUBLAS_OP_N, CUBLAS_OP_N, m, n, side, alpha, x, l.columns, area, q, side, square(), 0,
                 to, type, m, n * m);
    }

    void apply(double new_range)
    {
        touch(new_range / x_range, room, types<factor>::data, l.padded_n,
              l.tall ? l.rows : l.columns);
        exchange(&x, &room);
        x_range = new_range;
    }

    void finish(void *to)
    {
        touch(polar->scale / x_range, to,
              polar->narrow ? types<factor>::data : types<factor>::result, l.n, l.m);
    }

    void normalise(const real *matrices, double *shares, double *inverse)
    {
        const size_t count = shares_of(polar), across = (l.columns + ALONG * MOVING - 1) / (ALONG * MOVING);
        const unsigned batch = (unsigned)l.batch;
        if (!polar->measured)
            measure_kernel<<<dim3((unsigned)count, batch), SUMMING, 0, stream>>>(
                matrices, l.n * l.m, shares);
        norm_kernel<<<batch, SUMMING, 0, stream>>>(shares, count, polar->eps, inverse);
        const dim3 blocks((unsigned)across, (unsigned)(l.rows < 65535 ? l.rows : 65535), batch);
        normalise_kernel<<<blocks, MOVING, 0, stream>>>(matrices, polar->rows, polar->columns, inverse,
                                                        x_range, l, x);
        check(cudaGetLastError());
    }

    void align(const double *shares)
    {
        const size_t count = shares_of(polar), area = l.n * l.m;
        const unsigned batch = (unsigned)l.batch, blocks = (unsigned)((count + ALIGNING - 1) / ALIGNING);
        narrow_norm_kernel<<<batch, SUMMING, 0, stream>>>(shares, count, area, polar->eps, x_range,
                                                          scales);
        align_kernel<<<dim3(blocks, batch), MOVING, 0, stream>>>((__half *)x, area, shares, count,
                                                                 scales.exponent);
        check(cudaGetLastError());
    }

    void run(const void *from, void *to, char *workspace);
};

template <typename factor>
bool work<factor>::symmetric_here(const factor *, const factor *, size_t, double, const factor *,
                                  double, double, const float *, factor *)
{
    return false;
}

template <>
bool work<__half>::symmetric_here(const __half *a, const __half *b, size_t k, double alpha,
                                  const __half *d, double beta, double gamma, const float *by,
                                  __half *c)
{
    if (!hopper)
        return false;
    struct hone_symmetric product = {};
    product.a = a;
    product.b = b;
    product.d = d;
    product.c = c;
    product.alpha = (float)alpha;
    product.beta = (float)beta;
    product.gamma = (float)gamma;
    product.by = by;
    product.next = counter++;
    product.n = (int)l.padded_n;
    product.k = (int)k;
    product.diagonal = (int)l.n;
    product.batch = (int)l.batch;
    product.columns_first = a == x && l.tall;
    check(hone_symmetric_product(&product, stream));
    return true;
}

/* The power of two next to the square root of x. */
double root_range(double x)
{
    return exp2(round(log2(x) / 2));
}

/* Cuts arrays out of the workspace; with no workspace it only counts. */
struct cutter {
    char *base;
    size_t used;

    template <typename type> type *cut(size_t count)
    {
        type *const at = (type *)(base + used);
        used += aligned(count * sizeof(type));
        return base == NULL ? NULL : at;
    }
};

/* Where everything lies in the workspace; the shares first. */
template <typename factor>
void place_arrays(const struct hone_device_polar *polar, cutter *from, work<factor> *w,
                  double **shares, double **inverse)
{
    const size_t squares = w->l.padded_n * w->l.padded_n * w->l.batch;
    const size_t area = w->l.rows * w->l.columns * w->l.batch;
    *shares = from->cut<double>(shares_of(polar) * w->l.batch);
    *inverse = from->cut<double>(w->l.batch);
    w->scales.exponent = from->cut<int>(w->l.batch);
    w->scales.r = from->cut<float>(w->l.batch);
    w->scales.q = from->cut<float>(w->l.batch);
    w->counter = from->cut<int>(counters_of(polar));
    if (!polar->narrow)
        w->x = from->cut<factor>(area);
    if (has_room(polar, w->l))
        w->room = from->cut<factor>(area);
    factor **const arrays[] = {&w->r, &w->z, &w->q, &w->t, &w->next};
    for (factor **array : arrays)
        *array = from->cut<factor>(squares);
}

template <typename factor> void work<factor>::run(const void *from, void *to, char *workspace)
{
    const bool half = polar->products == HONE_DEVICE_PRODUCTS_HALF;
    cutter cutting = {workspace, 0};
    double *shares, *inverse;
    place_arrays(polar, &cutting, this, &shares, &inverse);
    if (hopper)
        check(cudaMemsetAsync(counter, 0, counters_of(polar) * sizeof *counter, stream));
    range = half ? RANGE : 1;
    x_range = half ? fmin(root_range((double)l.n * (double)l.m), 16384) : 1;
    if (polar->narrow) {
        x = (factor *)from;
        align(shares);
    } else
        normalise((const real *)from, shares, inverse);
    const int longest = longest_segment(polar, l);
    for (int first = 0; first < polar->steps; first += longest) {
        const int left = polar->steps - first;
        segment(first, left < longest ? left : longest);
        if (left > longest)
            apply(half ? root_range((double)l.m) : 1);
    }
    finish(to);
}

template <typename factor>
cudaError_t run(const struct hone_device_polar *polar, void *from, void *to, void *workspace,
                cublasHandle_t handle, cudaStream_t stream)
{
    work<factor> w = {};
    int device = 0;
    w.polar = polar;
    w.l = lay_out(polar);
    w.handle = handle;
    w.stream = stream;
    w.status = cudaGetDevice(&device);
    w.hopper = w.status == cudaSuccess && hone_symmetric_available(device);
    if (w.status == cudaSuccess)
        w.run(from, to, (char *)workspace);
    return w.status;
}

template <typename factor> size_t workspace_of(const struct hone_device_polar *polar)
{
    work<factor> w = {};
    cutter counting = {NULL, 0};
    double *shares, *inverse;
    w.l = lay_out(polar);
    place_arrays(polar, &counting, &w, &shares, &inverse);
    return counting.used;
}

} // namespace

size_t hone_polar_device_workspace(const struct hone_device_polar *polar)
{
    switch (polar->products) {
    case HONE_DEVICE_PRODUCTS_HALF: return workspace_of<__half>(polar);
    case HONE_DEVICE_PRODUCTS_FLOAT: return workspace_of<float>(polar);
    default: return workspace_of<double>(polar);
    }
}

bool hone_polar_device_narrow(const struct hone_device_polar *polar, bool hopper)
{
    return hopper && polar->products == HONE_DEVICE_PRODUCTS_HALF && polar->rows % 8 == 0 &&
           polar->columns % 8 == 0;
}

cudaError_t hone_polar_on_device(const struct hone_device_polar *polar, void *from, void *to,
                                 void *workspace, cublasHandle_t handle, cudaStream_t stream)
{
    if (polar->rows == 0 || polar->columns == 0 || polar->batch == 0)
        return cudaSuccess;
    switch (polar->products) {
    case HONE_DEVICE_PRODUCTS_HALF: return run<__half>(polar, from, to, workspace, handle, stream);
    case HONE_DEVICE_PRODUCTS_FLOAT: return run<float>(polar, from, to, workspace, handle, stream);
    default: return run<double>(polar, from, to, workspace, handle, stream);
    }
}
