/* SPDX-License-Identifier: Apache-2.0 */
/* The network between model.c and the layers: the order of the tensors, and a shard, which is a
 * fixed part of the batch with its own activations and gradients that one thread works through. */
#ifndef GPT_NETWORK_H
#define GPT_NETWORK_H

#include "layers.h"

#include <stddef.h>

enum { TOKEN_TABLE, POSITION_TABLE, FIRST_BLOCK };

/* The tensors of one block, in order. */
enum {
    NORM_1_WEIGHT,
    NORM_1_BIAS,
    QKV_WEIGHT,
    QKV_BIAS,
    ATTENTION_OUT_WEIGHT,
    ATTENTION_OUT_BIAS,
    NORM_2_WEIGHT,
    NORM_2_BIAS,
    MLP_IN_WEIGHT,
    MLP_IN_BIAS,
    MLP_OUT_WEIGHT,
    MLP_OUT_BIAS,
    TENSORS_PER_BLOCK
};

/* After the last block. */
enum { FINAL_NORM_WEIGHT, FINAL_NORM_BIAS, HEAD_WEIGHT, TENSORS_AFTER_BLOCKS };

/* What one block keeps for its backward pass; rows x the width named. */
typedef struct block_activations {
    real *in;      /* width; the previous block's out */
    real *norm_1;  /* width */
    real *mean_1;  /* 1 */
    real *scale_1; /* 1 */
    real *qkv;     /* 3 width */
    real *weights; /* heads * context */
    real *mixed;   /* width; attention before its output matrix */
    real *middle;  /* width; after the first residual */
    real *norm_2;  /* width */
    real *mean_2;  /* 1 */
    real *scale_2; /* 1 */
    real *hidden;  /* 4 width; before GELU */
    real *gate;    /* 4 width */
    real *active;  /* 4 width; after GELU */
} block_activations;

typedef struct shard {
    int first;     /* sequence of the batch */
    int sequences; /* from there on */
    double loss;   /* sum over its bytes */
    block_activations *blocks;
    real *out; /* of the last block */
    real *norm;
    real *mean;
    real *scale;
    real *logits;   /* rows x vocabulary */
    real *d_stream; /* width; gradient of the residual stream */
    real *d_narrow; /* width */
    real *d_wide;   /* 4 width */
    real *d_scores; /* context x context */
    real *grad;     /* every tensor's gradient, at the offsets that the data has */
    real *memory;
} shard;

/* The model's sizes with what its tensors are. */
typedef struct network {
    gpt_config config;
    int n_tensors;
    gpt_tensor *tensors;
    ptrdiff_t *offsets; /* of each tensor in data, grad and every shard's grad */
    ptrdiff_t size;     /* of those buffers, in values, padding included */
    real *data;
    real *grad;
} network;

/* 0, or -1 when memory is short; shard_free is then still right. */
int shard_create(shard *part, const network *net, int first, int sequences);
void shard_free(shard *part);

/* Fills the shard's activations, logits and loss. */
void shard_forward(shard *part, const network *net, const uint8_t *inputs, const uint8_t *targets);
/* Overwrites the shard's gradients; uses up its logits. d_loss is the weight of one byte. */
void shard_backward(shard *part, const network *net, const uint8_t *inputs, const uint8_t *targets,
                    real d_loss);

/* 64-byte aligned memory for that many values, or NULL; release with free. */
real *real_allocate(ptrdiff_t count);
/* count rounded up so that what follows it stays aligned. */
ptrdiff_t real_padded(ptrdiff_t count);

#endif
