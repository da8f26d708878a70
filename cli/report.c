/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, warnings and places in a text. */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "terminal/bar.h"
#include "terminal/text.h"

enum { MESSAGE_SIZE = 2048, SHOWN_BEFORE = 60, SHOWN_AFTER = 40 };

static void print_sentence(const char *kind, const char *format, va_list arguments)
{
    char message[MESSAGE_SIZE];
    vsnprintf(message, sizeof message, format, arguments);
    fflush(stdout); /* so that both streams stay in order on one terminal */
    bar_make_room();
    fprintf(stderr, "hone: %s: ", kind);
    text_print_name(stderr, message);
    fputc('\n', stderr);
}

int report_failure(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_sentence("error", format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

int report_error(const hone_error *error)
{
    return report_failure("%s", error->message);
}

int report_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_sentence("error", format, arguments);
    va_end(arguments);
    if (command == NULL)
        fputs("\"hone help\" lists the commands\n", stderr);
    else
        fprintf(stderr, "\"hone help %s\" shows how it is used\n", command);
    return EXIT_USAGE;
}

void report_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_sentence("warning", format, arguments);
    va_end(arguments);
}

/* ---- places --------------------------------------------------------------------------------- */

static int is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t count_columns(const char *begin, const char *end)
{
    size_t columns = 0;
    for (; begin < end; begin++)
        columns += !is_continuation(*begin);
    return columns;
}

/* Moves `at` by up to `columns` characters within [low, high]. */
static const char *move(const char *at, int columns, const char *low, const char *high)
{
    for (; columns < 0 && at > low; columns++)
        do
            at--;
        while (at > low && is_continuation(*at));
    for (; columns > 0 && at < high; columns--)
        do
            at++;
        while (at < high && is_continuation(*at));
    return at;
}

/* The line, or the part of it around the place, and a mark under the place. Tabs and control
 * characters become spaces, so that the mark stands where it should. */
static void print_place(const char *line, const char *at, const char *end)
{
    const char *const from = move(at, -SHOWN_BEFORE, line, end);
    const char *const to = move(at, SHOWN_AFTER, line, end);
    fputs(from > line ? "  ..." : "  ", stderr);
    for (const char *c = from; c < to; c++)
        fputc((unsigned char)*c < 0x20 || *c == 0x7f ? ' ' : *c, stderr);
    fputs(to < end ? "...\n  " : "\n  ", stderr);
    const size_t before = count_columns(from, at) + (from > line ? 3 : 0);
    for (size_t i = 0; i < before; i++)
        fputc(' ', stderr);
    fputs("^\n", stderr);
}

int report_error_in_text(const char *path, const char *text, size_t length, const hone_error *error)
{
    if (error->offset < 0 || (uint64_t)error->offset > length)
        return report_failure("%s: %s", path, error->message);
    const char *const at = text + error->offset;
    const char *line = text;
    long line_number = 1;
    for (const char *c = text; c < at; c++)
        if (*c == '\n') {
            line = c + 1;
            line_number++;
        }
    const char *end = memchr(at, '\n', length - (size_t)error->offset);
    end = end == NULL ? text + length : end;
    report_failure("%s:%ld:%zu: %s", path, line_number, count_columns(line, at) + 1,
                   error->message);
    print_place(line, at, end);
    return EXIT_FAILED;
}

int report_finish(int exit_code)
{
    errno = 0; /* an earlier write may have failed, and its reason is gone */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    const int failed =
        report_failure("cannot write to standard output: %s", strerror(errno == 0 ? EIO : errno));
    return exit_code == EXIT_DONE ? failed : exit_code;
}
