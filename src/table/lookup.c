/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up a batch: the rows of its keys, which of them are the same, and their values alone or
 * pooled. What is found is remembered, so that learning probes nothing again. */
#include <omp.h>
#include <string.h>

#include "table/table_internal.h"

#define AHEAD 24                /* records requested before they are used */
#define POSITIONS_AT_A_TIME 512 /* of a batch, whose records stay near while they are visited */

/* ---- memory -----------------------------------------------------------------------------------
 */

hone_status hone_lookup_create(hone_lookup **lookup, const hone_table *table, hone_error *error)
{
    if (lookup == NULL || table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         lookup == NULL ? "lookup" : "table");
    hone_lookup *const made = hone_allocate_zeroed(table->context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a lookup");
    made->table = table;
    *lookup = made;
    return HONE_OK;
}

/* Room for n positions; one more for where the last row's gradients end. */
static size_t lay_out(hone_lookup *lookup, char *base, size_t n)
{
    size_t used = 0;
#define PLACE(field)                                                  \
    do {                                                              \
        if (base != NULL)                                             \
            lookup->field = (void *)(base + used);                    \
        used += ((n + 1) * sizeof *lookup->field + 63) & ~(size_t)63; \
    } while (0)
    PLACE(keys);
    PLACE(rows);
    PLACE(first);
    PLACE(times);
    PLACE(heads);
    PLACE(begin);
    PLACE(source);
    PLACE(weight);
    PLACE(bag);
    PLACE(factor);
#undef PLACE
    return used;
}

hone_status hone_lookup_reserve(struct hone_lookup *lookup, size_t n, hone_error *error)
{
    if (lookup->capacity > 0 && n <= lookup->capacity)
        return HONE_OK;
    const hone_context *const context = lookup->table->context;
    const size_t capacity = n < 1024 ? 1024 : n + n / 4;
    const size_t size = lay_out(lookup, NULL, capacity);
    char *const memory = hone_allocate(context, size);
    if (memory == NULL)
        return hone_fail_memory(error, size, "a lookup");
    hone_release(context, lookup->keys, lay_out(lookup, NULL, lookup->capacity));
    lay_out(lookup, memory, capacity);
    lookup->capacity = capacity;
    lookup->n = lookup->head_count = 0;
    return HONE_OK;
}

void hone_lookup_free(hone_lookup *lookup)
{
    if (lookup == NULL)
        return;
    const hone_context *const context = lookup->table->context;
    hone_release(context, lookup->keys, lay_out(lookup, NULL, lookup->capacity));
    hone_release(context, lookup, sizeof *lookup);
}

int64_t hone_lookup_missing(const hone_lookup *lookup)
{
    return lookup->missing;
}

int64_t hone_lookup_inserted(const hone_lookup *lookup)
{
    return lookup->inserted;
}

int64_t hone_lookup_unique(const hone_lookup *lookup)
{
    return (int64_t)lookup->head_count;
}

const int64_t *hone_lookup_rows(const hone_lookup *lookup)
{
    return lookup->rows;
}

/* ---- which positions share a row, and their values --------------------------------------------
 */

/* Rows are dealt to threads by number, so that each record has one owner; where there is no row, by
 * position. */
static bool owns(const struct hone_lookup *lookup, size_t i, uint32_t thread, uint32_t threads)
{
    const int64_t number = lookup->rows[i] < 0 ? (int64_t)i : lookup->rows[i];
    return hone_row_owner((uint64_t)number, threads) == thread;
}

static void see(const struct hone_table *table, struct hone_row *row)
{
    row->seen = (uint32_t)table->tick;
    row->time = (uint32_t)table->clock;
    row->frequency += row->frequency != UINT32_MAX;
}

/* Multiplies the values, rounding at random under noise that no step of the row has. */
static void scale_at_random(const struct hone_table *table, struct hone_row *row,
                            const struct hone_column *values, double factor)
{
    const struct hone_support_kernels *const support = table->context->cpu->support;
    void *const data = hone_row_column(row, values);
    float wide[HONE_TABLE_MOST_WIDTH];
    support->widen_f32[values->format](wide, data, values->count);
    support->scale[HONE_FORMAT_F32](wide, values->count, factor);
    support->narrow_random_f32[values->format](data, wide, values->count,
                                               hone_row_noise(table, row, ~table->step), 0);
}

void hone_row_catch_up(const struct hone_table *table, struct hone_row *row)
{
    const uint32_t missed = (uint32_t)table->step - row->updated;
    if (missed == 0)
        return;
    const struct hone_column *const values = hone_table_column(table, NULL);
    const double keep = hone_table_missed_decay(table, missed);
    if (table->stage.extra == HONE_EXTRA_STOCHASTIC)
        scale_at_random(table, row, values, keep);
    else
        table->context->cpu->support->scale[values->format](hone_row_column(row, values),
                                                            values->count, keep);
    row->updated = (uint32_t)table->step;
}

/* Notes whether position i is of the same row as an earlier one. A row's mark says where it was met
 * first; it is believed only if that position is of the same row. (Then it is the first of this
 * batch: the first one to be met set the mark to itself.) There is no branch: which rows repeat is
 * no pattern that a processor could predict. */
static void note(struct hone_lookup *lookup, uint32_t i, struct hone_row *row)
{
    const uint32_t met = row->mark < i ? row->mark : i;
    const uint32_t again = lookup->rows[met] == lookup->rows[i];
    const uint32_t first = i - (i - met) * again;
    row->mark = lookup->first[i] = first;
    lookup->times[first]++;
}

/* One pass over a batch: repeated rows, sights and, if wanted, values. */
struct visit {
    const struct hone_table *table;
    struct hone_lookup *lookup;
    const struct hone_row_copy *copy; /* NULL: no values */
};

/* Positions of the batch whose rows a thread owns, and their records: NULL where there
 * is no row. */
struct part {
    uint32_t position[POSITIONS_AT_A_TIME];
    void *row[POSITIONS_AT_A_TIME];
    size_t count;
};

/* The thread's positions from `i` on; returns how far it got. They are listed, for which ones they
 * are is no pattern that a processor could predict. */
static size_t list_part(const struct visit *v, uint32_t thread, uint32_t threads, size_t i,
                        struct part *part)
{
    const struct hone_lookup *const lookup = v->lookup;
    size_t count = 0;
    for (; i < lookup->n && count < POSITIONS_AT_A_TIME; i++) {
        const int64_t number = lookup->rows[i];
        part->position[count] = (uint32_t)i;
        part->row[count] = number < 0 ? NULL : hone_table_row(v->table, (uint64_t)number);
        count += threads == 1 || owns(lookup, i, thread, threads);
    }
    part->count = count;
    return i;
}

static void catch_up_part(const struct visit *v, const struct part *part)
{
    for (size_t k = 0; k < part->count; k++)
        if (part->row[k] != NULL)
            hone_row_catch_up(v->table, part->row[k]);
}

static void note_part(const struct visit *v, const struct part *part)
{
    for (size_t k = 0; k < part->count; k++) {
        struct hone_row *const row = part->row[k];
        if (k + AHEAD < part->count && part->row[k + AHEAD] != NULL)
            hone_request(part->row[k + AHEAD], sizeof *row);
        if (row == NULL)
            continue;
        note(v->lookup, part->position[k], row);
        if (v->lookup->mode == HONE_LOOKUP_TRAIN)
            see(v->table, row);
    }
}

/* Copying, which asks for the records, is a loop of its own: it would wait for memory less well if
 * each turn had more to do. */
static void visit_share(const struct visit *v, uint32_t thread, uint32_t threads)
{
    const bool late =
        v->table->decay == HONE_DECAY_CATCH_UP && v->lookup->mode == HONE_LOOKUP_TRAIN;
    struct part part;
    for (size_t next = 0; next < v->lookup->n;) {
        next = list_part(v, thread, threads, next, &part);
        if (late)
            catch_up_part(v, &part);
        if (v->copy != NULL)
            hone_row_copy_out(v->copy, v->table, part.row, v->copy->column->offset, part.position,
                              part.count);
        note_part(v, &part);
    }
}

/* Lists each row's gradients one after the other. */
static void list_gradients(struct hone_lookup *lookup)
{
    uint32_t listed = 0;
    size_t count = 0;
    for (size_t i = 0; i < lookup->n; i++) {
        const uint32_t times = lookup->times[i];
        lookup->heads[count] = (uint32_t)i;
        lookup->begin[count] = lookup->times[i] = listed;
        count += times > 0;
        listed += times;
    }
    lookup->begin[count] = listed;
    lookup->head_count = count;
    for (size_t i = 0; i < lookup->n; i++) {
        if (lookup->rows[i] < 0)
            continue;
        const uint32_t at = lookup->times[lookup->first[i]]++;
        lookup->source[at] = lookup->bags ? lookup->bag[i] : (uint32_t)i;
        if (lookup->bags)
            lookup->weight[at] = lookup->factor[i];
    }
}

static void visit(struct hone_table *table, struct hone_lookup *lookup,
                  const struct hone_row_copy *copy)
{
    const struct visit v = {table, lookup, copy};
    if (lookup->n > 0)
        memset(lookup->times, 0, lookup->n * sizeof *lookup->times);
    const int threads = hone_table_threads(table, lookup->n / 4);
#pragma omp parallel num_threads(threads)
    visit_share(&v, (uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads());
    list_gradients(lookup);
}

static void remember(const struct hone_table *table, struct hone_lookup *lookup)
{
    lookup->births = table->births;
    lookup->removals = table->removals;
    lookup->missing = 0;
    for (size_t i = 0; i < lookup->n; i++) {
        lookup->missing += lookup->rows[i] < 0;
        if (lookup->rows[i] < 0)
            lookup->rows[i] = -1;
    }
}

hone_status hone_lookup_find(struct hone_table *table, struct hone_lookup *lookup,
                             const int64_t *keys, size_t n, hone_error *error)
{
    const hone_status status = hone_lookup_reserve(lookup, n, error);
    if (status != HONE_OK)
        return status;
    lookup->n = n;
    lookup->bags = false;
    lookup->mode = HONE_LOOKUP_READ_ONLY; /* no sights are counted */
    lookup->inserted = 0;
    if (n > 0)
        memcpy(lookup->keys, keys, n * sizeof *keys);
    hone_index_find(&table->index, keys, n, lookup->rows);
    remember(table, lookup);
    visit(table, lookup, NULL);
    lookup->mode = HONE_LOOKUP_TRAIN; /* it may be learnt from */
    return HONE_OK;
}

/* ---- training ---------------------------------------------------------------------------------
 */

/* Makes rows for those absent keys that admission has let in. */
static hone_status insert_admitted(struct hone_table *table, struct hone_lookup *lookup,
                                   size_t *inserted, hone_error *error)
{
    hone_status status = hone_table_make_room(table, lookup->keys, lookup->n, lookup->rows, error);
    if (status != HONE_OK)
        return status;
    size_t admitted = 0;
    for (size_t i = 0; i < lookup->n; i++)
        if (lookup->rows[i] == -1)
            lookup->heads[admitted++] = (uint32_t)i; /* borrowed until visit() */
    if (admitted == 0)
        return HONE_OK;
    const size_t size = admitted * sizeof(int64_t);
    int64_t *const keys = hone_allocate(table->context, 2 * size);
    if (keys == NULL)
        return hone_fail_memory(error, 2 * size, "admitted keys");
    int64_t *const rows = keys + admitted;
    for (size_t i = 0; i < admitted; i++)
        keys[i] = lookup->keys[lookup->heads[i]];
    status = hone_table_make_rows(table, keys, admitted, rows, inserted, error);
    for (size_t i = 0; status == HONE_OK && i < admitted; i++)
        lookup->rows[lookup->heads[i]] = rows[i];
    hone_release(table->context, keys, 2 * size);
    return status;
}

/* Finds keys, counts the sights of absent ones, and makes rows for those that have earned one. Even
 * where all do: what is there needs no line of the index for writing, nor those beside it. */
static hone_status admit(struct hone_table *table, struct hone_lookup *lookup, size_t *inserted,
                         hone_error *error)
{
    uint32_t *const counted = lookup->times; /* borrowed until visit() */
    hone_index_find(&table->index, lookup->keys, lookup->n, lookup->rows);
    hone_table_admit(table, lookup->keys, lookup->n, lookup->rows, counted);
    const hone_status status = insert_admitted(table, lookup, inserted, error);
    if (status != HONE_OK)
        hone_table_forget_sights(table, lookup->keys, lookup->n, counted);
    return status;
}

/* `copy`, if not NULL, says where the values go. */
static hone_status look_up(struct hone_table *table, struct hone_lookup *lookup,
                           hone_lookup_mode mode, const struct hone_row_copy *copy,
                           hone_error *error)
{
    const size_t n = lookup->n;
    size_t inserted = 0;
    hone_status status = HONE_OK;
    lookup->mode = mode;
    if (mode == HONE_LOOKUP_READ_ONLY) {
        hone_index_find(&table->index, lookup->keys, n, lookup->rows);
        remember(table, lookup);
        lookup->inserted = 0;
        lookup->head_count = 0;
        if (copy != NULL)
            hone_row_copy_all(copy, table, lookup->rows, n);
        return HONE_OK;
    }
    status = hone_table_reserve_dirty(table, n, error);
    table->tick++;
    if (status == HONE_OK)
        status = admit(table, lookup, &inserted, error);
    if (status != HONE_OK) {
        hone_table_undo_eviction(table);
        table->tick--;
        return status;
    }
    lookup->inserted = (int64_t)inserted;
    remember(table, lookup);
    visit(table, lookup, copy);
    hone_table_mark_dirty(table, lookup->rows, n);
    return HONE_OK;
}

static hone_status check_lookup(const hone_table *table, const hone_lookup *lookup,
                                const int64_t *keys, int64_t n, hone_lookup_mode mode,
                                hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (lookup == NULL || (n > 0 && keys == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         lookup == NULL ? "lookup" : "keys");
    if (lookup->table != table)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "the lookup was made for table \"%s\", not \"%s\"", lookup->table->name,
                         table->name);
    if (n < 0 || (uint64_t)n >= HONE_INDEX_BATCH)
        return hone_fail(error, HONE_ERROR_RANGE, "a batch of %lld keys; it must be 0 to 2^32 - 2",
                         (long long)n);
    if (mode != HONE_LOOKUP_TRAIN && mode != HONE_LOOKUP_READ_ONLY)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the lookup mode is %d; it must be 0 or 1",
                         (int)mode);
    return HONE_OK;
}

static hone_status start(hone_lookup *lookup, const int64_t *keys, int64_t n, bool bags,
                         hone_error *error)
{
    const hone_status status = hone_lookup_reserve(lookup, (size_t)n, error);
    if (status != HONE_OK)
        return status;
    lookup->n = (size_t)n;
    lookup->bags = bags;
    if (n > 0)
        memcpy(lookup->keys, keys, (size_t)n * sizeof *keys);
    return HONE_OK;
}

/* What a lookup held before a call that fails must not be learnt from by mistake. */
static hone_status finish(const hone_table *table, hone_lookup *lookup, hone_status status)
{
    if (status == HONE_OK || lookup == NULL || lookup->table != table)
        return status;
    lookup->n = lookup->head_count = 0;
    lookup->missing = lookup->inserted = 0;
    lookup->bags = false;
    return status;
}

hone_status hone_table_lookup(hone_table *table, hone_lookup *lookup, const int64_t *keys,
                              int64_t n, hone_lookup_mode mode, const hone_tensor *out,
                              hone_error *error)
{
    struct hone_row_copy copy = {.column = NULL};
    hone_status status = check_lookup(table, lookup, keys, n, mode, error);
    if (status == HONE_OK && out != NULL) {
        copy.column = hone_table_column(table, NULL);
        copy.to = out->data;
        status = hone_table_check_values(out, n, copy.column->count, "out", &copy.format, error);
    }
    if (status == HONE_OK)
        status = start(lookup, keys, n, false, error);
    if (status == HONE_OK)
        status = look_up(table, lookup, mode, out == NULL ? NULL : &copy, error);
    return finish(table, lookup, status);
}

/* ---- bags -------------------------------------------------------------------------------------
 */

static hone_status check_bags(const int64_t *offsets, int64_t bags, int64_t n, hone_pooling pooling,
                              hone_error *error)
{
    if (bags < 0 || offsets == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%lld bags, offsets at %s", (long long)bags,
                         offsets == NULL ? "NULL" : "an address");
    if (pooling != HONE_POOLING_SUM && pooling != HONE_POOLING_MEAN)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the pooling is %d; it must be 0 or 1",
                         (int)pooling);
    if (offsets[0] != 0 || offsets[bags] != n)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "offsets run from %lld to %lld; they must run from 0 to %lld",
                         (long long)offsets[0], (long long)offsets[bags], (long long)n);
    for (int64_t b = 0; b < bags; b++)
        if (offsets[b + 1] < offsets[b])
            return hone_fail(error, HONE_ERROR_RANGE,
                             "offset %lld is %lld, below the one before it, %lld", (long long)b + 1,
                             (long long)offsets[b + 1], (long long)offsets[b]);
    if ((uint64_t)bags > HONE_INDEX_BATCH)
        return hone_fail(error, HONE_ERROR_RANGE, "%lld bags; there may be 2^32 - 1",
                         (long long)bags);
    return HONE_OK;
}

