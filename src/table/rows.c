/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a table: blocks of records that never move, rows that are free again, and the calls that
 * find, make, copy and remove rows by the batch. */
#include <omp.h>
#include <string.h>

#include "table/table_internal.h"

#define ROWS_PER_THREAD 512
#define ROWS_AT_A_TIME 512             /* listed, then copied */
#define AHEAD 24                       /* records requested before they are used */
#define MOST_PIECE ((size_t)256 << 20) /* of memory at a time */

int hone_table_threads(const struct hone_table *table, size_t n)
{
    const size_t useful = n / ROWS_PER_THREAD, most = (size_t)table->context->threads;
    return (int)(useful < 1 ? 1 : useful < most ? useful : most);
}

hone_status hone_table_grow(const hone_context *context, void **array, size_t *capacity,
                            size_t needed, size_t size, const char *what, hone_error *error)
{
    if (needed <= *capacity)
        return HONE_OK;
    size_t wanted = *capacity < 64 ? 64 : *capacity * 2;
    if (wanted < needed)
        wanted = needed;
    void *const grown = hone_reallocate(context, *array, *capacity * size, wanted * size);
    if (grown == NULL)
        return hone_fail_memory(error, wanted * size, what);
    *array = grown;
    *capacity = wanted;
    return HONE_OK;
}

/* Blocks in the piece of memory that begins with block `first`: as many as there are before it, up
 * to MOST_PIECE and the budget. Small tables stay small; the pieces of large ones, a power of two
 * of blocks, are whole huge pages. */
static size_t piece_blocks(const struct hone_table *table, size_t first)
{
    const size_t size = table->stride << table->block_bits;
    const size_t limit = (size_t)(table->row_limit >> table->block_bits);
    size_t count = 1;
    while (count < first && 2 * count * size <= MOST_PIECE)
        count *= 2;
    if (first + count > limit)
        count = limit > first ? limit - first : 1;
    return count;
}

static hone_status add_piece(struct hone_table *table, hone_error *error)
{
    const size_t size = table->stride << table->block_bits;
    const size_t count = piece_blocks(table, table->block_count);
    void *blocks = table->blocks;
    const hone_status status =
        hone_table_grow(table->context, &blocks, &table->block_capacity, table->block_count + count,
                        sizeof *table->blocks, "a table's blocks", error);
    table->blocks = blocks;
    if (status != HONE_OK)
        return status;
    char *const piece = hone_allocate(table->context, count * size);
    if (piece == NULL)
        return hone_fail_memory(error, count * size, "rows of a table");
    for (size_t i = 0; i < count; i++)
        table->blocks[table->block_count++] = piece + i * size;
    return HONE_OK;
}

hone_status hone_table_reserve_blocks(struct hone_table *table, uint64_t end, hone_error *error)
{
    const size_t needed =
        (size_t)((end + ((uint64_t)1 << table->block_bits) - 1) >> table->block_bits);
    hone_status status = HONE_OK;
    while (status == HONE_OK && table->block_count < needed)
        status = add_piece(table, error);
    return status;
}

void hone_table_free_blocks(struct hone_table *table)
{
    const size_t size = table->stride << table->block_bits;
    for (size_t first = 0; first < table->block_count;) {
        const size_t count = piece_blocks(table, first);
        hone_release(table->context, table->blocks[first], count * size);
        first += count;
    }
    hone_release(table->context, table->blocks, table->block_capacity * sizeof *table->blocks);
}

/* ---- rows that changed ------------------------------------------------------------------------
 */

hone_status hone_table_reserve_dirty(struct hone_table *table, size_t more, hone_error *error)
{
    if (!table->tracking)
        return HONE_OK;
    void *dirty = table->dirty;
    const hone_status status =
        hone_table_grow(table->context, &dirty, &table->dirty_capacity, table->dirty_count + more,
                        sizeof *table->dirty, "a table's list of changed rows", error);
    table->dirty = dirty;
    return status;
}

void hone_table_mark_row(struct hone_table *table, uint64_t number)
{
    struct hone_row *const row = hone_table_row(table, number);
    if (!table->tracking || (row->flags & HONE_ROW_DIRTY) != 0)
        return;
    row->flags |= HONE_ROW_DIRTY;
    table->dirty[table->dirty_count++] = number;
}

