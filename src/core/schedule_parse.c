/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a schedule from JSON, by the table of its type's arguments. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json_load.h"
#include "core/schedule_internal.h"
#include "core/spec_reader.h"

typedef struct hone_json_place place;

/* Keys that are no argument of a type. */
static const char *const common_keys[] = {"type", "per", "warmup_from_one", "warmup_steps"};
#define COMMON_COUNT 4
#define MOST_KEYS (COMMON_COUNT + HONE_MAX_SCHEDULE_ARGS + 2)

struct schedule_reader {
    const struct hone_spec_reader *reader;
    hone_schedule *schedule;
    int depth;
    bool given[HONE_MAX_SCHEDULE_ARGS];
};

static hone_status read_nested(const struct hone_spec_reader *reader, const hone_context *context,
                               const place *at, json_t *value, int depth, hone_schedule **schedule);

static hone_status read_number(const struct hone_spec_reader *reader, const place *at,
                               const json_t *value, double low, double high, bool integer,
                               double *number)
{
    const double found = json_number_value(value);
    if (json_is_number(value) && found >= low && found <= high && isfinite(found) &&
        (!integer || found == floor(found))) {
        *number = found + 0.0;
        return HONE_OK;
    }
    char allowed[96], low_text[32], high_text[32];
    hone_format_number(low_text, low);
    hone_format_number(high_text, high);
    snprintf(allowed, sizeof allowed,
             isinf(high) || (high == 0x1p53 && !(found > high)) ? "%s >= %s" : "%s from %s to %s",
             integer ? "an integer" : "a number", low_text, high_text);
    return hone_refuse_value(reader, at, value, allowed);
}

static hone_status read_flag(const struct hone_spec_reader *reader, const place *at,
                             const json_t *value, double *flag)
{
    if (!json_is_boolean(value))
        return hone_refuse_value(reader, at, value, "true or false");
    *flag = json_is_true(value) ? 1 : 0;
    return HONE_OK;
}

static hone_status read_word(const struct hone_spec_reader *reader, const place *at,
                             const json_t *value, const char *const *words, double *chosen)
{
    int count = 0, choice = 0;
    while (count < 4 && words[count] != NULL)
        count++;
    const hone_status status = hone_read_choice(reader, at, value, words, count, &choice);
    if (status == HONE_OK)
        *chosen = choice;
    return status;
}

static hone_status read_argument(struct schedule_reader *own, const place *at, const json_t *value,
                                 int index)
{
    const struct hone_schedule_argument *const argument = &own->schedule->type->arguments[index];
    double *const target = &own->schedule->arguments[index];
    own->given[index] = true;
    switch (argument->kind) {
    case HONE_ARGUMENT_FLAG:
        return read_flag(own->reader, at, value, target);
    case HONE_ARGUMENT_CHOICE:
        return read_word(own->reader, at, value, argument->words, target);
    case HONE_ARGUMENT_NUMBER:
    case HONE_ARGUMENT_INTEGER:
        break;
    }
    return read_number(own->reader, at, value, argument->low, argument->high,
                       argument->kind == HONE_ARGUMENT_INTEGER, target);
}

static hone_status read_milestones(struct schedule_reader *own, const place *at, json_t *value)
{
    hone_schedule *const schedule = own->schedule;
    if (!json_is_array(value))
        return hone_refuse_value(own->reader, at, value, "a list of integers >= 0");
    const size_t count = json_array_size(value);
    const size_t size = sizeof *schedule->milestones * count;
    schedule->milestones = hone_allocate(schedule->context, size);
    if (schedule->milestones == NULL)
        return hone_fail_memory(own->reader->error, size, "a schedule");
    schedule->milestone_count = count;
    for (size_t i = 0; i < count; i++) {
        const place element = {at, NULL, i};
        double number = 0;
        const hone_status status =
            read_number(own->reader, &element, json_array_get(value, i), 0, 0x1p53, true, &number);
        if (status != HONE_OK)
            return status;
        schedule->milestones[i] = (uint64_t)number;
    }
    return HONE_OK;
}

static hone_status read_children(struct schedule_reader *own, const place *at, json_t *value)
{
    hone_schedule *const schedule = own->schedule;
    if (!json_is_array(value) || json_array_size(value) == 0)
        return hone_refuse_value(own->reader, at, value, "a list of at least one schedule");
    const size_t count = json_array_size(value);
    const size_t size = sizeof *schedule->children * count;
    schedule->children = hone_allocate_zeroed(schedule->context, size);
    if (schedule->children == NULL)
        return hone_fail_memory(own->reader->error, size, "a schedule");
    schedule->child_count = count;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count && status == HONE_OK; i++) {
        const place element = {at, NULL, i};
        status = read_nested(own->reader, schedule->context, &element, json_array_get(value, i),
                             own->depth + 1, &schedule->children[i]);
    }
    return status;
}

static hone_status read_common(struct schedule_reader *own, const place *at, json_t *value,
                               bool *known)
{
    static const char *const per[] = {"step", "epoch", NULL, NULL};
    hone_schedule *const schedule = own->schedule;
    double number = 0;
    hone_status status = HONE_OK;
    *known = true;
    if (strcmp(at->key, "type") == 0)
        return HONE_OK;
    if (strcmp(at->key, "warmup_steps") == 0)
        return read_number(own->reader, at, value, 0, 0x1p53, true, &schedule->warmup_steps);
    if (strcmp(at->key, "warmup_from_one") == 0) {
        status = read_flag(own->reader, at, value, &number);
        schedule->warmup_from_one = number != 0;
        return status;
    }
    if (strcmp(at->key, "per") == 0 && own->depth > 0)
        return hone_refuse(
            own->reader, at, HONE_AT_KEY,
            "a schedule within a schedule counts as the outermost one does; allowed: "
            "\"per\" in that one");
    if (strcmp(at->key, "per") == 0) {
        status = read_word(own->reader, at, value, per, &number);
        schedule->per_epoch = number == 1;
        return status;
    }
    *known = false;
    return HONE_OK;
}

