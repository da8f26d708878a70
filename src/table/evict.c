/* SPDX-License-Identifier: Apache-2.0 */
/* Eviction: by a policy, a few rows at a time, and by need, when a byte budget is full. Both walk
 * the rows with a hand that goes on where it stopped, so no call looks at the whole table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table/table_internal.h"

#define SAMPLE 64 /* rows compared with each other when room is needed */
#define SHARE 8   /* of which so many go at most */

static void tell(const struct hone_table *table, uint64_t number)
{
    const struct hone_row *const row = hone_table_row(table, number);
    if (table->options.evicted != NULL)
        table->options.evicted(row->key, hone_row_column(row, hone_table_column(table, NULL)),
                               table->options.evicted_user);
}

static void take_out(struct hone_table *table, uint64_t number)
{
    int64_t key = hone_table_row(table, number)->key, was;
    hone_index_erase(&table->index, &key, 1, &was);
    hone_table_release_row(table, number);
}

static uint64_t advance_hand(struct hone_table *table)
{
    const uint64_t at = table->hand < table->next ? table->hand : 0;
    table->hand = at + 1;
    return at;
}

/* ---- the budget -------------------------------------------------------------------------------
 */

struct candidate {
    uint64_t row;
    uint32_t rank; /* the smallest go first */
};

static int by_rank(const void *a, const void *b)
{
    const struct candidate *const x = a, *const y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Removes up to `most` rows of the next sample. Rows of the present batch stay. */
static size_t evict_sample(struct hone_table *table, size_t most)
{
    struct candidate sample[SAMPLE];
    size_t count = 0;
    for (uint64_t looked = 0; count < SAMPLE && looked < table->next; looked++) {
        const uint64_t number = advance_hand(table);
        const struct hone_row *const row = hone_table_row(table, number);
        if ((row->flags & (HONE_ROW_LIVE | HONE_ROW_NEEDED)) != HONE_ROW_LIVE)
            continue;
        const uint32_t age = (uint32_t)table->tick - row->seen;
        sample[count++] = (struct candidate){number, table->options.evict_rare ? row->frequency
                                                                               : UINT32_MAX - age};
    }
    qsort(sample, count, sizeof *sample, by_rank);
    const size_t share = count < SHARE ? count : SHARE;
    const size_t gone = most < share ? most : share;
    for (size_t i = 0; i < gone; i++)
        take_out(table, sample[i].row);
    return gone;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* How many different keys of the batch are to get a row. */
static hone_status count_absent(const struct hone_table *table, const int64_t *keys, size_t n,
                                const int64_t *rows, size_t *absent, hone_error *error)
{
    const size_t size = n * sizeof *keys;
    int64_t *const list = hone_allocate(table->context, size);
    if (list == NULL)
        return hone_fail_memory(error, size, "absent keys of a batch");
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i] == -1)
            list[count++] = keys[i];
    qsort(list, count, sizeof *list, by_value);
    *absent = 0;
    for (size_t i = 0; i < count; i++)
        *absent += i == 0 || list[i] != list[i - 1];
    hone_release(table->context, list, size);
    return HONE_OK;
}

/* Protects the batch's rows from eviction, and counts them. */
static size_t protect(struct hone_table *table, const int64_t *rows, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i] >= 0) {
            struct hone_row *const row = hone_table_row(table, (uint64_t)rows[i]);
            count += (row->flags & HONE_ROW_NEEDED) == 0;
            row->flags |= HONE_ROW_NEEDED;
        }
    return count;
}

static void unprotect(struct hone_table *table, const int64_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i] >= 0)
            hone_table_row(table, (uint64_t)rows[i])->flags &= ~HONE_ROW_NEEDED;
}

static bool fits_surely(const struct hone_table *table, size_t n)
{
    return table->options.max_bytes == 0 || table->index.count + n <= table->row_limit;
}

