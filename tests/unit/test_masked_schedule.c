/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule for masked_lr alone: the masked elements move with the bits of a plain optimizer under
 * that schedule, the others with those of one under lr's; canonical JSON, edits, checkpoints. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "support/fixtures.h"

#define OK(call) assert_int_equal(call, HONE_OK)
#define COUNT 70

#define COSINE \
    "{\"type\": \"cosine_annealing\", \"T_max\": 9, \"eta_min\": 0.001, \"warmup_steps\": 2}"
#define HALVES "{\"type\": \"step\", \"step_size\": 3, \"gamma\": 0.5, \"warmup_from_one\": true}"
#define DECAY "{\"type\": \"exponential\", \"gamma\": 0.5, \"per\": \"epoch\"}"

static const int64_t shape[] = {COUNT};

static hone_schedule *parse_schedule(const char *text)
{
    hone_schedule *schedule = NULL;
    OK(hone_schedule_parse(&schedule, context, text, strlen(text), NULL));
    return schedule;
}

static hone_optimizer *create(const char *text)
{
    hone_spec *const spec = parse_spec(text);
    hone_optimizer *optimizer = NULL;
    hone_error error;
    if (hone_optimizer_create(&optimizer, context, spec, &error) != HONE_OK)
        fail_msg("%s: %s", text, error.message);
    hone_spec_free(spec);
    return optimizer;
}

static double get(const hone_optimizer *optimizer, const char *name)
{
    double value = (double)NAN;
    OK(hone_optimizer_get(optimizer, 0, name, &value, NULL));
    return value;
}

static bool is_masked(int element)
{
    return element % 3 == 1;
}

static hone_mask *make_mask(void)
{
    uint8_t dense[COUNT];
    for (int i = 0; i < COUNT; i++)
        dense[i] = is_masked(i) ? 1 : 0;
    const hone_tensor view = hone_tensor_view(dense, HONE_U8, 1, shape);
    hone_mask *mask = NULL;
    OK(hone_mask_from_dense(&mask, context, &view, NULL));
    return mask;
}

/* Twelve steps in three epochs. */
static void train(const char *spec, const hone_mask *mask, float *param)
{
    hone_optimizer *const optimizer = create(spec);
    float grad[COUNT];
    for (int i = 0; i < COUNT; i++)
        param[i] = 1 - (float)i / 50;
    const hone_tensor tensor = hone_tensor_view(param, HONE_F32, 1, shape);
    const hone_tensor gradient = hone_tensor_view(grad, HONE_F32, 1, shape);
    OK(hone_optimizer_add(optimizer, "w", &tensor, 0, NULL, NULL));
    OK(hone_optimizer_set_grad(optimizer, 0, &gradient, NULL));
    if (mask != NULL)
        OK(hone_optimizer_set_mask(optimizer, 0, mask, NULL));
    for (int step = 0; step < 12; step++) {
        for (int i = 0; i < COUNT; i++)
            grad[i] = sinf((float)(i * 7 + step * 3));
        OK(hone_optimizer_step(optimizer, NULL, NULL));
        OK(hone_optimizer_schedule_step(optimizer, NULL));
        if (step % 4 == 3)
            OK(hone_optimizer_schedule_epoch(optimizer, NULL));
    }
    hone_optimizer_free(optimizer);
}

/* `both` at once, against one plain run for each of the rates. */
static void expect_two_runs(const char *both, const char *plain, const char *masked)
{
    float own[COUNT], outside[COUNT], inside[COUNT];
    hone_mask *const mask = make_mask();
    train(both, mask, own);
    train(plain, NULL, outside);
    train(masked, NULL, inside);
    for (int i = 0; i < COUNT; i++)
        assert_memory_equal(&own[i], is_masked(i) ? &inside[i] : &outside[i], sizeof own[i]);
    assert_memory_not_equal(inside, outside, sizeof inside);
    hone_mask_free(mask);
}