void hone_table_mark_dirty(struct hone_table *table, const int64_t *rows, size_t n)
{
    for (size_t i = 0; table->tracking && i < n; i++)
        if (rows[i] >= 0)
            hone_table_mark_row(table, (uint64_t)rows[i]);
}

/* ---- removal ----------------------------------------------------------------------------------
 */

hone_status hone_table_reserve_removals(struct hone_table *table, size_t more, hone_error *error)
{
    const hone_context *const context = table->context;
    void *recycled = table->recycled;
    hone_status status =
        hone_table_grow(context, &recycled, &table->recycled_capacity, table->recycled_count + more,
                        sizeof *table->recycled, "a table's list of free rows", error);
    table->recycled = recycled;
    if (status != HONE_OK || !table->tracking)
        return status;
    void *gone = table->gone;
    status = hone_table_grow(context, &gone, &table->gone_capacity, table->gone_count + more,
                             sizeof *table->gone, "a table's list of removed keys", error);
    table->gone = gone;
    return status;
}

/* Lists a row as free and its key as removed. */
static void note_removal(struct hone_table *table, uint64_t number, int64_t key)
{
    if (table->tracking)
        table->gone[table->gone_count++] = key;
    table->recycled[table->recycled_count++] = number;
    table->removals++;
}

/* Dirty stays: the list of changes still names the row. */
static void mark_removed(struct hone_row *row)
{
    row->flags &= ~HONE_ROW_LIVE;
}

void hone_table_release_row(struct hone_table *table, uint64_t number)
{
    struct hone_row *const row = hone_table_row(table, number);
    mark_removed(row);
    note_removal(table, number, row->key);
}

/* Frees the rows of a batch (-1: none), all of them different. Returns how many. */
static int64_t release_rows(struct hone_table *table, const int64_t *keys, const int64_t *rows,
                            size_t n)
{
    const int threads = hone_table_threads(table, n);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n && rows[i + AHEAD] >= 0)
            hone_request(hone_table_row(table, (uint64_t)rows[i + AHEAD]), sizeof(struct hone_row));
        if (rows[i] >= 0)
            mark_removed(hone_table_row(table, (uint64_t)rows[i]));
    }
    const uint64_t before = table->removals;
    for (size_t i = 0; i < n; i++)
        if (rows[i] >= 0)
            note_removal(table, (uint64_t)rows[i], keys[i]);
    return (int64_t)(table->removals - before);
}

hone_status hone_table_erase(hone_table *table, const int64_t *keys, int64_t n, int64_t *erased,
                             hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_status status = hone_table_check_batch(keys, n, error);
    if (status != HONE_OK)
        return status;
    const size_t count = (size_t)n;
    const size_t size = count * sizeof(int64_t);
    int64_t *const rows = hone_allocate(table->context, size);
    if (rows == NULL)
        return hone_fail_memory(error, size, "rows of a batch");
    status = hone_table_reserve_removals(table, count, error);
    if (status == HONE_OK) {
        hone_index_erase(&table->index, keys, count, rows);
        const int64_t removed = release_rows(table, keys, rows, count);
        if (erased != NULL)
            *erased = removed;
    }
    hone_release(table->context, rows, size);
    return status;
}

/* ---- new rows ---------------------------------------------------------------------------------
 */

static void fill_rows(struct hone_table *table, const int64_t *keys, const int64_t *rows,
                      const struct hone_insertion *made)
{
    const int threads = hone_table_threads(table, made->count);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < made->count; i++) {
        const uint32_t at = made->fresh[i];
        float *const scratch =
            (void *)(table->scratch + (size_t)omp_get_thread_num() * table->scratch_stride);
        struct hone_row *const row = hone_table_row(table, (uint64_t)rows[at]);
        const uint32_t dirty = i < made->recycled_count ? row->flags & HONE_ROW_DIRTY : 0;
        hone_row_fill(table, row, keys[at], scratch);
        row->flags |= dirty;
    }
}

