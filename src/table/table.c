/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: making one, its options, and what it says of itself. */
#include <math.h>
#include <string.h>

#include "table/table_internal.h"

#define BLOCK_SIZE ((size_t)4 << 20) /* of records, at least: enough for huge pages */
#define DEFAULT_COUNTERS ((uint64_t)1 << 20)

void hone_table_options_init(hone_table_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->dtype = HONE_F32;
    options->state_dtype = HONE_F32;
    options->rule = "sparse_adamw";
    options->initial = HONE_INITIAL_NORMAL;
    options->initial_b = 0.01;
    options->admit_count = 1;
    options->admit_counters = DEFAULT_COUNTERS;
    options->admit_probability = 1;
}

static hone_status check_name(const char *name, hone_error *error)
{
    if (name == NULL || name[0] == '\0')
        return hone_fail(error, HONE_ERROR_NAME, "a table's name must not be empty");
    if (strlen(name) > HONE_TABLE_MOST_NAME)
        return hone_fail(error, HONE_ERROR_NAME, "a table's name has %zu bytes; it may have %d",
                         strlen(name), HONE_TABLE_MOST_NAME);
    if (!hone_text_is_utf8(name))
        return hone_fail(error, HONE_ERROR_NAME,
                         "a table's name is not UTF-8, which files of tables need");
    if (strchr(name, '@') != NULL)
        return hone_fail(error, HONE_ERROR_NAME,
                         "table \"%s\": '@' is not allowed in a name: checkpoints separate a "
                         "table's name and its columns by it",
                         name);
    return HONE_OK;
}

static hone_status check_admission(const hone_table_options *o, hone_error *error)
{
    if (o->admit_count < 1 || o->admit_count > UINT8_MAX)
        return hone_fail(error, HONE_ERROR_RANGE, "admit_count is %u; it must be 1 to 255",
                         o->admit_count);
    if (o->admit_counters < 1 || o->admit_counters > (uint64_t)1 << 40)
        return hone_fail(error, HONE_ERROR_RANGE, "admit_counters is %llu; it must be 1 to 2^40",
                         (unsigned long long)o->admit_counters);
    if (!(o->admit_probability >= 0 && o->admit_probability <= 1))
        return hone_fail(error, HONE_ERROR_RANGE, "admit_probability is %g; it must be 0 to 1",
                         o->admit_probability);
    return HONE_OK;
}

static hone_status check_switches(const hone_table_options *o, hone_error *error)
{
    if ((int)o->bias < 0 || o->bias > HONE_BIAS_ROW)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "options->bias is %d; it must be 0 to %d",
                         (int)o->bias, HONE_BIAS_ROW);
    if ((int)o->decay < 0 || o->decay > HONE_DECAY_CATCH_UP)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "options->decay is %d; it must be 0 to %d",
                         (int)o->decay, HONE_DECAY_CATCH_UP);
    if ((int)o->nonfinite < 0 || o->nonfinite > HONE_ROW_QUARANTINE)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "options->nonfinite is %d; it must be 0 to %d",
                         (int)o->nonfinite, HONE_ROW_QUARANTINE);
    return HONE_OK;
}

static hone_status check_options(const hone_table_options *o, hone_error *error)
{
    enum hone_format format;
    int reals;
    if (o->width < 1 || o->width > HONE_TABLE_MOST_WIDTH)
        return hone_fail(error, HONE_ERROR_RANGE, "a table's width is %lld; it must be 1 to %d",
                         (long long)o->width, HONE_TABLE_MOST_WIDTH);
    const hone_dtype dtypes[] = {o->dtype, o->state_dtype};
    for (int i = 0; i < 2; i++)
        if (!hone_dtype_format(dtypes[i], &format, &reals) || reals != 1)
            return hone_fail(error, HONE_ERROR_DTYPE,
                             "a table's %s is %s; it must be F32, F64, BF16 or F16",
                             i == 0 ? "dtype" : "state_dtype", hone_dtype_name(dtypes[i]));
    hone_status status = check_switches(o, error);
    if (status == HONE_OK)
        status = check_admission(o, error);
    return status == HONE_OK ? hone_initial_check(o, error) : status;
}

/* ---- budget -----------------------------------------------------------------------------------
 */

/* What the index may need for so many keys, with room to spare: bytes per key vary with how far
 * segments are from their next split. */
#define INDEX_FIXED ((uint64_t)4 * HONE_SEGMENT_SIZE)
#define INDEX_PER_KEY 44

/* The number of rows that fit, in whole blocks. */
static hone_status set_limit(struct hone_table *table, hone_error *error)
{
    table->row_limit = HONE_MAX_ROWS;
    const uint64_t bytes = table->options.max_bytes;
    if (bytes == 0)
        return HONE_OK;
    const uint64_t rows = (uint64_t)1 << table->block_bits;
    const uint64_t block = rows * (table->stride + INDEX_PER_KEY);
    const uint64_t blocks = bytes > INDEX_FIXED ? (bytes - INDEX_FIXED) / block : 0;
    if (blocks == 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "max_bytes is %llu; a table of this width and rule needs at least %llu",
                         (unsigned long long)bytes, (unsigned long long)(INDEX_FIXED + block));
    if (blocks * rows < table->row_limit)
        table->row_limit = blocks * rows;
    return HONE_OK;
}

/* What rows leave of the budget is the index's, however its keys lie. */
static void limit_index(struct hone_table *table)
{
    if (table->options.max_bytes > 0)
        table->index.most_segments =
            (size_t)((table->options.max_bytes - table->row_limit * table->stride) /
                     HONE_INDEX_SEGMENT_COST);
}

