/* SPDX-License-Identifier: Apache-2.0 */
/* The index's memory: segments come from slabs that are never moved or returned while the table
 * lives; the directory doubles when a segment that only one entry names has to be split. */
#include "table/index.h"

#include <string.h>

#define MOST_SLAB 256 /* segments: 16 MiB */
#define MOST_DEPTH 40
#define FEWEST_KEYS (HONE_SEGMENT_BUCKETS * HONE_BUCKET_KEYS / 4) /* of a segment that is split */

static struct hone_bucket *aligned(void *memory)
{
    const uintptr_t inside = HONE_SEGMENT_SIZE - 1;
    return (struct hone_bucket *)(((uintptr_t)memory + inside) & ~inside);
}

/* A new slab, as large as all before it together; it becomes the source of spare segments. */
static hone_status add_slab(struct hone_index *index, hone_error *error)
{
    const hone_context *const context = index->context;
    if (index->slab_count == index->slab_capacity) {
        const size_t capacity = index->slab_capacity == 0 ? 8 : index->slab_capacity * 2;
        struct hone_slab *const slabs = hone_reallocate(
            context, index->slabs, index->slab_capacity * sizeof *slabs, capacity * sizeof *slabs);
        if (slabs == NULL)
            return hone_fail_memory(error, capacity * sizeof *slabs, "an index's list of slabs");
        index->slabs = slabs;
        index->slab_capacity = capacity;
    }
    const size_t segments = index->segments < MOST_SLAB ? index->segments : MOST_SLAB;
    const size_t size = (segments + 1) * HONE_SEGMENT_SIZE;
    void *const memory = hone_allocate(context, size);
    if (memory == NULL)
        return hone_fail_memory(error, size, "segments of an index");
    index->slabs[index->slab_count++] = (struct hone_slab){memory, size};
    index->spare = aligned(memory);
    index->spare_count = segments;
    index->spare_taken = 0;
    return HONE_OK;
}

/* Threads may split at the same time; each owns other segments, only the spare ones and the counts
 * are shared. */
static struct hone_bucket *take_spare(struct hone_index *index)
{
    const size_t taken = __atomic_fetch_add(&index->spare_taken, 1, __ATOMIC_RELAXED);
    if (taken >= index->spare_count)
        return NULL;
    return index->spare + taken * HONE_SEGMENT_BUCKETS;
}

/* Counts one segment more, if there may be one. */
static bool claim_segment(struct hone_index *index)
{
    if (__atomic_add_fetch(&index->segments, 1, __ATOMIC_RELAXED) <= index->most_segments)
        return true;
    __atomic_sub_fetch(&index->segments, 1, __ATOMIC_RELAXED);
    return false;
}

static void count_split(struct hone_index *index, int depth)
{
    __atomic_fetch_sub(&index->of_depth[depth], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&index->of_depth[depth + 1], 2, __ATOMIC_RELAXED);
}

hone_status hone_index_create(struct hone_index *index, const hone_context *context, uint64_t seed,
                              hone_error *error)
{
    *index = (struct hone_index){.context = context,
                                 .kernels = context->cpu->index,
                                 .seed = seed,
                                 .depth = 1,
                                 .segments = 1,
                                 .most_segments = SIZE_MAX};
    index->directory = hone_allocate(context, 2 * sizeof *index->directory);
    index->local_depth = hone_allocate_zeroed(context, 2);
    index->scratch_count = context->threads;
    index->scratch = hone_allocate(context, (size_t)index->scratch_count * HONE_SEGMENT_SIZE);
    hone_status status = HONE_OK;
    if (index->directory == NULL || index->local_depth == NULL || index->scratch == NULL)
        status = hone_fail_memory(error, HONE_SEGMENT_SIZE, "an index");
    if (status == HONE_OK)
        status = add_slab(index, error);
    if (status != HONE_OK) {
        hone_index_free(index);
        return status;
    }
    index->directory[0] = index->directory[1] = take_spare(index);
    index->of_depth[0] = 1;
    memset(index->directory[0], 0, HONE_SEGMENT_SIZE);
    return HONE_OK;
}

void hone_index_free(struct hone_index *index)
{
    const hone_context *const context = index->context;
    if (context == NULL)
        return;
    const size_t entries = (size_t)1 << index->depth;
    hone_release(context, index->directory, entries * sizeof *index->directory);
    hone_release(context, index->local_depth, entries);
    hone_release(context, index->scratch, (size_t)index->scratch_count * HONE_SEGMENT_SIZE);
    hone_release(context, index->deal, index->deal_size);
    for (size_t i = 0; i < index->slab_count; i++)
        hone_release(context, index->slabs[i].memory, index->slabs[i].size);
    hone_release(context, index->slabs, index->slab_capacity * sizeof *index->slabs);
    *index = (struct hone_index){0};
}

