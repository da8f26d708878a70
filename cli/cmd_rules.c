/* SPDX-License-Identifier: Apache-2.0 */
/* hone rules: what the library can step with, read from the rules' own tables. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "options.h"
#include "report.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"
#include "terminal/text_table.h"

/* ---- for people ----------------------------------------------------------------------------- */

static const char *default_text(char text[64], const hone_hyper *hyper)
{
    char scale[TEXT_NUMBER_SIZE], power[TEXT_NUMBER_SIZE];
    text_number(scale, hyper->default_value);
    if (hyper->kind == HONE_FLAG)
        return hyper->default_value != 0 ? "true" : "false";
    if (hyper->kind == HONE_CHOICE)
        return hyper->words[(int)hyper->default_value];
    if (hyper->kind == HONE_CURVE && isinf(hyper->default_value))
        return "null";
    if (hyper->kind == HONE_CURVE && hyper->default_power != 0 && hyper->default_value == 1)
        snprintf(text, 64, "s^%s", text_number(power, hyper->default_power));
    else if (hyper->kind == HONE_CURVE && hyper->default_power != 0)
        snprintf(text, 64, "%s * s^%s", scale, text_number(power, hyper->default_power));
    else
        snprintf(text, 64, "%s", scale);
    return text;
}

/* The words of a choice with `between` them. */
static void word_list(char *text, size_t size, const hone_hyper *hyper, const char *between)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; hyper->words[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "" : between,
                                 hyper->words[i]);
}

static const char *range_text(char text[96], const hone_hyper *hyper)
{
    if (hyper->kind == HONE_CHOICE) {
        word_list(text, 96, hyper, ", ");
        return text;
    }
    char low[TEXT_NUMBER_SIZE], high[TEXT_NUMBER_SIZE];
    text_number(low, hyper->low);
    text_number(high, hyper->high);
    if (hyper->kind == HONE_FLAG)
        return "true or false";
    if (isinf(hyper->low) && isinf(hyper->high))
        return "any number";
    if (isinf(hyper->high))
        snprintf(text, 96, ">= %s", low);
    else if (isinf(hyper->low))
        snprintf(text, 96, "%s %s", hyper->high_open ? "<" : "<=", high);
    else
        snprintf(text, 96, "%s to %s%s", low, hyper->high_open ? "below " : "", high);
    return text;
}

/* "exp_avg exp_avg_sq [max_exp_avg_sq]": brackets around the conditional ones. */
static void slot_list(char *text, size_t size, const hone_rule *rule)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < hone_rule_slot_count(rule) && used < size; i++) {
        const hone_slot *const slot = hone_rule_slot(rule, i);
        used += (size_t)snprintf(text + used, size - used, slot->condition < 0 ? "%s%s" : "%s[%s]",
                                 i == 0 ? "" : " ", slot->name);
    }
}

static int print_list(void)
{
    text_table table;
    text_table_begin(&table, "lll");
    text_table_cell(&table, "rule");
    text_table_cell(&table, "what it is");
    text_table_cell(&table, "states [when switched on]");
    for (int i = 0; i < hone_rule_count(); i++) {
        const hone_rule *const rule = hone_rule_at(i);
        char slots[512];
        slot_list(slots, sizeof slots, rule);
        text_table_cell(&table, "%s", hone_rule_name(rule));
        text_table_cell(&table, "%s", hone_rule_doc(rule));
        text_table_cell(&table, "%s", slots);
    }
    text_table_end(&table, stdout);
    return EXIT_DONE;
}

static void print_hypers(const hone_rule *rule)
{
    text_table table;
    text_table_begin(&table, "llll");
    text_table_cell(&table, "hyperparameter");
    text_table_cell(&table, "default");
    text_table_cell(&table, "range");
    text_table_cell(&table, "what it does");
    for (int i = 0; i < hone_rule_hyper_count(rule); i++) {
        const hone_hyper *const hyper = hone_rule_hyper(rule, i);
        char value[64], range[96];
        text_table_cell(&table, "%s", hyper->name);
        text_table_cell(&table, "%s", default_text(value, hyper));
        text_table_cell(&table, "%s", range_text(range, hyper));
        text_table_cell(&table, "%s", hyper->doc);
    }
    text_table_end(&table, stdout);
}

static void print_slots(const hone_rule *rule)
{
    text_table table;
    text_table_begin(&table, "lrll");
    text_table_cell(&table, "state");
    text_table_cell(&table, "starts at");
    text_table_cell(&table, "exists");
    text_table_cell(&table, "what it holds");
    for (int i = 0; i < hone_rule_slot_count(rule); i++) {
        const hone_slot *const slot = hone_rule_slot(rule, i);
        char initial[TEXT_NUMBER_SIZE];
        text_table_cell(&table, "%s", slot->name);
        text_table_cell(&table, "%s", text_number(initial, slot->initial));
        if (slot->condition < 0)
            text_table_cell(&table, "always");
        else
            text_table_cell(&table, "with %s", hone_rule_hyper(rule, slot->condition)->name);
        text_table_cell(&table, "%s", slot->doc);
    }
    text_table_end(&table, stdout);
}

