/* SPDX-License-Identifier: Apache-2.0 */
/* The list of rules as the public functions show it. */
#include <math.h>
#include <string.h>

#include "support/checks.h"

static void test_rules(void **state)
{
    (void)state;
    const char *const known[] = {"adam", "adamw", "adamw_tf", "adopt", "rmsprop", "sgd"};
    assert_true(hone_rule_count() >= 6);
    for (int i = 0; i < 6; i++) {
        const hone_rule *const rule = hone_rule_find(known[i]);
        assert_non_null(rule);
        assert_string_equal(hone_rule_name(rule), known[i]);
    }
    assert_null(hone_rule_find("Adam"));
    assert_null(hone_rule_find(""));
    assert_null(hone_rule_find(NULL));
    assert_null(hone_rule_at(-1));
    assert_null(hone_rule_at(hone_rule_count()));
}

static void test_order(void **state)
{
    (void)state;
    for (int i = 0; i < hone_rule_count(); i++) {
        const char *const name = hone_rule_name(hone_rule_at(i));
        assert_ptr_equal(hone_rule_find(name), hone_rule_at(i));
        if (i > 0)
            assert_true(strcmp(hone_rule_name(hone_rule_at(i - 1)), name) < 0);
    }
}

static void check_hyper(const hone_rule *rule, int index)
{
    const hone_hyper *const hyper = hone_rule_hyper(rule, index);
    assert_int_equal(hone_rule_hyper_find(rule, hyper->name), index);
    assert_true(strlen(hyper->doc) > 0 && strchr(hyper->doc, '\n') == NULL);
    assert_true(hyper->low <= hyper->default_value);
    assert_true(hyper->high_open ? hyper->default_value < hyper->high
                                 : hyper->default_value <= hyper->high);
    if (hyper->kind == HONE_FLAG)
        assert_true(hyper->low == 0 && hyper->high == 1 && !hyper->high_open);
    if (hyper->kind != HONE_CURVE)
        assert_true(hyper->default_power == 0);
}

static void check_slot(const hone_rule *rule, int index)
{
    const hone_slot *const slot = hone_rule_slot(rule, index);
    assert_int_equal(hone_rule_slot_find(rule, slot->name), index);
    assert_true(strlen(slot->doc) > 0 && isfinite(slot->initial));
    assert_true((slot->condition < 0) == (slot->optional < 0));
    assert_true(slot->condition < hone_rule_hyper_count(rule));
}

static void test_tables(void **state)
{
    (void)state;
    for (int i = 0; i < hone_rule_count(); i++) {
        const hone_rule *const rule = hone_rule_at(i);
        assert_true(strlen(hone_rule_doc(rule)) > 0);
        assert_true(strchr(hone_rule_doc(rule), '\n') == NULL);
        for (int k = 0; k < hone_rule_hyper_count(rule); k++)
            check_hyper(rule, k);
        for (int k = 0; k < hone_rule_slot_count(rule); k++)
            check_slot(rule, k);
        assert_null(hone_rule_hyper(rule, -1));
        assert_null(hone_rule_hyper(rule, hone_rule_hyper_count(rule)));
        assert_null(hone_rule_slot(rule, -1));
        assert_null(hone_rule_slot(rule, hone_rule_slot_count(rule)));
        assert_int_equal(hone_rule_hyper_find(rule, "no such"), -1);
        assert_int_equal(hone_rule_hyper_find(rule, NULL), -1);
        assert_int_equal(hone_rule_slot_find(rule, "no such"), -1);
        assert_int_equal(hone_rule_slot_find(rule, NULL), -1);
        assert_true(hone_rule_hyper_find(rule, "lr") >= 0);
    }
}

/* The defaults of PyTorch, which its users expect. */
static void check_default(const char *rule_name, const char *hyper, double value)
{
    const hone_rule *const rule = hone_rule_find(rule_name);
    const int index = hone_rule_hyper_find(rule, hyper);
    if (index < 0 || hone_rule_hyper(rule, index)->default_value != value)
        fail_msg("%s of %s", hyper, rule_name);
}

static void test_defaults(void **state)
{
    (void)state;
    check_default("sgd", "lr", 1e-3);
    check_default("sgd", "momentum", 0);
    check_default("adam", "beta1", 0.9);
    check_default("adam", "beta2", 0.999);
    check_default("adam", "eps", 1e-8);
    check_default("adam", "weight_decay", 0);
    check_default("adamw", "weight_decay", 1e-2);
    check_default("rmsprop", "lr", 1e-2);
    check_default("rmsprop", "alpha", 0.99);
    check_default("adopt", "beta2", 0.9999);
    check_default("adopt", "eps", 1e-6);
    check_default("adopt", "clip_lambda", 1);
    check_default("adamw_tf", "weight_decay", 1e-2);
    const hone_rule *const adopt = hone_rule_find("adopt");
    const hone_hyper *const clip =
        hone_rule_hyper(adopt, hone_rule_hyper_find(adopt, "clip_lambda"));
    assert_true(clip->default_power == 0.25 && clip->kind == HONE_CURVE);
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(hone_rule_nearest("adamww"), "adamw");
    assert_string_equal(hone_rule_nearest("rmspop"), "rmsprop");
    assert_null(hone_rule_nearest("stochastic gradient descent"));
    assert_null(hone_rule_nearest(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_tables),  cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