static void moves_as_two_plain_runs(void **state)
{
    (void)state;
    expect_two_runs(
        "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.01, \"masked_lr\": 0.5, "
        "\"schedule\": " COSINE ", \"masked_schedule\": " HALVES "}",
        "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.01, \"schedule\": " COSINE "}",
        "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.5, \"schedule\": " HALVES "}");
}

static void moves_alone(void **state)
{
    (void)state;
    expect_two_runs("{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.01, \"masked_lr\": 0.5, "
                    "\"masked_schedule\": " DECAY "}",
                    "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.01}",
                    "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.5, \"schedule\": " DECAY
                    "}");
}

/* Without a masked_lr the schedule starts from lr's base. */
static void starts_from_lr(void **state)
{
    (void)state;
    expect_two_runs(
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.25, "
        "\"schedule\": " COSINE ", \"masked_schedule\": " DECAY "}",
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.25, \"schedule\": " COSINE "}",
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 0.25, \"schedule\": " DECAY "}");
}

static void goes_on_from_edits(void **state)
{
    (void)state;
    hone_optimizer *const optimizer =
        create("{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"masked_lr\": 8, "
               "\"masked_schedule\": {\"type\": \"exponential\", \"gamma\": 0.5}}");
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "masked_lr") == 4 && get(optimizer, "lr") == 1);
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", 16, NULL));
    OK(hone_optimizer_set(optimizer, 0, "lr", 3, NULL));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "masked_lr") == 8 && get(optimizer, "lr") == 3);
    OK(hone_optimizer_set(optimizer, 0, "masked_lr", (double)NAN, NULL)); /* as lr: from 3 on */
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "masked_lr") == 0.375 && get(optimizer, "lr") == 3);
    hone_optimizer_free(optimizer);
}

/* Taken away, masked_lr follows lr with the ratio of that moment. */
static void follows_again(void **state)
{
    (void)state;
    hone_schedule *const half = parse_schedule("{\"type\": \"exponential\", \"gamma\": 0.5}");
    hone_optimizer *const optimizer =
        create("{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"masked_lr\": 16}");
    OK(hone_optimizer_set_schedule(optimizer, 0, half, NULL));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "lr") == 0.5 && get(optimizer, "masked_lr") == 8);
    OK(hone_optimizer_set_masked_schedule(optimizer, 0, half, NULL));
    assert_true(get(optimizer, "lr") == 0.5 && get(optimizer, "masked_lr") == 8);
    assert_int_equal(hone_optimizer_schedule_count(optimizer, 0), 1);
    assert_int_equal(hone_optimizer_masked_schedule_count(optimizer, 0), 0);
    assert_string_equal(hone_schedule_type(hone_optimizer_masked_schedule(optimizer, 0)),
                        "exponential");
    OK(hone_optimizer_set(optimizer, 0, "lr", 4, NULL));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "lr") == 2 && get(optimizer, "masked_lr") == 4);
    OK(hone_optimizer_set_masked_schedule(optimizer, 0, NULL, NULL));
    assert_null(hone_optimizer_masked_schedule(optimizer, 0));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "lr") == 1 && get(optimizer, "masked_lr") == 2);
    hone_optimizer_free(optimizer);
    hone_schedule_free(half);
}