static hone_status insert_keys(struct hone_table *table, const int64_t *keys, size_t n,
                               int64_t *rows, struct hone_insertion *to, hone_error *error)
{
    hone_status status = hone_index_insert(&table->index, keys, n, rows, to, error);
    if (status != HONE_OK)
        return status;
    const size_t reused = to->count < to->recycled_count ? to->count : to->recycled_count;
    const uint64_t end = table->next + (to->count - reused);
    if (end > HONE_MAX_ROWS)
        status = hone_fail(error, HONE_ERROR_RANGE,
                           "table \"%s\" would have %llu rows; it can have 3 * 2^32", table->name,
                           (unsigned long long)end);
    else
        status = hone_table_reserve_blocks(table, end, error);
    if (status != HONE_OK) {
        for (size_t i = 0; i < to->count; i++) {
            int64_t row;
            hone_index_erase(&table->index, &keys[to->fresh[i]], 1, &row);
        }
        return status;
    }
    hone_table_end_eviction(table);
    table->births++;
    fill_rows(table, keys, rows, to);
    table->next = end;
    table->recycled_count -= reused;
    if (table->recycled_kept > table->recycled_count)
        table->recycled_kept = table->recycled_count;
    for (size_t i = 0; i < to->count; i++)
        hone_table_mark_dirty(table, &rows[to->fresh[i]], 1);
    return HONE_OK;
}

hone_status hone_table_make_rows(struct hone_table *table, const int64_t *keys, size_t n,
                                 int64_t *rows, size_t *inserted, hone_error *error)
{
    const size_t size = n * sizeof(uint32_t);
    hone_status status = hone_table_reserve_dirty(table, n, error);
    if (status != HONE_OK)
        return status;
    uint32_t *const fresh = hone_allocate(table->context, size);
    if (fresh == NULL)
        return hone_fail_memory(error, size, "new keys of a batch");
    struct hone_insertion to = {.recycled = table->recycled,
                                .recycled_count = table->recycled_count,
                                .next = table->next,
                                .fresh = fresh};
    status = insert_keys(table, keys, n, rows, &to, error);
    *inserted = status == HONE_OK ? to.count : 0;
    hone_release(table->context, fresh, size);
    return status;
}

/* ---- batches of keys --------------------------------------------------------------------------
 */

hone_status hone_table_check_batch(const int64_t *keys, int64_t n, hone_error *error)
{
    if (n < 0 || (uint64_t)n >= HONE_INDEX_BATCH)
        return hone_fail(error, HONE_ERROR_RANGE, "a batch of %lld keys; it must be 0 to 2^32 - 2",
                         (long long)n);
    if (n > 0 && keys == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "keys is NULL");
    return HONE_OK;
}

static hone_status check_batch(const int64_t *keys, int64_t n, const int64_t *rows,
                               hone_error *error)
{
    const hone_status status = hone_table_check_batch(keys, n, error);
    if (status == HONE_OK && n > 0 && rows == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "rows is NULL");
    return status;
}

hone_status hone_table_find(const hone_table *table, const int64_t *keys, int64_t n, int64_t *rows,
                            int64_t *missing, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    const hone_status status = check_batch(keys, n, rows, error);
    if (status != HONE_OK)
        return status;
    hone_index_find(&table->index, keys, (size_t)n, rows);
    if (missing != NULL) {
        *missing = 0;
        for (int64_t i = 0; i < n; i++)
            *missing += rows[i] < 0;
    }
    return HONE_OK;
}

hone_status hone_table_insert(hone_table *table, const int64_t *keys, int64_t n, int64_t *rows,
                              int64_t *inserted, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    hone_status status = check_batch(keys, n, rows, error);
    if (status == HONE_OK)
        status = hone_table_make_budget(table, keys, (size_t)n, rows, error);
    size_t made = 0;
    if (status == HONE_OK)
        status = hone_table_make_rows(table, keys, (size_t)n, rows, &made, error);
    if (status != HONE_OK)
        hone_table_undo_eviction(table);
    else if (inserted != NULL)
        *inserted = (int64_t)made;
    return status;
}

