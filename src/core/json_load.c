/* SPDX-License-Identifier: Apache-2.0 */
/* Loads JSON through jansson and says its errors again with a place: jansson tells how far it read,
 * and the walk of json_position.c finds the token and the key path there. */
#include "core/json_load.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "core/json_position.h"

/* What jansson expected, without the piece of text that it quotes raw. */
static int wanted_length(const json_error_t *problem)
{
    const char *near = strstr(problem->text, " near ");
    return near == NULL ? (int)strlen(problem->text) : (int)(near - problem->text);
}

static bool wanted_is(const json_error_t *problem, const char *text)
{
    return (size_t)wanted_length(problem) == strlen(text) &&
           strncmp(problem->text, text, strlen(text)) == 0;
}

/* jansson has no word of its own for a failed allocation while it reads a token: the text stays
 * empty, or a string in order is called invalid. */
static bool is_memory(const json_error_t *problem, const char *text,
                      const struct hone_json_token *token)
{
    if (problem->text[0] == '\0' || json_error_code(problem) == json_error_out_of_memory)
        return true;
    return json_error_code(problem) == json_error_invalid_syntax && token->length > 1 &&
           text[token->offset] == '"' &&
           (wanted_is(problem, "invalid token") || wanted_is(problem, "string or '}' expected"));
}

/* In quotes, but not in two pairs when it is a string. */
static void quote_token(const char *token, size_t length, char *found)
{
    if (length > 0 && token[0] == '"') {
        token++;
        length--;
        length -= length > 0 && token[length - 1] == '"';
    }
    hone_json_quote(token, length, found);
}

static void find_last_token(const json_error_t *problem, const char *text, size_t length,
                            struct hone_json_token *token)
{
    const bool bad_byte =
        json_error_code(problem) == json_error_invalid_utf8; /* stopped before it */
    const size_t read = problem->position < 0 ? 0 : (size_t)problem->position;
    hone_json_last_token(text, length, read + bad_byte, token);
}

bool hone_json_out_of_memory(const json_error_t *problem, const char *text, size_t length)
{
    struct hone_json_token token;
    find_last_token(problem, text, length, &token);
    return is_memory(problem, text, &token);
}

static hone_status fail_syntax(const json_error_t *problem, const char *text, size_t length,
                               hone_error *error)
{
    const enum json_error_code code = json_error_code(problem);
    const size_t read = problem->position < 0 ? 0 : (size_t)problem->position;
    struct hone_json_token token;
    find_last_token(problem, text, length, &token);
    if (is_memory(problem, text, &token))
        return hone_fail_memory(error, length, "a JSON text");
    char found[HONE_JSON_QUOTE_SIZE];
    quote_token(text + token.offset, token.length, found);
    const int64_t offset = (int64_t)token.offset;
    switch (code) {
    case json_error_invalid_utf8:
        return hone_fail_at(error, HONE_ERROR_SPEC, (int64_t)read,
                            "%s: found the byte 0x%02x; allowed: UTF-8", token.path,
                            read < length ? (unsigned char)text[read] : 0u);
    case json_error_premature_end_of_input:
        return hone_fail_at(error, HONE_ERROR_SPEC, (int64_t)length,
                            "%s: the text ends inside a value; allowed: complete JSON", token.path);
    case json_error_duplicate_key:
        return hone_fail_at(error, HONE_ERROR_SPEC, offset,
                            "%s: found the key a second time; allowed: each key once", token.path);
    case json_error_numeric_overflow:
        return hone_fail_at(error, HONE_ERROR_SPEC, offset,
                            "%s: found %s; allowed: numbers that a double can hold, up to about "
                            "1.8e308",
                            token.path, found);
    case json_error_stack_overflow:
        return hone_fail_at(error, HONE_ERROR_SPEC, offset,
                            "%s: found one more level; allowed: %d levels of lists and objects",
                            token.path, JSON_PARSER_MAX_DEPTH);
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return hone_fail_at(error, HONE_ERROR_SPEC, offset,
                            "%s: found %s with a zero character; allowed: strings without one",
                            token.path, found);
    default:
        return hone_fail_at(error, HONE_ERROR_SPEC, offset, "%s: found %s; this is not JSON: %.*s",
                            token.path, found, wanted_length(problem), problem->text);
    }
}

