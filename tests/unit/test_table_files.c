/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots in a world that does not behave: tensors of the caller's that are none, folders
 * that cannot be read to their end, files under each other's names, and a program with a
 * jansson of its own. */
#include "support/checks.h"
#include "support/fixtures.h"
#include "table_subject.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[FOLDER_SIZE];
static int entries_left = -1; /* before reading a folder fails; below 0: it does not */

/* Stands before the C library's. */
struct dirent *readdir(DIR *directory)
{
    struct dirent *(*next)(DIR *) = NULL;
    void *const found = dlsym(RTLD_NEXT, "readdir");
    memcpy(&next, &found, sizeof next);
    if (entries_left == 0) {
        errno = EIO;
        return NULL;
    }
    entries_left -= entries_left > 0;
    return next(directory);
}

static hone_table *empty_table(void)
{
    const hone_table_options options = plain_options(2, "sgd");
    return make_table(context, "t", &options);
}

static void add_keys(hone_table *table, int64_t first, int64_t n)
{
    int64_t keys[64], rows[64];
    for (int64_t i = 0; i < n; i++)
        keys[i] = first + i;
    OK(hone_table_insert(table, keys, n, rows, NULL, &problem));
}

static hone_snapshot *take(hone_table *table, hone_snapshot_kind kind)
{
    hone_snapshot *snapshot = NULL;
    OK(hone_snapshot_take(&snapshot, &table, 1, kind, &problem));
    return snapshot;
}

static void save(hone_table *table, hone_snapshot_kind kind)
{
    hone_snapshot *const snapshot = take(table, kind);
    OK(hone_snapshot_write(snapshot, folder, NULL, 0, &problem));
    hone_snapshot_free(snapshot);
}

static hone_status restore(int64_t *keys, hone_restore_report *report)
{
    hone_table *table = empty_table();
    const hone_status status = hone_snapshot_restore(&table, 1, folder, report, &problem);
    *keys = hone_table_count(table);
    hone_table_free(table);
    return status;
}

static int set_up(void **state)
{
    make_folder(folder);
    entries_left = -1;
    return open_single_context(state);
}