static void is_refused(void **state)
{
    (void)state;
    hone_error error;
    hone_optimizer *optimizer = NULL;
    hone_schedule *const cycle =
        parse_schedule("{\"type\": \"one_cycle\", \"max_lr\": 1, \"total_steps\": 3}");
    hone_schedule *const short_one = parse_schedule(
        "{\"type\": \"one_cycle\", \"max_lr\": 1, \"total_steps\": 2, \"cycle_momentum\": false}");
    optimizer =
        create("{\"optimizer_type\": \"adamw\", \"masked_lr\": 0.5, \"schedule\": " DECAY "}");
    assert_int_equal(hone_optimizer_set_masked_schedule(optimizer, 0, cycle, &error),
                     HONE_ERROR_NAME);
    assert_string_equal(error.message, "the schedule one_cycle of masked_lr moves momentum, which "
                                       "goes with lr; set cycle_momentum to false");
    assert_null(hone_optimizer_masked_schedule(optimizer, 0));
    assert_int_equal(hone_optimizer_set_masked_schedule(optimizer, 1, cycle, &error),
                     HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_optimizer_masked_schedule_count(optimizer, 1), 0);
    OK(hone_optimizer_set_masked_schedule(optimizer, 0, short_one, NULL));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    const double last = get(optimizer, "masked_lr");
    assert_int_equal(hone_optimizer_schedule_step(optimizer, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule one_cycle ends at step 1; there is no value for step 2");
    assert_true(get(optimizer, "masked_lr") == last);
    assert_int_equal(hone_optimizer_masked_schedule_count(optimizer, 0), 1);
    hone_optimizer_free(optimizer);
    hone_schedule_free(cycle);
    hone_schedule_free(short_one);
}

static void expect_canonical(const char *text, const char *wanted)
{
    hone_spec *const spec = parse_spec(text);
    char *json = NULL;
    OK(hone_spec_write(spec, &json, NULL));
    assert_string_equal(json, wanted);
    hone_string_free(context, json);
    hone_spec_free(spec);
}

static void has_canonical_json(void **state)
{
    (void)state;
    static const char full[] =
        "{\"groups\":[{\"masked_schedule\":null,\"match\":\"a\"},{\"match\":\"b\"},"
        "{\"match\":\"c\",\"optimizer_type\":\"sgd\"}],\"learning_rate\":0.001,"
        "\"masked_lr\":0.5,\"masked_schedule\":{\"type\":\"step\",\"step_size\":7},"
        "\"optimizer_type\":\"adamw\"}";
    expect_canonical(full, full);
    expect_canonical("{\"optimizer_type\": \"sgd\", \"masked_schedule\": null}",
                     "{\"learning_rate\":0.001,\"optimizer_type\":\"sgd\"}");
    hone_spec *spec = NULL;
    hone_error error;
    static const char wrong[] = "{\"optimizer_type\": \"sgd\", \"masked_schedule\": 3}";
    assert_int_equal(hone_spec_parse(&spec, context, wrong, sizeof wrong - 1, &error),
                     HONE_ERROR_SPEC);
    assert_string_equal(error.message,
                        "masked_schedule: found the number 3; allowed: an object with \"type\"");
}

static double twice(double e, void *user)
{
    (void)user;
    return 1 + e;
}

static void callbacks_are_not_written(void **state)
{
    (void)state;
    hone_schedule *own = NULL;
    hone_error error;
    char *json = NULL;
    OK(hone_schedule_create_callback(&own, context, twice, NULL, NULL));
    hone_optimizer *const optimizer = create("{\"optimizer_type\": \"sgd\", \"masked_lr\": 3}");
    OK(hone_optimizer_set_masked_schedule(optimizer, 0, own, NULL));
    OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "masked_lr") == 6);
    assert_int_equal(hone_spec_write(hone_optimizer_spec(optimizer), &json, &error),
                     HONE_ERROR_UNSUPPORTED);
    hone_optimizer_free(optimizer);
    hone_schedule_free(own);
}

/* Both rates of a run that was saved and loaded are those of one that was not, bit for bit; also
 * where only one of the two has a schedule, and where metrics move it. */
