/* SPDX-License-Identifier: Apache-2.0 */
/* Starting other programs without a shell. */
#ifndef GPT_PROCESS_H
#define GPT_PROCESS_H

#include "files.h"

/* path gets the program of that name in the directory of the running program. */
int process_sibling(char path[PATH_SIZE], const char *name);

/* Starts the program with this process's streams and environment, looking it up in PATH when it
 * has no slash, and waits. Returns its exit status, 128 + N when signal N ended it, or 127 when it
 * could not be started; nothing is printed. */
int process_run(const char *const *arguments);

/* The same with `directory` as the program's working directory. */
int process_run_in(const char *directory, const char *const *arguments);

#endif
