/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of the form --name value, read by a table that also makes the help text. */
#ifndef GPT_ARGUMENTS_H
#define GPT_ARGUMENTS_H

#include <stdint.h>

/* Consecutive words of argv. */
typedef struct words {
    const char *const *at;
    int count;
} words;

/* One option; exactly one of the three targets is not NULL. */
typedef struct argument {
    const char *name; /* with its dashes */
    const char *value_name;
    const char *help;
    const char **text;
    int64_t *number; /* a whole number, at least 1 */
    words *list;     /* all words up to the next option, at least one */
} argument;

typedef enum arguments_outcome { ARGUMENTS_OK, ARGUMENTS_HELP, ARGUMENTS_WRONG } arguments_outcome;

/* Writes what argv gives to the targets; the others keep their values. --help prints summary and
 * the table to stdout; anything unknown is a sentence on stderr. */
arguments_outcome arguments_read(int argc, char **argv, const argument *table, int count,
                                 const char *summary);

#endif
