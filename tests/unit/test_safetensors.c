/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing safetensors files: round trips, the bytes of the layout, and every kind of
 * file that must be refused with a status and a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "support/fixtures.h"

#define LENGTH(array) (int)(sizeof(array) / sizeof(*(array)))

/* A file in memory: the header's length, the header, then bytes that count upwards. */
struct image {
    unsigned char *bytes;
    size_t size;
};

static struct image make_image(const char *header, size_t data_size)
{
    uint64_t length = strlen(header);
    struct image image = {.size = 8 + (size_t)length + data_size};
    image.bytes = malloc(image.size);
    assert_non_null(image.bytes);
    memcpy(image.bytes, &length, 8);
    memcpy(image.bytes + 8, header, (size_t)length);
    for (size_t i = 0; i < data_size; i++)
        image.bytes[8 + length + i] = (unsigned char)i;
    return image;
}

/* ---- good files ----------------------------------------------------------------------------- */

static void reads_what_is_there(void **state)
{
    (void)state;
    struct image image =
        make_image("{\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                   "\"__metadata__\":{\"k\":\"v\",\"\\u00e9\":\"\\\"\\n\"},"
                   "\"a\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[8,9]},"
                   "\"none\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[8,8]}}   ",
                   9);
    hone_file *file = NULL;
    hone_error error;
    assert_int_equal(hone_file_read(&file, context, image.bytes, image.size, &error), HONE_OK);
    assert_int_equal(hone_file_count(file), 3);
    assert_string_equal(hone_file_name(file, 0), "b");
    assert_string_equal(hone_file_name(file, 1), "none");
    assert_string_equal(hone_file_name(file, 2), "a");
    assert_null(hone_file_name(file, 3));
    assert_null(hone_file_name(file, -1));
    assert_int_equal(hone_file_find(file, "a"), 2);
    assert_int_equal(hone_file_find(file, "b"), 0);
    assert_int_equal(hone_file_find(file, "none"), 1);
    assert_int_equal(hone_file_find(file, "c"), -1);
    assert_int_equal(hone_file_find(file, "__metadata__"), -1);

    hone_tensor tensor;
    assert_int_equal(hone_file_tensor(file, 0, &tensor, &error), HONE_OK);
    assert_int_equal(tensor.dtype, HONE_F32);
    assert_int_equal(tensor.ndim, 2);
    assert_int_equal(tensor.shape[0], 2);
    assert_int_equal(tensor.shape[1], 1);
    assert_memory_equal(tensor.data, "\0\1\2\3\4\5\6\7", 8);
    assert_int_equal(hone_file_tensor(file, 1, &tensor, &error), HONE_OK);
    assert_int_equal(hone_tensor_numel(&tensor), 0);
    assert_int_equal(hone_file_tensor(file, 2, &tensor, &error), HONE_OK);
    assert_int_equal(tensor.ndim, 0);
    assert_int_equal(*(signed char *)tensor.data, 8);
    assert_int_equal(hone_file_tensor(file, 3, &tensor, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_tensor(file, -1, &tensor, &error), HONE_ERROR_ARGUMENT);

    assert_int_equal(hone_file_metadata_count(file), 2);
    assert_string_equal(hone_file_metadata_key(file, 0), "k");
    assert_string_equal(hone_file_metadata_key(file, 1), "\xc3\xa9");
    assert_null(hone_file_metadata_key(file, 2));
    assert_string_equal(hone_file_metadata(file, "k"), "v");
    assert_string_equal(hone_file_metadata(file, "\xc3\xa9"), "\"\n");
    assert_null(hone_file_metadata(file, "other"));
    hone_file_close(file);
    free(image.bytes);
}

static void reads_a_file_of_nothing(void **state)
{
    (void)state;
    struct image image = make_image("{}", 0);
    hone_file *file = NULL;
    assert_int_equal(hone_file_read(&file, context, image.bytes, image.size, NULL), HONE_OK);
    assert_int_equal(hone_file_count(file), 0);
    assert_int_equal(hone_file_find(file, ""), -1);
    assert_int_equal(hone_file_metadata_count(file), 0);
    hone_file_close(file);
    hone_file_close(NULL);
    free(image.bytes);
}

/* Every dtype, behind headers of every length modulo 8 and after one odd byte: the views are
 * aligned and hold the file's bytes. */
static void aligns_what_is_misaligned(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < HONE_DTYPE_COUNT; dtype++) {
        for (int pad = 0; pad < 8; pad++) {
            size_t size = 3 * hone_dtype_size((hone_dtype)dtype);
            char header[300];
            snprintf(header, sizeof(header),
                     "{\"byte\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                     "\"w\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[1,%zu]}}%*s",
                     hone_dtype_name((hone_dtype)dtype), 1 + size, pad, "");
            struct image image = make_image(header, 1 + size);
            hone_file *file = NULL;
            hone_error error;
            hone_status status = hone_file_read(&file, context, image.bytes, image.size, &error);
            assert_int_equal(status, HONE_OK);
            hone_tensor tensor;
            assert_int_equal(hone_file_tensor(file, 1, &tensor, &error), HONE_OK);
            size_t alignment = size / 3 > 8 ? 8 : size / 3;
            assert_int_equal((uintptr_t)tensor.data % alignment, 0);
            assert_memory_equal(tensor.data, image.bytes + image.size - size, size);
            hone_file_close(file);
            free(image.bytes);
        }
    }
}

