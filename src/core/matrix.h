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

/* What a group's choices ask of the polar factor of such a matrix. */
struct hone_matrix_recipe {
    double eps;
    int steps;
    const double (*coefficients)[3];
    int coefficient_count;
    double scale; /* of the result */
    bool narrow;  /* the factors of products may be of 16 bits */
};
struct hone_matrix_recipe hone_matrix_recipe(const struct hone_group *group, size_t rows,
                                             size_t columns);

/* The step of all matrix tensors of the plan that are stepped on the host. */
void hone_matrix_step(struct hone_optimizer *optimizer, const struct hone_frame *frame);

#endif
