/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a snapshot: a copy of rows, lists and counters, the only part for which training stops,
 * and what becomes of the lists of changes when the copy is written or thrown away. */
#include <stdio.h>
#include <string.h>

#include "table/snapshot_internal.h"

#define AHEAD 12 /* records requested before they are copied */

/* ---- parts ----------------------------------------------------------------------------------- */

/* A new part of [rows] or, with width > 0, [rows, width] elements. */
static hone_status add_part(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                            const char *name, hone_dtype dtype, size_t rows, size_t width,
                            void **data, hone_error *error)
{
    struct hone_part *const part = &copy->parts[copy->part_count];
    *part = (struct hone_part){.dtype = dtype, .ndim = width > 0 ? 2 : 1};
    part->shape[0] = (int64_t)rows;
    part->shape[1] = (int64_t)width;
    part->size = rows * (width > 0 ? width : 1) * hone_dtype_size(dtype);
    part->name = hone_copy_string(snapshot->context, name);
    part->data = hone_allocate(snapshot->context, part->size);
    copy->part_count++;
    if (part->name == NULL || part->data == NULL)
        return hone_fail_memory(error, part->size, "a snapshot");
    *data = part->data;
    return HONE_OK;
}

static hone_status add_named(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                             const char *what, hone_dtype dtype, size_t rows, size_t width,
                             void **data, hone_error *error)
{
    char name[HONE_SNAPSHOT_NAME_SIZE];
    snprintf(name, sizeof name, "%s@%s", copy->table->name, what);
    return add_part(snapshot, copy, name, dtype, rows, width, data, error);
}

/* Row `i` of those that are looked through for a copy. */
static uint64_t candidate(const struct hone_table *table, bool full, uint64_t i)
{
    return full ? i : table->dirty[i];
}

/* The copied rows' numbers: all live ones, or those of the list of changes. */
static hone_status list_rows(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                             int64_t **list, hone_error *error)
{
    const struct hone_table *const table = copy->table;
    const bool full = snapshot->kind != HONE_SNAPSHOT_INCREMENT;
    const uint64_t all = full ? table->next : table->dirty_count;
    const size_t most = full ? table->index.count : table->dirty_count;
    void *data = NULL;
    const hone_status status = add_named(snapshot, copy, "row", HONE_I64, most, 0, &data, error);
    if (status != HONE_OK)
        return status;
    *list = data;
    for (uint64_t i = 0; i < all; i++) {
        if (i + AHEAD < all)
            hone_request(hone_table_row(table, candidate(table, full, i + AHEAD)),
                         sizeof(struct hone_row));
        const uint64_t row = candidate(table, full, i);
        if ((hone_table_row(table, row)->flags & HONE_ROW_LIVE) != 0)
            (*list)[copy->rows++] = (int64_t)row;
    }
    copy->parts[0].shape[0] = (int64_t)copy->rows; /* of an increment, some rows may be gone */
    return HONE_OK;
}

/* Where the copied rows go. */
struct copied_rows {
    int64_t *ids;
    uint64_t *born;
    uint32_t *counts;
    char *columns[HONE_MAX_COLUMNS];
};

static hone_status add_headers(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                               struct copied_rows *to, hone_error *error)
{
    void *ids = NULL, *born = NULL, *counts = NULL;
    hone_status status = add_named(snapshot, copy, "id", HONE_I64, copy->rows, 0, &ids, error);
    if (status == HONE_OK)
        status = add_named(snapshot, copy, "born", HONE_U64, copy->rows, 0, &born, error);
    if (status == HONE_OK)
        status = add_named(snapshot, copy, "counts", HONE_U32, copy->rows, HONE_ROW_COUNTS, &counts,
                           error);
    *to = (struct copied_rows){.ids = ids, .born = born, .counts = counts};
    return status;
}

static hone_status add_columns(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                               struct copied_rows *to, hone_error *error)
{
    const struct hone_table *const table = copy->table;
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        char name[HONE_SNAPSHOT_NAME_SIZE];
        void *data = NULL;
        hone_column_file_name(table, column, name, sizeof name);
        const hone_status status = add_part(snapshot, copy, name, hone_format_dtype(column->format),
                                            copy->rows, column->count, &data, error);
        if (status != HONE_OK)
            return status;
        to->columns[c] = data;
    }
    return HONE_OK;
}

