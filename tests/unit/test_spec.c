/* SPDX-License-Identifier: Apache-2.0 */
/* Specs as objects: values, groups and patterns, canonical JSON for every rule of the registry, and
 * the search for patterns. What the reader refuses is in test_spec_errors.c. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "support/fixtures.h"

static void expect_json(const hone_spec *spec, const char *json)
{
    char *text = NULL;
    assert_int_equal(hone_spec_write(spec, &text, NULL), HONE_OK);
    assert_string_equal(text, json);
    hone_string_free(context, text);
}

/* Parses, and expects this canonical form, which must be its own. */
static void expect_canonical(const char *json, const char *canonical)
{
    hone_spec *spec = parse_spec(json);
    expect_json(spec, canonical);
    hone_spec_free(spec);
    spec = parse_spec(canonical);
    expect_json(spec, canonical);
    hone_spec_free(spec);
}

static double get(const hone_spec *spec, int group, const char *hyper)
{
    double value = NAN;
    assert_int_equal(hone_spec_get(spec, group, hyper, &value, NULL), HONE_OK);
    return value;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void test_canonical_form(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {" {\"optimizer_type\" : \"adam\"}\n",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"lr\":1}",
         "{\"learning_rate\":1,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"eps\":1.0e-8,\"betas\":[0.9,0.999]}",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"beta2\":0.5}",
         "{\"betas\":[0.9,0.5],\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"eps\":1e-300,\"lr\":123456789012345678901234567890}",
         "{\"eps\":1e-300,\"learning_rate\":1.2345678901234568e29,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"eps\":0.1,\"lr\":100000}",
         "{\"eps\":0.1,\"learning_rate\":100000,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"sgd\",\"weight_decay\":-0.0,\"momentum\":-0.0,\"dampening\":-2.5}",
         "{\"dampening\":-2.5,\"learning_rate\":0.001,\"optimizer_type\":\"sgd\"}"},
        {"{\"optimizer_type\":\"adopt\",\"clip_lambda\":{\"scale\":1,\"power\":0.25}}",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adopt\"}"},
        {"{\"optimizer_type\":\"adam\",\"eps\":0.00001,\"lr\":1.50e-07}",
         "{\"eps\":1e-5,\"learning_rate\":1.5e-7,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adopt\",\"clip_lambda\":{\"scale\":1,\"power\":0.5}}",
         "{\"clip_lambda\":{\"power\":0.5,\"scale\":1},\"learning_rate\":0.001,\"optimizer_type\":"
         "\"adopt\"}"},
        {"{\"optimizer_type\":\"adopt\",\"clip_lambda\":{\"scale\":2,\"power\":0}}",
         "{\"clip_lambda\":2,\"learning_rate\":0.001,\"optimizer_type\":\"adopt\"}"},
        {"{\"optimizer_type\":\"adopt\",\"clip_lambda\":{\"scale\":2,\"power\":-1.5}}",
         "{\"clip_lambda\":{\"power\":-1.5,\"scale\":2},\"learning_rate\":0.001,\"optimizer_type\":"
         "\"adopt\"}"},
        {"{\"optimizer_type\":\"adopt\",\"clip_lambda\":null,\"decouple\":true}",
         "{\"clip_lambda\":null,\"decouple\":true,\"learning_rate\":0.001,\"optimizer_type\":"
         "\"adopt\"}"},
        {"{\"optimizer_type\":\"adam\",\"nonfinite\":\"error\",\"clip_norm_type\":\"inf\","
         "\"clip_grad_value\":2.5,\"clip_grad_norm\":1.0}",
         "{\"clip_grad_norm\":1,\"clip_grad_value\":2.5,\"clip_norm_type\":\"inf\","
         "\"learning_rate\":0.001,\"nonfinite\":\"error\",\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"nonfinite\":\"propagate\",\"clip_norm_type\":2,"
         "\"clip_grad_value\":null,\"clip_grad_norm\":null,\"groups\":[]}",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}"},
        {"{\"optimizer_type\":\"adam\",\"state_dtype\":{\"exp_avg\":\"bf16\","
         "\"exp_avg_sq\":\"bf16\",\"max_exp_avg_sq\":\"bf16\"}}",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\",\"state_dtype\":\"bf16\"}"},
        {"{\"optimizer_type\":\"adam\",\"state_dtype\":{\"exp_avg_sq\":\"f32\","
         "\"exp_avg\":\"f16\",\"max_exp_avg_sq\":null}}",
         "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\",\"state_dtype\":{\"exp_avg\":"
         "\"f16\",\"exp_avg_sq\":\"f32\"}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_canonical(cases[i][0], cases[i][1]);
}

static void test_group_entries(void **state)
{
    (void)state;
    /* What a group repeats is left out; what it takes back to a default is written. */
    expect_canonical(
        "{\"optimizer_type\":\"adamw\",\"weight_decay\":0.5,\"state_dtype\":\"f32\","
        "\"groups\":[{\"match\":[\"*.bias\"],\"weight_decay\":0.01,\"eps\":1e-8,"
        "\"lr_multiplier\":1,\"state_dtype\":null,\"optimizer_type\":\"adamw\"},"
        "{\"match\":[],\"lr_multiplier\":0},"
        "{\"match\":[\"a\",\"b\\\"\\\\\\u0001\\u00e9\"],\"weight_decay\":0.5,"
        "\"state_dtype\":{\"exp_avg\":null}}]}",
        "{\"groups\":[{\"match\":\"*.bias\",\"state_dtype\":null,\"weight_decay\":0.01},"
        "{\"lr_multiplier\":0,\"match\":[]},"
        "{\"match\":[\"a\",\"b\\\"\\\\\\u0001\xc3\xa9\"],\"state_dtype\":{\"exp_avg\":"
        "null}}],\"learning_rate\":0.001,\"optimizer_type\":\"adamw\","
        "\"state_dtype\":\"f32\",\"weight_decay\":0.5}");
    expect_canonical(
        "{\"optimizer_type\":\"adamw\",\"weight_decay\":0.5,\"groups\":[{\"match\":\"x\","
        "\"optimizer_type\":\"adamw\"}]}",
        "{\"groups\":[{\"match\":\"x\"}],\"learning_rate\":0.001,\"optimizer_type\":"
        "\"adamw\",\"weight_decay\":0.5}");
    /* Another rule starts from its own defaults: nothing of group 0 is taken over. */
    hone_spec *const spec =
        parse_spec("{\"groups\":[{\"match\":\"x\",\"optimizer_type\":\"sgd\",\"momentum\":0.5}],"
                   "\"learning_rate\":7,\"weight_decay\":0.5,\"optimizer_type\":\"adamw\","
                   "\"state_dtype\":\"f64\"}");
    assert_string_equal(hone_rule_name(hone_spec_group_rule(spec, 1)), "sgd");
    assert_true(get(spec, 1, "lr") == 1e-3 && get(spec, 1, "weight_decay") == 0);
    assert_true(get(spec, 0, "lr") == 7 && get(spec, 0, "weight_decay") == 0.5);
    assert_true(get(spec, 1, "momentum") == 0.5);
    expect_json(spec, "{\"groups\":[{\"match\":\"x\",\"momentum\":0.5,\"optimizer_type\":\"sgd\"}],"
                      "\"learning_rate\":7,\"optimizer_type\":\"adamw\",\"state_dtype\":\"f64\","
                      "\"weight_decay\":0.5}");
    hone_spec_free(spec);
}

/* What the Python specifications of the seed write; its Muon comes with the Muon rule. */
static void test_older_files(void **state)
{
    (void)state;
    expect_canonical("{\"optimizer_type\": \"adam\", \"learning_rate\": 0.001, \"lr_decay_gamma\": "
                     "null, \"betas\": [0.9, 0.999], \"eps\": 1e-08, \"weight_decay\": 0.0}",
                     "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\"}");
    expect_canonical("{\"optimizer_type\": \"adam\", \"learning_rate\": 0.001, \"lr_decay_gamma\": "
                     "null, \"betas\": [0.9, 0.999], \"eps\": 1e-08, \"weight_decay\": 0.01}",
                     "{\"learning_rate\":0.001,\"optimizer_type\":\"adam\",\"weight_decay\":0.01}");
    expect_canonical("{\"optimizer_type\": \"adamw\", \"learning_rate\": 0.0001, \"lr_decay_gamma\""
                     ": null, \"betas\": [0.9, 0.999], \"eps\": 1e-08, \"weight_decay\": 0.01}",
                     "{\"learning_rate\":0.0001,\"optimizer_type\":\"adamw\"}");
}

/* ---- every rule of the registry ------------------------------------------------------------- */

/* A value in the range that is not the default. */
static double other_value(const hone_hyper *hyper)
{
    static const double values[] = {0.3, 1.0 / 3, 17, -1.25};
    if (hyper->kind == HONE_FLAG || hyper->kind == HONE_CHOICE)
        return 1 - hyper->default_value;
    if (strcmp(hyper->name, "ns_steps") == 0)
        return 7; /* whole numbers only */
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (values[i] != hyper->default_value && values[i] >= hyper->low && values[i] < hyper->high)
            return values[i];
    fail_msg("no other value for %s", hyper->name);
    return 0;
}

/* Some values fit others only: a flag that complains gets the numbers first. */
static void set_other(hone_spec *spec, int group, int index)
{
    const hone_rule *const rule = hone_spec_group_rule(spec, group);
    const hone_hyper *const hyper = hone_rule_hyper(rule, index);
    const double value = other_value(hyper);
    if (hone_spec_set(spec, group, hyper->name, value, NULL) == HONE_OK)
        return;
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        const hone_hyper *const number = hone_rule_hyper(rule, i);
        if (number->kind == HONE_NUMBER && i != index)
            hone_spec_set(spec, group, number->name,
                          number->low == 0 ? other_value(number) : number->default_value, NULL);
    }
    hone_error error;
    if (hone_spec_set(spec, group, hyper->name, value, &error) != HONE_OK)
        fail_msg("%s: %s", hone_rule_name(rule), error.message);
}

static void expect_same_globs(const struct hone_globs *a, const struct hone_globs *b)
{
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++)
        assert_string_equal(a->texts[i], b->texts[i]);
}