/* ---- numbers that vanish ---------------------------------------------------------------------- */

/* A number as digits * 10^exponent, without the zeros before them. */
struct decimal {
    char digits[24]; /* as many as could matter, not terminated */
    int count;
    long long exponent;
};

static void read_exponent(const char *text, size_t length, struct decimal *number)
{
    const bool negative = length > 0 && text[0] == '-';
    long long exponent = 0;
    for (size_t i = 0; i < length && exponent < INT_MAX; i++)
        if (text[i] >= '0' && text[i] <= '9')
            exponent = exponent * 10 + (text[i] - '0');
    number->exponent += negative ? -exponent : exponent;
}

static struct decimal read_decimal(const char *text, size_t length)
{
    struct decimal number = {.count = 0};
    bool fraction = false;
    size_t i = 0;
    for (; i < length && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] == '.')
            fraction = true;
        if (text[i] < '0' || text[i] > '9')
            continue;
        const bool kept =
            (number.count > 0 || text[i] != '0') && number.count < (int)sizeof number.digits;
        if (kept)
            number.digits[number.count++] = text[i];
        /* A digit of the fraction that counts, or leads it, moves the point; one that is cut off before
         * the point does so the other way. */
        if (fraction && (kept || number.count == 0))
            number.exponent--;
        else if (!fraction && !kept && number.count > 0)
            number.exponent++;
    }
    if (i < length)
        read_exponent(text + i + 1, length - i - 1, &number);
    return number;
}

/* Whether a number that is not 0 becomes 0 as a double. */
static bool vanishes(const char *text, size_t length)
{
    const struct decimal number = read_decimal(text, length);
    char plain[64]; /* without a point, which is the locale's */
    if (number.count == 0)
        return false;
    snprintf(plain, sizeof plain, "%.*se%lld", number.count, number.digits, number.exponent);
    return strtod(plain, NULL) == 0;
}

/* jansson reads them as 0 without a word; they would be another recipe. */
static hone_status check_small_numbers(const char *text, size_t length, hone_error *error)
{
    size_t at = 0;
    for (int64_t start; (start = hone_json_next_token(text, length, &at)) >= 0;) {
        const char *const token = text + start;
        const size_t size = at - (size_t)start;
        if ((token[0] != '-' && (token[0] < '0' || token[0] > '9')) || !vanishes(token, size))
            continue;
        struct hone_json_token place;
        char found[HONE_JSON_QUOTE_SIZE];
        hone_json_last_token(text, length, at, &place);
        return hone_fail_at(
            error, HONE_ERROR_SPEC, start,
            "%s: found %s, which a double holds as 0; allowed: 0, or at least about "
            "4.9e-324 in size",
            place.path, hone_json_quote(token, size, found));
    }
    return HONE_OK;
}

hone_status hone_json_load(json_t **value, const char *text, size_t length, hone_error *error)
{
    if (length > INT_MAX) /* jansson counts its position in an int */
        return hone_fail_at(error, HONE_ERROR_SPEC, 0,
                            "top level: found a text of %zu bytes; allowed: %d", length, INT_MAX);
    json_error_t problem = {0}; /* jansson does not always set its code */
    json_t *loaded = json_loadb(
        text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &problem);
    if (loaded == NULL)
        return fail_syntax(&problem, text, length, error);
    const hone_status status = check_small_numbers(text, length, error);
    if (status == HONE_OK)
        *value = loaded;
    else
        json_decref(loaded);
    return status;
}