static void resumes_exactly(void **state)
{
    (void)state;
    static const char path[] = "test_masked_schedule.safetensors";
    static const char *const specs[] = {
        "{\"optimizer_type\": \"adamw\", \"masked_lr\": 0.7, \"schedule\": " COSINE
        ", \"masked_schedule\": " HALVES "}",
        "{\"optimizer_type\": \"adamw\", \"masked_lr\": 0.7, \"masked_schedule\": " COSINE
        ", \"groups\": [{\"match\": \"x\", \"masked_schedule\": null}]}",
        "{\"optimizer_type\": \"adamw\", \"masked_schedule\": {\"type\": \"reduce_lr_on_plateau\", "
        "\"patience\": 1, \"cooldown\": 1}, \"schedule\": " DECAY "}",
    };
    for (int c = 0; c < 3; c++) {
        hone_optimizer *const whole = create(specs[c]), *const resumed = create(specs[c]);
        for (int i = 0; i < 25; i++) {
            if (i == 8) {
                hone_error error;
                OK(hone_optimizer_save(whole, path, NULL));
                if (hone_optimizer_load(resumed, path, &error) != HONE_OK)
                    fail_msg("%s", error.message);
            }
            for (int k = 0; k < (i >= 8 ? 2 : 1); k++) {
                hone_optimizer *const one = k == 0 ? whole : resumed;
                OK(hone_optimizer_schedule_step(one, NULL));
                OK(hone_optimizer_schedule_metric(one, i % 7, NULL));
                if (i % 3 == 0)
                    OK(hone_optimizer_schedule_epoch(one, NULL));
            }
            assert_true(i < 8 || get(whole, "lr") == get(resumed, "lr"));
            assert_true(i < 8 || get(whole, "masked_lr") == get(resumed, "masked_lr"));
        }
        assert_true(get(whole, "masked_lr") > 0 && get(whole, "masked_lr") != 0.7);
        hone_optimizer_free(whole);
        hone_optimizer_free(resumed);
    }
    remove(path);
}

/* A new recipe: each schedule goes on where the one of the same rate stood. */
static void goes_on_in_a_new_recipe(void **state)
{
    (void)state;
    hone_error error;
    hone_optimizer *const optimizer =
        create("{\"optimizer_type\": \"sgd\", \"masked_lr\": 1, \"masked_schedule\": " HALVES "}");
    for (int i = 0; i < 4; i++)
        OK(hone_optimizer_schedule_step(optimizer, NULL));
    assert_true(get(optimizer, "masked_lr") == 0.5);
    hone_spec *next =
        parse_spec("{\"optimizer_type\": \"sgd\", \"learning_rate\": 2, \"masked_lr\": 4, "
                   "\"schedule\": " HALVES ", \"masked_schedule\": " HALVES "}");
    OK(hone_optimizer_set_spec(optimizer, next, NULL));
    hone_spec_free(next);
    assert_true(get(optimizer, "masked_lr") == 2 && get(optimizer, "lr") == 2);
    assert_int_equal(hone_optimizer_masked_schedule_count(optimizer, 0), 4);
    assert_int_equal(hone_optimizer_schedule_count(optimizer, 0), 0);
    next =
        parse_spec("{\"optimizer_type\": \"sgd\", \"masked_schedule\": {\"type\": \"one_cycle\", "
                   "\"max_lr\": 1, \"total_steps\": 4, \"cycle_momentum\": false}}");
    assert_int_equal(hone_optimizer_set_spec(optimizer, next, &error), HONE_ERROR_RANGE);
    assert_string_equal(error.message,
                        "the schedule one_cycle ends at step 3; there is no value for step 4");
    hone_spec_free(next);
    assert_true(get(optimizer, "masked_lr") == 2 && get(optimizer, "lr") == 2);
    hone_optimizer_free(optimizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_as_two_plain_runs), cmocka_unit_test(moves_alone),
        cmocka_unit_test(starts_from_lr),          cmocka_unit_test(goes_on_from_edits),
        cmocka_unit_test(follows_again),           cmocka_unit_test(is_refused),
        cmocka_unit_test(has_canonical_json),      cmocka_unit_test(callbacks_are_not_written),
        cmocka_unit_test(resumes_exactly),         cmocka_unit_test(goes_on_in_a_new_recipe),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
