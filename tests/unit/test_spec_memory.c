/* SPDX-License-Identifier: Apache-2.0 */
/* Specs when memory runs out: every allocation fails once, ours and jansson's. Nothing may leak or
 * change, and every block must go back with the size it was taken with. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "support/fixtures.h"

/* An allocator that counts what is out and fails when its countdown reaches 0. */
static struct {
    long out, countdown;
} memory = {0, -1};

static void *count_allocate(size_t size, size_t alignment, void *user)
{
    (void)user;
    if (memory.countdown == 0)
        return NULL;
    if (memory.countdown > 0)
        memory.countdown--;
    memory.out += (long)size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void count_release(void *block, size_t size, void *user)
{
    (void)user;
    memory.out -= (long)size;
    free(block);
}

static long context_bytes;

static int set_up(void **state)
{
    (void)state;
    hone_context_options options;
    hone_context_options_init(&options);
    options.allocator = (hone_allocator){count_allocate, count_release, NULL};
    memory.countdown = -1;
    const hone_status status = hone_context_create(&context, &options, NULL);
    context_bytes = memory.out;
    return status == HONE_OK ? 0 : 1;
}

/* Every test gives back what it took, in the sizes it took. */
static int tear_down(void **state)
{
    (void)state;
    const long left = memory.out - context_bytes;
    hone_context_free(context);
    return left == 0 && memory.out == 0 ? 0 : 1;
}

static void expect_json(const hone_spec *spec, const char *json)
{
    char *text = NULL;
    assert_int_equal(hone_spec_write(spec, &text, NULL), HONE_OK);
    assert_string_equal(text, json);
    hone_string_free(context, text);
}

/* ---- failing allocations -------------------------------------------------------------------- */

static const char rich[] =
    "{\"optimizer_type\":\"adamw\",\"betas\":[0.5,0.25],\"state_dtype\":{\"exp_avg\":\"bf16\"},"
    "\"groups\":[{\"match\":[\"a\",\"b\",\"c\"],\"eps\":0.000000000000000000000000125},"
    "{\"match\":\"d\",\"optimizer_type\":\"adopt\",\"clip_lambda\":{\"power\":1,\"scale\":2}}]}";

/* Runs `call` with the k-th allocation failing, for every k until it succeeds. */
#define FAIL_EVERY_ALLOCATION(call, after_failure)        \
    do {                                                  \
        hone_status status_ = HONE_ERROR_MEMORY;          \
        long k_ = 0;                                      \
        for (; status_ != HONE_OK; k_++) {                \
            const long out_ = memory.out;                 \
            memory.countdown = k_;                        \
            status_ = (call);                             \
            memory.countdown = -1;                        \
            if (status_ == HONE_OK)                       \
                break;                                    \
            assert_int_equal(status_, HONE_ERROR_MEMORY); \
            assert_int_equal(memory.out, out_);           \
            after_failure;                                \
        }                                                 \
        assert_true(k_ > 0);                              \
    } while (0)

static void test_failing_allocations(void **state)
{
    (void)state;
    hone_spec *spec = NULL, *copy = NULL;
    char *text = NULL, *before;
    hone_error error;
    FAIL_EVERY_ALLOCATION(hone_spec_create(&spec, context, "adam", &error), assert_null(spec));
    hone_spec *const small = spec;
    spec = NULL;
    FAIL_EVERY_ALLOCATION(hone_spec_parse(&spec, context, rich, strlen(rich), &error),
                          assert_null(spec));
    FAIL_EVERY_ALLOCATION(hone_spec_copy(&copy, context, spec, &error), assert_null(copy));
    FAIL_EVERY_ALLOCATION(hone_spec_write(spec, &text, &error), assert_null(text));
    expect_json(copy, text);
    FAIL_EVERY_ALLOCATION(hone_spec_assign(spec, small, &error), expect_json(spec, text));
    expect_json(spec, "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hone_spec_write(copy, &before, NULL), HONE_OK);
        FAIL_EVERY_ALLOCATION(hone_spec_add_group(copy, "sgd", "x", NULL, &error),
                              expect_json(copy, before));
        hone_string_free(context, before);
    }
    hone_string_free(context, text);
    hone_spec_free(small);
    hone_spec_free(spec);
    hone_spec_free(copy);
}

static void test_many_groups(void **state)
{
    (void)state;
    hone_spec *const spec = parse_spec(rich);
    for (int i = 0; i < 100; i++) {
        hone_spec *copy;
        assert_int_equal(hone_spec_add_group(spec, NULL, "x", NULL, NULL), HONE_OK);
        assert_int_equal(hone_spec_copy(&copy, context, spec, NULL), HONE_OK);
        hone_spec_free(copy);
    }
    hone_spec_free(spec);
}

static struct {
    long out, countdown;
} json_memory;

static void *json_allocate(size_t size)
{
    if (json_memory.countdown-- <= 0)
        return NULL;
    json_memory.out++;
    return malloc(size);
}

static void json_release(void *block)
{
    json_memory.out -= block != NULL;
    free(block);
}

/* jansson has an allocator of its own, whose failures must come out as such and leave nothing. */
static void test_failing_jansson(void **state)
{
    (void)state;
    json_malloc_t old_allocate;
    json_free_t old_release;
    json_get_alloc_funcs(&old_allocate, &old_release);
    json_set_alloc_funcs(json_allocate, json_release);
    hone_spec *spec = NULL;
    hone_error error;
    long k = 0;
    for (; spec == NULL && k < 10000; k++) {
        json_memory.out = 0;
        json_memory.countdown = k;
        if (hone_spec_parse(&spec, context, rich, strlen(rich), &error) != HONE_OK)
            assert_int_equal(error.status, HONE_ERROR_MEMORY);
        assert_int_equal(json_memory.out, 0);
    }
    json_set_alloc_funcs(old_allocate, old_release);
    assert_true(k > 10);
    hone_spec *const expected = parse_spec(rich);
    char *text;
    assert_int_equal(hone_spec_write(expected, &text, NULL), HONE_OK);
    expect_json(spec, text);
    hone_string_free(context, text);
    hone_spec_free(expected);
    hone_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failing_allocations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failing_jansson, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
