/* SPDX-License-Identifier: Apache-2.0 */
/* Writes JSON to a stream, indented, piece by piece: no tree, no memory. */
#ifndef HONE_TERMINAL_JSON_WRITER_H
#define HONE_TERMINAL_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_WRITER_DEPTH = 16 };

typedef struct json_writer {
    FILE *stream;
    int depth;
    char closing[JSON_WRITER_DEPTH];
    bool flat[JSON_WRITER_DEPTH], filled[JSON_WRITER_DEPTH];
    bool after_key;
} json_writer;

void json_begin(json_writer *writer, FILE *stream);
void json_end(json_writer *writer); /* ends the line */

/* Flat ones stand on one line. */
void json_open_object(json_writer *writer, bool flat);
void json_open_array(json_writer *writer, bool flat);
void json_close(json_writer *writer);

void json_put_key(json_writer *writer, const char *key);
void json_put_string(json_writer *writer, const char *text); /* NULL gives null */
void json_put_number(json_writer *writer, double value);     /* null when not finite */
void json_put_integer(json_writer *writer, int64_t value);
void json_put_bool(json_writer *writer, bool value);
void json_put_raw(json_writer *writer, const char *json); /* a value that is JSON already */

#endif
