/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by key in safetensors: exported in any number of shards and imported into any other number,
 * by a hash of the key that no seed enters. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "table/snapshot_internal.h"

int64_t hone_shard_of(int64_t key, int64_t shards)
{
    return shards < 1 ? 0
                      : (int64_t)hone_multiply_high(hone_mix((uint64_t)key + 0x9e3779b97f4a7c15u),
                                                    (uint64_t)shards);
}

static hone_status check_shard(int64_t shard, int64_t shards, hone_error *error)
{
    if (shards < 1 || shard < 0 || shard >= shards)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "shard %lld of %lld; shards are numbered from 0 and there is at least one",
                         (long long)shard, (long long)shards);
    return HONE_OK;
}

/* ---- export ---------------------------------------------------------------------------------- */

static size_t list_shard(const hone_table *table, int64_t shard, int64_t shards, int64_t *rows,
                         int64_t *keys)
{
    size_t count = 0;
    for (uint64_t i = 0; i < table->next; i++) {
        const struct hone_row *const row = hone_table_row(table, i);
        if ((row->flags & HONE_ROW_LIVE) == 0 || hone_shard_of(row->key, shards) != shard)
            continue;
        if (rows != NULL) {
            rows[count] = (int64_t)i;
            keys[count] = row->key;
        }
        count++;
    }
    return count;
}

/* The table's own counters that the rows' counts and bias corrections rest on. */
#define COUNTERS 6
struct counters {
    int64_t step;
    double beta1, beta2; /* the running powers */
    uint64_t global_step, tick, clock;
};

static const struct {
    const char *name;
    hone_dtype dtype;
    size_t offset;
    bool state; /* its name has the preset's prefix, as RecIS has it */
} counter_list[COUNTERS] = {
    {"step", HONE_I64, offsetof(struct counters, step), true},
    {"beta1", HONE_F64, offsetof(struct counters, beta1), true},
    {"beta2", HONE_F64, offsetof(struct counters, beta2), true},
    {"global_step", HONE_U64, offsetof(struct counters, global_step), false},
    {"tick", HONE_U64, offsetof(struct counters, tick), false},
    {"clock", HONE_U64, offsetof(struct counters, clock), false},
};

static struct counters counters_of(const hone_table *table)
{
    return (struct counters){.step = (int64_t)table->step,
                             .beta1 = table->power1,
                             .beta2 = table->power2,
                             .global_step = table->global_step,
                             .tick = table->tick,
                             .clock = table->clock};
}

static void counter_name(const hone_table *table, int which, char *name)
{
    const bool prefixed = counter_list[which].state && table->preset != NULL;
    snprintf(name, HONE_SNAPSHOT_NAME_SIZE, "%s@%s%s", table->name,
             prefixed ? table->preset->prefix : "", counter_list[which].name);
}

/* Keys, counts of rows, columns, counters. */
#define MOST_ENTRIES (2 + HONE_MAX_COLUMNS + COUNTERS)

struct exported {
    char names[MOST_ENTRIES][HONE_SNAPSHOT_NAME_SIZE];
    int64_t shapes[MOST_ENTRIES][2];
    hone_file_entry entries[MOST_ENTRIES];
    int count;
    struct counters counters;
    void *data; /* keys, columns and counts, one after the other */
    size_t size;
};

/* Takes the next entry, of [n] or, with width > 0, [n, width] elements. Its name is there. */
static void add_entry(struct exported *out, hone_dtype dtype, size_t n, size_t width, void *data)
{
    const int at = out->count++;
    out->shapes[at][0] = (int64_t)n;
    out->shapes[at][1] = (int64_t)width;
    out->entries[at] = (hone_file_entry){
        out->names[at], hone_tensor_view(data, dtype, width > 0 ? 2 : 1, out->shapes[at])};
}

/* Bytes of a row in the file. */
static size_t exported_size(const hone_table *table)
{
    size_t size = sizeof(int64_t) + HONE_ROW_COUNTS * sizeof(uint32_t);
    for (int c = 0; c < table->column_count; c++)
        size += table->columns[c].size;
    return size;
}

static void copy_column(const hone_table *table, const struct hone_column *column,
                        const int64_t *rows, size_t n, char *to)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * column->size,
               hone_row_column(hone_table_row(table, (uint64_t)rows[i]), column), column->size);
}

/* Keys first, then columns of 8, 4 and 2 bytes an element and the counts: each array's size is a
 * multiple of its element's, and so is where it begins. */
static char *add_columns(const hone_table *table, const int64_t *rows, size_t n, size_t bytes,
                         struct exported *out, char *to)
{
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        if (hone_format_size(column->format) != bytes)
            continue;
        copy_column(table, column, rows, n, to);
        hone_column_file_name(table, column, out->names[out->count], sizeof out->names[0]);
        add_entry(out, hone_format_dtype(column->format), n, column->count, to);
        to += n * column->size;
    }
    return to;
}

