/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by key in safetensors: exported in any number of shards and imported into any other number,
 * by a hash of the key that no seed enters. */
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

/* ---- export ----------------------------------------------------------------------------------- */

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

struct exported {
    char names[1 + HONE_MAX_COLUMNS][HONE_SNAPSHOT_NAME_SIZE];
    int64_t shapes[1 + HONE_MAX_COLUMNS][2];
    void *data[HONE_MAX_COLUMNS];
    size_t size[HONE_MAX_COLUMNS];
    hone_file_entry entries[1 + HONE_MAX_COLUMNS];
};

static hone_status export_columns(const hone_table *table, const int64_t *rows, size_t n,
                                  struct exported *out, hone_error *error)
{
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        out->size[c] = n * column->size;
        out->data[c] = hone_allocate(table->context, out->size[c]);
        if (out->data[c] == NULL)
            return hone_fail_memory(error, out->size[c], "exported rows");
        for (size_t i = 0; i < n; i++)
            memcpy((char *)out->data[c] + i * column->size,
                   hone_row_column(hone_table_row(table, (uint64_t)rows[i]), column), column->size);
        hone_column_file_name(table, column, out->names[1 + c], sizeof out->names[0]);
        out->shapes[1 + c][0] = (int64_t)n;
        out->shapes[1 + c][1] = (int64_t)column->count;
        out->entries[1 + c] = (hone_file_entry){
            out->names[1 + c], hone_tensor_view(out->data[c], hone_format_dtype(column->format), 2,
                                                out->shapes[1 + c])};
    }
    return HONE_OK;
}

hone_status hone_table_export(const hone_table *table, const char *path, int64_t shard,
                              int64_t shards, hone_error *error)
{
    hone_status status = check_shard(shard, shards, error);
    if (status != HONE_OK)
        return status;
    const hone_context *const context = table->context;
    const size_t n = list_shard(table, shard, shards, NULL, NULL);
    const size_t size = 2 * n * sizeof(int64_t);
    int64_t *const rows = hone_allocate(context, size);
    struct exported *const out = hone_allocate_zeroed(context, sizeof *out);
    if (rows == NULL || out == NULL) {
        status = hone_fail_memory(error, size, "exported keys");
    } else {
        int64_t *const keys = rows + n;
        list_shard(table, shard, shards, rows, keys);
        snprintf(out->names[0], sizeof out->names[0], "%s@id", table->name);
        out->shapes[0][0] = (int64_t)n;
        out->entries[0] =
            (hone_file_entry){out->names[0], hone_tensor_view(keys, HONE_I64, 1, out->shapes[0])};
        status = export_columns(table, rows, n, out, error);
    }
    if (status == HONE_OK)
        status =
            hone_file_write(context, path, out->entries, 1 + table->column_count, NULL, 0, error);
    for (int c = 0; out != NULL && c < table->column_count; c++)
        hone_release(context, out->data[c], out->size[c]);
    hone_release(context, out, sizeof *out);
    hone_release(context, rows, size);
    return status;
}

/* ---- import ----------------------------------------------------------------------------------- */

struct imported {
    hone_tensor id;
    hone_tensor columns[HONE_MAX_COLUMNS];
    bool has[HONE_MAX_COLUMNS];
};

static hone_status find_columns(const hone_table *table, const hone_file *file, const char *path,
                                struct imported *in, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    snprintf(name, sizeof name, "%s@id", table->name);
    int64_t index = hone_file_find(file, name);
    hone_status status =
        index < 0 ? HONE_ERROR_MISMATCH : hone_file_tensor(file, index, &in->id, error);
    if (index < 0 || (status == HONE_OK && (in->id.dtype != HONE_I64 || in->id.ndim != 1)))
        return hone_fail(error, HONE_ERROR_MISMATCH, "'%s' has no list of keys \"%s\"", path, name);
    for (int c = 0; status == HONE_OK && c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        enum hone_format format;
        hone_column_file_name(table, column, name, sizeof name);
        index = hone_file_find(file, name);
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
    hone_status status = hone_table_reserve_dirty(table, (size_t)n * HONE_MAX_COLUMNS, error);
    if (status == HONE_OK)
        status = hone_table_insert(table, keys, count, made, NULL, error);
    for (int64_t i = 0, at = 0; status == HONE_OK && i < n; i++)
        rows[i] = hone_shard_of(ids[i], shards) == shard ? made[at++] : -1;
    for (int c = 0; status == HONE_OK && c < table->column_count; c++)
        if (in->has[c])
            status = hone_table_scatter(table, rows, n, c == 0 ? NULL : table->columns[c].name,
                                        &in->columns[c], error);
    hone_release(table->context, keys, 3 * size);
    return status;
}

hone_status hone_table_import(hone_table *table, const char *path, int64_t shard, int64_t shards,
                              hone_error *error)
{
    hone_status status = check_shard(shard, shards, error);
    if (status != HONE_OK)
        return status;
    hone_file *file = NULL;
    struct imported in = {0};
    status = hone_file_open(&file, table->context, path, error);
    if (status == HONE_OK)
        status = find_columns(table, file, path, &in, error);
    if (status == HONE_OK)
        status = take_rows(table, &in, shard, shards, error);
    hone_file_close(file);
    return status;
}
