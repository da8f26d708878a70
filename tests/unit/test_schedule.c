/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: 200 steps of every type against PyTorch's own, the golden numbers, canonical JSON, and
 * their running in an optimizer. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <hone/hone.h>

#include "support/fixtures.h"

/* ---- against PyTorch ------------------------------------------------------------------------ */

/* A case's {"type", "args"} as hone's schedule object: the arguments beside the type. */
static json_t *flatten(const json_t *given)
{
    json_t *const flat = json_object();
    json_object_set(flat, "type", json_object_get(given, "type"));
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(given, "args"), key, value)
    {
        if (strcmp(key, "schedulers") != 0) {
            json_object_set(flat, key, value);
            continue;
        }
        json_t *const list = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(list, flatten(json_array_get(value, i)));
        json_object_set_new(flat, key, list);
    }
    return flat;
}

static hone_schedule *parse(const char *text)
{
    hone_schedule *schedule = NULL;
    hone_error error;
    if (hone_schedule_parse(&schedule, context, text, strlen(text), &error) != HONE_OK)
        fail_msg("%s: %s", text, error.message);
    return schedule;
}

static const double *column(const hone_file *file, const char *id, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "%s/%s", id, name);
    hone_tensor tensor;
    const int64_t index = hone_file_find(file, full);
    if (index < 0 || hone_file_tensor(file, index, &tensor, NULL) != HONE_OK)
        return NULL;
    return tensor.data;
}

