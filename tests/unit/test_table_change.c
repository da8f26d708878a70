/* SPDX-License-Identifier: Apache-2.0 */
/* Tables in other shapes: copies as bytes continue a run to the bit and disturb no snapshot, and a
 * table takes another rule without losing a row. Both leave everything as it was when memory runs
 * out. */
#include "support/counting_allocator.h"
#include "table_subject.h"

#include <sys/stat.h>
#include <unistd.h>

#define WIDTH 5
#define BATCH 300

static hone_error error;

static void train(hone_table *table, hone_lookup *lookup, uint64_t step)
{
    uint64_t random = step;
    int64_t keys[BATCH];
    float grads[BATCH * WIDTH];
    for (int i = 0; i < BATCH; i++)
        keys[i] = (int64_t)(step * 40 + next_random(&random) % 500);
    for (int i = 0; i < BATCH * WIDTH; i++)
        grads[i] = random_float(&random);
    const hone_tensor view = ROWS(grads, HONE_F32, BATCH, WIDTH);
    require(hone_table_lookup(table, lookup, keys, BATCH, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    require(hone_table_apply(table, lookup, &view, NULL, &error), &error);
    require(hone_table_erase(table, keys, 10, NULL, &error), &error);
}

static void train_alone(hone_table *table, uint64_t from, uint64_t to)
{
    hone_lookup *lookup = NULL;
    require(hone_lookup_create(&lookup, table, &error), &error);
    for (uint64_t step = from; step < to; step++)
        train(table, lookup, step);
    hone_lookup_free(lookup);
}

/* Keys, row numbers, values. */
static void assert_same(const hone_table *a, const hone_table *b, const char *const *slots,
                        int slot_count)
{
    const int64_t n = hone_table_count(a);
    assert_int_equal(n, hone_table_count(b));
    int64_t *const keys = calloc((size_t)n * 4 + 1, sizeof *keys);
    float *const x = calloc((size_t)n * 2 * WIDTH + 1, sizeof *x), *const y = x + n * WIDTH;
    require(hone_table_keys(a, keys, &error), &error);
    require(hone_table_keys(b, keys + n, &error), &error);
    assert_memory_equal(keys, keys + n, (size_t)n * sizeof *keys);
    require(hone_table_find(a, keys, n, keys + 2 * n, NULL, &error), &error);
    require(hone_table_find(b, keys, n, keys + 3 * n, NULL, &error), &error);
    assert_memory_equal(keys + 2 * n, keys + 3 * n, (size_t)n * sizeof *keys);
    for (int k = 0; k < slot_count; k++) {
        const hone_tensor vx = ROWS(x, HONE_F32, n, WIDTH), vy = ROWS(y, HONE_F32, n, WIDTH);
        require(hone_table_gather(a, keys + 2 * n, n, slots[k], &vx, &error), &error);
        require(hone_table_gather(b, keys + 2 * n, n, slots[k], &vy, &error), &error);
        assert_memory_equal(x, y, (size_t)n * WIDTH * sizeof *x);
    }
    free(keys);
    free(x);
}

static const char *const slots[] = {NULL, "exp_avg", "exp_avg_sq"};

static void *pack(hone_table *table, size_t *size)
{
    hone_snapshot *copy = NULL;
    require(hone_snapshot_take(&copy, &table, 1, HONE_SNAPSHOT_COPY, &error), &error);
    require(hone_snapshot_pack(copy, NULL, 0, size, &error), &error);
    char *const bytes = calloc(1, *size);
    size_t again = 0;
    require(hone_snapshot_pack(copy, bytes, *size - 1, &again, &error), &error);
    assert_int_equal(again, *size);
    assert_int_equal(bytes[0], 0); /* too small: untouched */
    require(hone_snapshot_pack(copy, bytes, *size, &again, &error), &error);
    hone_snapshot_free(copy);
    return bytes;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static hone_table_options busy_options(void)
{
    hone_table_options options = plain_options(WIDTH, "sparse_adamw");
    options.admit_count = 2;
    options.admit_counters = 3000;
    return options;
}

static void test_a_copy_continues_the_run(void **state)
{
    (void)state;
    hone_context *const context = make_context(2, NULL);
    const hone_table_options options = busy_options();
    hone_table *whole = make_table(context, "items", &options);
    hone_table *again = make_table(context, "items", &options);
    require(hone_table_set_grad_accum_steps(whole, 2, true, &error), &error);
    train_alone(whole, 0, 7); /* in the middle of two steps: gradients wait */
    size_t size = 0;
    void *const bytes = pack(whole, &size);
    require(hone_snapshot_unpack(&again, 1, bytes, size, &error), &error);
    bool mean = false;
    assert_int_equal(hone_table_grad_accum_steps(again, &mean), 2);
    assert_true(mean);
    assert_same(whole, again, slots, 3);
    train_alone(whole, 7, 12);
    train_alone(again, 7, 12);
    assert_same(whole, again, slots, 3);
    assert_int_equal(hone_table_step_count(whole), hone_table_step_count(again));
    assert_int_equal(hone_snapshot_unpack(&again, 1, bytes, size, &error), HONE_ERROR_ARGUMENT);
    free(bytes);
    hone_table_free(whole);
    hone_table_free(again);
    hone_context_free(context);
}

static void test_damaged_bytes_are_refused(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    const hone_table_options options = busy_options();
    hone_table *whole = make_table(context, "items", &options);
    hone_table *again = make_table(context, "items", &options);
    train_alone(whole, 0, 3);
    size_t size = 0;
    char *const bytes = pack(whole, &size);
    uint64_t random = 5, header;
    memcpy(&header, bytes, sizeof header);
    header += sizeof header;
    for (uint64_t i = 0; i < 200; i++) {
        const bool inside = i >= 100; /* of the tensors, which have checksums */
        const uint64_t at = inside ? header + next_random(&random) % (size - header)
                                   : next_random(&random) % header;
        bytes[at] = (char)(bytes[at] ^ 1 << i % 8);
        if (hone_snapshot_unpack(&again, 1, bytes, size, &error) != HONE_OK) {
            assert_int_equal(hone_table_count(again), 0);
        } else {
            assert_false(inside);
            hone_table_free(again);
            again = make_table(context, "items", &options);
        }
        bytes[at] = (char)(bytes[at] ^ 1 << i % 8);
    }
    for (size_t cut = 0; cut < size; cut += size / 30)
        assert_int_not_equal(hone_snapshot_unpack(&again, 1, bytes, cut, &error), HONE_OK);
    require(hone_snapshot_unpack(&again, 1, bytes, size, &error), &error);
    free(bytes);
    hone_table_free(whole);
    hone_table_free(again);
    hone_context_free(context);
}

/* A chain of increments goes on over a copy as if it had not been taken. */
static void test_a_copy_disturbs_no_snapshot(void **state)
{
    (void)state;
    char directory[] = "/tmp/hone-copy-XXXXXX", path[128];
    assert_non_null(mkdtemp(directory));
    hone_context *const context = make_context(1, NULL);
    const hone_table_options options = busy_options();
    hone_table *whole = make_table(context, "items", &options);
    hone_table *again = make_table(context, "items", &options);
    for (uint64_t step = 0; step < 4; step++) {
        train_alone(whole, step, step + 1);
        size_t size = 0;
        hone_snapshot *snapshot = NULL, *copy = NULL;
        require(hone_snapshot_take(&snapshot, &whole, 1,
                                   step == 0 ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT,
                                   &error),
                &error);
        require(hone_snapshot_take(&copy, &whole, 1, HONE_SNAPSHOT_COPY, &error), &error);
        assert_int_equal(hone_snapshot_write(copy, directory, NULL, 0, &error),
                         HONE_ERROR_ARGUMENT);
        assert_int_equal(hone_snapshot_pack(snapshot, NULL, 0, &size, &error), HONE_ERROR_ARGUMENT);
        hone_snapshot_free(copy);
        require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
        hone_snapshot_free(snapshot);
    }
    hone_restore_report report;
    require(hone_snapshot_restore(&again, 1, directory, &report, &error), &error);
    assert_int_equal(report.files, 4);
    assert_same(whole, again, slots, 3);
    for (int i = 1; i <= 4; i++) {
        snprintf(path, sizeof path, "%s/%012d-%s.safetensors", directory, i,
                 i == 1 ? "full" : "increment");
        assert_int_equal(unlink(path), 0);
    }
    rmdir(directory);
    hone_table_free(whole);
    hone_table_free(again);
    hone_context_free(context);
}

static void test_packed_files_are_written_files(void **state)
{
    (void)state;
    char path[] = "/tmp/hone-pack-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    hone_context *const context = make_context(1, NULL);
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[2] = {2, 3}, none = 0;
    const hone_file_entry entries[] = {
        {"b", hone_tensor_view((void *)(uintptr_t)values, HONE_F32, 2, shape)},
        {"a", hone_tensor_view(NULL, HONE_I64, 1, &none)},
    };
    const hone_file_pair pair = {"key", "value"};
    require(hone_file_write(context, path, entries, 2, &pair, 1, &error), &error);
    size_t size = 0;
    require(hone_file_pack(context, NULL, 0, &size, entries, 2, &pair, 1, &error), &error);
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_size, size);
    char *const packed = calloc(2, size), *const written = packed + size;
    require(hone_file_pack(context, packed, size, &size, entries, 2, &pair, 1, &error), &error);
    FILE *const file = fopen(path, "rb");
    assert_int_equal(fread(written, 1, size, file), size);
    fclose(file);
    assert_memory_equal(packed, written, size);
    assert_int_equal(hone_file_pack(context, NULL, 0, NULL, entries, 2, NULL, 0, &error),
                     HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_file_pack(NULL, NULL, 0, &size, entries, 2, NULL, 0, &error),
                     HONE_ERROR_ARGUMENT);
    free(packed);
    close(descriptor);
    unlink(path);
    hone_context_free(context);
}

/* ---- another rule ---------------------------------------------------------------------------- */

/* The rows of `from` under its rule of now, made by hand: what a changed table must be. */
static hone_table *rebuild(const hone_context *context, const hone_table *from,
                           const hone_table_options *options)
{
    hone_table *const made = make_table(context, "items", options);
    const int64_t n = hone_table_count(from);
    int64_t *const keys = calloc((size_t)n * 2 + 1, sizeof *keys);
    float *const values = calloc((size_t)n * WIDTH + 1, sizeof *values);
    const hone_tensor view = ROWS(values, HONE_F32, n, WIDTH);
    require(hone_table_keys(from, keys, &error), &error);
    require(hone_table_find(from, keys, n, keys + n, NULL, &error), &error);
    require(hone_table_gather(from, keys + n, n, NULL, &view, &error), &error);
    require(hone_table_insert(made, keys, n, keys + n, NULL, &error), &error);
    require(hone_table_scatter(made, keys + n, n, NULL, &view, &error), &error);
    free(keys);
    free(values);
    return made;
}

/* Values by key alone, where row numbers differ. */
static void assert_same_values(const hone_table *a, const hone_table *b)
{
    const int64_t n = hone_table_count(a);
    assert_int_equal(n, hone_table_count(b));
    int64_t *const keys = calloc((size_t)n * 2 + 1, sizeof *keys), missing = 0;
    float *const x = calloc((size_t)n * 2 * WIDTH + 1, sizeof *x), *const y = x + n * WIDTH;
    const hone_tensor vx = ROWS(x, HONE_F32, n, WIDTH), vy = ROWS(y, HONE_F32, n, WIDTH);
    require(hone_table_keys(a, keys, &error), &error);
    for (int k = 0; k < 3; k++) {
        require(hone_table_find(a, keys, n, keys + n, NULL, &error), &error);
        require(hone_table_gather(a, keys + n, n, slots[k], &vx, &error), &error);
        require(hone_table_find(b, keys, n, keys + n, &missing, &error), &error);
        require(hone_table_gather(b, keys + n, n, slots[k], &vy, &error), &error);
        assert_int_equal(missing, 0);
        assert_memory_equal(x, y, (size_t)n * WIDTH * sizeof *x);
    }
    free(keys);
    free(x);
}

static void test_a_changed_rule_keeps_the_rows(void **state)
{
    (void)state;
    hone_context *const context = make_context(2, NULL);
    static const char *const rules[] = {"sparse_adam", "sparse_adamw_tf", "adamw"};
    for (size_t i = 0; i < COUNT(rules); i++) {
        hone_table_options options = plain_options(WIDTH, "sgd");
        hone_table *const table = make_table(context, "items", &options);
        train_alone(table, 0, 5); /* rows were freed, too */
        options.rule = rules[i];
        options.bias = HONE_BIAS_TABLE;
        hone_table *const expected = rebuild(context, table, &options);
        hone_table *const plain = rebuild(context, table, &options);
        require(hone_table_change_rule(table, &options, &error), &error);
        assert_same_values(table, plain); /* and states of zero */
        assert_int_equal(hone_table_step_count(table), 0);
        train_alone(table, 5, 11);
        train_alone(expected, 5, 11);
        assert_same_values(table, expected);
        hone_table_free(table);
        hone_table_free(expected);
        hone_table_free(plain);
    }
    hone_context_free(context);
}

static void test_a_changed_rule_is_refused_in_time(void **state)
{
    (void)state;
    hone_context *const context = make_context(1, NULL);
    hone_table_options options = plain_options(WIDTH, "sgd");
    options.max_bytes = 400000;
    hone_table *table = make_table(context, "items", &options);
    hone_lookup *lookup = NULL;
    require(hone_lookup_create(&lookup, table, &error), &error);
    train(table, lookup, 1);
    float grads[BATCH * WIDTH] = {0};
    const hone_tensor view = ROWS(grads, HONE_F32, BATCH, WIDTH);
    require(hone_table_add_gradients(table, lookup, &view, &error), &error);
    hone_table_options wanted = options;
    wanted.rule = "adamw";
    assert_int_equal(hone_table_change_rule(table, &wanted, &error), HONE_ERROR_ARGUMENT);
    hone_table_zero_grad(table);
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_FULL, &error), &error);
    assert_int_equal(hone_table_change_rule(table, &wanted, &error), HONE_ERROR_ARGUMENT);
    hone_snapshot_free(snapshot);
    assert_int_equal(hone_table_change_rule(table, NULL, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_table_change_rule(NULL, &wanted, &error), HONE_ERROR_ARGUMENT);
    wanted.rule = "adamv";
    assert_int_equal(hone_table_change_rule(table, &wanted, &error), HONE_ERROR_NAME);
    wanted.rule = "muon";
    assert_int_equal(hone_table_change_rule(table, &wanted, &error), HONE_ERROR_UNSUPPORTED);
    /* more rows than the budget holds with the states of adamw */
    for (uint64_t step = 2; step < 40; step++)
        train(table, lookup, step);
    wanted.rule = "adamw";
    assert_int_equal(hone_table_change_rule(table, &wanted, &error), HONE_ERROR_RANGE);
    train(table, lookup, 40);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_context_free(context);
}

/* ---- memory that runs out -------------------------------------------------------------------- */

static void test_memory_runs_out(void **state)
{
    (void)state;
    struct counting counting = {0};
    hone_context_options context_options;
    hone_context_options_init(&context_options);
    context_options.threads = 1;
    context_options.allocator = counting_allocator(&counting);
    hone_context *context = NULL;
    require(hone_context_create(&context, &context_options, &error), &error);
    hone_table_options options = plain_options(WIDTH, "sgd");
    hone_table *table = make_table(context, "items", &options);
    train_alone(table, 0, 4);
    options.rule = "sparse_adamw";
    hone_table *const before = rebuild(context, table, &options);
    hone_status status = HONE_ERROR_MEMORY;
    int failures = 0;
    for (size_t k = 1; status != HONE_OK; k++, failures++) {
        counting.fail_at = counting.calls + k;
        status = hone_table_change_rule(table, &options, &error);
        counting.fail_at = 0;
        if (status != HONE_OK)
            assert_int_equal(status, HONE_ERROR_MEMORY);
    }
    assert_true(failures > 5);
    assert_same_values(table, before);
    hone_table_free(before);

    size_t size = 0;
    void *const bytes = pack(table, &size);
    hone_table *again = make_table(context, "items", &options);
    failures = 0;
    status = HONE_ERROR_MEMORY;
    for (size_t k = 1; status != HONE_OK; k++, failures++) {
        counting.fail_at = counting.calls + k;
        status = hone_snapshot_unpack(&again, 1, bytes, size, &error);
        counting.fail_at = 0;
        if (status != HONE_OK) {
            assert_int_equal(status, HONE_ERROR_MEMORY);
            assert_int_equal(hone_table_count(again), 0);
        }
    }
    assert_true(failures > 5);
    assert_same(table, again, slots, 3);
    free(bytes);
    hone_table_free(again);
    hone_table_free(table);
    hone_context_free(context);
    assert_int_equal(counting.blocks, 0);
    assert_int_equal(counting.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_continues_the_run),
        cmocka_unit_test(test_damaged_bytes_are_refused),
        cmocka_unit_test(test_a_copy_disturbs_no_snapshot),
        cmocka_unit_test(test_packed_files_are_written_files),
        cmocka_unit_test(test_a_changed_rule_keeps_the_rows),
        cmocka_unit_test(test_a_changed_rule_is_refused_in_time),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
