/* SPDX-License-Identifier: Apache-2.0 */
/* Builds optimizers to be measured. */
#include "bench_subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

static void *allocate_block(size_t size)
{
    void *block = NULL;
    if (posix_memalign(&block, HUGE_PAGE, size == 0 ? 1 : size) != 0)
        return NULL;
    madvise(block, size, MADV_HUGEPAGE); /* may be refused without harm */
    return block;
}

/* A number in [0, 1) that looks random: the same for the same index on every machine. */
static float spread(int64_t index)
{
    const uint32_t mixed = (uint32_t)index * 2654435761u;
    return (float)(mixed >> 8) * 0x1p-24f;
}

static void store(void *block, hone_dtype dtype, int64_t index, float value)
{
    if (dtype == HONE_F32) {
        ((float *)block)[index] = value;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ((uint16_t *)block)[index] = (uint16_t)(bits >> 16);
}

/* Gradients stay away from 0, so that no state becomes denormal, which would be slow on some
 * processors and is no part of what is measured. */
static void fill(bench_subject *subject, hone_dtype dtype)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < subject->elements; i++) {
        store(subject->params, dtype, i, 2 * spread(i) - 1);
        store(subject->grads, dtype, i, 0.5e-3f + 1e-3f * spread(~i));
    }
}

static hone_status create_optimizer(hone_optimizer **optimizer, const hone_context *context,
                                    const bench_recipe *recipe, hone_error *error)
{
    hone_spec *spec = NULL;
    hone_status status = hone_spec_create(&spec, context, recipe->rule, error);
    if (status == HONE_OK && recipe->momentum != 0)
        status = hone_spec_set(spec, 0, "momentum", recipe->momentum, error);
    double lr = 0;
    if (status == HONE_OK && recipe->masked != 0)
        status = hone_spec_get(spec, 0, "lr", &lr, error);
    /* Equal rates could take a shorter way. */
    if (status == HONE_OK && recipe->masked != 0)
        status = hone_spec_set(spec, 0, "masked_lr", 10 * lr, error);
    if (status == HONE_OK)
        status = hone_optimizer_create(optimizer, context, spec, error);
    hone_spec_free(spec);
    if (status == HONE_OK && recipe->dtype != HONE_F32)
        status = hone_optimizer_set_state_dtype(*optimizer, 0, NULL,
                                                recipe->master ? HONE_F32 : recipe->dtype, error);
    if (status == HONE_OK && recipe->master)
        status = hone_optimizer_set_precision(*optimizer, 0, HONE_PRECISION_MASTER, error);
    hone_scaler scaler;
    hone_scaler_init(&scaler);
    if (status == HONE_OK && recipe->scaler)
        status = hone_optimizer_set_scaler(*optimizer, &scaler, error);
    if (status == HONE_OK && recipe->clip_norm != 0)
        status = hone_optimizer_clip_norm(*optimizer, recipe->clip_norm, 2,
                                          HONE_NONFINITE_PROPAGATE, error);
    return status;
}

static hone_status fail_memory(hone_error *error, const char *what, size_t bytes)
{
    error->status = HONE_ERROR_MEMORY;
    error->offset = -1;
    snprintf(error->message, sizeof error->message, "out of memory: %s %zu bytes", what, bytes);
    return HONE_ERROR_MEMORY;
}

/* True with the probability `share`. Unlike spread, whose values are even, this has runs and gaps:
 * the mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). */