static hone_status refuse_unknown(struct schedule_reader *own, const place *at)
{
    const struct hone_schedule_type *const type = own->schedule->type;
    const char *names[MOST_KEYS];
    int count = 0;
    for (int i = 0; i < COMMON_COUNT; i++)
        names[count++] = common_keys[i];
    for (int i = 0; i < type->argument_count; i++)
        names[count++] = type->arguments[i].name;
    if (type->milestones)
        names[count++] = "milestones";
    if (type->children)
        names[count++] = "schedulers";
    char found[96];
    snprintf(found, sizeof found, "unknown key of the schedule %s", type->name);
    return hone_refuse_name(own->reader, at, HONE_AT_KEY, found, at->key, names, count);
}

static hone_status read_member(struct schedule_reader *own, const place *at, json_t *value)
{
    const struct hone_schedule_type *const type = own->schedule->type;
    bool known;
    const hone_status status = read_common(own, at, value, &known);
    if (known)
        return status;
    for (int i = 0; i < type->argument_count; i++)
        if (strcmp(type->arguments[i].name, at->key) == 0)
            return read_argument(own, at, value, i);
    if (type->milestones && strcmp(at->key, "milestones") == 0)
        return read_milestones(own, at, value);
    if (type->children && strcmp(at->key, "schedulers") == 0)
        return read_children(own, at, value);
    return refuse_unknown(own, at);
}

static hone_status read_members(struct schedule_reader *own, const place *at, json_t *object)
{
    const struct hone_schedule_type *const type = own->schedule->type;
    place member = {at, NULL, 0};
    json_t *value;
    json_object_foreach(object, member.key, value)
    {
        const hone_status status = read_member(own, &member, value);
        if (status != HONE_OK)
            return status;
        member.index++;
    }
    for (int i = 0; i < type->argument_count; i++) {
        const struct hone_schedule_argument *const argument = &type->arguments[i];
        if (own->given[i])
            continue;
        own->schedule->arguments[i] = argument->other >= 0
                                          ? own->schedule->arguments[argument->other]
                                          : argument->default_value;
        if (isnan(own->schedule->arguments[i]))
            return hone_refuse(own->reader, at, HONE_AT_VALUE,
                               "\"%s\" is missing, which the schedule %s needs", argument->name,
                               type->name);
    }
    const char *const complaint = type->check == NULL ? NULL : type->check(own->schedule);
    if (complaint != NULL)
        return hone_refuse(own->reader, at, HONE_AT_VALUE, "%s", complaint);
    return HONE_OK;
}

static hone_status read_type(const struct hone_spec_reader *reader, const place *at,
                             const json_t *object, const struct hone_schedule_type **type)
{
    const char *names[32];
    for (int i = 0; i < hone_schedule_type_count; i++)
        names[i] = hone_schedule_types[i].name;
    place member = {at, NULL, 0};
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, member.key, value)
    {
        if (strcmp(member.key, "type") == 0)
            break;
        member.index++;
    }
    if (member.key == NULL)
        return hone_refuse(reader, at, HONE_AT_VALUE,
                           "\"type\" is missing; allowed: the name of a schedule");
    int choice = 0;
    const hone_status status =
        hone_read_choice(reader, &member, value, names, hone_schedule_type_count, &choice);
    if (status == HONE_OK)
        *type = &hone_schedule_types[choice];
    return status;
}

static hone_status read_nested(const struct hone_spec_reader *reader, const hone_context *context,
                               const place *at, json_t *value, int depth, hone_schedule **schedule)
{
    if (!json_is_object(value))
        return hone_refuse_value(reader, at, value, "an object with \"type\"");
    if (depth >= HONE_MAX_SCHEDULE_DEPTH)
        return hone_refuse(reader, at, HONE_AT_VALUE,
                           "schedules may stand within schedules %d deep at most",
                           HONE_MAX_SCHEDULE_DEPTH);
    const struct hone_schedule_type *type = NULL;
    hone_status status = read_type(reader, at, value, &type);
    if (status != HONE_OK)
        return status;
    struct schedule_reader own = {.reader = reader, .depth = depth};
    own.schedule = hone_allocate_zeroed(context, sizeof *own.schedule);
    if (own.schedule == NULL)
        return hone_fail_memory(reader->error, sizeof *own.schedule, "a schedule");
    own.schedule->context = context;
    own.schedule->type = type;
    status = read_members(&own, at, value);
    if (status == HONE_OK)
        *schedule = own.schedule;
    else
        hone_schedule_free(own.schedule);
    return status;
}

hone_status hone_read_schedule(const struct hone_spec_reader *reader, const hone_context *context,
                               const place *at, json_t *value, hone_schedule **schedule)
{
    return read_nested(reader, context, at, value, 0, schedule);
}

hone_status hone_schedule_parse(hone_schedule **schedule, const hone_context *context,
                                const char *json, size_t length, hone_error *error)
{
    if (schedule == NULL || context == NULL || json == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_schedule_parse needs a schedule, a context and a text; one is NULL");
    json_t *root;
    hone_status status = hone_json_load(&root, json, length, error);
    if (status != HONE_OK)
        return status;
    const struct hone_spec_reader reader = {.text = json, .length = length, .error = error};
    status = hone_read_schedule(&reader, context, NULL, root, schedule);
    json_decref(root);
    return status;
}
