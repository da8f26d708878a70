/* SPDX-License-Identifier: Apache-2.0 */
/* Status names and texts, and the making of error sentences. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

const char *hone_status_name(hone_status status)
{
    switch (status) {
#define NAME(name, code, text) \
    case HONE_##name:          \
        return "HONE_" #name;
        HONE_STATUS_MAP(NAME)
#undef NAME
    }
    return "HONE_ERROR_UNKNOWN";
}

const char *hone_status_text(hone_status status)
{
    switch (status) {
#define TEXT(name, code, text) \
    case HONE_##name:          \
        return text;
        HONE_STATUS_MAP(TEXT)
#undef TEXT
    }
    return "unknown status";
}

static hone_status fail(hone_error *error, hone_status status, int64_t offset, const char *format,
                        va_list arguments)
{
    if (error == NULL)
        return status;
    error->status = status;
    error->offset = offset;
    const int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    if (length >= (int)sizeof error->message)
        memcpy(error->message + sizeof error->message - 4, "...", 4);
    return status;
}

hone_status hone_fail(hone_error *error, hone_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(error, status, -1, format, arguments);
    va_end(arguments);
    return status;
}

hone_status hone_fail_at(hone_error *error, hone_status status, int64_t offset, const char *format,
                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(error, status, offset, format, arguments);
    va_end(arguments);
    return status;
}

hone_status hone_fail_memory(hone_error *error, size_t size, const char *what)
{
    return hone_fail(error, HONE_ERROR_MEMORY, "out of memory: %zu bytes for %s", size, what);
}

#define LONGEST_NAME 48

/* Levenshtein's distance, row by row; names too long to be misspelt ones are far away. */
static int distance(const char *a, const char *b)
{
    const size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > LONGEST_NAME || b_length > LONGEST_NAME)
        return LONGEST_NAME;
    int row[LONGEST_NAME + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            const int above = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = best < above + 1 ? best : above + 1;
            best = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[b_length];
}

const char *hone_nearest(const char *name, const char *const *names, int count)
{
    const char *nearest = NULL;
    if (strlen(name) > LONGEST_NAME)
        return NULL;
    int best = (int)strlen(name) / 3 + 2; /* further off is no misspelling */
    for (int i = 0; i < count; i++) {
        const int d = distance(name, names[i]);
        if (d < best) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

/* From printf's form to JSON's shortest: "1e-08" to "1e-8", and a point whatever the locale. */
static void tidy_number(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        const bool digit = *from >= '0' && *from <= '9';
        if (digit && *from == '0' && from[1] != '\0' && to > text + 1 &&
            (to[-1] == 'e' || (to[-1] == '-' && to[-2] == 'e')))
            continue; /* a zero that leads the exponent */
        if (digit || *from == '-' || *from == 'e')
            *to++ = *from;
        else if (*from != '+' && to[-1] != '.')
            *to++ = '.';
    }
    *to = '\0';
}

const char *hone_format_number(char *text, double value)
{
    if (isnan(value))
        return strcpy(text, "NaN");
    if (isinf(value))
        return strcpy(text, value > 0 ? "Infinity" : "-Infinity");
    if (fabs(value) < 1e15 && value == trunc(value)) {
        snprintf(text, 32, "%.0f", value);
        return text;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    tidy_number(text);
    return text;
}
