/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest known name to a misspelt one. */
#ifndef HONE_CLI_NEAREST_H
#define HONE_CLI_NEAREST_H

#include <stdint.h>

/* By edit distance; NULL when none of `names` is near. */
const char *nearest_name(const char *name, const char *const *names, int64_t count);

#endif
