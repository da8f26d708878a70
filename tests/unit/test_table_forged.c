/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that are damaged, forged under checksums that fit, or too large for a budget: the table
 * stays empty, or what was before the forged increment. */
#include "support/fixtures.h"
#include "support/reseal.h"
#include "table_subject.h"

#define WIDTH 2

static hone_error error;

static hone_table *empty_table(void)
{
    const hone_table_options options = plain_options(WIDTH, "sparse_adam");
    return make_table(context, "t", &options);
}

/* Keys -5, 0 and 9 at rows 0, 1 and 3, row 2 is free; two of them have been stepped. */
static hone_table *small_table(void)
{
    hone_table *const table = empty_table();
    const int64_t keys[] = {-5, 0, 7, 9};
    const float grads[] = {1, 2, 3, 4};
    const hone_tensor view = ROWS(grads, HONE_F32, 2, WIDTH);
    int64_t rows[4];
    require(hone_table_insert(table, keys, 4, rows, NULL, &error), &error);
    require(hone_table_erase(table, &keys[2], 1, NULL, &error), &error);
    require(hone_table_apply_gradients(table, keys, 2, &view, NULL, &error), &error);
    return table;
}

/* Wherever one bit of a file is flipped, it is refused and the table stays empty; or the bit said
 * nothing (the case of a hexadecimal digit), and the state is the same. */
static void test_any_flipped_bit_is_found(void **state)
{
    (void)state;
    hone_table *const whole = small_table();
    size_t size, again_size, harmless = 0;
    unsigned char *const bytes = pack_tables(&whole, 1, &size);
    for (size_t i = 0; i < size; i++) {
        hone_table *again = empty_table();
        bytes[i] ^= (unsigned char)(1u << i % 8);
        const hone_status status = hone_snapshot_unpack(&again, 1, bytes, size, &error);
        bytes[i] ^= (unsigned char)(1u << i % 8);
        if (status == HONE_OK) {
            void *const same = pack_tables(&again, 1, &again_size);
            assert_int_equal(again_size, size);
            assert_memory_equal(same, bytes, size);
            free(same);
            harmless++;
        } else {
            assert_int_equal(hone_table_count(again), 0);
        }
        hone_table_free(again);
    }
    assert_true(harmless < 16);
    free(bytes);
    hone_table_free(whole);
}

/* Where element `index` of a tensor of 8-byte elements stands in the file's bytes. */
static char *element(void *bytes, size_t size, const char *name, int64_t index)
{
    hone_file *file = NULL;
    hone_tensor tensor;
    require(hone_file_read(&file, context, bytes, size, &error), &error);
    const int64_t at = hone_file_find(file, name);
    assert_true(at >= 0);
    require(hone_file_tensor(file, at, &tensor, &error), &error);
    assert_true(index < tensor.shape[0] && hone_dtype_size(tensor.dtype) == 8);
    for (size_t i = 0; i + 8 * (size_t)tensor.shape[0] <= size; i++)
        if (memcmp((char *)bytes + i, tensor.data, 8 * (size_t)tensor.shape[0]) == 0) {
            hone_file_close(file);
            return (char *)bytes + i + 8 * index;
        }
    fail_msg("\"%s\" is not in the file", name);
    return NULL;
}

/* Replaces text of the description, by text of the same length. */
static void replace(char *bytes, size_t size, const char *old, const char *by)
{
    size_t i = 0;
    while (i + strlen(old) < size && memcmp(bytes + i, old, strlen(old)) != 0)
        i++;
    assert_true(i + strlen(old) < size);
    memcpy(bytes + i, by, strlen(by));
}

static void refuse(void *bytes, size_t size, hone_status status, const char *sentence)
{
    void *sealed = NULL;
    size_t sealed_size;
    assert_true(reseal_snapshot(context, bytes, size, &sealed, &sealed_size));
    hone_table *table = empty_table();
    assert_int_equal(hone_snapshot_unpack(&table, 1, sealed, sealed_size, &error), status);
    if (strstr(error.message, sentence) == NULL)
        fail_msg("\"%s\" was expected in: %s", sentence, error.message);
    assert_int_equal(hone_table_count(table), 0);
    hone_table_free(table);
    free(sealed);
}

static void test_rows_that_cannot_be(void **state)
{
    (void)state;
    const struct {
        const char *tensor;
        int64_t index, value;
        const char *sentence;
    } cases[] = {
        {"t@row", 1, 0, "lists row 0 twice"},
        {"t@row", 1, 4, "names row 4 of 4"},
        {"t@row", 1, -1, "names row 18446744073709551615 of 4"},
        {"t@free", 0, 3, "lists row 3 twice"},
        {"t@id", 1, -5, "key -5 is at rows 0 and 1"},
    };
    hone_table *const whole = small_table();
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size;
        void *const bytes = pack_tables(&whole, 1, &size);
        char *const at = element(bytes, size, cases[i].tensor, cases[i].index);
        memcpy(at, &cases[i].value, sizeof cases[i].value);
        refuse(bytes, size, HONE_ERROR_FORMAT, cases[i].sentence);
        free(bytes);
    }
    hone_table_free(whole);
}

