/* SPDX-License-Identifier: Apache-2.0 */
/* hone mask make: masks of the largest gradients. */
#ifndef HONE_CLI_MASK_MAKE_H
#define HONE_CLI_MASK_MAKE_H

/* What follows "hone mask make"; returns an exit code. */
int mask_make(int argc, char **argv);

#endif
