/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules as objects, and their values at e. */
#include "core/schedule_internal.h"

#include <math.h>
#include <string.h>

#include "core/optimizer_internal.h"

/* ---- the object ----------------------------------------------------------------------------- */

const struct hone_schedule_type *hone_schedule_type_find(const char *name)
{
    for (int i = 0; i < hone_schedule_type_count; i++)
        if (strcmp(hone_schedule_types[i].name, name) == 0)
            return &hone_schedule_types[i];
    return NULL;
}

static int find_argument(const struct hone_schedule_type *type, const char *name)
{
    for (int i = 0; i < type->argument_count; i++)
        if (strcmp(type->arguments[i].name, name) == 0)
            return i;
    return -1;
}

double hone_schedule_argument(const hone_schedule *schedule, const char *name)
{
    const int index = find_argument(schedule->type, name);
    return index < 0 ? (double)NAN : schedule->arguments[index];
}

bool hone_schedule_is_plateau(const hone_schedule *schedule)
{
    return find_argument(schedule->type, "patience") >= 0;
}

hone_status hone_schedule_create_callback(hone_schedule **schedule, const hone_context *context,
                                          hone_schedule_fn *factor, void *user, hone_error *error)
{
    if (schedule == NULL || context == NULL || factor == NULL)
        return hone_fail(
            error, HONE_ERROR_ARGUMENT,
            "hone_schedule_create_callback needs a schedule, a context and a function; "
            "one is NULL");
    hone_schedule *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a schedule");
    made->context = context;
    made->type = &hone_schedule_callback_type;
    made->callback = factor;
    made->user = user;
    *schedule = made;
    return HONE_OK;
}

void hone_schedule_free(hone_schedule *schedule)
{
    if (schedule == NULL)
        return;
    const hone_context *const context = schedule->context;
    for (size_t i = 0; schedule->children != NULL && i < schedule->child_count; i++)
        hone_schedule_free(schedule->children[i]);
    hone_release(context, schedule->children, sizeof *schedule->children * schedule->child_count);
    hone_release(context, schedule->milestones,
                 sizeof *schedule->milestones * schedule->milestone_count);
    hone_release(context, schedule, sizeof *schedule);
}

hone_status hone_schedule_copy(hone_schedule **copy, const hone_context *context,
                               const hone_schedule *schedule, hone_error *error)
{
    hone_schedule *const made = hone_allocate(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a schedule");
    *made = *schedule;
    made->context = context;
    const size_t milestones = sizeof *made->milestones * schedule->milestone_count;
    const size_t children = sizeof *made->children * schedule->child_count;
    made->milestones = schedule->milestones == NULL ? NULL : hone_allocate(context, milestones);
    made->children = schedule->children == NULL ? NULL : hone_allocate_zeroed(context, children);
    hone_status status = HONE_OK;
    if ((schedule->milestones != NULL && made->milestones == NULL) ||
        (schedule->children != NULL && made->children == NULL))
        status = hone_fail_memory(error, milestones + children, "a schedule");
    if (status == HONE_OK && made->milestones != NULL)
        memcpy(made->milestones, schedule->milestones, milestones);
    for (size_t i = 0; i < schedule->child_count && status == HONE_OK; i++)
        status = hone_schedule_copy(&made->children[i], context, schedule->children[i], error);
    if (status == HONE_OK)
        *copy = made;
    else
        hone_schedule_free(made);
    return status;
}

/* lr_decay_gamma: the rate times gamma after each epoch. */
hone_status hone_schedule_create_decay(hone_schedule **schedule, const hone_context *context,
                                       double gamma, hone_error *error)
{
    hone_schedule *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a schedule");
    made->context = context;
    made->type = hone_schedule_type_find("exponential");
    made->arguments[0] = gamma;
    made->per_epoch = true;
    *schedule = made;
    return HONE_OK;
}

bool hone_schedule_equal(const hone_schedule *a, const hone_schedule *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->type != b->type || a->warmup_steps != b->warmup_steps ||
        a->warmup_from_one != b->warmup_from_one || a->per_epoch != b->per_epoch ||
        a->milestone_count != b->milestone_count || a->child_count != b->child_count ||
        a->callback != b->callback || a->user != b->user)
        return false;
    for (int i = 0; i < a->type->argument_count; i++)
        if (a->arguments[i] != b->arguments[i])
            return false;
    for (size_t i = 0; i < a->milestone_count; i++)
        if (a->milestones[i] != b->milestones[i])
            return false;
    for (size_t i = 0; i < a->child_count; i++)
        if (!hone_schedule_equal(a->children[i], b->children[i]))
            return false;
    return true;
}

const char *hone_schedule_type(const hone_schedule *schedule)
{
    return schedule == NULL ? NULL : schedule->type->name;
}

bool hone_schedule_counts_epochs(const hone_schedule *schedule)
{
    return schedule != NULL && schedule->per_epoch;
}

/* ---- values --------------------------------------------------------------------------------- */

double hone_schedule_rate(const hone_schedule *schedule, double base, double e)
{
    const double w = schedule->warmup_steps;
    if (e < w)
        return base * ((e + (schedule->warmup_from_one ? 1 : 0)) / w);
    const struct hone_schedule_point point = {schedule, base, e - w, w};
    return schedule->type->value(&point);
}

double hone_schedule_momentum(const hone_schedule *schedule, double e)
{
    if (schedule->type->momentum == NULL || hone_schedule_argument(schedule, "cycle_momentum") == 0)
        return (double)NAN;
    const double w = schedule->warmup_steps;
    const struct hone_schedule_point point = {schedule, 0, e < w ? 0 : e - w, w};
    return schedule->type->momentum(&point);
}

double hone_schedule_end(const hone_schedule *schedule)
{
    if (strcmp(schedule->type->name, "one_cycle") == 0)
        return schedule->warmup_steps + hone_schedule_argument(schedule, "total_steps") - 1;
    if (!schedule->type->children || !schedule->type->milestones || schedule->milestone_count == 0)
        return HUGE_VAL;
    /* Of a sequence only the last part can run past its end. */
    const double begin = (double)schedule->milestones[schedule->milestone_count - 1];
    return schedule->warmup_steps + begin +
           hone_schedule_end(schedule->children[schedule->child_count - 1]);
}

hone_status hone_schedule_check_end(const hone_schedule *schedule, double e, hone_error *error)
{
    const double end = hone_schedule_end(schedule);
    if (e <= end)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_RANGE,
                     "the schedule %s ends at step %g; there is no value for step %g",
                     schedule->type->name, end, e);
}

hone_status hone_schedule_value(const hone_schedule *schedule, double base, double e, double *value,
                                hone_error *error)
{
    if (schedule == NULL || value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_schedule_value needs a schedule and a place for the value; one is "
                         "NULL");
    if (!(e >= 0) || !isfinite(e) || !(base >= 0) || !isfinite(base))
        return hone_fail(error, HONE_ERROR_RANGE,
                         "a schedule has values for finite e >= 0 and base >= 0; found e = %g and "
                         "base = %g",
                         e, base);
    if (hone_schedule_is_plateau(schedule))
        return hone_fail(
            error, HONE_ERROR_ARGUMENT,
            "reduce_lr_on_plateau depends on metrics; it has no value at a step alone");
    const hone_status status = hone_schedule_check_end(schedule, e, error);
    if (status == HONE_OK)
        *value = hone_schedule_rate(schedule, base, e);
    return status;
}
