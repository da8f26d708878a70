/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a command's arguments. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "report.h"

enum { MOST_OPTIONS = 32 };

static int refuse_unknown(const option_list *list, const char *argument, size_t length)
{
    const char *names[MOST_OPTIONS];
    int count = 0;
    for (const option *o = list->options; o->name != NULL && count < MOST_OPTIONS; o++)
        names[count++] = o->name;
    char name[64];
    const size_t kept = length < sizeof name ? length : sizeof name - 1;
    memcpy(name, argument, kept);
    name[kept] = '\0';
    const char *const near = nearest_name(name, names, count);
    return report_usage(list->command, "hone %s has no option --%.*s%s%s", list->command,
                        (int)length, argument, near == NULL ? "" : "; nearest: --",
                        near == NULL ? "" : near);
}

static const option *find(const option_list *list, const char *name, size_t length)
{
    for (const option *o = list->options; o->name != NULL; o++)
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

/* Reads one option at argv[*at], and its value, which may be the next argument. */
static int read_option(const option_list *list, int argc, char **argv, int *at)
{
    const char *const name = argv[*at] + 2;
    const char *const equals = strchr(name, '=');
    const size_t length = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const option *const found = find(list, name, length);
    if (found == NULL)
        return refuse_unknown(list, name, length);
    if (found->flag != NULL) {
        if (equals != NULL)
            return report_usage(list->command, "--%s takes no value", found->name);
        *found->flag = true;
        return 0;
    }
    if (*found->value != NULL)
        return report_usage(list->command, "--%s is given twice", found->name);
    if (equals == NULL && *at + 1 == argc)
        return report_usage(list->command, "--%s needs a value", found->name);
    *found->value = equals != NULL ? equals + 1 : argv[++*at];
    if (**found->value == '\0')
        return report_usage(list->command, "--%s is given an empty value", found->name);
    return 0;
}

static int check_complete(const option_list *list)
{
    for (const option *o = list->options; o->name != NULL; o++)
        if (o->required && *o->value == NULL)
            return report_usage(list->command, "hone %s needs --%s", list->command, o->name);
    if (list->argument_count < list->least_arguments)
        return report_usage(list->command, "hone %s needs an argument", list->command);
    return 0;
}

int options_read(option_list *list, int argc, char **argv)
{
    list->argument_count = 0;
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
            continue;
        }
        const bool dashes = argv[i][0] == '-' && argv[i][1] != '\0';
        if (!only_arguments && dashes) {
            if (argv[i][1] != '-')
                return report_usage(list->command, "hone %s has no option %s", list->command,
                                    argv[i]);
            const int code = read_option(list, argc, argv, &i);
            if (code != 0)
                return code;
            continue;
        }
        if (list->argument_count == list->most_arguments)
            return report_usage(list->command, "hone %s does not know what to do with \"%s\"",
                                list->command, argv[i]);
        list->arguments[list->argument_count++] = argv[i];
    }
    return check_complete(list);
}

int options_integer(const char *command, const char *name, const char *text, int64_t least,
                    int64_t *value)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least)
        return report_usage(command, "--%s is \"%s\"; it must be a whole number from %lld on", name,
                            text, (long long)least);
    *value = number;
    return 0;
}
