/* SPDX-License-Identifier: Apache-2.0 */
/* The step of matrix rules: directions of all elements, the polar factor of each matrix of them, and
 * the frame's move with the result. Element work is cut into the same chunks as everywhere. */
#include "core/matrix.h"

#include <math.h>
#include <omp.h>

#include "core/polar.h"

/* One tensor's step: the threads it may use, and room for its directions and its polar steps. */
struct work {
    const struct hone_optimizer *optimizer;
    const struct hone_matrix *matrix;
    const struct hone_plan_tensor *tensor;
    const struct hone_frame *frame;
    char *room;
    int threads;
};

static size_t count_of(const struct hone_matrix *matrix)
{
    return matrix->batches * matrix->rows * matrix->columns;
}

static void directions(const struct work *work)
{
    const struct hone_plan_tensor *const tensor = work->tensor;
    const size_t count = count_of(work->matrix), size = work->matrix->real_size;
    const struct hone_scalars *const scalars = &work->optimizer->plan.scalars[tensor->scalars];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (size_t first = 0; first < count; first += HONE_CHUNK) {
        const size_t n = count - first < HONE_CHUNK ? count - first : HONE_CHUNK;
        const struct hone_chunk part = hone_plan_part(tensor, first, n);
        hone_stage_direction(&tensor->direction, &part, scalars, work->frame,
                             work->room + first * size);
    }
}

static void move(const struct work *work)
{
    const struct hone_plan_tensor *const tensor = work->tensor;
    const size_t count = count_of(work->matrix), size = work->matrix->real_size;
    struct hone_scalars scalars = work->optimizer->plan.scalars[tensor->scalars];
    const struct hone_frame plain = {.grad_scale = 1, .value_limit = HUGE_VAL, .clip_coef = 1};
    scalars.maximize = false; /* the directions have their sign */
    scalars.l2 = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (size_t first = 0; first < count; first += HONE_CHUNK) {
        const size_t n = count - first < HONE_CHUNK ? count - first : HONE_CHUNK;
        struct hone_chunk part = hone_plan_part(tensor, first, n);
        part.grad = work->room + first * size;
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

static double number(const struct hone_group *group, const char *name)
{
    return group->values[hone_rule_hyper_find(group->rule, name)].number;
}

struct hone_matrix_recipe hone_matrix_recipe(const struct hone_group *group, size_t rows,
                                             size_t columns)
{
    struct hone_matrix_recipe recipe = {
        .eps = number(group, "eps"),
        .steps = (int)number(group, "ns_steps"),
        .scale = adjustment((int)number(group, "adjust_lr_fn"), (double)rows, (double)columns),
        .narrow = number(group, "products") == 1};
    recipe.coefficients =
        hone_polar_coefficients((int)number(group, "ns_coefficients"), &recipe.coefficient_count);
    if (recipe.coefficients == NULL) {
        recipe.coefficients = group->triples;
        recipe.coefficient_count = group->triple_count;
    }
    return recipe;
}

/* Matrix b of the batch, in one of the rooms after the directions. */
static void orthogonalise_one(const struct work *work, const struct hone_polar *polar, double scale,
                              size_t b, size_t room)
{
    const struct hone_matrix *const matrix = work->matrix;
    const size_t rows = matrix->rows, columns = matrix->columns;
    const size_t first = b * rows * columns, after = count_of(matrix) + room * matrix->room;
    if (matrix->real_size == sizeof(double)) {
        double *const all = (double *)(void *)work->room;
        hone_polar_f64(polar, rows, columns, all + first, scale, all + after);
    } else {
        float *const all = (float *)(void *)work->room;
        (matrix->tiles != NULL ? hone_polar_tiles : hone_polar_f32)(
            polar, rows, columns, all + first, (float)scale, all + after);
    }
}

static void orthogonalise(const struct work *work)
{
    const struct hone_matrix *const matrix = work->matrix;
    const struct hone_group *const group =
        &work->optimizer->spec->groups[work->optimizer->params[work->tensor->param].group];
    const struct hone_matrix_recipe recipe =
        hone_matrix_recipe(group, matrix->rows, matrix->columns);
    struct hone_polar polar = {.eps = recipe.eps,
                               .steps = recipe.steps,
                               .coefficients = recipe.coefficients,
                               .coefficient_count = recipe.coefficient_count,
                               .tiles = matrix->tiles,
                               .threads = work->threads};
    const int many = work->threads > 1 ? (int)matrix->at_once : 1;
    if (many > 1)
        polar.threads = 1;
#pragma omp parallel for num_threads(many) schedule(dynamic) if (many > 1)
    for (size_t b = 0; b < matrix->batches; b++)
        orthogonalise_one(work, &polar, recipe.scale, b,
                          many > 1 ? (size_t)omp_get_thread_num() : 0);
}

static void step(const struct hone_optimizer *optimizer, const struct hone_matrix *matrix,
                 const struct hone_frame *frame, int threads, size_t slice)
{
    const struct hone_plan *const plan = &optimizer->plan;
    const struct work work = {optimizer,
                              matrix,
                              &plan->tensors[matrix->tensor],
                              frame,
                              (char *)plan->matrix.workspace + slice * plan->matrix.slice_size,
                              threads};
    if (count_of(matrix) == 0)
        return;
    directions(&work);
    orthogonalise(&work);
    move(&work);
}

void hone_matrix_step(struct hone_optimizer *optimizer, const struct hone_frame *frame)
{
    const struct hone_matrix_plan *const plan = &optimizer->plan.matrix;
    for (size_t i = 0; i < plan->shared; i++)
        step(optimizer, &plan->matrices[i], frame, optimizer->context->threads, 0);
    const int slices = plan->slices > 1 ? plan->slices : 1;
#pragma omp parallel for num_threads(slices) schedule(dynamic) if (slices > 1)
    for (size_t i = plan->shared; i < plan->count; i++)
        step(optimizer, &plan->matrices[i], frame, 1,
             slices > 1 ? (size_t)omp_get_thread_num() : 0);
}
