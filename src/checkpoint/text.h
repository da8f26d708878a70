/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows while a header or a list is written, and names made fit for messages and files.
 * Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_TEXT_H
#define HONE_CHECKPOINT_TEXT_H

#include "core/core.h"

/* Once an allocation fails the text stays as it is and `failed` says so: writers append without
 * asking and look once at the end. */
struct hone_text {
    const hone_context *context;
    char *bytes; /* not terminated */
    size_t length, capacity;
    bool failed;
};

void hone_text_start(struct hone_text *text, const hone_context *context);
void hone_text_release(struct hone_text *text);

void hone_text_bytes(struct hone_text *text, const char *bytes, size_t length);
void hone_text_string(struct hone_text *text, const char *string);
void hone_text_integer(struct hone_text *text, uint64_t value);
void hone_text_shape(struct hone_text *text, int32_t ndim, const int64_t *shape); /* "[2,3]" */
void hone_text_json(struct hone_text *text, const char *string, size_t length);   /* with quotes */

bool hone_is_utf8(const char *string);

/* A name as messages show it: cut to a readable length, control characters replaced. */
#define HONE_SHOWN_SIZE 100
struct hone_shown {
    char text[HONE_SHOWN_SIZE];
};
struct hone_shown hone_show(const char *name);

#endif
