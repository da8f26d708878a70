/* SPDX-License-Identifier: Apache-2.0 */
/* Counters at their ends: what stops moving is not saved again, what still moves is never missed,
 * and ages and random rounding go on beyond 2^32. */
#include "support/fixtures.h"
#include "table_subject.h"

#include <math.h>

#include "table/table_internal.h"

static hone_error error;

static hone_lookup *make_lookup(const hone_table *table)
{
    hone_lookup *lookup = NULL;
    require(hone_lookup_create(&lookup, table, &error), &error);
    return lookup;
}

static void look(hone_table *table, hone_lookup *lookup, const int64_t *keys, int64_t n)
{
    require(hone_table_lookup(table, lookup, keys, n, HONE_LOOKUP_TRAIN, NULL, &error), &error);
}

/* Saves an increment (or what is asked for) and returns the bytes of its copies. */
static uint64_t save(hone_table *table, const char *folder, hone_snapshot_kind kind)
{
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, &table, 1, kind, &error), &error);
    const uint64_t bytes = hone_snapshot_bytes(snapshot);
    require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
    return bytes;
}

/* A table made by `options` and restored from the folder holds all that `table` does. */
static void assert_restored(hone_table *table, const hone_table_options *options,
                            const char *folder, int64_t files)
{
    hone_table *again = make_table(table->context, hone_table_name(table), options);
    hone_restore_report report;
    require(hone_snapshot_restore(&again, 1, folder, &report, &error), &error);
    assert_int_equal(report.files, files);
    size_t size = 0, other = 0;
    void *const expected = pack_tables(&table, 1, &size), *const found =
                                                              pack_tables(&again, 1, &other);
    assert_int_equal(size, other);
    assert_memory_equal(expected, found, size);
    free(expected);
    free(found);
    hone_table_free(again);
}

/* ---- sights ---------------------------------------------------------------------------------- */

/* A key that never gets its row is counted to 255, and then no more. */
static void test_full_sights_are_not_saved_again(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE];
    make_folder(folder);
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(2, "sgd");
    options.admit_count = 2;
    options.admit_probability = 0;
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *const lookup = make_lookup(table);
    int64_t keys[300];
    for (int i = 0; i < 300; i++)
        keys[i] = 5;
    look(table, lookup, keys, 254);
    save(table, folder, HONE_SNAPSHOT_FULL);
    const uint64_t nothing = save(table, folder, HONE_SNAPSHOT_INCREMENT);
    look(table, lookup, keys, 300); /* to 255 */
    const uint64_t line = sizeof(uint64_t) + HONE_SIGHT_LINE;
    assert_int_equal(save(table, folder, HONE_SNAPSHOT_INCREMENT), nothing + 2 * line);
    look(table, lookup, keys, 300);
    assert_int_equal(save(table, folder, HONE_SNAPSHOT_INCREMENT), nothing);
    keys[7] = 6;
    look(table, lookup, keys, 300);
    assert_int_equal(save(table, folder, HONE_SNAPSHOT_INCREMENT), nothing + 2 * line);
    assert_restored(table, &options, folder, 5);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    remove_folder(folder);
}

/* Few counters for many keys: of a key's two often one moves, at last none. Increments have the
 * lines that differ from those of the snapshot before, no more and no fewer. */
static void test_lines_that_moved_are_saved(void **state)
{
    (void)state;
    enum { COUNTERS = 4100, STEPS = 60, BATCH = 3000, FEW = 5 };
    char folder[FOLDER_SIZE];
    make_folder(folder);
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(2, "sgd");
    options.admit_count = 255;
    options.admit_counters = COUNTERS; /* the last line is not full */
    options.admit_probability = 0;
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *const lookup = make_lookup(table);
    const size_t lines = hone_sight_lines(table);
    uint8_t *const before = malloc(lines * HONE_SIGHT_LINE);
    uint64_t random = 1;
    save(table, folder, HONE_SNAPSHOT_FULL);
    size_t fewest = lines, most = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        int64_t keys[BATCH];
        for (int i = 0; i < BATCH; i++)
            keys[i] = (int64_t)(next_random(&random) % (step < STEPS / 2 ? 400 : 8));
        memcpy(before, table->counters, lines * HONE_SIGHT_LINE);
        look(table, lookup, keys, step % 2 == 0 ? BATCH : FEW);
        size_t moved = 0;
        for (size_t i = 0; i < lines; i++)
            moved += memcmp(before + i * HONE_SIGHT_LINE, table->counters + i * HONE_SIGHT_LINE,
                            HONE_SIGHT_LINE) != 0;
        assert_int_equal(hone_counted_lines(table), moved);
        fewest = moved < fewest ? moved : fewest;
        most = moved > most ? moved : most;
        save(table, folder, HONE_SNAPSHOT_INCREMENT);
    }
    assert_int_equal(fewest, 0);
    assert_true(most > lines / 2);
    assert_restored(table, &options, folder, STEPS + 1);
    free(before);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    remove_folder(folder);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Sights and updates stop at 2^32 - 1 and the lookups' number goes beyond it; rows that are met
 * still change and are in the increment, others are not. */
