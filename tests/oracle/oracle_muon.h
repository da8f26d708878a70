/* SPDX-License-Identifier: Apache-2.0 */
/* Muon in float64: momentum, Newton-Schulz orthogonalisation by plain matrix products, decay and
 * move of one row-major matrix. */
#ifndef ORACLE_MUON_H
#define ORACLE_MUON_H

#include <stdbool.h>
#include <stddef.h>

typedef enum oracle_muon_adjust {
    ORACLE_MUON_ORIGINAL,           /* sqrt(max(1, rows / columns)) */
    ORACLE_MUON_MATCH_RMS_ADAMW,    /* 0.2 * sqrt(max(rows, columns)) */
    ORACLE_MUON_SPECTRAL_UNCLAMPED, /* sqrt(rows / columns) */
} oracle_muon_adjust;

typedef struct oracle_muon_options {
    double lr, weight_decay, momentum, eps;
    bool nesterov;
    /* Iteration k uses triple k; when the list is shorter than steps its last triple repeats, so
     * one triple is the usual iteration. */
    const double (*coefficients)[3];
    size_t coefficient_count, steps;
    oracle_muon_adjust adjust;
    bool maximize, found_inf;
    double grad_scale, clip_coef; /* multiplied onto the gradient; 1 means none */
    /* Rounds the direction's input and each product to bfloat16, as PyTorch computes them. */
    bool bfloat16;
} oracle_muon_options;

/* PyTorch's defaults. */
oracle_muon_options oracle_muon_default_options(void);

/* The orthogonalised update of one matrix alone. */
void oracle_muon_orthogonalize(const oracle_muon_options *options, size_t rows, size_t columns,
                               const double *update, double *direction);

/* One call; momentum_buffer starts as zeros. direction receives the orthogonalised update and may
 * be NULL. A matrix without elements and a missing (NULL) gradient change nothing. */
void oracle_muon_step(const oracle_muon_options *options, size_t rows, size_t columns,
                      double *param, double *momentum_buffer, const double *grad,
                      double *direction);

#endif
