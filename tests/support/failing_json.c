/* SPDX-License-Identifier: Apache-2.0 */
/* Counts and fails; what jansson cannot survive never fails. */
#include "support/failing_json.h"

#include <stdbool.h>
#include <stdlib.h>

struct failing_json failing_json;

/* The buffer in which jansson collects a token grows to powers of two, and jansson 2.14 does not
 * look whether it did (its issue 362): a character is lost, or an assertion fails. No caller can
 * notice that, so those sizes never fail here, although some hash tables have them too. */
static bool may_fail(size_t size)
{
    return size < 32 || (size & (size - 1)) != 0;
}

void *failing_json_allocate(size_t size)
{
    if (may_fail(size) && ++failing_json.calls == failing_json.fail_at)
        return NULL;
    return malloc(size);
}
