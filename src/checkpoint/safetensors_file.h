/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of an open safetensors file. Private to the reader. */
#ifndef HONE_CHECKPOINT_SAFETENSORS_FILE_H
#define HONE_CHECKPOINT_SAFETENSORS_FILE_H

#include "core/core.h"

struct hone_file_tensor {
    const char *name;
    hone_dtype dtype;
    int32_t ndim;
    const int64_t *shape;
    uint64_t begin, end; /* within the file's data */
    const void *data;    /* in the file, or in its aligned copy */
};

struct hone_file_note {
    const char *key, *value;
};

struct hone_file {
    const hone_context *context;
    const unsigned char *bytes;
    size_t size;
    bool mapped; /* by hone_file_open, to be unmapped */
    size_t data_start;

    struct hone_file_tensor *tensors; /* in the order of their bytes */
    int64_t count;
    const struct hone_file_tensor **by_name; /* the same, sorted for hone_file_find */
    struct hone_file_note *notes;            /* the metadata, in the header's order */
    int64_t note_count;

    void *index; /* one block behind all of the above */
    size_t index_size;
    void *copies; /* one block for the tensors that are misaligned where they lie; often NULL */
    size_t copies_size;
};

/* Fills tensors, by_name and notes from the header's JSON, which begins at byte HONE_FILE_PREFIX
 * and ends at data_start, and checks that the tensors fill the file exactly. */
hone_status hone_file_parse_header(hone_file *file, hone_error *error);

#endif
