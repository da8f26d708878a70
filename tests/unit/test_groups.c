/* SPDX-License-Identifier: Apache-2.0 */
/* Groups: each with its own rule and values, added and changed between steps; curves as data and as
 * callbacks; states that come into being late. */
#include <math.h>
#include <string.h>

#include "support/checks.h"

struct place {
    hone_context *context;
    hone_optimizer *optimizer; /* sgd */
    double w[2], v[2], g[2];
    int64_t length[1];
    hone_tensor w_view, v_view, g_view;
};

static struct place place;

static int set_up_rule(const char *rule)
{
    memset(&place, 0, sizeof place);
    place.context = test_context(1, NULL);
    place.optimizer = test_optimizer(place.context, rule);
    OK(hone_optimizer_set(place.optimizer, 0, "lr", 1, &problem));
    place.length[0] = 2;
    place.w_view = hone_tensor_view(place.w, HONE_F64, 1, place.length);
    place.v_view = hone_tensor_view(place.v, HONE_F64, 1, place.length);
    place.g_view = hone_tensor_view(place.g, HONE_F64, 1, place.length);
    OK(hone_optimizer_add(place.optimizer, "w", &place.w_view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, 0, &place.g_view, &problem));
    place.g[0] = 1;
    place.g[1] = -2;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_rule("sgd");
}

static int tear_down(void **state)
{
    (void)state;
    hone_optimizer_free(place.optimizer);
    hone_context_free(place.context);
    return 0;
}

static void step(void)
{
    OK(hone_optimizer_step(place.optimizer, NULL, &problem));
}

static void set(const char *hyper, double value)
{
    OK(hone_optimizer_set(place.optimizer, 0, hyper, value, &problem));
}

static const double *slot(const char *name)
{
    hone_tensor view;
    OK(hone_optimizer_state(place.optimizer, 0, name, &view, &problem));
    return view.data;
}

/* ---- groups --------------------------------------------------------------------------------- */

static void test_add_group(void **state)
{
    (void)state;
    step();
    int group = -1;
    OK(hone_optimizer_add_group(place.optimizer, "adamw", &group, &problem));
    assert_int_equal(group, 1);
    assert_int_equal(hone_optimizer_group_count(place.optimizer), 2);
    assert_string_equal(hone_rule_name(hone_optimizer_group_rule(place.optimizer, 1)), "adamw");
    assert_null(hone_optimizer_group_rule(place.optimizer, 2));
    OK(hone_optimizer_add(place.optimizer, "v", &place.v_view, 1, NULL, &problem));
    assert_int_equal(hone_optimizer_group_of(place.optimizer, 1), 1);
    OK(hone_optimizer_set_grad(place.optimizer, 1, &place.g_view, &problem));
    step();
    assert_true(place.w[0] == -2 && place.w[1] == 4);
    assert_true(fabs(place.v[0] + 1e-3) < 1e-9 && fabs(place.v[1] - 1e-3) < 1e-9);

    set("momentum", 0.5);
    OK(hone_optimizer_add_group(place.optimizer, NULL, &group, &problem)); /* copies group 0 */
    double value;
    OK(hone_optimizer_get(place.optimizer, group, "momentum", &value, &problem));
    assert_true(value == 0.5);
    OK(hone_optimizer_add_group(place.optimizer, "sgd", NULL, &problem)); /* starts anew */
    OK(hone_optimizer_get(place.optimizer, 3, "momentum", &value, &problem));
    assert_true(value == 0);
    FAILS(HONE_ERROR_NAME, "there is no rule \"adamww\"; the nearest is \"adamw\"",
          hone_optimizer_add_group(place.optimizer, "adamww", &group, &problem));
    assert_int_equal(hone_optimizer_group_count(place.optimizer), 4);
}