static int tear_down(void **state)
{
    entries_left = -1;
    remove_folder(folder);
    return close_context(state);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_extras_that_are_none(void **state)
{
    (void)state;
    static float values[6];
    const int64_t three = 3, negative = -1, pair[] = {2, 3}, steps[] = {1, 2};
    const hone_tensor good = hone_tensor_view(values, HONE_F32, 1, &three);
    hone_tensor strided = hone_tensor_view(values, HONE_F32, 2, pair), elsewhere = good;
    strided.strides = steps;
    elsewhere.device = HONE_CUDA;
    const struct {
        hone_file_entry entry;
        hone_status status;
        const char *words;
    } cases[] = {
        {{NULL, good}, HONE_ERROR_NAME, "extra 1 has no name"},
        {{"x", hone_tensor_view(NULL, HONE_F32, 1, &three)}, HONE_ERROR_ARGUMENT, "data is NULL"},
        {{"x", hone_tensor_view(values, HONE_F32, 1, &negative)}, HONE_ERROR_SHAPE, "negative"},
        {{"x", hone_tensor_view(values, HONE_F32, 1, NULL)}, HONE_ERROR_SHAPE, "shape is NULL"},
        {{"x", hone_tensor_view(values, HONE_DTYPE_COUNT, 1, &three)},
         HONE_ERROR_DTYPE,
         "no dtype"},
        {{"x", hone_tensor_view((char *)values + 1, HONE_F32, 1, &three)},
         HONE_ERROR_ARGUMENT,
         "misaligned"},
        {{"x", strided}, HONE_ERROR_SHAPE, "not contiguous"},
        {{"x", elsewhere}, HONE_ERROR_UNSUPPORTED, "device type"},
    };
    hone_table *const table = empty_table();
    hone_snapshot *const snapshot = take(table, HONE_SNAPSHOT_FULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const hone_file_entry extras[] = {{"step", good}, cases[i].entry};
        assert_int_equal(hone_snapshot_write(snapshot, folder, extras, 2, &problem),
                         cases[i].status);
        if (strstr(problem.message, cases[i].words) == NULL)
            fail_msg("\"%s\" was expected in: %s", cases[i].words, problem.message);
    }
    const hone_file_entry extra = {"step", good};
    OK(hone_snapshot_write(snapshot, folder, &extra, 1, &problem));
    hone_snapshot_free(snapshot);
    hone_table_free(table);
}

/* Part of a folder is no folder: the snapshot that it hides would be written over, or an older
 * one be restored. */
static void test_a_folder_that_breaks_off(void **state)
{
    (void)state;
    hone_table *const table = empty_table();
    hone_restore_report report;
    int64_t keys;
    for (int64_t i = 0; i < 4; i++) {
        add_keys(table, i, 1);
        save(table, HONE_SNAPSHOT_FULL);
    }
    for (int left = 0; left < 6; left++) {
        entries_left = left;
        hone_snapshot *const snapshot = take(table, HONE_SNAPSHOT_FULL);
        assert_int_equal(hone_snapshot_write(snapshot, folder, NULL, 0, &problem), HONE_ERROR_IO);
        assert_non_null(strstr(problem.message, "Input/output error"));
        entries_left = left;
        assert_int_equal(restore(&keys, &report), HONE_ERROR_IO);
        assert_int_equal(keys, 0);
        entries_left = -1;
        hone_snapshot_free(snapshot);
    }
    OK(restore(&keys, &report));
    assert_int_equal(keys, 4);
    assert_int_equal(report.sequence, 4);
    hone_table_free(table);
}

static void rename_file(const char *from, const char *to)
{
    char old[128], new[128];
    snprintf(old, sizeof old, "%s/%s.safetensors", folder, from);
    snprintf(new, sizeof new, "%s/%s.safetensors", folder, to);
    assert_int_equal(rename(old, new), 0);
}

/* An increment under a full snapshot's name holds all rows, but not all counters; and the other way
 * round. */
static void test_files_under_other_names(void **state)
{
    (void)state;
    hone_table *const table = empty_table();
    hone_restore_report report;
    int64_t keys;
    save(table, HONE_SNAPSHOT_FULL);
    add_keys(table, 0, 5); /* the increment has all of them */
    save(table, HONE_SNAPSHOT_INCREMENT);
    rename_file("000000000002-increment", "000000000002-full");
    OK(restore(&keys, &report));
    assert_int_equal(keys, 0);
    assert_int_equal(report.sequence, 1);
    assert_non_null(strstr(report.problem, "has another file's name: it is an increment"));
    rename_file("000000000002-full", "000000000002-increment");
    save(table, HONE_SNAPSHOT_FULL);
    rename_file("000000000003-full", "000000000003-increment");
    OK(restore(&keys, &report));
    assert_int_equal(report.sequence, 2);
    assert_non_null(strstr(report.problem, "has another file's name: it is a full snapshot"));
    hone_table_free(table);
}

/* A restore that fails leaves an empty table without sights. An increment would not say so, for
 * none of their counters moved: what follows has to be a full snapshot. */
static void test_a_failed_restore_ends_the_chain(void **state)
{
    (void)state;
    char damaged[FOLDER_SIZE], path[128];
    hone_table_options options = plain_options(2, "sgd");
    options.admit_count = 3;
    options.admit_counters = 100;
    hone_table *table = make_table(context, "t", &options),
               *again = make_table(context, "t", &options);
    hone_lookup *lookup = NULL, *lookup_again = NULL;
    hone_snapshot *snapshot = NULL;
    const int64_t key = 5;
    make_folder(damaged);
    OK(hone_lookup_create(&lookup, table, &problem));
    OK(hone_lookup_create(&lookup_again, again, &problem));
    for (int i = 0; i < 2; i++)
        OK(hone_table_lookup(table, lookup, &key, 1, HONE_LOOKUP_TRAIN, NULL, &problem));
    save(table, HONE_SNAPSHOT_FULL); /* of sights alone */
    assert_int_equal(hone_snapshot_restore(&table, 1, damaged, NULL, &problem), HONE_ERROR_IO);
    save(table, HONE_SNAPSHOT_INCREMENT); /* nothing was there, so nothing has changed */
    snprintf(path, sizeof path, "%s/000000000001-full.safetensors", damaged);
    FILE *const file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(hone_snapshot_restore(&table, 1, damaged, NULL, &problem), HONE_ERROR_FORMAT);
    assert_int_equal(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_INCREMENT, &problem),
                     HONE_ERROR_ARGUMENT);
    save(table, HONE_SNAPSHOT_FULL);
    OK(hone_snapshot_restore(&again, 1, folder, NULL, &problem));
    for (int i = 1; i <= 3; i++) { /* the row comes with the third sight, in both */
        OK(hone_table_lookup(table, lookup, &key, 1, HONE_LOOKUP_TRAIN, NULL, &problem));
        OK(hone_table_lookup(again, lookup_again, &key, 1, HONE_LOOKUP_TRAIN, NULL, &problem));
        assert_int_equal(hone_table_count(table), i == 3);
        assert_int_equal(hone_table_count(again), i == 3);
    }
    hone_lookup_free(lookup);
    hone_lookup_free(lookup_again);
    hone_table_free(table);
    hone_table_free(again);
    remove_folder(damaged);
}

#define LEAD 32 /* bytes before each block: the C library's free would not take it */
static bool json_is_full;

static void *lead_allocate(size_t size)
{
    char *const memory = json_is_full ? NULL : malloc(size + LEAD);
    return memory == NULL ? NULL : memory + LEAD;
}

/* Unlike the C library's, it is not to be given NULL. */
static void lead_release(void *memory)
{
    assert_non_null(memory);
    free((char *)memory - LEAD);
}

/* What jansson gives goes back to it. */
static void test_another_allocator_of_json(void **state)
{
    (void)state;
    hone_restore_report report;
    int64_t keys;
    json_set_alloc_funcs(lead_allocate, lead_release);
    hone_table *const table = empty_table();
    add_keys(table, 0, 3);
    save(table, HONE_SNAPSHOT_FULL);
    add_keys(table, 3, 3);
    save(table, HONE_SNAPSHOT_INCREMENT);
    OK(restore(&keys, &report));
    assert_int_equal(keys, 6);
    size_t size = 0;
    hone_snapshot *const copy = take(table, HONE_SNAPSHOT_COPY);
    OK(hone_snapshot_pack(copy, NULL, 0, &size, &problem));
    json_is_full = true; /* nothing is given, and nothing goes back */
    assert_int_equal(hone_snapshot_pack(copy, NULL, 0, &size, &problem), HONE_ERROR_MEMORY);
    json_is_full = false;
    hone_snapshot_free(copy);
    hone_table_free(table);
    json_set_alloc_funcs(malloc, free);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_extras_that_are_none),      TEST(test_a_folder_that_breaks_off),
        TEST(test_files_under_other_names),   TEST(test_a_failed_restore_ends_the_chain),
        TEST(test_another_allocator_of_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