void hone_index_clear(struct hone_index *index)
{
    const size_t entries = (size_t)1 << index->depth;
    for (size_t i = 0; i < entries; i++)
        if (i == 0 || index->directory[i] != index->directory[i - 1])
            memset(index->directory[i], 0, HONE_SEGMENT_SIZE);
    index->count = 0;
}

size_t hone_index_bytes(const struct hone_index *index)
{
    const size_t entries = (size_t)1 << index->depth;
    return entries * (sizeof *index->directory + 1) + index->segments * HONE_SEGMENT_SIZE;
}

static hone_status double_directory(struct hone_index *index, hone_error *error)
{
    const hone_context *const context = index->context;
    const size_t entries = (size_t)1 << index->depth;
    struct hone_bucket **const directory = hone_allocate(context, 2 * entries * sizeof *directory);
    uint8_t *const local_depth = hone_allocate(context, 2 * entries);
    if (directory == NULL || local_depth == NULL) {
        hone_release(context, directory, 2 * entries * sizeof *directory);
        hone_release(context, local_depth, 2 * entries);
        return hone_fail_memory(error, 2 * entries * sizeof *directory, "an index's directory");
    }
    for (size_t i = 0; i < 2 * entries; i++) {
        directory[i] = index->directory[i / 2];
        local_depth[i] = index->local_depth[i / 2];
    }
    hone_release(context, index->directory, entries * sizeof *directory);
    hone_release(context, index->local_depth, entries);
    index->directory = directory;
    index->local_depth = local_depth;
    index->depth++;
    return HONE_OK;
}

hone_status hone_index_make_room(struct hone_index *index, uint64_t place, hone_error *error)
{
    hone_status status = HONE_OK;
    if (index->spare_taken >= index->spare_count)
        status = add_slab(index, error);
    const struct hone_index_view view = hone_index_view_of(index);
    if (status == HONE_OK && index->local_depth[hone_index_entry(&view, place)] == index->depth)
        status = double_directory(index, error);
    return status;
}

/* Puts a key that is known to be absent anywhere in the segment. */
static void put(struct hone_bucket *segment, uint64_t hash, int64_t key, uint64_t row)
{
    struct hone_bucket *bucket = segment + hone_index_bucket(hash);
    while ((~bucket->meta & HONE_BUCKET_TAKEN) == 0) {
        hone_bucket_note_passing(bucket, hone_index_tag(hash));
        bucket = hone_bucket_next(bucket);
    }
    hone_bucket_put(bucket, (unsigned)__builtin_ctz(~bucket->meta & HONE_BUCKET_TAKEN), key, row);
}

void hone_index_put_back(struct hone_index *index, int64_t key, uint64_t row)
{
    const uint64_t hash = hone_index_hash(key, index->seed);
    const struct hone_index_view view = hone_index_view_of(index);
    put(index->directory[hone_index_entry(&view, hone_index_place(hash))], hash, key, row);
    index->count++;
}

static size_t count_keys(const struct hone_bucket *segment)
{
    size_t count = 0;
    for (size_t i = 0; i < HONE_SEGMENT_BUCKETS; i++)
        count += (size_t)__builtin_popcount(segment[i].meta & HONE_BUCKET_TAKEN);
    return count;
}

/* Keys can be chosen so that they agree in the first bits of their places, or in their bucket:
 * neither may make the index larger than a few times what other keys do. Where all segments
 * together have their share of keys, those of this one need not be counted. */
static bool helps(const struct hone_index *index, size_t entry)
{
    const int depth = index->local_depth[entry];
    const size_t segments = __atomic_load_n(&index->segments, __ATOMIC_RELAXED);
    if (depth >= MOST_DEPTH || (size_t)1 << depth > HONE_INDEX_ENTRIES * segments)
        return false;
    return index->count >= FEWEST_KEYS * segments ||
           count_keys(index->directory[entry]) >= FEWEST_KEYS;
}

enum hone_split hone_index_split(struct hone_index *index, uint64_t place, void *scratch)
{
    const struct hone_index_view view = hone_index_view_of(index);
    const size_t entry = hone_index_entry(&view, place);
    const int depth = index->local_depth[entry];
    if (!helps(index, entry) || !claim_segment(index))
        return HONE_SPLIT_CROWDED;
    struct hone_bucket *const added = depth == index->depth ? NULL : take_spare(index);
    if (added == NULL) {
        __atomic_sub_fetch(&index->segments, 1, __ATOMIC_RELAXED);
        return HONE_SPLIT_NEEDS_ROOM;
    }
    struct hone_bucket *const half[2] = {index->directory[entry], added};
    index->kernels->split(&view, half[0], half[1], 63 - depth, scratch);
    const size_t named = (size_t)1 << (index->depth - depth); /* entries of the segment */
    const size_t first = entry & ~(named - 1);
    for (size_t i = 0; i < named; i++) {
        index->directory[first + i] = half[i >= named / 2];
        index->local_depth[first + i] = (uint8_t)(depth + 1);
    }
    count_split(index, depth);
    return HONE_SPLIT_DONE;
}
