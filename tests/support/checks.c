/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of answers, and the objects that most tests start from. */
#include "support/checks.h"

#include <stdlib.h>
#include <string.h>

hone_error problem;

void check_ok(hone_status status, const char *call, const char *file, int line)
{
    if (status == HONE_OK)
        return;
    print_error("%s\n  %s: %s\n", call, hone_status_name(status), problem.message);
    _fail(file, line);
}

void check_fails(hone_status wanted, const char *message, hone_status status, const char *call,
                 const char *file, int line)
{
    const bool same = message == NULL || strcmp(problem.message, message) == 0;
    if (status == wanted && problem.status == wanted && same)
        return;
    print_error("%s\n  wanted %s: %s\n  found  %s: %s\n", call, hone_status_name(wanted),
                message == NULL ? "" : message, hone_status_name(status), problem.message);
    _fail(file, line);
}

bool test_is_quick(void)
{
    const char *const quick = getenv("HONE_TEST_QUICK");
    return quick != NULL && strcmp(quick, "1") == 0;
}

hone_context *test_context(int threads, const char *cpu)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    options.cpu = cpu;
    hone_context *context = NULL;
    OK(hone_context_create(&context, &options, &problem));
    return context;
}

hone_optimizer *test_optimizer(const hone_context *context, const char *rule)
{
    hone_spec *spec = NULL;
    OK(hone_spec_create(&spec, context, rule, &problem));
    hone_optimizer *optimizer = NULL;
    OK(hone_optimizer_create(&optimizer, context, spec, &problem));
    hone_spec_free(spec);
    return optimizer;
}
