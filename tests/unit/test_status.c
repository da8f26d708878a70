/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses: names, texts, codes; and what an error holds after a failure. */
#include <math.h>
#include <string.h>

#include "core/core.h"
#include "support/checks.h"

static void test_names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(hone_status_name(HONE_OK), "HONE_OK");
    assert_string_equal(hone_status_text(HONE_OK), "success");
    assert_string_equal(hone_status_name(HONE_ERROR_RANGE), "HONE_ERROR_RANGE");
    assert_string_equal(hone_status_text(HONE_ERROR_MEMORY), "out of memory");
    assert_string_equal(hone_status_name((hone_status)-999), "HONE_ERROR_UNKNOWN");
    assert_string_equal(hone_status_text((hone_status)1), "unknown status");
}

/* Codes are part of the interface: programs store them. */
static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(HONE_OK, 0);
    assert_int_equal(HONE_ERROR_ARGUMENT, -1);
    assert_int_equal(HONE_ERROR_MISMATCH, -13);
    int count = 0;
#define COUNT(name, code, text)                                        \
    assert_string_equal(hone_status_name(HONE_##name), "HONE_" #name); \
    assert_string_equal(hone_status_text(HONE_##name), text);          \
    count++;
    HONE_STATUS_MAP(COUNT)
#undef COUNT
    for (int code = -count + 1; code <= 0; code++)
        assert_string_not_equal(hone_status_name((hone_status)code), "HONE_ERROR_UNKNOWN");
}

static void test_error_is_optional(void **state)
{
    (void)state;
    assert_int_equal(hone_fail(NULL, HONE_ERROR_IO, "%d", 1), HONE_ERROR_IO);
    assert_int_equal(hone_context_create(NULL, NULL, NULL), HONE_ERROR_ARGUMENT);
}

static void test_error_fields(void **state)
{
    (void)state;
    hone_error error;
    memset(&error, 0x55, sizeof error);
    hone_fail(&error, HONE_ERROR_NAME, "%s is %d", "x", 3);
    assert_int_equal(error.status, HONE_ERROR_NAME);
    assert_int_equal(error.offset, -1);
    assert_string_equal(error.message, "x is 3");
    hone_fail_at(&error, HONE_ERROR_SPEC, 12, "here");
    assert_int_equal(error.offset, 12);
    hone_fail_memory(&error, 48, "a thing");
    assert_int_equal(error.status, HONE_ERROR_MEMORY);
    assert_string_equal(error.message, "out of memory: 48 bytes for a thing");
}

/* One byte too many is cut with dots, a sentence that just fits is not. */
static void test_long_sentences(void **state)
{
    (void)state;
    char text[2 * HONE_ERROR_MESSAGE_SIZE];
    memset(text, 'a', sizeof text);
    text[HONE_ERROR_MESSAGE_SIZE - 1] = '\0';
    hone_error error;
    hone_fail(&error, HONE_ERROR_NAME, "%s", text);
    assert_string_equal(error.message, text);
    text[HONE_ERROR_MESSAGE_SIZE - 1] = 'a';
    text[sizeof text - 1] = '\0';
    hone_fail(&error, HONE_ERROR_NAME, "%s", text);
    assert_int_equal(strlen(error.message), HONE_ERROR_MESSAGE_SIZE - 1);
    assert_string_equal(error.message + HONE_ERROR_MESSAGE_SIZE - 5, "a...");
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const names[] = {"weight_decay", "momentum", "lr"};
    assert_string_equal(hone_nearest("wieght_decay", names, 3), "weight_decay");
    assert_string_equal(hone_nearest("Lr", names, 3), "lr");
    assert_null(hone_nearest("something_else", names, 3));
    char longer[4096];
    memset(longer, 'm', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_null(hone_nearest(longer, names, 3));
    assert_null(hone_nearest("lr", names, 0));
}

static void test_numbers(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(hone_format_number(text, 0.1), "0.1");
    assert_string_equal(hone_format_number(text, 1e-8), "1e-8");
    assert_string_equal(hone_format_number(text, 0.1 + 0.2), "0.30000000000000004");
    assert_string_equal(hone_format_number(text, (double)NAN), "NaN");
    assert_string_equal(hone_format_number(text, (double)-INFINITY), "-Infinity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_texts),   cmocka_unit_test(test_codes),
        cmocka_unit_test(test_error_is_optional), cmocka_unit_test(test_error_fields),
        cmocka_unit_test(test_long_sentences),    cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
