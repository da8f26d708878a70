/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: options, CPU levels by option and by environment, the allocator, and bad input. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/counting_allocator.h"

static hone_context_options defaults(void)
{
    hone_context_options options;
    memset(&options, 0x55, sizeof options);
    hone_context_options_init(&options);
    return options;
}

static void test_defaults(void **state)
{
    (void)state;
    const hone_context_options options = defaults();
    assert_int_equal(options.struct_size, sizeof options);
    assert_null(options.cpu);
    assert_int_equal(options.threads, 0);
    assert_int_equal(options.seed, 0);
    assert_null(options.allocator.allocate);
    assert_null(options.log);

    hone_context *context;
    OK(hone_context_create(&context, NULL, &problem));
    assert_int_equal(hone_context_threads(context), omp_get_max_threads());
    assert_int_equal(hone_context_seed(context), 0);
    hone_context_free(context);
    hone_context_free(NULL);
}

static void test_values(void **state)
{
    (void)state;
    hone_context_options options = defaults();
    options.threads = 3;
    options.seed = UINT64_MAX;
    hone_context *context;
    OK(hone_context_create(&context, &options, &problem));
    assert_int_equal(hone_context_threads(context), 3);
    assert_true(hone_context_seed(context) == UINT64_MAX);
    hone_context_free(context);
}

static const char *highest_level(void)
{
    int i = 0;
    while (hone_cpu_level(i + 1) != NULL)
        i++;
    return hone_cpu_level(i);
}

static void test_levels(void **state)
{
    (void)state;
    unsetenv("HONE_CPU");
    assert_string_equal(hone_cpu_level(0), "base");
    assert_null(hone_cpu_level(-1));
    assert_null(hone_cpu_level(99));
    hone_context *context = test_context(1, NULL);
    assert_string_equal(hone_context_cpu(context), highest_level());
    hone_context_free(context);
    for (int i = 0; hone_cpu_level(i) != NULL; i++) {
        context = test_context(1, hone_cpu_level(i));
        assert_string_equal(hone_context_cpu(context), hone_cpu_level(i));
        hone_context_free(context);
    }
}

/* "base, avx2, ..." */
static void list_levels(char *text, size_t size)
{
    text[0] = '\0';
    for (int i = 0; hone_cpu_level(i) != NULL; i++) {
        strncat(text, i == 0 ? "" : ", ", size - strlen(text) - 1);
        strncat(text, hone_cpu_level(i), size - strlen(text) - 1);
    }
}

/* A level of another processor family is known, and cannot be had. */
static const char *foreign_level(void)
{
    const char *const candidates[] = {"neon", "avx512"};
    for (int i = 0; hone_cpu_level(i) != NULL; i++)
        if (strcmp(hone_cpu_level(i), candidates[0]) == 0)
            return candidates[1];
    return candidates[0];
}

static void test_unknown_level(void **state)
{
    (void)state;
    char have[64], sentence[256];
    list_levels(have, sizeof have);
    hone_context_options options = defaults();
    hone_context *context = (hone_context *)8;
    options.cpu = "sse9";
    snprintf(sentence, sizeof sentence,
             "options->cpu: \"sse9\" is no CPU level; this machine has: %s", have);
    FAILS(HONE_ERROR_NAME, sentence, hone_context_create(&context, &options, &problem));
    options.cpu = "";
    FAILS(HONE_ERROR_NAME, NULL, hone_context_create(&context, &options, &problem));
    options.cpu = foreign_level();
    snprintf(sentence, sizeof sentence,
             "options->cpu asks for the CPU level \"%s\"; this build on this machine has: %s",
             options.cpu, have);
    FAILS(HONE_ERROR_UNSUPPORTED, sentence, hone_context_create(&context, &options, &problem));
    assert_ptr_equal(context, (hone_context *)8);
}

static void test_environment(void **state)
{
    (void)state;
    hone_context *context;
    setenv("HONE_CPU", "base", 1);
    OK(hone_context_create(&context, NULL, &problem));
    assert_string_equal(hone_context_cpu(context), "base");
    hone_context_free(context);
    setenv("HONE_CPU", "", 1);
    OK(hone_context_create(&context, NULL, &problem));
    assert_string_equal(hone_context_cpu(context), highest_level());
    hone_context_free(context);

    char have[64], sentence[256];
    list_levels(have, sizeof have);
    setenv("HONE_CPU", "avx3", 1);
    snprintf(sentence, sizeof sentence,
             "the environment variable HONE_CPU: \"avx3\" is no CPU level; this machine has: %s",
             have);
    FAILS(HONE_ERROR_NAME, sentence, hone_context_create(&context, NULL, &problem));
    setenv("HONE_CPU", foreign_level(), 1);
    FAILS(HONE_ERROR_UNSUPPORTED, NULL, hone_context_create(&context, NULL, &problem));

    hone_context_options options = defaults(); /* an option goes before the environment */
    options.cpu = highest_level();
    OK(hone_context_create(&context, &options, &problem));
    assert_string_equal(hone_context_cpu(context), highest_level());
    hone_context_free(context);
    unsetenv("HONE_CPU");
}

static void test_bad_options(void **state)
{
    (void)state;
    hone_context *context = NULL;
    FAILS(HONE_ERROR_ARGUMENT, "context is NULL", hone_context_create(NULL, NULL, &problem));
    hone_context_options options = defaults();
    options.threads = -1;
    FAILS(HONE_ERROR_RANGE, "options->threads is -1; it must be 0 (all) or more",
          hone_context_create(&context, &options, &problem));
    options = defaults();
    options.struct_size = 0;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_context_create(&context, &options, &problem));
    options.struct_size = sizeof options + 1;
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_context_create(&context, &options, &problem));
    struct counting counting = {0};
    options = defaults();
    options.allocator = counting_allocator(&counting);
    options.allocator.release = NULL;
    FAILS(HONE_ERROR_ARGUMENT,
          "options->allocator has only one of allocate and release; give both or neither",
          hone_context_create(&context, &options, &problem));
    assert_null(context);
    assert_int_equal(counting.calls, 0);
}

/* A caller compiled against a header without the last fields. */
static void test_older_caller(void **state)
{
    (void)state;
    hone_context_options options = defaults();
    options.threads = 2;
    options.log_user = (void *)8;
    options.struct_size = offsetof(hone_context_options, allocator);
    hone_context *context;
    OK(hone_context_create(&context, &options, &problem));
    assert_int_equal(hone_context_threads(context), 2);
    hone_context_free(context);
}

static void test_allocator(void **state)
{
    (void)state;
    struct counting counting = {.fail_at = 1};
    hone_context_options options = defaults();
    options.allocator = counting_allocator(&counting);
    hone_context *context = NULL;
    FAILS(HONE_ERROR_MEMORY, NULL, hone_context_create(&context, &options, &problem));
    assert_null(context);
    OK(hone_context_create(&context, &options, &problem));
    assert_int_equal(counting.blocks, 1);
    hone_context_free(context);
    assert_int_equal(counting.blocks, 0);
    assert_int_equal(counting.bytes, 0);
    assert_int_equal(counting.wrong, 0);
}

static void test_version(void **state)
{
    (void)state;
    assert_string_equal(hone_version(), HONE_VERSION_STRING);
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", HONE_VERSION_MAJOR, HONE_VERSION_MINOR,
             HONE_VERSION_PATCH);
    assert_string_equal(text, HONE_VERSION_STRING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_levels),       cmocka_unit_test(test_unknown_level),
        cmocka_unit_test(test_environment),  cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_older_caller), cmocka_unit_test(test_allocator),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
