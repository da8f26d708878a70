/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of canonical JSON: text, numbers, strings, schedules. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/schedule_internal.h"
#include "core/spec_writer.h"

void hone_put(struct hone_writer *writer, const char *text)
{
    const size_t length = strlen(text);
    if (writer->text != NULL)
        memcpy(writer->text + writer->length, text, length);
    writer->length += length;
}

void hone_put_number(struct hone_writer *writer, double value)
{
    char text[32];
    hone_put(writer, hone_format_number(text, value));
}

void hone_put_string(struct hone_writer *writer, const char *text)
{
    hone_put(writer, "\"");
    for (; *text != '\0'; text++) {
        char piece[8] = {*text, '\0'};
        if (*text == '"' || *text == '\\')
            snprintf(piece, sizeof piece, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            snprintf(piece, sizeof piece, "\\u%04x", (unsigned)*text);
        hone_put(writer, piece);
    }
    hone_put(writer, "\"");
}

void hone_put_key(struct hone_writer *writer, const char **before, const char *name)
{
    hone_put(writer, *before);
    hone_put_string(writer, name);
    hone_put(writer, ":");
    *before = ",";
}

/* ---- schedules ------------------------------------------------------------------------------ */

/* A schedule that "lr_decay_gamma" says in full. */
bool hone_schedule_is_decay(const hone_schedule *schedule)
{
    return schedule != NULL && schedule->per_epoch && schedule->warmup_steps == 0 &&
           !schedule->warmup_from_one && strcmp(schedule->type->name, "exponential") == 0 &&
           schedule->arguments[0] > 0 && schedule->arguments[0] <= 1;
}

static bool argument_differs(const hone_schedule *schedule, int index)
{
    const struct hone_schedule_argument *argument = &schedule->type->arguments[index];
    const double start =
        argument->other >= 0 ? schedule->arguments[argument->other] : argument->default_value;
    return schedule->arguments[index] != start; /* a required one's default is NaN */
}

static void put_argument(struct hone_writer *writer, const hone_schedule *schedule, int index)
{
    const struct hone_schedule_argument *argument = &schedule->type->arguments[index];
    const double value = schedule->arguments[index];
    if (argument->kind == HONE_ARGUMENT_CHOICE)
        hone_put_string(writer, argument->words[(int)value]);
    else if (argument->kind == HONE_ARGUMENT_FLAG)
        hone_put(writer, value != 0 ? "true" : "false");
    else
        hone_put_number(writer, value);
}

static void put_children(struct hone_writer *writer, const hone_schedule *schedule)
{
    for (size_t i = 0; i < schedule->child_count; i++) {
        hone_put(writer, i == 0 ? "[" : ",");
        hone_put_schedule(writer, schedule->children[i]);
    }
    hone_put(writer, "]");
}

static void put_milestones(struct hone_writer *writer, const hone_schedule *schedule)
{
    hone_put(writer, "[");
    for (size_t i = 0; i < schedule->milestone_count; i++) {
        if (i > 0)
            hone_put(writer, ",");
        hone_put_number(writer, (double)schedule->milestones[i]);
    }
    hone_put(writer, "]");
}

/* The type first, then its arguments as the table lists them, then what every type takes. */
void hone_put_schedule(struct hone_writer *writer, const hone_schedule *schedule)
{
    const char *before = "{";
    if (schedule == NULL) {
        hone_put(writer, "null");
        return;
    }
    hone_put_key(writer, &before, "type");
    hone_put_string(writer, schedule->type->name);
    for (int i = 0; i < schedule->type->argument_count; i++)
        if (argument_differs(schedule, i)) {
            hone_put_key(writer, &before, schedule->type->arguments[i].name);
            put_argument(writer, schedule, i);
        }
    if (schedule->type->milestones) {
        hone_put_key(writer, &before, "milestones");
        put_milestones(writer, schedule);
    }
    if (schedule->type->children) {
        hone_put_key(writer, &before, "schedulers");
        put_children(writer, schedule);
    }
    if (schedule->warmup_steps != 0) {
        hone_put_key(writer, &before, "warmup_steps");
        hone_put_number(writer, schedule->warmup_steps);
    }
    if (schedule->warmup_from_one) {
        hone_put_key(writer, &before, "warmup_from_one");
        hone_put(writer, "true");
    }
    if (schedule->per_epoch) {
        hone_put_key(writer, &before, "per");
        hone_put_string(writer, "epoch");
    }
    hone_put(writer, "}");
}
