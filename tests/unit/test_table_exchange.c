/* SPDX-License-Identifier: Apache-2.0 */
/* Rows by key: from any shards to any others, in other dtypes too, and training goes on with the
 * bits of the table that they were exported from. */
#include "support/fixtures.h"
#include "table_subject.h"

#define WIDTH 5
#define BATCH 300
#define FROM 3
#define TO 2

static hone_error error;
static char folder[FOLDER_SIZE], path[FROM][FOLDER_SIZE + 24];

static int set_up(void **state)
{
    make_folder(folder);
    for (int k = 0; k < FROM; k++)
        snprintf(path[k], sizeof path[k], "%s/shard-%d", folder, k);
    return open_single_context(state);
}

static int tear_down(void **state)
{
    remove_folder(folder);
    return close_context(state);
}

/* Step `step` of every shard of a run; a row that lies in another shard is no one's here. */
static void train(hone_table *table, uint64_t step)
{
    uint64_t random = step;
    int64_t keys[BATCH];
    float grads[BATCH * WIDTH];
    for (int i = 0; i < BATCH; i++)
        keys[i] = (int64_t)(next_random(&random) % 1000) - 500;
    for (int i = 0; i < BATCH * WIDTH; i++)
        grads[i] = random_float(&random);
    const hone_tensor view = ROWS(grads, HONE_F32, BATCH, WIDTH);
    require(hone_table_apply_gradients(table, keys, BATCH, &view, NULL, &error), &error);
}

/* Rows 0 to 399, not all stepped equally often. */
static hone_table *trained_table(const hone_table_options *options, uint64_t steps)
{
    hone_table *const table = make_table(context, "users", options);
    int64_t keys[400], rows[400];
    for (int i = 0; i < 400; i++)
        keys[i] = i - 200;
    require(hone_table_insert(table, keys, 400, rows, NULL, &error), &error);
    for (uint64_t step = 0; step < steps; step++)
        train(table, step);
    return table;
}

static void export_all(const hone_table *table)
{
    for (int64_t shard = 0; shard < FROM; shard++)
        require(hone_table_export(table, path[shard], shard, FROM, &error), &error);
}

static void import_all(hone_table *table, int64_t shard)
{
    for (int k = 0; k < FROM; k++)
        require(hone_table_import(table, path[k], shard, TO, &error), &error);
}

/* The rows of `part`'s keys are the same in `whole`, in values and states. Returns their number. */
static int64_t compare(hone_table *part, hone_table *whole, int64_t shard)
{
    const int64_t n = hone_table_count(part);
    int64_t *const keys = malloc((size_t)n * 3 * sizeof *keys);
    double *const x = malloc((size_t)n * 2 * WIDTH * sizeof *x), *const y = x + n * WIDTH;
    require(hone_table_keys(part, keys, &error), &error);
    require(hone_table_find(part, keys, n, keys + n, NULL, &error), &error);
    require(hone_table_find(whole, keys, n, keys + 2 * n, NULL, &error), &error);
    const char *const slots[] = {NULL, "exp_avg", "exp_avg_sq"};
    for (size_t k = 0; k < COUNT(slots); k++) {
        const hone_tensor vx = ROWS(x, HONE_F64, n, WIDTH), vy = ROWS(y, HONE_F64, n, WIDTH);
        require(hone_table_gather(part, keys + n, n, slots[k], &vx, &error), &error);
        require(hone_table_gather(whole, keys + 2 * n, n, slots[k], &vy, &error), &error);
        assert_memory_equal(x, y, (size_t)n * WIDTH * sizeof *x);
    }
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(hone_shard_of(keys[i], TO), shard);
    free(keys);
    free(x);
    return n;
}

/* Written in three shards, read in two: together they go on as the one table does. */
static void test_shards_go_on(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        hone_dtype dtype;
        hone_bias bias;
        hone_decay decay;
    } cases[] = {
        {"sparse_adamw", HONE_F32, HONE_BIAS_DEFAULT, HONE_DECAY_DEFAULT},
        {"sparse_adamw_tf", HONE_F64, HONE_BIAS_DEFAULT, HONE_DECAY_DEFAULT},
        {"adamw", HONE_F32, HONE_BIAS_ROW, HONE_DECAY_CATCH_UP},
        {"adamw", HONE_BF16, HONE_BIAS_GLOBAL, HONE_DECAY_L2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        hone_table_options options = plain_options(WIDTH, cases[i].rule);
        options.dtype = cases[i].dtype;
        options.stochastic = true;
        options.bias = cases[i].bias;
        options.decay = cases[i].decay;
        hone_table *const whole = trained_table(&options, 6);
        export_all(whole);
        hone_table *parts[TO];
        for (int64_t shard = 0; shard < TO; shard++) {
            parts[shard] = make_table(context, "users", &options);
            import_all(parts[shard], shard);
            assert_int_equal(hone_table_step_count(parts[shard]), 6);
        }
        for (uint64_t step = 6; step < 12; step++) {
            train(whole, step);
            for (int shard = 0; shard < TO; shard++)
                train(parts[shard], step);
        }
        assert_int_equal(compare(parts[0], whole, 0) + compare(parts[1], whole, 1),
                         hone_table_count(whole));
        for (int shard = 0; shard < TO; shard++)
            hone_table_free(parts[shard]);
        hone_table_free(whole);
    }
}

