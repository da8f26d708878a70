/* SPDX-License-Identifier: Apache-2.0 */
/* Writes JSON to a stream: commas, indentation and escapes. */
#include "terminal/json_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "terminal/text.h"

void json_begin(json_writer *writer, FILE *stream)
{
    *writer = (json_writer){.stream = stream};
}

void json_end(json_writer *writer)
{
    fputc('\n', writer->stream);
}

static void new_line(json_writer *writer)
{
    fputc('\n', writer->stream);
    for (int i = 0; i < writer->depth; i++)
        fputs("  ", writer->stream);
}

/* What stands before a value or a key: a comma and a new line, unless a key was just written. */
static void separate(json_writer *writer)
{
    if (writer->after_key || writer->depth == 0) {
        writer->after_key = false;
        return;
    }
    const int level = writer->depth - 1;
    if (writer->filled[level])
        fputs(writer->flat[level] ? ", " : ",", writer->stream);
    if (!writer->flat[level])
        new_line(writer);
    writer->filled[level] = true;
}

static void open_container(json_writer *writer, char opening, char closing, bool flat)
{
    assert(writer->depth < JSON_WRITER_DEPTH);
    separate(writer);
    fputc(opening, writer->stream);
    const int level = writer->depth++;
    writer->closing[level] = closing;
    writer->flat[level] = flat || (level > 0 && writer->flat[level - 1]);
    writer->filled[level] = false;
}

void json_open_object(json_writer *writer, bool flat)
{
    open_container(writer, '{', '}', flat);
}

void json_open_array(json_writer *writer, bool flat)
{
    open_container(writer, '[', ']', flat);
}

void json_close(json_writer *writer)
{
    const int level = --writer->depth;
    if (writer->filled[level] && !writer->flat[level])
        new_line(writer);
    fputc(writer->closing[level], writer->stream);
}

static void put_text(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(stream, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(stream, "\\u%04x", c);
        else
            fputc(c, stream);
    }
    fputc('"', stream);
}

void json_put_key(json_writer *writer, const char *key)
{
    separate(writer);
    put_text(writer->stream, key);
    fputs(": ", writer->stream);
    writer->after_key = true;
}

void json_put_string(json_writer *writer, const char *text)
{
    separate(writer);
    if (text == NULL)
        fputs("null", writer->stream);
    else
        put_text(writer->stream, text);
}

void json_put_number(json_writer *writer, double value)
{
    char text[TEXT_NUMBER_SIZE];
    separate(writer);
    fputs(isfinite(value) ? text_number(text, value) : "null", writer->stream);
}

void json_put_integer(json_writer *writer, int64_t value)
{
    separate(writer);
    fprintf(writer->stream, "%" PRId64, value);
}

void json_put_bool(json_writer *writer, bool value)
{
    separate(writer);
    fputs(value ? "true" : "false", writer->stream);
}

void json_put_raw(json_writer *writer, const char *json)
{
    separate(writer);
    fputs(json, writer->stream);
}
