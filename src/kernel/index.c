/* SPDX-License-Identifier: Apache-2.0 */
/* The loops over an index, compiled once per CPU level; only the comparison of a key with a
 * bucket's five differs. A bucket is one cache line, and the lines of the next keys are requested
 * while one key is answered. */
#include "kernel/index.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define AHEAD 24 /* keys between the request of a line and its use */
#define RING 32  /* a power of two above it */

#define INDEX_INLINE static inline __attribute__((always_inline))

/* Bit k: slot k is taken and holds the key. */
INDEX_INLINE uint32_t match(const struct hone_bucket *bucket, int64_t key)
{
#if defined(__AVX512F__)
    const __m512i line = _mm512_load_si512((const void *)bucket);
    const uint32_t same = _mm512_cmpeq_epi64_mask(line, _mm512_set1_epi64(key));
#elif defined(__AVX2__)
    const __m256i four = _mm256_load_si256((const __m256i *)(const void *)bucket);
    const __m256i equal = _mm256_cmpeq_epi64(four, _mm256_set1_epi64x(key));
    const uint32_t same = (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(equal)) |
                          (uint32_t)(bucket->key[4] == key) << 4;
#else
    uint32_t same = 0;
    for (unsigned k = 0; k < HONE_BUCKET_KEYS; k++)
        same |= (uint32_t)(bucket->key[k] == key) << k;
#endif
    return same & bucket->meta & HONE_BUCKET_TAKEN;
}

struct place {
    struct hone_bucket *bucket; /* NULL: absent */
    unsigned slot;
    unsigned distance; /* buckets from home */
};

INDEX_INLINE struct place seek(struct hone_bucket *home, int64_t key)
{
    struct hone_bucket *bucket = home;
    for (unsigned distance = 0; distance < HONE_SEGMENT_BUCKETS; distance++) {
        const uint32_t found = match(bucket, key);
        if (found != 0)
            return (struct place){bucket, (unsigned)__builtin_ctz(found), distance};
        if ((bucket->meta & HONE_BUCKET_PASSED) == 0)
            break;
        bucket = hone_bucket_next(bucket);
    }
    return (struct place){NULL, 0, 0};
}

static void find(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows)
{
    struct hone_bucket *ring[RING];
    const size_t first = n < AHEAD ? n : AHEAD;
    for (size_t i = 0; i < first; i++)
        __builtin_prefetch(ring[i] = hone_index_home(view, keys[i]));
    for (size_t i = 0; i < n; i++) {
        struct hone_bucket *const home = ring[i % RING];
        if (i + AHEAD < n)
            __builtin_prefetch(ring[(i + AHEAD) % RING] = hone_index_home(view, keys[i + AHEAD]));
        const struct place at = seek(home, keys[i]);
        rows[i] = at.bucket == NULL ? -1 : hone_bucket_row(at.bucket, at.slot);
    }
}

/* Puts an absent key into the first free slot from its home on. False: that is too far away. */
INDEX_INLINE bool put(struct hone_bucket *home, int64_t key, uint64_t row, unsigned reach)
{
    struct hone_bucket *bucket = home;
    for (unsigned distance = 0; distance < reach; distance++) {
        const uint32_t open = ~bucket->meta & HONE_BUCKET_TAKEN;
        if (open != 0) {
            hone_bucket_put(bucket, (unsigned)__builtin_ctz(open), key, row);
            for (struct hone_bucket *passed = home; passed != bucket;
                 passed = hone_bucket_next(passed))
                hone_bucket_count_passing(passed);
            return true;
        }
        bucket = hone_bucket_next(bucket);
    }
    return false;
}

static size_t insert(const struct hone_index_view *view, const int64_t *keys, size_t n,
                     int64_t *rows, struct hone_insertion *to)
{
    struct hone_bucket *ring[RING];
    const size_t first = n < AHEAD ? n : AHEAD;
    for (size_t i = 0; i < first; i++)
        __builtin_prefetch(ring[i] = hone_index_home(view, keys[i]), 1);
    for (size_t i = 0; i < n; i++) {
        struct hone_bucket *const home = ring[i % RING];
        if (i + AHEAD < n)
            __builtin_prefetch(ring[(i + AHEAD) % RING] = hone_index_home(view, keys[i + AHEAD]),
                               1);
        const struct place at = seek(home, keys[i]);
        if (at.bucket != NULL) {
            rows[i] = hone_bucket_row(at.bucket, at.slot);
            continue;
        }
        const uint64_t row = hone_insertion_row(to, to->count);
        if (!put(home, keys[i], row, to->reach))
            return i;
        to->fresh[to->count++] = (uint32_t)i;
        rows[i] = (int64_t)row;
    }
    return n;
}

/* Keys that passed a bucket and are gone no longer hold up searches there, unless there were too
 * many to count. */
INDEX_INLINE void take(struct hone_bucket *home, struct place at)
{
    at.bucket->meta &= ~(1u << at.slot);
    struct hone_bucket *bucket = home;
    for (unsigned i = 0; i < at.distance; i++) {
        if ((bucket->meta & HONE_BUCKET_PASSED) != HONE_BUCKET_PASSED)
            bucket->meta -= HONE_BUCKET_ONE_PASSED;
        bucket = hone_bucket_next(bucket);
    }
}

static void erase(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows)
{
    struct hone_bucket *ring[RING];
    const size_t first = n < AHEAD ? n : AHEAD;
    for (size_t i = 0; i < first; i++)
        __builtin_prefetch(ring[i] = hone_index_home(view, keys[i]), 1);
    for (size_t i = 0; i < n; i++) {
        struct hone_bucket *const home = ring[i % RING];
        if (i + AHEAD < n)
            __builtin_prefetch(ring[(i + AHEAD) % RING] = hone_index_home(view, keys[i + AHEAD]),
                               1);
        const struct place at = seek(home, keys[i]);
        rows[i] = at.bucket == NULL ? -1 : hone_bucket_row(at.bucket, at.slot);
        if (at.bucket != NULL)
            take(home, at);
    }
}

static void assign(const struct hone_index_view *view, int64_t key, uint64_t row)
{
    const struct place at = seek(hone_index_home(view, key), key);
    if (at.bucket != NULL)
        hone_bucket_put(at.bucket, at.slot, key, row);
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

extern const struct hone_index_kernels PASTE(hone_index_, HONE_TARGET);
const struct hone_index_kernels PASTE(hone_index_, HONE_TARGET) = {find, insert, erase, assign};