static void test_numbers_that_cannot_be(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"next\\\":\\\"0000000000000004", "next\\\":\\\"0000000000000005",
         "has 5 rows, of them 3 with keys and 1 free"},
        {"count\\\":3", "count\\\":4", "has 4 rows, of them 4 with keys and 1 free"},
        {"free_kept\\\":\\\"0000000000000000", "free_kept\\\":\\\"0000000000000001",
         "has 4 rows, of them 3 with keys and 2 free"},
        {"loss_scale\\\":\\\"3", "loss_scale\\\":\\\"b", "its loss scale is -1"},
        {"beta1\\\":\\\"3f", "beta1\\\":\\\"7f", "its running products are"},
        {"global_step\\\":\\\"0000000000000002", "global_step\\\":\\\"0000000000000000",
         "next step 0"},
        {"format\\\":2", "format\\\":1", "of format 1; format 2 is read"},
    };
    hone_table *const whole = small_table();
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size;
        char *const bytes = pack_tables(&whole, 1, &size);
        replace(bytes, size, cases[i][0], cases[i][1]);
        refuse(bytes, size, HONE_ERROR_FORMAT, cases[i][2]);
        free(bytes);
    }
    hone_table_free(whole);
}

/* A budget holds for what is restored, too. */
static void test_more_rows_than_the_budget_holds(void **state)
{
    (void)state;
    enum { N = 40000 };
    static int64_t keys[N], rows[N];
    for (int64_t i = 0; i < N; i++)
        keys[i] = i;
    hone_table *const whole = empty_table();
    require(hone_table_insert(whole, keys, N, rows, NULL, &error), &error);
    size_t size;
    void *const bytes = pack_tables(&whole, 1, &size);
    hone_table_options options = plain_options(WIDTH, "sparse_adam");
    options.max_bytes = 2 << 20;
    hone_table *small = make_table(context, "t", &options);
    assert_int_equal(hone_snapshot_unpack(&small, 1, bytes, size, &error), HONE_ERROR_RANGE);
    assert_non_null(strstr(error.message, "has 40000 rows; its budget of 2097152 bytes holds"));
    assert_int_equal(hone_table_count(small), 0);
    hone_table_free(small);
    hone_table_free(whole);
    free(bytes);
}

/* ---- increments ------------------------------------------------------------------------------ */

static hone_table *admitting_table(void)
{
    hone_table_options options = plain_options(WIDTH, "sparse_adam");
    options.admit_count = 2;
    options.admit_counters = 1000; /* 16 lines */
    return make_table(context, "t", &options);
}

