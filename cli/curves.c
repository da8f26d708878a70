/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the schedules of a recipe in an optimizer that has no parameters, and notes the rates. */
#include "curves.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "read_text.h"
#include "report.h"
#include "terminal/text.h"

/* ---- reading ---------------------------------------------------------------------------------- */

/* A schedule that stands alone has a "type"; a recipe has an "optimizer_type". Text that is no JSON
 * is left to the recipe's reader, whose errors have places. */
static bool is_bare_schedule(const char *text, size_t length)
{
    json_t *const root = json_loadb(text, length, 0, NULL);
    const bool bare =
        json_object_get(root, "type") != NULL && json_object_get(root, "optimizer_type") == NULL;
    json_decref(root);
    return bare;
}

static hone_status make_optimizer(curves *curves, const char *text, size_t length,
                                  hone_error *error)
{
    hone_spec *spec = NULL;
    hone_status status = curves->bare
                             ? hone_spec_create(&spec, curves->context, "adamw", error)
                             : hone_spec_parse(&spec, curves->context, text, length, error);
    if (status == HONE_OK)
        status = hone_optimizer_create(&curves->optimizer, curves->context, spec, error);
    hone_spec_free(spec);
    return status;
}

/* In a group of adamw, which has all that a schedule may move. */
static hone_status attach_bare(curves *curves, const char *text, size_t length, double base,
                               hone_error *error)
{
    hone_schedule *schedule = NULL;
    hone_status status = hone_schedule_parse(&schedule, curves->context, text, length, error);
    if (status == HONE_OK)
        status = hone_optimizer_set(curves->optimizer, 0, "lr", base, error);
    if (status == HONE_OK)
        status = hone_optimizer_set_schedule(curves->optimizer, 0, schedule, error);
    hone_schedule_free(schedule);
    return status;
}

int curves_read(curves *curves, const char *path, double base)
{
    hone_error error;
    if (hone_context_create(&curves->context, NULL, &error) != HONE_OK)
        return report_error(&error);
    size_t length;
    char *const text = read_text(path, &length);
    if (text == NULL)
        return EXIT_FAILED;
    curves->bare = is_bare_schedule(text, length);
    hone_status status = make_optimizer(curves, text, length, &error);
    if (status == HONE_OK && curves->bare)
        status = attach_bare(curves, text, length, base, &error);
    const int code =
        status == HONE_OK ? EXIT_DONE : report_error_in_text(path, text, length, &error);
    free(text);
    return code;
}

/* ---- which curves there are ------------------------------------------------------------------- */

static void add_curve(curves *curves, int group, curve_kind kind, const char *hyper)
{
    double value, multiplier = 1;
    if (hone_optimizer_get(curves->optimizer, group, hyper, &value, NULL) != HONE_OK ||
        isnan(value))
        return;
    if (kind != CURVE_MOMENTUM)
        hone_spec_group_multiplier(hone_optimizer_spec(curves->optimizer), group, &multiplier,
                                   NULL);
    curves->list[curves->count++] =
        (curve){.group = group,
                .kind = kind,
                .hyper = hyper,
                .name = kind == CURVE_MOMENTUM && curves->bare ? "momentum" : hyper,
                .multiplier = multiplier,
                .values = text_allocate((size_t)curves->steps * sizeof(double))};
}

static void find_curves(curves *curves)
{
    const int groups = hone_optimizer_group_count(curves->optimizer);
    curves->list = text_allocate((size_t)groups * CURVE_KINDS * sizeof *curves->list);
    for (int g = 0; g < groups; g++) {
        const hone_rule *const rule = hone_optimizer_group_rule(curves->optimizer, g);
        add_curve(curves, g, CURVE_RATE, "lr");
        add_curve(curves, g, CURVE_MASKED_RATE, "masked_lr");
        add_curve(curves, g, CURVE_MOMENTUM,
                  hone_rule_hyper_find(rule, "momentum") >= 0 ? "momentum" : "beta1");
    }
}

/* ---- running ---------------------------------------------------------------------------------- */

static void note_values(const curves *curves, int64_t step)
{
    for (int i = 0; i < curves->count; i++) {
        const curve *const c = &curves->list[i];
        double value = 0;
        hone_optimizer_get(curves->optimizer, c->group, c->hyper, &value, NULL);
        c->values[step] = value * c->multiplier;
    }
}

static hone_status advance(curves *curves, int64_t step, hone_error *error)
{
    const hone_status status = hone_optimizer_schedule_step(curves->optimizer, error);
    const int64_t epoch = curves->epoch_steps > 0 ? curves->epoch_steps : 1;
    if (status != HONE_OK || (step + 1) % epoch != 0)
        return status;
    return hone_optimizer_schedule_epoch(curves->optimizer, error);
}

/* A momentum that nothing moves is no curve. */
static void drop_constant_momentum(curves *curves)
{
    int kept = 0;
    for (int i = 0; i < curves->count; i++) {
        const curve_range range = curve_find_range(&curves->list[i], curves->steps);
        if (curves->list[i].kind == CURVE_MOMENTUM && range.low == range.high)
            free(curves->list[i].values);
        else
            curves->list[kept++] = curves->list[i];
    }
    curves->count = kept;
}

/* ---- titles ----------------------------------------------------------------------------------- */