static void choose_blocks(struct hone_table *table)
{
    size_t size = BLOCK_SIZE;
    const uint64_t bytes = table->options.max_bytes;
    if (bytes != 0 && bytes / 64 < size)
        size = (size_t)(bytes / 64);
    while (((size_t)1 << table->block_bits) * table->stride < size)
        table->block_bits++;
}

/* ---- creation ---------------------------------------------------------------------------------
 */

static hone_status read_options(hone_table_options *all, const hone_table_options *given,
                                hone_error *error)
{
    hone_table_options_init(all);
    if (given == NULL || given->struct_size == 0 || given->struct_size > sizeof *all)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a table's options are missing, or struct_size is not what "
                         "hone_table_options_init sets (%zu)",
                         sizeof *all);
    memcpy(all, given, given->struct_size);
    if (all->dtype == HONE_F64)
        all->state_dtype = HONE_F64;
    return check_options(all, error);
}

static uint64_t stream_of(uint64_t seed, const char *name)
{
    uint64_t x = hone_mix(seed + 0x9e3779b97f4a7c15u);
    for (; *name != '\0'; name++)
        x = hone_mix(x ^ (unsigned char)*name);
    return x;
}

static hone_status make_memory(struct hone_table *table, hone_error *error)
{
    const hone_context *const context = table->context;
    const size_t threads = (size_t)context->threads;
    table->scratch_stride =
        HONE_ROWS_IN_WORK * (((size_t)table->options.width * sizeof(double) + 63) & ~(size_t)63);
    const size_t real = table->options.dtype == HONE_F64 ? sizeof(double) : sizeof(float);
    table->sum_stride = ((size_t)table->options.width * real + 63) & ~(size_t)63;
    table->scratch = hone_allocate(context, threads * table->scratch_stride);
    const size_t cache = threads * HONE_SCALARS_CACHE * sizeof *table->cache;
    table->cache = hone_allocate_zeroed(context, cache);
    if (table->scratch == NULL || table->cache == NULL)
        return hone_fail_memory(error, cache, "a table");
    return table->options.admit_count > 1 ? hone_table_make_sights(table, error) : HONE_OK;
}

static hone_status fill(struct hone_table *table, const char *name, hone_error *error)
{
    table->name = hone_copy_string(table->context, name);
    if (table->name == NULL)
        return hone_fail_memory(error, strlen(name) + 1, "a table's name");
    table->stream = stream_of(table->context->seed, name);
    table->power1 = table->power2 = 1;
    table->accumulate = 1;
    table->loss_scale = 1;
    table->version = 1;
    table->global_step = 1;
    hone_status status = hone_table_set_rule(table, error);
    table->options.spec = NULL;
    table->options.rule = NULL; /* the caller's */
    if (status == HONE_OK) {
        choose_blocks(table);
        status = set_limit(table, error);
    }
    if (status == HONE_OK)
        status = make_memory(table, error);
    if (status == HONE_OK)
        status = hone_index_create(&table->index, table->context, table->stream, error);
    limit_index(table);
    if (status == HONE_OK)
        status = hone_lookup_create(&table->own, table, error);
    return status;
}

hone_status hone_table_create(hone_table **table, const hone_context *context, const char *name,
                              const hone_table_options *options, hone_error *error)
{
    if (table == NULL || context == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         table == NULL ? "table" : "context");
    hone_table_options all;
    hone_status status = check_name(name, error);
    if (status == HONE_OK)
        status = read_options(&all, options, error);
    if (status != HONE_OK)
        return status;
    struct hone_table *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a table");
    made->context = context;
    made->options = all;
    status = fill(made, name, error);
    if (status != HONE_OK) {
        hone_table_free(made);
        return status;
    }
    *table = made;
    return HONE_OK;
}

void hone_table_free(hone_table *table)
{
    if (table == NULL)
        return;
    const hone_context *const context = table->context;
    const size_t threads = (size_t)context->threads;
    hone_table_free_blocks(table);
    hone_release(context, table->recycled, table->recycled_capacity * sizeof *table->recycled);
    hone_release(context, table->pending, table->pending_capacity * sizeof *table->pending);
    hone_release(context, table->sums, table->pending_capacity * table->sum_stride);
    hone_release(context, table->scratch, threads * table->scratch_stride);
    hone_release(context, table->cache, threads * HONE_SCALARS_CACHE * sizeof *table->cache);
    hone_table_free_sights(table);
    hone_release(context, table->dirty, table->dirty_capacity * sizeof *table->dirty);
    hone_release(context, table->gone, table->gone_capacity * sizeof *table->gone);
    hone_lookup_free(table->own);
    hone_index_free(&table->index);
    hone_spec_free(table->spec);
    hone_string_free(context, table->name);
    hone_release(context, table, sizeof *table);
}

/* ---- introspection ----------------------------------------------------------------------------
 */

const char *hone_table_name(const hone_table *table)
{
    return table->name;
}

int64_t hone_table_count(const hone_table *table)
{
    return (int64_t)table->index.count;
}

int64_t hone_table_width(const hone_table *table)
{
    return table->options.width;
}

hone_dtype hone_table_dtype(const hone_table *table)
{
    return table->options.dtype;
}

uint64_t hone_table_index_bytes(const hone_table *table)
{
    return hone_index_bytes(&table->index);
}

uint64_t hone_table_bytes(const hone_table *table)
{
    return table->block_count * (table->stride << table->block_bits) +
           hone_index_bytes(&table->index);
}

uint64_t hone_table_step_count(const hone_table *table)
{
    return table->step;
}

void hone_table_powers(const hone_table *table, double *power1, double *power2)
{
    *power1 = table->power1;
    *power2 = table->power2;
}
