/* SPDX-License-Identifier: Apache-2.0 */
/* A table of aligned columns, filled cell by cell, printed once. */
#ifndef HONE_TERMINAL_TEXT_TABLE_H
#define HONE_TERMINAL_TEXT_TABLE_H

#include <stddef.h>
#include <stdio.h>

typedef struct text_table {
    size_t columns;
    const char *alignment; /* borrowed; per column 'l' or 'r' */
    char **cells;          /* row after row; the first row is the head */
    size_t count, capacity;
} text_table;

/* One letter of `alignment` per column: "llr" makes three. */
void text_table_begin(text_table *table, const char *alignment);

/* The next cell, left to right; control characters are shown as \xNN. */
void text_table_cell(text_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints the rows, the head underlined, and releases everything. */
void text_table_end(text_table *table, FILE *stream);

#endif