static void fill_exported(const hone_table *table, const int64_t *rows, size_t n,
                          struct exported *out)
{
    char *to = (char *)out->data + n * sizeof(int64_t);
    snprintf(out->names[out->count], sizeof out->names[0], "%s@id", table->name);
    add_entry(out, HONE_I64, n, 0, out->data);
    to = add_columns(table, rows, n, sizeof(double), out, to);
    uint32_t *const counts = (void *)to;
    for (size_t i = 0; i < n; i++)
        hone_row_counts(hone_table_row(table, (uint64_t)rows[i]), counts + i * HONE_ROW_COUNTS);
    snprintf(out->names[out->count], sizeof out->names[0], "%s@counts", table->name);
    add_entry(out, HONE_U32, n, HONE_ROW_COUNTS, counts);
    to += n * HONE_ROW_COUNTS * sizeof *counts;
    to = add_columns(table, rows, n, sizeof(float), out, to);
    add_columns(table, rows, n, sizeof(uint16_t), out, to);
    out->counters = counters_of(table);
    for (int k = 0; k < COUNTERS; k++) {
        counter_name(table, k, out->names[out->count]);
        add_entry(out, counter_list[k].dtype, 1, 0,
                  (char *)&out->counters + counter_list[k].offset);
    }
}

hone_status hone_table_export(const hone_table *table, const char *path, int64_t shard,
                              int64_t shards, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_status status = check_shard(shard, shards, error);
    if (status != HONE_OK)
        return status;
    const hone_context *const context = table->context;
    const size_t n = list_shard(table, shard, shards, NULL, NULL), list = n * sizeof(int64_t);
    int64_t *const rows = hone_allocate(context, list);
    struct exported *const out = hone_allocate_zeroed(context, sizeof *out);
    const size_t size = n * exported_size(table);
    void *const data = hone_allocate(context, size);
    if (rows == NULL || out == NULL || data == NULL) {
        status = hone_fail_memory(error, size, "exported rows");
    } else {
        out->data = data;
        list_shard(table, shard, shards, rows, data);
        fill_exported(table, rows, n, out);
        status = hone_file_write(context, path, out->entries, out->count, NULL, 0, error);
    }
    hone_release(context, data, size);
    hone_release(context, out, sizeof *out);
    hone_release(context, rows, list);
    return status;
}

/* ---- import ---------------------------------------------------------------------------------- */

struct imported {
    hone_tensor id, counts;
    hone_tensor columns[HONE_MAX_COLUMNS];
    bool has[HONE_MAX_COLUMNS], has_counts, has_counters;
    struct counters counters;
};

static hone_status find_id(const hone_table *table, const hone_file *file, const char *path,
                           hone_tensor *id, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    snprintf(name, sizeof name, "%s@id", table->name);
    const int64_t index = hone_file_find(file, name);
    const hone_status status =
        index < 0 ? HONE_ERROR_MISMATCH : hone_file_tensor(file, index, id, error);
    if (index < 0 || (status == HONE_OK && (id->dtype != HONE_I64 || id->ndim != 1)))
        return hone_fail(error, HONE_ERROR_MISMATCH, "'%s' has no list of keys \"%s\"", path, name);
    return status;
}

static hone_status find_columns(const hone_table *table, const hone_file *file, const char *path,
                                struct imported *in, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    hone_status status = HONE_OK;
    for (int c = 0; status == HONE_OK && c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        enum hone_format format;
        hone_column_file_name(table, column, name, sizeof name);
        const int64_t index = hone_file_find(file, name);
        in->has[c] = index >= 0;
        if (index < 0)
            continue;
        status = hone_file_tensor(file, index, &in->columns[c], error);
        if (status == HONE_OK &&
            hone_table_check_values(&in->columns[c], in->id.shape[0], column->count, name, &format,
                                    error) != HONE_OK)
            status = HONE_ERROR_MISMATCH;
    }
    if (status == HONE_ERROR_MISMATCH && error != NULL)
        error->status = status;
    if (status == HONE_OK && !in->has[0])
        return hone_fail(error, HONE_ERROR_MISMATCH, "'%s' has no \"%s@embedding\"", path,
                         table->name);
    return status;
}

/* An array that may be missing; `has` tells. */
static hone_status find_array(const hone_file *file, const char *path, const char *name,
                              hone_dtype dtype, int64_t numel, hone_tensor *tensor, bool *has,
                              hone_error *error)
{
    const int64_t index = hone_file_find(file, name);
    *has = index >= 0;
    const hone_status status = index < 0 ? HONE_OK : hone_file_tensor(file, index, tensor, error);
    if (status != HONE_OK || index < 0 ||
        (tensor->dtype == dtype && hone_tensor_numel(tensor) == numel))
        return status;
    return hone_fail(error, HONE_ERROR_MISMATCH,
                     "'%s': \"%s\" is %s and has %lld elements; it must be %s and have %lld", path,
                     name, hone_dtype_name(tensor->dtype), (long long)hone_tensor_numel(tensor),
                     hone_dtype_name(dtype), (long long)numel);
}

