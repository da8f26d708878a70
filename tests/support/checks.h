/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what a call of the library answers. Calls write their error to `problem`:
 *   OK(hone_optimizer_step(optimizer, NULL, &problem));
 *   FAILS(HONE_ERROR_RANGE, "lr is -1; ...", hone_optimizer_set(..., -1, &problem)); */
#ifndef SUPPORT_CHECKS_H
#define SUPPORT_CHECKS_H

#include <stdbool.h>
#include <stdio.h>

#include <hone/hone.h>

#include "support/cmocka_all.h"

extern hone_error problem;

void check_ok(hone_status status, const char *call, const char *file, int line);

/* The status, and the whole sentence where `message` is not NULL. */
void check_fails(hone_status wanted, const char *message, hone_status status, const char *call,
                 const char *file, int line);

#define OK(call) check_ok((call), #call, __FILE__, __LINE__)
#define FAILS(wanted, message, call) \
    check_fails((wanted), (message), (call), #call, __FILE__, __LINE__)

/* Ends the test here; tools/test.sh tells the reason. */
#define SKIP(reason)                                     \
    do {                                                 \
        printf("SKIPPED: %s: %s\n", __func__, (reason)); \
        skip();                                          \
    } while (0)

/* HONE_TEST_QUICK=1 asks for less work: valgrind and sanitizers. */
bool test_is_quick(void);

/* A context with so many threads; cpu NULL: the default level. */
hone_context *test_context(int threads, const char *cpu);

/* An optimizer of one group with the rule's defaults. */
hone_optimizer *test_optimizer(const hone_context *context, const char *rule);

#endif