static bool chance(int64_t index, double share)
{
    uint64_t x = ((uint64_t)index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((x ^ x >> 31) >> 11) * 0x1p-53 < share;
}

/* Each element is under it or not by chance. */
static hone_status create_mask(hone_mask **mask, const hone_context *context, int64_t length,
                               double share, hone_error *error)
{
    const int64_t count = (length + 31) / 32;
    uint32_t *const bits = calloc((size_t)count + 1, sizeof *bits);
    if (bits == NULL)
        return fail_memory(error, "a mask takes", (size_t)count * sizeof *bits);
#pragma omp parallel for schedule(static)
    for (int64_t word = 0; word < count; word++)
        for (int64_t i = 32 * word; i < 32 * word + 32 && i < length; i++)
            bits[word] |= (uint32_t)chance(i, share) << i % 32;
    const hone_tensor words = hone_tensor_view(bits, HONE_U32, 1, &count);
    const hone_status status = hone_mask_from_words(mask, context, 1, &length, &words, error);
    free(bits);
    return status;
}

static hone_status set_mask(const bench_subject *subject, int64_t index, int64_t length,
                            double share, hone_error *error)
{
    if (share == 0)
        return HONE_OK;
    hone_mask *mask = NULL;
    hone_status status =
        create_mask(&mask, hone_optimizer_context(subject->optimizer), length, share, error);
    if (status == HONE_OK)
        status = hone_optimizer_set_mask(subject->optimizer, index, mask, error);
    hone_mask_free(mask);
    return status;
}

static hone_status add_tensors(bench_subject *subject, const bench_recipe *recipe,
                               const int64_t *lengths, int64_t count, hone_error *error)
{
    const hone_dtype dtype = recipe->dtype;
    char *param = subject->params, *grad = subject->grads;
    for (int64_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "tensor.%lld", (long long)i);
        const hone_tensor p = hone_tensor_view(param, dtype, 1, &lengths[i]);
        const hone_tensor g = hone_tensor_view(grad, dtype, 1, &lengths[i]);
        int64_t index;
        hone_status status = hone_optimizer_add(subject->optimizer, name, &p, 0, &index, error);
        if (status == HONE_OK)
            status = hone_optimizer_set_grad(subject->optimizer, index, &g, error);
        if (status == HONE_OK)
            status = set_mask(subject, index, lengths[i], recipe->masked, error);
        if (status != HONE_OK)
            return status;
        param += (size_t)lengths[i] * hone_dtype_size(dtype);
        grad += (size_t)lengths[i] * hone_dtype_size(dtype);
    }
    return HONE_OK;
}

hone_status bench_subject_create(bench_subject *subject, const hone_context *context,
                                 const bench_recipe *recipe, const int64_t *lengths, int64_t count,
                                 hone_error *error)
{
    *subject = (bench_subject){0};
    for (int64_t i = 0; i < count; i++)
        subject->elements += lengths[i];
    subject->bytes = (size_t)subject->elements * hone_dtype_size(recipe->dtype);
    subject->params = allocate_block(subject->bytes);
    subject->grads = allocate_block(subject->bytes);
    hone_status status = HONE_OK;
    if (subject->params == NULL || subject->grads == NULL)
        status = fail_memory(error, "parameters and gradients each take", subject->bytes);
    if (status == HONE_OK) {
        fill(subject, recipe->dtype);
        status = create_optimizer(&subject->optimizer, context, recipe, error);
    }
    if (status == HONE_OK)
        status = add_tensors(subject, recipe, lengths, count, error);
    /* The first step makes the states and lets them be touched. */
    if (status == HONE_OK)
        status = hone_optimizer_step(subject->optimizer, NULL, error);
    if (status != HONE_OK)
        bench_subject_free(subject);
    return status;
}

void bench_subject_free(bench_subject *subject)
{
    hone_optimizer_free(subject->optimizer);
    free(subject->params);
    free(subject->grads);
    *subject = (bench_subject){0};
}

void bench_subject_step(void *user)
{
    bench_subject *const subject = user;
    if (!subject->failed)
        subject->failed = hone_optimizer_step(subject->optimizer, NULL, &subject->error) != HONE_OK;
}

void *bench_subject_state(const bench_subject *subject, const char *slot)
{
    hone_tensor view;
    const hone_status status = hone_optimizer_state(subject->optimizer, 0, slot, &view, NULL);
    return status == HONE_OK ? view.data : NULL;
}
