/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping as functions on gradients. */
#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "core/core.h"

static hone_status check_grads(const hone_context *context, const hone_tensor *const *grads,
                               int64_t count, hone_error *error)
{
    if (context == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "context is NULL");
    if (count < 0 || (count > 0 && grads == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "grads is %s for a count of %lld",
                         grads == NULL ? "NULL" : "given", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        if (grads[i] == NULL)
            continue;
        char what[48];
        snprintf(what, sizeof what, "gradient %lld", (long long)i);
        const hone_status status = hone_tensor_check(grads[i], what, error);
        if (status != HONE_OK)
            return status;
        enum hone_format format;
        int reals;
        if (!hone_dtype_format(grads[i]->dtype, &format, &reals))
            return hone_fail(error, HONE_ERROR_DTYPE,
                             "%s is %s; F32, F64, BF16, F16, C64 and C128 can be clipped", what,
                             hone_dtype_name(grads[i]->dtype));
    }
    return HONE_OK;
}

/* One gradient as a run of reals. */
struct run {
    char *data;
    enum hone_format format;
    size_t count;
    size_t before; /* chunks of the runs before this one */
};

/* All gradients, as chunks with numbers. */
struct runs {
    struct run *list;
    size_t count, chunks;
    bool twins; /* one is given twice: its elements change twice, one time after the other */
};

static size_t chunks_of(size_t count)
{
    return (count + HONE_CHUNK - 1) / HONE_CHUNK;
}

static hone_status make_runs(const hone_context *context, const hone_tensor *const *grads,
                             int64_t count, struct runs *runs, hone_error *error)
{
    const size_t size = sizeof *runs->list * (size_t)count;
    *runs = (struct runs){.list = hone_allocate(context, size), .count = (size_t)count};
    if (runs->list == NULL)
        return hone_fail_memory(error, size, "the list of gradients");
    for (int64_t i = 0; i < count; i++) {
        struct run run = {.before = runs->chunks};
        int reals = 1;
        if (grads[i] != NULL && hone_dtype_format(grads[i]->dtype, &run.format, &reals)) {
            run.data = grads[i]->data;
            run.count = (size_t)hone_tensor_numel(grads[i]) * (size_t)reals;
        }
        runs->chunks += chunks_of(run.count);
        runs->list[i] = run;
    }
    return HONE_OK;
}

static void free_runs(const hone_context *context, struct runs *runs)
{
    hone_release(context, runs->list, sizeof *runs->list * runs->count);
}

/* The last run that begins at a chunk or before it: the one that has it, since empty runs come first. */
static size_t find_run(const struct runs *runs, size_t chunk)
{
    size_t low = 0, high = runs->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (runs->list[middle].before <= chunk)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct chunk {
    void *data;
    size_t n;
    enum hone_format format;
};

static struct chunk chunk_at(const struct run *run, size_t chunk)
{
    const size_t first = (chunk - run->before) * HONE_CHUNK;
    const size_t left = run->count - first;
    return (struct chunk){.data = run->data + first * hone_format_size(run->format),
                          .n = left < HONE_CHUNK ? left : HONE_CHUNK,
                          .format = run->format};
}

/* Looks for a gradient that is given twice, by a table of addresses. */
static hone_status find_twins(const hone_context *context, struct runs *runs, hone_error *error)
{
    size_t room = 2;
    while (room < 2 * runs->count)
        room *= 2;
    const void **const table = hone_allocate_zeroed(context, sizeof *table * room);
    if (table == NULL)
        return hone_fail_memory(error, sizeof *table * room, "the addresses of gradients");
    for (size_t i = 0; i < runs->count && !runs->twins; i++) {
        const void *const data = runs->list[i].data;
        if (runs->list[i].count == 0)
            continue;
        size_t at = (size_t)((uint64_t)(uintptr_t)data * 0x9e3779b97f4a7c15u >> 32) & (room - 1);
        while (table[at] != NULL && table[at] != data)
            at = (at + 1) & (room - 1);
        runs->twins = table[at] != NULL;
        table[at] = data;
    }
    hone_release(context, table, sizeof *table * room);
    return HONE_OK;
}

/* Threads get equal numbers of chunks, in order; no more threads than chunks, and none to wake for a
 * few. */
static int threads_for(const hone_context *context, const struct runs *runs)
{
    if (runs->chunks <= 4 || runs->twins)
        return 1;
    return runs->chunks < (size_t)context->threads ? (int)runs->chunks : context->threads;
}

static size_t share_begin(const struct runs *runs, int thread, int threads)
{
    return runs->chunks / (size_t)threads * (size_t)thread +
           runs->chunks % (size_t)threads * (size_t)thread / (size_t)threads;
}

/* What is done to every chunk; `number` is the chunk's. */
typedef void chunk_fn(const struct chunk *chunk, size_t number, const void *user);

static void for_each_chunk(const hone_context *context, const struct runs *runs, chunk_fn *visit,
                           const void *user)
{
#pragma omp parallel num_threads(threads_for(context, runs))
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        const size_t end = share_begin(runs, thread + 1, threads);
        size_t c = share_begin(runs, thread, threads);
        for (size_t i = find_run(runs, c); c < end; i++) {
            const size_t after = runs->list[i].before + chunks_of(runs->list[i].count);
            for (; c < end && c < after; c++) {
                const struct chunk chunk = chunk_at(&runs->list[i], c);
                visit(&chunk, c, user);
            }
        }
    }
}

struct norm_work {
    const struct hone_support_kernels *support;
    double p;
    double *shares;
};

static void add_share(const struct chunk *chunk, size_t number, const void *user)
{
    const struct norm_work *const work = user;
    work->shares[number] =
        work->support->norm[chunk->format](chunk->data, chunk->n, work->p, 1, (double)INFINITY);
}

hone_status hone_total_norm(const hone_context *context, const hone_tensor *const *grads,
                            int64_t count, double p, double *total, hone_error *error)
{
    hone_status status = check_grads(context, grads, count, error);
    if (status != HONE_OK)
        return status;
    if (!(p >= 1))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the norm's order p is %g; it must be at least 1 (infinity: the maximum)",
                         p);
    if (total == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "total is NULL");
    struct runs runs;
    status = make_runs(context, grads, count, &runs, error);
    if (status != HONE_OK)
        return status;
    const size_t size = sizeof(double) * runs.chunks;
    double *const shares = hone_allocate(context, size);
    if (shares != NULL) {
        const struct norm_work work = {context->cpu->support, p, shares};
        for_each_chunk(context, &runs, add_share, &work);
        const double sum = work.support->combine(shares, runs.chunks, isinf(p));
        hone_release(context, shares, size);
        *total = p == 2 ? sqrt(sum) : p == 1 || isinf(p) ? sum : pow(sum, 1 / p);
    }
    free_runs(context, &runs);
    return shares != NULL ? HONE_OK : hone_fail_memory(error, size, "the shares of a norm");
}

