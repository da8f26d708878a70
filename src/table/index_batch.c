/* SPDX-License-Identifier: Apache-2.0 */
/* Batches over an index on all threads. Lookups are cut by position. Insertions and removals are
 * dealt by place, so that each thread owns whole segments, and each thread keeps the batch's order:
 * the outcome is that of one thread. */
#include <omp.h>
#include <string.h>

#include "table/index.h"

#define KEYS_PER_THREAD 4096
#define FEWEST_OWNERS 3    /* with fewer, dealing out new keys costs what it saves */
#define KEYS_PER_PART 8192 /* of each thread: their lines fill half of a second cache */
#define LEAST_DEPTH 4      /* below it there are too few segments to share out */

static int thread_count(const struct hone_index *index, size_t n)
{
    const size_t useful = n / KEYS_PER_THREAD, most = (size_t)index->context->threads;
    return (int)(useful < 1 ? 1 : useful < most ? useful : most);
}

static size_t share(size_t n, int thread, int threads)
{
    return (size_t)((unsigned __int128)n * (unsigned)thread / (unsigned)threads);
}

void hone_index_find(const struct hone_index *index, const int64_t *keys, size_t n, int64_t *rows)
{
    const struct hone_index_view view = hone_index_view_of(index);
    const int threads = thread_count(index, n);
    if (threads == 1) {
        index->kernels->find(&view, keys, n, rows);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num(), all = omp_get_num_threads();
        const size_t begin = share(n, thread, all), end = share(n, thread + 1, all);
        index->kernels->find(&view, keys + begin, end - begin, rows + begin);
    }
}

/* ---- one thread ----------------------------------------------------------------------------- */

/* A run of insertions and how far it got. */
struct run {
    const int64_t *keys;
    int64_t *rows;
    size_t n, done;
    struct hone_insertion to;
    bool stuck; /* needs what only hone_index_make_room can get */
};

/* Lets the next key in although its segment should be split: it may go anywhere in it. */
static bool squeeze(const struct hone_index *index, struct run *run)
{
    const struct hone_index_view view = hone_index_view_of(index);
    const size_t before = run->to.count;
    struct hone_insertion to = run->to;
    to.reach = HONE_SEGMENT_BUCKETS;
    const size_t got =
        index->kernels->insert(&view, run->keys + run->done, 1, run->rows + run->done, &to);
    if (to.count > before)
        to.fresh[before] += (uint32_t)run->done;
    run->to.count = to.count;
    run->done += got;
    return got == 1;
}

static uint64_t place_of(const struct hone_index *index, int64_t key)
{
    return hone_index_place(hone_index_hash(key, index->seed));
}

/* Inserts until all is done or only new memory helps. */
static void advance(struct hone_index *index, struct run *run, void *scratch)
{
    run->stuck = false;
    while (run->done < run->n) {
        const struct hone_index_view view = hone_index_view_of(index);
        const size_t before = run->to.count;
        const size_t got = index->kernels->insert(&view, run->keys + run->done, run->n - run->done,
                                                  run->rows + run->done, &run->to);
        for (size_t i = before; i < run->to.count; i++)
            run->to.fresh[i] += (uint32_t)run->done;
        run->done += got;
        if (run->done == run->n)
            return;
        const uint64_t place = place_of(index, run->keys[run->done]);
        const enum hone_split split = hone_index_split(index, place, scratch);
        if (split == HONE_SPLIT_DONE || (split == HONE_SPLIT_CROWDED && squeeze(index, run)))
            continue;
        run->stuck = split == HONE_SPLIT_NEEDS_ROOM;
        return; /* if not stuck: a full segment that splitting would not help */
    }
}

static hone_status fail_crowded(hone_error *error, int64_t key)
{
    return hone_fail(
        error, HONE_ERROR_UNSUPPORTED,
        "key %lld: more than %d keys agree in the first bits of their hash; another seed "
        "of the context spreads them",
        (long long)key, HONE_SEGMENT_BUCKETS * HONE_BUCKET_KEYS);
}

/* Removes the keys that a failed call had inserted. */
static void undo(struct hone_index *index, const struct run *run)
{
    const struct hone_index_view view = hone_index_view_of(index);
    for (size_t i = 0; i < run->to.count; i++) {
        int64_t row;
        index->kernels->erase(&view, &run->keys[run->to.fresh[i]], 1, &row);
    }
}

