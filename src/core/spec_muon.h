/* SPDX-License-Identifier: Apache-2.0 */
/* The short form of Muon beside AdamW stands for two groups: group 0, AdamW, has all parameters that
 * group 1, Muon, does not take. What its reader and its writer have to agree on. */
#ifndef HONE_CORE_SPEC_MUON_H
#define HONE_CORE_SPEC_MUON_H

#include "core/core.h"
#include "core/spec_keys.h"

/* The values of a part where the JSON says nothing. */
void hone_muon_spec_start(enum hone_muon_part part, struct hone_value *values);

/* The name of the split that a group's match, except and min_ndim are; NULL if they have none. */
const char *hone_muon_split_name(const struct hone_group *group);

/* Whether a group's exceptions are the library's list of embeddings and heads. */
bool hone_except_is_standard(const struct hone_globs *except);

#define HONE_MUON_SPLIT_DEFAULT "transformer"
#define HONE_MUON_MIN_NDIM 2

#endif
