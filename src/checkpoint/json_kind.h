/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson found, in words. Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_JSON_KIND_H
#define HONE_CHECKPOINT_JSON_KIND_H

#include <jansson.h>
#include <stdbool.h>

/* "an object", "an integer", ...; "nothing" for NULL. */
const char *hone_json_kind(const json_t *value);

#endif
