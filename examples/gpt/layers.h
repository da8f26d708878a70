/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of the model, forward and backward, as functions of plain row-major buffers.
 * A backward function adds to parameter gradients; what it does to the gradient of the layer's
 * input is said at its declaration. None of them starts threads or keeps state. */
#ifndef GPT_LAYERS_H
#define GPT_LAYERS_H

#include "model.h"

typedef gpt_real real;

/* c = scale * op(a) op(b) + keep * c, where op(a) is rows x inner and op(b) inner x columns;
 * the strides are those of the matrices as they are stored. */
void matrix_product(int transpose_a, int transpose_b, int rows, int columns, int inner, real scale,
                    const real *a, int a_stride, const real *b, int b_stride, real keep, real *c,
                    int c_stride);

/* out = in weight^T + bias + residual; weight is [out_width, in_width]; bias and residual may be
 * NULL. */
void linear_forward(real *out, const real *in, const real *weight, const real *bias,
                    const real *residual, int rows, int in_width, int out_width);

/* Overwrites d_in. d_bias may be NULL. */
void linear_backward(real *d_in, real *d_weight, real *d_bias, const real *d_out, const real *in,
                     const real *weight, int rows, int in_width, int out_width);

/* Keeps each row's mean and reciprocal deviation for the way back. */
void layer_norm_forward(real *out, real *mean, real *scale, const real *in, const real *weight,
                        const real *bias, int rows, int width);

/* Adds to d_in when add is not 0, else overwrites it. */
void layer_norm_backward(real *d_in, int add, real *d_weight, real *d_bias, const real *d_out,
                         const real *in, const real *mean, const real *scale, const real *weight,
                         int rows, int width);

/* GELU in its tanh form; gate keeps the sigmoid that both directions use. */
void gelu_forward(real *out, real *gate, const real *in, int count);
/* d_out and d_in may be the same buffer. */
void gelu_backward(real *d_in, const real *d_out, const real *gate, const real *in, int count);

void embed_forward(real *out, const uint8_t *tokens, const real *token_table,
                   const real *position_table, int sequences, int context, int width);
void embed_backward(real *d_token_table, real *d_position_table, const real *d_out,
                    const uint8_t *tokens, int sequences, int context, int width);

/* Causal attention. qkv rows hold query, key and value side by side, each cut into heads.
 * weights keeps one context x context matrix of probabilities per sequence and head. */
void attention_forward(real *out, real *weights, const real *qkv, int sequences, int context,
                       int heads, int width);
/* Overwrites d_qkv; scratch holds one context x context matrix. */
void attention_backward(real *d_qkv, real *scratch, const real *d_out, const real *weights,
                        const real *qkv, int sequences, int context, int heads, int width);

/* Sum over the rows of -log softmax(row)[target]. */
double cross_entropy(const real *logits, const uint8_t *targets, int rows, int vocabulary);
/* Turns logits into gradients of that sum times scale, in place. */
void cross_entropy_backward(real *logits, const uint8_t *targets, int rows, int vocabulary,
                            real scale);

#endif
