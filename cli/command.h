/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the hone program. Each has its own file and is one entry of the table in
 * commands.c; help, dispatch and the search for misspelt names read that table. */
#ifndef HONE_CLI_COMMAND_H
#define HONE_CLI_COMMAND_H

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

typedef struct command {
    const char *name;
    const char *summary;               /* one line */
    const char *help;                  /* everything after the usage line */
    const char *usage;                 /* what follows the program's name */
    int (*run)(int argc, char **argv); /* what follows the command's name; returns an exit code */
} command;

extern const command command_step, command_rules, command_inspect, command_spec, command_schedule,
    command_mask, command_bench, command_help;

/* The table, ended by NULL. */
extern const command *const commands[];

const command *command_find(const char *name);   /* NULL if there is none */
const char *command_nearest(const char *name);   /* NULL if none is near */
void command_print_help(const command *command); /* to standard output */
void command_print_overview(int to_errors);      /* all commands, a line each */

#endif