static hone_status find_counters(const hone_table *table, const hone_file *file, const char *path,
                                 struct imported *in, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    snprintf(name, sizeof name, "%s@counts", table->name);
    hone_status status = find_array(file, path, name, HONE_U32, in->id.shape[0] * HONE_ROW_COUNTS,
                                    &in->counts, &in->has_counts, error);
    in->has_counters = true;
    for (int k = 0; status == HONE_OK && k < COUNTERS; k++) {
        hone_tensor tensor;
        bool has;
        counter_name(table, k, name);
        status = find_array(file, path, name, counter_list[k].dtype, 1, &tensor, &has, error);
        in->has_counters &= has;
        if (status == HONE_OK && has) /* all of them have 8 bytes */
            memcpy((char *)&in->counters + counter_list[k].offset, tensor.data, sizeof(uint64_t));
    }
    const struct counters *const c = &in->counters;
    if (status != HONE_OK || !in->has_counters ||
        (c->step >= 0 && c->beta1 >= 0 && c->beta1 <= 1 && c->beta2 >= 0 && c->beta2 <= 1 &&
         c->global_step > 0))
        return status;
    return hone_fail(error, HONE_ERROR_FORMAT,
                     "'%s': table \"%s\" is at step %lld, next %llu, with running products %g and "
                     "%g; no table is",
                     path, table->name, (long long)c->step, (unsigned long long)c->global_step,
                     c->beta1, c->beta2);
}

/* Whether the rows' counts are told by the table's counters: those are the file's, or become so. */
static bool share_counters(hone_table *table, const struct imported *in, bool fresh)
{
    if (!in->has_counters)
        return false;
    const struct counters own = counters_of(table);
    if (!fresh || own.step != 0 || own.tick != 0)
        return memcmp(&own, &in->counters, sizeof own) == 0;
    table->step = (uint64_t)in->counters.step;
    table->power1 = in->counters.beta1;
    table->power2 = in->counters.beta2;
    table->global_step = in->counters.global_step;
    table->tick = in->counters.tick;
    table->clock = in->counters.clock;
    table->version++;
    return true;
}

static void take_counts(hone_table *table, const struct imported *in, const int64_t *rows,
                        bool shared)
{
    const uint32_t *counts = in->counts.data;
    for (int64_t i = 0; i < in->id.shape[0]; i++, counts += HONE_ROW_COUNTS) {
        if (rows[i] < 0)
            continue;
        struct hone_row *const row = hone_table_row(table, (uint64_t)rows[i]);
        const uint32_t seen = row->seen, time = row->time, updated = row->updated;
        hone_row_set_counts(row, counts);
        if (!shared) {
            row->seen = seen;
            row->time = time;
            row->updated = updated;
        }
    }
}

static hone_status take_rows(hone_table *table, const struct imported *in, int64_t shard,
                             int64_t shards, hone_error *error)
{
    const int64_t n = in->id.shape[0], *const ids = in->id.data;
    const size_t size = (size_t)n * sizeof(int64_t);
    int64_t *const keys = hone_allocate(table->context, 3 * size);
    if (keys == NULL)
        return hone_fail_memory(error, 3 * size, "imported keys");
    int64_t *const made = keys + n, *const rows = made + n;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (hone_shard_of(ids[i], shards) == shard)
            keys[count++] = ids[i];
    /* For the insertion and, so that they cannot fail, the scatters, which list no row again. */
    hone_status status = hone_table_reserve_dirty(table, 2 * (size_t)n, error);
    const bool fresh = table->next == 0;
    if (status == HONE_OK)
        status = hone_table_insert(table, keys, count, made, NULL, error);
    for (int64_t i = 0, at = 0; status == HONE_OK && i < n; i++)
        rows[i] = hone_shard_of(ids[i], shards) == shard ? made[at++] : -1;
    for (int c = 0; status == HONE_OK && c < table->column_count; c++)
        if (in->has[c])
            status = hone_table_scatter(table, rows, n, c == 0 ? NULL : table->columns[c].name,
                                        &in->columns[c], error);
    if (status == HONE_OK && in->has_counts)
        take_counts(table, in, rows, share_counters(table, in, fresh));
    hone_release(table->context, keys, 3 * size);
    return status;
}

hone_status hone_table_import(hone_table *table, const char *path, int64_t shard, int64_t shards,
                              hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_status status = check_shard(shard, shards, error);
    if (status != HONE_OK)
        return status;
    hone_file *file = NULL;
    struct imported in = {0};
    status = hone_file_open(&file, table->context, path, error);
    if (status == HONE_OK)
        status = find_id(table, file, path, &in.id, error);
    if (status == HONE_OK)
        status = find_columns(table, file, path, &in, error);
    if (status == HONE_OK)
        status = find_counters(table, file, path, &in, error);
    if (status == HONE_OK)
        status = take_rows(table, &in, shard, shards, error);
    hone_file_close(file);
    return status;
}
