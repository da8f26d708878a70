/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a command's arguments: "--name VALUE", "--name=VALUE", "--flag", "--" and the rest. */
#ifndef HONE_CLI_OPTIONS_H
#define HONE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct option {
    const char *name;   /* without the dashes */
    const char **value; /* where the value goes; NULL for a flag */
    bool *flag;         /* where a flag is noted; NULL for a value */
    bool required;
} option;

/* Options of one command, ended by an entry without a name, and its other arguments. */
typedef struct option_list {
    const char *command;
    const option *options;
    const char **arguments; /* room for most_arguments */
    int least_arguments, most_arguments;
    int argument_count; /* how many there were */
} option_list;

/* Fills everything in. Returns 0, or the exit code after a sentence about what is wrong. */
int options_read(option_list *list, int argc, char **argv);

/* A whole number from `least` on. Returns 0, or the exit code after a sentence. */
int options_integer(const char *command, const char *name, const char *text, int64_t least,
                    int64_t *value);

#endif
