/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix rules on a device. A bucket holds matrices of one shape: one launch makes the directions of
 * all of them in the workspace, the target turns them into polar factors, and one launch of the rule
 * "move" steps the parameters. Buckets follow each other on the queue and share the workspace. */
#include <math.h>

#include "core/device.h"
#include "core/matrix.h"

/* Bytes of workspace that a bucket's matrices should keep within; a larger matrix is stepped alone. */
#define WORKSPACE ((size_t)1 << 30)

static enum hone_format format_of(const struct hone_device_bucket *bucket)
{
    return bucket->narrow ? HONE_FORMAT_F16 : bucket->wide ? HONE_FORMAT_F64 : HONE_FORMAT_F32;
}

static size_t matrix_size(const struct hone_device_bucket *bucket)
{
    return bucket->rows * bucket->columns * hone_format_size(format_of(bucket));
}

/* The workspace has the directions, then what becomes of them, unless that takes their place, and then
 * the products' own. */
static size_t directions_size(const struct hone_device_bucket *bucket)
{
    return (bucket->batch * matrix_size(bucket) + 255) / 256 * 256;
}

static size_t results_at(const struct hone_device_bucket *bucket)
{
    return bucket->narrow ? directions_size(bucket) : 0;
}

static size_t products_at(const struct hone_device_bucket *bucket)
{
    return results_at(bucket) + directions_size(bucket);
}

/* What results are stored times: as halves their elements should be about 1. */
static double results_range(const struct hone_device_bucket *bucket, double scale)
{
    const size_t rows = bucket->rows, columns = bucket->columns;
    const double longer = (double)(rows > columns ? rows : columns);
    return bucket->narrow ? exp2(round(log2(sqrt(longer) / scale))) : 1;
}

static struct hone_device_polar polar_of(const hone_optimizer *optimizer,
                                         const struct hone_device_bucket *bucket, size_t batch)
{
    const struct hone_matrix_recipe recipe =
        hone_matrix_recipe(&optimizer->spec->groups[bucket->group], bucket->rows, bucket->columns);
    return (struct hone_device_polar){.rows = bucket->rows,
                                      .columns = bucket->columns,
                                      .batch = batch,
                                      .products = bucket->wide    ? HONE_DEVICE_PRODUCTS_DOUBLE
                                                  : recipe.narrow ? HONE_DEVICE_PRODUCTS_HALF
                                                                  : HONE_DEVICE_PRODUCTS_FLOAT,
                                      .eps = recipe.eps,
                                      .steps = recipe.steps,
                                      .coefficients = recipe.coefficients,
                                      .coefficient_count = recipe.coefficient_count,
                                      .scale = recipe.scale * results_range(bucket, recipe.scale),
                                      .narrow = bucket->narrow};
}

/* ---- the plan --------------------------------------------------------------------------------- */

/* The combination of formats by which the rule "move" takes the results in. */
static int move_direct(const struct hone_plan_tensor *tensor, enum hone_format results)
{
    struct hone_stage stage = tensor->stage;
    stage.grad = results;
    stage.slot_count = 0;
    return hone_find_direct(&stage, &tensor->base);
}

/* Halves, where each tensor is one matrix, the target takes them and they cost the move no kernel of its
 * own. */
static void choose_formats(const hone_optimizer *optimizer, const struct hone_device *device,
                           const struct hone_plan_tensor *tensor, struct hone_device_bucket *wanted)
{
    const struct hone_device_polar polar = polar_of(optimizer, wanted, 1);
    const int plain = move_direct(tensor, format_of(wanted));
    const int narrow = move_direct(tensor, HONE_FORMAT_F16);
    wanted->narrow = wanted->batch == 1 && (narrow >= 0 || plain < 0) &&
                     device->target->polar_narrow(device->queue, &polar);
    wanted->direct = wanted->narrow ? narrow : plain;
}