static void test_rows_change_when_counts_do_not(void **state)
{
    (void)state;
    enum { N = 40, MET = 10, WIDTH = 3 };
    char folder[FOLDER_SIZE];
    make_folder(folder);
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(WIDTH, "adamw");
    hone_table *const table = make_table(context, "t", &options);
    hone_lookup *const lookup = make_lookup(table);
    int64_t keys[N], gone = 0;
    for (int64_t i = 0; i < N; i++)
        keys[i] = i * 1000;
    table->tick = UINT32_MAX - 3;
    table->step = UINT32_MAX - 2;
    look(table, lookup, keys, N);
    for (int64_t i = 0; i < N; i++) {
        struct hone_row *const row = hone_table_row(table, (uint64_t)hone_lookup_rows(lookup)[i]);
        row->frequency = row->updates = UINT32_MAX - 2;
    }
    save(table, folder, HONE_SNAPSHOT_FULL);
    const float grads[MET * WIDTH] = {1, -1, 0.5f, 2};
    const hone_tensor view = ROWS(grads, HONE_F32, MET, WIDTH);
    for (int i = 0; i < 6; i++) {
        hone_snapshot *snapshot = NULL;
        look(table, lookup, keys, MET);
        require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
        require(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_INCREMENT, &error), &error);
        assert_int_equal(hone_snapshot_rows(snapshot), MET);
        require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
        assert_restored(table, &options, folder, i + 2);
    }
    const struct hone_row *const row = hone_table_row(table, (uint64_t)hone_lookup_rows(lookup)[0]);
    assert_int_equal(row->frequency, UINT32_MAX);
    assert_int_equal(row->updates, UINT32_MAX);
    assert_true(table->tick > UINT32_MAX && table->step > UINT32_MAX);
    /* ages are right over the end: six lookups ago the others were met */
    const hone_eviction older = {.unseen_lookups = 7}, old = {.unseen_lookups = 6};
    require(hone_table_evict(table, &older, N, &gone, &error), &error);
    assert_int_equal(gone, 0);
    require(hone_table_evict(table, &old, N, &gone, &error), &error);
    assert_int_equal(gone, N - MET);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
    remove_folder(folder);
}

/* Steps of a quarter of the last bit move a 16-bit row by as many quarters on average, also when
 * its count of updates no longer tells one step from the next. */
static void test_rounding_stays_random(void **state)
{
    (void)state;
    enum { WIDTH = 64, STEPS = 200 };
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(WIDTH, "sgd");
    options.dtype = HONE_BF16;
    options.stochastic = true;
    options.initial = HONE_INITIAL_CONSTANT;
    options.initial_a = 1;
    const double last_bit = 0x1p-7;
    for (int saturated = 0; saturated < 2; saturated++) {
        hone_table *const table = make_table(context, "t", &options);
        const int64_t key = 3;
        int64_t number;
        float values[WIDTH], grads[WIDTH];
        const hone_tensor rows = ROWS(values, HONE_F32, 1, WIDTH);
        const hone_tensor view = ROWS(grads, HONE_F32, 1, WIDTH);
        for (int i = 0; i < WIDTH; i++)
            grads[i] = (float)-last_bit / 4;
        require(hone_table_set(table, "lr", 1, &error), &error);
        require(hone_table_insert(table, &key, 1, &number, NULL, &error), &error);
        if (saturated)
            hone_table_row(table, (uint64_t)number)->updates = UINT32_MAX;
        for (int step = 0; step < STEPS; step++)
            require(hone_table_apply_gradients(table, &key, 1, &view, NULL, &error), &error);
        require(hone_table_gather(table, &number, 1, NULL, &rows, &error), &error);
        for (int i = 0; i < WIDTH; i++) /* six deviations of the sum of so many draws */
            assert_true(fabs((double)values[i] - 1 - STEPS * last_bit / 4) <
                        6 * last_bit * sqrt(STEPS * 3.0 / 16));
        hone_table_free(table);
    }
    hone_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_sights_are_not_saved_again),
        cmocka_unit_test(test_lines_that_moved_are_saved),
        cmocka_unit_test(test_rows_change_when_counts_do_not),
        cmocka_unit_test(test_rounding_stays_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