static void expect_same_values(const hone_spec *a, const hone_spec *b)
{
    assert_int_equal(hone_spec_group_count(a), hone_spec_group_count(b));
    for (int group = 0; group < hone_spec_group_count(a); group++) {
        const struct hone_group *const x = &a->groups[group], *const y = &b->groups[group];
        assert_ptr_equal(x->rule, y->rule);
        assert_true(x->lr_multiplier == y->lr_multiplier);
        assert_memory_equal(&x->masked_lr, &y->masked_lr, sizeof x->masked_lr);
        assert_int_equal(x->precision, y->precision);
        for (int i = 0; i < x->rule->hyper_count; i++) {
            assert_memory_equal(&x->values[i].number, &y->values[i].number, sizeof(double));
            assert_memory_equal(&x->values[i].power, &y->values[i].power, sizeof(double));
        }
        for (int i = 0; i < x->rule->slot_count; i++)
            assert_int_equal(x->state_dtype[i], y->state_dtype[i]);
        expect_same_globs(&x->match, &y->match);
        expect_same_globs(&x->except, &y->except);
        assert_int_equal(x->min_ndim, y->min_ndim);
        assert_true(hone_schedule_equal(x->schedule, y->schedule));
        assert_true(hone_schedule_equal(x->masked_schedule, y->masked_schedule));
    }
    assert_true(a->clip_norm == b->clip_norm && a->clip_norm_type == b->clip_norm_type);
    assert_true(a->clip_value == b->clip_value && a->nonfinite == b->nonfinite);
    assert_int_equal(a->accumulate, b->accumulate);
    assert_int_equal(a->accumulate_mean, b->accumulate_mean);
    assert_int_equal(a->multiplier_count, b->multiplier_count);
    for (int i = 0; i < a->multiplier_count; i++) {
        assert_string_equal(a->multipliers[i].module, b->multipliers[i].module);
        assert_true(a->multipliers[i].value == b->multipliers[i].value);
    }
}

