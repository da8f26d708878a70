/* SPDX-License-Identifier: Apache-2.0 */
/* The loops over an index, compiled once per CPU level; only the comparison of a key with a
 * bucket's five and the hashing of eight keys at a time differ. A bucket is one cache line. Keys are
 * taken in blocks: while one block is answered, the lines of the next are on their way, so that a
 * core waits for many at a time. */
#include "kernel/index.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef HONE_TARGET
#define HONE_TARGET lint
#endif

#define BLOCK 64 /* keys */

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

#if defined(__AVX512DQ__)

/* ---- eight at a time: what kernel/index.h does with one ------------------------------------- */

INDEX_INLINE __m512i eight(uint64_t x)
{
    return _mm512_set1_epi64((int64_t)x);
}

INDEX_INLINE __m512i fold_eight(__m512i x)
{
    return _mm512_xor_si512(x, _mm512_srli_epi64(x, 33));
}

INDEX_INLINE __m512i hash_eight(__m512i keys, uint64_t seed)
{
    const __m512i x = fold_eight(_mm512_xor_si512(keys, eight(seed)));
    const __m512i y = fold_eight(_mm512_mullo_epi64(x, eight(HONE_HASH_FIRST)));
    return fold_eight(_mm512_mullo_epi64(y, eight(HONE_HASH_SECOND)));
}

/* From products of halves, as on paper. */
INDEX_INLINE __m512i multiply_high_eight(__m512i a, __m512i b)
{
    const __m512i a_high = _mm512_srli_epi64(a, 32), b_high = _mm512_srli_epi64(b, 32);
    const __m512i low = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
    const __m512i one = _mm512_add_epi64(_mm512_mul_epu32(a_high, b), low);
    const __m512i other =
        _mm512_add_epi64(_mm512_mul_epu32(a, b_high), _mm512_and_si512(one, eight(UINT32_MAX)));
    const __m512i carried =
        _mm512_add_epi64(_mm512_srli_epi64(one, 32), _mm512_srli_epi64(other, 32));
    return _mm512_add_epi64(_mm512_mul_epu32(a_high, b_high), carried);
}

INDEX_INLINE __m512i place_eight(__m512i hash)
{
    const __m512i bend = multiply_high_eight(hash, eight(HONE_PLACE_SQUARE));
    return multiply_high_eight(hash, _mm512_add_epi64(eight(HONE_PLACE_LINEAR), bend));
}

INDEX_INLINE __m512i bucket_eight(__m512i hash)
{
    return _mm512_and_si512(hash, eight(HONE_SEGMENT_BUCKETS - 1));
}

#endif

/* ---- searches ------------------------------------------------------------------------------- */

/* Where the search for a key starts. */
struct start {
    struct hone_bucket *home;
    uint32_t tag;
};

/* The starts of the keys in work, by block. */
struct starts {
    struct start of[2][BLOCK];
};

INDEX_INLINE void request_one(struct start *start, const struct hone_index_view *view, int64_t key)
{
    const uint64_t hash = hone_index_hash(key, view->seed);
    start->home = hone_index_segment(view, hash) + hone_index_bucket(hash);
    start->tag = hone_index_tag(hash);
    __builtin_prefetch(start->home, 0, 2);
}

#if defined(__AVX512DQ__)
INDEX_INLINE void request_eight(struct start *start, const struct hone_index_view *view,
                                const int64_t *keys)
{
    const __m512i hash = hash_eight(_mm512_loadu_si512((const void *)keys), view->seed);
    const __m512i entries = _mm512_srl_epi64(place_eight(hash), _mm_cvtsi32_si128(view->shift + 1));
    uint64_t entry[8], bucket[8], tag[8];
    _mm512_storeu_si512(entry, entries);
    _mm512_storeu_si512(bucket, bucket_eight(hash));
    _mm512_storeu_si512(tag, hash);
    for (size_t k = 0; k < 8; k++) {
        start[k].home = view->directory[entry[k]] + bucket[k];
        start[k].tag = hone_index_tag(tag[k]);
        __builtin_prefetch(start[k].home, 0, 2);
    }
}
#endif

/* Asks for the home buckets of a block, up to the second cache: it can wait for more lines at a
 * time than the first. As little as possible is done between the requests, for the same reason. */
INDEX_INLINE void request(struct starts *starts, const struct hone_index_view *view,
                          const int64_t *keys, size_t first, size_t n)
{
    struct start *const of = starts->of[first / BLOCK % 2];
    const size_t left = first < n ? n - first : 0, count = left < BLOCK ? left : BLOCK;
    size_t i = 0;
#if defined(__AVX512DQ__)
    for (; i + 8 <= count; i += 8)
        request_eight(of + i, view, keys + first + i);
#endif
    for (; i < count; i++)
        request_one(of + i, view, keys[first + i]);
}

/* The starts of the block at `first`; blocks follow one another. Asks for the next block's lines,
 * and for the second line of those searches in this one that will not end in their first. */