static hone_status insert_alone(struct hone_index *index, struct run *run, hone_error *error)
{
    for (;;) {
        advance(index, run, index->scratch);
        if (run->done == run->n)
            return HONE_OK;
        const int64_t key = run->keys[run->done];
        const hone_status status = run->stuck
                                       ? hone_index_make_room(index, place_of(index, key), error)
                                       : fail_crowded(error, key);
        if (status != HONE_OK) {
            undo(index, run);
            return status;
        }
    }
}

/* ---- many threads --------------------------------------------------------------------------- */

/* Keys dealt by owner: position[begin[t]] up to position[begin[t + 1]] are where owner t's keys
 * stand in what was dealt, in order. */
struct deal {
    int owners;
    size_t n;
    int shift;     /* places that agree in the bits from here on have one owner */
    size_t *count; /* of part p and owner t at p * owners + t; then where they begin */
    size_t *begin;
    uint32_t *position;
    uint32_t *place; /* of each position: where in the list it is; its owner while that is made */
    int64_t *keys, *rows;
    uint32_t *fresh;
    int64_t *settled; /* the new keys' rows */
    struct run *runs;
    uint64_t *is_new; /* a bit for each position, */
    uint64_t *rank;   /* and the bits before each word */
};

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/* Everything a deal needs, in one piece of memory; with base NULL only the size. */
static size_t lay_out(struct deal *deal, char *base)
{
    const size_t owners = (size_t)deal->owners, n = deal->n, words = n / 64 + 1;
    size_t used = 0;
#define PLACE(field, length)                                    \
    do {                                                        \
        if (base != NULL)                                       \
            deal->field = (void *)(base + used);                \
        used = round_up(used + (length) * sizeof *deal->field); \
    } while (0)
    PLACE(count, owners * owners);
    PLACE(begin, owners + 1);
    PLACE(runs, owners);
    PLACE(position, n);
    PLACE(place, n);
    PLACE(fresh, n);
    PLACE(settled, n);
    PLACE(keys, n);
    PLACE(rows, n);
    PLACE(is_new, words);
    PLACE(rank, words + 1);
#undef PLACE
    return used;
}

/* Owners take turns over ranges of places, as narrow as the widest segment: segments due to split
 * lie close together, and the work is to be shared. */
static int draw_ranges(const struct hone_index *index)
{
    int depth = 0;
    while (index->of_depth[depth] == 0)
        depth++;
    return 64 - depth;
}

#define NOT_DEALT UINT32_MAX

/* Sorts positions by owner, keeping their order: count, add up, place. Keys that have a row already
 * are left out; `rows` may be NULL. */
static void deal_keys(const struct hone_index *index, struct deal *deal, const int64_t *keys,
                      const int64_t *rows)
{
    const int owners = deal->owners;
    memset(deal->count, 0, (size_t)owners * (size_t)owners * sizeof *deal->count);
#pragma omp parallel for num_threads(owners) schedule(static, 1)
    for (int p = 0; p < owners; p++) {
        const size_t end = share(deal->n, p + 1, owners);
        for (size_t i = share(deal->n, p, owners); i < end; i++) {
            deal->place[i] = NOT_DEALT;
            if (rows != NULL && rows[i] >= 0)
                continue;
            const uint64_t range = place_of(index, keys[i]) >> deal->shift;
            deal->place[i] = (uint32_t)range % (uint32_t)owners;
            deal->count[p * owners + (int)deal->place[i]]++;
        }
    }
    size_t total = 0;
    for (int t = 0; t < owners; t++) {
        deal->begin[t] = total;
        for (int p = 0; p < owners; p++) {
            const size_t count = deal->count[p * owners + t];
            deal->count[p * owners + t] = total;
            total += count;
        }
    }
    deal->begin[owners] = total;
#pragma omp parallel for num_threads(owners) schedule(static, 1)
    for (int p = 0; p < owners; p++) {
        const size_t end = share(deal->n, p + 1, owners);
        for (size_t i = share(deal->n, p, owners); i < end; i++) {
            if (deal->place[i] == NOT_DEALT)
                continue;
            const size_t at = deal->count[p * owners + (int)deal->place[i]]++;
            deal->place[i] = (uint32_t)at;
            deal->position[at] = (uint32_t)i;
            deal->keys[at] = keys[i];
        }
    }
}

