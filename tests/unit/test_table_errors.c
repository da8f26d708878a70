/* SPDX-License-Identifier: Apache-2.0 */
/* What tables refuse, in which words; and that a call that fails leaves everything as it was. */
#include "support/fixtures.h"
#include "table_subject.h"

#include <math.h>

static void expect(hone_status found, const hone_error *error, hone_status status,
                   const char *sentence)
{
    assert_int_equal(found, status);
    if (strstr(error->message, sentence) == NULL)
        fail_msg("\"%s\" was expected in: %s", sentence, error->message);
}

static void refuse_options(const hone_table_options *options, hone_status status,
                           const char *sentence)
{
    hone_table *table = NULL;
    hone_error error;
    expect(hone_table_create(&table, context, "t", options, &error), &error, status, sentence);
    assert_null(table);
}

static void test_options(void **state)
{
    (void)state;
    hone_table_options o = plain_options(0, "sgd");
    refuse_options(&o, HONE_ERROR_RANGE, "width is 0; it must be 1 to 4096");
    o.width = 4097;
    refuse_options(&o, HONE_ERROR_RANGE, "width is 4097");
    o.width = 4;
    o.dtype = HONE_I32;
    refuse_options(&o, HONE_ERROR_DTYPE, "dtype is I32");
    o.dtype = HONE_F32;
    o.rule = "adamwww";
    refuse_options(&o, HONE_ERROR_NAME, "adamw");
    o.rule = "muon";
    refuse_options(&o, HONE_ERROR_UNSUPPORTED, "a rule over matrices");
    o.rule = "sgd";
    o.admit_probability = NAN;
    refuse_options(&o, HONE_ERROR_RANGE, "admit_probability");
    o.admit_probability = 1;
    o.admit_count = 0;
    refuse_options(&o, HONE_ERROR_RANGE, "admit_count is 0");
    o.admit_count = 1;
    o.max_bytes = 100;
    refuse_options(&o, HONE_ERROR_RANGE, "needs at least");
    o.max_bytes = 0;
    o.initial_b = -1;
    refuse_options(&o, HONE_ERROR_RANGE, "deviation");
    hone_table *table = NULL;
    hone_error error;
    o.initial_b = 1;
    expect(hone_table_create(&table, context, "", &o, &error), &error, HONE_ERROR_NAME, "empty");
    expect(hone_table_create(&table, context, "a@b", &o, &error), &error, HONE_ERROR_NAME, "'@'");
    expect(hone_table_create(&table, context, "a\xff", &o, &error), &error, HONE_ERROR_NAME,
           "not UTF-8");
    char name[257] = {0};
    memset(name, 'a', 256);
    expect(hone_table_create(&table, context, name, &o, &error), &error, HONE_ERROR_NAME,
           "has 256 bytes; it may have 255");
}

