/* SPDX-License-Identifier: Apache-2.0 */
/* hone schedule: the learning rates of a recipe over its first steps, drawn in the terminal and as a
 * picture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "curves.h"
#include "curves_svg.h"
#include "options.h"
#include "report.h"
#include "terminal/chart.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"

#define MOST_STEPS 10000000

/* ---- for people ----------------------------------------------------------------------------- */

static void print_curve(const curves *curves, const curve *curve, const chart_style *style)
{
    const curve_range range = curve_find_range(curve, curves->steps);
    printf("%s%s%s\n\n", curve->owner == NULL ? "" : curve->owner, curve->owner == NULL ? "" : ": ",
           curve->title);
    chart_print(stdout, style, curve->values, curves->steps, curve->kind != CURVE_MOMENTUM,
                curves->unit);
    printf("\n  first %.6g, highest %.6g at %s %lld, lowest %.6g, last %.6g\n", curve->values[0],
           range.high, curves->unit, (long long)range.highest_at, range.low,
           curve->values[curves->steps - 1]);
}

static void print_curves(const curves *curves)
{
    const chart_style style = chart_style_of(stdout);
    bool before = false;
    for (int i = 0; i < curves->count; i++) {
        if (curves->list[i].same)
            continue;
        if (before)
            putchar('\n');
        print_curve(curves, &curves->list[i], &style);
        before = true;
    }
}

/* What a curve over steps alone cannot show. */
static void warn(const curves *curves)
{
    const bool by_steps = strcmp(curves->unit, "step") == 0;
    for (int i = 0; i < curves->count; i++) {
        const curve *const c = &curves->list[i];
        const hone_schedule *const schedule = curve_schedule(curves, c);
        if (schedule == NULL || c->same || c->kind == CURVE_MOMENTUM)
            continue;
        if (strcmp(hone_schedule_type(schedule), "reduce_lr_on_plateau") == 0)
            report_warning("group %d: reduce_lr_on_plateau depends on metrics; shown is its rate "
                           "while they improve",
                           c->group);
        else if (hone_schedule_counts_epochs(schedule) && by_steps && curves->epoch_steps == 0)
            report_warning("group %d counts epochs, others count steps; shown are epochs of one "
                           "step: --epoch-steps tells another length",
                           c->group);
    }
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_patterns(json_writer *json, const curves *curves, int group)
{
    const char *pattern;
    json_put_key(json, "match");
    json_open_array(json, true);
    for (int i = 0; group > 0; i++) {
        pattern = hone_spec_group_pattern(hone_optimizer_spec(curves->optimizer), group, i);
        if (pattern == NULL)
            break;
        json_put_string(json, pattern);
    }
    json_close(json);
}

static void put_schedule(json_writer *json, const char *key, const hone_schedule *schedule)
{
    json_put_key(json, key);
    json_put_string(json, schedule == NULL ? NULL : hone_schedule_type(schedule));
}

static void write_group(json_writer *json, const curves *curves, int group)
{
    json_open_object(json, false);
    json_put_key(json, "rule");
    json_put_string(
        json,
        curves->bare ? NULL : hone_rule_name(hone_optimizer_group_rule(curves->optimizer, group)));
    write_patterns(json, curves, group);
    put_schedule(json, "schedule", hone_optimizer_schedule(curves->optimizer, group));
    put_schedule(json, "masked_schedule", hone_optimizer_masked_schedule(curves->optimizer, group));
    for (int i = 0; i < curves->count; i++) {
        const curve *const c = &curves->list[i];
        if (c->group != group)
            continue;
        json_put_key(json, c->name);
        json_open_array(json, true);
        for (int64_t step = 0; step < curves->steps; step++)
            json_put_number(json, c->values[step]);
        json_close(json);
    }
    json_close(json);
}

static void write_json(const curves *curves)
{
    json_writer json;
    json_begin(&json, stdout);
    json_open_object(&json, false);
    json_put_key(&json, "steps");
    json_put_integer(&json, curves->steps);
    json_put_key(&json, "unit");
    json_put_string(&json, curves->unit);
    json_put_key(&json, "groups");
    json_open_array(&json, false);
    for (int g = 0; g < hone_optimizer_group_count(curves->optimizer); g++)
        write_group(&json, curves, g);
    json_close(&json);
    json_close(&json);
    json_end(&json);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int read_rate(const char *text, double *rate)
{
    char *end = NULL;
    if (text == NULL)
        return EXIT_DONE;
    *rate = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*rate) || *rate < 0)
        return report_usage("schedule", "--lr is \"%s\"; it must be a number of at least 0", text);
    return EXIT_DONE;
}

static int read_counts(curves *curves, const char *steps, const char *epoch_steps)
{
    int code = options_integer("schedule", "steps", steps, 1, &curves->steps);
    if (code == EXIT_DONE && curves->steps > MOST_STEPS)
        return report_usage("schedule", "--steps is %lld; at most %d can be shown",
                            (long long)curves->steps, MOST_STEPS);
    if (code == EXIT_DONE && epoch_steps != NULL)
        code = options_integer("schedule", "epoch-steps", epoch_steps, 1, &curves->epoch_steps);
    return code;
}

static int show(curves *curves, const char *path, const char *rate_text, const char *plot,
                bool as_json)
{
    double rate = 1;
    int code = read_rate(rate_text, &rate);
    if (code == EXIT_DONE)
        code = curves_read(curves, path, rate);
    if (code == EXIT_DONE && rate_text != NULL && !curves->bare)
        return report_usage("schedule",
                            "--lr is for a schedule alone; \"%s\" is a recipe, which "
                            "has its own",
                            path);
    if (code == EXIT_DONE)
        code = curves_run(curves);
    if (code == EXIT_DONE && plot != NULL)
        code = curves_write_svg(curves, plot);
    if (code != EXIT_DONE)
        return code;
    if (as_json)
        write_json(curves);
    else
        print_curves(curves);
    warn(curves);
    return EXIT_DONE;
}

static int run_schedule(int argc, char **argv)
{
    const char *path = NULL, *steps = NULL, *epoch_steps = NULL, *rate = NULL, *plot = NULL;
    bool as_json = false;
    const option options[] = {{.name = "steps", .value = &steps, .required = true},
                              {.name = "epoch-steps", .value = &epoch_steps},
                              {.name = "lr", .value = &rate},
                              {.name = "plot", .value = &plot},
                              {.name = "json", .flag = &as_json},
                              {0}};
    option_list list = {.command = "schedule",
                        .options = options,
                        .arguments = &path,
                        .least_arguments = 1,
                        .most_arguments = 1};
    int code = options_read(&list, argc, argv);
    if (code != EXIT_DONE)
        return code;
    curves curves = {0};
    code = read_counts(&curves, steps, epoch_steps);
    if (code == EXIT_DONE)
        code = show(&curves, path, rate, plot, as_json);
    curves_end(&curves);
    return code;
}

const command command_schedule = {
    .name = "schedule",
    .summary = "Draws learning rates over time",
    .usage = "schedule FILE --steps N [--plot OUT.svg] [--epoch-steps M] [--lr RATE] [--json]",
    .help =
        "  FILE             a recipe, or the object of a schedule alone; \"-\" is standard input\n"
        "  --steps N        the first N values of each group's rates\n"
        "  --plot OUT.svg   also a picture of them\n"
        "  --epoch-steps M  an epoch is M steps long (otherwise schedules that count epochs\n"
        "                   move with each step)\n"
        "  --lr RATE        the rate that a schedule alone starts from (1)\n"
        "  --json           the numbers, for programs\n",
    .run = run_schedule,
};
