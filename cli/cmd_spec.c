/* SPDX-License-Identifier: Apache-2.0 */
/* hone spec check: reads a recipe as the library does, prints its canonical form, and tells which
 * parameter goes where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "options.h"
#include "read_text.h"
#include "report.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"
#include "terminal/text_table.h"

struct check {
    const char *spec_path, *params_path;
    bool as_json;
    hone_context *context;
    hone_spec *spec;
    hone_file *params;
    char *canonical;
    const char **names; /* of the file's tensors; they live in the file */
};

/* ---- for people ----------------------------------------------------------------------------- */

/* The group's patterns as one cell: "*.bias", "head.*". */
static void print_patterns(text_table *table, const hone_spec *spec, int group)
{
    char text[256] = "";
    size_t used = 0;
    for (int i = 0; used < sizeof text; i++) {
        const char *const pattern = hone_spec_group_pattern(spec, group, i);
        if (pattern == NULL)
            break;
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", i == 0 ? "" : ", ", pattern);
    }
    text_table_cell(table, "%s", group == 0 ? "(all others)" : text);
}

static void print_parameters(const struct check *check)
{
    text_table table;
    text_table_begin(&table, "lrlrl");
    text_table_cell(&table, "parameter");
    text_table_cell(&table, "group");
    text_table_cell(&table, "rule");
    text_table_cell(&table, "learning rate");
    text_table_cell(&table, "patterns");
    for (int64_t i = 0; i < hone_file_count(check->params); i++) {
        const int group = hone_spec_match(check->spec, check->names[i]);
        double rate = 0, multiplier = 1;
        char number[TEXT_NUMBER_SIZE];
        hone_spec_get(check->spec, group, "lr", &rate, NULL);
        hone_spec_group_multiplier(check->spec, group, &multiplier, NULL);
        text_table_cell(&table, "%s", check->names[i]);
        text_table_cell(&table, "%d", group);
        text_table_cell(&table, "%s", hone_rule_name(hone_spec_group_rule(check->spec, group)));
        text_table_cell(&table, "%s", text_number(number, rate * multiplier));
        print_patterns(&table, check->spec, group);
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

static void print_unmatched(const struct check *check)
{
    int group = 0, index = 0;
    const char *pattern;
    while ((pattern = hone_spec_unmatched(check->spec, check->names, hone_file_count(check->params),
                                          &group, &index)) != NULL)
        report_warning("the pattern \"%s\" of group %d matches no parameter", pattern, group);
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_json(const struct check *check)
{
    json_writer json;
    json_begin(&json, stdout);
    json_open_object(&json, false);
    json_put_key(&json, "spec");
    json_put_raw(&json, check->canonical);
    if (check->params != NULL) {
        json_put_key(&json, "parameters");
        json_open_object(&json, false);
        for (int64_t i = 0; i < hone_file_count(check->params); i++) {
            json_put_key(&json, check->names[i]);
            json_put_integer(&json, hone_spec_match(check->spec, check->names[i]));
        }
        json_close(&json);
        json_put_key(&json, "unmatched");
        json_open_array(&json, false);
        int group = 0, index = 0;
        const char *pattern;
        while ((pattern = hone_spec_unmatched(check->spec, check->names,
                                              hone_file_count(check->params), &group, &index)) !=
               NULL)
            json_put_string(&json, pattern);
        json_close(&json);
    }
    json_close(&json);
    json_end(&json);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int open_params(struct check *check)
{
    hone_error error;
    if (hone_file_open(&check->params, check->context, check->params_path, &error) != HONE_OK)
        return report_error(&error);
    const int64_t count = hone_file_count(check->params);
    check->names = text_allocate((size_t)count * sizeof *check->names);
    for (int64_t i = 0; i < count; i++)
        check->names[i] = hone_file_name(check->params, i);
    return EXIT_DONE;
}

static int run_check(struct check *check)
{
    hone_error error;
    if (hone_context_create(&check->context, NULL, &error) != HONE_OK)
        return report_error(&error);
    int code = read_spec(&check->spec, check->context, check->spec_path);
    if (code != EXIT_DONE)
        return code;
    if (hone_spec_write(check->spec, &check->canonical, &error) != HONE_OK)
        return report_error(&error);
    code = check->params_path == NULL ? EXIT_DONE : open_params(check);
    if (code != EXIT_DONE)
        return code;
    if (check->as_json) {
        write_json(check);
        return EXIT_DONE;
    }
    puts(check->canonical);
    if (check->params != NULL) {
        print_parameters(check);
        print_unmatched(check);
    }
    return EXIT_DONE;
}

static int run_spec(int argc, char **argv)
{
    struct check check = {0};
    const option options[] = {{.name = "params", .value = &check.params_path},
                              {.name = "json", .flag = &check.as_json},
                              {0}};
    const char *arguments[2] = {0};
    option_list list = {
        .command = "spec", .options = options, .arguments = arguments, .most_arguments = 2};
    int code = options_read(&list, argc, argv);
    if (code != 0)
        return code;
    if (list.argument_count == 0 || strcmp(arguments[0], "check") != 0)
        return report_usage("spec", "hone spec needs to be told what to do; it can: check");
    if (list.argument_count < 2)
        return report_usage("spec", "hone spec check needs a file");
    check.spec_path = arguments[1];
    code = run_check(&check);
    free(check.names);
    hone_file_close(check.params);
    hone_string_free(check.context, check.canonical);
    hone_spec_free(check.spec);
    hone_context_free(check.context);
    return code;
}

const command command_spec = {
    .name = "spec",
    .summary = "Checks a recipe and prints its canonical form",
    .usage = "spec check FILE [--params FILE] [--json]",
    .help = "  FILE           a recipe in JSON; \"-\" is standard input\n"
            "  --params FILE  a safetensors file: which group takes each of its tensors, and\n"
            "                 which patterns match nothing\n"
            "  --json         the same for programs\n",
    .run = run_spec,
};
