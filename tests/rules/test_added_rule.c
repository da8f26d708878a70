/* SPDX-License-Identifier: Apache-2.0 */
/* The library as it is after one file, added/sign_momentum.c, was put among the rules: the rule is
 * listed, its keys and ranges hold in a spec, its state has its name, and a step is its arithmetic.
 * Built and run by test_added_rule.sh; elsewhere the rule is missing and the test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <hone/hone.h>

static const char recipe[] = "{\"optimizer_type\": \"sign_momentum\", \"learning_rate\": 0.5, "
                             "\"momentum\": 0.5, \"dead_zone\": 0.25, \"weight_decay\": 0.5}";

static hone_context *context;

static int open_context(void **state)
{
    (void)state;
    return hone_context_create(&context, NULL, NULL) == HONE_OK ? 0 : -1;
}

static int close_context(void **state)
{
    (void)state;
    hone_context_free(context);
    return 0;
}

static void is_listed(void **state)
{
    (void)state;
    const hone_rule *const rule = hone_rule_find("sign_momentum");
    assert_non_null(rule);
    int found = 0;
    for (int i = 0; i < hone_rule_count(); i++)
        found += hone_rule_at(i) == rule;
    assert_int_equal(found, 1);
    assert_int_equal(hone_rule_hyper_count(rule), 5);
    assert_true(hone_rule_hyper_find(rule, "dead_zone") >= 0);
    assert_int_equal(hone_rule_slot_count(rule), 1);
    assert_string_equal(hone_rule_slot(rule, 0)->name, "sign_buffer");
    assert_string_equal(hone_rule_nearest("sign_momentun"), "sign_momentum");
}

static hone_status parse(const char *json, hone_error *error)
{
    hone_spec *spec = NULL;
    const hone_status status = hone_spec_parse(&spec, context, json, strlen(json), error);
    hone_spec_free(spec);
    return status;
}

static void spec_knows_its_keys_and_ranges(void **state)
{
    (void)state;
    hone_error error;
    hone_spec *spec = NULL;
    assert_int_equal(hone_spec_parse(&spec, context, recipe, strlen(recipe), &error), HONE_OK);
    double zone = 0;
    assert_int_equal(hone_spec_get(spec, 0, "dead_zone", &zone, &error), HONE_OK);
    assert_true(zone == 0.25);
    char *json = NULL;
    assert_int_equal(hone_spec_write(spec, &json, &error), HONE_OK);
    assert_non_null(strstr(json, "\"dead_zone\""));
    hone_string_free(context, json);
    hone_spec_free(spec);

    assert_int_equal(parse("{\"optimizer_type\": \"sign_momentum\", \"dead_zone\": 4.5}", &error),
                     HONE_ERROR_SPEC);
    assert_non_null(strstr(error.message, "dead_zone"));
    assert_int_equal(parse("{\"optimizer_type\": \"sign_momentum\", \"momentum\": 1}", &error),
                     HONE_ERROR_SPEC);
    assert_int_equal(parse("{\"optimizer_type\": \"sign_momentum\", \"dead_zon\": 1}", &error),
                     HONE_ERROR_SPEC);
    assert_non_null(strstr(error.message, "dead_zone"));
}

static void steps(void **state)
{
    (void)state;
    const int64_t shape[] = {4};
    float weight[4] = {1, -1, 2, 4}, grad[4] = {1, -2, 0.25f, 0};
    const hone_tensor w = hone_tensor_view(weight, HONE_F32, 1, shape);
    const hone_tensor g = hone_tensor_view(grad, HONE_F32, 1, shape);
    hone_spec *spec = NULL;
    hone_optimizer *optimizer = NULL;
    hone_error error;
    assert_int_equal(hone_spec_parse(&spec, context, recipe, strlen(recipe), &error), HONE_OK);
    assert_int_equal(hone_optimizer_create(&optimizer, context, spec, &error), HONE_OK);
    assert_int_equal(hone_optimizer_add(optimizer, "w", &w, HONE_GROUP_BY_NAME, NULL, &error),
                     HONE_OK);
    assert_int_equal(hone_optimizer_set_grad(optimizer, 0, &g, &error), HONE_OK);
    assert_int_equal(hone_optimizer_step(optimizer, NULL, &error), HONE_OK);

    /* b = g / 2: 0.5, -1, 0.125, 0; p = 0.75 p - 0.5 sign(b) where |b| > 0.25 */
    const float expected[4] = {0.25f, -0.25f, 1.5f, 3}, buffer[4] = {0.5f, -1, 0.125f, 0};
    assert_memory_equal(weight, expected, sizeof expected);
    hone_tensor view;
    assert_int_equal(hone_optimizer_state(optimizer, 0, "sign_buffer", &view, &error), HONE_OK);
    assert_int_equal(view.dtype, HONE_F32);
    assert_memory_equal(view.data, buffer, sizeof buffer);
    hone_optimizer_free(optimizer);
    hone_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_listed),
        cmocka_unit_test(spec_knows_its_keys_and_ranges),
        cmocka_unit_test(steps),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
