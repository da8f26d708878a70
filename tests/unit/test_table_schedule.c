/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules in tables: a row under a schedule is as a parameter under it, snapshots hold where the
 * schedule stands to the bit, and what cannot be is refused and changes nothing. */
#include "support/fixtures.h"
#include "support/reseal.h"
#include "table_subject.h"

#include <math.h>
#include <unistd.h>

#define WIDTH 5
#define STEPS 24

static hone_error error;

static hone_table *table_of(const char *json, const char *rule)
{
    hone_spec *const spec = parse_spec(json);
    hone_table_options options = plain_options(WIDTH, rule);
    options.spec = spec;
    hone_table *const table = make_table(context, "items", &options);
    hone_spec_free(spec);
    return table;
}

static double get(const hone_table *table, const char *hyper)
{
    double value;
    require(hone_table_get(table, hyper, &value, &error), &error);
    return value;
}

static void refused(hone_status wanted, const char *message, hone_status status)
{
    if (status != wanted || strcmp(error.message, message) != 0)
        fail_msg("%s: \"%s\"; expected \"%s\"", hone_status_name(status), error.message, message);
}

/* Gradients of step `step` for keys 0 to 2, and what moves on after it. */
static void train(hone_table *table, uint64_t step)
{
    const int64_t keys[] = {0, 1, 2};
    float grads[3 * WIDTH];
    uint64_t random = step + 100;
    for (size_t i = 0; i < COUNT(grads); i++)
        grads[i] = random_float(&random);
    const hone_tensor view = ROWS(grads, HONE_F32, 3, WIDTH);
    int64_t rows[3];
    require(hone_table_insert(table, keys, 3, rows, NULL, &error), &error);
    require(hone_table_apply_gradients(table, keys, 3, &view, NULL, &error), &error);
    require(hone_table_schedule_step(table, &error), &error);
    require(hone_table_schedule_metric(table, step < 6 ? 1.0 / (double)(step + 1) : 1, &error),
            &error);
    if (step % 4 == 3)
        require(hone_table_schedule_epoch(table, &error), &error);
}

static void read_rows(const hone_table *table, float *out)
{
    const int64_t rows[] = {0, 1, 2};
    const hone_tensor view = ROWS(out, HONE_F32, 3, WIDTH);
    require(hone_table_gather(table, rows, 3, NULL, &view, &error), &error);
}

static const char *const recipes[] = {
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.125,\"schedule\":{\"type\":"
    "\"cosine_with_warmup\",\"total_steps\":20,\"warmup_steps\":4,\"min_factor\":0.25}}",
    "{\"optimizer_type\":\"adamw\",\"schedule\":{\"type\":\"one_cycle\",\"max_lr\":0.5,"
    "\"total_steps\":25}}",
    "{\"optimizer_type\":\"sgd\",\"learning_rate\":0.5,\"schedule\":{\"type\":\"cyclic\","
    "\"base_lr\":0.1,\"max_lr\":0.4,\"step_size_up\":3}}",
    "{\"optimizer_type\":\"adam\",\"learning_rate\":0.5,\"lr_decay_gamma\":0.75,"
    "\"lr_multipliers\":{\"items\":0.25,\"item\":9}}",
    "{\"optimizer_type\":\"rmsprop\",\"learning_rate\":0.01,\"groups\":[{\"match\":\"items\","
    "\"lr_multiplier\":4,\"schedule\":{\"type\":\"reduce_lr_on_plateau\",\"factor\":0.5,"
    "\"patience\":2}}]}",
};

/* ---- a row and a parameter ------------------------------------------------------------------- */

