/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping as functions on gradients. */
#include <math.h>
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
};

static struct run run_of(const hone_tensor *grad)
{
    struct run run = {0};
    int reals = 1;
    if (grad != NULL && hone_dtype_format(grad->dtype, &run.format, &reals)) {
        run.data = grad->data;
        run.count = (size_t)hone_tensor_numel(grad) * (size_t)reals;
    }
    return run;
}

/* No more threads than chunks, and none to wake for a few. */
static int threads_for(const hone_context *context, int64_t chunks)
{
    if (chunks <= 4)
        return 1;
    return chunks < context->threads ? (int)chunks : context->threads;
}

static size_t chunks_of(size_t count)
{
    return (count + HONE_CHUNK - 1) / HONE_CHUNK;
}

static size_t chunk_length(const struct run *run, size_t chunk)
{
    const size_t left = run->count - chunk * HONE_CHUNK;
    return left < HONE_CHUNK ? left : HONE_CHUNK;
}

static char *chunk_data(const struct run *run, size_t chunk)
{
    return run->data + chunk * HONE_CHUNK * hone_format_size(run->format);
}

hone_status hone_total_norm(const hone_context *context, const hone_tensor *const *grads,
                            int64_t count, double p, double *total, hone_error *error)
{
    const hone_status status = check_grads(context, grads, count, error);
    if (status != HONE_OK)
        return status;
    if (!(p >= 1))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "the norm's order p is %g; it must be at least 1 (infinity: the maximum)",
                         p);
    if (total == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "total is NULL");
    size_t shares_count = 0;
    for (int64_t i = 0; i < count; i++)
        shares_count += chunks_of(run_of(grads[i]).count);
    double *const shares = hone_allocate(context, sizeof *shares * shares_count);
    if (shares == NULL)
        return hone_fail_memory(error, sizeof *shares * shares_count, "the shares of a norm");

    const struct hone_support_kernels *const support = context->cpu->support;
    size_t before = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct run run = run_of(grads[i]);
        const int64_t chunks = (int64_t)chunks_of(run.count);
        double *const own = shares + before;
#pragma omp parallel for num_threads(threads_for(context, chunks)) schedule(static)
        for (int64_t c = 0; c < chunks; c++)
            own[c] = support->norm[run.format](
                chunk_data(&run, (size_t)c), chunk_length(&run, (size_t)c), p, 1, (double)INFINITY);
        before += (size_t)chunks;
    }
    const double sum = support->combine(shares, shares_count, isinf(p));
    hone_release(context, shares, sizeof *shares * shares_count);
    *total = p == 2 ? sqrt(sum) : p == 1 || isinf(p) ? sum : pow(sum, 1 / p);
    return HONE_OK;
}

typedef void in_place_fn(void *values, size_t n, double number);

static void for_each_chunk(const hone_context *context, const hone_tensor *const *grads,
                           int64_t count, in_place_fn *const *kernels, double number)
{
    for (int64_t i = 0; i < count; i++) {
        const struct run run = run_of(grads[i]);
        const int64_t chunks = (int64_t)chunks_of(run.count);
#pragma omp parallel for num_threads(threads_for(context, chunks)) schedule(static)
        for (int64_t c = 0; c < chunks; c++)
            kernels[run.format](chunk_data(&run, (size_t)c), chunk_length(&run, (size_t)c), number);
    }
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
    for_each_chunk(context, grads, count, context->cpu->support->scale, coef);
    return HONE_OK;
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
    for_each_chunk(context, grads, count, context->cpu->support->clamp, limit);
    return HONE_OK;
}
