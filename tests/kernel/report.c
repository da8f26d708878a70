/* SPDX-License-Identifier: Apache-2.0 */
/* Counts failures and prints the first of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel_test.h"

#define PRINTED_FAILURES 25

static int failures;

bool check(bool ok, const char *format, ...)
{
    if (ok)
        return true;
    failures++;
    if (failures <= PRINTED_FAILURES) {
        va_list arguments;
        va_start(arguments, format);
        fputs("FAILED ", stderr);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    return false;
}

int check_failures(void)
{
    return failures;
}

bool quick(void)
{
    const char *const set = getenv("HONE_TEST_QUICK");
    return set != NULL && set[0] != '\0' && !(set[0] == '0' && set[1] == '\0');
}
