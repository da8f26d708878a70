/* SPDX-License-Identifier: Apache-2.0 */
/* How the program speaks of what went wrong: "hone: error: ..." on standard error, and for errors
 * in a text the line, with a mark under the place. */
#ifndef HONE_CLI_REPORT_H
#define HONE_CLI_REPORT_H

#include <hone/hone.h>

/* These print a sentence and return the exit code that goes with it. */
int report_failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
int report_error(const hone_error *error);
int report_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* An error in `text`, which was read from `path`: "path:line:column: message", the line and a mark
 * under the place, where the error has an offset. */
int report_error_in_text(const char *path, const char *text, size_t length,
                         const hone_error *error);

void report_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Flushes standard output and turns a failure to write it into an exit code. */
int report_finish(int exit_code);

#endif