hone_status hone_table_make_room(struct hone_table *table, const int64_t *keys, size_t n,
                                 const int64_t *rows, hone_error *error)
{
    if (fits_surely(table, n))
        return HONE_OK;
    const uint64_t limit = table->row_limit;
    size_t absent = 0;
    hone_status status = count_absent(table, keys, n, rows, &absent, error);
    if (status != HONE_OK || table->index.count + absent <= limit)
        return status;
    const size_t excess = (size_t)(table->index.count + absent - limit);
    status = hone_table_reserve_removals(table, excess, error);
    if (status != HONE_OK)
        return status;
    const uint64_t hand = table->hand;
    const size_t present = protect(table, rows, n);
    for (size_t left = present + absent > limit ? 0 : excess; left > 0;)
        left -= evict_sample(table, left);
    unprotect(table, rows, n);
    if (present + absent > limit)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "table \"%s\": a batch of %zu different keys; the budget of %llu bytes "
                         "holds %llu rows",
                         table->name, present + absent,
                         (unsigned long long)table->options.max_bytes, (unsigned long long)limit);
    table->leaving = excess;
    table->leaving_hand = hand;
    return HONE_OK;
}

void hone_table_end_eviction(struct hone_table *table)
{
    const size_t first = table->recycled_count - table->leaving;
    for (size_t i = 0; i < table->leaving; i++)
        tell(table, table->recycled[first + i]);
    table->leaving = 0;
}

void hone_table_undo_eviction(struct hone_table *table)
{
    if (table->leaving == 0)
        return;
    const size_t first = table->recycled_count - table->leaving;
    for (size_t i = 0; i < table->leaving; i++) {
        const uint64_t number = table->recycled[first + i];
        struct hone_row *const row = hone_table_row(table, number);
        hone_index_put_back(&table->index, row->key, number);
        row->flags |= HONE_ROW_LIVE;
    }
    table->recycled_count = first;
    table->removals -= table->leaving;
    table->gone_count -= table->tracking ? table->leaving : 0;
    table->hand = table->leaving_hand;
    table->leaving = 0;
}

hone_status hone_table_make_budget(struct hone_table *table, const int64_t *keys, size_t n,
                                   int64_t *rows, hone_error *error)
{
    if (fits_surely(table, n))
        return HONE_OK;
    hone_index_find(&table->index, keys, n, rows);
    return hone_table_make_room(table, keys, n, rows, error);
}

/* ---- by policy --------------------------------------------------------------------------------
 */

static double norm_of(const struct hone_table *table, const struct hone_row *row)
{
    const struct hone_column *const values = hone_table_column(table, NULL);
    const struct hone_support_kernels *const support = table->context->cpu->support;
    double wide[HONE_TABLE_MOST_WIDTH];
    support->widen_f64[values->format](wide, hone_row_column(row, values), values->count);
    return sqrt(table->context->cpu->rows->mean_square_f64(wide, values->count, 1) *
                (double)values->count);
}

static bool falls(const struct hone_table *table, const struct hone_row *row,
                  const hone_eviction *policy)
{
    if (policy->unseen_lookups > 0 && (uint32_t)table->tick - row->seen >= policy->unseen_lookups)
        return true;
    if (policy->unseen_time > 0 && (uint32_t)table->clock - row->time >= policy->unseen_time)
        return true;
    if (row->frequency < policy->least_frequency)
        return true;
    return policy->least_norm > 0 && norm_of(table, row) < policy->least_norm;
}

hone_status hone_table_evict(hone_table *table, const hone_eviction *policy, int64_t most_rows,
                             int64_t *evicted, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (policy == NULL || most_rows < 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "the policy is %s and %lld rows are to be looked at",
                         policy == NULL ? "NULL" : "given", (long long)most_rows);
    if (isnan(policy->least_norm) || policy->least_norm < 0)
        return hone_fail(error, HONE_ERROR_RANGE, "least_norm is %g; it must be at least 0",
                         policy->least_norm);
    const uint64_t looks = (uint64_t)most_rows < table->next ? (uint64_t)most_rows : table->next;
    const hone_status status = hone_table_reserve_removals(table, (size_t)looks, error);
    if (status != HONE_OK)
        return status;
    int64_t gone = 0;
    for (uint64_t i = 0; i < looks; i++) {
        const uint64_t number = advance_hand(table);
        const struct hone_row *const row = hone_table_row(table, number);
        if ((row->flags & HONE_ROW_LIVE) == 0 || !falls(table, row, policy))
            continue;
        tell(table, number);
        take_out(table, number);
        gone++;
    }
    if (evicted != NULL)
        *evicted = gone;
    return HONE_OK;
}

void hone_table_set_clock(hone_table *table, uint64_t now)
{
    table->clock = now;
}
