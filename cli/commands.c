/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands and the help made from it. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "nearest.h"
#include "options.h"
#include "report.h"

const command *const commands[] = {&command_step,  &command_rules,    &command_inspect,
                                   &command_spec,  &command_schedule, &command_mask,
                                   &command_bench, &command_help,     NULL};

const command *command_find(const char *name)
{
    for (const command *const *c = commands; *c != NULL; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

const char *command_nearest(const char *name)
{
    const char *names[sizeof commands / sizeof commands[0]];
    int count = 0;
    for (; commands[count] != NULL; count++)
        names[count] = commands[count]->name;
    return nearest_name(name, names, count);
}

void command_print_help(const command *command)
{
    printf("usage: hone %s\n\n%s.\n\n%s", command->usage, command->summary, command->help);
}

void command_print_overview(int to_errors)
{
    FILE *const stream = to_errors ? stderr : stdout;
    fputs("usage: hone COMMAND [ARGUMENTS]\n\n", stream);
    for (const command *const *c = commands; *c != NULL; c++)
        fprintf(stream, "  %-8s  %s\n", (*c)->name, (*c)->summary);
    fputs("\n\"hone help COMMAND\" explains one; \"hone --version\" tells the version.\n"
          "HONE_CPU=base|avx2|avx512|neon lowers the CPU level, OMP_NUM_THREADS the threads.\n"
          "Exit: 0 done, 1 failed (no output file was changed), 2 wrong usage.\n",
          stream);
}

static int run_help(int argc, char **argv)
{
    static const option options[] = {{0}};
    const char *name = NULL;
    option_list list = {
        .command = "help", .options = options, .arguments = &name, .most_arguments = 1};
    const int code = options_read(&list, argc, argv);
    if (code != 0)
        return code;
    if (name == NULL) {
        command_print_overview(0);
        return EXIT_DONE;
    }
    const command *const found = command_find(name);
    if (found != NULL) {
        command_print_help(found);
        return EXIT_DONE;
    }
    const char *const near = command_nearest(name);
    return report_usage(NULL, "there is no command \"%s\"%s%s", name,
                        near == NULL ? "" : "; nearest: ", near == NULL ? "" : near);
}

const command command_help = {
    .name = "help",
    .summary = "Explains the commands",
    .usage = "help [COMMAND]",
    .help = "Without a command it lists them all.\n",
    .run = run_help,
};
