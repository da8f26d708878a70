/* SPDX-License-Identifier: Apache-2.0 */
/* One table's part of a snapshot file: checked, then put where it was: the same rows under the same
 * numbers, the same free ones in the same order. */
#include <stdio.h>
#include <string.h>

#include "table/restore_internal.h"

/* The file's arrays of one table. */
struct arrays {
    const json_t *facts;
    size_t rows, gone, free, waiting;
    size_t kept; /* of the free rows that the table has from the files before */
    const int64_t *row, *id, *gone_keys;
    const uint64_t *born, *free_rows, *waiting_row, *waiting_born;
    const uint32_t *counts;
    const uint8_t *sights;
    const uint64_t *sight_lines; /* of an increment; a full snapshot has all counters */
    size_t lines;
    bool increment;
    const char *sums;
    const char *columns[HONE_MAX_COLUMNS];
};

/* A tensor by its full name; `rows` SIZE_MAX takes what there is. */
static hone_status get_named(const struct hone_loaded *loaded, const char *name, hone_dtype dtype,
                             size_t *rows, size_t width, const void **data, hone_error *error)
{
    hone_tensor tensor;
    const int64_t index = hone_file_find(loaded->file, name);
    if (index < 0)
        return hone_fail(error, HONE_ERROR_FORMAT, "'%s' has no \"%s\"", loaded->path, name);
    const hone_status status = hone_file_tensor(loaded->file, index, &tensor, error);
    if (status != HONE_OK)
        return status;
    const bool shaped =
        width == 0 ? tensor.ndim == 1 : tensor.ndim == 2 && tensor.shape[1] == (int64_t)width;
    if (tensor.dtype != dtype || !shaped ||
        (*rows != SIZE_MAX && tensor.shape[0] != (int64_t)*rows))
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "'%s': \"%s\" is %s and has %lld elements; that does not fit the table",
                         loaded->path, name, hone_dtype_name(tensor.dtype),
                         (long long)hone_tensor_numel(&tensor));
    *rows = (size_t)tensor.shape[0];
    *data = tensor.data;
    return HONE_OK;
}

static hone_status get(const struct hone_table *table, const struct hone_loaded *loaded,
                       const char *what, hone_dtype dtype, size_t *rows, size_t width,
                       const void *to, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    const void *data = NULL;
    snprintf(name, sizeof name, "%s@%s", table->name, what);
    const hone_status status = get_named(loaded, name, dtype, rows, width, &data, error);
    memcpy((void *)(uintptr_t)to, &data, sizeof data);
    return status;
}

static hone_status get_columns(const struct hone_table *table, const struct hone_loaded *loaded,
                               struct arrays *a, hone_error *error)
{
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        char name[HONE_SNAPSHOT_NAME_SIZE];
        const void *data = NULL;
        hone_column_file_name(table, column, name, sizeof name);
        const hone_status status = get_named(loaded, name, hone_format_dtype(column->format),
                                             &a->rows, column->count, &data, error);
        if (status != HONE_OK)
            return status;
        a->columns[c] = data;
    }
    return HONE_OK;
}

static hone_status get_arrays(struct hone_table *table, const struct hone_loaded *loaded,
                              struct arrays *a, hone_error *error)
{
    *a = (struct arrays){.rows = SIZE_MAX, .gone = SIZE_MAX, .free = SIZE_MAX, .waiting = SIZE_MAX};
    a->facts = json_object_get(json_object_get(loaded->notes, "tables"), table->name);
    if (a->facts == NULL)
        return hone_fail(error, HONE_ERROR_MISMATCH, "'%s' has no table \"%s\"", loaded->path,
                         table->name);
    hone_status status = hone_table_take_facts(table, a->facts, false, error);
    a->kept = (size_t)hone_json_bits(a->facts, "free_kept");
    if (status == HONE_OK)
        status = get(table, loaded, "row", HONE_I64, &a->rows, 0, &a->row, error);
#define GET(what, dtype, rows, width, to) \
    if (status == HONE_OK)                \
        status = get(table, loaded, what, dtype, rows, width, &a->to, error);
    GET("id", HONE_I64, &a->rows, 0, id)
    GET("born", HONE_U64, &a->rows, 0, born)
    GET("counts", HONE_U32, &a->rows, HONE_ROW_COUNTS, counts)
    GET("gone", HONE_I64, &a->gone, 0, gone_keys)
    GET("free", HONE_U64, &a->free, 0, free_rows)
    GET("waiting_row", HONE_U64, &a->waiting, 0, waiting_row)
    GET("waiting_born", HONE_U64, &a->waiting, 0, waiting_born)
    GET("waiting_sum", HONE_U8, &a->waiting, table->sum_stride, sums)
    a->increment = loaded->increment;
    if (table->counters != NULL && a->increment) {
        a->lines = SIZE_MAX;
        GET("sights_line", HONE_U64, &a->lines, 0, sight_lines)
        GET("sights", HONE_U8, &a->lines, HONE_SIGHT_LINE, sights)
    } else if (table->counters != NULL) {
        size_t counters = (size_t)table->options.admit_counters;
        GET("sights", HONE_U8, &counters, 0, sights)
    }
#undef GET
    return status == HONE_OK ? get_columns(table, loaded, a, error) : status;
}

