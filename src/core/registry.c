/* SPDX-License-Identifier: Apache-2.0 */
/* The public view of the rules' tables, and the checks of values against them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"

int hone_rule_count(void)
{
    return hone_rules_count;
}

const hone_rule *hone_rule_at(int index)
{
    return index >= 0 && index < hone_rules_count ? hone_rules[index] : NULL;
}

const hone_rule *hone_rule_find(const char *name)
{
    for (int i = 0; name != NULL && i < hone_rules_count; i++)
        if (strcmp(hone_rules[i]->name, name) == 0)
            return hone_rules[i];
    return NULL;
}

const char *hone_rule_nearest(const char *name)
{
    const char *best = NULL;
    for (int i = 0; name != NULL && i < hone_rules_count; i++) {
        const char *const pair[] = {best == NULL ? hone_rules[i]->name : best, hone_rules[i]->name};
        best = hone_nearest(name, pair, 2); /* of two equally near ones the first */
    }
    return best;
}

const char *hone_rule_name(const hone_rule *rule)
{
    return rule == NULL ? NULL : rule->name;
}

const char *hone_rule_doc(const hone_rule *rule)
{
    return rule == NULL ? NULL : rule->doc;
}

bool hone_rule_is_matrix(const hone_rule *rule)
{
    return rule != NULL && rule->matrix;
}

int hone_rule_hyper_count(const hone_rule *rule)
{
    return rule == NULL ? 0 : rule->hyper_count;
}

const hone_hyper *hone_rule_hyper(const hone_rule *rule, int index)
{
    return index >= 0 && index < hone_rule_hyper_count(rule) ? &rule->hypers[index] : NULL;
}

int hone_rule_hyper_find(const hone_rule *rule, const char *name)
{
    for (int i = 0; name != NULL && i < hone_rule_hyper_count(rule); i++)
        if (strcmp(rule->hypers[i].name, name) == 0)
            return i;
    return -1;
}

int hone_rule_slot_count(const hone_rule *rule)
{
    return rule == NULL ? 0 : rule->slot_count;
}

const hone_slot *hone_rule_slot(const hone_rule *rule, int index)
{
    return index >= 0 && index < hone_rule_slot_count(rule) ? &rule->slots[index] : NULL;
}

int hone_rule_slot_find(const hone_rule *rule, const char *name)
{
    for (int i = 0; name != NULL && i < hone_rule_slot_count(rule); i++)
        if (strcmp(rule->slots[i].name, name) == 0)
            return i;
    return -1;
}

void hone_rule_defaults(const hone_rule *rule, struct hone_value *values)
{
    for (int i = 0; i < rule->hyper_count; i++)
        values[i] = (struct hone_value){.number = rule->hypers[i].default_value,
                                        .power = rule->hypers[i].default_power};
}

void hone_describe_range(char *text, size_t size, const hone_hyper *hyper)
{
    char low[32], high[32];
    hone_format_number(low, hyper->low);
    hone_format_number(high, hyper->high);
    if (hyper->kind == HONE_FLAG)
        snprintf(text, size, "0 or 1");
    else if (hyper->kind == HONE_CHOICE)
        snprintf(text, size, "a whole number from 0 (%s) to %s (%s)", hyper->words[0], high,
                 hyper->words[(int)hyper->high]);
    else if (isinf(hyper->low) && isinf(hyper->high))
        snprintf(text, size, "any finite number");
    else if (isinf(hyper->high))
        snprintf(text, size, "%sat least %s", hyper->kind == HONE_CURVE ? "" : "finite and ", low);
    else
        snprintf(text, size, "at least %s and %s %s", low, hyper->high_open ? "below" : "at most",
                 high);
}

static bool in_range(const hone_hyper *hyper, double number)
{
    if (hyper->kind == HONE_FLAG)
        return number == 0 || number == 1;
    if (hyper->kind == HONE_CHOICE)
        return number >= 0 && number <= hyper->high && number == floor(number);
    if (hyper->kind == HONE_CURVE)
        return number >= hyper->low; /* infinite: no bound; NaN fails */
    if (!isfinite(number) || number < hyper->low)
        return false;
    return hyper->high_open ? number < hyper->high : number <= hyper->high;
}

hone_status hone_rule_check_value(const hone_rule *rule, int index, const struct hone_value *value,
                                  const char *path, hone_error *error)
{
    const hone_hyper *const hyper = &rule->hypers[index];
    char found[32], range[96];
    if (!in_range(hyper, value->number)) {
        hone_describe_range(range, sizeof range, hyper);
        return hone_fail(error, HONE_ERROR_RANGE, "%s is %s; %s allows %s", path,
                         hone_format_number(found, value->number), rule->name, range);
    }
    if (hyper->kind == HONE_CURVE && !isfinite(value->power))
        return hone_fail(error, HONE_ERROR_RANGE, "%s: power is %s; it must be finite", path,
                         hone_format_number(found, value->power));
    return HONE_OK;
}