/* The same steps by an optimizer: the first of the three rows as a parameter, bit for bit. */
static void follow(const char *json, hone_table *table)
{
    hone_spec *const spec = parse_spec(json);
    hone_optimizer *optimizer = NULL;
    require(hone_optimizer_create(&optimizer, context, spec, &error), &error);
    const int64_t keys[] = {0, 1, 2}, shape[] = {WIDTH};
    int64_t index, rows[3];
    float values[3 * WIDTH], grads[WIDTH];
    require(hone_table_insert(table, keys, 3, rows, NULL, &error), &error);
    read_rows(table, values);
    const hone_tensor param = hone_tensor_view(values, HONE_F32, 1, shape);
    const hone_tensor grad = hone_tensor_view(grads, HONE_F32, 1, shape);
    require(hone_optimizer_add(optimizer, "items", &param, hone_spec_match(spec, "items", 2),
                               &index, &error),
            &error);
    require(hone_optimizer_set_grad(optimizer, index, &grad, &error), &error);
    const int group = hone_spec_match(spec, "items", 2);
    const double start = get(table, "lr");
    bool moved = false;
    for (uint64_t step = 0; step < STEPS; step++) {
        uint64_t random = step + 100;
        for (int i = 0; i < WIDTH; i++)
            grads[i] = random_float(&random);
        require(hone_optimizer_step(optimizer, NULL, &error), &error);
        require(hone_optimizer_schedule_step(optimizer, &error), &error);
        require(hone_optimizer_schedule_metric(optimizer, step < 6 ? 1.0 / (double)(step + 1) : 1,
                                               &error),
                &error);
        if (step % 4 == 3)
            require(hone_optimizer_schedule_epoch(optimizer, &error), &error);
        train(table, step);
        moved = moved || get(table, "lr") != start;
        assert_int_equal(hone_table_schedule_count(table),
                         hone_optimizer_schedule_count(optimizer, group));
        float found[3 * WIDTH];
        read_rows(table, found);
        assert_memory_equal(found, values, WIDTH * sizeof(float));
    }
    assert_true(moved);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
}

static void test_rows_equal_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(recipes); i++) {
        hone_table *const table = table_of(recipes[i], NULL);
        follow(recipes[i], table);
        hone_table_free(table);
    }
}

/* A preset takes the schedule of its spec: values by hand, b (e + 1) / 4 and then the cosine. */
static void test_presets_and_rates_by_hand(void **state)
{
    (void)state;
    hone_table *const table =
        table_of("{\"optimizer_type\":\"adamw\",\"learning_rate\":0.5,\"schedule\":{\"type\":"
                 "\"step\",\"step_size\":2,\"gamma\":0.5,\"warmup_steps\":4,"
                 "\"warmup_from_one\":true}}",
                 "sparse_adamw");
    assert_string_equal(hone_schedule_type(hone_table_schedule(table)), "step");
    const double wanted[] = {0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125};
    for (uint64_t e = 0; e < COUNT(wanted); e++) {
        assert_true(get(table, "lr") == wanted[e]);
        assert_int_equal(hone_table_schedule_count(table), e);
        train(table, e);
    }
    /* a rate set by hand is where it goes on from: half of 0.125, and half again at e = 10 */
    require(hone_table_set(table, "lr", 0.0625, &error), &error);
    train(table, 9);
    assert_true(get(table, "lr") == 0.03125);
    require(hone_table_set_schedule(table, NULL, &error), &error);
    train(table, 10);
    assert_true(get(table, "lr") == 0.03125);
    assert_null(hone_table_schedule(table));
    assert_int_equal(hone_table_schedule_count(table), 0);
    hone_table_free(table);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void save(hone_table *table, const char *directory, hone_snapshot_kind kind)
{
    hone_snapshot *snapshot = NULL;
    require(hone_snapshot_take(&snapshot, &table, 1, kind, &error), &error);
    require(hone_snapshot_write(snapshot, directory, NULL, 0, &error), &error);
    hone_snapshot_free(snapshot);
}

/* A table with the recipe's rule and no schedule. */
static hone_table *bare(const char *json)
{
    hone_table *const table = table_of(json, NULL);
    require(hone_table_set_schedule(table, NULL, &error), &error);
    return table;
}

/* A full snapshot after `full` steps, an increment after `increment`: going on from either gives
 * the bits of the run that never stopped. */
static void test_snapshots_hold_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(recipes); i++) {
        char directory[FOLDER_SIZE];
        make_folder(directory);
        hone_table *const whole = table_of(recipes[i], NULL);
        for (uint64_t step = 0; step < STEPS; step++) {
            if (step == 7)
                save(whole, directory, HONE_SNAPSHOT_FULL);
            if (step == 14)
                save(whole, directory, HONE_SNAPSHOT_INCREMENT);
            if (step == 18) /* a base that no spec tells */
                require(hone_table_set(whole, "lr", get(whole, "lr") * 0.7, &error), &error);
            if (step == 19)
                save(whole, directory, HONE_SNAPSHOT_INCREMENT);
            train(whole, step);
        }
        hone_table *again = bare(recipes[i]);
        hone_restore_report report;
        require(hone_snapshot_restore(&again, 1, directory, &report, &error), &error);
        assert_int_equal(report.files, 3);
        for (uint64_t step = 19; step < STEPS; step++)
            train(again, step);
        float wanted[3 * WIDTH], found[3 * WIDTH];
        read_rows(whole, wanted);
        read_rows(again, found);
        assert_memory_equal(wanted, found, sizeof found);
        assert_true(get(whole, "lr") == get(again, "lr"));
        assert_int_equal(hone_table_schedule_count(whole), hone_table_schedule_count(again));
        hone_table_free(whole);
        hone_table_free(again);
        remove_folder(directory);
    }
}