/* bf16 rows enter a table of floats; a table with steps of its own keeps its counters. */
static void test_other_tables(void **state)
{
    (void)state;
    hone_table_options options = plain_options(WIDTH, "adamw");
    options.dtype = HONE_BF16;
    hone_table *const whole = trained_table(&options, 3);
    export_all(whole);
    options.dtype = HONE_F32;
    hone_table *const part = make_table(context, "users", &options);
    const hone_tensor nothing = ROWS(NULL, HONE_F32, 0, WIDTH);
    require(hone_table_apply_gradients(part, NULL, 0, &nothing, NULL, &error), &error);
    assert_int_equal(hone_table_step_count(part), 1);
    import_all(part, 1);
    assert_int_equal(hone_table_step_count(part), 1);
    assert_true(compare(part, whole, 1) > 0);
    hone_table_free(part);
    hone_table_free(whole);
}

static void refuse(const char *name, int64_t width, hone_status status, const char *sentence)
{
    const hone_table_options options = plain_options(width, "adamw");
    hone_table *const table = make_table(context, name, &options);
    assert_int_equal(hone_table_import(table, path[0], 0, 1, &error), status);
    if (strstr(error.message, sentence) == NULL)
        fail_msg("\"%s\" was expected in: %s", sentence, error.message);
    assert_int_equal(hone_table_count(table), 0);
    hone_table_free(table);
}

static void test_refusals(void **state)
{
    (void)state;
    const hone_table_options options = plain_options(WIDTH, "adamw");
    hone_table *const whole = trained_table(&options, 1);
    require(hone_table_export(whole, path[0], 0, 1, &error), &error);
    refuse("users", WIDTH + 1, HONE_ERROR_MISMATCH, "must be [400, 6]");
    refuse("items", WIDTH, HONE_ERROR_MISMATCH, "no list of keys \"items@id\"");
    assert_int_equal(hone_table_export(whole, path[0], 3, 3, &error), HONE_ERROR_RANGE);
    assert_int_equal(hone_table_import(whole, path[0], 0, 0, &error), HONE_ERROR_RANGE);
    /* counters that no table has */
    const int64_t key = 1, one = 1, shape[] = {1, WIDTH};
    const float values[WIDTH] = {0};
    const double power = 0.5, beyond = 1.5;
    const uint64_t count = 1;
    const hone_file_entry entries[] = {
        {"users@id", hone_tensor_view((void *)(uintptr_t)&key, HONE_I64, 1, &one)},
        {"users@embedding", hone_tensor_view((void *)(uintptr_t)values, HONE_F32, 2, shape)},
        {"users@step", hone_tensor_view((void *)(uintptr_t)&key, HONE_I64, 1, &one)},
        {"users@beta1", hone_tensor_view((void *)(uintptr_t)&power, HONE_F64, 1, &one)},
        {"users@beta2", hone_tensor_view((void *)(uintptr_t)&beyond, HONE_F64, 1, &one)},
        {"users@global_step", hone_tensor_view((void *)(uintptr_t)&count, HONE_U64, 1, &one)},
        {"users@tick", hone_tensor_view((void *)(uintptr_t)&count, HONE_U64, 1, &one)},
        {"users@clock", hone_tensor_view((void *)(uintptr_t)&count, HONE_U64, 1, &one)},
    };
    require(hone_file_write(context, path[0], entries, COUNT(entries), NULL, 0, &error), &error);
    refuse("users", WIDTH, HONE_ERROR_FORMAT, "with running products 0.5 and 1.5");
    require(hone_file_write(context, path[0], entries, 2, NULL, 0, &error), &error);
    require(hone_table_import(whole, path[0], 0, 1, &error), &error); /* values alone will do */
    hone_table_free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_go_on),
        cmocka_unit_test(test_other_tables),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
