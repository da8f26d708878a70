/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the snapshot of two tables, as they are and under checksums that fit them: tables stay
 * empty, or hold together: every key has one row, and training, saving and restoring go on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "support/reseal.h"

enum { WIDTH = 3, TABLES = 2, BATCH = 8 };

/* One table with counters of sights and gradients that wait, one narrow under a budget and a
 * schedule. */
static void make_tables(hone_table **tables, const hone_context *context)
{
    static const char recipe[] =
        "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.01,\"schedule\":{\"type\":\"one_cycle\","
        "\"max_lr\":0.1,\"total_steps\":20}}";
    hone_table_options options;
    hone_table_options_init(&options);
    options.width = WIDTH;
    options.admit_count = 2;
    options.admit_counters = 16;
    REQUIRE(hone_table_create(&tables[0], context, "items", &options, NULL) == HONE_OK);
    hone_spec *spec = NULL;
    REQUIRE(hone_spec_parse(&spec, context, recipe, strlen(recipe), NULL) == HONE_OK);
    hone_table_options_init(&options);
    options.width = WIDTH;
    options.rule = NULL;
    options.spec = spec;
    options.dtype = HONE_BF16;
    options.stochastic = true;
    options.max_bytes = 400000;
    REQUIRE(hone_table_create(&tables[1], context, "users", &options, NULL) == HONE_OK);
    hone_spec_free(spec);
}

static void free_tables(hone_table **tables)
{
    for (int t = 0; t < TABLES; t++)
        hone_table_free(tables[t]);
}

/* Steps may be refused for what the file's hyperparameters make of them. */
static void train(hone_table *table)
{
    static const float grads[BATCH * WIDTH] = {1, -2, 3, 0.5f};
    static const int64_t shape[] = {BATCH, WIDTH};
    const int64_t keys[BATCH] = {0, 1, 2, INT64_MIN, 2, 3, INT64_MAX, 1};
    const hone_tensor view = hone_tensor_view((void *)(uintptr_t)grads, HONE_F32, 2, shape);
    hone_lookup *lookup = NULL;
    REQUIRE(hone_lookup_create(&lookup, table, NULL) == HONE_OK);
    for (int round = 0; round < 3; round++) {
        if (hone_table_lookup(table, lookup, keys, BATCH, HONE_LOOKUP_TRAIN, NULL, NULL) == HONE_OK)
            hone_table_apply(table, lookup, &view, NULL, NULL);
        hone_table_erase(table, keys + round, 1, NULL, NULL);
        hone_table_schedule_step(table, NULL);
    }
    const hone_eviction policy = {.unseen_lookups = 5, .least_norm = 1e-3};
    hone_table_evict(table, &policy, 10, NULL, NULL);
    hone_lookup_free(lookup);
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Keys are found, at rows that differ. */
static void check_table(const hone_table *table)
{
    const int64_t n = hone_table_count(table);
    int64_t *const keys = malloc((size_t)(2 * n + 1) * sizeof *keys), *const rows = keys + n;
    int64_t missing = -1;
    REQUIRE(hone_table_keys(table, keys, NULL) == HONE_OK);
    REQUIRE(hone_table_find(table, keys, n, rows, &missing, NULL) == HONE_OK && missing == 0);
    qsort(rows, (size_t)n, sizeof *rows, by_number);
    for (int64_t i = 1; i < n; i++)
        REQUIRE(rows[i] != rows[i - 1]);
    free(keys);
}

static void *pack(hone_table *const *tables, size_t *size)
{
    hone_snapshot *copy = NULL;
    REQUIRE(hone_snapshot_take(&copy, tables, TABLES, HONE_SNAPSHOT_COPY, NULL) == HONE_OK);
    REQUIRE(hone_snapshot_pack(copy, NULL, 0, size, NULL) == HONE_OK);
    void *const bytes = malloc(*size);
    REQUIRE(hone_snapshot_pack(copy, bytes, *size, size, NULL) == HONE_OK);
    hone_snapshot_free(copy);
    return bytes;
}

static void unpack(const hone_context *context, const void *bytes, size_t size, bool again)
{
    hone_table *tables[TABLES];
    make_tables(tables, context);
    hone_error error;
    const bool sound = hone_snapshot_unpack(tables, TABLES, bytes, size, &error) == HONE_OK;
    REQUIRE(sound || memchr(error.message, '\0', sizeof error.message) != NULL);
    for (int t = 0; t < TABLES; t++) {
        REQUIRE(sound || hone_table_count(tables[t]) == 0);
        check_table(tables[t]);
        if (sound)
            train(tables[t]);
        check_table(tables[t]);
    }
    if (sound && again) {
        size_t packed;
        void *const copy = pack(tables, &packed);
        unpack(context, copy, packed, false);
        free(copy);
    }
    free_tables(tables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_context *const context = fuzz_context();
    void *sealed = NULL;
    size_t sealed_size = 0;
    unpack(context, data, size, true);
    if (reseal_snapshot(context, data, size, &sealed, &sealed_size))
        unpack(context, sealed, sealed_size, true);
    free(sealed);
    return 0;
}
