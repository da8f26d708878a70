/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of a training run: the directory step-000150 with parameters.safetensors and
 * optimizer.safetensors. It is filled under another name and renamed when both files are on the
 * disk, so a directory of that name is always whole. */
#ifndef GPT_CHECKPOINT_H
#define GPT_CHECKPOINT_H

#include "data.h"
#include "files.h"
#include "weights.h"

#include <hone/hone.h>

/* What a resumed run must share with the one that was saved, beside the recipe. */
typedef struct checkpoint_run {
    const hone_context *context;
    hone_optimizer *optimizer;
    const weights *weights;
    const gpt_config *config;
    const corpus *text;
    uint64_t seed;
} checkpoint_run;

/* path gets out/step-NNNNNN. */
int checkpoint_path(char path[PATH_SIZE], const char *out, int64_t step);

/* Saves what the run holds after `step` steps under `out`. */
int checkpoint_save(const checkpoint_run *run, const char *out, int64_t step);

/* Loads parameters, optimizer and step. Refused when sizes, seed or text are not those of the
 * saved run: then the batches to come would not be those it would have drawn. */
int checkpoint_load(const checkpoint_run *run, const char *path, int64_t *step);

#endif