hone_status hone_device_matrix_bucket(const hone_optimizer *optimizer,
                                      const struct hone_device *device,
                                      const struct hone_plan_tensor *tensor,
                                      struct hone_device_bucket *wanted, hone_error *error)
{
    const struct hone_param *const param = &optimizer->params[tensor->param];
    const struct hone_group *const group = &optimizer->spec->groups[param->group];
    hone_status status = hone_matrix_shape(group, &param->tensor, param->name, &wanted->batch,
                                           &wanted->rows, &wanted->columns, error);
    if (status == HONE_OK)
        status = hone_matrix_check(group, error);
    if (status != HONE_OK)
        return status;
    wanted->group = param->group;
    choose_formats(optimizer, device, tensor, wanted);
    const struct hone_device_polar polar = polar_of(optimizer, wanted, (size_t)1 << 20);
    wanted->at_once = device->target->polar_batch(&polar, WORKSPACE);
    return HONE_OK;
}

bool hone_device_matrix_fits(const struct hone_device_bucket *bucket,
                             const struct hone_device_bucket *wanted)
{
    return bucket->group == wanted->group && bucket->rows == wanted->rows &&
           bucket->columns == wanted->columns && bucket->narrow == wanted->narrow &&
           bucket->batch + wanted->batch <= wanted->at_once;
}

hone_status hone_device_matrix_reserve(const hone_optimizer *optimizer, struct hone_device *device,
                                       hone_error *error)
{
    size_t most = 0;
    for (size_t i = 0; i < device->bucket_count; i++) {
        const struct hone_device_bucket *const bucket = &device->buckets[i];
        if (bucket->rows == 0)
            continue;
        const size_t batch = bucket->batch < bucket->at_once ? bucket->batch : bucket->at_once;
        const struct hone_device_polar polar = polar_of(optimizer, bucket, batch);
        const size_t size = products_at(bucket) + device->target->polar_workspace(&polar);
        most = size > most ? size : most;
    }
    hone_status status = HONE_OK;
    if (most > 0 && device->products == NULL)
        status = hone_device_check(device,
                                   device->target->open_products(device->queue, &device->products),
                                   "products of matrices", error);
    if (status == HONE_OK)
        status = hone_device_reserve(device, &device->workspace, most, "the directions of matrices",
                                     error);
    return status;
}

void hone_device_matrix_split(const struct hone_device *device,
                              const struct hone_device_bucket *bucket, size_t first,
                              struct hone_device_tensor *tensor, struct hone_device_tensor *move)
{
    const enum hone_format format = format_of(bucket);
    char *const directions = (char *)device->workspace.data + first * hone_format_size(format);
    *move = *tensor;
    move->grad = directions + results_at(bucket);
    for (int k = 0; k < HONE_MAX_SLOTS; k++)
        move->slot[k] = NULL;
    move->places = hone_place_set(move->places, HONE_PLACE_GRAD, format);
    move->places = hone_place_set(move->places, HONE_PLACE_VARIANT, 0);
    tensor->extra = directions;
    tensor->places = hone_place_set(tensor->places, HONE_PLACE_EXTRA, HONE_EXTRA_MASTER);
    tensor->places = hone_place_set(tensor->places, HONE_PLACE_CAST, format);
}

/* ---- products -------------------------------------------------------------------------------------- */

/* Whether a chunk of the launch is a chunk of one matrix, and all are made at once: then the launch
 * that makes the directions can measure them too. */
static bool is_measured(const struct hone_device_bucket *bucket)
{
    return bucket->tensor_count == bucket->batch && bucket->batch <= bucket->at_once;
}

/* The directions of the whole bucket, some matrices after others where they are too many at once. */
static hone_status make_polar(const hone_optimizer *optimizer, struct hone_device *device,
                              const struct hone_device_bucket *bucket, const char *what,
                              hone_error *error)
{
    const size_t size = matrix_size(bucket);
    char *const directions = device->workspace.data, *const results =
                                                         directions + results_at(bucket);
    hone_status status = HONE_OK;
    for (size_t done = 0; done < bucket->batch && status == HONE_OK; done += bucket->at_once) {
        const size_t left = bucket->batch - done;
        struct hone_device_polar polar =
            polar_of(optimizer, bucket, left < bucket->at_once ? left : bucket->at_once);
        polar.measured = is_measured(bucket);
        status = hone_device_check(
            device,
            device->target->polar(device->queue, device->products, &polar, directions + done * size,
                                  results + done * size, directions + products_at(bucket)),
            what, error);
    }
    return status;
}

