/* SPDX-License-Identifier: Apache-2.0 */
/* The one constant that the core finds in this library: everything behind the seam. */
#include "cuda/cuda_target.h"

#define RULE(rule)                                                           \
    extern "C" const struct hone_rule_device_kernels hone_kernels_##rule##_f32_cuda; \
    extern "C" const struct hone_rule_device_kernels hone_kernels_##rule##_f64_cuda;
#include "rules.inc"
RULE(move)
#undef RULE

static const struct hone_rule_device_kernels *const kernels[][2] = {
#define RULE(rule) {&hone_kernels_##rule##_f32_cuda, &hone_kernels_##rule##_f64_cuda},
#include "rules.inc"
    RULE(move)
#undef RULE
};

static const char *const rule_names[] = {
#define RULE(rule) #rule,
#include "rules.inc"
#undef RULE
    NULL};

static const int architectures[] = {__CUDA_ARCH_LIST__, 0};

static struct hone_device_status load(struct hone_device_queue queue, int rule, bool wide,
                                      int direct)
{
    const struct hone_rule_device_kernels *const table = kernels[rule][wide ? 1 : 0];
    const void *const kernel = table->direction != NULL ? (const void *)table->direction
                               : direct < 0             ? (const void *)table->any
                                                        : (const void *)table->step[direct].kernel;
    const struct hone_device_status status = hone_cuda_load(queue, kernel);
    return status.fault == HONE_DEVICE_OK
               ? hone_cuda_load(queue, (const void *)kernels[rule][1]->prepare)
               : status;
}

static struct hone_device_status step(struct hone_device_queue queue, int rule, bool wide,
                                      int direct, const struct hone_device_call *call)
{
    const struct hone_rule_device_kernels *const table = kernels[rule][wide ? 1 : 0];
    if (direct < 0)
        return hone_cuda_launch(queue, (const void *)table->any, call->chunk_count,
                                HONE_DEVICE_THREADS, call);
    return hone_cuda_launch(queue, (const void *)table->step[direct].kernel, call->chunk_count,
                            table->step[direct].threads, call);
}

static struct hone_device_status direction(struct hone_device_queue queue, int rule, bool wide,
                                           const struct hone_device_call *call)
{
    const void *const kernel = (const void *)kernels[rule][wide ? 1 : 0]->direction;
    return hone_cuda_launch(queue, kernel, call->chunk_count, HONE_DEVICE_THREADS, call);
}

static struct hone_device_status prepare(struct hone_device_queue queue,
                                         const struct hone_device_prepare *call)
{
    const uint32_t blocks = (call->class_count + HONE_DEVICE_THREADS - 1) / HONE_DEVICE_THREADS;
    return hone_cuda_launch(queue, (const void *)kernels[call->rule][1]->prepare, blocks,
                            HONE_DEVICE_THREADS, call);
}

extern "C" __attribute__((visibility("default")))
const struct hone_device_target HONE_DEVICE_SYMBOL;
const struct hone_device_target HONE_DEVICE_SYMBOL = {
    .version = HONE_DEVICE_VERSION,
    .name = "CUDA",
    .architectures = architectures,
    .rules = rule_names,
    .open = hone_cuda_open,
    .locate = hone_cuda_locate,
    .inspect = hone_cuda_inspect,
    .allocate = hone_cuda_allocate,
    .release = hone_cuda_release,
    .upload = hone_cuda_upload,
    .download = hone_cuda_download,
    .zero = hone_cuda_zero,
    .put = hone_cuda_put,
    .wait = hone_cuda_wait,
    .convert = hone_cuda_convert,
    .fill = hone_cuda_fill,
    .load = load,
    .step = step,
    .direction = direction,
    .prepare = prepare,
    .norm = hone_cuda_norm,
    .judge = hone_cuda_judge,
    .accumulate = hone_cuda_accumulate,
    .open_products = hone_cuda_open_products,
    .close_products = hone_cuda_close_products,
    .polar_narrow = hone_cuda_polar_narrow,
    .polar_batch = hone_cuda_polar_batch,
    .polar_workspace = hone_cuda_polar_workspace,
    .polar = hone_cuda_polar,
};