static hone_status check_weights(const hone_tensor *weights, int64_t n, enum hone_format *format,
                                 hone_error *error)
{
    int reals;
    const hone_status status = hone_tensor_check(weights, "weights", error);
    if (status != HONE_OK)
        return status;
    if (!hone_dtype_format(weights->dtype, format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE, "weights is %s; it must be F32, F64, BF16 or F16",
                         hone_dtype_name(weights->dtype));
    if (weights->ndim != 1 || weights->shape[0] != n)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "weights has %d dimensions and %lld elements; it must be [%lld]",
                         weights->ndim, (long long)hone_tensor_numel(weights), (long long)n);
    return HONE_OK;
}

/* In the type that the rows are summed in, rounded at each operation: what a key's row, and its
 * gradient, is multiplied by. */
static double factor_of(bool wide, double weight, int64_t length, hone_pooling pooling)
{
    if (pooling == HONE_POOLING_SUM)
        return wide ? weight : (double)(float)weight;
    return wide ? weight * (1 / (double)length) : (double)((float)weight * (1 / (float)length));
}

static void set_bags(hone_lookup *lookup, const int64_t *offsets, int64_t bags,
                     const hone_tensor *weights, enum hone_format format, hone_pooling pooling)
{
    const struct hone_table *const table = lookup->table;
    const bool wide = table->options.dtype == HONE_F64;
    lookup->bag_count = (size_t)bags;
    if (weights != NULL)
        table->context->cpu->support->widen_f64[format](lookup->factor, weights->data, lookup->n);
    for (int64_t b = 0; b < bags; b++)
        for (int64_t i = offsets[b]; i < offsets[b + 1]; i++) {
            lookup->bag[i] = (uint32_t)b;
            lookup->factor[i] = factor_of(wide, weights == NULL ? 1 : lookup->factor[i],
                                          offsets[b + 1] - offsets[b], pooling);
        }
}