static const char *schedule_name(const curves *curves, const curve *c)
{
    const hone_schedule *const schedule = curve_schedule(curves, c);
    return schedule == NULL ? "no schedule" : hone_schedule_type(schedule);
}

static bool is_same(const curves *curves, const curve *a, const curve *b)
{
    return a->kind == b->kind && strcmp(a->hyper, b->hyper) == 0 &&
           strcmp(schedule_name(curves, a), schedule_name(curves, b)) == 0 &&
           memcmp(a->values, b->values, (size_t)curves->steps * sizeof(double)) == 0;
}

static const char *quantity(const curve *c)
{
    return c->kind == CURVE_RATE          ? "learning rate"
           : c->kind == CURVE_MASKED_RATE ? "learning rate under masks"
                                          : c->name;
}

enum { MOST_OWNER = 80 };

/* Adds to a list that ends in "..." where there is no more room. */
static void append(char owner[MOST_OWNER], const char *between, const char *text)
{
    const size_t used = strlen(owner), more = strlen(between) + strlen(text);
    const bool full = used >= 3 && strcmp(owner + used - 3, "...") == 0;
    if (used + more < MOST_OWNER - sizeof ", ...)")
        snprintf(owner + used, MOST_OWNER - used, "%s%s", between, text);
    else if (!full)
        snprintf(owner + used, MOST_OWNER - used, "%s...", between);
}

/* "group 1 (muon: *.attn.*, *.mlp.*)" */
static void name_group(const curves *curves, int group, char owner[MOST_OWNER])
{
    const hone_spec *const spec = hone_optimizer_spec(curves->optimizer);
    snprintf(owner, MOST_OWNER, "group %d (%.40s: ", group,
             hone_rule_name(hone_spec_group_rule(spec, group)));
    if (group == 0)
        append(owner, "", "all others");
    for (int i = 0; group > 0 && hone_spec_group_pattern(spec, group, i) != NULL; i++)
        append(owner, i == 0 ? "" : ", ", hone_spec_group_pattern(spec, group, i));
    strcat(owner, ")");
}

/* "groups 0, 2, 3": those whose curves are as that of `first`. */
static void name_groups(const curves *curves, int first, char owner[MOST_OWNER])
{
    snprintf(owner, MOST_OWNER, "groups %d", curves->list[first].group);
    for (int i = first + 1; i < curves->count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%d", curves->list[i].group);
        if (is_same(curves, &curves->list[first], &curves->list[i]))
            append(owner, ", ", number);
    }
}

static void set_titles(curves *curves)
{
    for (int i = 0; i < curves->count; i++) {
        curve *const c = &curves->list[i];
        if (c->same)
            continue;
        bool alone = true;
        for (int k = i + 1; k < curves->count; k++)
            if (is_same(curves, c, &curves->list[k])) {
                curves->list[k].same = true;
                alone = false;
            }
        char owner[MOST_OWNER], title[MOST_OWNER];
        if (alone)
            name_group(curves, c->group, owner);
        else
            name_groups(curves, i, owner);
        snprintf(title, sizeof title, "%s, %s", quantity(c), schedule_name(curves, c));
        c->owner = curves->bare ? NULL : text_name(owner);
        c->title = text_copy(title);
    }
}

/* Steps, unless all that moves counts epochs and epochs have no steps. */
static const char *find_unit(const curves *curves)
{
    bool any = false;
    for (int i = 0; i < curves->count; i++) {
        const hone_schedule *const schedule = curve_schedule(curves, &curves->list[i]);
        if (schedule != NULL && !hone_schedule_counts_epochs(schedule))
            return "step";
        any = any || schedule != NULL;
    }
    return any && curves->epoch_steps == 0 ? "epoch" : "step";
}

int curves_run(curves *curves)
{
    hone_error error;
    find_curves(curves);
    for (int64_t step = 0; step < curves->steps; step++) {
        if (step > 0 && advance(curves, step - 1, &error) != HONE_OK)
            return report_error(&error);
        note_values(curves, step);
    }
    drop_constant_momentum(curves);
    set_titles(curves);
    curves->unit = find_unit(curves);
    return EXIT_DONE;
}

void curves_end(curves *curves)
{
    for (int i = 0; i < curves->count; i++) {
        free(curves->list[i].values);
        free(curves->list[i].title);
        free(curves->list[i].owner);
    }
    free(curves->list);
    hone_optimizer_free(curves->optimizer);
    hone_context_free(curves->context);
}

/* ---- about them ------------------------------------------------------------------------------- */

/* Without a schedule of its own the second rate follows the first. */
const hone_schedule *curve_schedule(const curves *curves, const curve *curve)
{
    const hone_schedule *own = NULL;
    if (curve->kind == CURVE_MASKED_RATE)
        own = hone_optimizer_masked_schedule(curves->optimizer, curve->group);
    return own != NULL ? own : hone_optimizer_schedule(curves->optimizer, curve->group);
}

curve_range curve_find_range(const curve *curve, int64_t steps)
{
    curve_range range = {.low = curve->values[0], .high = curve->values[0]};
    for (int64_t i = 1; i < steps; i++) {
        range.low = fmin(range.low, curve->values[i]);
        if (curve->values[i] > range.high) {
            range.high = curve->values[i];
            range.highest_at = i;
        }
    }
    return range;
}
