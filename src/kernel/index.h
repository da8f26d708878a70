/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a table, as the loops see it: 64-byte buckets of five keys and row numbers, in
 * segments of a thousand, found through a directory of the hash's first bits. Keys that do not fit
 * their home bucket go to the next ones of the segment; each bucket they pass counts them and notes
 * their tags in a filter of eight bits, so that nearly every search for an absent key ends in the
 * line it started in. The count tells when a filter has to be made anew after a key that passed is
 * gone: an erased key leaves no trace. */
#ifndef HONE_KERNEL_INDEX_H
#define HONE_KERNEL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HONE_BUCKET_KEYS 5
#define HONE_SEGMENT_BUCKETS 1024
#define HONE_SEGMENT_SIZE ((size_t)64 * HONE_SEGMENT_BUCKETS) /* bytes; segments are so aligned */

/* A row's number has 34 bits; the last 2^32 numbers are for keys whose row is not settled yet. */
#define HONE_MAX_ROWS ((uint64_t)3 << 32)

/* meta: bits 0-4 which slots are taken; 5-11 how many keys passed this bucket on the way from their
 * home to a later one, 127 meaning "that many or more"; 12-19 a bit for each tag that one of those
 * may have; from bit 20 on the row numbers' bits 32 and 33, two for each slot. */
struct hone_bucket {
    int64_t key[HONE_BUCKET_KEYS];
    uint32_t row[HONE_BUCKET_KEYS];
    uint32_t meta;
};

_Static_assert(sizeof(struct hone_bucket) == 64, "a bucket is a cache line");

#define HONE_BUCKET_TAKEN 0x1fu
#define HONE_BUCKET_PASSED 0xfe0u
#define HONE_BUCKET_ONE_PASSED 0x20u
#define HONE_BUCKET_TAGS 0xff000u
#define HONE_BUCKET_ROWS 0x3ff00000u

struct hone_index_view {
    struct hone_bucket *const *directory; /* first bucket of a segment; 2^(63 - shift) entries */
    int shift;
    uint64_t seed;
};

/* Where the rows of new keys come from: recycled ones from the end of their list, then next, next +
 * 1, ... */
struct hone_insertion {
    const uint64_t *recycled;
    size_t recycled_count;
    uint64_t next;
    uint32_t *fresh; /* out: which of the keys were new, in order */
    size_t count;    /* how many */
    unsigned reach;  /* buckets a key may be away from its home before the segment must split */
};

static inline uint64_t hone_insertion_row(const struct hone_insertion *to, size_t i)
{
    return i < to->recycled_count ? to->recycled[to->recycled_count - 1 - i]
                                  : to->next + (i - to->recycled_count);
}

/* Loops over batches. All fetch the buckets of keys to come while one is answered. */
struct hone_index_kernels {
    /* rows[i]: the row of keys[i], or -1. */
    void (*find)(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows);
    /* The same, inserting absent keys. Returns how many keys are done; less than n when the segment
     * of the next one has to be split first. */
    size_t (*insert)(const struct hone_index_view *view, const int64_t *keys, size_t n,
                     int64_t *rows, struct hone_insertion *to);
    /* Removes keys; rows[i] is where keys[i] was, or -1. */
    void (*erase)(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows);
    /* Gives present keys other rows. */
    void (*assign)(const struct hone_index_view *view, const int64_t *keys, size_t n,
                   const int64_t *rows);
    /* Moves the keys of `segment` whose places have bit `bit` to another one, `added`, whatever that
     * held before. `aside`: room for a segment. */
    void (*split)(const struct hone_index_view *view, struct hone_bucket *segment,
                  struct hone_bucket *added, int bit, struct hone_bucket *aside);
};

/* The finalizer of MurmurHash3 (Appleby) over the seeded key: one to one. */
#define HONE_HASH_FIRST 0xff51afd7ed558ccdu
#define HONE_HASH_SECOND 0xc4ceb9fe1a85ec53u

static inline uint64_t hone_index_hash(int64_t key, uint64_t seed)
{
    uint64_t x = (uint64_t)key ^ seed;
    x = (x ^ x >> 33) * HONE_HASH_FIRST;
    x = (x ^ x >> 33) * HONE_HASH_SECOND;
    return x ^ x >> 33;
}

static inline uint64_t hone_multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

/* The hash u in [0, 1), bent to u (0.6565 + 0.3435 u), close to 2^u - 1: twice as many keys fall on
 * a place near 0 as on one near 1. So segments, which own equal ranges of places, fill up one after
 * the other as the table doubles instead of all at once (spiral storage: Martin 1979). */
#define HONE_PLACE_LINEAR 0xa810624dd2f1a9fbu
#define HONE_PLACE_SQUARE 0x57ef9db22d0e5604u

static inline uint64_t hone_index_place(uint64_t hash)
{
    return hone_multiply_high(hash,
                              HONE_PLACE_LINEAR + hone_multiply_high(hash, HONE_PLACE_SQUARE));
}

static inline size_t hone_index_entry(const struct hone_index_view *view, uint64_t place)
{
    return (size_t)(place >> 1 >> view->shift);
}

/* Where in its segment a key belongs, and its bit of the filters that it passes. */
static inline size_t hone_index_bucket(uint64_t hash)
{
    return hash & (HONE_SEGMENT_BUCKETS - 1);
}

static inline uint32_t hone_index_tag(uint64_t hash)
{
    return 0x1000u << (hash / HONE_SEGMENT_BUCKETS & 7u);
}

static inline struct hone_bucket *hone_index_segment(const struct hone_index_view *view,
                                                     uint64_t hash)
{
    return view->directory[hone_index_entry(view, hone_index_place(hash))];
}

/* The bucket after this one, the segment's first after its last. */
static inline struct hone_bucket *hone_bucket_next(struct hone_bucket *bucket)
{
    const uintptr_t at = (uintptr_t)bucket, inside = HONE_SEGMENT_SIZE - 1;
    return (struct hone_bucket *)((at & ~inside) | ((at + sizeof *bucket) & inside));
}

static inline int64_t hone_bucket_row(const struct hone_bucket *bucket, unsigned slot)
{
    return (int64_t)(bucket->row[slot] | (uint64_t)(bucket->meta >> (20 + 2 * slot) & 3u) << 32);
}

static inline void hone_bucket_put(struct hone_bucket *bucket, unsigned slot, int64_t key,
                                   uint64_t row)
{
    const unsigned shift = 20 + 2 * slot;
    bucket->key[slot] = key;
    bucket->row[slot] = (uint32_t)row;
    bucket->meta ^= ((bucket->meta >> shift ^ (uint32_t)(row >> 32)) & 3u) << shift;
    bucket->meta |= 1u << slot;
}

static inline void hone_bucket_note_passing(struct hone_bucket *bucket, uint32_t tag)
{
    if ((bucket->meta & HONE_BUCKET_PASSED) != HONE_BUCKET_PASSED)
        bucket->meta += HONE_BUCKET_ONE_PASSED;
    bucket->meta |= tag;
}

#endif
