/* SPDX-License-Identifier: Apache-2.0 */
/* A table of aligned columns: cells are kept until the widths are known. */
#include "terminal/text_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "terminal/text.h"

void text_table_begin(text_table *table, const char *alignment)
{
    *table = (text_table){.columns = strlen(alignment), .alignment = alignment};
}

void text_table_cell(text_table *table, const char *format, ...)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
        table->cells = text_reallocate(table->cells, table->capacity * sizeof *table->cells);
    }
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *const raw = text_allocate((size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(raw, (size_t)length + 1, format, arguments);
    va_end(arguments);
    table->cells[table->count++] = text_name(raw);
    free(raw);
}

static size_t column_width(const text_table *table, size_t column)
{
    size_t width = 0;
    for (size_t i = column; i < table->count; i += table->columns) {
        const size_t cell = text_width(table->cells[i]);
        width = cell > width ? cell : width;
    }
    return width;
}

static void repeat(FILE *stream, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fputs(text, stream);
}

static void print_row(const text_table *table, size_t row, const size_t *widths, FILE *stream)
{
    for (size_t k = 0; k < table->columns; k++) {
        const char *const cell = table->cells[row * table->columns + k];
        const size_t padding = widths[k] - text_width(cell);
        const int last = k + 1 == table->columns;
        if (table->alignment[k] == 'r')
            repeat(stream, " ", padding);
        fputs(cell, stream);
        if (table->alignment[k] != 'r' && !last)
            repeat(stream, " ", padding);
        fputs(last ? "\n" : "  ", stream);
    }
}

void text_table_end(text_table *table, FILE *stream)
{
    size_t *const widths = text_allocate(table->columns * sizeof *widths);
    for (size_t k = 0; k < table->columns; k++)
        widths[k] = column_width(table, k);
    for (size_t row = 0; row < table->count / table->columns; row++) {
        print_row(table, row, widths, stream);
        for (size_t k = 0; row == 0 && k < table->columns; k++) {
            repeat(stream, "-", widths[k]);
            fputs(k + 1 == table->columns ? "\n" : "  ", stream);
        }
    }
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(widths);
    *table = (text_table){0};
}