static void expect_round_trip(const hone_spec *spec)
{
    char *first, *second;
    assert_int_equal(hone_spec_write(spec, &first, NULL), HONE_OK);
    hone_spec *const again = parse_spec(first);
    expect_same_values(spec, again);
    assert_int_equal(hone_spec_write(again, &second, NULL), HONE_OK);
    assert_string_equal(first, second);
    hone_string_free(context, first);
    hone_string_free(context, second);
    hone_spec_free(again);
}

/* What the frame keeps for a group and the whole, beside the rule's values. */
static void set_frame(hone_spec *spec, int group, int i)
{
    static const char *const texts[] = {"a*", "\"quoted\"", "b.c", "z"};
    struct hone_group *const own = &spec->groups[group];
    for (int k = 0; k <= i % 3; k++) {
        assert_int_equal(hone_spec_append_glob(spec, &own->except, texts[k], NULL), HONE_OK);
        assert_int_equal(hone_spec_set_lr_multiplier(spec, texts[3 - k], i / 4.0, NULL), HONE_OK);
    }
    own->min_ndim = i % 4;
    if (i % 2 == 0)
        assert_int_equal(
            hone_schedule_create_decay(&own->masked_schedule, context, 0.5 + i / 99.0, NULL),
            HONE_OK);
}

