/* SPDX-License-Identifier: Apache-2.0 */
/* hone: optimizer steps from the command line. This file finds the command and runs it; each
 * command has a file of its own. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "report.h"

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int print_version(void)
{
    printf("hone %s (CPU levels here:", hone_version());
    for (int i = 0; hone_cpu_level(i) != NULL; i++)
        printf(" %s", hone_cpu_level(i));
    puts(")");
    return EXIT_DONE;
}

static int run_command(int argc, char **argv)
{
    const command *const found = command_find(argv[0]);
    if (found == NULL) {
        const char *const near = command_nearest(argv[0]);
        return report_usage(NULL, "there is no command \"%s\"%s%s", argv[0],
                            near == NULL ? "" : "; nearest: ", near == NULL ? "" : near);
    }
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i])) {
            command_print_help(found);
            return EXIT_DONE;
        }
    return found->run(argc - 1, argv + 1);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        command_print_overview(1);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return print_version();
    if (is_help(argv[1])) {
        command_print_overview(0);
        return EXIT_DONE;
    }
    return run_command(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    /* A file size limit then fails the write, which is reported, instead of ending the program. */
    signal(SIGXFSZ, SIG_IGN);
    return report_finish(dispatch(argc, argv));
}
