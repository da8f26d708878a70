/* SPDX-License-Identifier: Apache-2.0 */
/* bfloat16 is the upper half of a float: reading appends zeros, writing rounds to the nearest, ties
 * to even. Weights are finite, so that no NaN needs care. */
#include "weights.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

static uint16_t half_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float float_of(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int is_half(const hone_spec *spec, const gpt_tensor *tensor)
{
    hone_precision precision = HONE_PRECISION_PLAIN;
    const int group = hone_spec_match(spec, tensor->name, tensor->ndim);
    hone_spec_get_precision(spec, group, &precision, NULL);
    return precision != HONE_PRECISION_PLAIN;
}

int weights_create(weights *all, gpt_model *model, const hone_spec *spec)
{
    *all = (weights){.model = model, .count = gpt_tensor_count(model)};
    all->half = calloc((size_t)all->count, sizeof *all->half);
    if (all->half == NULL)
        return failure("no memory for a list of tensors");
    for (int t = 0; t < all->count; t++) {
        const gpt_tensor *const tensor = gpt_tensor_at(model, t);
        if (!is_half(spec, tensor))
            continue;
        all->half[t] = malloc((size_t)tensor->count * sizeof *all->half[t]);
        if (all->half[t] == NULL)
            return failure("no memory for tensor '%s'", tensor->name);
        for (int64_t i = 0; i < tensor->count; i++)
            all->half[t][i] = half_of(tensor->data[i]);
    }
    weights_publish(all);
    return 0;
}

void weights_free(weights *all)
{
    for (int t = 0; all->half != NULL && t < all->count; t++)
        free(all->half[t]);
    free(all->half);
    *all = (weights){0};
}

hone_tensor weights_view(const weights *all, int index)
{
    const gpt_tensor *const tensor = gpt_tensor_at(all->model, index);
    if (all->half[index] != NULL)
        return hone_tensor_view(all->half[index], HONE_BF16, tensor->ndim, tensor->shape);
    return hone_tensor_view(tensor->data, HONE_F32, tensor->ndim, tensor->shape);
}

void weights_publish(const weights *all)
{
    for (int t = 0; t < all->count; t++) {
        const gpt_tensor *const tensor = gpt_tensor_at(all->model, t);
        for (int64_t i = 0; all->half[t] != NULL && i < tensor->count; i++)
            tensor->data[i] = float_of(all->half[t][i]);
    }
}