static void check_rule(const hone_rule *rule)
{
    const char *const name = hone_rule_name(rule);
    hone_spec *whole;
    assert_int_equal(hone_spec_create(&whole, context, name, NULL), HONE_OK);
    expect_round_trip(whole);
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        hone_spec *spec;
        assert_int_equal(hone_spec_create(&spec, context, name, NULL), HONE_OK);
        assert_int_equal(hone_spec_add_group(spec, NULL, "a", NULL, NULL), HONE_OK);
        set_other(spec, 1, i);
        expect_round_trip(spec);
        set_frame(spec, 1, i);
        expect_round_trip(spec);
        set_other(spec, 0, i);
        assert_int_equal(hone_spec_add_group(spec, name, "b", NULL, NULL), HONE_OK);
        expect_round_trip(spec);
        assert_true(get(spec, 0, hone_rule_hyper(rule, i)->name) !=
                    hone_rule_hyper(rule, i)->default_value);
        set_other(whole, 0, i);
        expect_round_trip(whole);
        hone_spec_free(spec);
    }
    for (int i = 0; i < hone_rule_slot_count(rule); i++) {
        whole->groups[0].state_dtype[i] = HONE_F16;
        expect_round_trip(whole);
    }
    hone_spec_free(whole);
}

static void test_every_rule(void **state)
{
    (void)state;
    assert_true(hone_rule_count() >= 6);
    for (int i = 0; i < hone_rule_count(); i++)
        check_rule(hone_rule_at(i));
}

static void expect_refused(hone_spec *spec, const char *hyper, double value)
{
    char *before, *after;
    assert_int_equal(hone_spec_write(spec, &before, NULL), HONE_OK);
    if (hone_spec_set(spec, 0, hyper, value, NULL) != HONE_ERROR_RANGE)
        fail_msg("%s = %g was accepted", hyper, value);
    assert_int_equal(hone_spec_write(spec, &after, NULL), HONE_OK);
    assert_string_equal(before, after);
    hone_string_free(context, before);
    hone_string_free(context, after);
}

static void test_ranges_of_every_rule(void **state)
{
    (void)state;
    for (int r = 0; r < hone_rule_count(); r++) {
        const hone_rule *const rule = hone_rule_at(r);
        hone_spec *spec;
        assert_int_equal(hone_spec_create(&spec, context, hone_rule_name(rule), NULL), HONE_OK);
        for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
            const hone_hyper *const hyper = hone_rule_hyper(rule, i);
            expect_refused(spec, hyper->name, NAN);
            expect_refused(spec, hyper->name, -INFINITY);
            if (hyper->kind != HONE_CURVE)
                expect_refused(spec, hyper->name, INFINITY);
            if (hyper->kind == HONE_FLAG)
                expect_refused(spec, hyper->name, 0.5);
            if (isfinite(hyper->low))
                expect_refused(spec, hyper->name, nextafter(hyper->low, -INFINITY));
            if (isfinite(hyper->high))
                expect_refused(spec, hyper->name,
                               hyper->high_open ? hyper->high : nextafter(hyper->high, INFINITY));
        }
        hone_spec_free(spec);
    }
}

/* Doubles of every size come back with the same bits. */
static void test_numbers(void **state)
{
    (void)state;
    hone_spec *spec;
    assert_int_equal(hone_spec_create(&spec, context, "sgd", NULL), HONE_OK);
    assert_int_equal(hone_spec_set(spec, 0, "dampening", -0.0, NULL), HONE_OK);
    expect_round_trip(spec);
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        double value;
        const uint64_t bits = i % 4 == 0 ? random >> 40 : random; /* some subnormal ones */
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        assert_int_equal(hone_spec_set(spec, 0, "dampening", value, NULL), HONE_OK);
        expect_round_trip(spec);
    }
    hone_spec_free(spec);
}

/* ---- the object ----------------------------------------------------------------------------- */