static void finds_every_one_of_many(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    size_t room = 2 + COUNT * 80, used = 1;
    char *header = malloc(room);
    assert_non_null(header);
    header[0] = '{';
    for (int i = 0; i < COUNT; i++)
        used += (size_t)snprintf(header + used, room - used,
                                 "%s\"p%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":"
                                 "[%d,%d]}",
                                 i == 0 ? "" : ",", i * 7919 % COUNT, i, i + 1);
    snprintf(header + used, room - used, "}");
    struct image image = make_image(header, COUNT);
    hone_file *file = NULL;
    assert_int_equal(hone_file_read(&file, context, image.bytes, image.size, NULL), HONE_OK);
    assert_int_equal(hone_file_count(file), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i * 7919 % COUNT);
        assert_int_equal(hone_file_find(file, name), i);
    }
    hone_file_close(file);
    free(image.bytes);
    free(header);
}

/* ---- bad files ------------------------------------------------------------------------------ */

static void expect_refusal(const void *bytes, size_t size, hone_status status, const char *words)
{
    hone_file *file = NULL;
    hone_error error = {.offset = -2};
    hone_status found = hone_file_read(&file, context, bytes, size, &error);
    if (found != status || (words != NULL && strstr(error.message, words) == NULL))
        fail_msg("%s was expected about '%s', but got %s: %s", hone_status_name(status),
                 words == NULL ? "" : words, hone_status_name(found),
                 found == HONE_OK ? "" : error.message);
    assert_null(file);
    assert_int_equal(error.status, status);
    assert_true(error.offset >= -1 && error.offset <= (int64_t)size);
    assert_int_equal(hone_file_read(&file, context, bytes, size, NULL), status);
}

/* The bytes of a copy of exact size, so that a read past the end is seen by the sanitizers. */
static void expect_refusal_of_prefix(const struct image *image, size_t size)
{
    unsigned char *prefix = malloc(size == 0 ? 1 : size);
    assert_non_null(prefix);
    memcpy(prefix, image->bytes, size);
    expect_refusal(prefix, size, HONE_ERROR_FORMAT, NULL);
    free(prefix);
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    struct image image =
        make_image("{\"__metadata__\":{\"k\":\"v\"},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"F16\",\"shape\":[3,1],\"data_offsets\":[8,14]}}",
                   14);
    for (size_t size = 0; size < image.size; size++)
        expect_refusal_of_prefix(&image, size);
    free(image.bytes);
}

#define ONE(dtype, shape, offsets) \
    "{\"w\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first "}," \
    "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

