/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: numbers, sizes and names as the commands and the benchmarks print them. */
#ifndef HONE_TERMINAL_TEXT_H
#define HONE_TERMINAL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { TEXT_NUMBER_SIZE = 32 };

/* The shortest decimal form that reads back to the same double: "0.001", "inf", "nan". */
const char *text_number(char text[TEXT_NUMBER_SIZE], double value);

/* "980 B", "12.4 KiB", "1.5 GiB". */
const char *text_bytes(char text[TEXT_NUMBER_SIZE], uint64_t bytes);

/* Prints a name from a file with control characters as \xNN, so that no file can drive the
 * terminal. */
void text_print_name(FILE *stream, const char *name);

/* The same into a new string, the caller's to free. */
char *text_name(const char *name);

/* Columns that UTF-8 text takes: its code points. */
size_t text_width(const char *text);

/* Columns of the terminal behind a descriptor; 80 where there is none. */
int text_columns(int descriptor);

/* malloc, realloc and strdup for programs: they end the program with a sentence when memory runs
 * out, which is safe because nothing has been written by then that is not whole. */
void *text_allocate(size_t size);
void *text_reallocate(void *memory, size_t size);
char *text_copy(const char *text);

#endif