static int print_rule(const hone_rule *rule)
{
    printf("%s: %s\n\n", hone_rule_name(rule), hone_rule_doc(rule));
    print_hypers(rule);
    putchar('\n');
    if (hone_rule_slot_count(rule) > 0)
        print_slots(rule);
    else
        puts("It keeps no state.");
    return EXIT_DONE;
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_hyper(json_writer *json, const hone_hyper *hyper)
{
    static const char *const kinds[] = {[HONE_NUMBER] = "number",
                                        [HONE_FLAG] = "flag",
                                        [HONE_CURVE] = "curve",
                                        [HONE_CHOICE] = "choice"};
    json_open_object(json, true);
    json_put_key(json, "name");
    json_put_string(json, hyper->name);
    json_put_key(json, "kind");
    json_put_string(json, kinds[hyper->kind]);
    json_put_key(json, "default");
    if (hyper->kind == HONE_FLAG) {
        json_put_bool(json, hyper->default_value != 0);
    } else if (hyper->kind == HONE_CHOICE) {
        json_put_string(json, hyper->words[(int)hyper->default_value]);
        json_put_key(json, "words");
        json_open_array(json, true);
        for (int i = 0; hyper->words[i] != NULL; i++)
            json_put_string(json, hyper->words[i]);
        json_close(json);
    } else if (hyper->kind == HONE_CURVE && hyper->default_power != 0) {
        json_open_object(json, true);
        json_put_key(json, "power");
        json_put_number(json, hyper->default_power);
        json_put_key(json, "scale");
        json_put_number(json, hyper->default_value);
        json_close(json);
    } else {
        json_put_number(json, hyper->default_value);
    }
    json_put_key(json, "low");
    json_put_number(json, hyper->low);
    json_put_key(json, "high");
    json_put_number(json, hyper->high);
    json_put_key(json, "high_open");
    json_put_bool(json, hyper->high_open);
    json_put_key(json, "doc");
    json_put_string(json, hyper->doc);
    json_close(json);
}

static void write_slot(json_writer *json, const hone_rule *rule, const hone_slot *slot)
{
    json_open_object(json, true);
    json_put_key(json, "name");
    json_put_string(json, slot->name);
    json_put_key(json, "initial");
    json_put_number(json, slot->initial);
    json_put_key(json, "with");
    json_put_string(json,
                    slot->condition < 0 ? NULL : hone_rule_hyper(rule, slot->condition)->name);
    json_put_key(json, "doc");
    json_put_string(json, slot->doc);
    json_close(json);
}

static void write_rule(json_writer *json, const hone_rule *rule)
{
    json_open_object(json, false);
    json_put_key(json, "name");
    json_put_string(json, hone_rule_name(rule));
    json_put_key(json, "doc");
    json_put_string(json, hone_rule_doc(rule));
    json_put_key(json, "hyperparameters");
    json_open_array(json, false);
    for (int i = 0; i < hone_rule_hyper_count(rule); i++)
        write_hyper(json, hone_rule_hyper(rule, i));
    json_close(json);
    json_put_key(json, "states");
    json_open_array(json, false);
    for (int i = 0; i < hone_rule_slot_count(rule); i++)
        write_slot(json, rule, hone_rule_slot(rule, i));
    json_close(json);
    json_close(json);
}

static int write_rules(const hone_rule *only)
{
    json_writer json;
    json_begin(&json, stdout);
    if (only != NULL) {
        write_rule(&json, only);
    } else {
        json_open_array(&json, false);
        for (int i = 0; i < hone_rule_count(); i++)
            write_rule(&json, hone_rule_at(i));
        json_close(&json);
    }
    json_end(&json);
    return EXIT_DONE;
}

static int run_rules(int argc, char **argv)
{
    bool as_json = false;
    const option options[] = {{.name = "json", .flag = &as_json}, {0}};
    const char *name = NULL;
    option_list list = {
        .command = "rules", .options = options, .arguments = &name, .most_arguments = 1};
    const int code = options_read(&list, argc, argv);
    if (code != 0)
        return code;
    const hone_rule *const rule = name == NULL ? NULL : hone_rule_find(name);
    if (name != NULL && rule == NULL) {
        const char *const near = hone_rule_nearest(name);
        return report_failure("there is no rule \"%s\"%s%s; \"hone rules\" lists them", name,
                              near == NULL ? "" : "; nearest: ", near == NULL ? "" : near);
    }
    if (as_json)
        return write_rules(rule);
    return rule == NULL ? print_list() : print_rule(rule);
}

const command command_rules = {
    .name = "rules",
    .summary = "Lists the update rules, or explains one",
    .usage = "rules [NAME] [--json]",
    .help = "  NAME    the rule's hyperparameters with defaults and ranges, and its states\n"
            "  --json  the same for programs; a bound of null is none\n",
    .run = run_rules,
};
