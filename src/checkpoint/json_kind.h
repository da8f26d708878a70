/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson found, in words. Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_JSON_KIND_H
#define HONE_CHECKPOINT_JSON_KIND_H

#include <jansson.h>
#include <stdbool.h>

/* "an object", "an integer", ...; "nothing" for NULL. */
const char *hone_json_kind(const json_t *value);

/* Whether parsing stopped for want of memory; not every such stop has its own code. */
bool hone_json_out_of_memory(const json_error_t *problem);

#endif
