/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of a file placed in a recipe's groups, for the commands that tell where they go. */
#ifndef HONE_CLI_PLACING_H
#define HONE_CLI_PLACING_H

#include <hone/hone.h>

/* Parameters that need gradients are the tensors that have one in `grads`, or with NULL all that can
 * be stepped. Returns an exit code; reports errors. The file must outlive the placement. */
int place_file(hone_placement **placement, const hone_context *context, const hone_spec *spec,
               const hone_file *file, const hone_file *grads);

/* Warns of what in the recipe reaches nothing. */
void warn_of_notices(const hone_placement *placement);

#endif
