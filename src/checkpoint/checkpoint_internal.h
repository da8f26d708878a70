/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint between the file and the optimizer: what the metadata says, parsed and checked by
 * itself. docs/checkpoint.md has the layout. Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_CHECKPOINT_INTERNAL_H
#define HONE_CHECKPOINT_CHECKPOINT_INTERNAL_H

#include <jansson.h>

#include "core/optimizer_internal.h"

#define HONE_CHECKPOINT_KEY "hone" /* of the file's metadata */
#define HONE_CHECKPOINT_FORMAT 1

/* One parameter as it was saved. */
struct hone_saved_param {
    const char *name;
    int group; /* of the saved spec */
    uint64_t step;
    uint64_t mask_hash;
    bool masked;
    double multiplier;
    hone_dtype dtype;
    int32_t ndim;
    const int64_t *shape;
    uint32_t slots; /* bit k: state k (hone_state_name) was saved */

    /* Filled by hone_checkpoint_match: */
    int64_t param;                    /* index in the optimizer */
    int64_t tensor[HONE_STATE_COUNT]; /* index in the file, for each saved state */
};

struct hone_checkpoint {
    const hone_context *context;
    json_t *root; /* names live in it */
    hone_spec *spec;
    struct hone_saved_param *params;
    size_t count;
    int micro_step; /* gradients that waited for their update */
    uint64_t skipped;
    bool scaling;
    hone_scaler scaler;
    int64_t *lengths; /* of all shapes */
    size_t length_count;
};

/* Parses the metadata's JSON. Errors: FORMAT, the spec's own, MEMORY. Whatever happens, call
 * hone_checkpoint_release. */
hone_status hone_checkpoint_parse(struct hone_checkpoint *checkpoint, const hone_context *context,
                                  const char *json, hone_error *error);
void hone_checkpoint_release(struct hone_checkpoint *checkpoint);

/* Finds every saved parameter in the optimizer and every saved state in the file, and refuses with
 * the list of all that do not fit. Errors: MISMATCH, MEMORY. */
hone_status hone_checkpoint_match(struct hone_checkpoint *checkpoint,
                                  const hone_optimizer *optimizer, const hone_file *file,
                                  hone_error *error);

#endif
