/* SPDX-License-Identifier: Apache-2.0 */
/* The context that all tests of a program share, and what many of them read and keep:
 *   return cmocka_run_group_tests(tests, open_context, close_context); */
#ifndef SUPPORT_FIXTURES_H
#define SUPPORT_FIXTURES_H

#include <hone/hone.h>

#include "support/cmocka_all.h"

extern hone_context *context;

int open_context(void **state);        /* with the default options */
int open_single_context(void **state); /* with one thread and seed 7 */
int close_context(void **state);

/* The spec of a text that is a recipe; the test fails if it is not. */
hone_spec *parse_spec(const char *json);

/* An empty folder of the temporary ones, named in `path`; and gone with the files in it. */
#define FOLDER_SIZE 64
void make_folder(char path[FOLDER_SIZE]);
void remove_folder(const char *path);

#endif
