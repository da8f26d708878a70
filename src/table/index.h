/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a table: int64 keys to row numbers. It grows by splitting one segment of a thousand
 * buckets at a time; nothing else moves. Knows nothing of what rows hold. */
#ifndef HONE_TABLE_INDEX_H
#define HONE_TABLE_INDEX_H

#include "core/core.h"
#include "kernel/index.h"

struct hone_slab {
    void *memory;
    size_t size;
};

struct hone_index {
    const hone_context *context;
    const struct hone_index_kernels *kernels;
    uint64_t seed;
    struct hone_bucket **directory;
    uint8_t *local_depth;   /* of each entry: how many first bits of places its segment owns */
    int depth;              /* the directory has 2^depth entries; at least 1 */
    size_t of_depth[64];    /* segments of each local depth */
    size_t segments, count; /* count: keys */
    size_t most_segments;   /* that there may be; SIZE_MAX unless the owner has a budget */
    struct hone_slab *slabs;
    size_t slab_count, slab_capacity;
    struct hone_bucket *spare;       /* the last slab's segments, */
    size_t spare_count, spare_taken; /* and those in use; threads take them side by side */
    void *scratch; /* a segment for each thread: the keys of one that is being split */
    int scratch_count;
    void *deal; /* where batches are sorted by the threads that own their keys */
    size_t deal_size;
    bool mostly_new; /* the keys of the last batch */
};

/* Entries of the directory for each segment, at most, and the bytes of a segment with its share of
 * the directory, which doubles. */
#define HONE_INDEX_ENTRIES 32
#define HONE_INDEX_SEGMENT_COST (HONE_SEGMENT_SIZE + 2 * HONE_INDEX_ENTRIES * (sizeof(void *) + 1))

/* One empty segment. */
hone_status hone_index_create(struct hone_index *index, const hone_context *context, uint64_t seed,
                              hone_error *error);
void hone_index_free(struct hone_index *index);
void hone_index_clear(struct hone_index *index); /* no keys; memory stays */
size_t hone_index_bytes(const struct hone_index *index);

/* At most this many keys per call. */
#define HONE_INDEX_BATCH ((size_t)UINT32_MAX)

void hone_index_find(const struct hone_index *index, const int64_t *keys, size_t n, int64_t *rows);

/* Finds or inserts. The i-th new key, in the order of first occurrence, gets row
 * hone_insertion_row(to, i); to->fresh holds room for n and receives the new keys' positions. On
 * failure no key has been inserted. */
hone_status hone_index_insert(struct hone_index *index, const int64_t *keys, size_t n,
                              int64_t *rows, struct hone_insertion *to, hone_error *error);

/* rows[i]: where keys[i] was, or -1; a key that occurs twice is found once. */
void hone_index_erase(struct hone_index *index, const int64_t *keys, size_t n, int64_t *rows);

/* Puts back a key that was erased. The keys that came after it are to be gone, so that there is
 * room: it cannot fail. */
void hone_index_put_back(struct hone_index *index, int64_t key, uint64_t row);

/* ---- shared by index.c and index_batch.c ---------------------------------------------------- */

static inline struct hone_index_view hone_index_view_of(const struct hone_index *index)
{
    return (struct hone_index_view){index->directory, 63 - index->depth, index->seed};
}

/* What stands in the way of a split. */
enum hone_split { HONE_SPLIT_DONE, HONE_SPLIT_NEEDS_ROOM, HONE_SPLIT_CROWDED };

/* Splits the segment that `place` falls into, if a spare segment is at hand and the directory can
 * name both halves. CROWDED: it stays as it is, because its keys agree in so many first bits that
 * splitting would not help, because it is far from full, or because there may be
 * no more segments. */
enum hone_split hone_index_split(struct hone_index *index, uint64_t place, void *scratch);

/* Makes what HONE_SPLIT_NEEDS_ROOM misses: a spare segment and directory entries for `place`. */
hone_status hone_index_make_room(struct hone_index *index, uint64_t place, hone_error *error);

/* Buckets a key may be away from home while its segment can still be split: bounds the length of
 * searches, and decides how full segments become. */
#define HONE_INDEX_REACH 12

#endif