INDEX_INLINE const struct start *open_block(struct starts *starts,
                                            const struct hone_index_view *view, const int64_t *keys,
                                            size_t first, size_t n, bool insert)
{
    if (first == 0)
        request(starts, view, keys, 0, n);
    request(starts, view, keys, first + BLOCK, n);
    const struct start *const of = starts->of[first / BLOCK % 2];
    for (size_t i = 0; i < BLOCK && first + i < n; i++) {
        const uint32_t meta = of[i].home->meta;
        const bool full = (meta & HONE_BUCKET_TAKEN) == HONE_BUCKET_TAKEN;
        const size_t more = ((meta & of[i].tag) != 0) | (insert & full);
        __builtin_prefetch(of[i].home + more, 1);
        if (insert)
            __builtin_prefetch(of[i].home + 2 * more, 1);
    }
    return of;
}

struct place {
    struct hone_bucket *bucket; /* NULL: absent */
    unsigned slot;
    unsigned distance; /* buckets from home */
};

INDEX_INLINE struct place seek(struct start start, int64_t key)
{
    struct hone_bucket *bucket = start.home;
    for (unsigned distance = 0; distance < HONE_SEGMENT_BUCKETS; distance++) {
        const uint32_t found = match(bucket, key);
        if (found != 0)
            return (struct place){bucket, (unsigned)__builtin_ctz(found), distance};
        if ((bucket->meta & start.tag) == 0)
            break;
        bucket = hone_bucket_next(bucket);
    }
    return (struct place){NULL, 0, 0};
}

/* The rows are asked for ahead of their use, too, and leave a block at a time: the lines that they go
 * to may be in the cache of another core that has read those of the last call, and while a store
 * waits for its line, all later ones of its core do. */
static void find(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows)
{
    struct starts starts;
    int64_t found[BLOCK];
    for (size_t first = 0; first < n; first += BLOCK) {
        const struct start *const of = open_block(&starts, view, keys, first, n, false);
        const size_t count = n - first < BLOCK ? n - first : BLOCK;
        for (size_t i = first + BLOCK; i < first + 2 * BLOCK && i < n; i += 64 / sizeof *rows)
            __builtin_prefetch(rows + i, 1);
        for (size_t i = 0; i < count; i++) {
            const struct place at = seek(of[i], keys[first + i]);
            found[i] = at.bucket == NULL ? -1 : hone_bucket_row(at.bucket, at.slot);
        }
        memcpy(rows + first, found, count * sizeof *rows);
    }
}

/* Puts an absent key into the first free slot from its home on. False: that is too far away. */
INDEX_INLINE bool put(struct start start, int64_t key, uint64_t row, unsigned reach)
{
    struct hone_bucket *bucket = start.home;
    for (unsigned distance = 0; distance < reach; distance++) {
        const uint32_t open = ~bucket->meta & HONE_BUCKET_TAKEN;
        if (open != 0) {
            hone_bucket_put(bucket, (unsigned)__builtin_ctz(open), key, row);
            for (struct hone_bucket *passed = start.home; passed != bucket;
                 passed = hone_bucket_next(passed))
                hone_bucket_note_passing(passed, start.tag);
            return true;
        }
        bucket = hone_bucket_next(bucket);
    }
    return false;
}

static size_t insert(const struct hone_index_view *view, const int64_t *keys, size_t n,
                     int64_t *rows, struct hone_insertion *to)
{
    struct starts starts;
    const struct start *of = NULL;
    const unsigned reach = to->reach;
    uint32_t *const fresh = to->fresh;
    size_t count = to->count, i; /* not in *to: a neighbouring thread may work in its cache line */
    for (i = 0; i < n; i++) {
        if (i % BLOCK == 0)
            of = open_block(&starts, view, keys, i, n, true);
        const struct start start = of[i % BLOCK];
        const struct place at = seek(start, keys[i]);
        if (at.bucket != NULL) {
            rows[i] = hone_bucket_row(at.bucket, at.slot);
            continue;
        }
        const uint64_t row = hone_insertion_row(to, count);
        if (!put(start, keys[i], row, reach))
            break;
        fresh[count++] = (uint32_t)i;
        rows[i] = (int64_t)row;
    }
    to->count = count;
    return i;
}

/* Sets the filter of a bucket whose count is exact: looks for the keys that passed it. */
static void renew_filter(const struct hone_index_view *view, struct hone_bucket *bucket)
{
    unsigned left = (bucket->meta & HONE_BUCKET_PASSED) / HONE_BUCKET_ONE_PASSED;
    bucket->meta &= ~HONE_BUCKET_TAGS;
    const uintptr_t inside = HONE_SEGMENT_SIZE - 1;
    const size_t self = ((uintptr_t)bucket & inside) / sizeof *bucket;
    const struct hone_bucket *later = bucket;
    for (size_t distance = 1; left > 0 && distance < HONE_SEGMENT_BUCKETS; distance++) {
        later = hone_bucket_next((struct hone_bucket *)(uintptr_t)later);
        for (unsigned k = 0; k < HONE_BUCKET_KEYS; k++) {
            if ((later->meta >> k & 1u) == 0)
                continue;
            const uint64_t hash = hone_index_hash(later->key[k], view->seed);
            const size_t before = (self - hone_index_bucket(hash)) % HONE_SEGMENT_BUCKETS;
            if (before + distance >= HONE_SEGMENT_BUCKETS)
                continue;
            bucket->meta |= hone_index_tag(hash);
            left--;
        }
    }
}

