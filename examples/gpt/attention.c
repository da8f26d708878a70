/* SPDX-License-Identifier: Apache-2.0 */
/* Causal multi-head attention and its derivative. Each head of each sequence is a handful of
 * matrix products on strided views into the rows of qkv, so nothing is copied or transposed. */
#include "layers.h"

#include <stddef.h>
#include <tgmath.h>

/* One head of one sequence, as it lies in a buffer of rows of 3 * width values. */
static ptrdiff_t head_offset(int sequence, int head, int context, int width, int head_width)
{
    return (ptrdiff_t)sequence * context * 3 * width + head * head_width;
}

/* Row r may look at the columns 0 to r; the others get probability 0. */
static void causal_softmax(real *scores, int context)
{
    for (int r = 0; r < context; r++) {
        real *row = scores + r * context;
        real maximum = row[0];
        for (int i = 1; i <= r; i++)
            maximum = row[i] > maximum ? row[i] : maximum;
        real sum = 0;
        for (int i = 0; i <= r; i++) {
            row[i] = exp(row[i] - maximum);
            sum += row[i];
        }
        const real inverse = 1 / sum;
        for (int i = 0; i <= r; i++)
            row[i] *= inverse;
        for (int i = r + 1; i < context; i++)
            row[i] = 0;
    }
}

/* d_scores = weights * (d_weights - sum(weights * d_weights)), row by row and in place. Masked
 * columns have weight 0 and so get gradient 0. */
static void causal_softmax_backward(real *d_weights, const real *weights, int context)
{
    for (int r = 0; r < context; r++) {
        real *d = d_weights + r * context;
        const real *w = weights + r * context;
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i <= r; i++)
            sum += w[i] * d[i];
        for (int i = 0; i <= r; i++)
            d[i] = w[i] * (d[i] - sum);
        for (int i = r + 1; i < context; i++)
            d[i] = 0;
    }
}

static real score_scale(int head_width)
{
    return 1 / sqrt((real)head_width);
}

void attention_forward(real *out, real *weights, const real *qkv, int sequences, int context,
                       int heads, int width)
{
    const int head_width = width / heads;
    for (int sequence = 0; sequence < sequences; sequence++)
        for (int head = 0; head < heads; head++) {
            const real *query = qkv + head_offset(sequence, head, context, width, head_width);
            const real *key = query + width;
            const real *value = key + width;
            real *w = weights + (ptrdiff_t)(sequence * heads + head) * context * context;
            real *y = out + (ptrdiff_t)sequence * context * width + head * head_width;
            matrix_product(0, 1, context, context, head_width, score_scale(head_width), query,
                           3 * width, key, 3 * width, 0, w, context);
            causal_softmax(w, context);
            matrix_product(0, 0, context, head_width, context, 1, w, context, value, 3 * width, 0,
                           y, width);
        }
}

void attention_backward(real *d_qkv, real *scratch, const real *d_out, const real *weights,
                        const real *qkv, int sequences, int context, int heads, int width)
{
    const int head_width = width / heads;
    const real scale = score_scale(head_width);
    const int stride = 3 * width;
    for (int sequence = 0; sequence < sequences; sequence++)
        for (int head = 0; head < heads; head++) {
            const ptrdiff_t offset = head_offset(sequence, head, context, width, head_width);
            const real *query = qkv + offset;
            const real *key = query + width;
            const real *value = key + width;
            real *d_query = d_qkv + offset;
            real *d_key = d_query + width;
            real *d_value = d_key + width;
            const real *w = weights + (ptrdiff_t)(sequence * heads + head) * context * context;
            const real *dy = d_out + (ptrdiff_t)sequence * context * width + head * head_width;
            matrix_product(1, 0, context, head_width, context, 1, w, context, dy, width, 0, d_value,
                           stride);
            matrix_product(0, 1, context, context, head_width, 1, dy, width, value, stride, 0,
                           scratch, context);
            causal_softmax_backward(scratch, w, context);
            matrix_product(0, 0, context, head_width, context, scale, scratch, context, key, stride,
                           0, d_query, stride);
            matrix_product(1, 0, context, head_width, context, scale, scratch, context, query,
                           stride, 0, d_key, stride);
        }
}
