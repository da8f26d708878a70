/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products, layer norm, GELU, embeddings and the loss: forward passes and their hand-written
 * derivatives. Sums run in an order fixed at compile time, so results repeat bit for bit. */
#include "layers.h"

#include <cblas.h>
#include <string.h>
#include <tgmath.h>

#ifdef GPT_DOUBLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

void matrix_product(int transpose_a, int transpose_b, int rows, int columns, int inner, real scale,
                    const real *a, int a_stride, const real *b, int b_stride, real keep, real *c,
                    int c_stride)
{
    GEMM(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
         transpose_b ? CblasTrans : CblasNoTrans, rows, columns, inner, scale, a, a_stride, b,
         b_stride, keep, c, c_stride);
}

void linear_forward(real *out, const real *in, const real *weight, const real *bias,
                    const real *residual, int rows, int in_width, int out_width)
{
    if (residual != NULL)
        memcpy(out, residual, (size_t)rows * (size_t)out_width * sizeof *out);
    for (int row = 0; row < rows && bias != NULL; row++) {
        real *target = out + row * out_width;
        for (int i = 0; i < out_width; i++)
            target[i] = residual != NULL ? target[i] + bias[i] : bias[i];
    }
    const real keep = residual != NULL || bias != NULL ? 1 : 0;
    matrix_product(0, 1, rows, out_width, in_width, 1, in, in_width, weight, in_width, keep, out,
                   out_width);
}

void linear_backward(real *d_in, real *d_weight, real *d_bias, const real *d_out, const real *in,
                     const real *weight, int rows, int in_width, int out_width)
{
    matrix_product(1, 0, out_width, in_width, rows, 1, d_out, out_width, in, in_width, 1, d_weight,
                   in_width);
    for (int row = 0; row < rows && d_bias != NULL; row++)
        for (int i = 0; i < out_width; i++)
            d_bias[i] += d_out[row * out_width + i];
    matrix_product(0, 0, rows, in_width, out_width, 1, d_out, out_width, weight, in_width, 0, d_in,
                   in_width);
}

void layer_norm_forward(real *out, real *mean, real *scale, const real *in, const real *weight,
                        const real *bias, int rows, int width)
{
    const real epsilon = (real)1e-5;
    for (int row = 0; row < rows; row++) {
        const real *x = in + row * width;
        real *y = out + row * width;
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < width; i++)
            sum += x[i];
        const real m = sum / (real)width;
        real square = 0;
#pragma omp simd reduction(+ : square)
        for (int i = 0; i < width; i++)
            square += (x[i] - m) * (x[i] - m);
        const real s = 1 / sqrt(square / (real)width + epsilon);
        for (int i = 0; i < width; i++)
            y[i] = (x[i] - m) * s * weight[i] + bias[i];
        mean[row] = m;
        scale[row] = s;
    }
}

/* With n = (x - mean) * scale and e = d_out * weight, the derivative of the row is
 * scale * (e - mean(e) - n * mean(e * n)). */
void layer_norm_backward(real *d_in, int add, real *d_weight, real *d_bias, const real *d_out,
                         const real *in, const real *mean, const real *scale, const real *weight,
                         int rows, int width)
{
    for (int row = 0; row < rows; row++) {
        const real *x = in + row * width;
        const real *dy = d_out + row * width;
        real *dx = d_in + row * width;
        const real m = mean[row];
        const real s = scale[row];
        real sum = 0;
        real sum_normal = 0;
#pragma omp simd reduction(+ : sum, sum_normal)
        for (int i = 0; i < width; i++) {
            const real e = dy[i] * weight[i];
            sum += e;
            sum_normal += e * ((x[i] - m) * s);
        }
        const real mean_e = sum / (real)width;
        const real mean_e_normal = sum_normal / (real)width;
        for (int i = 0; i < width; i++) {
            const real normal = (x[i] - m) * s;
            const real d = s * (dy[i] * weight[i] - mean_e - normal * mean_e_normal);
            d_weight[i] += dy[i] * normal;
            d_bias[i] += dy[i];
            dx[i] = add ? dx[i] + d : d;
        }
    }
}

/* gelu(x) = x * (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), and
 * (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), which costs one exponential. */
static const real gelu_slope = (real)1.5957691216057308; /* 2 sqrt(2/pi) */
static const real gelu_cubic = (real)0.044715;

void gelu_forward(real *out, real *gate, const real *in, int count)
{
    for (int i = 0; i < count; i++) {
        const real x = in[i];
        gate[i] = 1 / (1 + exp(-gelu_slope * (x + gelu_cubic * x * x * x)));
        out[i] = x * gate[i];
    }
}

void gelu_backward(real *d_in, const real *d_out, const real *gate, const real *in, int count)
{
    for (int i = 0; i < count; i++) {
        const real x = in[i];
        const real slope = gelu_slope * (1 + 3 * gelu_cubic * x * x);
        d_in[i] = d_out[i] * (gate[i] + x * gate[i] * (1 - gate[i]) * slope);
    }
}

void embed_forward(real *out, const uint8_t *tokens, const real *token_table,
                   const real *position_table, int sequences, int context, int width)
{
    for (int row = 0; row < sequences * context; row++) {
        const real *token = token_table + tokens[row] * width;
        const real *position = position_table + row % context * width;
        for (int i = 0; i < width; i++)
            out[row * width + i] = token[i] + position[i];
    }
}

void embed_backward(real *d_token_table, real *d_position_table, const real *d_out,
                    const uint8_t *tokens, int sequences, int context, int width)
{
    for (int row = 0; row < sequences * context; row++) {
        real *d_token = d_token_table + tokens[row] * width;
        real *d_position = d_position_table + row % context * width;
        for (int i = 0; i < width; i++) {
            d_token[i] += d_out[row * width + i];
            d_position[i] += d_out[row * width + i];
        }
    }
}

static real row_maximum(const real *row, int count)
{
    real maximum = row[0];
    for (int i = 1; i < count; i++)
        maximum = row[i] > maximum ? row[i] : maximum;
    return maximum;
}

double cross_entropy(const real *logits, const uint8_t *targets, int rows, int vocabulary)
{
    double total = 0;
    for (int row = 0; row < rows; row++) {
        const real *z = logits + row * vocabulary;
        const real maximum = row_maximum(z, vocabulary);
        double sum = 0;
        for (int i = 0; i < vocabulary; i++)
            sum += (double)exp(z[i] - maximum);
        total += log(sum) - (double)(z[targets[row]] - maximum);
    }
    return total;
}

void cross_entropy_backward(real *logits, const uint8_t *targets, int rows, int vocabulary,
                            real scale)
{
    for (int row = 0; row < rows; row++) {
        real *z = logits + row * vocabulary;
        const real maximum = row_maximum(z, vocabulary);
        real sum = 0;
        for (int i = 0; i < vocabulary; i++) {
            z[i] = exp(z[i] - maximum);
            sum += z[i];
        }
        for (int i = 0; i < vocabulary; i++)
            z[i] *= scale / sum;
        z[targets[row]] -= scale;
    }
}
