/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel [SUITE...]: runs the named suites, or all. --bench [FILTER] times the kernels whose
 * names contain FILTER; --list names all kernels; --digests prints the lines of digests.inc.
 * HONE_TEST_QUICK=1 shrinks the suites for emulators, valgrind and sanitizers. */
#include <stdio.h>
#include <string.h>

#include "kernel_test.h"

struct suite {
    const char *name;
    void (*run)(void);
};

static const struct suite suites[] = {
    {"levels", suite_levels},     {"laws", suite_laws},       {"stage", suite_stage},
    {"guard", suite_guard},       {"formats", suite_formats}, {"sums", suite_sums},
    {"rounding", suite_rounding}, {"digests", suite_digests}, {"tiles", suite_tiles},
};

enum { SUITE_COUNT = sizeof suites / sizeof suites[0] };

static void run_suite(const struct suite *suite)
{
    const int before = check_failures();
    suite->run();
    printf("%s: %d failures, %d kernels at %d levels (highest: %s)%s\n", suite->name,
           check_failures() - before, combination_count(), hone_cpu_level_count(),
           hone_cpu_level_at(hone_cpu_level_count() - 1)->name, quick() ? ", quick" : "");
    fflush(stdout);
}

static bool run_named(const char *name)
{
    for (int k = 0; k < SUITE_COUNT; k++)
        if (strcmp(suites[k].name, name) == 0) {
            run_suite(&suites[k]);
            return true;
        }
    fprintf(stderr, "test_kernel: no suite is called '%s'\n", name);
    return false;
}

static void list_kernels(void)
{
    for (int i = 0; i < combination_count(); i++) {
        const struct combination combination = combination_at(i);
        char label[LABEL_SIZE];
        combination_label(label, &combination);
        puts(label);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench(argc > 2 ? argv[2] : NULL);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--digests") == 0) {
        print_digests();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        list_kernels();
        return 0;
    }
    for (int i = 1; i < argc; i++)
        if (!run_named(argv[i]))
            return 2;
    for (int k = 0; argc == 1 && k < SUITE_COUNT; k++)
        run_suite(&suites[k]);
    return check_failures() == 0 ? 0 : 1;
}
