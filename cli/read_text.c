/* SPDX-License-Identifier: Apache-2.0 */
/* Reading text files and specs. */
#include "read_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "terminal/text.h"

/* Far above any recipe; it only stops a mistaken name, such as a checkpoint's or a device's. */
#define MOST_BYTES ((size_t)64 << 20)

static char *read_stream(FILE *stream, const char *path, size_t *length)
{
    size_t capacity = 1 << 16;
    char *text = text_allocate(capacity);
    *length = 0;
    for (;;) {
        *length += fread(text + *length, 1, capacity - *length - 1, stream);
        if (ferror(stream)) {
            report_failure("cannot read \"%s\": %s", path, strerror(errno));
            break;
        }
        if (feof(stream)) {
            text[*length] = '\0';
            return text;
        }
        if (capacity > MOST_BYTES) {
            report_failure("\"%s\" is longer than %zu MiB; that is no recipe", path,
                           MOST_BYTES >> 20);
            break;
        }
        if (*length + 1 == capacity) {
            capacity *= 2;
            text = text_reallocate(text, capacity);
        }
    }
    free(text);
    return NULL;
}

char *read_text(const char *path, size_t *length)
{
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", length);
    FILE *const stream = fopen(path, "rb");
    if (stream == NULL) {
        report_failure("cannot open \"%s\": %s", path, strerror(errno));
        return NULL;
    }
    char *const text = read_stream(stream, path, length);
    fclose(stream);
    return text;
}

int read_spec(hone_spec **spec, const hone_context *context, const char *path)
{
    size_t length;
    char *const text = read_text(path, &length);
    if (text == NULL)
        return 1;
    hone_error error;
    int code = 0;
    if (hone_spec_parse(spec, context, text, length, &error) != HONE_OK)
        code = report_error_in_text(path, text, length, &error);
    free(text);
    return code;
}
