/* SPDX-License-Identifier: Apache-2.0 */
/* Norms in the CPU's order (kernel/sums.h), what follows from them, and sums of gradients. */
#include "cuda/cuda_target.h"
#include "kernel/find.cuh"
#include "kernel/sums.h"

#define THREADS HONE_DEVICE_THREADS

static_assert(HONE_LANES == 2 * THREADS, "a thread has two lanes");

/* Halves `lanes` sums of the block onto themselves. */
static __device__ double fold(double *lane, uint32_t lanes, bool maximum)
{
    for (uint32_t half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            lane[threadIdx.x] = norm_join(maximum, lane[threadIdx.x], lane[threadIdx.x + half]);
    }
    __syncthreads();
    return lane[0];
}

/* ---- the share of a chunk --------------------------------------------------------------------- */

/* A lane's sum; in a whole chunk all loads are known before the first addition. */
template <enum hone_format F, enum norm_kind K>
static __device__ __forceinline__ double lane_sum(const void *grad, uint32_t lane, uint32_t n,
                                                  double scale, double limit, double order)
{
    double sum = 0;
    if (n == HONE_CHUNK) {
#pragma unroll
        for (uint32_t i = 0; i < HONE_CHUNK; i += HONE_LANES)
            sum = norm_add(K, sum, magnitude_at(F, grad, lane + i, scale, limit), order);
    } else {
        for (uint32_t i = lane; i < n; i += HONE_LANES)
            sum = norm_add(K, sum, magnitude_at(F, grad, i, scale, limit), order);
    }
    return sum;
}

template <enum hone_format F, enum norm_kind K>
static __device__ double two_lanes(const void *grad, uint32_t n, double scale, double limit,
                                   double order)
{
    const double low = lane_sum<F, K>(grad, threadIdx.x, n, scale, limit, order);
    const double high = lane_sum<F, K>(grad, threadIdx.x + THREADS, n, scale, limit, order);
    return norm_join(K == NORM_MAXIMUM, low, high);
}

template <enum norm_kind K>
static __device__ double two_lanes_of(enum hone_format format, const void *grad, uint32_t n,
                                      double scale, double limit, double order)
{
    switch (format) {
    case HONE_FORMAT_F32:
        return two_lanes<HONE_FORMAT_F32, K>(grad, n, scale, limit, order);
    case HONE_FORMAT_F64:
        return two_lanes<HONE_FORMAT_F64, K>(grad, n, scale, limit, order);
    case HONE_FORMAT_BF16:
        return two_lanes<HONE_FORMAT_BF16, K>(grad, n, scale, limit, order);
    default:
        return two_lanes<HONE_FORMAT_F16, K>(grad, n, scale, limit, order);
    }
}

/* Three blocks on a multiprocessor, so that most of them read while one finds its tensor or folds; pow leaves
 * registers for two. */
template <enum norm_kind K>
static __global__ void __launch_bounds__(THREADS, K == NORM_GENERAL ? 2 : 3)
    norm_kernel(const __grid_constant__ struct hone_device_norm call)
{
    __shared__ double lane[THREADS];
    const uint32_t tensor = hone_find_tensor(call.first, call.tensor_count, blockIdx.x);
    const struct hone_device_tensor *const t = &call.tensors[tensor];
    const uint32_t number = blockIdx.x - call.first[tensor];
    const size_t first = (size_t)number * HONE_CHUNK;
    const size_t left = t->count - first;
    const enum hone_format format = (enum hone_format)hone_place_value(t->places, HONE_PLACE_GRAD);
    const char *const grad = (const char *)t->grad + first * hone_format_size(format);
    const uint32_t n = (uint32_t)(left < HONE_CHUNK ? left : HONE_CHUNK);
    const double scale = call.outcome == NULL ? call.grad_scale : call.outcome->grad_scale;
    lane[threadIdx.x] = two_lanes_of<K>(format, grad, n, scale, call.value_limit, call.order);
    if (call.scaling && hone_share_hides(lane[threadIdx.x], call.value_limit)) {
        const double largest =
            two_lanes_of<NORM_MAXIMUM>(format, grad, n, scale, HUGE_VAL, call.order);
        if (!isfinite(largest))
            lane[threadIdx.x] = (double)NAN;
    }
    const double share = fold(lane, THREADS, K == NORM_MAXIMUM);
    if (threadIdx.x == 0)
        call.shares[t->share + number] = share;
}

