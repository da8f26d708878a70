/* SPDX-License-Identifier: Apache-2.0 */
/* The step of matrix rules: directions of all elements, the polar factor of each matrix of them, and
 * the frame's move with the result. Element work is cut into the same chunks as everywhere. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "core/gemm.h"
#include "core/optimizer_internal.h"
#include "core/polar.h"

static int choice(const struct hone_group *group, const char *name)
{
    return (int)group->values[hone_rule_hyper_find(group->rule, name)].number;
}

static double number(const struct hone_group *group, const char *name)
{
    return group->values[hone_rule_hyper_find(group->rule, name)].number;
}

/* ---- shapes --------------------------------------------------------------------------------- */

enum { FLATTEN, BATCH, STRICT }; /* muon's choice "matrices" */

hone_status hone_matrix_shape(const struct hone_group *group, const hone_tensor *tensor,
                              const char *name, size_t *batches, size_t *rows, size_t *columns,
                              hone_error *error)
{
    const hone_rule *const rule = group->rule;
    if (tensor->dtype == HONE_C64 || tensor->dtype == HONE_C128)
        return hone_fail(error, HONE_ERROR_DTYPE,
                         "parameter \"%.120s\" is %s; %s does not support complex parameters", name,
                         hone_dtype_name(tensor->dtype), rule->name);
    const int how = choice(group, "matrices");
    const int32_t ndim = tensor->ndim;
    if (ndim < 2 || (ndim > 2 && how == STRICT))
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "parameter \"%.120s\" has %d dimensions; %s steps matrices, which have %s",
                         name, (int)ndim, rule->name,
                         ndim < 2 ? "at least 2"
                                  : "exactly 2; \"matrices\" may be \"flatten\" or \"batch\"");
    const int32_t first = how == BATCH ? ndim - 2 : 0;
    *batches = *columns = 1;
    for (int32_t i = 0; i < first; i++)
        *batches *= (size_t)tensor->shape[i];
    *rows = (size_t)tensor->shape[first];
    for (int32_t i = first + 1; i < ndim; i++)
        *columns *= (size_t)tensor->shape[i];
    if (*rows > INT32_MAX || *columns > INT32_MAX)
        return hone_fail(
            error, HONE_ERROR_SHAPE,
            "parameter \"%.120s\" is a matrix of %zu x %zu; a side is at most 2^31 - 1", name,
            *rows, *columns);
    return HONE_OK;
}

hone_status hone_matrix_check(const struct hone_group *group, hone_error *error)
{
    int count;
    if (hone_polar_coefficients(choice(group, "ns_coefficients"), &count) != NULL ||
        group->triple_count > 0)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_ARGUMENT,
                     "ns_coefficients is \"custom\", but no coefficients were given");
}

static size_t real_size(const struct hone_plan_tensor *tensor)
{
    return tensor->stage.param == HONE_FORMAT_F64 ? sizeof(double) : sizeof(float);
}

size_t hone_matrix_workspace(const struct hone_plan_tensor *tensor)
{
    const size_t count = tensor->batches * tensor->rows * tensor->columns;
    return (count + hone_polar_workspace(tensor->rows, tensor->columns)) * real_size(tensor);
}

/* ---- the step ------------------------------------------------------------------------------- */

static void directions(const struct hone_optimizer *optimizer,
                       const struct hone_plan_tensor *tensor, const struct hone_frame *frame)
{
    const struct hone_plan *const plan = &optimizer->plan;
    const size_t count = tensor->batches * tensor->rows * tensor->columns, size = real_size(tensor);
    const struct hone_scalars *const scalars = &plan->scalars[tensor->scalars];
#pragma omp parallel for num_threads(optimizer->context->threads) schedule(static)
    for (size_t first = 0; first < count; first += HONE_CHUNK) {
        const size_t n = count - first < HONE_CHUNK ? count - first : HONE_CHUNK;
        const struct hone_chunk part = hone_plan_part(tensor, first, n);
        hone_stage_direction(&tensor->direction, &part, scalars, frame,
                             (char *)plan->workspace + first * size);
    }
}

static void move(const struct hone_optimizer *optimizer, const struct hone_plan_tensor *tensor)
{
    const struct hone_plan *const plan = &optimizer->plan;
    const size_t count = tensor->batches * tensor->rows * tensor->columns, size = real_size(tensor);
    struct hone_scalars scalars = plan->scalars[tensor->scalars];
    const struct hone_frame plain = {.grad_scale = 1, .value_limit = HUGE_VAL, .clip_coef = 1};
    scalars.maximize = false; /* the directions have their sign */
    scalars.l2 = 0;
#pragma omp parallel for num_threads(optimizer->context->threads) schedule(static)
    for (size_t first = 0; first < count; first += HONE_CHUNK) {
        const size_t n = count - first < HONE_CHUNK ? count - first : HONE_CHUNK;
        struct hone_chunk part = hone_plan_part(tensor, first, n);
        part.grad = (char *)plan->workspace + first * size;
        if (tensor->kernel != NULL)
            tensor->kernel(&part, &scalars, &plain);
        else
            hone_stage_step(&tensor->move, &part, &scalars, &plain);
    }
}

/* Muon's "adjust_lr_fn" in the order of its words. */
static double adjustment(int kind, double rows, double columns)
{
    if (kind == 1)
        return 0.2 * sqrt(fmax(rows, columns));
    return sqrt(kind == 2 ? rows / columns : fmax(1, rows / columns));
}

/* Shorter sides are not faster in bfloat16. */
#define NARROW_FROM 64

static void orthogonalise(const struct hone_optimizer *optimizer,
                          const struct hone_plan_tensor *tensor)
{
    const struct hone_group *const group =
        &optimizer->spec->groups[optimizer->params[tensor->param].group];
    const bool narrow = choice(group, "products") == 1 && tensor->rows >= NARROW_FROM &&
                        tensor->columns >= NARROW_FROM && hone_gemm_has_bf16();
    struct hone_polar polar = {.eps = number(group, "eps"),
                               .threads = optimizer->context->threads,
                               .steps = (int)number(group, "ns_steps")};
    polar.coefficients =
        hone_polar_coefficients(choice(group, "ns_coefficients"), &polar.coefficient_count);
    if (polar.coefficients == NULL) {
        polar.coefficients = group->triples;
        polar.coefficient_count = group->triple_count;
    }
    const double scale =
        adjustment(choice(group, "adjust_lr_fn"), (double)tensor->rows, (double)tensor->columns);
    const size_t area = tensor->rows * tensor->columns, count = tensor->batches * area;
    for (size_t b = 0; b < tensor->batches; b++) {
        if (tensor->stage.param == HONE_FORMAT_F64) {
            double *const all = optimizer->plan.workspace;
            hone_polar_f64(&polar, tensor->rows, tensor->columns, all + b * area, scale,
                           all + count);
        } else {
            float *const all = optimizer->plan.workspace;
            (narrow ? hone_polar_bf16 : hone_polar_f32)(&polar, tensor->rows, tensor->columns,
                                                        all + b * area, (float)scale, all + count);
        }
    }
}

void hone_matrix_step(struct hone_optimizer *optimizer, const struct hone_plan_tensor *tensor,
                      const struct hone_frame *frame)
{
    if (tensor->batches * tensor->rows * tensor->columns == 0)
        return;
    directions(optimizer, tensor, frame);
    orthogonalise(optimizer, tensor);
    move(optimizer, tensor);
}