/* Row by row, so that each record is read once. */
static void copy_records(const struct hone_table *table, const int64_t *list, size_t rows,
                         const struct copied_rows *to)
{
    const int threads = hone_table_threads(table, rows);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < rows; i++) {
        if (i + AHEAD < rows)
            hone_request(hone_table_row(table, (uint64_t)list[i + AHEAD]), table->stride);
        const struct hone_row *const row = hone_table_row(table, (uint64_t)list[i]);
        to->ids[i] = row->key;
        to->born[i] = row->born;
        hone_row_counts(row, to->counts + i * HONE_ROW_COUNTS);
        for (int c = 0; c < table->column_count; c++) {
            const struct hone_column *const column = &table->columns[c];
            memcpy(to->columns[c] + i * column->size, hone_row_column(row, column), column->size);
        }
    }
}

static hone_status copy_rows(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                             hone_error *error)
{
    int64_t *list = NULL;
    struct copied_rows to;
    hone_status status = list_rows(snapshot, copy, &list, error);
    if (status == HONE_OK)
        status = add_headers(snapshot, copy, &to, error);
    if (status == HONE_OK)
        status = add_columns(snapshot, copy, &to, error);
    if (status == HONE_OK)
        copy_records(copy->table, list, copy->rows, &to);
    return status;
}

static hone_status copy_array(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                              const char *what, hone_dtype dtype, const void *from, size_t count,
                              hone_error *error)
{
    void *data = NULL;
    const hone_status status = add_named(snapshot, copy, what, dtype, count, 0, &data, error);
    if (status == HONE_OK && count > 0)
        memcpy(data, from, count * hone_dtype_size(dtype));
    return status;
}

static hone_status copy_waiting(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                                hone_error *error)
{
    const struct hone_table *const table = copy->table;
    const size_t n = table->pending_count;
    void *rows = NULL, *born = NULL, *sums = NULL;
    hone_status status = add_named(snapshot, copy, "waiting_row", HONE_U64, n, 0, &rows, error);
    if (status == HONE_OK)
        status = add_named(snapshot, copy, "waiting_born", HONE_U64, n, 0, &born, error);
    if (status == HONE_OK)
        status =
            add_named(snapshot, copy, "waiting_sum", HONE_U8, n, table->sum_stride, &sums, error);
    for (size_t i = 0; status == HONE_OK && i < n; i++) {
        ((uint64_t *)rows)[i] = table->pending[i].row;
        ((uint64_t *)born)[i] = table->pending[i].born;
    }
    if (status == HONE_OK && n > 0)
        memcpy(sums, table->sums, n * table->sum_stride);
    return status;
}

/* Free rows are taken from the end of their list and put there: an increment has the end that
 * may be another. */
static hone_status copy_free(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                             hone_error *error)
{
    const struct hone_table *const table = copy->table;
    const uint64_t *from = table->recycled;
    copy->kept = snapshot->kind == HONE_SNAPSHOT_INCREMENT ? table->recycled_kept : 0;
    if (copy->kept > 0)
        from += copy->kept;
    return copy_array(snapshot, copy, "free", HONE_U64, from, table->recycled_count - copy->kept,
                      error);
}

/* Of an increment those lines of counters that have moved. */
static hone_status copy_sights(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                               hone_error *error)
{
    const struct hone_table *const table = copy->table;
    if (snapshot->kind != HONE_SNAPSHOT_INCREMENT)
        return copy_array(snapshot, copy, "sights", HONE_U8, table->counters,
                          table->options.admit_counters, error);
    const size_t n = hone_counted_lines(table);
    void *lines = NULL, *counters = NULL;
    hone_status status = add_named(snapshot, copy, "sights_line", HONE_U64, n, 0, &lines, error);
    if (status == HONE_OK)
        status = add_named(snapshot, copy, "sights", HONE_U8, n, HONE_SIGHT_LINE, &counters, error);
    if (status == HONE_OK)
        hone_list_counted(table, lines, counters);
    return status;
}

static hone_status describe(struct hone_table_copy *copy, hone_error *error)
{
    const hone_status status = hone_table_facts(copy->table, &copy->facts, error);
    if (status == HONE_OK &&
        json_object_set_new(copy->facts, "free_kept", hone_json_of_bits(copy->kept)) != 0)
        return hone_fail_memory(error, sizeof *copy, "a snapshot's metadata");
    return status;
}

