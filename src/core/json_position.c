/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over JSON text without building anything. Two walks: straight to a place in a text known to
 * be well formed, and token by token through one that is not. Every read is bounded by the length.
 */
#include "core/json_position.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct cursor {
    const char *text;
    size_t length, at;
};

static bool at_end(const struct cursor *cursor)
{
    return cursor->at >= cursor->length;
}

static char peek(const struct cursor *cursor)
{
    return at_end(cursor) ? '\0' : cursor->text[cursor->at];
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_mark(char c)
{
    return c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':';
}

static void skip_space(struct cursor *cursor)
{
    while (!at_end(cursor) && is_space(peek(cursor)))
        cursor->at++;
}

static void skip_string(struct cursor *cursor)
{
    cursor->at++;
    while (!at_end(cursor) && peek(cursor) != '"')
        cursor->at += peek(cursor) == '\\' ? 2 : 1;
    if (at_end(cursor))
        cursor->at = cursor->length;
    else
        cursor->at++;
}

/* One mark, string, number or word; the cursor stands on its first byte. */
static void skip_token(struct cursor *cursor)
{
    const char first = peek(cursor);
    if (first == '"') {
        skip_string(cursor);
    } else if (is_mark(first)) {
        cursor->at++;
    } else {
        while (!at_end(cursor) && !is_mark(peek(cursor)) && !is_space(peek(cursor)) &&
               peek(cursor) != '"')
            cursor->at++;
    }
}

/* ---- well-formed text ----------------------------------------------------------------------- */

static void skip_value(struct cursor *cursor)
{
    size_t depth = 0;
    do {
        skip_space(cursor);
        const char first = peek(cursor);
        if (first == '{' || first == '[')
            depth++;
        else if (first == '}' || first == ']')
            depth--;
        skip_token(cursor);
    } while (depth > 0 && !at_end(cursor));
    skip_space(cursor);
}

static void skip_key(struct cursor *cursor)
{
    skip_string(cursor);
    skip_space(cursor);
    cursor->at++; /* the colon */
    skip_space(cursor);
}

struct hone_json_offsets hone_json_locate(const char *text, size_t length,
                                          const struct hone_json_place *place)
{
    struct cursor cursor = {text, length, 0};
    if (place == NULL) {
        skip_space(&cursor);
        return (struct hone_json_offsets){(int64_t)cursor.at, (int64_t)cursor.at};
    }
    cursor.at = (size_t)hone_json_locate(text, length, place->parent).value + 1;
    skip_space(&cursor);
    for (size_t i = 0; i < place->index; i++) {
        if (place->key != NULL)
            skip_key(&cursor);
        skip_value(&cursor);
        cursor.at++; /* the comma */
        skip_space(&cursor);
    }
    const int64_t key = (int64_t)cursor.at;
    if (place->key != NULL)
        skip_key(&cursor);
    return (struct hone_json_offsets){key, (int64_t)cursor.at};
}

int64_t hone_json_next_token(const char *text, size_t length, size_t *at)
{
    struct cursor cursor = {text, length, *at};
    skip_space(&cursor);
    const int64_t start = at_end(&cursor) ? -1 : (int64_t)cursor.at;
    if (start >= 0)
        skip_token(&cursor);
    *at = cursor.at;
    return start;
}

/* ---- paths ---------------------------------------------------------------------------------- */

const char *hone_json_quote(const char *text, size_t length, char *quoted)
{
    const size_t limit = HONE_JSON_QUOTE_SIZE - 6; /* an escape, or "..."; the quote; the zero */
    size_t used = 0;
    quoted[used++] = '"';
    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];
        const bool printable = byte >= 0x20 && byte < 0x7f;
        if (used + (printable ? 1 : 4) > limit) {
            used += (size_t)snprintf(quoted + used, 4, "...");
            break;
        }
        if (printable)
            quoted[used++] = (char)byte;
        else
            used += (size_t)snprintf(quoted + used, 5, "\\x%02x", byte);
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    return quoted;
}

static bool is_plain(const char *key, size_t length)
{
    static const char *const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789_";
    size_t same = 0;
    while (same < length && key[same] != '\0' && strchr(plain, key[same]) != NULL)
        same++;
    return length > 0 && same == length && length < HONE_JSON_QUOTE_SIZE;
}