static void test_batches(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sgd"), other = plain_options(4, "adam");
    hone_table *const table = make_table(context, "t", &o);
    hone_table *const second = make_table(context, "u", &other);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    int64_t keys[2] = {1, 2}, rows[2];
    float values[8] = {0};
    expect(hone_table_insert(table, keys, -1, rows, NULL, &error), &error, HONE_ERROR_RANGE, "-1");
    expect(hone_table_insert(table, keys, (int64_t)1 << 32, rows, NULL, &error), &error,
           HONE_ERROR_RANGE, "2^32 - 2");
    hone_tensor view = ROWS(values, HONE_F32, 2, 4);
    for (int64_t n = -1; n <= (int64_t)1 << 32; n += ((int64_t)1 << 32) + 1) {
        const char *const message = n < 0 ? "a batch of -1 keys" : "a batch of 4294967296 keys";
        expect(hone_table_erase(table, keys, n, NULL, &error), &error, HONE_ERROR_RANGE, message);
        expect(hone_table_apply_gradients(table, keys, n, &view, NULL, &error), &error,
               HONE_ERROR_RANGE, message);
    }
    expect(hone_table_erase(table, NULL, 2, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "keys is NULL");
    expect(hone_table_find(table, NULL, 2, rows, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "keys is NULL");
    require(hone_table_insert(table, NULL, 0, NULL, NULL, &error), &error);
    require(hone_table_insert(table, keys, 2, rows, NULL, &error), &error);
    view = ROWS(values, HONE_F32, 2, 3);
    expect(hone_table_gather(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_SHAPE,
           "[2, 4]");
    view = ROWS(values, HONE_I32, 2, 4);
    expect(hone_table_gather(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_DTYPE, "I32");
    view = ROWS(values, HONE_F32, 2, 4);
    rows[1] = 2;
    expect(hone_table_scatter(table, rows, 2, NULL, &view, &error), &error, HONE_ERROR_RANGE,
           "row 1 is 2");
    rows[1] = 1;
    expect(hone_table_gather(second, rows, 0, "exp_avgg", &view, &error), &error, HONE_ERROR_NAME,
           "exp_avg");
    expect(hone_table_lookup(second, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error,
           HONE_ERROR_ARGUMENT, "not \"u\"");
    require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_READ_ONLY, NULL, &error), &error);
    expect(hone_table_apply(table, lookup, &view, NULL, &error), &error, HONE_ERROR_ARGUMENT,
           "read-only");
    const int64_t offsets[3] = {0, 2, 1};
    expect(hone_table_lookup_bags(table, lookup, keys, 1, offsets, 2, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_RANGE, "below the one before");
    const int64_t bag[] = {0, 1}, two = 2;
    const hone_tensor weights = hone_tensor_view(values, HONE_I32, 1, &bag[1]);
    expect(hone_table_lookup_bags(table, lookup, keys, 1, bag, 1, &weights, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_DTYPE, "weights is I32; it must be F32, F64, BF16 or F16");
    const hone_tensor more = hone_tensor_view(values, HONE_F32, 1, &two);
    expect(hone_table_lookup_bags(table, lookup, keys, 1, bag, 1, &more, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, NULL, &error),
           &error, HONE_ERROR_SHAPE, "weights has 1 dimensions and 2 elements; it must be [1]");
    expect(hone_table_set(table, "lr", -1, &error), &error, HONE_ERROR_RANGE, "lr");
    expect(hone_table_set(table, "momentum", 0.9, &error), &error, HONE_ERROR_UNSUPPORTED,
           "momentum");
    expect(hone_table_set_grad_accum_steps(table, 0, false, &error), &error, HONE_ERROR_RANGE, "0");
    require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    require(hone_table_add_gradients(table, lookup, &view, &error), &error);
    expect(hone_table_set_grad_accum_steps(table, 2, false, &error), &error, HONE_ERROR_ARGUMENT,
           "wait");
    hone_table_zero_grad(table);
    require(hone_table_set_grad_accum_steps(table, 2, false, &error), &error);
    hone_lookup_free(lookup);
    hone_table_free(table);
    hone_table_free(second);
}

/* A lookup that was refused cannot be learnt from: not even from what was in it before. */
static void test_refused_lookup(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sgd");
    hone_table *const table = make_table(context, "t", &o);
    hone_lookup *lookup = NULL;
    hone_error error;
    require(hone_lookup_create(&lookup, table, &error), &error);
    const int64_t keys[2] = {1, 2}, bag[2] = {0, 1};
    float values[8] = {0};
    const hone_tensor view = ROWS(values, HONE_F32, 2, 4), narrow = ROWS(values, HONE_F32, 2, 3);
    for (int bags = 0; bags < 2; bags++) {
        require(hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_TRAIN, NULL, &error), &error);
        const hone_status status =
            bags ? hone_table_lookup_bags(table, lookup, keys, 2, bag, 1, NULL, HONE_POOLING_SUM,
                                          HONE_LOOKUP_TRAIN, NULL, &error)
                 : hone_table_lookup(table, lookup, keys, 2, HONE_LOOKUP_TRAIN, &narrow, &error);
        assert_int_equal(status, bags ? HONE_ERROR_RANGE : HONE_ERROR_SHAPE);
        assert_int_equal(hone_lookup_unique(lookup) + hone_lookup_inserted(lookup), 0);
        expect(hone_table_apply(table, lookup, &view, NULL, &error), &error, HONE_ERROR_SHAPE,
               "must be [0, 4]");
    }
    hone_lookup_free(lookup);
    hone_table_free(table);
}

/* Empty batches are ordinary steps: the powers move, no row does. */
static void test_empty_batches(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sparse_adam");
    hone_table *const table = make_table(context, "t", &o);
    hone_error error;
    hone_table_report report;
    const hone_tensor none = ROWS(NULL, HONE_F32, 0, 4);
    require(hone_table_apply_gradients(table, NULL, 0, &none, &report, &error), &error);
    assert_true(report.applied);
    assert_int_equal(report.stepped, 0);
    double one, two;
    hone_table_powers(table, &one, &two);
    assert_true(one == 0.9 && two == 0.999);
    require(hone_table_step(table, &report, &error), &error);
    assert_false(report.applied);
    assert_int_equal(hone_table_step_count(table), 1);
    hone_table_free(table);
}

/* What is missing is named, by every call that can say so. */
static void test_null(void **state)
{
    (void)state;
    const hone_table_options o = plain_options(4, "sgd");
    hone_table *const table = make_table(context, "t", &o);
    hone_table *const none[2] = {table, NULL};
    hone_lookup *lookup = NULL;
    hone_snapshot *snapshot = NULL;
    hone_error e;
    require(hone_lookup_create(&lookup, table, &e), &e);
    int64_t key = 1, row = 0, bags[2] = {0, 1};
    float values[4] = {0};
    double value;
    const hone_tensor view = ROWS(values, HONE_F32, 1, 4);
    const hone_eviction policy = {0};
#define REFUSE(call)                                   \
    do {                                               \
        expect(call, &e, HONE_ERROR_ARGUMENT, "NULL"); \
        memset(&e, 0, sizeof e);                       \
    } while (0)
    REFUSE(hone_table_find(NULL, &key, 1, &row, NULL, &e));
    REFUSE(hone_table_insert(NULL, &key, 1, &row, NULL, &e));
    REFUSE(hone_table_erase(NULL, &key, 1, NULL, &e));
    REFUSE(hone_table_gather(NULL, &row, 1, NULL, &view, &e));
    REFUSE(hone_table_gather(table, &row, 1, NULL, NULL, &e));
    REFUSE(hone_table_scatter(NULL, &row, 1, NULL, &view, &e));
    REFUSE(hone_table_scatter(table, &row, 1, NULL, NULL, &e));
    REFUSE(hone_table_keys(NULL, &key, &e));
    REFUSE(hone_table_lookup(NULL, lookup, &key, 1, HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup(table, NULL, &key, 1, HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup_bags(NULL, lookup, &key, 1, bags, 1, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_lookup_bags(table, lookup, &key, 1, NULL, 1, NULL, HONE_POOLING_SUM,
                                  HONE_LOOKUP_TRAIN, &view, &e));
    REFUSE(hone_table_add_gradients(NULL, lookup, &view, &e));
    REFUSE(hone_table_add_gradients(table, NULL, &view, &e));
    REFUSE(hone_table_add_gradients(table, lookup, NULL, &e));
    REFUSE(hone_table_step(NULL, NULL, &e));
    REFUSE(hone_table_apply(NULL, lookup, &view, NULL, &e));
    REFUSE(hone_table_apply(table, lookup, NULL, NULL, &e));
    REFUSE(hone_table_apply_gradients(NULL, &key, 1, &view, NULL, &e));
    REFUSE(hone_table_apply_gradients(table, NULL, 1, &view, NULL, &e));
    REFUSE(hone_table_evict(NULL, &policy, 1, NULL, &e));
    REFUSE(hone_table_evict(table, NULL, 1, NULL, &e));
    REFUSE(hone_table_change_rule(NULL, &o, &e));
    REFUSE(hone_table_get(NULL, "lr", &value, &e));
    REFUSE(hone_table_set(NULL, "lr", 1, &e));
    REFUSE(hone_table_set_schedule(NULL, NULL, &e));
    REFUSE(hone_table_schedule_step(NULL, &e));
    REFUSE(hone_table_schedule_epoch(NULL, &e));
    REFUSE(hone_table_schedule_metric(NULL, 1, &e));
    REFUSE(hone_table_set_grad_accum_steps(NULL, 1, false, &e));
    REFUSE(hone_table_set_loss_scale(NULL, 1, &e));
    REFUSE(hone_table_set_step(NULL, 1, &e));
    REFUSE(hone_table_export(NULL, "x", 0, 1, &e));
    REFUSE(hone_table_export(table, NULL, 0, 1, &e));
    REFUSE(hone_table_import(NULL, "x", 0, 1, &e));
    REFUSE(hone_table_import(table, NULL, 0, 1, &e));
    REFUSE(hone_snapshot_take(NULL, none, 1, HONE_SNAPSHOT_FULL, &e));
    REFUSE(hone_snapshot_take(&snapshot, none, 2, HONE_SNAPSHOT_FULL, &e));
    REFUSE(hone_snapshot_restore(none, 2, ".", NULL, &e));
    REFUSE(hone_snapshot_restore(none, 1, NULL, NULL, &e));
    REFUSE(hone_snapshot_unpack(none, 2, "", 0, &e));
    REFUSE(hone_snapshot_unpack(none, 1, NULL, 1, &e));
    REFUSE(hone_snapshot_write(NULL, ".", NULL, 0, &e));
    REFUSE(hone_snapshot_pack(NULL, NULL, 0, NULL, &e));
    require(hone_snapshot_take(&snapshot, none, 1, HONE_SNAPSHOT_FULL, &e), &e);
    REFUSE(hone_snapshot_write(snapshot, NULL, NULL, 0, &e));
    REFUSE(hone_snapshot_write(snapshot, ".", NULL, 1, &e));
    hone_snapshot_free(snapshot);
    require(hone_snapshot_take(&snapshot, none, 1, HONE_SNAPSHOT_COPY, &e), &e);
    REFUSE(hone_snapshot_pack(snapshot, NULL, 0, NULL, &e));
    hone_snapshot_free(snapshot);
#undef REFUSE
    hone_lookup_free(lookup);
    hone_table_free(table);
}

/* A gradient that was refused together with its call leaves accumulation, and what waits,
 * as it is. */
static void test_refused_gradient(void **state)
{
    (void)state;
    hone_table_options o = plain_options(1, "sgd");
    o.nonfinite = HONE_ROW_ERROR;
    hone_table *const table = make_table(context, "t", &o);
    hone_lookup *lookup = NULL;
    hone_table_report report;
    hone_error error;
    int64_t key = 1;
    float value = NAN;
    const hone_tensor view = ROWS(&value, HONE_F32, 1, 1);
    require(hone_lookup_create(&lookup, table, &error), &error);
    require(hone_table_lookup(table, lookup, &key, 1, HONE_LOOKUP_TRAIN, NULL, &error), &error);
    expect(hone_table_apply(table, lookup, &view, NULL, &error), &error, HONE_ERROR_NONFINITE,
           "nothing was stepped");
    value = 1;
    require(hone_table_set_grad_accum_steps(table, 2, false, &error), &error);
    require(hone_table_apply(table, lookup, &view, &report, &error), &error);
    assert_false(report.applied);
    hone_table_zero_grad(table); /* one of two: what waits stays */
    require(hone_table_step(table, &report, &error), &error);
    assert_true(report.applied);
    assert_int_equal(report.stepped, 1);
    /* two of four are refused: the others are the two of the next update */
    const float slopes[] = {0.5f, NAN, INFINITY, 0.25f};
    float before, after;
    const hone_tensor was = ROWS(&before, HONE_F32, 1, 1), is = ROWS(&after, HONE_F32, 1, 1);
    require(hone_table_gather(table, hone_lookup_rows(lookup), 1, NULL, &was, &error), &error);
    require(hone_table_set(table, "lr", 1, &error), &error);
    for (size_t i = 0; i < COUNT(slopes); i++) {
        value = slopes[i];
        const hone_status status = hone_table_apply(table, lookup, &view, &report, &error);
        assert_int_equal(status, isfinite(value) ? HONE_OK : HONE_ERROR_NONFINITE);
        hone_table_zero_grad(table);
    }
    require(hone_table_gather(table, hone_lookup_rows(lookup), 1, NULL, &is, &error), &error);
    assert_true(after == before - 0.75f);
    hone_lookup_free(lookup);
    hone_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_refused_lookup), cmocka_unit_test(test_empty_batches),
        cmocka_unit_test(test_null),           cmocka_unit_test(test_refused_gradient),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
