/* SPDX-License-Identifier: Apache-2.0 */
/* The toy in double precision, so that rounding leaves nine digits of the ratio alone. */
#include "constant_gradient.h"
#include "report.h"

#include <math.h>

enum { MASKED_ONE, UNMASKED_ONE, N_WEIGHTS };

typedef struct toy {
    hone_optimizer *optimizer;
    double weights[N_WEIGHTS], gradient[N_WEIGHTS];
} toy;

static const int64_t shape[] = {N_WEIGHTS};

static hone_status create(toy *two, const hone_context *context, hone_error *error)
{
    hone_spec *spec = NULL;
    hone_status status = hone_spec_create(&spec, context, "adamw", error);
    if (status == HONE_OK)
        status = hone_spec_set(spec, 0, "weight_decay", 0, error);
    if (status == HONE_OK)
        status = hone_optimizer_create(&two->optimizer, context, spec, error);
    hone_spec_free(spec);
    const hone_tensor weights = hone_tensor_view(two->weights, HONE_F64, 1, shape);
    const hone_tensor gradient = hone_tensor_view(two->gradient, HONE_F64, 1, shape);
    if (status == HONE_OK)
        status = hone_optimizer_add(two->optimizer, "weights", &weights, 0, NULL, error);
    if (status == HONE_OK)
        status = hone_optimizer_set_grad(two->optimizer, 0, &gradient, error);
    return status;
}

static hone_status set_mask(const toy *two, const hone_context *context, hone_error *error)
{
    uint8_t bits[N_WEIGHTS] = {[MASKED_ONE] = 1};
    const hone_tensor dense = hone_tensor_view(bits, HONE_BOOL, 1, shape);
    hone_mask *mask = NULL;
    hone_status status = hone_mask_from_dense(&mask, context, &dense, error);
    if (status == HONE_OK)
        status = hone_optimizer_set_mask(two->optimizer, 0, mask, error);
    hone_mask_free(mask);
    return status;
}

static int finish(constant_ways *ways, toy *two, hone_status status, const hone_error *error)
{
    *ways = (constant_ways){fabs(two->weights[MASKED_ONE]), fabs(two->weights[UNMASKED_ONE])};
    hone_optimizer_free(two->optimizer);
    return status == HONE_OK ? 0 : failure("constant gradient: %s", error->message);
}

int constant_one_pass(constant_ways *ways, const hone_context *context, double masked_lr, double lr,
                      int64_t steps)
{
    toy two = {.gradient = {1, 1}};
    hone_error error;
    hone_status status = create(&two, context, &error);
    if (status == HONE_OK)
        status = set_mask(&two, context, &error);
    if (status == HONE_OK)
        status = hone_optimizer_set(two.optimizer, 0, "lr", lr, &error);
    if (status == HONE_OK)
        status = hone_optimizer_set(two.optimizer, 0, "masked_lr", masked_lr, &error);
    for (int64_t i = 0; status == HONE_OK && i < steps; i++)
        status = hone_optimizer_step(two.optimizer, NULL, &error);
    return finish(ways, &two, status, &error);
}

int constant_two_passes(constant_ways *ways, const hone_context *context, double masked_lr,
                        double lr, int64_t steps)
{
    toy two = {0};
    hone_error error;
    hone_status status = create(&two, context, &error);
    for (int64_t i = 0; status == HONE_OK && i < 2 * steps; i++) {
        const int turn = i % 2 == 0 ? MASKED_ONE : UNMASKED_ONE;
        two.gradient[turn] = 1;
        two.gradient[1 - turn] = 0;
        status =
            hone_optimizer_set(two.optimizer, 0, "lr", turn == MASKED_ONE ? masked_lr : lr, &error);
        if (status == HONE_OK)
            status = hone_optimizer_step(two.optimizer, NULL, &error);
    }
    return finish(ways, &two, status, &error);
}
