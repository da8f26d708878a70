/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences on stderr, with the program's name in front. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *program_name = "gpt";

void report_as(const char *program)
{
    const char *slash = strrchr(program, '/');
    program_name = slash != NULL ? slash + 1 : program;
}

static void say(const char *kind, const char *format, va_list arguments)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s: ", program_name, kind);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int failure(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("error", format, arguments);
    va_end(arguments);
    return -1;
}

void warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("warning", format, arguments);
    va_end(arguments);
}
