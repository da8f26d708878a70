/* SPDX-License-Identifier: Apache-2.0 */
/* The forward and backward pass of the whole network over one shard, and the shard's memory. */
#include "network.h"

#include <stdlib.h>
#include <string.h>

ptrdiff_t real_padded(ptrdiff_t count)
{
    const ptrdiff_t unit = 64 / (ptrdiff_t)sizeof(real);
    return (count + unit - 1) / unit * unit;
}

real *real_allocate(ptrdiff_t count)
{
    return aligned_alloc(64, (size_t)real_padded(count) * sizeof(real));
}

/* Hands out parts of one allocation; with no base it only counts. */
typedef struct arena {
    real *base;
    ptrdiff_t used;
} arena;

static real *carve(arena *memory, ptrdiff_t count)
{
    real *part = memory->base != NULL ? memory->base + memory->used : NULL;
    memory->used += real_padded(count);
    return part;
}

static void carve_block(block_activations *block, arena *memory, const gpt_config *config,
                        ptrdiff_t rows)
{
    const ptrdiff_t width = config->width;
    block->in = carve(memory, rows * width);
    block->norm_1 = carve(memory, rows * width);
    block->mean_1 = carve(memory, rows);
    block->scale_1 = carve(memory, rows);
    block->qkv = carve(memory, rows * 3 * width);
    block->weights = carve(memory, rows * config->heads * config->context);
    block->mixed = carve(memory, rows * width);
    block->middle = carve(memory, rows * width);
    block->norm_2 = carve(memory, rows * width);
    block->mean_2 = carve(memory, rows);
    block->scale_2 = carve(memory, rows);
    block->hidden = carve(memory, rows * 4 * width);
    block->gate = carve(memory, rows * 4 * width);
    block->active = carve(memory, rows * 4 * width);
}

static void carve_shard(shard *part, arena *memory, const network *net)
{
    const gpt_config *config = &net->config;
    const ptrdiff_t width = config->width;
    const ptrdiff_t rows = (ptrdiff_t)part->sequences * config->context;
    for (int layer = 0; layer < config->layers; layer++)
        carve_block(&part->blocks[layer], memory, config, rows);
    part->out = carve(memory, rows * width);
    part->norm = carve(memory, rows * width);
    part->mean = carve(memory, rows);
    part->scale = carve(memory, rows);
    part->logits = carve(memory, rows * config->vocabulary);
    part->d_stream = carve(memory, rows * width);
    part->d_narrow = carve(memory, rows * width);
    part->d_wide = carve(memory, rows * 4 * width);
    part->d_scores = carve(memory, (ptrdiff_t)config->context * config->context);
    part->grad = carve(memory, net->size);
}

int shard_create(shard *part, const network *net, int first, int sequences)
{
    *part = (shard){.first = first, .sequences = sequences};
    part->blocks = calloc((size_t)net->config.layers, sizeof *part->blocks);
    if (part->blocks == NULL)
        return -1;
    arena memory = {0};
    carve_shard(part, &memory, net);
    part->memory = real_allocate(memory.used);
    if (part->memory == NULL)
        return -1;
    memory = (arena){.base = part->memory};
    carve_shard(part, &memory, net);
    return 0;
}

void shard_free(shard *part)
{
    free(part->blocks);
    free(part->memory);
    *part = (shard){0};
}

static const real *data_of(const network *net, int tensor)
{
    return net->data + net->offsets[tensor];
}

static real *grad_of(const shard *part, const network *net, int tensor)
{
    return part->grad + net->offsets[tensor];
}

static int block_start(int layer)
{
    return FIRST_BLOCK + layer * TENSORS_PER_BLOCK;
}

static void block_forward(real *out, const block_activations *block, const network *net, int layer,
                          int sequences)
{
    const gpt_config *config = &net->config;
    const int rows = sequences * config->context;
    const int width = config->width;
    const int start = block_start(layer);
    layer_norm_forward(block->norm_1, block->mean_1, block->scale_1, block->in,
                       data_of(net, start + NORM_1_WEIGHT), data_of(net, start + NORM_1_BIAS), rows,
                       width);
    linear_forward(block->qkv, block->norm_1, data_of(net, start + QKV_WEIGHT),
                   data_of(net, start + QKV_BIAS), NULL, rows, width, 3 * width);
    attention_forward(block->mixed, block->weights, block->qkv, sequences, config->context,
                      config->heads, width);
    linear_forward(block->middle, block->mixed, data_of(net, start + ATTENTION_OUT_WEIGHT),
                   data_of(net, start + ATTENTION_OUT_BIAS), block->in, rows, width, width);
    layer_norm_forward(block->norm_2, block->mean_2, block->scale_2, block->middle,
                       data_of(net, start + NORM_2_WEIGHT), data_of(net, start + NORM_2_BIAS), rows,
                       width);
    linear_forward(block->hidden, block->norm_2, data_of(net, start + MLP_IN_WEIGHT),
                   data_of(net, start + MLP_IN_BIAS), NULL, rows, width, 4 * width);
    gelu_forward(block->active, block->gate, block->hidden, rows * 4 * width);
    linear_forward(out, block->active, data_of(net, start + MLP_OUT_WEIGHT),
                   data_of(net, start + MLP_OUT_BIAS), block->middle, rows, 4 * width, width);
}