static void save(hone_table *table, const char *folder, hone_snapshot_kind kind)
{
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, &table, 1, kind, &error), &error);
    require(hone_snapshot_write(snapshot, folder, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
}

static void *read_whole(const char *path, size_t *size)
{
    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    void *const bytes = malloc(*size);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_whole(const char *path, const void *bytes, size_t size)
{
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* One that speaks of counters or free rows that there are not, or does not say which counters it
 * has, as none did once, is left aside, and the full one before it is restored. */
static void test_increments_that_cannot_be(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/000000000002-increment.safetensors", folder);
    hone_table *const whole = admitting_table();
    hone_lookup *lookup = NULL;
    const int64_t keys[] = {1, 2, 3}, line = 16;
    int64_t rows[3];
    require(hone_lookup_create(&lookup, whole, &error), &error);
    require(hone_table_insert(whole, keys, 2, rows, NULL, &error), &error);
    save(whole, folder, HONE_SNAPSHOT_FULL);
    require(hone_table_lookup(whole, lookup, keys, 3, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    save(whole, folder, HONE_SNAPSHOT_INCREMENT);
    size_t size, sealed_size;
    void *const original = read_whole(path, &size), *const bytes = malloc(size);
    const char *const problems[] = {"of them 2 with keys and 1 free",
                                    "names line 16 of 16 lines of sights",
                                    "has no \"t@sights_line\""};
    for (int forgery = 0; forgery < 3; forgery++) {
        void *sealed = NULL;
        memcpy(bytes, original, size);
        if (forgery == 0)
            replace(bytes, size, "free_kept\\\":\\\"0000000000000000",
                    "free_kept\\\":\\\"0000000000000001");
        else if (forgery == 1)
            memcpy(element(bytes, size, "t@sights_line", 0), &line, sizeof line);
        else
            replace(bytes, size, "\"t@sights_line\":", "\"t@sights_then\":");
        assert_true(reseal_snapshot(context, bytes, size, &sealed, &sealed_size));
        write_whole(path, sealed, sealed_size);
        hone_table *again = admitting_table();
        hone_restore_report report;
        require(hone_snapshot_restore(&again, 1, folder, &report, &error), &error);
        assert_int_equal(report.files, 1);
        assert_non_null(strstr(report.problem, problems[forgery]));
        assert_int_equal(hone_table_count(again), 2);
        hone_table_free(again);
        free(sealed);
    }
    free(original);
    free(bytes);
    hone_lookup_free(lookup);
    hone_table_free(whole);
    remove_folder(folder);
}

/* One that gives a row to a new key, or to the list of free ones, whose own key has not gone: both
 * would be at one row. */
static void test_rows_that_are_taken(void **state)
{
    (void)state;
    char folder[FOLDER_SIZE], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/000000000002-increment.safetensors", folder);
    hone_table *const whole = empty_table();
    const int64_t keys[] = {10, 11, 12, 13}, new = 14;
    int64_t rows[4];
    require(hone_table_insert(whole, keys, 4, rows, NULL, &error), &error);
    require(hone_table_erase(whole, &keys[3], 1, NULL, &error), &error);
    save(whole, folder, HONE_SNAPSHOT_FULL);
    require(hone_table_insert(whole, &new, 1, rows, NULL, &error), &error); /* row 3 */
    require(hone_table_erase(whole, &keys[1], 1, NULL, &error), &error);    /* row 1 is free */
    save(whole, folder, HONE_SNAPSHOT_INCREMENT);
    size_t size, sealed_size;
    void *const original = read_whole(path, &size), *const bytes = malloc(size);
    const struct {
        const char *tensor;
        int64_t row;
        const char *sentence; /* NULL: nothing is forged */
    } cases[] = {
        {"t@row", 0, "takes row 0 from key 10, which stays"},
        {"t@free", 2, "takes row 2 from key 12, which stays"},
        {"t@row", 3, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        void *sealed = NULL;
        memcpy(bytes, original, size);
        memcpy(element(bytes, size, cases[i].tensor, 0), &cases[i].row, sizeof cases[i].row);
        assert_true(reseal_snapshot(context, bytes, size, &sealed, &sealed_size));
        write_whole(path, sealed, sealed_size);
        hone_table *again = empty_table();
        hone_restore_report report;
        require(hone_snapshot_restore(&again, 1, folder, &report, &error), &error);
        assert_int_equal(report.files, cases[i].sentence == NULL ? 2 : 1);
        assert_non_null(strstr(report.problem, cases[i].sentence == NULL ? "" : cases[i].sentence));
        assert_int_equal(hone_table_count(again), 3);
        hone_table_free(again);
        free(sealed);
    }
    free(original);
    free(bytes);
    hone_table_free(whole);
    remove_folder(folder);
}

/* A row's gradient that waits twice is taken once: two threads would step the row at
 * the same time. */
static void test_a_row_that_waits_twice(void **state)
{
    (void)state;
    hone_table *const whole = empty_table();
    hone_lookup *lookup = NULL;
    const int64_t keys[] = {1, 2}, back[] = {2, 1}, one = 1;
    int64_t rows[2];
    const float grads[] = {1, 2, 3, 4};
    const hone_tensor view = ROWS(grads, HONE_F32, 2, WIDTH);
    require(hone_lookup_create(&lookup, whole, &error), &error);
    require(hone_table_insert(whole, keys, 2, rows, NULL, &error), &error);
    require(hone_table_lookup(whole, lookup, back, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    require(hone_table_add_gradients(whole, lookup, &view, &error), &error);
    size_t size, sealed_size;
    void *const bytes = pack_tables(&whole, 1, &size), *sealed = NULL;
    memcpy(element(bytes, size, "t@waiting_row", 1), &one, sizeof one);
    assert_true(reseal_snapshot(context, bytes, size, &sealed, &sealed_size));
    hone_table *again = empty_table();
    hone_table_report report;
    require(hone_snapshot_unpack(&again, 1, sealed, sealed_size, &error), &error);
    require(hone_table_step(again, &report, &error), &error);
    assert_int_equal(report.stepped, 1);
    assert_int_equal(report.stale, 1);
    hone_table_free(again);
    free(sealed);
    free(bytes);
    hone_lookup_free(lookup);
    hone_table_free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_flipped_bit_is_found),
        cmocka_unit_test(test_rows_that_cannot_be),
        cmocka_unit_test(test_numbers_that_cannot_be),
        cmocka_unit_test(test_increments_that_cannot_be),
        cmocka_unit_test(test_rows_that_are_taken),
        cmocka_unit_test(test_a_row_that_waits_twice),
        cmocka_unit_test(test_more_rows_than_the_budget_holds),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
