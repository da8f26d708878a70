/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of tables while jansson's allocations fail, one after the other: an increment is written
 * whole or not, and a restore for want of memory takes no older state. */
#include <jansson.h>
#include <stdlib.h>

#include "support/checks.h"
#include "support/failing_json.h"
#include "support/fixtures.h"

static hone_table *make(void)
{
    static const char recipe[] =
        "{\"optimizer_type\":\"adamw\",\"schedule\":{\"type\":\"exponential\","
        "\"gamma\":0.5}}";
    hone_spec *const spec = parse_spec(recipe);
    hone_table_options options;
    hone_table *table = NULL;
    hone_table_options_init(&options);
    options.width = 2;
    options.rule = NULL;
    options.spec = spec;
    OK(hone_table_create(&table, context, "t", &options, &problem));
    hone_spec_free(spec);
    return table;
}

static void add_key(hone_table *table, int64_t key)
{
    int64_t row;
    OK(hone_table_insert(table, &key, 1, &row, NULL, &problem));
}

static hone_status save(hone_table *table, const char *folder, hone_snapshot_kind kind)
{
    hone_snapshot *snapshot = NULL;
    hone_status status = hone_snapshot_take(&snapshot, &table, 1, kind, &problem);
    if (status == HONE_OK)
        status = hone_snapshot_write(snapshot, folder, NULL, 0, &problem);
    hone_snapshot_free(snapshot);
    return status;
}

/* With allocation `k` failing; `files` are there. */
static hone_status restore_failing(const char *folder, int64_t files, size_t k)
{
    hone_table *table = make();
    hone_restore_report report;
    failing_json = (struct failing_json){.fail_at = k};
    const hone_status status = hone_snapshot_restore(&table, 1, folder, &report, &problem);
    failing_json.fail_at = 0;
    assert_true(status == HONE_OK || status == HONE_ERROR_MEMORY);
    assert_int_equal(hone_table_count(table), status == HONE_OK ? files : 0);
    if (status == HONE_OK)
        assert_string_equal(report.problem, "");
    hone_table_free(table);
    return status;
}

static void test_snapshots(void **state)
{
    (void)state;
    enum { FILES = 4 };
    char folder[FOLDER_SIZE];
    make_folder(folder);
    hone_table *const table = make();
    size_t failures = 0, k = 0;
    for (int64_t i = 0; i < FILES; i++) {
        add_key(table, i);
        for (k = 1;; k++, failures++) {
            failing_json = (struct failing_json){.fail_at = k};
            const hone_status status =
                save(table, folder, i % 2 == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT);
            failing_json.fail_at = 0;
            if (status == HONE_OK)
                break;
            assert_int_equal(status, HONE_ERROR_MEMORY);
            if (i > 0)
                assert_int_equal(restore_failing(folder, i, 0), HONE_OK);
        }
    }
    assert_true(failures > 100);
    for (k = 1; restore_failing(folder, FILES, k) != HONE_OK; k++)
        ;
    assert_true(k > 100);
    hone_table_free(table);
    remove_folder(folder);
}

static int open_failing(void **state)
{
    json_set_alloc_funcs(failing_json_allocate, free);
    return open_single_context(state);
}

static int close_failing(void **state)
{
    json_set_alloc_funcs(malloc, free);
    return close_context(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_snapshots)};
    return cmocka_run_group_tests(tests, open_failing, close_failing);
}
