/* SPDX-License-Identifier: Apache-2.0 */
/* Another rule for a table that may have rows: records of the new form are made beside the old ones
 * and take over their values; the index and all lists, which speak of row numbers, stay. */
#include <omp.h>
#include <string.h>

#include "table/table_internal.h"

static hone_status check(const struct hone_table *table, const hone_table_options *options,
                         hone_error *error)
{
    if (options == NULL || options->struct_size < sizeof *options)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "table \"%s\": the options are missing, or struct_size is not what "
                         "hone_table_options_init sets (%zu)",
                         table->name, sizeof *options);
    if (table->registered)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "table \"%s\": gradients wait for their step; the rule cannot change "
                         "before it",
                         table->name);
    if (table->copied)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "table \"%s\": a snapshot is at work; the rule cannot change before it is "
                         "freed",
                         table->name);
    return HONE_OK;
}

/* Rows keep their numbers, and the index its memory, so what counts is the most that there were. */
static hone_status check_budget(const struct hone_table *table, const struct hone_table *made,
                                hone_error *error)
{
    const unsigned long long budget = table->options.max_bytes;
    if (table->next > made->row_limit)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "table \"%s\" has %llu rows, %zu of them with keys; by the new rule the "
                         "budget of %llu bytes holds %llu",
                         table->name, (unsigned long long)table->next, table->index.count, budget,
                         (unsigned long long)made->row_limit);
    if (table->index.segments > made->index.most_segments)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "table \"%s\": its index takes %zu bytes; by the new rule the rows leave "
                         "it %llu of the budget of %llu",
                         table->name, hone_index_bytes(&table->index),
                         budget - (unsigned long long)made->row_limit * made->stride, budget);
    return HONE_OK;
}

/* An empty table of the new rule with room for the rows of `table`. */
static hone_status make_room(hone_table **made, const struct hone_table *table,
                             const hone_table_options *wanted, hone_error *error)
{
    hone_table_options options = table->options;
    options.rule = wanted->rule;
    options.spec = wanted->spec;
    options.bias = wanted->bias;
    options.decay = wanted->decay;
    hone_status status = hone_table_create(made, table->context, table->name, &options, error);
    if (status == HONE_OK)
        status = check_budget(table, *made, error);
    return status == HONE_OK ? hone_table_reserve_blocks(*made, table->next, error) : status;
}

static void move_row(const struct hone_table *from, struct hone_table *to, uint64_t number,
                     float *scratch)
{
    struct hone_row *const old = hone_table_row(from, number);
    struct hone_row *const row = hone_table_row(to, number);
    const struct hone_column *const column = hone_table_column(from, NULL);
    if ((old->flags & HONE_ROW_LIVE) == 0) {
        memset(row, 0, sizeof *row);
        return;
    }
    if (from->decay == HONE_DECAY_CATCH_UP)
        hone_row_catch_up(from, old);          /* nothing will know of the old steps */
    hone_row_fill(to, row, old->key, scratch); /* for the states' first values */
    row->born = old->born;
    row->seen = old->seen;
    row->time = old->time;
    row->frequency = old->frequency;
    memcpy(hone_row_column(row, hone_table_column(to, NULL)), hone_row_column(old, column),
           column->size);
}

static void move_rows(const struct hone_table *from, struct hone_table *to)
{
    const int threads = hone_table_threads(to, from->next);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (uint64_t i = 0; i < from->next; i++)
        move_row(from, to, i,
                 (void *)(to->scratch + (size_t)omp_get_thread_num() * to->scratch_stride));
}

/* Exchanges what depends on the rule or lies in records. */
static void exchange(struct hone_table *a, struct hone_table *b)
{
    const struct hone_table old = *a;
#define EXCHANGE(field) (a->field = b->field, b->field = old.field)
    EXCHANGE(options);
    EXCHANGE(spec);
    EXCHANGE(preset);
    EXCHANGE(kind);
    EXCHANGE(decay);
    EXCHANGE(bias);
    EXCHANGE(kernel_rule);
    EXCHANGE(kernel);
    EXCHANGE(stage);
    EXCHANGE(column_count);
    EXCHANGE(stride);
    EXCHANGE(block_bits);
    EXCHANGE(blocks);
    EXCHANGE(block_count);
    EXCHANGE(block_capacity);
    EXCHANGE(row_limit);
#undef EXCHANGE
    a->index.most_segments = b->index.most_segments;
    memcpy(a->columns, b->columns, sizeof a->columns);
}

hone_status hone_table_change_rule(hone_table *table, const hone_table_options *options,
                                   hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_table *made = NULL;
    hone_status status = check(table, options, error);
    if (status == HONE_OK)
        status = make_room(&made, table, options, error);
    if (status != HONE_OK) {
        hone_table_free(made);
        return status;
    }
    move_rows(table, made);
    exchange(table, made);
    hone_table_free(made);
    table->step = table->calls = 0;
    table->global_step = 1;
    table->power1 = table->power2 = 1;
    table->pending_count = 0;
    table->tracking = false;
    table->dirty_count = table->gone_count = 0;
    table->version++;
    return HONE_OK;
}