struct bad_header {
    const char *header;
    size_t data_size;
    const char *words;
};

static const struct bad_header bad_headers[] = {
    /* not JSON, or not an object */
    {"", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"{", 0, "not valid JSON"},
    {"{}}", 0, "not valid JSON"},
    {"{\"w\":}", 0, "not valid JSON"},
    {"{\"w\":NaN}", 0, "not valid JSON"},
    {"{\"\xff\":{}}", 0, "not valid JSON"},
    {"{\"a\\u0000b\":{}}", 0, "not valid JSON"},
    {"{\"\\ud800\":{}}", 0, "not valid JSON"},
    {"{\"w\":{\"shape\":[99999999999999999999]}}", 0, "not valid JSON"},
    {"{\"w\":{\"shape\":[1e999]}}", 0, "not valid JSON"},
    /* duplicates, at every level */
    {"{\"w\":{},\"w\":{}}", 0, "duplicate"},
    {"{\"w\":{},\"\\u0077\":{}}", 0, "duplicate"},
    {"{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     "duplicate"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, "__metadata__ is an array"},
    {"{\"__metadata__\":\"x\"}", 0, "__metadata__ is a string"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "the value of 'k' is an integer"},
    {"{\"__metadata__\":{\"k\":null}}", 0, "the value of 'k' is null"},
    {"{\"__metadata__\":{\"k\":{}}}", 0, "the value of 'k' is an object"},
    {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, "not valid JSON"},
    /* an entry's keys */
    {"{\"w\":7}", 0, "tensor 'w': its entry is an integer"},
    {"{\"w\":[]}", 0, "tensor 'w': its entry is an array"},
    {"{\"w\":{}}", 0, "tensor 'w': its entry has no dtype"},
    {"{\"w\":{\"dtype\":\"U8\"}}", 0, "tensor 'w': its entry has no shape"},
    {"{\"w\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, "tensor 'w': its entry has no data_offsets"},
    {"{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"stride\":1}}", 0,
     "tensor 'w': 'stride' is not a key"},
    /* dtypes */
    {ONE("\"f32\"", "[1]", "[0,4]"), 4, "tensor 'w': 'f32' is not a dtype"},
    {ONE("\"F33\"", "[1]", "[0,4]"), 4, "known are F32 F64 BF16 F16"},
    {ONE("\"\"", "[1]", "[0,4]"), 4, "'' is not a dtype"},
    {ONE("\"\\u001b[31m\"", "[1]", "[0,4]"), 4, "'?[31m' is not a dtype"},
    {ONE("32", "[1]", "[0,4]"), 4, "its dtype is an integer"},
    {ONE("null", "[1]", "[0,4]"), 4, "its dtype is null"},
    /* shapes */
    {ONE("\"U8\"", "1", "[0,1]"), 1, "its shape is an integer, not an array"},
    {ONE("\"U8\"", "{}", "[0,1]"), 1, "its shape is an object, not an array"},
    {ONE("\"U8\"", "[-1]", "[0,1]"), 1, "dimension 0 of its shape is -1"},
    {ONE("\"U8\"", "[1,-9223372036854775808]", "[0,1]"), 1, "dimension 1 of its shape is -92233"},
    {ONE("\"U8\"", "[1.0]", "[0,1]"), 1, "is a number with a fraction or exponent"},
    {ONE("\"U8\"", "[\"1\"]", "[0,1]"), 1, "is a string, not an integer"},
    {ONE("\"U8\"", "[true]", "[0,1]"), 1, "is a boolean, not an integer"},
    {ONE("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "passes 2^62"},
    {ONE("\"F64\"", "[4611686018427387904]", "[0,0]"), 0, "passes 2^62"},
    {ONE("\"F64\"", "[2305843009213693952,2]", "[0,0]"), 0, "passes 2^62"},
    /* offsets */
    {ONE("\"U8\"", "[1]", "1"), 1, "data_offsets are not an array of two integers"},
    {ONE("\"U8\"", "[1]", "[0]"), 1, "data_offsets are not an array of two integers"},
    {ONE("\"U8\"", "[1]", "[0,1,2]"), 1, "data_offsets are not an array of two integers"},
    {ONE("\"U8\"", "[1]", "[0,1.5]"), 1, "data_offsets are not an array of two integers"},
    {ONE("\"U8\"", "[1]", "[\"0\",1]"), 1, "data_offsets are not an array of two integers"},
    {ONE("\"U8\"", "[1]", "[-1,0]"), 1, "data_offsets are -1 to 0"},
    {ONE("\"U8\"", "[1]", "[1,0]"), 1, "data_offsets are 1 to 0"},
    {ONE("\"U8\"", "[1]", "[1,2]"), 1, "rising pair from 0 to 1"},
    {ONE("\"U8\"", "[9223372036854775807]", "[0,9223372036854775807]"), 1,
     "data_offsets are 0 to 9223372036854775807"},
    {ONE("\"U8\"", "[2]", "[0,1]"), 1, "span 1 bytes, but 2 elements of U8 take 2"},
    {ONE("\"F32\"", "[]", "[0,2]"), 2, "span 2 bytes, but 1 elements of F32 take 4"},
    {ONE("\"F64\"", "[0]", "[0,8]"), 8, "span 8 bytes, but 0 elements of F64 take 0"},
    /* all together */
    {TWO("[0,4]", "[0,4]"), 8, "tensors 'a' and 'b' overlap"},
    {TWO("[0,4]", "[3,7]"), 7, "the second begins at byte 3 of the data, the first ends at 4"},
    {TWO("[4,8]", "[3,7]"), 8, "bytes 0 to 3 of the data, before tensor 'b'"},
    {TWO("[0,4]", "[5,9]"), 9, "bytes 4 to 5 of the data, before tensor 'b'"},
    {TWO("[0,4]", "[4,8]"), 9, "the tensors end at byte 8 of the data, which has 9 bytes"},
    {"{}", 1, "the tensors end at byte 0 of the data, which has 1 bytes"},
};

static void refuses_bad_headers(void **state)
{
    (void)state;
    for (int i = 0; i < LENGTH(bad_headers); i++) {
        struct image image = make_image(bad_headers[i].header, bad_headers[i].data_size);
        expect_refusal(image.bytes, image.size, HONE_ERROR_FORMAT, bad_headers[i].words);
        free(image.bytes);
    }
}

static void names_the_dtypes_it_cannot_hold(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"F8_E4M3", "F8_E5M2", "F8_E8M0",
                                         "F4",      "F6_E2M3", "F6_E3M2"};
    for (int i = 0; i < LENGTH(dtypes); i++) {
        char header[120], words[80];
        snprintf(header, sizeof(header), ONE("\"%s\"", "[4]", "[0,4]"), dtypes[i]);
        snprintf(words, sizeof(words), "the format's dtype %s cannot be read", dtypes[i]);
        struct image image = make_image(header, 4);
        expect_refusal(image.bytes, image.size, HONE_ERROR_DTYPE, words);
        free(image.bytes);
    }
}

static void refuses_bad_header_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *words;
    } cases[] = {
        {0, "does not begin with '{'"},
        {1, "not valid JSON"},
        {9, "given as 9 bytes, but only 8 follow"},
        {100000000, "but only 8 follow"},
        {100000001, "at most 100000000"},
        {UINT64_MAX, "at most 100000000"},
        {(uint64_t)1 << 63, "at most 100000000"},
        {UINT64_MAX - 7, "at most 100000000"},
    };
    for (int i = 0; i < LENGTH(cases); i++) {
        struct image image = make_image("{      }", 0);
        memcpy(image.bytes, &cases[i].length, 8);
        expect_refusal(image.bytes, image.size, HONE_ERROR_FORMAT, cases[i].words);
        free(image.bytes);
    }
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    char *header = malloc(DEPTH + 16);
    assert_non_null(header);
    strcpy(header, "{\"w\":");
    memset(header + 5, '[', DEPTH);
    header[5 + DEPTH] = '\0';
    struct image image = make_image(header, 0);
    expect_refusal(image.bytes, image.size, HONE_ERROR_FORMAT, "not valid JSON");
    free(image.bytes);
    free(header);
}

/* A name of any length and content fits the sentence, which stays on one line. */
static void shows_strange_names_safely(void **state)
{
    (void)state;
    char header[5000] = "{\"\\n\\u001b\\u007f\\u0085";
    size_t used = strlen(header);
    memset(header + used, 'x', 4000);
    strcpy(header + used + 4000, "\":7}");
    struct image image = make_image(header, 0);
    hone_file *file = NULL;
    hone_error error;
    assert_int_equal(hone_file_read(&file, context, image.bytes, image.size, &error),
                     HONE_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "tensor '????xxx"));
    assert_non_null(strstr(error.message, "...': its entry is an integer"));
    free(image.bytes);
}

