/* SPDX-License-Identifier: Apache-2.0 */
/* Walks argv once and looks every option up in the table. */
#include "arguments.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const char *program, const argument *table, int count, const char *summary)
{
    printf("usage: %s [option value]...\n%s\n\n", program, summary);
    for (int i = 0; i < count; i++) {
        char option[64];
        snprintf(option, sizeof option, "%s %s", table[i].name, table[i].value_name);
        printf("  %-24s %s\n", option, table[i].help);
    }
    printf("  %-24s %s\n", "--help", "print this text");
}

static int read_number(const argument *option, const char *word)
{
    char *end;
    errno = 0;
    const long long number = strtoll(word, &end, 10);
    if (end == word || *end != '\0' || errno != 0 || number < 1)
        return failure("%s is '%s'; it must be a whole number of at least 1", option->name, word);
    *option->number = number;
    return 0;
}

/* How many words belong to the option whose values start at argv[first]; -1 when they are wrong. */
static int read_values(const argument *option, int argc, char **argv, int first)
{
    if (first >= argc || strncmp(argv[first], "--", 2) == 0)
        return failure("%s needs a value: %s", option->name, option->help);
    if (option->text != NULL)
        *option->text = argv[first];
    if (option->number != NULL && read_number(option, argv[first]) != 0)
        return -1;
    if (option->list == NULL)
        return 1;
    int count = 1;
    while (first + count < argc && strncmp(argv[first + count], "--", 2) != 0)
        count++;
    *option->list = (words){(const char *const *)(argv + first), count};
    return count;
}

arguments_outcome arguments_read(int argc, char **argv, const argument *table, int count,
                                 const char *summary)
{
    for (int i = 1; i < argc;) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(argv[0], table, count, summary);
            return ARGUMENTS_HELP;
        }
        int k = 0;
        while (k < count && strcmp(argv[i], table[k].name) != 0)
            k++;
        if (k == count) {
            failure("'%s' is not an option; --help lists them", argv[i]);
            return ARGUMENTS_WRONG;
        }
        const int used = read_values(&table[k], argc, argv, i + 1);
        if (used < 0)
            return ARGUMENTS_WRONG;
        i += 1 + used;
    }
    return ARGUMENTS_OK;
}
