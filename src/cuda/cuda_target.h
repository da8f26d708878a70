/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the CUDA target share: the current device, errors, and the functions that
 * target.cu lists. */
#ifndef HONE_CUDA_CUDA_TARGET_H
#define HONE_CUDA_CUDA_TARGET_H

#include <cuda_runtime.h>

#include "kernel/device.h"

/* Makes a device current for a scope; the calling thread gets its own back. A thread's own device is not
 * touched, and a device that nothing has used yet stays so: setting it back would take memory there. */
class cuda_scope
{
  public:
    explicit cuda_scope(int device);
    ~cuda_scope();
    cuda_scope(const cuda_scope &) = delete;
    cuda_scope &operator=(const cuda_scope &) = delete;
    cudaError_t result;

  private:
    bool pushed = false;
};

/* A function of the driver, which is not linked: as its type PFN_<name>_v<version> says. NULL: not there. */
void *hone_cuda_driver(const char *name, unsigned version);

/* The runtime's answer in the seam's words. Errors that pass are taken off the thread's record, so
 * that the caller's own CUDA code does not find them. */
struct hone_device_status hone_cuda_status(cudaError_t result);

static inline cudaStream_t hone_cuda_stream(struct hone_device_queue queue)
{
    return static_cast<cudaStream_t>(queue.stream);
}

/* Starts `function` with its one argument on the queue. */
struct hone_device_status hone_cuda_launch(struct hone_device_queue queue, const void *function,
                                           uint32_t blocks, uint32_t threads, const void *argument);

/* Loads a kernel, which by default happens at its first launch. */
struct hone_device_status hone_cuda_load(struct hone_device_queue queue, const void *function);

/* Blocks for `count` elements walked by a grid; never 0. */
uint32_t hone_cuda_blocks(size_t count, uint32_t threads);

/* runtime.cu */
struct hone_device_status hone_cuda_open(int device, struct hone_device_facts *facts);
struct hone_device_status hone_cuda_locate(const void *memory, int *device);
struct hone_device_status hone_cuda_inspect(struct hone_device_queue queue, bool *capturing);
struct hone_device_status hone_cuda_allocate(struct hone_device_queue queue, size_t size,
                                             void **memory);
void hone_cuda_release(struct hone_device_queue queue, void *memory);
struct hone_device_status hone_cuda_upload(struct hone_device_queue queue, void *to,
                                           const void *from, size_t size);
struct hone_device_status hone_cuda_download(struct hone_device_queue queue, void *to,
                                             const void *from, size_t size);
struct hone_device_status hone_cuda_zero(struct hone_device_queue queue, void *memory, size_t size);
struct hone_device_status hone_cuda_wait(struct hone_device_queue queue);

/* arrays.cu */
struct hone_device_status hone_cuda_put(struct hone_device_queue queue, void *to, const void *from,
                                        size_t size);
struct hone_device_status hone_cuda_convert(struct hone_device_queue queue, void *to,
                                            enum hone_format to_format, const void *from,
                                            enum hone_format from_format, size_t count);
struct hone_device_status hone_cuda_fill(struct hone_device_queue queue, void *to,
                                         enum hone_format format, double value, size_t count);

/* norm.cu */
struct hone_device_status hone_cuda_norm(struct hone_device_queue queue,
                                         const struct hone_device_norm *call);
struct hone_device_status hone_cuda_judge(struct hone_device_queue queue,
                                          const struct hone_device_judgement *call);
struct hone_device_status hone_cuda_accumulate(struct hone_device_queue queue,
                                               const struct hone_device_call *call,
                                               const struct hone_device_source *sources);

/* products.cu */
struct hone_device_status hone_cuda_open_products(struct hone_device_queue queue, void **products);
void hone_cuda_close_products(struct hone_device_queue queue, void *products);
bool hone_cuda_polar_narrow(struct hone_device_queue queue, const struct hone_device_polar *polar);
size_t hone_cuda_polar_workspace(const struct hone_device_polar *polar);
size_t hone_cuda_polar_batch(const struct hone_device_polar *polar, size_t bytes);
struct hone_device_status hone_cuda_polar(struct hone_device_queue queue, void *products,
                                          const struct hone_device_polar *polar, void *from,
                                          void *to, void *workspace);

/* Kernels that any step may need; lists end with NULL. */
extern const void *const hone_cuda_array_kernels[];
extern const void *const hone_cuda_norm_kernels[];

#endif