static hone_status copy_table(const struct hone_snapshot *snapshot, struct hone_table_copy *copy,
                              hone_error *error)
{
    const struct hone_table *const table = copy->table;
    /* of a full one for the case that it is never written */
    copy->gone = snapshot->kind == HONE_SNAPSHOT_COPY ? 0 : table->gone_count;
    hone_status status = copy_rows(snapshot, copy, error);
    if (status == HONE_OK)
        status = copy_array(snapshot, copy, "gone", HONE_I64, table->gone, copy->gone, error);
    if (status == HONE_OK)
        status = copy_free(snapshot, copy, error);
    if (status == HONE_OK && table->counters != NULL)
        status = copy_sights(snapshot, copy, error);
    if (status == HONE_OK)
        status = copy_waiting(snapshot, copy, error);
    return status == HONE_OK ? describe(copy, error) : status;
}

/* ---- taking and freeing ---------------------------------------------------------------------- */

static hone_status check_tables(hone_table *const *tables, int64_t count, hone_snapshot_kind kind,
                                hone_error *error)
{
    if (tables == NULL || count < 1)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a snapshot of %lld tables; at least 1",
                         (long long)count);
    for (int64_t i = 0; i < count; i++) {
        const struct hone_table *const table = tables[i];
        if (table == NULL)
            return hone_fail(error, HONE_ERROR_ARGUMENT, "table %lld of the snapshot is NULL",
                             (long long)i);
        for (int64_t k = 0; k < i; k++)
            if (strcmp(table->name, tables[k]->name) == 0)
                return hone_fail(error, HONE_ERROR_NAME, "two tables are called \"%s\"",
                                 table->name);
        if (table->copied && kind != HONE_SNAPSHOT_COPY)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "table \"%s\": the snapshot before this one has not been freed",
                             table->name);
        if (kind == HONE_SNAPSHOT_INCREMENT && !table->tracking)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "table \"%s\": an increment needs a full snapshot before it",
                             table->name);
        if (kind == HONE_SNAPSHOT_INCREMENT &&
            (table->chain != tables[0]->chain || table->sequence != tables[0]->sequence))
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "tables \"%s\" and \"%s\" were not in the same snapshots before",
                             tables[0]->name, table->name);
    }
    return HONE_OK;
}

static void free_copies(struct hone_snapshot *snapshot)
{
    const hone_context *const context = snapshot->context;
    for (int64_t i = 0; i < snapshot->count; i++) {
        struct hone_table_copy *const copy = &snapshot->tables[i];
        for (int p = 0; p < copy->part_count; p++) {
            hone_string_free(context, copy->parts[p].name);
            hone_release(context, copy->parts[p].data, copy->parts[p].size);
        }
        json_decref(copy->facts);
    }
    hone_release(context, snapshot->tables, (size_t)snapshot->count * sizeof *snapshot->tables);
    hone_release(context, snapshot, sizeof *snapshot);
}

/* The copy has all changes: the lists begin anew. */
static void begin_lists(struct hone_table *table)
{
    for (size_t i = 0; i < table->dirty_count; i++)
        hone_table_row(table, table->dirty[i])->flags &= ~HONE_ROW_DIRTY;
    table->dirty_count = 0;
    table->gone_count = 0;
    table->recycled_kept = table->recycled_count;
    hone_clear_counted(table);
    table->copied = true;
    table->was_tracking = table->tracking;
    table->tracking = true;
}

/* Makes the snapshot the one that follows the tables' last. */
static void enter_sequence(struct hone_snapshot *snapshot)
{
    for (int64_t i = 0; i < snapshot->count; i++) {
        struct hone_table *const table = snapshot->tables[i].table;
        if (table->sequence > snapshot->sequence)
            snapshot->sequence = table->sequence;
        begin_lists(table);
    }
    snapshot->sequence++;
    snapshot->before = snapshot->tables[0].table->last_checksum;
    snapshot->chain = snapshot->tables[0].table->chain;
}

