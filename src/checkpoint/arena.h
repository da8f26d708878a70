/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for many small things that are given back together, up to a stated limit. Private to
 * src/checkpoint. */
#ifndef HONE_CHECKPOINT_ARENA_H
#define HONE_CHECKPOINT_ARENA_H

#include "core/core.h"

struct hone_arena {
    const hone_context *context;
    struct hone_arena_block *blocks;
    size_t used, limit; /* bytes of all blocks */
};

void hone_arena_start(struct hone_arena *arena, const hone_context *context, size_t limit);
void hone_arena_release(struct hone_arena *arena);

/* Aligned to 16 bytes, not zeroed; NULL when the limit or the allocator says no. */
void *hone_arena_allocate(struct hone_arena *arena, size_t size);

/* A larger copy of an array of `old_size` bytes; the old one stays until the end. */
void *hone_arena_grow(struct hone_arena *arena, const void *old, size_t old_size, size_t new_size);

/* The sentence for a NULL from the above: which limit it was, or that memory ran out. */
hone_status hone_arena_fail(const struct hone_arena *arena, const char *what, hone_error *error);

#endif
