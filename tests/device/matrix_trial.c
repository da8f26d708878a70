/* SPDX-License-Identifier: Apache-2.0 */
#include "device/matrix_trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device_memory.h"
#include "support/checks.h"
#include "support/numbers.h"
#include "support/random.h"
#include "support/shard.h"

#define STEPS 4

struct shape {
    int32_t ndim;
    int64_t size[3];
};

/* Wide, tall and square; several of a shape; padded sides; a batch; a vector of a matrix; nothing. */
static const struct shape shapes[] = {
    {2, {24, 72}}, {2, {72, 24}}, {2, {24, 72}},    {2, {40, 40}}, {2, {24, 72}},
    {2, {5, 7}},   {2, {1, 40}},  {3, {3, 16, 24}}, {2, {0, 8}},   {2, {24, 72}},
    {2, {40, 40}}, {2, {33, 65}}, {2, {96, 130}},   {2, {70, 34}}, {2, {72, 24}},
};
enum { COUNT = sizeof shapes / sizeof shapes[0] };

static size_t count_of(const struct shape *shape)
{
    size_t count = 1;
    for (int32_t i = 0; i < shape->ndim; i++)
        count *= (size_t)shape->size[i];
    return count;
}

static double *draw(size_t count, uint64_t seed, double size)
{
    struct random random = {seed};
    double *const values = malloc(sizeof *values * (count + 1));
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = size * random_signed(&random);
    return values;
}

static void *store(bool on_device, hone_dtype dtype, const double *values, size_t count)
{
    void *const stored = numbers_store(dtype, values, count);
    if (!on_device)
        return stored;
    void *const memory = device_new(0, count * hone_dtype_size(dtype), 0);
    device_write(memory, stored, count * hone_dtype_size(dtype));
    free(stored);
    return memory;
}

static hone_tensor view_of(bool on_device, void *data, hone_dtype dtype, const struct shape *shape)
{
    return on_device ? device_view(data, dtype, shape->ndim, shape->size)
                     : hone_tensor_view(data, dtype, shape->ndim, shape->size);
}

static void add_mask(hone_optimizer *optimizer, int64_t index, const struct shape *shape)
{
    const size_t count = count_of(shape);
    const int64_t size[] = {(int64_t)((count + 31) / 32)};
    uint32_t *const words = calloc((size_t)size[0] + 1, sizeof *words);
    assert_non_null(words);
    for (size_t i = 0; i < count; i += 3)
        words[i / 32] |= (uint32_t)1 << (i % 32);
    const hone_tensor view = hone_tensor_view(words, HONE_U32, 1, size);
    hone_mask *mask = NULL;
    OK(hone_mask_from_words(&mask, hone_optimizer_context(optimizer), shape->ndim, shape->size,
                            &view, &problem));
    OK(hone_optimizer_set_mask(optimizer, index, mask, &problem));
    hone_mask_free(mask);
    free(words);
}

static hone_optimizer *make(const struct matrix_trial *trial, const hone_context *context)
{
    char json[512];
    snprintf(json, sizeof json,
             "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.03, \"groups\": [{\"match\": "
             "\"*\", \"optimizer_type\": \"muon\"%s}]}",
             trial->recipe);
    hone_spec *spec = NULL;
    hone_optimizer *optimizer = NULL;
    OK(hone_spec_parse(&spec, context, json, strlen(json), &problem));
    OK(hone_optimizer_create(&optimizer, context, spec, &problem));
    OK(hone_optimizer_set_precision(optimizer, 1, trial->precision, &problem));
    hone_spec_free(spec);
    if (trial->scaled) {
        hone_scaler scaler;
        hone_scaler_init(&scaler);
        scaler.scale = 256;
        OK(hone_optimizer_set_scaler(optimizer, &scaler, &problem));
    }
    return optimizer;
}

/* Parameters after STEPS, one after another, and where each began. */
static double *train(const struct matrix_trial *trial, bool on_device, double **begin)
{
    hone_context *context = NULL;
    OK(hone_context_create(&context, NULL, &problem));
    hone_optimizer *const optimizer = make(trial, context);
    if (on_device && trial->capturable)
        OK(hone_optimizer_set_capturable(optimizer, true, &problem));
    void *param[COUNT], *grad[COUNT];
    size_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const size_t count = count_of(&shapes[i]);
        double *const values = draw(count, 10 + i, 0.1);
        double *const slopes = draw(count, 500 + i, trial->scaled ? 2.56 : 0.01);
        char name[16];
        int64_t index;
        snprintf(name, sizeof name, "m%zu", i);
        param[i] = store(on_device, trial->param, values, count);
        grad[i] = store(on_device, trial->grad, slopes, count);
        const hone_tensor p = view_of(on_device, param[i], trial->param, &shapes[i]);
        const hone_tensor g = view_of(on_device, grad[i], trial->grad, &shapes[i]);
        OK(hone_optimizer_add(optimizer, name, &p, 1, &index, &problem));
        OK(hone_optimizer_set_grad(optimizer, index, &g, &problem));
        OK(hone_optimizer_set_lr_multiplier(optimizer, index, i % 3 == 2 ? 0.5 : 1, &problem));
        if (trial->masked && i % 2 == 0)
            add_mask(optimizer, index, &shapes[i]);
        total += count;
        free(values);
        free(slopes);
    }
    for (int s = 0; s < STEPS; s++)
        OK(hone_optimizer_step(optimizer, NULL, &problem));
    double *const end = malloc(sizeof *end * (total + 1)), *at = end;
    *begin = malloc(sizeof **begin * (total + 1));
    for (size_t i = 0; i < COUNT; i++) {
        const size_t count = count_of(&shapes[i]), size = count * hone_dtype_size(trial->param);
        void *const home = malloc(size + 1);
        if (on_device)
            device_read(home, param[i], size);
        else
            memcpy(home, param[i], size);
        numbers_load(trial->param, home, at, count);
        double *const values = draw(count, 10 + i, 0.1);
        memcpy(*begin + (at - end), values, sizeof *values * count);
        at += count;
        free(values);
        free(home);
        if (!on_device) {
            free(param[i]);
            free(grad[i]);
        }
    }
    hone_optimizer_free(optimizer);
    hone_context_free(context);
    device_free_all();
    return end;
}

void matrix_trial_check(const char *law, const struct matrix_trial *trial)
{
    if (!shard_takes(law, trial->recipe))
        return;
    double *begin, *unused;
    double *const wanted = train(trial, false, &begin), *const found = train(trial, true, &unused);
    size_t first = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const size_t count = count_of(&shapes[i]);
        double difference = 0, moved = 0;
        for (size_t k = first; k < first + count; k++) {
            difference += (found[k] - wanted[k]) * (found[k] - wanted[k]);
            moved += (wanted[k] - begin[k]) * (wanted[k] - begin[k]);
        }
        if (count > 0 && !(sqrt(difference) <= trial->tolerance * sqrt(moved)))
            fail_msg("%s%s: matrix %zu differs by %g of its way", law, trial->recipe, i,
                     sqrt(difference / moved));
        first += count;
    }
    free(wanted);
    free(found);
    free(begin);
    free(unused);
}