static hone_status check_range(const struct hone_table *table, const struct hone_loaded *loaded,
                               const void *numbers, size_t n, uint64_t next, hone_error *error)
{
    const uint64_t *const row = numbers;
    for (size_t i = 0; i < n; i++)
        if (row[i] >= next)
            return hone_fail(error, HONE_ERROR_FORMAT, "'%s': table \"%s\" names row %llu of %llu",
                             loaded->path, table->name, (unsigned long long)row[i],
                             (unsigned long long)next);
    return HONE_OK;
}

/* Every row below the next new one is a key's or free, so no more of them are made than the files
 * have entries for. */
static hone_status check_next(const struct hone_table *table, const struct hone_loaded *loaded,
                              const struct arrays *a, uint64_t next, hone_error *error)
{
    const json_int_t count = json_integer_value(json_object_get(a->facts, "count"));
    const size_t most = table->index.count + a->rows;
    if (next < table->next || next > HONE_MAX_ROWS || count < 0 || (uint64_t)count > most ||
        a->kept > table->recycled_count || next != (uint64_t)count + a->kept + a->free)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "'%s': table \"%s\" has %llu rows, of them %lld with keys and %zu free",
                         loaded->path, table->name, (unsigned long long)next, (long long)count,
                         a->kept + a->free);
    if (next > table->row_limit)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "'%s': table \"%s\" has %llu rows; its budget of %llu bytes holds %llu",
                         loaded->path, table->name, (unsigned long long)next,
                         (unsigned long long)table->options.max_bytes,
                         (unsigned long long)table->row_limit);
    return HONE_OK;
}

/* Notes a row in a set of bits; false if it is there already. */
static bool is_new(uint64_t *seen, uint64_t row)
{
    const uint64_t bit = (uint64_t)1 << row % 64;
    const bool fresh = (seen[row / 64] & bit) == 0;
    seen[row / 64] |= bit;
    return fresh;
}

/* No row is listed twice, with a key or as free. */
static hone_status check_distinct(const struct hone_table *table, const struct hone_loaded *loaded,
                                  const struct arrays *a, uint64_t next, hone_error *error)
{
    const size_t size = (size_t)(next / 64 + 1) * sizeof(uint64_t);
    uint64_t *const seen = hone_allocate_zeroed(table->context, size);
    if (seen == NULL)
        return hone_fail_memory(error, size, "restored rows");
    const uint64_t *twice = NULL;
    for (size_t i = 0; twice == NULL && i < a->rows; i++)
        if (!is_new(seen, (uint64_t)a->row[i]))
            twice = (const uint64_t *)&a->row[i];
    for (size_t i = 0; twice == NULL && i < a->kept; i++)
        if (!is_new(seen, table->recycled[i]))
            twice = &table->recycled[i];
    for (size_t i = 0; twice == NULL && i < a->free; i++)
        if (!is_new(seen, a->free_rows[i]))
            twice = &a->free_rows[i];
    hone_release(table->context, seen, size);
    return twice == NULL
               ? HONE_OK
               : hone_fail(error, HONE_ERROR_FORMAT, "'%s': table \"%s\" lists row %llu twice",
                           loaded->path, table->name, (unsigned long long)*twice);
}

/* The rows of the keys that go, as a set of bits; `rows` has room for them. */
static void list_vacated(const struct hone_table *table, const struct arrays *a, int64_t *rows,
                         uint64_t *vacated)
{
    hone_index_find(&table->index, a->gone_keys, a->gone, rows);
    for (size_t i = 0; i < a->gone; i++)
        if (rows[i] >= 0)
            is_new(vacated, (uint64_t)rows[i]);
}

/* Whether row `number` has a key that stays and is not `key` (NULL: none may). */
static bool is_taken(const struct hone_table *table, const uint64_t *vacated, uint64_t number,
                     const int64_t *key)
{
    if (number >= table->next || (vacated[number / 64] >> number % 64 & 1) != 0)
        return false;
    const struct hone_row *const row = hone_table_row(table, number);
    return (row->flags & HONE_ROW_LIVE) != 0 && (key == NULL || row->key != *key);
}

