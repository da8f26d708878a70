/* SPDX-License-Identifier: Apache-2.0 */
/* A context: how the library may use this machine. It is immutable after creation, so that any
 * number of threads and optimizers can share one. It must outlive what was created with it. */
#ifndef HONE_CONTEXT_H
#define HONE_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include <hone/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_context hone_context;

/* Memory for everything the library keeps. `allocate` returns `size` bytes (never 0) aligned to
 * `alignment` (a power of two, at most 4096), or NULL; `release` accepts what `allocate` returned
 * and its size. Both may be called from any thread that calls the library. */
typedef struct hone_allocator {
    void *(*allocate)(size_t size, size_t alignment, void *user);
    void (*release)(void *memory, size_t size, void *user);
    void *user;
} hone_allocator;

/* The same for memory of a device: `allocate` returns `size` bytes on `device`, aligned to 256,
 * that work on `stream` (a cudaStream_t) may use at once, or NULL; `release` gets them back when
 * the last work on them is queued on `stream`, with the stream that the optimizer has by then. */
typedef struct hone_device_allocator {
    void *(*allocate)(size_t size, int device, void *stream, void *user);
    void (*release)(void *memory, size_t size, int device, void *stream, void *user);
    void *user;
} hone_device_allocator;

/* Called with one line of text without a newline, on the calling thread. */
typedef void hone_log_fn(const char *line, void *user);

typedef struct hone_context_options {
    size_t struct_size; /* set by hone_context_options_init */
    const char *cpu; /* "base", "avx2", "avx512", "neon"; default NULL: the environment's HONE_CPU,
                        else the best this machine has. A name only ever lowers the level. */
    int threads;     /* default 0: what OpenMP would use (OMP_NUM_THREADS, else all cores) */
    uint64_t seed;   /* default 0; of everything random (stochastic rounding, new table rows) */
    hone_allocator allocator; /* default: all NULL, the C library's */
    hone_log_fn *log;         /* default NULL: silence */
    void *log_user;
    hone_device_allocator device_allocator; /* default: all NULL, the device's own (cudaMalloc) */
} hone_context_options;

/* Writes the defaults named above. */
HONE_API void hone_context_options_init(hone_context_options *options);

/* Creates a context; `options` may be NULL for the defaults and is not kept. Errors: RANGE for a
 * negative thread count, NAME for an unknown level, UNSUPPORTED for one this machine or build lacks
 * (the sentence lists those it has), MEMORY. The caller frees it with hone_context_free. */
HONE_API hone_status hone_context_create(hone_context **context,
                                         const hone_context_options *options, hone_error *error);
HONE_API void hone_context_free(hone_context *context); /* NULL is accepted */

HONE_API const char *hone_context_cpu(const hone_context *context); /* "avx512", ... */
HONE_API int hone_context_threads(const hone_context *context);
HONE_API uint64_t hone_context_seed(const hone_context *context);

/* Names of the levels that this build holds and this machine can run, lowest first: index 0 up to
 * count - 1; NULL past the end. */
HONE_API const char *hone_cpu_level(int index);

HONE_API const char *hone_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
