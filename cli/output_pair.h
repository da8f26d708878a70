/* SPDX-License-Identifier: Apache-2.0 */
/* Output files, also two that are replaced together: both are written in full beside their targets, then both
 * are renamed, and if the second rename fails the first target gets its old content back. Only a
 * crash between the two renames can leave one new and one old file. */
#ifndef HONE_CLI_OUTPUT_PAIR_H
#define HONE_CLI_OUTPUT_PAIR_H

#include <hone/status.h>

typedef struct output {
    const char *name; /* as the user wrote it */
    char *target;     /* absolute, links followed */
    char *temporary;  /* beside it; does not exist until it is written */
} output;

/* Finds out where an output goes, and refuses early what can be known to fail: no such directory,
 * not a regular file. Returns 0, or an exit code after a sentence. */
int output_begin(output *output, const char *name);

/* Whether both name the same file. */
int output_same(const output *a, const output *b);

/* Reports why the temporary file could not be written, by the name that the user wrote. */
int output_failed(const output *output, const hone_error *error);

/* Puts both temporary files in place. Returns 0, or an exit code after a sentence. */
int output_commit(output *first, output *second);

/* The same for one that stands alone. */
int output_commit_alone(output *output);

/* Removes what is left of the temporary file and releases memory. */
void output_end(output *output);

#endif