/* Replaces the one occurrence of `old` in the directory's only file by text of the same length, and
 * the checksums by those that fit. */
static void patch_file(const char *directory, const char *old, const char *by)
{
    char path[512], bytes[16384];
    snprintf(path, sizeof path, "%s/%s", directory, "000000000001-full.safetensors");
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    size_t at = 0;
    while (at + strlen(old) < size && memcmp(bytes + at, old, strlen(old)) != 0)
        at++;
    assert_true(at + strlen(old) < size);
    memcpy(bytes + at, by, strlen(by));
    void *sealed = NULL;
    size_t sealed_size = 0;
    assert_true(reseal_snapshot(context, bytes, size, &sealed, &sealed_size));
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(sealed, 1, sealed_size, file), sealed_size);
    fclose(file);
    free(sealed);
}

#define PLACE(e) "\\\"e\\\":\\\"" e "\\\""

/* Descriptions that do not fit: the text of the file is changed, its tensors are sound. */
static void test_descriptions_that_do_not_fit(void **state)
{
    (void)state;
    const struct {
        const char *old, *by, *message;
    } cases[] = {
        {PLACE("0000000000000007"), PLACE("0000000000000019"),
         "table \"items\": its schedule is at step 25 with the base 0.001; its last step is 24, "
         "and "
         "a base is at least 0"},
        {"\\\"schedule\\\":{\\\"bad", "\\\"schedulE\\\":{\\\"bad",
         "table \"items\": its spec has a schedule, its description the place of none"},
        {"\\\"base\\\":\\\"3", "\\\"base\\\":\\\"b",
         "table \"items\": its schedule is at step 7 with the base -0.001; its last step is 24, "
         "and "
         "a base is at least 0"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char directory[FOLDER_SIZE];
        make_folder(directory);
        hone_table *table = table_of(recipes[1], NULL);
        for (uint64_t step = 0; step < 7; step++)
            train(table, step);
        save(table, directory, HONE_SNAPSHOT_FULL);
        hone_table_free(table);
        patch_file(directory, cases[i].old, cases[i].by);
        table = table_of(recipes[1], NULL);
        hone_restore_report report;
        const hone_status status = hone_snapshot_restore(&table, 1, directory, &report, &error);
        assert_int_equal(status, HONE_ERROR_FORMAT);
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("\"%s\"; expected \"%s\"", error.message, cases[i].message);
        assert_int_equal(hone_table_count(table), 0);
        hone_table_free(table);
        remove_folder(directory);
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_past_the_end(void **state)
{
    (void)state;
    hone_table *const table = table_of(recipes[1], NULL);
    for (uint64_t step = 0; step < 24; step++)
        train(table, step);
    const double lr = get(table, "lr"), beta1 = get(table, "beta1");
    refused(HONE_ERROR_RANGE,
            "the schedule one_cycle ends at step 24; there is no value for step 25",
            hone_table_schedule_step(table, &error));
    assert_true(get(table, "lr") == lr && get(table, "beta1") == beta1);
    assert_int_equal(hone_table_schedule_count(table), 24);
    hone_table_free(table);
}

static double halving(double e, void *user)
{
    (void)user;
    return exp2(-e);
}

static void test_callbacks_run_and_are_not_saved(void **state)
{
    (void)state;
    hone_schedule *schedule = NULL;
    hone_snapshot *snapshot = NULL;
    hone_table *table = table_of("{\"optimizer_type\":\"sgd\",\"learning_rate\":0.5}", NULL);
    require(hone_schedule_create_callback(&schedule, context, halving, NULL, &error), &error);
    require(hone_table_set_schedule(table, schedule, &error), &error);
    hone_schedule_free(schedule);
    train(table, 0);
    assert_true(get(table, "lr") == 0.25);
    assert_int_equal(hone_snapshot_take(&snapshot, &table, 1, HONE_SNAPSHOT_FULL, &error),
                     HONE_ERROR_UNSUPPORTED);
    assert_null(snapshot);
    train(table, 1);
    assert_true(get(table, "lr") == 0.125);
    hone_table_free(table);
}

/* Rows of an sgd without momentum have no buffer. */
static void test_momentum_needs_its_state(void **state)
{
    (void)state;
    hone_spec *const spec = parse_spec(recipes[2]);
    hone_optimizer *optimizer = NULL;
    require(hone_optimizer_create(&optimizer, context, spec, &error), &error);
    hone_table *const table = table_of("{\"optimizer_type\":\"sgd\",\"learning_rate\":0.5}", NULL);
    refused(HONE_ERROR_UNSUPPORTED,
            "table \"items\": its schedule would move momentum from 0 or to 0: the rows' records "
            "were made for the states the rule had at the start",
            hone_table_set_schedule(table, hone_optimizer_schedule(optimizer, 0), &error));
    assert_true(get(table, "lr") == 0.5 && get(table, "momentum") == 0);
    assert_null(hone_table_schedule(table));
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
    hone_table_free(table);
}

static void test_no_table(void **state)
{
    (void)state;
    refused(HONE_ERROR_ARGUMENT, "table is NULL", hone_table_set_schedule(NULL, NULL, &error));
    refused(HONE_ERROR_ARGUMENT, "table is NULL", hone_table_schedule_step(NULL, &error));
    refused(HONE_ERROR_ARGUMENT, "table is NULL", hone_table_schedule_epoch(NULL, &error));
    refused(HONE_ERROR_ARGUMENT, "table is NULL", hone_table_schedule_metric(NULL, 1, &error));
    assert_null(hone_table_schedule(NULL));
    assert_int_equal(hone_table_schedule_count(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_equal_parameters),
        cmocka_unit_test(test_presets_and_rates_by_hand),
        cmocka_unit_test(test_snapshots_hold_the_place),
        cmocka_unit_test(test_descriptions_that_do_not_fit),
        cmocka_unit_test(test_past_the_end),
        cmocka_unit_test(test_callbacks_run_and_are_not_saved),
        cmocka_unit_test(test_momentum_needs_its_state),
        cmocka_unit_test(test_no_table),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
