/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of specs and of schedules share: where they are, and how they refuse. */
#ifndef HONE_CORE_SPEC_READER_H
#define HONE_CORE_SPEC_READER_H

#include <jansson.h>

#include "core/core.h"
#include "core/json_position.h"

struct hone_spec_reader {
    const char *text;
    size_t length;
    hone_spec *spec; /* NULL while a schedule is read alone */
    hone_error *error;
};

enum hone_spot { HONE_AT_KEY, HONE_AT_VALUE };

hone_status hone_refuse(const struct hone_spec_reader *reader, const struct hone_json_place *at,
                        enum hone_spot spot, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define HONE_FOUND_SIZE (HONE_JSON_QUOTE_SIZE + 16)

/* "the number 3", "a list of 2", ...; in `found`, which holds HONE_FOUND_SIZE bytes, if need be. */
const char *hone_describe_json(const json_t *value, char *found);

hone_status hone_refuse_value(const struct hone_spec_reader *reader,
                              const struct hone_json_place *at, const json_t *value,
                              const char *allowed);

/* Writes "a, b, c" and, where a name is near, "nearest: "b"; allowed: a, b, c". */
hone_status hone_refuse_name(const struct hone_spec_reader *reader,
                             const struct hone_json_place *at, enum hone_spot spot,
                             const char *found, const char *name, const char *const *names,
                             int count);

/* The index of a string value in `names`. */
hone_status hone_read_choice(const struct hone_spec_reader *reader,
                             const struct hone_json_place *at, const json_t *value,
                             const char *const *names, int count, int *choice);

/* A schedule from its JSON object. */
hone_status hone_read_schedule(const struct hone_spec_reader *reader, const hone_context *context,
                               const struct hone_json_place *at, json_t *value,
                               hone_schedule **schedule);

#endif
