/* SPDX-License-Identifier: Apache-2.0 */
/* jansson with error sentences in hone's form: key path, what was found, what is allowed, offset.
 */
#ifndef HONE_CORE_JSON_LOAD_H
#define HONE_CORE_JSON_LOAD_H

#include <jansson.h>
#include <stdbool.h>

#include <hone/status.h>

/* Parses `length` bytes: any JSON value, no duplicate keys, numbers as doubles. The members of an
 * object come in the order of the text. Errors: SPEC with the offset, MEMORY. The caller gives the
 * value back with json_decref. jansson takes its memory from malloc; where that fails exactly while
 * the buffer of a token of 16 bytes or more grows, jansson 2.14 itself loses its way (its issue
 * 362). */
hone_status hone_json_load(json_t **value, const char *text, size_t length, hone_error *error);

/* Whether jansson gave up on `text` for want of memory; not every such stop has its own code. */
bool hone_json_out_of_memory(const json_error_t *problem, const char *text, size_t length);

#endif
