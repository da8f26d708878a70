/* SPDX-License-Identifier: Apache-2.0 */
/* Growing text, JSON strings, UTF-8 and names for messages. */
#include "checkpoint/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 256

void hone_text_start(struct hone_text *text, const hone_context *context)
{
    *text = (struct hone_text){.context = context};
}

void hone_text_release(struct hone_text *text)
{
    if (text->bytes != NULL)
        hone_release(text->context, text->bytes, text->capacity);
    hone_text_start(text, text->context);
}

static bool text_reserve(struct hone_text *text, size_t more)
{
    if (text->failed)
        return false;
    if (more <= text->capacity - text->length)
        return true;
    size_t capacity = text->capacity == 0 ? FIRST_CAPACITY : text->capacity;
    while (capacity - text->length < more) {
        if (capacity > SIZE_MAX / 2) {
            text->failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *bytes = hone_reallocate(text->context, text->bytes, text->capacity, capacity);
    if (bytes == NULL) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void hone_text_bytes(struct hone_text *text, const char *bytes, size_t length)
{
    if (length == 0 || !text_reserve(text, length))
        return;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void hone_text_string(struct hone_text *text, const char *string)
{
    hone_text_bytes(text, string, strlen(string));
}

void hone_text_integer(struct hone_text *text, uint64_t value)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    hone_text_bytes(text, digits, (size_t)length);
}

void hone_text_shape(struct hone_text *text, int32_t ndim, const int64_t *shape)
{
    hone_text_string(text, "[");
    for (int32_t i = 0; i < ndim; i++) {
        if (i > 0)
            hone_text_string(text, ",");
        hone_text_integer(text, (uint64_t)shape[i]);
    }
    hone_text_string(text, "]");
}

/* The escape of one byte inside a JSON string, or NULL when it stands for itself. */
static const char *json_escape(unsigned char byte, char room[8])
{
    switch (byte) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (byte >= 0x20)
            return NULL;
        snprintf(room, 8, "\\u%04x", byte);
        return room;
    }
}

void hone_text_json(struct hone_text *text, const char *string, size_t length)
{
    hone_text_string(text, "\"");
    size_t plain = 0; /* start of the bytes that need no escape and are not yet written */
    for (size_t i = 0; i < length; i++) {
        char room[8];
        const char *escape = json_escape((unsigned char)string[i], room);
        if (escape == NULL)
            continue;
        hone_text_bytes(text, string + plain, i - plain);
        hone_text_string(text, escape);
        plain = i + 1;
    }
    hone_text_bytes(text, string + plain, length - plain);
    hone_text_string(text, "\"");
}

/* Bytes of the well-formed UTF-8 sequence at `at`, which a zero byte ends; 0 if there is none. */
static size_t utf8_length(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
    bool too_large = at[0] == 0xf4 && at[1] >= 0x90;
    return overlong || surrogate || too_large ? 0 : length;
}

bool hone_is_utf8(const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    while (*at != 0) {
        size_t length = utf8_length(at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

struct hone_shown hone_show(const char *name)
{
    struct hone_shown shown;
    size_t room = sizeof(shown.text) - sizeof("...");
    size_t used = 0;
    const unsigned char *at = (const unsigned char *)name;
    while (*at != 0) {
        size_t length = utf8_length(at);
        bool control = *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0);
        bool visible = length > 0 && !control;
        size_t step = length == 0 ? 1 : length;
        if (used + step > room) {
            memcpy(shown.text + used, "...", 3);
            used += 3;
            break;
        }
        if (visible)
            memcpy(shown.text + used, at, step);
        else
            shown.text[used] = '?';
        used += visible ? step : 1;
        at += step;
    }
    shown.text[used] = '\0';
    return shown;
}