static void pool_bag(const struct hone_table *table, const struct hone_lookup *lookup, int64_t from,
                     int64_t to, char *out, enum hone_format format, double *sum)
{
    const struct hone_column *const values = hone_table_column(table, NULL);
    const struct hone_support_kernels *const support = table->context->cpu->support;
    const bool wide = values->format == HONE_FORMAT_F64;
    memset(sum, 0, values->count * (wide ? sizeof(double) : sizeof(float)));
    for (int64_t i = from; i < to; i++) {
        if (lookup->rows[i] < 0)
            continue;
        const void *const row =
            hone_row_column(hone_table_row(table, (uint64_t)lookup->rows[i]), values);
        if (wide)
            support->accumulate_f64[values->format](sum, row, values->count, lookup->factor[i]);
        else
            support->accumulate_f32[values->format]((float *)(void *)sum, row, values->count,
                                                    lookup->factor[i]);
    }
    if (wide)
        support->narrow_f64[format](out, sum, values->count);
    else if (format == HONE_FORMAT_F64)
        for (size_t i = 0; i < values->count; i++)
            ((double *)(void *)out)[i] = (double)((float *)(void *)sum)[i];
    else
        support->narrow_f32[format](out, (float *)(void *)sum, values->count);
}

hone_status hone_table_lookup_bags(hone_table *table, hone_lookup *lookup, const int64_t *keys,
                                   int64_t n, const int64_t *offsets, int64_t bags,
                                   const hone_tensor *weights, hone_pooling pooling,
                                   hone_lookup_mode mode, const hone_tensor *out, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    enum hone_format format = HONE_FORMAT_F32, weight_format = HONE_FORMAT_F32;
    const size_t width = (size_t)table->options.width;
    hone_status status = check_lookup(table, lookup, keys, n, mode, error);
    if (status == HONE_OK)
        status = check_bags(offsets, bags, n, pooling, error);
    if (status == HONE_OK && weights != NULL)
        status = check_weights(weights, n, &weight_format, error);
    if (status == HONE_OK && out != NULL)
        status = hone_table_check_values(out, bags, width, "out", &format, error);
    if (status == HONE_OK)
        status = start(lookup, keys, n, true, error);
    if (status == HONE_OK) {
        set_bags(lookup, offsets, bags, weights, weight_format, pooling);
        status = look_up(table, lookup, mode, NULL, error);
    }
    if (status != HONE_OK || out == NULL)
        return finish(table, lookup, status);
    const int threads = hone_table_threads(table, (size_t)n);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t b = 0; b < bags; b++) {
        double sum[HONE_TABLE_MOST_WIDTH];
        pool_bag(table, lookup, offsets[b], offsets[b + 1],
                 (char *)out->data + (size_t)b * width * hone_format_size(format), format, sum);
    }
    return HONE_OK;
}