/* No row that a key gets, or that is free, is that of another key that stays. */
static hone_status check_vacated(const struct hone_table *table, const struct hone_loaded *loaded,
                                 const struct arrays *a, hone_error *error)
{
    const size_t bits = (size_t)(table->next / 64 + 1) * sizeof(uint64_t);
    const size_t size = bits + a->gone * sizeof(int64_t);
    uint64_t *const vacated = hone_allocate_zeroed(table->context, size);
    if (vacated == NULL)
        return hone_fail_memory(error, size, "removed keys");
    list_vacated(table, a, (int64_t *)(void *)((char *)vacated + bits), vacated);
    uint64_t taken = UINT64_MAX;
    for (size_t i = 0; taken == UINT64_MAX && i < a->rows; i++)
        if (is_taken(table, vacated, (uint64_t)a->row[i], &a->id[i]))
            taken = (uint64_t)a->row[i];
    for (size_t i = 0; taken == UINT64_MAX && i < a->free; i++)
        if (is_taken(table, vacated, a->free_rows[i], NULL))
            taken = a->free_rows[i];
    hone_release(table->context, vacated, size);
    return taken == UINT64_MAX
               ? HONE_OK
               : hone_fail(error, HONE_ERROR_FORMAT,
                           "'%s': table \"%s\" takes row %llu from key %lld, which stays",
                           loaded->path, table->name, (unsigned long long)taken,
                           (long long)hone_table_row(table, taken)->key);
}

static hone_status check_lines(const struct hone_table *table, const struct hone_loaded *loaded,
                               const struct arrays *a, hone_error *error)
{
    for (size_t i = 0; i < a->lines; i++)
        if (a->sight_lines[i] >= hone_sight_lines(table))
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "'%s': table \"%s\" names line %llu of %zu lines of sights",
                             loaded->path, table->name, (unsigned long long)a->sight_lines[i],
                             hone_sight_lines(table));
    return HONE_OK;
}

hone_status hone_table_check_loaded(struct hone_table *table, const struct hone_loaded *loaded,
                                    hone_error *error)
{
    struct arrays a;
    hone_status status = get_arrays(table, loaded, &a, error);
    if (status != HONE_OK)
        return status;
    const uint64_t next = hone_json_bits(a.facts, "next");
    status = check_next(table, loaded, &a, next, error);
    if (status == HONE_OK)
        status = check_range(table, loaded, a.row, a.rows, next, error);
    if (status == HONE_OK)
        status = check_range(table, loaded, a.free_rows, a.free, next, error);
    if (status == HONE_OK)
        status = check_range(table, loaded, a.waiting_row, a.waiting, next, error);
    if (status == HONE_OK)
        status = check_lines(table, loaded, &a, error);
    if (status == HONE_OK)
        status = check_vacated(table, loaded, &a, error);
    return status == HONE_OK ? check_distinct(table, loaded, &a, next, error) : status;
}

/* ---- applying -------------------------------------------------------------------------------- */

static hone_status remove_gone(struct hone_table *table, const struct arrays *a, hone_error *error)
{
    const size_t size = a->gone * sizeof(int64_t);
    int64_t *const rows = hone_allocate(table->context, size);
    if (rows == NULL)
        return hone_fail_memory(error, size, "removed keys");
    hone_index_erase(&table->index, a->gone_keys, a->gone, rows);
    hone_release(table->context, rows, size);
    return HONE_OK;
}

/* Puts the keys that are not there yet at their rows; those that are must be there already. */
static hone_status place_keys(struct hone_table *table, const struct hone_loaded *loaded,
                              const struct arrays *a, int64_t *rows, uint64_t *targets,
                              uint32_t *fresh, hone_error *error)
{
    hone_index_find(&table->index, a->id, a->rows, rows);
    size_t absent = 0;
    for (size_t i = 0; i < a->rows; i++)
        absent += rows[i] < 0;
    size_t left = absent; /* the list is taken from its end */
    for (size_t i = 0; i < a->rows; i++)
        if (rows[i] < 0)
            targets[--left] = (uint64_t)a->row[i];
    struct hone_insertion to = {
        .recycled = targets, .recycled_count = absent, .next = HONE_MAX_ROWS - 1, .fresh = fresh};
    const hone_status status = hone_index_insert(&table->index, a->id, a->rows, rows, &to, error);
    if (status != HONE_OK)
        return status;
    for (size_t i = 0; i < a->rows; i++)
        if (rows[i] != a->row[i])
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "'%s': table \"%s\": key %lld is at rows %lld and %lld", loaded->path,
                             table->name, (long long)a->id[i], (long long)rows[i],
                             (long long)a->row[i]);
    return HONE_OK;
}