hone_status hone_table_keys(const hone_table *table, int64_t *keys, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    if (keys == NULL && table->index.count > 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "keys is NULL");
    size_t count = 0;
    for (uint64_t i = 0; i < table->next; i++) {
        const struct hone_row *const row = hone_table_row(table, i);
        if ((row->flags & HONE_ROW_LIVE) != 0)
            keys[count++] = row->key;
    }
    return HONE_OK;
}

/* ---- copies -----------------------------------------------------------------------------------
 */

hone_status hone_table_check_values(const hone_tensor *tensor, int64_t n, size_t width,
                                    const char *what, enum hone_format *format, hone_error *error)
{
    int reals;
    const hone_status status = hone_tensor_check(tensor, what, error);
    if (status != HONE_OK)
        return status;
    if (!hone_dtype_format(tensor->dtype, format, &reals) || reals != 1)
        return hone_fail(error, HONE_ERROR_DTYPE, "%s is %s; it must be F32, F64, BF16 or F16",
                         what, hone_dtype_name(tensor->dtype));
    if (tensor->ndim != 2 || tensor->shape[0] != n || tensor->shape[1] != (int64_t)width)
        return hone_fail(error, HONE_ERROR_SHAPE,
                         "%s has %d dimensions and %lld elements; it must be [%lld, %zu]", what,
                         tensor->ndim, (long long)hone_tensor_numel(tensor), (long long)n, width);
    return HONE_OK;
}

const struct hone_column *hone_table_column(const struct hone_table *table, const char *slot)
{
    for (int c = 0; c < table->column_count; c++)
        if (slot == NULL ? table->columns[c].slot == HONE_COLUMN_VALUES
                         : strcmp(table->columns[c].name, slot) == 0)
            return &table->columns[c];
    return NULL;
}