/* Keys that passed a bucket and are gone no longer hold up searches there, unless there were too
 * many to count. */
INDEX_INLINE void take(const struct hone_index_view *view, struct hone_bucket *home,
                       struct place at)
{
    at.bucket->meta &= ~(1u << at.slot);
    struct hone_bucket *bucket = home;
    for (unsigned i = 0; i < at.distance; i++) {
        if ((bucket->meta & HONE_BUCKET_PASSED) != HONE_BUCKET_PASSED) {
            bucket->meta -= HONE_BUCKET_ONE_PASSED;
            renew_filter(view, bucket);
        }
        bucket = hone_bucket_next(bucket);
    }
}

static void erase(const struct hone_index_view *view, const int64_t *keys, size_t n, int64_t *rows)
{
    struct starts starts;
    const struct start *of = NULL;
    for (size_t i = 0; i < n; i++) {
        if (i % BLOCK == 0)
            of = open_block(&starts, view, keys, i, n, false);
        const struct place at = seek(of[i % BLOCK], keys[i]);
        rows[i] = at.bucket == NULL ? -1 : hone_bucket_row(at.bucket, at.slot);
        if (at.bucket != NULL)
            take(view, of[i % BLOCK].home, at);
    }
}

static void assign(const struct hone_index_view *view, const int64_t *keys, size_t n,
                   const int64_t *rows)
{
    struct starts starts;
    const struct start *of = NULL;
    for (size_t i = 0; i < n; i++) {
        if (i % BLOCK == 0)
            of = open_block(&starts, view, keys, i, n, false);
        const struct place at = seek(of[i % BLOCK], keys[i]);
        if (at.bucket != NULL)
            hone_bucket_put(at.bucket, at.slot, keys[i], (uint64_t)rows[i]);
    }
}

/* Which slots hold keys whose home is the bucket of that number, and which hold keys whose places
 * have a bit. */
struct sides {
    uint32_t home, second;
};

INDEX_INLINE struct sides sides_of(const struct hone_index_view *view,
                                   const struct hone_bucket *bucket, size_t number, int bit)
{
    struct sides sides = {0, 0};
#if defined(__AVX512DQ__)
    const __m512i hash = hash_eight(_mm512_load_si512((const void *)bucket), view->seed);
    sides.home = _mm512_cmpeq_epi64_mask(bucket_eight(hash), eight(number));
    sides.second = _mm512_test_epi64_mask(place_eight(hash), eight((uint64_t)1 << bit));
#else
    for (unsigned k = 0; k < HONE_BUCKET_KEYS; k++) {
        const uint64_t hash = hone_index_hash(bucket->key[k], view->seed);
        sides.home |= (uint32_t)(hone_index_bucket(hash) == number) << k;
        sides.second |= (uint32_t)(hone_index_place(hash) >> bit & 1u) << k;
    }
#endif
    return sides;
}

/* A key in its home bucket keeps its slot, in either half: both get the whole line and differ in the
 * slots that are taken. The few other keys are set aside, as buckets, and put in afterwards. */
static void split(const struct hone_index_view *view, struct hone_bucket *segment,
                  struct hone_bucket *added, int bit, struct hone_bucket *aside)
{
    size_t count = 0;
    for (size_t i = 0; i < HONE_SEGMENT_BUCKETS; i++) {
        const struct sides sides = sides_of(view, &segment[i], i, bit);
        const uint32_t taken = segment[i].meta & HONE_BUCKET_TAKEN, home = taken & sides.home;
        const uint32_t rows = segment[i].meta & HONE_BUCKET_ROWS;
        aside[count] = added[i] = segment[i];
        aside[count].meta = rows | (taken & ~home);
        count += home != taken;
        added[i].meta = rows | (home & sides.second);
        segment[i].meta = rows | (home & ~sides.second);
    }
    for (size_t i = 0; i < count; i++)
        for (uint32_t left = aside[i].meta & HONE_BUCKET_TAKEN; left != 0; left &= left - 1) {
            const unsigned k = (unsigned)__builtin_ctz(left);
            const uint64_t hash = hone_index_hash(aside[i].key[k], view->seed);
            struct hone_bucket *const half = hone_index_place(hash) >> bit & 1u ? added : segment;
            const struct start start = {half + hone_index_bucket(hash), hone_index_tag(hash)};
            put(start, aside[i].key[k], (uint64_t)hone_bucket_row(&aside[i], k),
                HONE_SEGMENT_BUCKETS);
        }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

extern const struct hone_index_kernels PASTE(hone_index_, HONE_TARGET);
const struct hone_index_kernels PASTE(hone_index_, HONE_TARGET) = {find, insert, erase, assign,
                                                                   split};
