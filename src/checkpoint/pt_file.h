/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's .pt files as trees of values: a zip archive whose entries are stored, not compressed,
 * with a pickle and the storages it speaks of. Everything is read where it lies. Private to src/.
 */
#ifndef HONE_CHECKPOINT_PT_FILE_H
#define HONE_CHECKPOINT_PT_FILE_H

#include "checkpoint/pickle.h"

struct hone_pt {
    struct hone_arena arena;
    const struct hone_node *root; /* strings and tensors point into the bytes that were read */
};

/* Reads bytes that outlive the tree. `limit` bounds the memory of the tree's values; libzip's list
 * of entries comes beside it and is bounded by the bytes' size. Call hone_pt_release after OK. */
hone_status hone_pt_read(struct hone_pt *pt, const hone_context *context, const void *bytes,
                         size_t size, size_t limit, hone_error *error);
void hone_pt_release(struct hone_pt *pt);

/* What the first bytes tell: a zip archive, or the stream that torch wrote before version 1.6. */
bool hone_pt_is_zip(const void *bytes, size_t size);
bool hone_pt_is_stream(const void *bytes, size_t size);

#endif
