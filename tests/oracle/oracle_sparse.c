/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse rules of the float64 model: PyTorch's SparseAdam over the elements present, and the
 * three Adams over the rows of a hash table with their running powers. */
#include "oracle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double signed_gradient(const oracle_options *o, double g)
{
    g = g * o->grad_scale;
    if (o->maximize)
        g = -g;
    return g * o->clip_coef;
}

static void *cleared(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        abort();
    return memory;
}

/* ---- torch.optim.SparseAdam ---- */

static void torch_sparse_adam_element(const oracle_options *o, oracle_state *s, size_t i, double g)
{
    double t = (double)s->step;
    double bias_correction1 = 1 - pow(o->beta1, t);
    double bias_correction2 = 1 - pow(o->beta2, t);
    s->exp_avg[i] = s->exp_avg[i] + (1 - o->beta1) * (g - s->exp_avg[i]);
    s->exp_avg_sq[i] = s->exp_avg_sq[i] + (1 - o->beta2) * (g * g - s->exp_avg_sq[i]);
    double step_size = o->lr * sqrt(bias_correction2) / bias_correction1;
    s->param[i] = s->param[i] - step_size * s->exp_avg[i] / (sqrt(s->exp_avg_sq[i]) + o->eps);
}

void oracle_torch_sparse_adam(const oracle_options *options, oracle_state *state, size_t count,
                              const size_t *positions, const double *values)
{
    if (options->found_inf)
        return;
    double *sum = cleared(state->n, sizeof *sum);
    bool *present = cleared(state->n, sizeof *present);
    for (size_t k = 0; k < count; k++) {
        sum[positions[k]] += values[k];
        present[positions[k]] = true;
    }
    state->step++;
    for (size_t i = 0; i < state->n; i++)
        if (present[i])
            torch_sparse_adam_element(options, state, i, signed_gradient(options, sum[i]));
    free(sum);
    free(present);
}

/* ---- rows of a hash table ---- */

oracle_table *oracle_table_create(size_t rows, size_t width, const double *param)
{
    oracle_table *table = cleared(1, sizeof *table);
    size_t n = rows * width;
    table->rows = rows;
    table->width = width;
    table->beta1_power = 1;
    table->beta2_power = 1;
    table->param = cleared(n, sizeof(double));
    for (size_t i = 0; i < n; i++)
        table->param[i] = param[i];
    table->exp_avg = cleared(n, sizeof(double));
    table->exp_avg_sq = cleared(n, sizeof(double));
    table->pending = cleared(n, sizeof(double));
    table->touched = cleared(rows, sizeof(bool));
    return table;
}

void oracle_table_free(oracle_table *table)
{
    if (!table)
        return;
    free(table->param);
    free(table->exp_avg);
    free(table->exp_avg_sq);
    free(table->pending);
    free(table->touched);
    free(table);
}

double *oracle_table_slot(oracle_table *table, const char *slot)
{
    if (strcmp(slot, "param") == 0)
        return table->param;
    if (strcmp(slot, "exp_avg") == 0)
        return table->exp_avg;
    if (strcmp(slot, "exp_avg_sq") == 0)
        return table->exp_avg_sq;
    if (strcmp(slot, "beta1") == 0)
        return &table->beta1_power;
    if (strcmp(slot, "beta2") == 0)
        return &table->beta2_power;
    return NULL;
}

void oracle_table_add(oracle_table *table, int64_t row, const double *grad)
{
    if (row == -1)
        return;
    if (row < 0 || (uint64_t)row >= table->rows) {
        fprintf(stderr, "oracle_table_add: row %lld of %zu\n", (long long)row, table->rows);
        abort();
    }
    for (size_t d = 0; d < table->width; d++)
        table->pending[(size_t)row * table->width + d] += grad[d];
    table->touched[row] = true;
}

/* What the old weight is multiplied by before a touched row moves. */
static double decay_factor(const char *rule, const oracle_options *o)
{
    if (strcmp(rule, "sparse_adam") == 0)
        return 1; /* it takes a weight_decay and ignores it */
    if (strcmp(rule, "sparse_adamw") == 0)
        return 1 - o->lr * o->weight_decay;
    if (strcmp(rule, "sparse_adamw_tf") == 0)
        return 1 - o->weight_decay;
    fprintf(stderr, "oracle_table_apply: no rule \"%s\"\n", rule);
    abort();
}

static void table_element(const oracle_options *o, oracle_table *table, size_t i, double factor,
                          double alpha)
{
    double g = signed_gradient(o, table->pending[i]);
    table->param[i] = factor * table->param[i];
    table->exp_avg[i] = o->beta1 * table->exp_avg[i] + (1 - o->beta1) * g;
    table->exp_avg_sq[i] = o->beta2 * table->exp_avg_sq[i] + (1 - o->beta2) * g * g;
    table->param[i] =
        table->param[i] - alpha * table->exp_avg[i] / (sqrt(table->exp_avg_sq[i]) + o->eps);
}

void oracle_table_apply(const char *rule, const oracle_options *options, oracle_table *table)
{
    double factor = decay_factor(rule, options);
    if (!options->found_inf) {
        table->step++;
        table->beta1_power *= options->beta1;
        table->beta2_power *= options->beta2;
        double alpha = options->lr * sqrt(1 - table->beta2_power) / (1 - table->beta1_power);
        for (size_t row = 0; row < table->rows; row++)
            for (size_t d = 0; table->touched[row] && d < table->width; d++)
                table_element(options, table, row * table->width + d, factor, alpha);
    }
    memset(table->pending, 0, table->rows * table->width * sizeof(double));
    memset(table->touched, 0, table->rows * sizeof(bool));
}