/* The memory is the index's, kept from batch to batch. */
static hone_status open_deal(struct hone_index *index, struct deal *deal, const int64_t *keys,
                             const int64_t *rows, size_t n, hone_error *error)
{
    *deal = (struct deal){.owners = thread_count(index, n), .n = n};
    const size_t size = lay_out(deal, NULL);
    if (size > index->deal_size) {
        void *const memory = hone_allocate(index->context, size);
        if (memory == NULL)
            return hone_fail_memory(error, size, "sorting a batch of keys");
        hone_release(index->context, index->deal, index->deal_size);
        index->deal = memory;
        index->deal_size = size;
    }
    lay_out(deal, index->deal);
    deal->shift = draw_ranges(index);
    deal_keys(index, deal, keys, rows);
    for (int t = 0; t < deal->owners; t++) {
        const size_t begin = deal->begin[t];
        deal->runs[t] = (struct run){.keys = deal->keys + begin,
                                     .rows = deal->rows + begin,
                                     .n = deal->begin[t + 1] - begin};
    }
    return HONE_OK;
}

static bool can_deal(const struct hone_index *index, size_t n)
{
    for (int depth = 0; depth < LEAST_DEPTH; depth++)
        if (index->of_depth[depth] != 0)
            return false;
    return thread_count(index, n) > 1;
}

/* While a batch is in progress a new key's row is a number that no table reaches: this and where in
 * its owner's list of new keys it stands. */
#define PROVISIONAL HONE_MAX_ROWS

static hone_status insert_all(struct hone_index *index, struct deal *deal, hone_error *error)
{
    for (int t = 0; t < deal->owners; t++) {
        struct run *const run = &deal->runs[t];
        run->to = (struct hone_insertion){
            .next = PROVISIONAL, .fresh = deal->fresh + deal->begin[t], .reach = HONE_INDEX_REACH};
    }
    for (;;) {
#pragma omp parallel for num_threads(deal->owners) schedule(static, 1)
        for (int t = 0; t < deal->owners; t++)
            advance(index, &deal->runs[t], (char *)index->scratch + (size_t)t * HONE_SEGMENT_SIZE);
        bool finished = true;
        for (int t = 0; t < deal->owners; t++) {
            const struct run *const run = &deal->runs[t];
            if (run->done == run->n)
                continue;
            finished = false;
            const int64_t key = run->keys[run->done];
            const hone_status status =
                run->stuck ? hone_index_make_room(index, place_of(index, key), error)
                           : fail_crowded(error, key);
            if (status != HONE_OK) {
                for (int u = 0; u < deal->owners; u++)
                    undo(index, &deal->runs[u]);
                return status;
            }
        }
        if (finished)
            return HONE_OK;
    }
}

/* Numbers the new keys by first occurrence in the batch. */
static size_t rank_new_keys(struct deal *deal)
{
    const size_t words = deal->n / 64 + 1;
    memset(deal->is_new, 0, words * sizeof *deal->is_new);
    for (int t = 0; t < deal->owners; t++)
        for (size_t i = 0; i < deal->runs[t].to.count; i++) {
            const uint32_t at = deal->position[deal->begin[t] + deal->runs[t].to.fresh[i]];
            deal->is_new[at / 64] |= (uint64_t)1 << at % 64;
        }
    deal->rank[0] = 0;
    for (size_t w = 0; w < words; w++)
        deal->rank[w + 1] = deal->rank[w] + (uint64_t)__builtin_popcountll(deal->is_new[w]);
    return deal->rank[words];
}

static size_t rank_at(const struct deal *deal, uint32_t at)
{
    const uint64_t before = deal->is_new[at / 64] & (((uint64_t)1 << at % 64) - 1);
    return deal->rank[at / 64] + (size_t)__builtin_popcountll(before);
}

/* Replaces provisional rows by final ones. to->count keys of the batch were new
 * before this deal. */
static void settle(const struct hone_index *index, struct deal *deal, int t,
                   const struct hone_insertion *to)
{
    const struct hone_index_view view = hone_index_view_of(index);
    const struct run *const run = &deal->runs[t];
    const uint32_t *const position = deal->position + deal->begin[t];
    int64_t *const keys = deal->keys + deal->begin[t]; /* the new ones move to the front */
    int64_t *const settled = deal->settled + deal->begin[t];
    for (size_t i = 0; i < run->to.count; i++) {
        const uint32_t new_key = run->to.fresh[i];
        keys[i] = keys[new_key];
        settled[i] = (int64_t)hone_insertion_row(to, to->count + rank_at(deal, position[new_key]));
    }
    index->kernels->assign(&view, keys, run->to.count, settled);
    for (size_t i = 0; i < run->n; i++)
        if (run->rows[i] >= (int64_t)PROVISIONAL)
            run->rows[i] = settled[run->rows[i] - (int64_t)PROVISIONAL];
}

/* Tells the caller, whose batch the deal starts in at `first`. Threads take ranges of positions
 * here: if each wrote those that it owns, they would share every cache line. */
