/* SPDX-License-Identifier: Apache-2.0 */
/* Where a value stands in a JSON text. jansson parses, but keeps no positions; this finds them
 * again when an error sentence needs one, and writes key paths such as "groups[1].betas[0]". */
#ifndef HONE_CORE_JSON_POSITION_H
#define HONE_CORE_JSON_POSITION_H

#include <stddef.h>
#include <stdint.h>

#define HONE_JSON_PATH_SIZE 256 /* enough for every path that a message should show */
#define HONE_JSON_QUOTE_SIZE 64

/* A value by the way to it from the top level, whose place is NULL. Members are told apart by their
 * number, not by their name, so that escapes in keys need no decoding. */
struct hone_json_place {
    const struct hone_json_place *parent;
    const char *key; /* of an object's member; NULL for an element of an array */
    size_t index;    /* which member or element, in the order of the text */
};

/* Byte offsets of a value and of its key (of an element or the top level: the value again). The
 * text must be well formed and hold the place. */
struct hone_json_offsets {
    int64_t key, value;
};
struct hone_json_offsets hone_json_locate(const char *text, size_t length,
                                          const struct hone_json_place *place);

/* The place's path; "top level" for NULL. Long ones are cut with "...". Returns `path`, which holds
 * HONE_JSON_PATH_SIZE bytes. */
const char *hone_json_path(const struct hone_json_place *place, char *path);

/* For a text that a parser gave up on after reading `position` bytes: the token it stumbled over (a
 * length of 0 is the end of the text) and the path of the value being read. */
struct hone_json_token {
    size_t offset, length;
    char path[HONE_JSON_PATH_SIZE];
};
void hone_json_last_token(const char *text, size_t length, size_t position,
                          struct hone_json_token *token);

/* The offset of the next token of a well-formed text, which *at is moved past; -1 at the end. */
int64_t hone_json_next_token(const char *text, size_t length, size_t *at);

/* `length` bytes in double quotes, cut with "..." and with everything unprintable as "\xHH", so
 * that hostile input cannot draw on a terminal. `quoted` holds HONE_JSON_QUOTE_SIZE bytes. */
const char *hone_json_quote(const char *text, size_t length, char *quoted);

#endif