static hone_optimizer *optimizer_at(const char *rule, double lr)
{
    hone_spec *spec;
    hone_optimizer *optimizer;
    assert_int_equal(hone_spec_create(&spec, context, rule, NULL), HONE_OK);
    assert_int_equal(hone_spec_set(spec, 0, "lr", lr, NULL), HONE_OK);
    if (strcmp(rule, "sgd") == 0)
        assert_int_equal(hone_spec_set(spec, 0, "momentum", 0.9, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_create(&optimizer, context, spec, NULL), HONE_OK);
    hone_spec_free(spec);
    return optimizer;
}

static double get(const hone_optimizer *optimizer, const char *hyper)
{
    double value = NAN;
    assert_int_equal(hone_optimizer_get(optimizer, 0, hyper, &value, NULL), HONE_OK);
    return value;
}

static void expect_close(double found, double wanted, double tolerance, const char *id, size_t e)
{
    if (!(fabs(found - wanted) <= tolerance * fabs(wanted) + 1e-18))
        fail_msg("%s at %zu: %.17g, PyTorch has %.17g", id, e, found, wanted);
}

static void run_case(const hone_file *file, const json_t *one)
{
    const char *const id = json_string_value(json_object_get(one, "id"));
    const char *const type = json_string_value(json_object_get(one, "type"));
    if (strcmp(type, "lambda") == 0 || strcmp(type, "multiplicative") == 0 ||
        column(file, id, "epochs") != NULL)
        return; /* callbacks and fractional epochs have tests of their own below */
    json_t *const flat = flatten(one);
    char *const text = json_dumps(flat, JSON_COMPACT);
    hone_schedule *const schedule = parse(text);
    const double base = json_number_value(json_object_get(one, "base_lr"));
    const double tolerance = json_number_value(json_object_get(one, "rtol"));
    const double *const lr = column(file, id, "lr"), *const metric = column(file, id, "metric");
    const double *const momentum = column(file, id, "momentum");
    hone_optimizer *const optimizer = optimizer_at("sgd", base);
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    for (size_t e = 0; e < 200; e++) {
        if (metric != NULL)
            assert_int_equal(hone_optimizer_schedule_metric(optimizer, metric[e], NULL), HONE_OK);
        expect_close(get(optimizer, "lr"), lr[e], tolerance, id, e);
        if (momentum != NULL)
            expect_close(get(optimizer, "momentum"), momentum[e], tolerance, id, e);
        if (metric == NULL && e < 199)
            assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    }
    hone_optimizer_free(optimizer);
    hone_schedule_free(schedule);
    free(text);
    json_decref(flat);
}

static void test_torch(void **state)
{
    (void)state;
    hone_file *file;
    hone_error error;
    if (hone_file_open(&file, context, HONE_SOURCE_DIR "/tests/golden/torch/schedules.safetensors",
                       &error) != HONE_OK)
        fail_msg("%s", error.message);
    json_t *const cases = json_loads(hone_file_metadata(file, "cases"), 0, NULL);
    assert_true(json_array_size(cases) >= 40);
    for (size_t i = 0; i < json_array_size(cases); i++)
        run_case(file, json_array_get(cases, i));
    const double *const epochs = column(file, "cosine_annealing_warm_restarts.4", "epochs");
    const double *const lr = column(file, "cosine_annealing_warm_restarts.4", "lr");
    hone_schedule *const restarts =
        parse("{\"type\": \"cosine_annealing_warm_restarts\", \"T_0\": 3, \"T_mult\": 2, "
              "\"eta_min\": 0.001}");
    for (size_t i = 0; i < 200; i++) {
        double value;
        assert_int_equal(hone_schedule_value(restarts, 0.1, epochs[i], &value, NULL), HONE_OK);
        expect_close(value, lr[i], 1e-12, "fractional epochs", i);
    }
    hone_schedule_free(restarts);
    json_decref(cases);
    hone_file_close(file);
}

static double decay_factor(double e, void *user)
{
    return pow(*(double *)user, e);
}

static void test_callback(void **state)
{
    (void)state;
    double gamma = 0.95;
    hone_schedule *schedule;
    assert_int_equal(hone_schedule_create_callback(&schedule, context, decay_factor, &gamma, NULL),
                     HONE_OK);
    double value;
    assert_int_equal(hone_schedule_value(schedule, 2, 3, &value, NULL), HONE_OK);
    expect_close(value, 2 * 0.95 * 0.95 * 0.95, 1e-15, "callback", 3);
    hone_optimizer *const optimizer = optimizer_at("adamw", 1e-3);
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    char *json;
    assert_int_equal(hone_spec_write(hone_optimizer_spec(optimizer), &json, NULL),
                     HONE_ERROR_UNSUPPORTED);
    hone_optimizer_free(optimizer);
    hone_schedule_free(schedule);
}

/* ---- those PyTorch does not have ------------------------------------------------------------ */

static void expect_values(const char *text, double base, const double *wanted, size_t count)
{
    hone_schedule *const schedule = parse(text);
    for (size_t e = 0; e < count; e++) {
        double value;
        assert_int_equal(hone_schedule_value(schedule, base, (double)e, &value, NULL), HONE_OK);
        expect_close(value, wanted[e], 5e-12, text, e);
    }
    hone_schedule_free(schedule);
}

static void test_own(void **state)
{
    (void)state;
    const double warm[] = {0, 0.5, 1, 0.853553390593, 0.5, 0.146446609407, 0, 0, 0};
    expect_values("{\"type\": \"cosine_with_warmup\", \"total_steps\": 6, \"warmup_steps\": 2}", 1,
                  warm, 9);
    const double from_one[] = {0.5, 1, 1, 0.853553390593, 0.5};
    expect_values("{\"type\": \"cosine_with_warmup\", \"total_steps\": 6, \"warmup_steps\": 2, "
                  "\"warmup_from_one\": true}",
                  1, from_one, 5);
    const double stable[] = {0, 0.25, 0.5, 0.75, 1, 1, 1, 0.775, 0.55, 0.325, 0.1, 0.1};
    expect_values("{\"type\": \"warmup_stable_decay\", \"warmup_steps\": 4, \"stable_steps\": 2, "
                  "\"decay_steps\": 4, \"min_factor\": 0.1}",
                  1, stable, 12);
    const double inverse[] = {0, 0.5, 1, 0.816496580927726, 0.707106781186548, 0.632455532033676};
    expect_values("{\"type\": \"inverse_sqrt\", \"warmup_steps\": 2}", 1, inverse, 6);
    const double annealed[] = {0, 5e-4, 1e-3, 0.000868198051534, 0.00055, 0.000231801948466, 1e-4};
    expect_values("{\"type\": \"cosine_annealing\", \"T_max\": 4, \"eta_min\": 1e-4, "
                  "\"warmup_steps\": 2}",
                  1e-3, annealed, 7);
}

/* torch takes a pct_start of 0.0: no way up, the first value is on the way down
 * already. torch 2.11. */
static void test_one_cycle_from_the_top(void **state)
{
    (void)state;
    const double two[] = {0.000961939918497, 0.00085355397638, 0.000691342950816, 0.000500002,
                          0.000308661049184, 0.00014645002362, 3.80640815034e-05, 4e-09};
    expect_values(
        "{\"type\": \"one_cycle\", \"max_lr\": 1e-3, \"total_steps\": 8, \"pct_start\": 0}", 1, two,
        8);
    const double three[] = {3.53213567735e-05, 3.0001e-05, 2.3474616257e-05,
                            1.6529383743e-05,  1.0003e-05, 4.68264322651e-06,
                            1.21002696952e-06, 4e-09};
    expect_values(
        "{\"type\": \"one_cycle\", \"max_lr\": 1e-3, \"total_steps\": 8, \"pct_start\": 0, "
        "\"three_phase\": true}",
        1, three, 8);
}

static void test_end(void **state)
{
    (void)state;
    hone_schedule *const schedule =
        parse("{\"type\": \"one_cycle\", \"max_lr\": 0.1, \"total_steps\": 3}");
    hone_optimizer *const optimizer = optimizer_at("adamw", 1e-3);
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    const double last = get(optimizer, "lr");
    hone_error error;
    assert_int_equal(hone_optimizer_schedule_step(optimizer, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule one_cycle ends at step 2; there is no value for step 3");
    assert_true(get(optimizer, "lr") == last);
    assert_int_equal(hone_optimizer_schedule_count(optimizer, 0), 2);
    hone_optimizer_free(optimizer);
    hone_schedule_free(schedule);
}

static void expect_refused(hone_optimizer *optimizer, const hone_schedule *schedule, bool masked,
                           const char *message)
{
    hone_error error;
    const hone_status status =
        masked ? hone_optimizer_set_masked_schedule(optimizer, 0, schedule, &error)
               : hone_optimizer_set_schedule(optimizer, 0, schedule, &error);
    assert_int_equal(status, HONE_ERROR_RANGE);
    assert_string_equal(error.message, message);
    assert_null(hone_optimizer_schedule(optimizer, 0));
}

static double not_a_number(double e, void *user)
{
    (void)user;
    return e < 1 ? 1 : (double)NAN;
}

/* What the rule would not take by hand it does not take from a schedule, and
 * nothing has changed. */
static void test_out_of_range(void **state)
{
    (void)state;
    const char *const path = "test_schedule_range.safetensors";
    hone_optimizer *const optimizer = optimizer_at("adamw", 1);
    hone_schedule *schedule = parse(
        "{\"type\": \"one_cycle\", \"max_lr\": 0.1, \"total_steps\": 9, \"max_momentum\": 1}");
    expect_refused(optimizer, schedule, false,
                   "the schedule's momentum is 1; adamw allows at least 0 and below 1");
    hone_schedule_free(schedule);
    schedule = parse("{\"type\": \"exponential\", \"gamma\": 1e200}");
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_set_masked_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    hone_error error;
    assert_int_equal(hone_optimizer_schedule_step(optimizer, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule's lr is Infinity; adamw allows finite and at least 0");
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, NULL, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule's masked_lr is Infinity; it must be finite and at least 0");
    assert_true(get(optimizer, "lr") == 1e200 && get(optimizer, "masked_lr") == 1e200);
    assert_int_equal(hone_optimizer_masked_schedule_count(optimizer, 0), 1);
    assert_int_equal(hone_optimizer_save(optimizer, path, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_load(optimizer, path, NULL), HONE_OK);
    remove(path);
    hone_schedule_free(schedule);
    assert_int_equal(hone_schedule_create_callback(&schedule, context, not_a_number, NULL, NULL),
                     HONE_OK);
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule's lr is NaN; adamw allows finite and at least 0");
    hone_schedule_free(schedule);
    hone_optimizer_free(optimizer);
}

/* A rate set by hand is where the schedule goes on from; masked_lr keeps its ratio. */
static void test_edit(void **state)
{
    (void)state;
    hone_schedule *const schedule = parse("{\"type\": \"exponential\", \"gamma\": 0.5}");
    hone_optimizer *const optimizer = optimizer_at("adamw", 1e-4);
    assert_int_equal(hone_optimizer_set(optimizer, 0, "masked_lr", 1e-2, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_set_schedule(optimizer, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    expect_close(get(optimizer, "lr"), 5e-5, 1e-15, "edit", 1);
    expect_close(get(optimizer, "masked_lr"), 5e-3, 1e-15, "edit", 1);
    assert_int_equal(hone_optimizer_set(optimizer, 0, "lr", 1, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    expect_close(get(optimizer, "lr"), 0.5, 1e-14, "edit", 2);
    hone_optimizer_free(optimizer);
    hone_schedule_free(schedule);
}

static void test_momentum(void **state)
{
    (void)state;
    hone_schedule *const schedule =
        parse("{\"type\": \"one_cycle\", \"max_lr\": 0.1, \"total_steps\": 10}");
    hone_optimizer *const adam = optimizer_at("adamw", 1e-3);
    assert_int_equal(hone_optimizer_set_schedule(adam, 0, schedule, NULL), HONE_OK);
    expect_close(get(adam, "beta1"), 0.95, 1e-15, "one_cycle moves beta1", 0);
    hone_optimizer_free(adam);
    hone_schedule_free(schedule);
}

/* Momentum that a schedule brings and takes away comes and goes with its slot. */
static void test_momentum_comes_and_goes(void **state)
{
    (void)state;
    hone_schedule *const schedule =
        parse("{\"type\": \"cyclic\", \"base_lr\": 0.5, \"max_lr\": 0.5, \"step_size_up\": 1, "
              "\"base_momentum\": 0, \"max_momentum\": 0.5}");
    /* Momentum is 0, 0, 0.5 with a new buffer, 0, and 0.5 with the old one. */
    const float wanted[] = {-0.5f, -1, -1.5f, -2, -2.75f};
    const int64_t shape[] = {1};
    float p = 0, g = 1;
    const hone_tensor param = hone_tensor_view(&p, HONE_F32, 1, shape);
    const hone_tensor grad = hone_tensor_view(&g, HONE_F32, 1, shape);
    hone_optimizer *const sgd = optimizer_at("sgd", 0.5);
    assert_int_equal(hone_optimizer_add(sgd, "p", &param, 0, NULL, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_set_grad(sgd, 0, &grad, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_set_schedule(sgd, 0, schedule, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_set(sgd, 0, "momentum", 0, NULL), HONE_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(hone_optimizer_step(sgd, NULL, NULL), HONE_OK);
        assert_true(p == wanted[i]);
        assert_int_equal(hone_optimizer_schedule_step(sgd, NULL), HONE_OK);
    }
    hone_optimizer_free(sgd);
    hone_schedule_free(schedule);
}

/* ---- specs ---------------------------------------------------------------------------------- */

static void expect_canonical(const char *text, const char *wanted)
{
    hone_spec *spec;
    hone_error error;
    if (hone_spec_parse(&spec, context, text, strlen(text), &error) != HONE_OK)
        fail_msg("%s: %s", text, error.message);
    char *json;
    assert_int_equal(hone_spec_write(spec, &json, NULL), HONE_OK);
    assert_string_equal(json, wanted);
    hone_string_free(context, json);
    hone_spec_free(spec);
}

static void test_canonical(void **state)
{
    (void)state;
    expect_canonical(
        "{\"optimizer_type\": \"adamw\", \"lr_decay_gamma\": 0.98}",
        "{\"learning_rate\":0.001,\"lr_decay_gamma\":0.98,\"optimizer_type\":\"adamw\"}");
    const char *const from_one =
        "{\"learning_rate\":0.001,\"optimizer_type\":\"adamw\",\"schedule\":{\"type\":"
        "\"exponential\",\"gamma\":0.98,\"warmup_from_one\":true,\"per\":\"epoch\"}}";
    expect_canonical(from_one, from_one);
    const char *const full =
        "{\"groups\":[{\"match\":\"a\",\"schedule\":null},{\"match\":\"b\"}],\"learning_rate\":0."
        "001,"
        "\"optimizer_type\":\"adamw\",\"schedule\":{\"type\":\"sequential\",\"milestones\":[5,90],"
        "\"schedulers\":[{\"type\":\"linear\"},{\"type\":\"cyclic\",\"base_lr\":0.1,\"max_lr\":0.2,"
        "\"step_size_up\":7,\"mode\":\"exp_range\",\"gamma\":0.99,\"cycle_momentum\":false},{"
        "\"type\":\"multi_step\",\"milestones\":[3],\"warmup_steps\":2,\"warmup_from_one\":true}],"
        "\"per\":\"epoch\"}}";
    expect_canonical(full, full);
}

static void test_groups(void **state)
{
    (void)state;
    const char *const text =
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"schedule\": {\"type\": \"step\", "
        "\"step_size\": 1, \"gamma\": 0.5}, \"groups\": [{\"match\": \"a\", \"learning_rate\": 8}, "
        "{\"match\": \"b\", \"lr_decay_gamma\": 0.25}, {\"match\": \"c\", \"schedule\": null}]}";
    hone_spec *spec;
    hone_optimizer *optimizer;
    assert_int_equal(hone_spec_parse(&spec, context, text, strlen(text), NULL), HONE_OK);
    assert_int_equal(hone_optimizer_create(&optimizer, context, spec, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_step(optimizer, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_schedule_epoch(optimizer, NULL), HONE_OK);
    const double wanted[] = {0.25, 2, 0.25, 1};
    for (int group = 0; group < 4; group++) {
        double lr;
        assert_int_equal(hone_optimizer_get(optimizer, group, "lr", &lr, NULL), HONE_OK);
        assert_true(lr == wanted[group]);
    }
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static void test_checkpoint(void **state)
{
    (void)state;
    const char *const path = "test_schedule.safetensors";
    const char *const text =
        "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.01, \"schedule\": {\"type\": "
        "\"cosine_annealing\", \"T_max\": 37, \"warmup_steps\": 3}, \"groups\": [{\"match\": "
        "\"b\", "
        "\"schedule\": {\"type\": \"reduce_lr_on_plateau\", \"patience\": 1}}]}";
    hone_spec *spec;
    hone_optimizer *whole, *resumed;
    assert_int_equal(hone_spec_parse(&spec, context, text, strlen(text), NULL), HONE_OK);
    assert_int_equal(hone_optimizer_create(&whole, context, spec, NULL), HONE_OK);
    assert_int_equal(hone_optimizer_create(&resumed, context, spec, NULL), HONE_OK);
    for (int i = 0; i < 25; i++) {
        if (i == 11) {
            hone_error error;
            assert_int_equal(hone_optimizer_save(whole, path, NULL), HONE_OK);
            if (hone_optimizer_load(resumed, path, &error) != HONE_OK)
                fail_msg("%s", error.message);
        }
        for (int k = 0; k < (i >= 11 ? 2 : 1); k++) {
            hone_optimizer *const one = k == 0 ? whole : resumed;
            assert_int_equal(hone_optimizer_schedule_step(one, NULL), HONE_OK);
            assert_int_equal(hone_optimizer_schedule_metric(one, i % 7, NULL), HONE_OK);
        }
        for (int group = 0; i >= 11 && group < 2; group++) {
            double a, b;
            assert_int_equal(hone_optimizer_get(whole, group, "lr", &a, NULL), HONE_OK);
            assert_int_equal(hone_optimizer_get(resumed, group, "lr", &b, NULL), HONE_OK);
            assert_true(a == b);
        }
    }
    remove(path);
    hone_optimizer_free(whole);
    hone_optimizer_free(resumed);
    hone_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch),        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_own),          cmocka_unit_test(test_one_cycle_from_the_top),
        cmocka_unit_test(test_end),          cmocka_unit_test(test_edit),
        cmocka_unit_test(test_momentum),     cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_groups),       cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_out_of_range), cmocka_unit_test(test_momentum_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