static void tell(const struct deal *deal, int p, size_t first, int64_t *rows,
                 const struct hone_insertion *to)
{
    const size_t begin = share(deal->n, p, deal->owners), end = share(deal->n, p + 1, deal->owners);
    size_t rank = to->count + rank_at(deal, (uint32_t)begin);
    for (size_t i = begin; i < end; i++) {
        if (deal->place[i] == NOT_DEALT)
            continue;
        rows[first + i] = deal->rows[deal->place[i]];
        if ((deal->is_new[i / 64] >> i % 64 & 1) != 0)
            to->fresh[rank++] = (uint32_t)(first + i);
    }
}

static bool all_found(const int64_t *rows, size_t n)
{
    int64_t least = 0;
    for (size_t i = 0; i < n; i++)
        least = rows[i] < least ? rows[i] : least;
    return least == 0;
}

/* A part of a batch, small enough for the lines that it touches to be near when rows settle. Keys
 * that are there already need no owner: they are looked up first, unless the last part had few. */
static hone_status insert_part(struct hone_index *index, const int64_t *keys, size_t first,
                               size_t n, int64_t *rows, struct hone_insertion *to,
                               hone_error *error)
{
    struct deal deal;
    const bool look_first = !index->mostly_new;
    if (look_first)
        hone_index_find(index, keys + first, n, rows + first);
    if (look_first && all_found(rows + first, n))
        return HONE_OK;
    hone_status status =
        open_deal(index, &deal, keys + first, look_first ? rows + first : NULL, n, error);
    if (status != HONE_OK || deal.begin[deal.owners] == 0)
        return status;
    status = insert_all(index, &deal, error);
    if (status != HONE_OK)
        return status;
    const size_t added = rank_new_keys(&deal);
#pragma omp parallel for num_threads(deal.owners) schedule(static, 1)
    for (int t = 0; t < deal.owners; t++)
        settle(index, &deal, t, to);
#pragma omp parallel for num_threads(deal.owners) schedule(static, 1)
    for (int p = 0; p < deal.owners; p++)
        tell(&deal, p, first, rows, to);
    to->count += added;
    return HONE_OK;
}

static hone_status insert_shared(struct hone_index *index, const int64_t *keys, size_t n,
                                 int64_t *rows, struct hone_insertion *to, hone_error *error)
{
    const size_t most = (size_t)KEYS_PER_PART * (size_t)index->context->threads;
    const size_t parts = (n + most - 1) / most;
    for (size_t part = 0; part < parts; part++) {
        const size_t first = (size_t)((unsigned __int128)n * part / parts);
        const size_t end = (size_t)((unsigned __int128)n * (part + 1) / parts);
        const hone_status status = insert_part(index, keys, first, end - first, rows, to, error);
        if (status != HONE_OK) {
            const struct run all = {.keys = keys, .to = *to};
            undo(index, &all);
            return status;
        }
    }
    return HONE_OK;
}

hone_status hone_index_insert(struct hone_index *index, const int64_t *keys, size_t n,
                              int64_t *rows, struct hone_insertion *to, hone_error *error)
{
    hone_status status;
    to->count = 0;
    const int owners = thread_count(index, n);
    if (can_deal(index, n) && (!index->mostly_new || owners >= FEWEST_OWNERS)) {
        status = insert_shared(index, keys, n, rows, to, error);
    } else {
        struct run run = {.keys = keys, .rows = rows, .n = n, .to = *to};
        run.to.reach = HONE_INDEX_REACH;
        status = insert_alone(index, &run, error);
        to->count = run.to.count;
    }
    index->mostly_new = to->count > n / 2;
    if (status == HONE_OK)
        index->count += to->count;
    else
        to->count = 0;
    return status;
}

void hone_index_erase(struct hone_index *index, const int64_t *keys, size_t n, int64_t *rows)
{
    struct hone_index_view view = hone_index_view_of(index);
    struct deal deal;
    if (can_deal(index, n) && open_deal(index, &deal, keys, NULL, n, NULL) == HONE_OK) {
#pragma omp parallel for num_threads(deal.owners) schedule(static, 1)
        for (int t = 0; t < deal.owners; t++) {
            struct run *const run = &deal.runs[t];
            index->kernels->erase(&view, run->keys, run->n, run->rows);
            for (size_t i = 0; i < run->n; i++)
                rows[deal.position[deal.begin[t] + i]] = run->rows[i];
        }
    } else {
        index->kernels->erase(&view, keys, n, rows);
    }
    for (size_t i = 0; i < n; i++)
        index->count -= rows[i] >= 0;
}
