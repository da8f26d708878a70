/* SPDX-License-Identifier: Apache-2.0 */
/* Every hyperparameter of every rule at and beyond the ends of its range: refused with its name,
 * what was found and what is allowed, and without a change; or accepted and read back. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "property/run.h"

struct place {
    hone_context *context;
    hone_spec *spec;
    hone_optimizer *optimizer;
    const hone_rule *rule;
    const hone_hyper *hyper;
};

static hone_status set(const struct place *place, bool in_spec, double value)
{
    if (in_spec)
        return hone_spec_set(place->spec, 0, place->hyper->name, value, &problem);
    return hone_optimizer_set(place->optimizer, 0, place->hyper->name, value, &problem);
}

/* As the table's own scale and power where the value is a curve. */
static void read_back(const struct place *place, bool in_spec, double *scale, double *power)
{
    const hone_spec *const spec = in_spec ? place->spec : hone_optimizer_spec(place->optimizer);
    *power = 0;
    if (place->hyper->kind == HONE_CURVE)
        OK(hone_spec_get_curve(spec, 0, place->hyper->name, scale, power, &problem));
    else if (in_spec)
        OK(hone_spec_get(spec, 0, place->hyper->name, scale, &problem));
    else
        OK(hone_optimizer_get(place->optimizer, 0, place->hyper->name, scale, &problem));
}

static void number_text(char *text, double value)
{
    if (isnan(value))
        snprintf(text, 32, "NaN");
    else if (isinf(value))
        snprintf(text, 32, value > 0 ? "Infinity" : "-Infinity");
    else
        snprintf(text, 32, "%.17g", value);
}

/* The sentence of docs and specs: "beta1 is 1; adam allows at least 0 and below 1". */
static void expected_sentence(char *text, size_t size, const struct place *place, const char *found)
{
    const hone_hyper *const h = place->hyper;
    char low[32], range[96];
    snprintf(low, sizeof low, "%g", h->low);
    if (h->kind == HONE_FLAG)
        snprintf(range, sizeof range, "0 or 1");
    else if (h->kind == HONE_CHOICE)
        snprintf(range, sizeof range, "a whole number from 0 (%s) to %g (%s)", h->words[0], h->high,
                 h->words[(int)h->high]);
    else if (isinf(h->low))
        snprintf(range, sizeof range, "any finite number");
    else if (isinf(h->high) && h->kind == HONE_CURVE)
        snprintf(range, sizeof range, "at least %s", low);
    else if (isinf(h->high))
        snprintf(range, sizeof range, "finite and at least %s", low);
    else
        snprintf(range, sizeof range, "at least %s and %s %g", low,
                 h->high_open ? "below" : "at most", h->high);
    snprintf(text, size, "%s is %s; %s allows %s", h->name, found, hone_rule_name(place->rule),
             range);
}

static void refuses(const struct place *place, double value)
{
    char sentence[256], found[32];
    number_text(found, value);
    expected_sentence(sentence, sizeof sentence, place, found);
    for (int in_spec = 0; in_spec < 2; in_spec++) {
        double before[2], after[2];
        read_back(place, in_spec, &before[0], &before[1]);
        const bool exact = value == floor(value) || !isfinite(value);
        FAILS(HONE_ERROR_RANGE, exact ? sentence : NULL, set(place, in_spec, value));
        if (strncmp(problem.message, place->hyper->name, strlen(place->hyper->name)) != 0 ||
            strstr(problem.message, strstr(sentence, "; ")) == NULL)
            fail_msg("%s does not end as %s", problem.message, sentence);
        read_back(place, in_spec, &after[0], &after[1]);
        assert_memory_equal(before, after, sizeof before);
    }
}

/* Or refused by the rule because of its other values, which is said. */
static void accepts(const struct place *place, double value)
{
    for (int in_spec = 0; in_spec < 2; in_spec++) {
        const hone_status status = set(place, in_spec, value);
        if (status != HONE_OK) {
            assert_int_equal(status, HONE_ERROR_RANGE);
            if (strstr(problem.message, "does not fit the group's other values") == NULL)
                fail_msg("%s", problem.message);
            continue;
        }
        double scale, power;
        read_back(place, in_spec, &scale, &power);
        assert_true(scale == value && power == 0);
    }
}

static void check_number(const struct place *place)
{
    const hone_hyper *const h = place->hyper;
    refuses(place, (double)NAN);
    if (h->kind == HONE_NUMBER) {
        refuses(place, (double)INFINITY);
        refuses(place, (double)-INFINITY);
    }
    if (isfinite(h->low)) {
        refuses(place, nextafter(h->low, (double)-INFINITY));
        refuses(place, h->low - 1);
        accepts(place, h->low);
    }
    if (isfinite(h->high)) {
        refuses(place, nextafter(h->high, (double)INFINITY));
        refuses(place, h->high + 1);
        if (h->high_open) {
            refuses(place, h->high);
            accepts(place, nextafter(h->high, h->low));
        } else {
            accepts(place, h->high);
        }
    }
    accepts(place, h->default_value);
}

static void check_flag(const struct place *place)
{
    refuses(place, (double)NAN);
    refuses(place, 2);
    refuses(place, -1);
    refuses(place, 0.5);
    refuses(place, (double)INFINITY);
    accepts(place, 1);
    accepts(place, 0);
}

static void check_curve(const struct place *place)
{
    const char *const name = place->hyper->name;
    check_number(place);
    OK(hone_optimizer_set_curve(place->optimizer, 0, name, (double)INFINITY, 0, &problem));
    OK(hone_optimizer_set_curve(place->optimizer, 0, name, 2, -0.5, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_set_curve(place->optimizer, 0, name, 1, (double)NAN, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_set_curve(place->optimizer, 0, name, 1, (double)INFINITY, &problem));
    FAILS(HONE_ERROR_RANGE, NULL,
          hone_optimizer_set_curve(place->optimizer, 0, name, -1, 0.5, &problem));
    double scale, power;
    read_back(place, false, &scale, &power);
    assert_true(scale == 2 && power == -0.5);
}

static void check_rule(hone_context *context, const hone_rule *rule)
{
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        struct place place = {.context = context, .rule = rule};
        OK(hone_spec_create(&place.spec, context, hone_rule_name(rule), &problem));
        place.optimizer = test_optimizer(context, hone_rule_name(rule));
        place.hyper = hone_rule_hyper(rule, i);
        if (place.hyper->kind == HONE_FLAG)
            check_flag(&place);
        else if (place.hyper->kind == HONE_CURVE)
            check_curve(&place);
        else
            check_number(&place);
        hone_optimizer_free(place.optimizer);
        hone_spec_free(place.spec);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    hone_context *const context = test_context(1, NULL);
    for (int i = 0; i < hone_rule_count(); i++)
        check_rule(context, hone_rule_at(i));
    hone_context_free(context);
}

/* A default outside its own range would make a rule unusable from its first line. */
static void test_defaults(void **state)
{
    (void)state;
    for (int i = 0; i < hone_rule_count(); i++) {
        const struct run run = run_of_rule(hone_rule_at(i));
        if (!run_is_possible(&run))
            fail_msg("%s: %s", run_text(&run), problem.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