/* ---- the trial ---------------------------------------------------------------------------------- */

static bool same_products(const struct hone_device_polar *a, const struct hone_device_polar *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->batch == b->batch &&
           a->products == b->products && a->steps == b->steps && a->measured == b->measured &&
           a->narrow == b->narrow;
}

static bool was_tried(const struct hone_device *device, const struct hone_device_polar *wanted)
{
    for (size_t i = 0; i < device->tried_count; i++)
        if (same_products(&device->tried[i], wanted))
            return true;
    return false;
}

static hone_status reserve_tried(struct hone_device *device, hone_error *error)
{
    const size_t old = device->tried_capacity, size = sizeof *device->tried;
    if (device->tried_count < old)
        return HONE_OK;
    void *const grown =
        hone_reallocate(device->context, device->tried, size * old, size * (old + 8));
    if (grown == NULL)
        return hone_fail_memory(error, size * (old + 8), "the plan of a device");
    device->tried = grown;
    device->tried_capacity = old + 8;
    return HONE_OK;
}

/* Runs the products of a bucket on zeros, in the memory that its steps will use. */
static hone_status try_bucket(const hone_optimizer *optimizer, struct hone_device *device,
                              const struct hone_device_bucket *bucket, hone_error *error)
{
    struct hone_device_polar polar = polar_of(optimizer, bucket, bucket->batch);
    polar.measured = is_measured(bucket);
    if (was_tried(device, &polar))
        return HONE_OK;
    hone_status status = reserve_tried(device, error);
    if (status == HONE_OK)
        status = hone_device_check(
            device,
            device->target->zero(device->queue, device->workspace.data, device->workspace.size),
            "products of matrices", error);
    if (status == HONE_OK)
        status = make_polar(optimizer, device, bucket, "products of matrices", error);
    if (status == HONE_OK)
        device->tried[device->tried_count++] = polar;
    return status;
}

hone_status hone_device_matrix_try(const hone_optimizer *optimizer, struct hone_device *device,
                                   hone_error *error)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < device->bucket_count && status == HONE_OK; i++)
        if (device->buckets[i].rows > 0)
            status = try_bucket(optimizer, device, &device->buckets[i], error);
    return status;
}

/* ---- the step --------------------------------------------------------------------------------- */

/* Results are divided by their range. They have their sign already, so a group that maximizes turns it
 * twice. */
static struct hone_frame move_frame(const struct hone_group *group,
                                    const struct hone_device_bucket *bucket)
{
    const struct hone_matrix_recipe recipe =
        hone_matrix_recipe(group, bucket->rows, bucket->columns);
    const int maximize = hone_rule_hyper_find(group->rule, "maximize");
    const bool turns = maximize >= 0 && group->values[maximize].number != 0;
    const double scale = 1 / results_range(bucket, recipe.scale);
    return (struct hone_frame){
        .grad_scale = turns ? -scale : scale, .value_limit = HUGE_VAL, .clip_coef = 1};
}

hone_status hone_device_matrix_step(const hone_optimizer *optimizer, struct hone_device *device,
                                    const struct hone_device_bucket *bucket, hone_error *error)
{
    const struct hone_device_target *const target = device->target;
    char *const workspace = device->workspace.data;
    device->call.squares = is_measured(bucket) ? (void *)(workspace + products_at(bucket)) : NULL;
    hone_status status = hone_device_check(
        device, target->direction(device->queue, bucket->rule, bucket->wide, &device->call),
        "a step", error);
    if (status == HONE_OK)
        status = make_polar(optimizer, device, bucket, "a step", error);
    if (status != HONE_OK)
        return status;
    struct hone_device_call move = device->call;
    move.tensors = device->moves + bucket->tensor;
    move.frame = move_frame(&optimizer->spec->groups[bucket->group], bucket);
    move.own_frame = 1;
    return hone_device_check(
        device, target->step(device->queue, hone_rule_count(), bucket->wide, bucket->direct, &move),
        "a step", error);
}
