/* SPDX-License-Identifier: Apache-2.0 */
/* Every combination of a rule's options, read off its table: both values of a flag, several of a
 * number, several curves. */
#include <math.h>

#include "property/run.h"

#define MOST_CANDIDATES 4

struct candidates {
    int count;
    double value[MOST_CANDIDATES], power[MOST_CANDIDATES];
};

static void offer(struct candidates *list, double value, double power)
{
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == value && list->power[i] == power)
            return;
    list->value[list->count] = value;
    list->power[list->count++] = power;
}

/* A value inside the range that is neither the default nor an end. */
static double inside(const hone_hyper *hyper)
{
    if (isfinite(hyper->low) && isfinite(hyper->high))
        return (hyper->low + hyper->high) / 2;
    if (hyper->default_value == 0)
        return 0.1;
    return hyper->default_value * (hyper->default_value < 1e-2 ? 20 : 1.5);
}

static struct candidates candidates_of(const hone_hyper *hyper, bool numbers)
{
    struct candidates list = {0};
    offer(&list, hyper->default_value, hyper->default_power);
    if (hyper->kind == HONE_FLAG) {
        offer(&list, 1 - hyper->default_value, 0);
    } else if (numbers && hyper->kind == HONE_CURVE) {
        offer(&list, (double)INFINITY, 0);
        offer(&list, 0.5, 0);
        offer(&list, 0.7, 0.4);
    } else if (numbers) {
        offer(&list, inside(hyper), 0);
        offer(&list, isfinite(hyper->low) ? hyper->low : -0.5, 0);
    }
    return list;
}

/* A number that a slot depends on is switched on and off like a flag. */
static bool is_condition(const hone_rule *rule, int index)
{
    for (int k = 0; k < hone_rule_slot_count(rule); k++)
        if (hone_rule_slot(rule, k)->condition == index)
            return true;
    return false;
}

/* The combination number `code` in mixed radix; false once past the last. */
static bool choose(struct run *run, size_t code, bool numbers)
{
    for (int i = 0; i < hone_rule_hyper_count(run->rule); i++) {
        const struct candidates list =
            candidates_of(hone_rule_hyper(run->rule, i), numbers || is_condition(run->rule, i));
        const size_t digit = code % (size_t)list.count;
        code /= (size_t)list.count;
        run->value[i] = list.value[digit];
        run->power[i] = list.power[digit];
    }
    return code == 0;
}

/* A rule for matrices has laws of its own, not those of single elements: tests/unit/test_muon.c. */
static void visit_rule(const hone_rule *rule, bool numbers, size_t stride, run_visit_fn *visit,
                       void *user)
{
    if (hone_rule_is_matrix(rule))
        return;
    struct run run = run_of_rule(rule);
    for (size_t code = 0; choose(&run, code, numbers); code += stride)
        if (run_is_possible(&run))
            visit(&run, user);
}

void run_each_variant(run_visit_fn *visit, void *user)
{
    for (int i = 0; i < hone_rule_count(); i++)
        visit_rule(hone_rule_at(i), false, 1, visit, user);
}

void run_each_combination(run_visit_fn *visit, size_t quick_stride, void *user)
{
    for (int i = 0; i < hone_rule_count(); i++)
        visit_rule(hone_rule_at(i), true, test_is_quick() ? quick_stride : 1, visit, user);
}
