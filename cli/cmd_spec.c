/* SPDX-License-Identifier: Apache-2.0 */
/* hone spec check: reads a recipe as the library does, prints its canonical form, and tells which
 * parameter goes where. */
#include <stdio.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "options.h"
#include "placing.h"
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
    hone_placement *placement; /* of the file's tensors; NULL without a file */
    char *canonical;
};

/* ---- for people ----------------------------------------------------------------------------- */

/* Adds a phrase to a cell, after a comma where there is one already; what does not fit is cut. */
static void add_phrase(char *text, size_t size, const char *before, const char *word,
                       const char *after)
{
    const size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s%s%s", used == 0 ? "" : ", ", before, word, after);
}

/* Why a parameter is where it is: "*.bias, head.*", "*transformer*, except *wte*, 2 dimensions or
 * more", "(all others), module head". */
static void print_reason(text_table *table, const hone_spec *spec, const hone_place *place)
{
    char text[256] = "", number[TEXT_NUMBER_SIZE];
    const char *glob;
    if (place->group == 0)
        add_phrase(text, sizeof text, "(all others)", "", "");
    for (int i = 0; (glob = hone_spec_group_pattern(spec, place->group, i)) != NULL; i++)
        add_phrase(text, sizeof text, "", glob, "");
    int exceptions = 0;
    while (hone_spec_group_except(spec, place->group, exceptions) != NULL)
        exceptions++;
    for (int i = 0; exceptions <= 2 && i < exceptions; i++)
        add_phrase(text, sizeof text, "except ", hone_spec_group_except(spec, place->group, i), "");
    if (exceptions > 2)
        add_phrase(text, sizeof text, "with ", text_number(number, exceptions), " exceptions");
    if (hone_spec_group_min_ndim(spec, place->group) > 0)
        add_phrase(text, sizeof text, "",
                   text_number(number, hone_spec_group_min_ndim(spec, place->group)),
                   " dimensions or more");
    if (place->module != NULL)
        add_phrase(text, sizeof text, "module ", place->module,
                   place->module_ignored ? " does not count" : "");
    text_table_cell(table, "%s", text);
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
    for (int64_t i = 0; i < hone_placement_count(check->placement); i++) {
        hone_place place;
        char number[TEXT_NUMBER_SIZE];
        hone_placement_at(check->placement, i, &place, NULL);
        const hone_rule *const rule = hone_spec_group_rule(check->spec, place.group);
        text_table_cell(&table, "%s", place.name);
        if (place.left_out) {
            text_table_cell(&table, "-");
            text_table_cell(&table, "-");
            text_table_cell(&table, "-");
            text_table_cell(&table, "(cannot be stepped)");
            continue;
        }
        text_table_cell(&table, "%d", place.group);
        text_table_cell(&table, "%s", hone_rule_name(rule));
        text_table_cell(&table, "%s", text_number(number, place.lr));
        print_reason(&table, check->spec, &place);
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_parameters(json_writer *json, const struct check *check)
{
    json_open_object(json, false);
    for (int64_t i = 0; i < hone_placement_count(check->placement); i++) {
        hone_place place;
        hone_placement_at(check->placement, i, &place, NULL);
        json_put_key(json, place.name);
        if (place.left_out) {
            json_put_raw(json, "null");
            continue;
        }
        json_open_object(json, true);
        json_put_key(json, "group");
        json_put_integer(json, place.group);
        json_put_key(json, "rule");
        json_put_string(json, hone_rule_name(hone_spec_group_rule(check->spec, place.group)));
        json_put_key(json, "learning_rate");
        json_put_number(json, place.lr);
        json_put_key(json, "module");
        json_put_string(json, place.module);
        json_close(json);
    }
    json_close(json);
}

/* The texts of all notices of one or two kinds. */
static void write_notices(json_writer *json, const struct check *check, hone_notice_kind kind,
                          hone_notice_kind other)
{
    int index = 0;
    hone_notice notice;
    json_open_array(json, false);
    while (hone_placement_notice(check->placement, &index, &notice))
        if (notice.kind == kind || notice.kind == other)
            json_put_string(json, notice.text);
    json_close(json);
}

static void write_json(const struct check *check)
{
    json_writer json;
    json_begin(&json, stdout);
    json_open_object(&json, false);
    json_put_key(&json, "spec");
    json_put_raw(&json, check->canonical);
    if (check->placement != NULL) {
        json_put_key(&json, "parameters");
        write_parameters(&json, check);
        json_put_key(&json, "unmatched");
        write_notices(&json, check, HONE_NOTICE_PATTERN, HONE_NOTICE_EXCEPTION);
        json_put_key(&json, "unreached_modules");
        write_notices(&json, check, HONE_NOTICE_MODULE, HONE_NOTICE_MODULE);
        json_put_key(&json, "modules_with_matrices");
        write_notices(&json, check, HONE_NOTICE_MATRICES, HONE_NOTICE_MATRICES);
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
    return place_file(&check->placement, check->context, check->spec, check->params, NULL);
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
    if (check->placement != NULL) {
        print_parameters(check);
        warn_of_notices(check->placement);
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
    hone_placement_free(check.placement);
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
            "  --params FILE  a safetensors file: which group takes each of its tensors at which\n"
            "                 learning rate, and what in the recipe reaches nothing\n"
            "  --json         the same for programs\n",
    .run = run_spec,
};