static hone_status check_rows(const struct hone_table *table, const int64_t *rows, int64_t n,
                              hone_error *error)
{
    if (n < 0 || (n > 0 && rows == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%lld rows at %s", (long long)n,
                         rows == NULL ? "NULL" : "an address");
    for (int64_t i = 0; i < n; i++)
        if (rows[i] < -1 || rows[i] >= (int64_t)table->next)
            return hone_fail(error, HONE_ERROR_RANGE,
                             "row %lld is %lld; it must be -1 (none) to %lld", (long long)i,
                             (long long)rows[i], (long long)table->next - 1);
    return HONE_OK;
}

static hone_status fail_slot(const struct hone_table *table, const char *slot, hone_error *error)
{
    const char *names[HONE_MAX_COLUMNS];
    for (int c = 0; c < table->column_count; c++)
        names[c] = table->columns[c].name;
    const char *const nearest = hone_nearest(slot, names, table->column_count);
    return hone_fail(error, HONE_ERROR_NAME, "table \"%s\" has no slot \"%s\"%s%s%s", table->name,
                     slot, nearest == NULL ? "" : "; did you mean \"",
                     nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");
}

/* One array of values to another format, in double where either is f64. */
static void convert(const struct hone_support_kernels *support, void *to,
                    enum hone_format to_format, const void *from, enum hone_format from_format,
                    size_t n, void *scratch)
{
    if (to_format == from_format) {
        memcpy(to, from, n * hone_format_size(to_format));
    } else if (to_format == HONE_FORMAT_F64 || from_format == HONE_FORMAT_F64) {
        support->widen_f64[from_format](scratch, from, n);
        support->narrow_f64[to_format](to, scratch, n);
    } else {
        support->widen_f32[from_format](scratch, from, n);
        support->narrow_f32[to_format](to, scratch, n);
    }
}

static hone_status check_copy(const struct hone_table *table, const int64_t *rows, int64_t n,
                              const char *slot, const hone_tensor *tensor,
                              const struct hone_column **column, enum hone_format *format,
                              hone_error *error)
{
    *column = hone_table_column(table, slot);
    if (*column == NULL)
        return fail_slot(table, slot, error);
    const hone_status status =
        hone_table_check_values(tensor, n, (*column)->count, "the tensor", format, error);
    return status == HONE_OK ? check_rows(table, rows, n, error) : status;
}

void hone_row_copy_out(const struct hone_row_copy *copy, const struct hone_table *table,
                       void *const *from, size_t lead, const uint32_t *positions, size_t count)
{
    const struct hone_column *const column = copy->column;
    const struct hone_cpu_level *const cpu = table->context->cpu;
    if (copy->format == column->format) {
        cpu->rows->copy(copy->to, positions, from, lead, column->size, count);
        return;
    }
    const size_t size = column->count * hone_format_size(copy->format);
    double scratch[HONE_TABLE_MOST_WIDTH];
    for (size_t i = 0; i < count; i++) {
        char *const to = (char *)copy->to + positions[i] * size;
        if (from[i] == NULL)
            memset(to, 0, size);
        else
            convert(cpu->support, to, copy->format, (const char *)from[i] + lead, column->format,
                    column->count, scratch);
    }
}

/* Rows of a dense array that are copied one after the other. */
static void copy_part(const struct hone_row_copy *copy, const struct hone_table *table,
                      const int64_t *rows, size_t first, size_t count)
{
    void *from[ROWS_AT_A_TIME];
    uint32_t positions[ROWS_AT_A_TIME]; /* of the part: a gather may have more than 2^32 */
    const size_t size = copy->column->count * hone_format_size(copy->format);
    struct hone_row_copy part = *copy;
    part.to = (char *)copy->to + first * size;
    for (size_t i = 0; i < count; i++) {
        const int64_t row = rows[first + i];
        positions[i] = (uint32_t)i;
        from[i] =
            row < 0 ? NULL : hone_row_column(hone_table_row(table, (uint64_t)row), copy->column);
    }
    hone_row_copy_out(&part, table, from, 0, positions, count);
}

void hone_row_copy_all(const struct hone_row_copy *copy, const struct hone_table *table,
                       const int64_t *rows, size_t n)
{
    const int threads = hone_table_threads(table, n);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t first = 0; first < n; first += ROWS_AT_A_TIME)
        copy_part(copy, table, rows, first,
                  n - first < ROWS_AT_A_TIME ? n - first : ROWS_AT_A_TIME);
}

hone_status hone_table_gather(const hone_table *table, const int64_t *rows, int64_t n,
                              const char *slot, const hone_tensor *out, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    struct hone_row_copy copy;
    const hone_status status =
        check_copy(table, rows, n, slot, out, &copy.column, &copy.format, error);
    if (status != HONE_OK)
        return status;
    copy.to = out->data;
    hone_row_copy_all(&copy, table, rows, (size_t)n);
    return HONE_OK;
}

/* Where rows' values come from: position i's from the i-th row of a dense array. */
struct row_scatter {
    const struct hone_table *table;
    const struct hone_column *column;
    const char *from;
    enum hone_format format; /* there */
    const int64_t *rows;
    size_t n;
};

/* The positions whose rows the thread owns, so that of repeated rows the last one stays. */
static void scatter_share(const struct row_scatter *s, uint32_t thread, uint32_t threads)
{
    const struct hone_table *const table = s->table;
    const struct hone_column *const column = s->column;
    const size_t size = column->count * hone_format_size(s->format);
    void *const scratch = table->scratch + thread * table->scratch_stride;
    for (size_t i = 0; i < s->n; i++) {
        if (s->rows[i] < 0 || hone_row_owner((uint64_t)s->rows[i], threads) != thread)
            continue;
        struct hone_row *const row = hone_table_row(table, (uint64_t)s->rows[i]);
        convert(table->context->cpu->support, hone_row_column(row, column), column->format,
                s->from + i * size, s->format, column->count, scratch);
    }
}

hone_status hone_table_scatter(hone_table *table, const int64_t *rows, int64_t n, const char *slot,
                               const hone_tensor *values, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    struct row_scatter scatter = {.table = table, .rows = rows, .n = (size_t)n};
    hone_status status =
        check_copy(table, rows, n, slot, values, &scatter.column, &scatter.format, error);
    if (status == HONE_OK)
        status = hone_table_reserve_dirty(table, (size_t)n, error);
    if (status != HONE_OK)
        return status;
    scatter.from = values->data;
    const int threads = hone_table_threads(table, (size_t)n);
#pragma omp parallel num_threads(threads)
    scatter_share(&scatter, (uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads());
    hone_table_mark_dirty(table, rows, (size_t)n);
    return HONE_OK;
}
