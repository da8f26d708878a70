/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, sizes and names for people, and allocation for programs. */
#include "terminal/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

const char *text_number(char text[TEXT_NUMBER_SIZE], double value)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, TEXT_NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

const char *text_bytes(char text[TEXT_NUMBER_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024;
    snprintf(text, TEXT_NUMBER_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static int is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

void text_print_name(FILE *stream, const char *name)
{
    for (; *name != '\0'; name++)
        if (is_control(*name))
            fprintf(stream, "\\x%02x", (unsigned)(unsigned char)*name);
        else
            fputc(*name, stream);
}

char *text_name(const char *name)
{
    char *const copy = text_allocate(4 * strlen(name) + 1);
    char *at = copy;
    for (; *name != '\0'; name++)
        if (is_control(*name))
            at += sprintf(at, "\\x%02x", (unsigned)(unsigned char)*name);
        else
            *at++ = *name;
    *at = '\0';
    return copy;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

int text_columns(int descriptor)
{
    struct winsize size = {0};
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

static void *checked(void *memory, size_t size)
{
    if (memory != NULL)
        return memory;
    fprintf(stderr, "hone: error: out of memory (%zu bytes)\n", size);
    exit(1);
}

void *text_allocate(size_t size)
{
    return checked(malloc(size == 0 ? 1 : size), size);
}

void *text_reallocate(void *memory, size_t size)
{
    return checked(realloc(memory, size == 0 ? 1 : size), size);
}

char *text_copy(const char *text)
{
    const size_t size = strlen(text) + 1;
    return memcpy(text_allocate(size), text, size);
}
