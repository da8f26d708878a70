/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for jansson that fails where it is told to: json_set_alloc_funcs(failing_json_allocate, free). */
#ifndef SUPPORT_FAILING_JSON_H
#define SUPPORT_FAILING_JSON_H

#include <stddef.h>

struct failing_json {
    size_t calls;   /* of those that may fail */
    size_t fail_at; /* the number of the call, from 1, that answers NULL; 0: none */
};

extern struct failing_json failing_json;

void *failing_json_allocate(size_t size);

#endif