typedef void in_place_fn(void *values, size_t n, double number);

struct change_work {
    in_place_fn *const *kernels;
    double number;
};

static void change(const struct chunk *chunk, size_t number, const void *user)
{
    (void)number;
    const struct change_work *const work = user;
    work->kernels[chunk->format](chunk->data, chunk->n, work->number);
}

static hone_status change_all(const hone_context *context, const hone_tensor *const *grads,
                              int64_t count, const struct change_work *work, hone_error *error)
{
    struct runs runs;
    hone_status status = make_runs(context, grads, count, &runs, error);
    if (status != HONE_OK)
        return status;
    status = find_twins(context, &runs, error);
    if (status == HONE_OK)
        for_each_chunk(context, &runs, change, work);
    free_runs(context, &runs);
    return status;
}

hone_status hone_clip_grads_with_norm(const hone_context *context, const hone_tensor *const *grads,
                                      int64_t count, double max_norm, double total,
                                      hone_error *error)
{
    const hone_status status = check_grads(context, grads, count, error);
    if (status != HONE_OK)
        return status;
    if (!(max_norm >= 0))
        return hone_fail(error, HONE_ERROR_RANGE, "max_norm is %g; it must be at least 0",
                         max_norm);
    if (total < 0)
        return hone_fail(error, HONE_ERROR_RANGE, "total is %g; a norm is at least 0", total);
    const double ratio = max_norm / (total + 1e-6);
    const double coef = ratio > 1 ? 1 : ratio; /* NaN stays */
    if (coef == 1) /* nothing would change: the norm is a number, so no gradient is a NaN */
        return HONE_OK;
    const struct change_work work = {context->cpu->support->scale, coef};
    return change_all(context, grads, count, &work, error);
}

hone_status hone_clip_grad_norm(const hone_context *context, const hone_tensor *const *grads,
                                int64_t count, double max_norm, double p, bool error_if_nonfinite,
                                double *total, hone_error *error)
{
    if (!(max_norm >= 0))
        return hone_fail(error, HONE_ERROR_RANGE, "max_norm is %g; it must be at least 0",
                         max_norm);
    double norm;
    hone_status status = hone_total_norm(context, grads, count, p, &norm, error);
    if (status != HONE_OK)
        return status;
    if (error_if_nonfinite && !isfinite(norm))
        return hone_fail(error, HONE_ERROR_NONFINITE,
                         "the total norm of order %g is %g, so the gradients cannot be clipped", p,
                         norm);
    status = hone_clip_grads_with_norm(context, grads, count, max_norm, norm, error);
    if (status == HONE_OK && total != NULL)
        *total = norm;
    return status;
}

hone_status hone_clip_grad_value(const hone_context *context, const hone_tensor *const *grads,
                                 int64_t count, double limit, hone_error *error)
{
    const hone_status status = check_grads(context, grads, count, error);
    if (status != HONE_OK)
        return status;
    if (!(limit >= 0))
        return hone_fail(error, HONE_ERROR_RANGE, "the clip value is %g; it must be at least 0",
                         limit);
    const struct change_work work = {context->cpu->support->clamp, limit};
    return change_all(context, grads, count, &work, error);
}
