/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the registry as README.md's table: rule, what it is, hyperparameters with their defaults,
 * state slots (in brackets those that exist under a condition). */
#include <math.h>
#include <stdio.h>

#include <hone/rule.h>

static void print_hyper(const hone_hyper *hyper)
{
    printf(" `%s` ", hyper->name);
    if (hyper->kind == HONE_FLAG)
        printf("%s", hyper->default_value != 0 ? "on" : "off");
    else if (hyper->kind == HONE_CHOICE)
        printf("%s", hyper->words[(int)hyper->default_value]);
    else if (hyper->kind == HONE_CURVE && isinf(hyper->default_value))
        printf("none");
    else if (hyper->kind == HONE_CURVE)
        printf("%g s^%g", hyper->default_value, hyper->default_power);
    else
        printf("%g", hyper->default_value);
}

static void print_rule(const hone_rule *rule)
{
    printf("| `%s` | %s |", hone_rule_name(rule), hone_rule_doc(rule));
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        if (i > 0)
            printf(",");
        print_hyper(hone_rule_hyper(rule, i));
    }
    printf(" |");
    for (int i = 0; i < hone_rule_slot_count(rule); i++) {
        const hone_slot *const slot = hone_rule_slot(rule, i);
        printf(slot->condition < 0 ? "%s `%s`" : "%s [`%s`]", i > 0 ? "," : "", slot->name);
    }
    printf(" |\n");
}

int main(void)
{
    printf("| rule | what it is | hyperparameters and defaults | state |\n");
    printf("|---|---|---|---|\n");
    for (int i = 0; i < hone_rule_count(); i++)
        print_rule(hone_rule_at(i));
    return hone_rule_count() == 0;
}
