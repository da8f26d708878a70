/* SPDX-License-Identifier: Apache-2.0 */
/* hone_optimizer_set_spec: a new recipe takes over, what parameters have come to stays, and a
 * recipe that does not fit changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "support/checks.h"
#include "support/fixtures.h"
#include "support/random.h"

/* An optimizer over two numbers, "a" and "b", with gradients of 1 each, after `steps` steps. */
struct subject {
    float values[2], grads[2];
    hone_optimizer *optimizer;
};

static const int64_t one[] = {1};

static void create(struct subject *subject, const char *json, int steps)
{
    *subject = (struct subject){.grads = {1, 1}};
    hone_spec *const spec = parse_spec(json);
    OK(hone_optimizer_create(&subject->optimizer, context, spec, &problem));
    hone_spec_free(spec);
    for (int i = 0; i < 2; i++) {
        const hone_tensor value = hone_tensor_view(&subject->values[i], HONE_F32, 1, one);
        const hone_tensor grad = hone_tensor_view(&subject->grads[i], HONE_F32, 1, one);
        OK(hone_optimizer_add(subject->optimizer, i == 0 ? "a" : "b", &value, HONE_GROUP_BY_NAME,
                              NULL, &problem));
        OK(hone_optimizer_set_grad(subject->optimizer, i, &grad, &problem));
    }
    for (int i = 0; i < steps; i++) {
        OK(hone_optimizer_step(subject->optimizer, NULL, &problem));
        OK(hone_optimizer_schedule_step(subject->optimizer, &problem));
    }
}

static hone_status set(const struct subject *subject, const char *json)
{
    hone_spec *const spec = parse_spec(json);
    const hone_status status = hone_optimizer_set_spec(subject->optimizer, spec, &problem);
    hone_spec_free(spec);
    return status;
}

static void expect_recipe(const struct subject *subject, const char *wanted)
{
    char *json = NULL;
    OK(hone_spec_write(hone_optimizer_spec(subject->optimizer), &json, &problem));
    assert_string_equal(json, wanted);
    hone_string_free(context, json);
}

static double rate(const struct subject *subject, int group)
{
    double value = -1;
    OK(hone_optimizer_get(subject->optimizer, group, "lr", &value, &problem));
    return value;
}

/* momentum 0.5, gradients 1: the buffer is 1, 1.5, 1.75. */
static void test_values_change_and_states_stay(void **state)
{
    (void)state;
    struct subject s;
    create(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"momentum\": 0.5}", 2);
    assert_float_equal(s.values[0], -2.5f, 0);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 8, \"momentum\": 0.5, "
               "\"groups\": [{\"match\": \"b\", \"lr_multiplier\": 2}]}"));
    assert_int_equal(hone_optimizer_group_of(s.optimizer, 0), 0);
    assert_int_equal(hone_optimizer_group_of(s.optimizer, 1), 1);
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_float_equal(s.values[0], -2.5f - 8 * 1.75f, 0);
    assert_float_equal(s.values[1], -2.5f - 16 * 1.75f, 0);
    uint64_t count = 0;
    OK(hone_optimizer_step_count(s.optimizer, 1, &count, &problem));
    assert_int_equal(count, 3);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"momentum\": 0.5}"));
    double multiplier = 0;
    OK(hone_optimizer_lr_multiplier(s.optimizer, 1, &multiplier, &problem));
    assert_float_equal(multiplier, 1, 0);
    assert_int_equal(hone_optimizer_group_of(s.optimizer, 1), 0);
    hone_optimizer_free(s.optimizer);
}

static void test_rules_stay(void **state)
{
    (void)state;
    struct subject s;
    create(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1}", 0);
    OK(set(&s, "{\"optimizer_type\": \"rmsprop\"}"));  /* nothing has been stepped yet, */
    OK(hone_optimizer_prepare(s.optimizer, &problem)); /* nor by this */
    OK(set(&s, "{\"optimizer_type\": \"adam\"}"));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    FAILS(HONE_ERROR_MISMATCH,
          "parameter \"b\" was stepped by adam; the new recipe would step it by sgd, which cannot "
          "use its states",
          set(&s, "{\"optimizer_type\": \"adam\", \"learning_rate\": 9, "
                  "\"groups\": [{\"match\": \"b\", \"optimizer_type\": \"sgd\"}]}"));
    expect_recipe(&s, "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}");
    assert_int_equal(hone_optimizer_group_of(s.optimizer, 1), 0);
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    hone_optimizer_free(s.optimizer);
}

