/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals of a spec's values, all in one form: key path, what was found, what is allowed. */
#include "core/spec_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct hone_json_place place;

/* ---- refusals ------------------------------------------------------------------------------- */

hone_status hone_refuse(const struct hone_spec_reader *reader, const place *at, enum hone_spot spot,
                        const char *format, ...)
{
    if (reader->error == NULL)
        return HONE_ERROR_SPEC;
    char path[HONE_JSON_PATH_SIZE];
    char sentence[HONE_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    const struct hone_json_offsets offsets = hone_json_locate(reader->text, reader->length, at);
    return hone_fail_at(reader->error, HONE_ERROR_SPEC,
                        spot == HONE_AT_KEY ? offsets.key : offsets.value, "%s: %s",
                        hone_json_path(at, path), sentence);
}

const char *hone_describe_json(const json_t *value, char *found)
{
    char text[HONE_JSON_QUOTE_SIZE];
    switch (json_typeof(value)) {
    case JSON_STRING:
        snprintf(found, HONE_FOUND_SIZE, "the string %s",
                 hone_json_quote(json_string_value(value), json_string_length(value), text));
        return found;
    case JSON_INTEGER:
    case JSON_REAL:
        snprintf(found, HONE_FOUND_SIZE, "the number %s",
                 hone_format_number(text, json_number_value(value)));
        return found;
    case JSON_ARRAY:
        snprintf(found, HONE_FOUND_SIZE, "a list of %zu", json_array_size(value));
        return found;
    case JSON_OBJECT:
        return "an object";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

hone_status hone_refuse_value(const struct hone_spec_reader *reader, const place *at,
                              const json_t *value, const char *allowed)
{
    char found[HONE_FOUND_SIZE];
    return hone_refuse(reader, at, HONE_AT_VALUE, "found %s; allowed: %s",
                       hone_describe_json(value, found), allowed);
}

/* Writes "a, b, c" and, where a name is near, "nearest: "b"; allowed: a, b, c". */
hone_status hone_refuse_name(const struct hone_spec_reader *reader, const place *at,
                             enum hone_spot spot, const char *found, const char *name,
                             const char *const *names, int count)
{
    char allowed[HONE_ERROR_MESSAGE_SIZE] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof allowed; i++)
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s", i == 0 ? "" : ", ",
                                 names[i]);
    const char *nearest = hone_nearest(name, names, count);
    return hone_refuse(reader, at, spot, "%s%s%s%s; allowed: %s", found,
                       nearest == NULL ? "" : "; nearest: \"", nearest == NULL ? "" : nearest,
                       nearest == NULL ? "" : "\"", allowed);
}

/* ---- values --------------------------------------------------------------------------------- */

/* The index of a string value in `names`. */
hone_status hone_read_choice(const struct hone_spec_reader *reader, const place *at,
                             const json_t *value, const char *const *names, int count, int *choice)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *choice = i;
            return HONE_OK;
        }
    char description[HONE_FOUND_SIZE], found[HONE_FOUND_SIZE + 8];
    snprintf(found, sizeof found, "found %s", hone_describe_json(value, description));
    return hone_refuse_name(reader, at, HONE_AT_VALUE, found, text, names, count);
}
