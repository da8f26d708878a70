/* SPDX-License-Identifier: Apache-2.0 */
/* Muon in float64 with naive matrix products; see oracle_muon.h. */
#include "oracle_muon.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double standard_coefficients[1][3] = {{3.4445, -4.7750, 2.0315}};

oracle_muon_options oracle_muon_default_options(void)
{
    return (oracle_muon_options){
        .lr = 1e-3,
        .weight_decay = 0.1,
        .momentum = 0.95,
        .eps = 1e-7,
        .nesterov = true,
        .coefficients = standard_coefficients,
        .coefficient_count = 1,
        .steps = 5,
        .adjust = ORACLE_MUON_ORIGINAL,
        .grad_scale = 1,
        .clip_coef = 1,
    };
}

static double lerp(double a, double b, double weight)
{
    if (fabs(weight) < 0.5)
        return a + weight * (b - a);
    return b - (b - a) * (1 - weight);
}

/* Nearest bfloat16, ties to even; finite values only. */
static double round_bfloat16(double x)
{
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    bits += 0x7FFFu + ((bits >> 16) & 1u);
    bits &= 0xFFFF0000u;
    memcpy(&single, &bits, sizeof bits);
    return (double)single;
}

static double kept(const oracle_muon_options *o, double x)
{
    return o->bfloat16 ? round_bfloat16(x) : x;
}

static double *matrix(size_t rows, size_t columns)
{
    double *m = calloc(rows * columns, sizeof *m);
    if (!m)
        abort();
    return m;
}

static void transpose(size_t rows, size_t columns, const double *from, double *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

static void normalize(const oracle_muon_options *o, size_t n, double *x)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    double norm = kept(o, sqrt(squares));
    double divisor = norm > o->eps ? norm : o->eps;
    for (size_t i = 0; i < n; i++)
        x[i] = kept(o, x[i] / divisor);
}

/* R := X X^T; S := b R + c R R; X := a X + S X, with X of a rows and b columns. */
static void newton_schulz(const oracle_muon_options *o, const double coefficients[3], size_t a,
                          size_t b, double *x)
{
    double *r = matrix(a, a);
    double *s = matrix(a, a);
    double *next = matrix(a, b);
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < a; j++) {
            double sum = 0;
            for (size_t k = 0; k < b; k++)
                sum += x[i * b + k] * x[j * b + k];
            r[i * a + j] = kept(o, sum);
        }
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < a; j++) {
            double sum = 0;
            for (size_t k = 0; k < a; k++)
                sum += r[i * a + k] * r[k * a + j];
            s[i * a + j] = kept(o, coefficients[1] * r[i * a + j] + coefficients[2] * sum);
        }
    for (size_t i = 0; i < a; i++)
        for (size_t j = 0; j < b; j++) {
            double sum = 0;
            for (size_t k = 0; k < a; k++)
                sum += s[i * a + k] * x[k * b + j];
            next[i * b + j] = kept(o, coefficients[0] * x[i * b + j] + sum);
        }
    memcpy(x, next, a * b * sizeof *x);
    free(r);
    free(s);
    free(next);
}

void oracle_muon_orthogonalize(const oracle_muon_options *options, size_t rows, size_t columns,
                               const double *update, double *direction)
{
    if (rows == 0 || columns == 0)
        return;
    bool tall = rows > columns;
    size_t a = tall ? columns : rows;
    size_t b = tall ? rows : columns;
    double *x = matrix(a, b);
    if (tall)
        transpose(rows, columns, update, x);
    else
        memcpy(x, update, rows * columns * sizeof *x);
    for (size_t i = 0; i < rows * columns; i++)
        x[i] = kept(options, x[i]);
    normalize(options, rows * columns, x);
    for (size_t k = 0; k < options->steps; k++) {
        size_t triple = k < options->coefficient_count ? k : options->coefficient_count - 1;
        newton_schulz(options, options->coefficients[triple], a, b, x);
    }
    if (tall)
        transpose(a, b, x, direction);
    else
        memcpy(direction, x, rows * columns * sizeof *x);
    free(x);
}

static double adjustment(oracle_muon_adjust adjust, size_t rows, size_t columns)
{
    double a = (double)rows;
    double b = (double)columns;
    switch (adjust) {
    case ORACLE_MUON_MATCH_RMS_ADAMW:
        return 0.2 * sqrt(a > b ? a : b);
    case ORACLE_MUON_SPECTRAL_UNCLAMPED:
        return sqrt(a / b);
    case ORACLE_MUON_ORIGINAL:
    default:
        return sqrt(a > b ? a / b : 1);
    }
}

void oracle_muon_step(const oracle_muon_options *o, size_t rows, size_t columns, double *param,
                      double *momentum_buffer, const double *grad, double *direction)
{
    size_t n = rows * columns;
    if (o->found_inf || !grad || n == 0)
        return;
    double *update = matrix(rows, columns);
    double *orthogonal = matrix(rows, columns);
    for (size_t i = 0; i < n; i++) {
        double g = grad[i] * o->grad_scale;
        if (o->maximize)
            g = -g;
        g = g * o->clip_coef;
        momentum_buffer[i] = lerp(momentum_buffer[i], g, 1 - o->momentum);
        update[i] = o->nesterov ? lerp(g, momentum_buffer[i], o->momentum) : momentum_buffer[i];
    }
    oracle_muon_orthogonalize(o, rows, columns, update, orthogonal);
    double step_size = o->lr * adjustment(o->adjust, rows, columns);
    for (size_t i = 0; i < n; i++) {
        param[i] = param[i] * (1 - o->lr * o->weight_decay); /* the rate before adjustment */
        param[i] = param[i] - step_size * orthogonal[i];
        if (direction)
            direction[i] = orthogonal[i];
    }
    free(update);
    free(orthogonal);
}