static void refuses_missing_arguments(void **state)
{
    (void)state;
    hone_file *file = NULL;
    hone_tensor tensor;
    assert_int_equal(hone_file_read(NULL, context, "", 0, NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_read(&file, NULL, "", 0, NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_read(&file, context, NULL, 8, NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_read(&file, context, NULL, 0, NULL), HONE_ERROR_FORMAT);
    assert_int_equal(hone_file_open(NULL, context, "x", NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_open(&file, NULL, "x", NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_open(&file, context, NULL, NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_tensor(NULL, 0, &tensor, NULL), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_count(NULL), 0);
    assert_null(hone_file_name(NULL, 0));
    assert_int_equal(hone_file_find(NULL, "w"), -1);
    assert_null(hone_file_metadata(NULL, "k"));
    assert_null(hone_file_metadata_key(NULL, 0));
    assert_int_equal(hone_file_metadata_count(NULL), 0);
    assert_null(file);
}

/* ---- a failing allocation ------------------------------------------------------------------- */

struct failing_memory {
    int allowed, live;
};

static void *allocate_some(size_t size, size_t alignment, void *user)
{
    struct failing_memory *memory = user;
    if (memory->allowed-- <= 0)
        return NULL;
    memory->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release_some(void *block, size_t size, void *user)
{
    (void)size;
    struct failing_memory *memory = user;
    memory->live--;
    free(block);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    struct image image = make_image(TWO("[0,4]", "[4,8]"), 8);
    struct image odd = make_image(ONE("\"F64\"", "[1]", "[0,8]"), 8);
    struct failing_memory memory = {.allowed = 1000};
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = (hone_allocator){allocate_some, release_some, &memory};
    hone_context *failing = NULL;
    assert_int_equal(hone_context_create(&failing, &options, NULL), HONE_OK);
    int before = memory.live, failures = 0;
    for (int allowed = 0;; allowed++) {
        memory.allowed = allowed;
        hone_file *first = NULL, *second = NULL;
        hone_error error;
        hone_status status = hone_file_read(&first, failing, image.bytes, image.size, &error);
        if (status == HONE_OK)
            status = hone_file_read(&second, failing, odd.bytes, odd.size, &error);
        hone_file_close(first);
        hone_file_close(second);
        assert_int_equal(memory.live, before);
        if (status == HONE_OK)
            break;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        failures++;
    }
    assert_true(failures >= 4); /* at least a file and its index, twice */
    memory.allowed = 1000;
    hone_context_free(failing);
    assert_int_equal(memory.live, 0);
    free(image.bytes);
    free(odd.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(reads_a_file_of_nothing),
        cmocka_unit_test(aligns_what_is_misaligned),
        cmocka_unit_test(finds_every_one_of_many),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(names_the_dtypes_it_cannot_hold),
        cmocka_unit_test(refuses_bad_header_lengths),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(shows_strange_names_safely),
        cmocka_unit_test(refuses_missing_arguments),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
