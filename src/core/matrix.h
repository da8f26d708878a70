/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a step's plan that belongs to matrix rules. */
#ifndef HONE_CORE_MATRIX_H
#define HONE_CORE_MATRIX_H

#include "core/optimizer_internal.h"

/* A tensor of matrices, one after another, and how they are stepped. */
struct hone_matrix {
    size_t tensor; /* index into the plan's tensors */
    size_t batches, rows, columns;
    size_t real_size;                      /* bytes of the compute type */
    const struct hone_tile_kernels *tiles; /* NULL: products by CBLAS */
    size_t at_once;                        /* matrices that are made at once, if threads allow */
    size_t room;                           /* elements of workspace for the polar steps of one */
    double work;                           /* multiplications of a product, for comparison */
};

/* The step of all matrix tensors of the plan. */
void hone_matrix_step(struct hone_optimizer *optimizer, const struct hone_frame *frame);

#endif
