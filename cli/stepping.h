/* SPDX-License-Identifier: Apache-2.0 */
/* What hone step works on between reading and writing: copies of the tensors, an optimizer over
 * them, and the state it continues from. */
#ifndef HONE_CLI_STEPPING_H
#define HONE_CLI_STEPPING_H

#include <hone/hone.h>
#include <hone/mask.h>

#include "terminal/bar.h"

typedef struct stepping {
    hone_context *context;
    hone_spec *spec;
    hone_file *params, *grads, *state; /* state NULL: start anew */
    hone_mask_set *masks;              /* NULL: none */
    const char *state_path;
    bar *bar;

    /* Made by stepping_prepare: */
    hone_file_entry *tensors; /* of params, in its order; those with a gradient point to a copy */
    void **copies;            /* the copies; NULL for the others */
    hone_optimizer *optimizer;
    int64_t steps;       /* done */
    bool schedule_ended; /* there is no learning rate for another step */
    int64_t skipped;     /* steps that the recipe's policy on non-finite gradients left out */
} stepping;

/* All return 0, or an exit code after a sentence on standard error. */
int stepping_prepare(stepping *stepping);
int stepping_step(stepping *stepping);

void stepping_end(stepping *stepping);

#endif