#define LINEAR                                                                        \
    "\"schedule\": {\"type\": \"linear\", \"start_factor\": 1, \"end_factor\": 0.5, " \
    "\"total_iters\": 4}}"

static void test_schedules_go_on(void **state)
{
    (void)state;
    struct subject s;
    create(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, " LINEAR, 2);
    assert_float_equal(rate(&s, 0), 0.75, 0);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 4, " LINEAR));
    assert_float_equal(rate(&s, 0), 3, 0);
    assert_int_equal(hone_optimizer_schedule_count(s.optimizer, 0), 2);
    FAILS(HONE_ERROR_RANGE, NULL,
          set(&s, "{\"optimizer_type\": \"sgd\", \"schedule\": {\"type\": \"one_cycle\", "
                  "\"max_lr\": 1, \"total_steps\": 2, \"cycle_momentum\": false}}"));
    assert_float_equal(rate(&s, 0), 3, 0);
    OK(hone_optimizer_schedule_step(s.optimizer, &problem));
    assert_float_equal(rate(&s, 0), 2.5, 0);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 7}"));
    assert_float_equal(rate(&s, 0), 7, 0);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, " LINEAR));
    assert_int_equal(hone_optimizer_schedule_count(s.optimizer, 0), 0);
    hone_optimizer_free(s.optimizer);
}

static void test_a_plateau_keeps_its_rate(void **state)
{
    (void)state;
    static const char json[] =
        "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"schedule\": {\"type\": "
        "\"reduce_lr_on_plateau\", \"factor\": 0.5, \"patience\": 0}}";
    struct subject s;
    create(&s, json, 0);
    for (int i = 0; i < 3; i++)
        OK(hone_optimizer_schedule_metric(s.optimizer, 1, &problem));
    assert_float_equal(rate(&s, 0), 0.25, 0);
    OK(set(&s, json));
    assert_float_equal(rate(&s, 0), 0.25, 0);
    OK(hone_optimizer_schedule_metric(s.optimizer, 1, &problem));
    assert_float_equal(rate(&s, 0), 0.125, 0);
    hone_optimizer_free(s.optimizer);
}

static void test_masters_do_not_outlive_their_use(void **state)
{
    (void)state;
    static const char with[] = "{\"optimizer_type\": \"sgd\", \"precision\": \"master\"}";
    uint16_t value = 0x3f80;
    float grad = 1;
    const hone_tensor tensor = hone_tensor_view(&value, HONE_BF16, 1, one);
    const hone_tensor gradient = hone_tensor_view(&grad, HONE_F32, 1, one);
    struct subject s = {0};
    hone_spec *const spec = parse_spec(with);
    OK(hone_optimizer_create(&s.optimizer, context, spec, &problem));
    hone_spec_free(spec);
    OK(hone_optimizer_add(s.optimizer, "w", &tensor, 0, NULL, &problem));
    OK(hone_optimizer_set_grad(s.optimizer, 0, &gradient, &problem));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    hone_tensor master;
    OK(hone_optimizer_state(s.optimizer, 0, "master", &master, &problem));
    assert_non_null(master.data);
    OK(set(&s, with));
    OK(hone_optimizer_state(s.optimizer, 0, "master", &master, &problem));
    assert_non_null(master.data);
    OK(set(&s, "{\"optimizer_type\": \"sgd\"}"));
    OK(hone_optimizer_state(s.optimizer, 0, "master", &master, &problem));
    assert_null(master.data);
    value = 0x4000; /* 2: what a new master has to start from */
    OK(set(&s, with));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    OK(hone_optimizer_state(s.optimizer, 0, "master", &master, &problem));
    assert_float_equal(*(float *)master.data, 2 - 1e-3f, 1e-6);
    hone_optimizer_free(s.optimizer);
}

static void test_waiting_gradients(void **state)
{
    (void)state;
    struct subject s;
    create(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1, \"grad_accum_steps\": 2}", 1);
    FAILS(HONE_ERROR_ARGUMENT,
          "1 of 2 gradients wait for their update; finish it before changing the number of "
          "accumulation steps",
          set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1}"));
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 3, \"grad_accum_steps\": 2}"));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_float_equal(s.values[0], -6, 0);
    OK(set(&s, "{\"optimizer_type\": \"sgd\", \"learning_rate\": 1}"));
    OK(hone_optimizer_step(s.optimizer, NULL, &problem));
    assert_float_equal(s.values[0], -7, 0);
    hone_optimizer_free(s.optimizer);
}

