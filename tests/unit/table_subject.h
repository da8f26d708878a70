/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of tables share: contexts, tables with few words, and tensors of rows. */
#ifndef TABLE_SUBJECT_H
#define TABLE_SUBJECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <hone/hone.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static inline void require(hone_status status, const hone_error *error)
{
    if (status != HONE_OK)
        fail_msg("%s: %s", hone_status_name(status), error->message);
}

static inline hone_context *make_context(int threads, const char *cpu)
{
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    options.cpu = cpu;
    options.seed = 7;
    hone_context *context = NULL;
    hone_error error;
    require(hone_context_create(&context, &options, &error), &error);
    return context;
}

static inline hone_table_options plain_options(int64_t width, const char *rule)
{
    hone_table_options options;
    hone_table_options_init(&options);
    options.width = width;
    options.rule = rule;
    return options;
}

static inline hone_table *make_table(const hone_context *context, const char *name,
                                     const hone_table_options *options)
{
    hone_table *table = NULL;
    hone_error error;
    require(hone_table_create(&table, context, name, options, &error), &error);
    return table;
}

/* All that tables hold, as a copy in memory to be freed. */
static inline void *pack_tables(hone_table *const *tables, int64_t count, size_t *size)
{
    hone_snapshot *copy = NULL;
    hone_error error;
    require(hone_snapshot_take(&copy, tables, count, HONE_SNAPSHOT_COPY, &error), &error);
    require(hone_snapshot_pack(copy, NULL, 0, size, &error), &error);
    void *const bytes = malloc(*size);
    assert_non_null(bytes);
    require(hone_snapshot_pack(copy, bytes, *size, size, &error), &error);
    hone_snapshot_free(copy);
    return bytes;
}

/* A [n, width] view; the shape lives as long as the block the call stands in. */
#define ROWS(data, dtype, n, width) \
    hone_tensor_view((void *)(uintptr_t)(data), dtype, 2, (const int64_t[]){n, width})

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline float random_float(uint64_t *state)
{
    return (float)((double)(next_random(state) >> 11) * 0x1p-52 - 1);
}

#endif