static void expect_error(const hone_error *error, hone_status status, const char *message)
{
    assert_string_equal(error->message, message);
    assert_int_equal(error->status, status);
    assert_int_equal(error->offset, -1);
}

static void test_values(void **state)
{
    (void)state;
    hone_spec *spec = NULL;
    hone_error error;
    hone_spec_create(&spec, context, "adamx", &error);
    assert_null(spec);
    expect_error(&error, HONE_ERROR_NAME, "there is no rule \"adamx\"; the nearest is \"adam\"");
    assert_int_equal(hone_spec_create(&spec, context, "sgd", NULL), HONE_OK);
    hone_spec_set(spec, 1, "lr", 1, &error);
    expect_error(&error, HONE_ERROR_ARGUMENT, "there is no group 1; this spec has 0 to 0");
    hone_spec_set(spec, -1, "lr", 1, &error);
    expect_error(&error, HONE_ERROR_ARGUMENT, "there is no group -1; this spec has 0 to 0");
    hone_spec_set(spec, 0, "momentun", 1, &error);
    expect_error(&error, HONE_ERROR_NAME,
                 "sgd has no hyperparameter \"momentun\"; the nearest is \"momentum\"");
    hone_spec_set(spec, 0, "momentum", -1, &error);
    expect_error(&error, HONE_ERROR_RANGE, "momentum is -1; sgd allows finite and at least 0");
    hone_spec_set(spec, 0, "nesterov", 1, &error);
    expect_error(&error, HONE_ERROR_RANGE,
                 "nesterov = 1 does not fit the group's other values: Nesterov momentum requires a "
                 "momentum and zero dampening");
    assert_true(get(spec, 0, "nesterov") == 0);
    assert_int_equal(hone_spec_set(spec, 0, "momentum", 0.5, NULL), HONE_OK);
    assert_int_equal(hone_spec_set(spec, 0, "nesterov", 1, NULL), HONE_OK);
    hone_spec_set(spec, 0, "momentum", 0, &error);
    assert_int_equal(error.status, HONE_ERROR_RANGE);
    assert_true(get(spec, 0, "momentum") == 0.5);
    hone_spec_set_curve(spec, 0, "momentum", 1, 1, &error);
    expect_error(&error, HONE_ERROR_ARGUMENT, "momentum of sgd is not a curve");
    double value;
    hone_spec_get(spec, 0, NULL, &value, &error);
    expect_error(&error, HONE_ERROR_ARGUMENT, "the name of a hyperparameter is NULL");
    assert_int_equal(hone_spec_get(NULL, 0, "lr", &value, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_spec_get(spec, 0, "lr", NULL, &error), HONE_ERROR_ARGUMENT);
    hone_spec_free(spec);
}

static double no_curve(uint64_t calls, void *user)
{
    (void)user;
    return (double)calls;
}

static void test_curves(void **state)
{
    (void)state;
    hone_spec *spec;
    hone_error error;
    double scale, power, value;
    assert_int_equal(hone_spec_create(&spec, context, "adopt", NULL), HONE_OK);
    assert_int_equal(hone_spec_get_curve(spec, 0, "clip_lambda", &scale, &power, NULL), HONE_OK);
    assert_true(scale == 1 && power == 0.25);
    hone_spec_get(spec, 0, "clip_lambda", &value, &error);
    expect_error(&error, HONE_ERROR_ARGUMENT,
                 "clip_lambda is a curve that is not constant; hone_spec_get_curve reads it");
    hone_spec_set_curve(spec, 0, "clip_lambda", NAN, 1, &error);
    expect_error(&error, HONE_ERROR_RANGE, "clip_lambda is NaN; adopt allows at least 0");
    hone_spec_set_curve(spec, 0, "clip_lambda", 1, INFINITY, &error);
    expect_error(&error, HONE_ERROR_RANGE, "clip_lambda: power is Infinity; it must be finite");
    hone_spec_set_curve(spec, 0, "clip_lambda", INFINITY, NAN, &error);
    assert_int_equal(error.status, HONE_ERROR_RANGE);
    expect_json(spec, "{\"learning_rate\":0.001,\"optimizer_type\":\"adopt\"}");
    assert_int_equal(hone_spec_set_curve(spec, 0, "clip_lambda", INFINITY, 2, NULL), HONE_OK);
    assert_true(isinf(get(spec, 0, "clip_lambda")));
    expect_round_trip(spec);
    assert_int_equal(hone_spec_set(spec, 0, "clip_lambda", 3, NULL), HONE_OK);
    assert_int_equal(hone_spec_get_curve(spec, 0, "clip_lambda", &scale, &power, NULL), HONE_OK);
    assert_true(scale == 3 && power == 0);
    spec->groups[0].values[hone_rule_hyper_find(spec->groups[0].rule, "clip_lambda")].callback =
        no_curve;
    char *text = NULL;
    hone_spec_write(spec, &text, &error);
    assert_null(text);
    expect_error(&error, HONE_ERROR_UNSUPPORTED,
                 "clip_lambda of group 0 is computed by a callback, which a spec's JSON cannot "
                 "hold; give it a scale and a power");
    assert_int_equal(hone_spec_get_curve(spec, 0, "clip_lambda", &scale, &power, NULL),
                     HONE_ERROR_ARGUMENT);
    hone_spec_free(spec);
}

static void test_matching(void **state)
{
    (void)state;
    hone_spec *const spec = parse_spec(
        "{\"optimizer_type\":\"adamw\",\"groups\":[{\"match\":\"*.bias\",\"lr_multiplier\":3},"
        "{\"match\":[\"head.*\",\"score.weight\",\"layer?.[a-c]*\"]},{\"match\":[]},"
        "{\"match\":\"h\\u00e9*\"}]}");
    static const struct {
        const char *name;
        int group;
    } cases[] = {{"body.bias", 1},     {"body.norm.bias", 1},
                 {"bias", 0},          {".bias", 1},
                 {"head.bias", 2},     {"head.", 2},
                 {"head", 0},          {"score.weight", 2},
                 {"score.weights", 0}, {"layer1.attn.w", 2},
                 {"layer1.d", 0},      {"layer12.a", 0},
                 {"h\xc3\xa9llo", 4},  {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(hone_spec_match(spec, cases[i].name, 1), cases[i].group);
    assert_int_equal(hone_spec_match(spec, NULL, 1), 0);
    assert_string_equal(hone_spec_group_pattern(spec, 2, 1), "score.weight");
    assert_null(hone_spec_group_pattern(spec, 2, 3));
    assert_null(hone_spec_group_pattern(spec, 0, 0));
    assert_null(hone_spec_group_pattern(spec, 5, 0));
    assert_null(hone_spec_group_pattern(spec, 1, -1));
    double multiplier;
    assert_int_equal(hone_spec_group_multiplier(spec, 1, &multiplier, NULL), HONE_OK);
    assert_true(multiplier == 3);
    assert_int_equal(hone_spec_group_multiplier(spec, 0, &multiplier, NULL), HONE_OK);
    assert_true(multiplier == 1);
    assert_int_equal(hone_spec_group_multiplier(spec, 5, &multiplier, NULL), HONE_ERROR_ARGUMENT);
    hone_spec_free(spec);
}

/* One glob and one name each: characters of UTF-8 in any locale, and what is not well formed. */
static void test_globs(void **state)
{
    (void)state;
    static const struct {
        const char *glob, *name;
        bool takes;
    } cases[] = {{"x?", "x\xc3\xa9", true},
                 {"x??", "x\xc3\xa9", false},
                 {"x[\xc3\xa9]", "x\xc3\xa9", true},
                 {"x[!a]", "x\xf0\x9f\x98\x80", true},
                 {"x[\xc3\xa0-\xc3\xb0]", "x\xc3\xa9", true},
                 {"x?", "x\xff", true},
                 {"x??", "x\xe2\x82", true},
                 {"h[[:digit:]]", "h7", true},
                 {"h[![:digit:]_]", "h7", false},
                 {"h[[:alpha:]-]", "h-", true},
                 {"[]x]", "]", true},
                 {"[c-a]", "b", false},
                 {"a[b", "a[b", true},
                 {"\\*", "*", true},
                 {"\\*", "x", false},
                 {"[\\]]", "]", true},
                 {"a\\", "a", false},
                 {"*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
                 {"**", "", true},
                 {"", "", true},
                 {"*.?*", "a.", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (hone_glob_takes(cases[i].glob, cases[i].name) != cases[i].takes)
            fail_msg("%s and %s", cases[i].glob, cases[i].name);
}

static void test_unmatched(void **state)
{
    (void)state;
    hone_spec *const spec =
        parse_spec("{\"optimizer_type\":\"adamw\",\"groups\":[{\"match\":[\"a*\",\"b\",\"c*\"]},"
                   "{\"match\":[]},{\"match\":[\"*\",\"d\"]}]}");
    static const char *const names[] = {"apple", "cedar"};
    int group = 0, index = 0;
    assert_string_equal(hone_spec_unmatched(spec, names, 2, &group, &index), "b");
    assert_int_equal(group, 1);
    assert_string_equal(hone_spec_unmatched(spec, names, 2, &group, &index), "d");
    assert_int_equal(group, 3);
    assert_null(hone_spec_unmatched(spec, names, 2, &group, &index));
    assert_null(hone_spec_unmatched(spec, names, 2, &group, &index));
    int count = 0;
    group = index = 0;
    while (hone_spec_unmatched(spec, NULL, 0, &group, &index) != NULL)
        count++;
    assert_int_equal(count, 5);
    group = index = 0;
    assert_null(hone_spec_unmatched(NULL, names, 2, &group, &index));
    hone_spec_free(spec);
}

static void test_added_groups(void **state)
{
    (void)state;
    hone_spec *spec;
    hone_error error;
    int group = -1;
    assert_int_equal(hone_spec_create(&spec, context, "adam", NULL), HONE_OK);
    assert_int_equal(hone_spec_set(spec, 0, "eps", 0.5, NULL), HONE_OK);
    assert_int_equal(hone_spec_add_group(spec, NULL, "a*", &group, NULL), HONE_OK);
    assert_int_equal(group, 1);
    assert_true(get(spec, 1, "eps") == 0.5);
    assert_int_equal(hone_spec_add_group(spec, "adam", NULL, &group, NULL), HONE_OK);
    assert_int_equal(group, 2);
    assert_true(get(spec, 2, "eps") == 1e-8);
    static const char *const wrong[] = {"",
                                        "\xff",
                                        "\xc0\xaf",
                                        "\xed\xa0\x80",
                                        "a\xe2\x82",
                                        "\xf4\x90\x80\x80",
                                        "\xf0\x80\x80\x80",
                                        "\xe0\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        hone_spec_add_group(spec, NULL, wrong[i], &group, &error);
        expect_error(&error, HONE_ERROR_ARGUMENT,
                     "a group's pattern must be a shell glob in UTF-8 of at least one byte");
    }
    hone_spec_add_group(spec, "sdg", "a", &group, &error);
    expect_error(&error, HONE_ERROR_NAME, "there is no rule \"sdg\"; the nearest is \"sgd\"");
    assert_int_equal(group, 2);
    assert_int_equal(hone_spec_group_count(spec), 3);
    for (int i = 3; i < 200; i++)
        assert_int_equal(hone_spec_add_group(spec, i % 2 == 0 ? "sgd" : NULL,
                                             "\xf0\x9f\x8c\xb1\xe2\x82\xac\xc3\xa9", NULL, NULL),
                         HONE_OK);
    expect_round_trip(spec);
    hone_spec_free(spec);
}

static void test_copy_and_assign(void **state)
{
    (void)state;
    hone_spec *copy;
    hone_spec *const spec =
        parse_spec("{\"optimizer_type\":\"adamw\",\"clip_grad_norm\":2,"
                   "\"nonfinite\":\"skip\",\"groups\":[{\"match\":[\"a\",\"b\",\"c\"],"
                   "\"optimizer_type\":\"sgd\",\"lr_multiplier\":2}]}");
    hone_spec *const other = parse_spec("{\"optimizer_type\":\"sgd\",\"clip_norm_type\":3}");
    assert_int_equal(hone_spec_copy(&copy, context, spec, NULL), HONE_OK);
    expect_same_values(copy, spec);
    assert_int_equal(hone_spec_assign(copy, other, NULL), HONE_OK);
    expect_same_values(copy, other);
    assert_int_equal(hone_spec_assign(copy, copy, NULL), HONE_OK);
    expect_same_values(copy, other);
    expect_round_trip(spec);
    hone_spec_free(spec);
    hone_spec_free(other);
    hone_spec_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_form),  cmocka_unit_test(test_group_entries),
        cmocka_unit_test(test_older_files),     cmocka_unit_test(test_every_rule),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_ranges_of_every_rule),
        cmocka_unit_test(test_values),          cmocka_unit_test(test_curves),
        cmocka_unit_test(test_matching),        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_unmatched),       cmocka_unit_test(test_added_groups),
        cmocka_unit_test(test_copy_and_assign),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
