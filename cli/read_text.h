/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a command is given: whole text files, and specs with errors shown in place. */
#ifndef HONE_CLI_READ_TEXT_H
#define HONE_CLI_READ_TEXT_H

#include <hone/hone.h>

/* The whole of a file, or of standard input for "-", with a NUL behind it; the caller's to free.
 * NULL after a sentence on standard error. */
char *read_text(const char *path, size_t *length);

/* Parses the spec in a file. Returns 0, or an exit code after a sentence on standard error. */
int read_spec(hone_spec **spec, const hone_context *context, const char *path);

#endif
