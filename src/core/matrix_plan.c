/* SPDX-License-Identifier: Apache-2.0 */
/* What matrix rules add to the plan of a step: how parameters are read as matrices, how each is made, and
 * which of them are stepped at once. */
#include <stdlib.h>

#include "core/matrix.h"
#include "core/polar.h"

static int choice(const struct hone_group *group, const char *name)
{
    return (int)group->values[hone_rule_hyper_find(group->rule, name)].number;
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

/* ---- how a tensor is stepped ---------------------------------------------------------------- */

/* Shorter sides waste tiles, and are not faster in bfloat16. */
enum { TILES_FROM = 32, NARROW_FROM = 64 };

/* Multiplications in n^2 m of a matrix, below which more threads cost more than they save. */
#define SMALL 4e6

static size_t shorter_side(const struct hone_matrix *matrix)
{
    return matrix->rows < matrix->columns ? matrix->rows : matrix->columns;
}

static const struct hone_tile_kernels *tiles_of(const struct hone_optimizer *optimizer,
                                                const struct hone_group *group,
                                                const struct hone_matrix *matrix)
{
    if (matrix->real_size == sizeof(double) || shorter_side(matrix) < TILES_FROM)
        return NULL;
    const struct hone_tile_kernels *const tiles = hone_cpu_tiles(optimizer->context->cpu);
    if (choice(group, "products") == 1 && shorter_side(matrix) >= NARROW_FROM &&
        tiles[HONE_TILE_BF16].fast)
        return &tiles[HONE_TILE_BF16];
    return tiles[HONE_TILE_F32].fast ? &tiles[HONE_TILE_F32] : NULL;
}

static double work_of_one(const struct hone_matrix *matrix)
{
    return (double)matrix->rows * (double)matrix->columns * (double)shorter_side(matrix);
}

/* CBLAS has threads of its own and is not called by several. */
static size_t made_at_once(const struct hone_optimizer *optimizer, const struct hone_matrix *matrix)
{
    const size_t threads = (size_t)optimizer->context->threads;
    if (matrix->tiles == NULL || work_of_one(matrix) >= SMALL)
        return 1;
    return matrix->batches < threads ? matrix->batches : threads;
}

static hone_status describe(const struct hone_optimizer *optimizer, const struct hone_param *param,
                            struct hone_matrix *matrix, hone_error *error)
{
    const struct hone_group *const group = &optimizer->spec->groups[param->group];
    const hone_status status =
        hone_matrix_shape(group, &param->tensor, param->name, &matrix->batches, &matrix->rows,
                          &matrix->columns, error);
    if (status != HONE_OK)
        return status;
    matrix->real_size = param->format == HONE_FORMAT_F64 ? sizeof(double) : sizeof(float);
    matrix->tiles = tiles_of(optimizer, group, matrix);
    matrix->at_once = made_at_once(optimizer, matrix);
    matrix->room = matrix->tiles == NULL
                       ? hone_polar_workspace(matrix->rows, matrix->columns)
                       : hone_polar_tiles_workspace(matrix->tiles, matrix->rows, matrix->columns);
    matrix->work = work_of_one(matrix) * (double)matrix->batches;
    return hone_matrix_check(group, error);
}

/* ---- which are stepped at once -------------------------------------------------------------- */

static size_t count_of(const struct hone_matrix *matrix)
{
    return matrix->batches * matrix->rows * matrix->columns;
}

/* Bytes: for the directions, and for the polar steps of so many matrices. */
static size_t workspace_of(const struct hone_matrix *matrix, size_t at_once)
{
    const size_t size = (count_of(matrix) + at_once * matrix->room) * matrix->real_size;
    return (size + 63) / 64 * 64;
}

/* Those of CBLAS first, then the most work first. */
static int compare(const void *a, const void *b)
{
    const struct hone_matrix *const one = a, *const other = b;
    if ((one->tiles == NULL) != (other->tiles == NULL))
        return one->tiles == NULL ? -1 : 1;
    if (one->work != other->work)
        return one->work > other->work ? -1 : 1;
    return one->tensor < other->tensor ? -1 : 1;
}

/* A thread each is best, since threads then never wait for each other; but not for a matrix that is more
 * than a thread's share of what is left, and not if the workspace were larger than all the matrices
 * and EXTRA bytes. */
#define EXTRA ((size_t)1 << 26)

static size_t count_shared(const struct hone_matrix_plan *plan, size_t threads)
{
    double left = 0;
    size_t bytes = EXTRA, i = 0;
    for (size_t k = 0; k < plan->count; k++) {
        left += plan->matrices[k].work;
        bytes += count_of(&plan->matrices[k]) * plan->matrices[k].real_size;
    }
    for (; i < plan->count; i++) {
        const struct hone_matrix *const matrix = &plan->matrices[i];
        const bool fair = matrix->work * (double)threads <= left;
        const bool fits = workspace_of(matrix, 1) <= bytes / threads;
        if (matrix->tiles != NULL && (matrix->work < SMALL || (fair && fits)))
            break;
        left -= matrix->work;
    }
    return i;
}

static hone_status reserve_workspace(const hone_context *context, struct hone_matrix_plan *plan,
                                     hone_error *error)
{
    size_t needed = 0;
    plan->slice_size = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const bool shared = i < plan->shared;
        const struct hone_matrix *const matrix = &plan->matrices[i];
        const size_t size = workspace_of(matrix, shared ? matrix->at_once : 1);
        size_t *const most = shared ? &needed : &plan->slice_size;
        *most = size > *most ? size : *most;
    }
    const size_t alone = plan->count - plan->shared, threads = (size_t)context->threads;
    plan->slices = (int)(alone < threads ? alone : threads);
    const size_t slices = plan->slice_size * (size_t)plan->slices;
    return hone_plan_reserve(context, &plan->workspace, &plan->workspace_size,
                             needed > slices ? needed : slices, 1, error);
}

hone_status hone_matrix_plan(struct hone_optimizer *optimizer, hone_error *error)
{
    const hone_context *const context = optimizer->context;
    struct hone_matrix_plan *const plan = &optimizer->plan.matrix;
    size_t tensor = 0;
    plan->count = 0;
    for (int64_t i = 0; i < optimizer->count; i++) {
        const struct hone_param *const param = &optimizer->params[i];
        if (!hone_param_is_stepped(param))
            continue;
        struct hone_matrix matrix = {.tensor = tensor++};
        if (param->device != NULL || !optimizer->spec->groups[param->group].rule->matrix)
            continue;
        void *array = plan->matrices;
        hone_status status = describe(optimizer, param, &matrix, error);
        if (status == HONE_OK)
            status = hone_plan_reserve(context, &array, &plan->capacity, (size_t)optimizer->count,
                                       sizeof matrix, error);
        plan->matrices = array;
        if (status != HONE_OK)
            return status;
        plan->matrices[plan->count++] = matrix;
    }
    if (plan->count > 1)
        qsort(plan->matrices, plan->count, sizeof *plan->matrices, compare);
    plan->shared = count_shared(plan, (size_t)context->threads);
    return reserve_workspace(context, plan, error);
}

void hone_matrix_plan_free(const hone_context *context, struct hone_matrix_plan *plan)
{
    hone_release(context, plan->matrices, sizeof *plan->matrices * plan->capacity);
    hone_release(context, plan->workspace, plan->workspace_size);
}