hone_status hone_snapshot_take(hone_snapshot **snapshot, hone_table *const *tables, int64_t count,
                               hone_snapshot_kind kind, hone_error *error)
{
    if (snapshot == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "snapshot is NULL");
    if ((int)kind < HONE_SNAPSHOT_FULL || kind > HONE_SNAPSHOT_COPY)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the kind is %d; it must be 0 to %d",
                         (int)kind, HONE_SNAPSHOT_COPY);
    hone_status status = check_tables(tables, count, kind, error);
    if (status != HONE_OK)
        return status;
    const hone_context *const context = tables[0]->context;
    struct hone_snapshot *const made = hone_allocate_zeroed(context, sizeof *made);
    const size_t size = (size_t)count * sizeof *made->tables;
    struct hone_table_copy *const copies = hone_allocate_zeroed(context, size);
    if (made == NULL || copies == NULL) {
        hone_release(context, made, sizeof *made);
        hone_release(context, copies, size);
        return hone_fail_memory(error, size, "a snapshot");
    }
    *made =
        (struct hone_snapshot){.context = context, .kind = kind, .tables = copies, .count = count};
    for (int64_t i = 0; status == HONE_OK && i < count; i++) {
        copies[i].table = tables[i];
        status = copy_table(made, &copies[i], error);
    }
    if (status != HONE_OK) {
        free_copies(made);
        return status;
    }
    if (kind != HONE_SNAPSHOT_COPY)
        enter_sequence(made);
    *snapshot = made;
    return HONE_OK;
}

static const struct hone_part *find_part(const struct hone_table_copy *copy, const char *what)
{
    for (int p = 0; p < copy->part_count; p++)
        if (strcmp(strchr(copy->parts[p].name, '@'), what) == 0)
            return &copy->parts[p];
    return NULL;
}

/* Changes that no file holds go back to the lists. Without memory for that the next snapshot has to
 * be a full one. */
static void give_back(struct hone_table_copy *copy)
{
    struct hone_table *const table = copy->table;
    const int64_t *const rows = copy->parts[0].data;
    if (table->recycled_kept > copy->kept)
        table->recycled_kept = copy->kept;
    if (!table->was_tracking || hone_table_reserve_dirty(table, copy->rows, NULL) != HONE_OK ||
        hone_table_reserve_removals(table, copy->gone, NULL) != HONE_OK) {
        table->tracking = false;
        return;
    }
    hone_table_mark_dirty(table, rows, copy->rows);
    const struct hone_part *const gone = find_part(copy, "@gone");
    if (copy->gone > 0)
        memcpy(table->gone + table->gone_count, gone->data, copy->gone * sizeof *table->gone);
    table->gone_count += copy->gone;
    const struct hone_part *const lines = find_part(copy, "@sights_line");
    if (lines != NULL)
        hone_mark_counted(table, lines->data, (size_t)lines->shape[0]);
    const bool all = lines == NULL && table->counters != NULL; /* of a full one */
    for (uint64_t line = 0; all && line < hone_sight_lines(table); line++)
        hone_mark_counted(table, &line, 1);
}

void hone_snapshot_free(hone_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    const uint64_t checksum = snapshot->written ? snapshot->checksum : 0;
    for (int64_t i = 0; snapshot->kind != HONE_SNAPSHOT_COPY && i < snapshot->count; i++) {
        struct hone_table *const table = snapshot->tables[i].table;
        table->copied = false;
        if (!snapshot->written) {
            give_back(&snapshot->tables[i]);
            continue;
        }
        table->chain = snapshot->chain;
        table->sequence = snapshot->sequence;
        table->last_checksum = checksum;
    }
    free_copies(snapshot);
}

/* What identifies the snapshot is its content. */
void hone_snapshot_seal(struct hone_snapshot *snapshot, const uint64_t *sums, int64_t count)
{
    uint64_t checksum = snapshot->sequence;
    for (int64_t i = 0; i < count; i++)
        checksum = hone_mix(checksum ^ sums[i]);
    snapshot->checksum = checksum;
    if (snapshot->kind == HONE_SNAPSHOT_FULL)
        snapshot->chain = hone_mix(checksum ^ snapshot->sequence);
}

int64_t hone_snapshot_rows(const hone_snapshot *snapshot)
{
    size_t rows = 0;
    for (int64_t i = 0; i < snapshot->count; i++)
        rows += snapshot->tables[i].rows;
    return (int64_t)rows;
}

uint64_t hone_snapshot_bytes(const hone_snapshot *snapshot)
{
    uint64_t bytes = 0;
    for (int64_t i = 0; i < snapshot->count; i++)
        for (int p = 0; p < snapshot->tables[i].part_count; p++)
            bytes += snapshot->tables[i].parts[p].size;
    return bytes;
}
