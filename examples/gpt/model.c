/* SPDX-License-Identifier: Apache-2.0 */
/* The model as its user sees it: the list of named tensors, their initial values, and the two
 * passes, which cut the batch into shards and add the shards up in one fixed order. */
#include "network.h"
#include "random.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fixed, and not the number of threads, so that the sums do not depend on the machine. */
enum { MAX_SHARDS = 4 };

struct gpt_model {
    network net;
    int n_shards;
    shard shards[MAX_SHARDS];
};

gpt_config gpt_config_default(void)
{
    return (gpt_config){
        .layers = 3, .heads = 4, .width = 128, .context = 64, .vocabulary = GPT_BYTES, .batch = 16};
}

const char *gpt_config_problem(const gpt_config *config)
{
    if (config->layers < 1 || config->layers > 999)
        return "layers must be between 1 and 999";
    if (config->heads < 1 || config->width < config->heads || config->width > 8192 ||
        config->width % config->heads != 0)
        return "width must be a positive multiple of heads, and at most 8192";
    if (config->context < 1 || config->context > 4096)
        return "context must be between 1 and 4096";
    if (config->vocabulary < 2 || config->vocabulary > GPT_BYTES)
        return "vocabulary must be between 2 and 256";
    if (config->batch < 1 || config->batch > 512)
        return "batch must be between 1 and 512";
    if ((int64_t)config->batch * config->context * 4 * config->width > INT32_MAX)
        return "batch * context * 4 * width must stay below 2^31";
    return NULL;
}

static void add_tensor(network *net, const char *name, int rows, int columns)
{
    gpt_tensor *tensor = &net->tensors[net->n_tensors];
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->ndim = columns > 0 ? 2 : 1;
    tensor->shape[0] = rows;
    tensor->shape[1] = columns > 0 ? columns : 1;
    tensor->count = tensor->shape[0] * tensor->shape[1];
    net->offsets[net->n_tensors] = net->size;
    net->size += real_padded((ptrdiff_t)tensor->count);
    net->n_tensors++;
}

static void add_block_tensors(network *net, int layer)
{
    const int width = net->config.width;
    const struct {
        const char *name;
        int rows, columns;
    } parts[TENSORS_PER_BLOCK] = {
        [NORM_1_WEIGHT] = {"ln_1.weight", width, 0},
        [NORM_1_BIAS] = {"ln_1.bias", width, 0},
        [QKV_WEIGHT] = {"attn.qkv.weight", 3 * width, width},
        [QKV_BIAS] = {"attn.qkv.bias", 3 * width, 0},
        [ATTENTION_OUT_WEIGHT] = {"attn.proj.weight", width, width},
        [ATTENTION_OUT_BIAS] = {"attn.proj.bias", width, 0},
        [NORM_2_WEIGHT] = {"ln_2.weight", width, 0},
        [NORM_2_BIAS] = {"ln_2.bias", width, 0},
        [MLP_IN_WEIGHT] = {"mlp.fc.weight", 4 * width, width},
        [MLP_IN_BIAS] = {"mlp.fc.bias", 4 * width, 0},
        [MLP_OUT_WEIGHT] = {"mlp.proj.weight", width, 4 * width},
        [MLP_OUT_BIAS] = {"mlp.proj.bias", width, 0},
    };
    for (int i = 0; i < TENSORS_PER_BLOCK; i++) {
        char name[GPT_NAME_SIZE];
        snprintf(name, sizeof name, "transformer.h.%d.%s", layer, parts[i].name);
        add_tensor(net, name, parts[i].rows, parts[i].columns);
    }
}

static void list_tensors(network *net)
{
    const gpt_config *config = &net->config;
    add_tensor(net, "wte.weight", config->vocabulary, config->width);
    add_tensor(net, "wpe.weight", config->context, config->width);
    for (int layer = 0; layer < config->layers; layer++)
        add_block_tensors(net, layer);
    add_tensor(net, "ln_f.weight", config->width, 0);
    add_tensor(net, "ln_f.bias", config->width, 0);
    add_tensor(net, "lm_head.weight", config->vocabulary, config->width);
}

static int ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* Matrices are normal with variance 1 / width, so that signals keep their size; those that write to
 * the residual stream are scaled down by the square root of how many of them there are. Norms start
 * at the identity. */