/* d_stream enters as the gradient of the block's output and leaves as that of its input. The
 * residual paths are why each half only adds to it. */
static void mlp_backward(shard *part, const network *net, int layer)
{
    const block_activations *block = &part->blocks[layer];
    const int rows = part->sequences * net->config.context;
    const int width = net->config.width;
    const int start = block_start(layer);
    linear_backward(part->d_wide, grad_of(part, net, start + MLP_OUT_WEIGHT),
                    grad_of(part, net, start + MLP_OUT_BIAS), part->d_stream, block->active,
                    data_of(net, start + MLP_OUT_WEIGHT), rows, 4 * width, width);
    gelu_backward(part->d_wide, part->d_wide, block->gate, block->hidden, rows * 4 * width);
    linear_backward(part->d_narrow, grad_of(part, net, start + MLP_IN_WEIGHT),
                    grad_of(part, net, start + MLP_IN_BIAS), part->d_wide, block->norm_2,
                    data_of(net, start + MLP_IN_WEIGHT), rows, width, 4 * width);
    layer_norm_backward(part->d_stream, 1, grad_of(part, net, start + NORM_2_WEIGHT),
                        grad_of(part, net, start + NORM_2_BIAS), part->d_narrow, block->middle,
                        block->mean_2, block->scale_2, data_of(net, start + NORM_2_WEIGHT), rows,
                        width);
}

static void attention_half_backward(shard *part, const network *net, int layer)
{
    const block_activations *block = &part->blocks[layer];
    const gpt_config *config = &net->config;
    const int rows = part->sequences * config->context;
    const int width = config->width;
    const int start = block_start(layer);
    linear_backward(part->d_narrow, grad_of(part, net, start + ATTENTION_OUT_WEIGHT),
                    grad_of(part, net, start + ATTENTION_OUT_BIAS), part->d_stream, block->mixed,
                    data_of(net, start + ATTENTION_OUT_WEIGHT), rows, width, width);
    attention_backward(part->d_wide, part->d_scores, part->d_narrow, block->weights, block->qkv,
                       part->sequences, config->context, config->heads, width);
    linear_backward(part->d_narrow, grad_of(part, net, start + QKV_WEIGHT),
                    grad_of(part, net, start + QKV_BIAS), part->d_wide, block->norm_1,
                    data_of(net, start + QKV_WEIGHT), rows, width, 3 * width);
    layer_norm_backward(part->d_stream, 1, grad_of(part, net, start + NORM_1_WEIGHT),
                        grad_of(part, net, start + NORM_1_BIAS), part->d_narrow, block->in,
                        block->mean_1, block->scale_1, data_of(net, start + NORM_1_WEIGHT), rows,
                        width);
}

void shard_forward(shard *part, const network *net, const uint8_t *inputs, const uint8_t *targets)
{
    const gpt_config *config = &net->config;
    const int rows = part->sequences * config->context;
    const ptrdiff_t first = (ptrdiff_t)part->first * config->context;
    const int end = block_start(config->layers);
    embed_forward(part->blocks[0].in, inputs + first, data_of(net, TOKEN_TABLE),
                  data_of(net, POSITION_TABLE), part->sequences, config->context, config->width);
    for (int layer = 0; layer < config->layers; layer++) {
        const int last = layer + 1 == config->layers;
        block_forward(last ? part->out : part->blocks[layer + 1].in, &part->blocks[layer], net,
                      layer, part->sequences);
    }
    layer_norm_forward(part->norm, part->mean, part->scale, part->out,
                       data_of(net, end + FINAL_NORM_WEIGHT), data_of(net, end + FINAL_NORM_BIAS),
                       rows, config->width);
    linear_forward(part->logits, part->norm, data_of(net, end + HEAD_WEIGHT), NULL, NULL, rows,
                   config->width, config->vocabulary);
    part->loss = cross_entropy(part->logits, targets + first, rows, config->vocabulary);
}

void shard_backward(shard *part, const network *net, const uint8_t *inputs, const uint8_t *targets,
                    real d_loss)
{
    const gpt_config *config = &net->config;
    const int rows = part->sequences * config->context;
    const ptrdiff_t first = (ptrdiff_t)part->first * config->context;
    const int end = block_start(config->layers);
    memset(part->grad, 0, (size_t)net->size * sizeof *part->grad);
    cross_entropy_backward(part->logits, targets + first, rows, config->vocabulary, d_loss);
    linear_backward(part->d_narrow, grad_of(part, net, end + HEAD_WEIGHT), NULL, part->logits,
                    part->norm, data_of(net, end + HEAD_WEIGHT), rows, config->width,
                    config->vocabulary);
    layer_norm_backward(part->d_stream, 0, grad_of(part, net, end + FINAL_NORM_WEIGHT),
                        grad_of(part, net, end + FINAL_NORM_BIAS), part->d_narrow, part->out,
                        part->mean, part->scale, data_of(net, end + FINAL_NORM_WEIGHT), rows,
                        config->width);
    for (int layer = config->layers - 1; layer >= 0; layer--) {
        mlp_backward(part, net, layer);
        attention_half_backward(part, net, layer);
    }
    embed_backward(grad_of(part, net, TOKEN_TABLE), grad_of(part, net, POSITION_TABLE),
                   part->d_stream, inputs + first, part->sequences, config->context, config->width);
}