struct hone_device_status hone_cuda_norm(struct hone_device_queue queue,
                                         const struct hone_device_norm *call)
{
    const void *const kernel = hone_cuda_norm_kernels[norm_kind_of(call->order)];
    return hone_cuda_launch(queue, kernel, call->chunk_count, THREADS, call);
}

/* ---- what follows from the shares ------------------------------------------------------------- */

/* One block: a lane of the tree for each thread. */
static __global__ void __launch_bounds__(HONE_LANES)
    judge_kernel(const __grid_constant__ struct hone_device_judgement call)
{
    __shared__ double lane[HONE_LANES];
    if (call.open && threadIdx.x == 0)
        hone_open_step(&call);
    double sum = 0;
    if (call.shares != NULL) {
        const bool maximum = isinf(call.order);
        for (uint32_t i = threadIdx.x; i < call.chunk_count; i += HONE_LANES)
            sum = norm_join(maximum, sum, call.shares[i]);
        lane[threadIdx.x] = sum;
        sum = fold(lane, HONE_LANES, maximum);
    }
    if (call.close && threadIdx.x == 0)
        hone_close_step(&call, sum);
}

struct hone_device_status hone_cuda_judge(struct hone_device_queue queue,
                                          const struct hone_device_judgement *call)
{
    return hone_cuda_launch(queue, (const void *)judge_kernel, 1,
                            call->shares == NULL ? 32 : HONE_LANES, call);
}

/* ---- accumulation ----------------------------------------------------------------------------- */

struct accumulation {
    const struct hone_device_tensor *tensors;
    const uint32_t *first;
    uint32_t tensor_count;
    const struct hone_device_source *sources; /* NULL: zeros instead */
};

static __global__ void __launch_bounds__(THREADS)
    accumulate_kernel(const __grid_constant__ struct accumulation call)
{
    const uint32_t tensor = hone_find_tensor(call.first, call.tensor_count, blockIdx.x);
    const struct hone_device_tensor *const t = &call.tensors[tensor];
    const struct hone_device_source source =
        call.sources == NULL ? hone_device_source{NULL, 0} : call.sources[tensor];
    if (call.sources != NULL && source.grad == NULL)
        return;
    const bool wide = hone_place_value(t->places, HONE_PLACE_GRAD) == HONE_FORMAT_F64;
    const size_t first = (size_t)(blockIdx.x - call.first[tensor]) * HONE_CHUNK;
    const size_t end = t->count - first < HONE_CHUNK ? t->count : first + HONE_CHUNK;
    void *const sum = const_cast<void *>(t->grad);
    for (size_t i = first + threadIdx.x; i < end; i += THREADS) {
        const double added =
            source.grad == NULL ? 0 : value_at((enum hone_format)source.format, source.grad, i);
        if (wide)
            ((double *)sum)[i] = call.sources == NULL ? 0 : ((double *)sum)[i] + added;
        else
            ((float *)sum)[i] = call.sources == NULL ? 0 : ((float *)sum)[i] + (float)added;
    }
}

struct hone_device_status hone_cuda_accumulate(struct hone_device_queue queue,
                                               const struct hone_device_call *call,
                                               const struct hone_device_source *sources)
{
    const struct accumulation own = {call->tensors, call->first, call->tensor_count, sources};
    return hone_cuda_launch(queue, (const void *)accumulate_kernel, call->chunk_count, THREADS,
                            &own);
}

/* By enum norm_kind, and then the others. */
const void *const hone_cuda_norm_kernels[] = {
    (const void *)norm_kernel<NORM_ONE>,     (const void *)norm_kernel<NORM_TWO>,
    (const void *)norm_kernel<NORM_MAXIMUM>, (const void *)norm_kernel<NORM_GENERAL>,
    (const void *)judge_kernel,              (const void *)accumulate_kernel,
    NULL};
