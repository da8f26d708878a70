/* SPDX-License-Identifier: Apache-2.0 */
/* A byte-level GPT: token and position embeddings, pre-norm blocks of causal attention and a GELU
 * MLP, a final layer norm and an untied head. Its parameters are a list of named tensors, each
 * with a gradient beside it, so that an optimizer can register every one by name. */
#ifndef GPT_MODEL_H
#define GPT_MODEL_H

#include <stdint.h>

/* The model computes in float. The gradient test compiles the same text in double. */
#ifdef GPT_DOUBLE
typedef double gpt_real;
#else
typedef float gpt_real;
#endif

enum { GPT_BYTES = 256, GPT_NAME_SIZE = 48 };

typedef struct gpt_config {
    int layers;
    int heads;
    int width;      /* a multiple of heads */
    int context;    /* bytes a sequence holds */
    int vocabulary; /* 2 to 256; GPT_BYTES for text */
    int batch;      /* sequences a pass works on */
} gpt_config;

/* The size that the demo trains: 0.67 million parameters. */
gpt_config gpt_config_default(void);

/* NULL when the sizes are usable, else a sentence that says which one is not. */
const char *gpt_config_problem(const gpt_config *config);

typedef struct gpt_tensor {
    char name[GPT_NAME_SIZE]; /* e.g. transformer.h.0.attn.qkv.weight */
    int ndim;                 /* 1 or 2; a matrix is stored row after row, [out, in] */
    int64_t shape[2];         /* shape[1] is 1 when ndim is 1 */
    int64_t count;
    gpt_real *data; /* 64-byte aligned; the model's, valid until gpt_free */
    gpt_real *grad; /* same count and alignment */
} gpt_tensor;

typedef struct gpt_model gpt_model;

/* Initial weights are a pure function of the sizes and the seed. NULL when the sizes have a
 * problem or memory is short. OpenBLAS is set to one thread: the model runs its own. */
gpt_model *gpt_create(const gpt_config *config, uint64_t seed);
void gpt_free(gpt_model *model);

int gpt_tensor_count(const gpt_model *model);
gpt_tensor *gpt_tensor_at(gpt_model *model, int index);
int64_t gpt_parameter_count(const gpt_model *model);

void gpt_zero_gradients(gpt_model *model);

/* Mean cross entropy in nats per byte of batch x context predictions: inputs and targets hold
 * that many bytes, sequence after sequence. */
double gpt_loss(gpt_model *model, const uint8_t *inputs, const uint8_t *targets);

/* The same loss; its gradients are added to every tensor's grad. The result has the same bits
 * whatever the number of threads: the batch is always cut into the same shards. */
double gpt_loss_and_gradients(gpt_model *model, const uint8_t *inputs, const uint8_t *targets);

#endif
