/* SPDX-License-Identifier: Apache-2.0 */
/* Newton-Schulz steps as products of small square matrices (src/core/polar_steps.h tells why that is
 * the same): with R = X X^T of the shorter side, several steps are made on n x n matrices alone, and X
 * is touched once at the end of such a segment.
 *
 * In half precision a factor is stored times a power of two that keeps it among the normal numbers:
 * X so that its elements are about 1, R times RANGE. Half has 11 bits where bfloat16 has 8, and all
 * factors are bounded once X is normalised, so nothing is lost by its short exponent. */
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
    TILE = 64, /* side of a transposed tile */
    MOVING = 256,
    ALONG = 4,
    ALIGNMENT = 256
};
const float RANGE = 1024; /* R's entries are at most about 1.5 */

struct layout {
    size_t n, m; /* the shorter and the longer side */
    size_t padded_n, padded_m;
    bool tall;
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
    l.padded_m = (l.m + to - 1) / to * to;
    l.batch = polar->batch;
    return l;
}

size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

size_t element_size(enum hone_device_products products)
{
    return products == HONE_DEVICE_PRODUCTS_HALF    ? sizeof(__half)
           : products == HONE_DEVICE_PRODUCTS_FLOAT ? sizeof(float)
                                                    : sizeof(double);
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

/* inverse := 1 / max(norm, eps), or 0 where that is 1 / 0; NaN goes on */
__global__ void __launch_bounds__(SUMMING)
    norm_kernel(const double *shares, size_t count, double eps, double *inverse)
{
    __shared__ double memory[SUMMING];
    double sum = 0;
    for (size_t i = threadIdx.x; i < count; i += SUMMING)
        sum += shares[blockIdx.x * count + i];
    const double norm = sqrt(sum_of_block(sum, memory));
    const double divisor = norm <= eps ? eps : norm;
    if (threadIdx.x == 0)
        inverse[blockIdx.x] = divisor == 0 ? 0 : 1 / divisor;
}

template <typename factor> __device__ factor narrow(double value)
{
    return (factor)value;
}

template <> __device__ __half narrow<__half>(double value)
{
    return __float2half_rn((float)value);
}

/* x := matrix * inverse * scale, padded with zeros, for matrices that are at least as wide as tall. A
 * block takes ALONG * MOVING elements of a row, or of rows far apart where there are very many. */
template <typename real, typename factor>
__global__ void __launch_bounds__(MOVING)
    normalise_wide(const real *matrices, const double *inverse, double scale, layout l, factor *x)
{
    const double by = inverse[blockIdx.z] * scale;
    const size_t first = (size_t)blockIdx.x * ALONG * MOVING + threadIdx.x;
    for (size_t row = blockIdx.y; row < l.padded_n; row += gridDim.y) {
        const real *const from = matrices + (blockIdx.z * l.n + row) * l.m;
        factor *const to = x + (blockIdx.z * l.padded_n + row) * l.padded_m;
#pragma unroll
        for (int k = 0; k < ALONG; k++) {
            const size_t column = first + (size_t)k * MOVING;
            if (column < l.padded_m)
                to[column] = narrow<factor>(
                    row < l.n && column < l.m ? (double)from[column] * by : 0);
        }
    }
}

/* The same, transposed. Every block takes squares of TILE x TILE through shared memory. */
template <typename real, typename factor>
__global__ void __launch_bounds__(MOVING)
    normalise_tall(const real *matrices, const double *inverse, double scale, layout l, factor *x)
{
    __shared__ real square[TILE][TILE + 1];
    const double by = inverse[blockIdx.z] * scale;
    const real *const from = matrices + blockIdx.z * l.n * l.m;
    factor *const to = x + blockIdx.z * l.padded_n * l.padded_m;
    const size_t row = (size_t)blockIdx.x * TILE, column = (size_t)blockIdx.y * TILE; /* of `from` */
    const int lane = threadIdx.x % TILE, line = threadIdx.x / TILE;
    for (int i = line; i < TILE; i += MOVING / TILE)
        square[i][lane] = row + i < l.m && column + lane < l.n
                              ? from[(row + i) * l.n + column + lane]
                              : (real)0;
    __syncthreads();
    for (int i = line; i < TILE; i += MOVING / TILE)
        if (column + i < l.padded_n && row + lane < l.padded_m)
            to[(column + i) * l.padded_m + row + lane] =
                narrow<factor>((double)square[lane][i] * by);
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

cudaError_t of_cublas(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS        ? cudaSuccess
           : status == CUBLAS_STATUS_ALLOC_FAILED ? cudaErrorMemoryAllocation
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
    double range, x_range; /* what R and X are stored times */
    factor *x, *room, *r, *z, *q, *t, *next;

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

    /* c := alpha a b^T + beta d + gamma I, symmetric; a and b are n x k */
    void symmetric(const factor *a, const factor *b, size_t k, double alpha, const factor *d,
                   double beta, double gamma, factor *c)
    {
        const size_t n = l.padded_n;
        if (status != cudaSuccess || symmetric_here(a, b, k, alpha, d, beta, gamma, c))
            return;
        if (d != NULL)
            check(cudaMemcpyAsync(c, d, square() * l.batch * sizeof(factor),
                                  cudaMemcpyDeviceToDevice, stream));
        gemm(CUBLAS_OP_T, CUBLAS_OP_N, n, n, k, alpha, b, k, n * k, a, k, n * k, d != NULL ? beta : 0,
             c, types<factor>::data, n, square());
        if (gamma != 0 && status == cudaSuccess) {
            const dim3 blocks((unsigned)((l.n + MOVING - 1) / MOVING), (unsigned)l.batch);
            add_diagonal<<<blocks, MOVING, 0, stream>>>(c, l.n, n, gamma);
            check(cudaGetLastError());
        }
    }

    bool symmetric_here(const factor *a, const factor *b, size_t k, double alpha, const factor *d,
                        double beta, double gamma, factor *c);

    /* z := k0 I + k1 R + k2 R^2 */
    void polynomial(const double *k, factor *to)
    {
        symmetric(r, r, l.padded_n, k[2] / (range * range), r, k[1] / range, k[0], to);
    }

    void gram(void)
    {
        symmetric(x, x, l.padded_m, range / (x_range * x_range), NULL, 0, 0, r);
    }

    const double *step(int index) const
    {
        const int last = polar->coefficient_count - 1;
        return polar->coefficients[index < last ? index : last];
    }

    /* q := the polynomial of steps first..first + count - 1 in R */
    void segment(int first, int count)
    {
        const size_t n = l.padded_n;
        gram();
        polynomial(step(first), q);
        for (int i = 1; i < count; i++) {
            const factor *const before = i == 1 ? q : z;
            symmetric(before, r, n, 1, NULL, 0, 0, t);
            symmetric(before, t, n, 1, NULL, 0, 0, next);
            exchange(&r, &next);
            polynomial(step(first + i), z);
            symmetric(z, q, n, 1, NULL, 0, 0, t);
            exchange(&q, &t);
        }
    }

    static void exchange(factor **a, factor **b)
    {
        factor *const old = *a;
        *a = *b;
        *b = old;
    }

    /* x := q x */
    void apply(double new_range)
    {
        const size_t n = l.padded_n, m = l.padded_m;
        gemm(CUBLAS_OP_N, CUBLAS_OP_N, m, n, n, new_range / x_range, x, m, n * m, q, n, square(), 0,
             room, types<factor>::data, m, n * m);
        exchange(&x, &room);
        x_range = new_range;
    }

    /* matrices := scale q x, in their own shape */
    void finish(void *matrices)
    {
        const size_t n = l.padded_n, m = l.padded_m;
        const double alpha = polar->scale / x_range;
        if (l.tall)
            gemm(CUBLAS_OP_N, CUBLAS_OP_T, l.n, l.m, n, alpha, q, n, square(), x, m, n * m, 0,
                 matrices, types<factor>::result, l.n, l.n * l.m);
        else
            gemm(CUBLAS_OP_N, CUBLAS_OP_N, l.m, l.n, n, alpha, x, m, n * m, q, n, square(), 0,
                 matrices, types<factor>::result, l.m, l.n * l.m);
    }

    void normalise(const real *matrices, double *shares, double *inverse)
    {
        const size_t count = shares_of(polar);
        const unsigned batch = (unsigned)l.batch;
        if (!polar->measured)
            measure_kernel<<<dim3((unsigned)count, batch), SUMMING, 0, stream>>>(
                matrices, l.n * l.m, shares);
        norm_kernel<<<batch, SUMMING, 0, stream>>>(shares, count, polar->eps, inverse);
        if (l.tall) {
            const dim3 blocks((unsigned)((l.padded_m + TILE - 1) / TILE),
                              (unsigned)((l.padded_n + TILE - 1) / TILE), batch);
            normalise_tall<<<blocks, MOVING, 0, stream>>>(matrices, inverse, x_range, l, x);
        } else {
            const size_t across = (l.padded_m + ALONG * MOVING - 1) / (ALONG * MOVING);
            const dim3 blocks((unsigned)across,
                              (unsigned)(l.padded_n < 65535 ? l.padded_n : 65535), batch);
            normalise_wide<<<blocks, MOVING, 0, stream>>>(matrices, inverse, x_range, l, x);
        }
        check(cudaGetLastError());
    }

    void run(void *matrices, char *workspace);
};

template <typename factor>
bool work<factor>::symmetric_here(const factor *, const factor *, size_t, double, const factor *,
                                  double, double, factor *)
{
    return false;
}

template <>
bool work<__half>::symmetric_here(const __half *a, const __half *b, size_t k, double alpha,
                                  const __half *d, double beta, double gamma, __half *c)
{
    if (!hopper)
        return false;
    const struct hone_symmetric product = {
        a, b, d, c, (float)alpha, (float)beta, (float)gamma, (int)l.padded_n, (int)k, (int)l.n, (int)l.batch};
    check(hone_symmetric_product(&product, stream));
    return true;
}

/* The power of two next to the square root of x. */
double root_range(double x)
{
    return exp2(round(log2(x) / 2));
}

template <typename factor> void work<factor>::run(void *matrices, char *workspace)
{
    const size_t area = l.padded_n * l.padded_m;
    const bool half = polar->products == HONE_DEVICE_PRODUCTS_HALF;
    char *at = workspace;
    double *const shares = (double *)at;
    at += aligned(shares_of(polar) * l.batch * sizeof *shares);
    double *const inverse = (double *)at;
    at += aligned(l.batch * sizeof *inverse);
    factor **const squares[] = {&r, &z, &q, &t, &next};
    x = (factor *)at;
    at += aligned(area * l.batch * sizeof(factor));
    if (has_room(polar, l)) {
        room = (factor *)at;
        at += aligned(area * l.batch * sizeof(factor));
    }
    for (factor **array : squares) {
        *array = (factor *)at;
        at += aligned(square() * l.batch * sizeof(factor));
    }
    range = half ? RANGE : 1;
    x_range = half ? fmin(root_range((double)l.n * (double)l.m), 16384) : 1;
    normalise((const real *)matrices, shares, inverse);
    const int longest = longest_segment(polar, l);
    for (int first = 0; first < polar->steps; first += longest) {
        const int left = polar->steps - first;
        segment(first, left < longest ? left : longest);
        if (left > longest)
            apply(half ? root_range((double)l.m) : 1);
    }
    finish(matrices);
}

template <typename factor>
cudaError_t run(const struct hone_device_polar *polar, void *matrices, void *workspace,
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
        w.run(matrices, (char *)workspace);
    return w.status;
}

} // namespace

size_t hone_polar_device_workspace(const struct hone_device_polar *polar)
{
    const layout l = lay_out(polar);
    const size_t size = element_size(polar->products);
    return aligned(shares_of(polar) * l.batch * sizeof(double)) + aligned(l.batch * sizeof(double)) +
           (has_room(polar, l) ? 2 : 1) * aligned(l.padded_n * l.padded_m * l.batch * size) +
           5 * aligned(l.padded_n * l.padded_n * l.batch * size);
}

/* The largest batch that fits, or a smaller one that leaves fewer processors idle in the last round of
 * a symmetric product's tiles. */
size_t hone_polar_device_batch(const struct hone_device_polar *polar, size_t bytes,
                               int multiprocessors)
{
    struct hone_device_polar one = *polar;
    one.batch = 1;
    const layout l = lay_out(&one);
    const double area = (double)(l.n * l.m * (polar->products == HONE_DEVICE_PRODUCTS_DOUBLE ? 8 : 4));
    const double fit = (double)bytes / ((double)hone_polar_device_workspace(&one) + area);
    const size_t most = fit < 1 ? 1 : fit < (double)polar->batch ? (size_t)fit : polar->batch;
    const double tiles = hone_symmetric_tiles((int)l.padded_n);
    size_t best = most;
    double best_rounds = INFINITY; /* per matrix */
    for (size_t batch = most; batch > 0 && 2 * batch > most; batch--) {
        const double rounds = ceil(tiles * (double)batch / multiprocessors) / (double)batch;
        if (rounds < best_rounds * (1 - 1e-9)) {
            best = batch;
            best_rounds = rounds;
        }
    }
    return best;
}

cudaError_t hone_polar_on_device(const struct hone_device_polar *polar, void *matrices,
                              void *workspace, cublasHandle_t handle, cudaStream_t stream)
{
    if (polar->rows == 0 || polar->columns == 0 || polar->batch == 0)
        return cudaSuccess;
    switch (polar->products) {
    case HONE_DEVICE_PRODUCTS_HALF: return run<__half>(polar, matrices, workspace, handle, stream);
    case HONE_DEVICE_PRODUCTS_FLOAT: return run<float>(polar, matrices, workspace, handle, stream);
    default: return run<double>(polar, matrices, workspace, handle, stream);
    }
}
