/* SPDX-License-Identifier: Apache-2.0 */
/* Globs over names: those of POSIX fnmatch without flags, but of UTF-8 whatever the process's locale
 * is, so that the same recipe makes the same groups everywhere. */
#include <string.h>

#include "core/core.h"

/* The character of UTF-8 at *text, which is moved past it. A byte that begins none is a character of
 * its own. */
static uint32_t next_character(const char **text)
{
    const unsigned char *const bytes = (const unsigned char *)*text;
    const int more = bytes[0] < 0xc2   ? 0
                     : bytes[0] < 0xe0 ? 1
                     : bytes[0] < 0xf0 ? 2
                     : bytes[0] < 0xf5 ? 3
                                       : 0;
    uint32_t character = bytes[0] & (0x3fu >> more);
    *text += 1;
    if (more == 0)
        return bytes[0] < 0x80 ? bytes[0] : 0x110000u + bytes[0];
    for (int i = 1; i <= more; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0x110000u + bytes[0];
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    *text += more;
    return character;
}

/* A class as "[:digit:]" at *glob, which is moved past it: pairs of first and last characters. */
static const char *read_class(const char **glob)
{
    static const struct {
        const char *text, *ranges;
    } classes[] = {{"[:alnum:]", "09AZaz"}, {"[:alpha:]", "AZaz"},     {"[:blank:]", "\t\t  "},
                   {"[:digit:]", "09"},     {"[:graph:]", "!~"},       {"[:lower:]", "az"},
                   {"[:print:]", " ~"},     {"[:punct:]", "!/:@[`{~"}, {"[:space:]", "\t\r  "},
                   {"[:upper:]", "AZ"},     {"[:xdigit:]", "09AFaf"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        const size_t length = strlen(classes[i].text);
        if (strncmp(*glob, classes[i].text, length) == 0) {
            *glob += length;
            return classes[i].ranges;
        }
    }
    return NULL;
}

static uint32_t next_member(const char **glob)
{
    if (**glob == '\\' && (*glob)[1] != '\0')
        ++*glob;
    return next_character(glob);
}

/* Whether the brackets that open at *glob hold the character; *glob is moved past them. -1 and nothing
 * moved when they never close. */
static int in_brackets(const char **glob, uint32_t character)
{
    const char *at = *glob + 1;
    const bool inverted = *at == '!' || *at == '^';
    bool found = false;
    at += inverted;
    for (bool first = true; first || *at != ']'; first = false) {
        const char *const ranges = read_class(&at);
        for (const char *pair = ranges; pair != NULL && *pair != '\0'; pair += 2)
            found |= character >= (uint32_t)pair[0] && character <= (uint32_t)pair[1];
        if (ranges != NULL)
            continue;
        if (*at == '\0')
            return -1;
        const uint32_t low = next_member(&at);
        uint32_t high = low;
        if (at[0] == '-' && at[1] != ']' && at[1] != '\0') {
            at++;
            high = next_member(&at);
        }
        found |= character >= low && character <= high;
    }
    *glob = at + 1;
    return found != inverted;
}

/* Whether the glob's first piece, which is no star, takes the name's first character; both are moved. */
static bool take_one(const char **glob, const char **name)
{
    const uint32_t character = next_character(name);
    if (**glob == '?') {
        ++*glob;
        return true;
    }
    const int held = **glob == '[' ? in_brackets(glob, character) : -1;
    if (held >= 0)
        return held > 0;
    *glob += **glob == '\\';
    return **glob != '\0' && next_character(glob) == character;
}

/* A character of one byte that stands for itself, as most do; the end too, which no name goes on with. */
static bool is_plain(char c)
{
    return (unsigned char)c < 0x80 && c != '*' && c != '?' && c != '[' && c != '\\';
}

bool hone_glob_takes(const char *glob, const char *name)
{
    const char *star = NULL,
               *stopped = NULL; /* behind the last star, and what it has taken so far */
    while (*name != '\0') {
        if (*glob == '*') {
            star = ++glob;
            stopped = name;
            continue;
        }
        if (is_plain(*glob) && *glob == *name) {
            glob++;
            name++;
            continue;
        }
        if (!is_plain(*glob) && take_one(&glob, &name))
            continue;
        if (star == NULL)
            return false;
        next_character(&stopped);
        glob = star;
        name = stopped;
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}