static void test_null(void **state)
{
    (void)state;
    struct subject s;
    create(&s, "{\"optimizer_type\": \"sgd\"}", 0);
    FAILS(HONE_ERROR_ARGUMENT, "spec is NULL",
          hone_optimizer_set_spec(s.optimizer, NULL, &problem));
    FAILS(HONE_ERROR_ARGUMENT, "optimizer is NULL",
          hone_optimizer_set_spec(NULL, hone_optimizer_spec(s.optimizer), &problem));
    OK(hone_optimizer_set_spec(s.optimizer, hone_optimizer_spec(s.optimizer), NULL));
    hone_optimizer_free(s.optimizer);
}

/* A state that no step has filled is made anew, in the type that the new recipe gives it. */
static void test_waiting_states_get_the_new_type(void **state)
{
    (void)state;
    struct subject subject;
    create(&subject, "{\"optimizer_type\": \"adam\", \"grad_accum_steps\": 2}", 1);
    hone_spec *const spec = parse_spec("{\"optimizer_type\": \"adam\", \"grad_accum_steps\": 2, "
                                       "\"state_dtype\": \"bf16\"}");
    OK(hone_optimizer_set_spec(subject.optimizer, spec, &problem));
    OK(hone_optimizer_step(subject.optimizer, NULL, &problem));
    hone_tensor view;
    OK(hone_optimizer_state(subject.optimizer, 0, "exp_avg", &view, &problem));
    assert_int_equal(view.dtype, HONE_BF16);
    hone_optimizer_free(subject.optimizer);
    hone_spec_free(spec);
}

static const char *random_name(struct random *random, char name[16])
{
    const int length = 1 + (int)random_below(random, 7);
    for (int i = 0; i < length; i++)
        name[i] = "ab.-"[random_below(random, 4)];
    name[length] = '\0';
    return name;
}

static bool holds(const char *module, const char *name)
{
    const size_t length = strlen(module);
    return strncmp(module, name, length) == 0 && (name[length] == '\0' || name[length] == '.');
}

/* Many modules within each other: the longest that holds a name counts, found here by
 * looking at all. */
static void test_many_modules(void **state)
{
    (void)state;
    struct random random = {.state = 5};
    char name[16];
    hone_spec *const spec = parse_spec("{\"optimizer_type\": \"sgd\"}");
    for (int i = 0; i < 300; i++)
        OK(hone_spec_set_lr_multiplier(spec, random_name(&random, name), i + 2, &problem));
    hone_optimizer *const optimizer = test_optimizer(context, "sgd");
    static float values[1000];
    for (int64_t i = 0; i < 1000; i++) {
        const hone_tensor value = hone_tensor_view(&values[i], HONE_F32, 1, one);
        if (hone_optimizer_find(optimizer, random_name(&random, name)) < 0)
            OK(hone_optimizer_add(optimizer, name, &value, 0, NULL, &problem));
    }
    OK(hone_optimizer_set_spec(optimizer, spec, &problem));
    int covered = 0;
    for (int64_t i = 0; i < hone_optimizer_count(optimizer); i++) {
        double wanted = 1, multiplier, found;
        size_t longest = 0;
        const char *module;
        for (int k = 0; (module = hone_spec_lr_module(spec, k, &multiplier)) != NULL; k++)
            if (holds(module, hone_optimizer_name(optimizer, i)) && strlen(module) > longest) {
                wanted = multiplier;
                longest = strlen(module);
            }
        OK(hone_optimizer_lr_multiplier(optimizer, i, &found, &problem));
        assert_true(found == wanted);
        covered += longest > 0;
    }
    assert_in_range(covered, 50, hone_optimizer_count(optimizer) - 50);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_change_and_states_stay),
        cmocka_unit_test(test_rules_stay),
        cmocka_unit_test(test_waiting_states_get_the_new_type),
        cmocka_unit_test(test_schedules_go_on),
        cmocka_unit_test(test_a_plateau_keeps_its_rate),
        cmocka_unit_test(test_masters_do_not_outlive_their_use),
        cmocka_unit_test(test_waiting_gradients),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_many_modules),
    };
    return cmocka_run_group_tests(tests, open_single_context, close_context);
}
