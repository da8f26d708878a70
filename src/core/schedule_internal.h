/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of schedules: a table of types, each with its arguments and its closed form. The table
 * serves the reader, the writer and the documentation. */
#ifndef HONE_CORE_SCHEDULE_INTERNAL_H
#define HONE_CORE_SCHEDULE_INTERNAL_H

#include <hone/schedule.h>

#include "core/core.h"

#define HONE_MAX_SCHEDULE_ARGS 12
#define HONE_MAX_SCHEDULE_DEPTH 8 /* of schedules within schedules */

enum hone_argument_kind {
    HONE_ARGUMENT_NUMBER,
    HONE_ARGUMENT_INTEGER,
    HONE_ARGUMENT_FLAG,
    HONE_ARGUMENT_CHOICE /* the index of a word */
};

struct hone_schedule_argument {
    const char *name;
    enum hone_argument_kind kind;
    double default_value; /* NaN: must be given, unless `other` stands in */
    double low, high;     /* allowed: low <= x <= high */
    const char *words[4]; /* of a choice */
    int other;            /* index of the argument whose value is the default; -1: none */
};

/* Where a value is asked for. */
struct hone_schedule_point {
    const hone_schedule *schedule;
    double base;
    double e;      /* after the warm-up */
    double warmup; /* its length */
};

struct hone_schedule_type {
    const char *name;
    const struct hone_schedule_argument *arguments;
    int argument_count;
    bool milestones; /* takes a list of integers */
    bool children;   /* takes a list of schedules */
    bool factor;     /* its value is base times a factor: may be chained */
    double (*value)(const struct hone_schedule_point *point);
    double (*momentum)(const struct hone_schedule_point *point); /* or NULL */
    const char *(*check)(const hone_schedule *schedule);         /* a sentence, or NULL: all well */
};

struct hone_schedule {
    const hone_context *context;
    const struct hone_schedule_type *type;
    double arguments[HONE_MAX_SCHEDULE_ARGS];
    double warmup_steps;
    bool warmup_from_one;
    bool per_epoch;
    uint64_t *milestones;
    size_t milestone_count;
    hone_schedule **children;
    size_t child_count;
    hone_schedule_fn *callback;
    void *user;
};

extern const struct hone_schedule_type hone_schedule_types[];
extern const int hone_schedule_type_count;
extern const struct hone_schedule_type hone_schedule_callback_type;

const struct hone_schedule_type *hone_schedule_type_find(const char *name);

/* Argument by name, for the closed forms. */
double hone_schedule_argument(const hone_schedule *schedule, const char *name);

bool hone_schedule_is_plateau(const hone_schedule *schedule);

/* Rate and momentum (NaN: none) at e, without checks. */
double hone_schedule_rate(const hone_schedule *schedule, double base, double e);
double hone_schedule_momentum(const hone_schedule *schedule, double e);

/* The last e that has a value; infinity if there is no end. */
double hone_schedule_end(const hone_schedule *schedule);

#endif