static void fill_rows(struct hone_table *table, const struct arrays *a)
{
    const int threads = hone_table_threads(table, a->rows);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < a->rows; i++) {
        struct hone_row *const row = hone_table_row(table, (uint64_t)a->row[i]);
        memset(row, 0, table->stride);
        *row = (struct hone_row){.key = a->id[i], .born = a->born[i], .flags = HONE_ROW_LIVE};
        hone_row_set_counts(row, a->counts + i * HONE_ROW_COUNTS);
        for (int c = 0; c < table->column_count; c++) {
            const struct hone_column *const column = &table->columns[c];
            memcpy(hone_row_column(row, column), a->columns[c] + i * column->size, column->size);
        }
    }
}

static void fill_sights(struct hone_table *table, const struct arrays *a)
{
    if (!a->increment)
        memcpy(table->counters, a->sights, (size_t)table->options.admit_counters);
    for (size_t i = 0; i < a->lines; i++)
        memcpy(table->counters + a->sight_lines[i] * HONE_SIGHT_LINE,
               a->sights + i * HONE_SIGHT_LINE, HONE_SIGHT_LINE);
    hone_clear_counted(table);
}

static hone_status fill_lists(struct hone_table *table, const struct arrays *a, hone_error *error)
{
    table->recycled_count = a->kept;
    hone_status status = hone_table_reserve_removals(table, a->free, error);
    if (status == HONE_OK)
        status = hone_table_reserve_pending(table, a->waiting, error);
    if (status != HONE_OK)
        return status;
    for (size_t i = 0; i < a->free; i++) {
        table->recycled[a->kept + i] = a->free_rows[i];
        hone_table_row(table, a->free_rows[i])->flags = 0;
    }
    table->recycled_count = table->recycled_kept = a->kept + a->free;
    for (size_t i = 0; i < a->waiting; i++) {
        table->pending[i] = (struct hone_pending){a->waiting_row[i], a->waiting_born[i]};
        hone_table_row(table, a->waiting_row[i])->pending = (uint32_t)i;
    }
    table->pending_count = a->waiting;
    if (a->waiting > 0)
        memcpy(table->sums, a->sums, a->waiting * table->sum_stride);
    if (table->counters != NULL)
        fill_sights(table, a);
    return HONE_OK;
}

hone_status hone_table_apply_loaded(struct hone_table *table, const struct hone_loaded *loaded,
                                    hone_error *error)
{
    struct arrays a;
    hone_status status = get_arrays(table, loaded, &a, error);
    if (status == HONE_OK)
        status = remove_gone(table, &a, error);
    if (status == HONE_OK)
        status = hone_table_reserve_blocks(table, hone_json_bits(a.facts, "next"), error);
    if (status != HONE_OK)
        return status;
    const size_t size = a.rows * (2 * sizeof(int64_t) + sizeof(uint32_t));
    int64_t *const rows = hone_allocate(table->context, size);
    if (rows == NULL)
        return hone_fail_memory(error, size, "restored keys");
    uint64_t *const targets = (uint64_t *)(void *)(rows + a.rows);
    status =
        place_keys(table, loaded, &a, rows, targets, (uint32_t *)(void *)(targets + a.rows), error);
    hone_release(table->context, rows, size);
    if (status != HONE_OK)
        return status;
    fill_rows(table, &a);
    status = fill_lists(table, &a, error);
    if (status == HONE_OK)
        status = hone_table_take_facts(table, a.facts, true, error);
    const json_int_t count = json_integer_value(json_object_get(a.facts, "count"));
    if (status == HONE_OK && (json_int_t)table->index.count != count)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "'%s': table \"%s\" has %zu keys after it; it should have %lld",
                         loaded->path, table->name, table->index.count, (long long)count);
    return status;
}

static void restore_settings(struct hone_table *table)
{
    const struct hone_table_settings *const kept = &table->kept;
    if (kept->spec == NULL)
        return;
    hone_spec_free(table->spec);
    table->spec = kept->spec;
    table->clock = kept->clock;
    table->global_step = kept->global_step;
    table->accumulate = kept->accumulate;
    table->accumulate_mean = kept->accumulate_mean;
    table->loss_scale = kept->loss_scale;
    table->kept = (struct hone_table_settings){.spec = NULL};
}

void hone_table_forget_settings(struct hone_table *table)
{
    hone_spec_free(table->kept.spec);
    table->kept = (struct hone_table_settings){.spec = NULL};
}

void hone_table_clear(struct hone_table *table)
{
    restore_settings(table);
    hone_index_clear(&table->index);
    table->next = table->recycled_count = table->recycled_kept = table->pending_count = 0;
    table->births = table->tick = table->step = table->calls = 0;
    table->hand = table->removals = 0;
    table->power1 = table->power2 = 1;
    table->registered = table->failed = false;
    table->version++;
    table->tracking = false; /* an increment would not tell of all this */
    table->dirty_count = table->gone_count = 0;
    if (table->counters != NULL)
        memset(table->counters, 0, (size_t)table->options.admit_counters);
    hone_clear_counted(table);
}