static void test_group_numbers(void **state)
{
    (void)state;
    double value;
    FAILS(HONE_ERROR_ARGUMENT, "group 1 does not exist; there are 1",
          hone_optimizer_add(place.optimizer, "v", &place.v_view, 1, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_add(place.optimizer, "v", &place.v_view, -2, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_get(place.optimizer, 1, "lr", &value, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set(place.optimizer, -1, "lr", 1, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_curve(place.optimizer, 1, "clip_lambda", 1, 1, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "group 3 does not exist; there are 1",
          hone_optimizer_set_state_dtype(place.optimizer, 3, NULL, HONE_F32, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "group 3 does not exist; there are 1",
          hone_optimizer_set_curve_callback(place.optimizer, 3, "x", NULL, NULL, &problem));
    assert_int_equal(hone_optimizer_count(place.optimizer), 1);
}

static void test_group_by_name(void **state)
{
    (void)state;
    const char json[] = "{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.5, \"groups\": ["
                        "{\"match\": \"*.bias\", \"weight_decay\": 0},"
                        "{\"match\": [\"head.*\"], \"lr_multiplier\": 5}]}";
    hone_spec *spec;
    OK(hone_spec_parse(&spec, place.context, json, sizeof json - 1, &problem));
    hone_optimizer *optimizer;
    OK(hone_optimizer_create(&optimizer, place.context, spec, &problem));
    hone_spec_free(spec);
    const char *const names[] = {"body.weight", "body.bias", "head.weight", "head.bias"};
    const int groups[] = {0, 1, 2, 2}; /* the last match wins */
    double values[4];
    const int64_t one[] = {1};
    for (int i = 0; i < 4; i++) {
        const hone_tensor view = hone_tensor_view(&values[i], HONE_F64, 1, one);
        OK(hone_optimizer_add(optimizer, names[i], &view, HONE_GROUP_BY_NAME, NULL, &problem));
        assert_int_equal(hone_optimizer_group_of(optimizer, i), groups[i]);
        double multiplier;
        OK(hone_optimizer_lr_multiplier(optimizer, i, &multiplier, &problem));
        assert_true(multiplier == (groups[i] == 2 ? 5 : 1));
    }
    hone_optimizer_free(optimizer);
}

/* ---- values --------------------------------------------------------------------------------- */

static void test_values(void **state)
{
    (void)state;
    double value = 7;
    OK(hone_optimizer_get(place.optimizer, 0, "lr", &value, &problem));
    assert_true(value == 1);
    FAILS(HONE_ERROR_NAME, "sgd has no hyperparameter \"momentun\"; the nearest is \"momentum\"",
          hone_optimizer_get(place.optimizer, 0, "momentun", &value, &problem));
    FAILS(HONE_ERROR_NAME, NULL, hone_optimizer_set(place.optimizer, 0, "beta1", 0.5, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL, hone_optimizer_set(place.optimizer, 0, NULL, 1, &problem));
    FAILS(HONE_ERROR_RANGE, "lr is -1; sgd allows finite and at least 0",
          hone_optimizer_set(place.optimizer, 0, "lr", -1, &problem));
    FAILS(HONE_ERROR_RANGE, NULL, hone_optimizer_set(place.optimizer, 0, "nesterov", 1, &problem));
    assert_non_null(
        strstr(problem.message, "Nesterov momentum requires a momentum and zero dampening"));
    OK(hone_optimizer_get(place.optimizer, 0, "nesterov", &value, &problem));
    assert_true(value == 0);
    const hone_spec *const spec = hone_optimizer_spec(place.optimizer);
    set("lr", 0.125);
    OK(hone_spec_get(spec, 0, "lr", &value, &problem));
    assert_true(value == 0.125);
}

static void test_lr_between_steps(void **state)
{
    (void)state;
    step();
    set("lr", 0.5);
    step();
    set("lr", 0);
    step();
    assert_true(place.w[0] == -1.5 && place.w[1] == 3);
}

/* ---- states that come late ------------------------------------------------------------------ */

/* "First" means that there is no buffer yet, whatever the step count: it starts as the gradient. */
static void test_momentum_later(void **state)
{
    (void)state;
    step();
    assert_null(slot("momentum_buffer"));
    set("dampening", 0.75);
    set("momentum", 0.5);
    assert_null(slot("momentum_buffer"));
    step();
    assert_true(slot("momentum_buffer")[0] == 1 && slot("momentum_buffer")[1] == -2);
    step();
    assert_true(slot("momentum_buffer")[0] == 0.5 + 0.25);
    set("momentum", 0); /* the buffer stays, unused */
    step();
    assert_true(slot("momentum_buffer")[0] == 0.75);
    set("momentum", 1);
    step();
    assert_true(slot("momentum_buffer")[0] == 0.75 + 0.25);
}

/* Made ready while momentum was on, never used: the first use is still the first. */
static void test_prepared_but_unused(void **state)
{
    (void)state;
    set("momentum", 0.5);
    OK(hone_optimizer_prepare(place.optimizer, &problem));
    assert_null(slot("momentum_buffer"));
    set("momentum", 0);
    step();
    set("momentum", 0.5);
    set("dampening", 0.75);
    step();
    assert_true(slot("momentum_buffer")[0] == 1 && slot("momentum_buffer")[1] == -2);
}

static void test_amsgrad_later(void **state)
{
    (void)state;
    tear_down(state);
    set_up_rule("adam");
    step();
    place.g[0] = 0;
    set("amsgrad", 1);
    step();
    const double v = slot("exp_avg_sq")[0];
    assert_true(slot("max_exp_avg_sq")[0] == v && v < 1e-3);
    step();
    assert_true(slot("max_exp_avg_sq")[0] == v && slot("exp_avg_sq")[0] < v);
}

static void test_parameters_later(void **state)
{
    (void)state;
    tear_down(state);
    set_up_rule("adam");
    for (int i = 0; i < 5; i++)
        step();
    OK(hone_optimizer_add(place.optimizer, "v", &place.v_view, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(place.optimizer, 1, &place.g_view, &problem));
    step();
    uint64_t counts[2];
    OK(hone_optimizer_step_count(place.optimizer, 0, &counts[0], &problem));
    OK(hone_optimizer_step_count(place.optimizer, 1, &counts[1], &problem));
    assert_true(counts[0] == 6 && counts[1] == 1);
    /* Its own count corrects the bias: one whole step of lr. */
    assert_true(fabs(place.v[0] + 1) < 1e-7 && fabs(place.v[1] - 1) < 1e-7);
}

/* ---- curves --------------------------------------------------------------------------------- */

struct calls {
    int count;
    uint64_t last;
    double answer;
};

static double curve(uint64_t completed, void *user)
{
    struct calls *const calls = user;
    calls->count++;
    calls->last = completed;
    return calls->answer;
}

static void test_callback(void **state)
{
    (void)state;
    tear_down(state);
    set_up_rule("adopt");
    struct calls calls = {.answer = 0.25};
    set("beta1", 0);
    OK(hone_optimizer_set_curve_callback(place.optimizer, 0, "clip_lambda", curve, &calls,
                                         &problem));
    step();
    assert_int_equal(calls.count, 0); /* the first call of ADOPT has no bound */
    step();
    assert_true(calls.count >= 1 && calls.last == 1);
    assert_true(place.w[0] == -0.25 && place.w[1] == 0.25);
    calls.answer = (double)INFINITY; /* no bound */
    step();
    assert_true(calls.last == 2 && place.w[0] < -1.2);
    double value, power;
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_spec_get_curve(hone_optimizer_spec(place.optimizer), 0, "clip_lambda", &value,
                              &power, &problem));
    OK(hone_optimizer_set_curve_callback(place.optimizer, 0, "clip_lambda", NULL, NULL, &problem));
    OK(hone_spec_get_curve(hone_optimizer_spec(place.optimizer), 0, "clip_lambda", &value, &power,
                           &problem));
    assert_true(value == 1 && power == 0.25);
}

static void test_bad_callback(void **state)
{
    (void)state;
    tear_down(state);
    set_up_rule("adopt");
    struct calls calls = {.answer = -1};
    OK(hone_optimizer_set_curve_callback(place.optimizer, 0, "clip_lambda", curve, &calls,
                                         &problem));
    step();
    const double before[] = {place.w[0], place.w[1]};
    FAILS(HONE_ERROR_RANGE,
          "the callback for clip_lambda returned -1 after 1 calls; it must be at least 0 "
          "(infinity: no bound)",
          hone_optimizer_step(place.optimizer, NULL, &problem));
    calls.answer = (double)NAN;
    FAILS(HONE_ERROR_RANGE, NULL, hone_optimizer_step(place.optimizer, NULL, &problem));
    uint64_t count;
    OK(hone_optimizer_step_count(place.optimizer, 0, &count, &problem));
    assert_int_equal(count, 1);
    assert_memory_equal(before, place.w, sizeof before);
    FAILS(HONE_ERROR_NAME, "adopt has no curve named \"lr\"",
          hone_optimizer_set_curve_callback(place.optimizer, 0, "lr", curve, &calls, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "the name of a curve is NULL",
          hone_optimizer_set_curve_callback(place.optimizer, 0, NULL, curve, &calls, &problem));
    FAILS(HONE_ERROR_ARGUMENT, NULL,
          hone_optimizer_set_curve(place.optimizer, 0, "lr", 1, 1, &problem));
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_add_group),     PLACED(test_group_numbers),       PLACED(test_group_by_name),
        PLACED(test_values),        PLACED(test_lr_between_steps),    PLACED(test_momentum_later),
        PLACED(test_amsgrad_later), PLACED(test_prepared_but_unused), PLACED(test_callback),
        PLACED(test_bad_callback),  PLACED(test_parameters_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