/* A path being written; what no longer fits is replaced by "...", once. */
struct path {
    char *text;
    size_t used;
    bool cut;
};

static void add_text(struct path *path, const char *text, size_t length)
{
    if (path->cut)
        return;
    path->cut = path->used + length > HONE_JSON_PATH_SIZE - 4;
    if (path->cut) {
        text = "...";
        length = 3;
    }
    memcpy(path->text + path->used, text, length);
    path->used += length;
    path->text[path->used] = '\0';
}

static void add_key(struct path *path, const char *key, size_t length)
{
    char quoted[HONE_JSON_QUOTE_SIZE];
    if (path->used > 0)
        add_text(path, ".", 1);
    if (!is_plain(key, length)) {
        key = hone_json_quote(key, length, quoted);
        length = strlen(quoted);
    }
    add_text(path, key, length);
}

static void add_index(struct path *path, size_t index)
{
    char text[32];
    const int length = snprintf(text, sizeof text, "[%zu]", index);
    add_text(path, text, (size_t)length);
}

static const char *end_path(struct path *path)
{
    if (path->used == 0)
        add_text(path, "top level", 9);
    return path->text;
}

static void add_place(struct path *path, const struct hone_json_place *place)
{
    if (place == NULL)
        return;
    add_place(path, place->parent);
    if (place->key != NULL)
        add_key(path, place->key, strlen(place->key));
    else
        add_index(path, place->index);
}

const char *hone_json_path(const struct hone_json_place *place, char *path)
{
    struct path out = {path, 0, false};
    add_place(&out, place);
    return end_path(&out);
}

/* ---- text that is not well formed ----------------------------------------------------------- */

#define HONE_JSON_LEVELS 8 /* deeper levels are not shown in a path */

struct level {
    bool object, key_next;
    size_t index;       /* of the element, in an array */
    size_t key, length; /* the member's name, with its quotes; length 0: none yet */
};

struct nest {
    struct level levels[HONE_JSON_LEVELS];
    size_t depth;
};

static struct level *innermost(struct nest *nest)
{
    if (nest->depth == 0 || nest->depth > HONE_JSON_LEVELS)
        return NULL;
    return &nest->levels[nest->depth - 1];
}

static void open_level(struct nest *nest, bool object)
{
    nest->depth++;
    struct level *level = innermost(nest);
    if (level != NULL)
        *level = (struct level){.object = object, .key_next = object};
}

static void next_member(struct level *level)
{
    level->index++;
    level->key_next = level->object;
    level->length = 0;
}

/* Keeps account of where the walk is, with the token at [start, cursor->at). */
static void follow(struct nest *nest, const struct cursor *cursor, size_t start)
{
    const char first = cursor->text[start];
    struct level *level = innermost(nest);
    if (first == '{' || first == '[') {
        open_level(nest, first == '{');
    } else if ((first == '}' || first == ']') && nest->depth > 0) {
        nest->depth--;
    } else if (first == ',' && level != NULL) {
        next_member(level);
    } else if (first == '"' && level != NULL && level->key_next) {
        level->key = start;
        level->length = cursor->at - start;
        level->key_next = false;
    }
}

static void write_nest(const struct nest *nest, const char *text, char *path)
{
    struct path out = {path, 0, false};
    for (size_t i = 0; i < nest->depth && i < HONE_JSON_LEVELS; i++) {
        const struct level *level = &nest->levels[i];
        if (!level->object)
            add_index(&out, level->index);
        else if (level->length > 1 && text[level->key + level->length - 1] == '"')
            add_key(&out, text + level->key + 1, level->length - 2);
    }
    if (nest->depth > HONE_JSON_LEVELS)
        add_text(&out, "...", 3);
    end_path(&out);
}

void hone_json_last_token(const char *text, size_t length, size_t position,
                          struct hone_json_token *token)
{
    struct cursor cursor = {text, length, 0};
    struct nest nest = {.depth = 0};
    size_t start;
    do {
        skip_space(&cursor);
        start = cursor.at;
        if (at_end(&cursor))
            break;
        skip_token(&cursor);
        /* Of what was refused only a name counts, so that a duplicate key is in its own path. */
        if (cursor.at < position || text[start] == '"')
            follow(&nest, &cursor, start);
    } while (cursor.at < position);
    token->offset = start;
    token->length = cursor.at - start;
    write_nest(&nest, text, token->path);
}