static void initialise_tensor(const network *net, int index, uint64_t seed)
{
    const gpt_tensor *tensor = &net->tensors[index];
    double deviation = 1.0 / sqrt((double)net->config.width);
    if (ends_with(tensor->name, ".proj.weight"))
        deviation /= sqrt(2.0 * net->config.layers);
    for (int64_t i = 0; i < tensor->count; i++)
        if (tensor->ndim == 2)
            tensor->data[i] = (real)(deviation * random_normal(seed, (uint64_t)index, (uint64_t)i));
        else
            tensor->data[i] = ends_with(tensor->name, ".weight") ? 1 : 0;
}

static int create_network(network *net, const gpt_config *config, uint64_t seed)
{
    net->config = *config;
    const int n = FIRST_BLOCK + config->layers * TENSORS_PER_BLOCK + TENSORS_AFTER_BLOCKS;
    net->tensors = calloc((size_t)n, sizeof *net->tensors);
    net->offsets = calloc((size_t)n, sizeof *net->offsets);
    if (net->tensors == NULL || net->offsets == NULL)
        return -1;
    list_tensors(net);
    net->data = real_allocate(net->size);
    net->grad = real_allocate(net->size);
    if (net->data == NULL || net->grad == NULL)
        return -1;
    memset(net->data, 0, (size_t)net->size * sizeof *net->data);
    memset(net->grad, 0, (size_t)net->size * sizeof *net->grad);
    for (int i = 0; i < n; i++) {
        net->tensors[i].data = net->data + net->offsets[i];
        net->tensors[i].grad = net->grad + net->offsets[i];
        initialise_tensor(net, i, seed);
    }
    return 0;
}

static int create_shards(gpt_model *model)
{
    const int batch = model->net.config.batch;
    const int n = batch < MAX_SHARDS ? batch : MAX_SHARDS;
    for (int i = 0; i < n; i++) {
        const int first = batch * i / n;
        const int end = batch * (i + 1) / n;
        model->n_shards = i + 1;
        if (shard_create(&model->shards[i], &model->net, first, end - first) != 0)
            return -1;
    }
    return 0;
}

gpt_model *gpt_create(const gpt_config *config, uint64_t seed)
{
    if (gpt_config_problem(config) != NULL)
        return NULL;
    gpt_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return NULL;
    if (create_network(&model->net, config, seed) != 0 || create_shards(model) != 0) {
        gpt_free(model);
        return NULL;
    }
#ifdef OPENBLAS_VERSION
    openblas_set_num_threads(1);
#endif
    return model;
}

void gpt_free(gpt_model *model)
{
    if (model == NULL)
        return;
    for (int i = 0; i < model->n_shards; i++)
        shard_free(&model->shards[i]);
    free(model->net.tensors);
    free(model->net.offsets);
    free(model->net.data);
    free(model->net.grad);
    free(model);
}

int gpt_tensor_count(const gpt_model *model)
{
    return model->net.n_tensors;
}

gpt_tensor *gpt_tensor_at(gpt_model *model, int index)
{
    return &model->net.tensors[index];
}

int64_t gpt_parameter_count(const gpt_model *model)
{
    int64_t count = 0;
    for (int i = 0; i < model->net.n_tensors; i++)
        count += model->net.tensors[i].count;
    return count;
}

void gpt_zero_gradients(gpt_model *model)
{
    memset(model->net.grad, 0, (size_t)model->net.size * sizeof *model->net.grad);
}

static double mean_loss(const gpt_model *model)
{
    double sum = 0;
    for (int i = 0; i < model->n_shards; i++)
        sum += model->shards[i].loss;
    return sum / ((double)model->net.config.batch * model->net.config.context);
}

double gpt_loss(gpt_model *model, const uint8_t *inputs, const uint8_t *targets)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < model->n_shards; i++)
        shard_forward(&model->shards[i], &model->net, inputs, targets);
    return mean_loss(model);
}

/* Shard after shard for each value, whichever thread does it. */
static void add_shard_gradients(gpt_model *model)
{
    real *grad = model->net.grad;
    const ptrdiff_t size = model->net.size;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < size; i++) {
        real sum = 0;
        for (int part = 0; part < model->n_shards; part++)
            sum += model->shards[part].grad[i];
        grad[i] += sum;
    }
}

double gpt_loss_and_gradients(gpt_model *model, const uint8_t *inputs, const uint8_t *targets)
{
    const gpt_config *config = &model->net.config;
    const real d_loss = (real)(1.0 / ((double)config->batch * config->context));
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < model->n_shards; i++) {
        shard_forward(&model->shards[i], &model->net, inputs, targets);
        shard_backward(&model->shards[i], &model->net, inputs, targets, d_loss);
    }
    add_shard_gradients(model);
    return mean_loss(model);
}
