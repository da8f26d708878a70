/* SPDX-License-Identifier: Apache-2.0 */
#include "device/host_polar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Each shape and number of matrices has kernels of its own, which come at their first launch. */
struct products {
    size_t kinds[64][3];
    int count;
};

struct hone_device_status host_open_products(struct hone_device_queue queue, void **products)
{
    (void)queue;
    *products = calloc(1, sizeof(struct products));
    return *products != NULL ? (struct hone_device_status){HONE_DEVICE_OK, "no error"}
                             : (struct hone_device_status){HONE_DEVICE_MEMORY, "out of memory"};
}

void host_close_products(struct hone_device_queue queue, void *products)
{
    (void)queue;
    free(products);
}

static struct hone_device_status load_kernels(struct products *products,
                                              const struct hone_device_polar *call)
{
    const size_t kind[3] = {call->rows, call->columns, call->batch};
    for (int i = 0; i < products->count; i++)
        if (memcmp(products->kinds[i], kind, sizeof kind) == 0)
            return (struct hone_device_status){HONE_DEVICE_OK, "no error"};
    const struct hone_device_status status = host_load();
    if (status.fault == HONE_DEVICE_OK && products->count < 64)
        memcpy(products->kinds[products->count++], kind, sizeof kind);
    return status;
}

bool host_polar_narrow(struct hone_device_queue queue, const struct hone_device_polar *polar)
{
    (void)queue;
    (void)polar;
    return false;
}

size_t host_polar_batch(const struct hone_device_polar *polar, size_t bytes)
{
    (void)polar;
    (void)bytes;
    return 2; /* so that a few matrices are several buckets already */
}

static size_t shares_of(const struct hone_device_polar *polar)
{
    return (polar->rows * polar->columns + HONE_CHUNK - 1) / HONE_CHUNK;
}

/* The sums of squares, and for one matrix: X, its next value, X X^T, and a row of the square of that.
 * Something for each step, as a real device has too. */
size_t host_polar_workspace(const struct hone_device_polar *polar)
{
    const size_t rows = polar->rows, columns = polar->columns;
    return (polar->batch * shares_of(polar) + 2 * rows * columns + rows * rows + rows +
            (size_t)polar->steps * rows) *
           sizeof(double);
}

/* Newton-Schulz as it is written down, X := (a I + b R + c R^2) X, in double. */
static void polar_step(const double k[3], size_t rows, size_t columns, double *x, double *next)
{
    double *const r = next + rows * columns, *const row = r + rows * rows;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            r[i * rows + j] = 0;
            for (size_t l = 0; l < columns; l++)
                r[i * rows + j] += x[i * columns + l] * x[j * columns + l];
        }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < rows; j++) {
            row[j] = k[1] * r[i * rows + j] + (i == j ? k[0] : 0);
            for (size_t l = 0; l < rows; l++)
                row[j] += k[2] * r[i * rows + l] * r[l * rows + j];
        }
        for (size_t l = 0; l < columns; l++) {
            next[i * columns + l] = 0;
            for (size_t j = 0; j < rows; j++)
                next[i * columns + l] += row[j] * x[j * columns + l];
        }
    }
    memcpy(x, next, rows * columns * sizeof *x);
}

struct hone_device_status host_polar(struct hone_device_queue queue, void *products,
                                     const struct hone_device_polar *call, void *from, void *to,
                                     void *workspace)
{
    const size_t area = call->rows * call->columns;
    const bool wide = call->products == HONE_DEVICE_PRODUCTS_DOUBLE;
    const double *const shares = workspace;
    double *const x = (double *)workspace + call->batch * shares_of(call);
    struct hone_device_status status = load_kernels(products, call);
    if (status.fault == HONE_DEVICE_OK)
        status = host_launch(queue);
    if (status.fault != HONE_DEVICE_OK)
        return status;
    if (!host_holds(workspace, host_polar_workspace(call)))
        return (struct hone_device_status){HONE_DEVICE_LOST, "the workspace is too small"};
    for (size_t m = 0; m < call->batch; m++) {
        double norm = 0;
        for (size_t i = 0; i < area; i++) {
            x[i] = wide ? ((double *)from)[m * area + i] : (double)((float *)from)[m * area + i];
            norm += call->measured ? 0 : x[i] * x[i];
        }
        for (size_t i = 0; call->measured && i < shares_of(call); i++)
            norm += shares[m * shares_of(call) + i];
        norm = sqrt(norm) <= call->eps ? call->eps : sqrt(norm);
        for (size_t i = 0; i < area && norm != 0; i++)
            x[i] /= norm;
        for (int s = 0; s < call->steps; s++) {
            const int last = call->coefficient_count - 1;
            polar_step(call->coefficients[s < last ? s : last], call->rows, call->columns, x,
                       x + area);
        }
        for (size_t i = 0; i < area; i++)
            if (wide)
                ((double *)to)[m * area + i] = x[i] * call->scale;
            else
                ((float *)to)[m * area + i] = (float)(x[i] * call->scale);
    }
    return status;
}
