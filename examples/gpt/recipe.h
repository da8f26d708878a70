/* SPDX-License-Identifier: Apache-2.0 */
/* A recipe is a file with one hone spec in JSON: the rule, its values, groups by name, clipping. */
#ifndef GPT_RECIPE_H
#define GPT_RECIPE_H

#include "model.h"

#include <hone/hone.h>

/* Reads the file; the caller frees the spec with hone_spec_free. An error names line and column. */
int recipe_load(hone_spec **spec, const hone_context *context, const char *path);

/* Warns of patterns that match none of the model's tensors: most often a misspelt name. */
int recipe_check_patterns(const hone_spec *spec, const char *path, gpt_model *model);

#endif
