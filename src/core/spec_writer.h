/* SPDX-License-Identifier: Apache-2.0 */
/* What the writers of specs share. A text is written twice, once to be counted and once to be kept,
 * so that it is one allocation of exactly its size. */
#ifndef HONE_CORE_SPEC_WRITER_H
#define HONE_CORE_SPEC_WRITER_H

#include "core/core.h"
#include "core/spec_keys.h"

/* A text being written, or only counted while `text` is NULL. */
struct hone_writer {
    char *text;
    size_t length;
};

void hone_put(struct hone_writer *writer, const char *text);
void hone_put_number(struct hone_writer *writer, double value);
void hone_put_string(struct hone_writer *writer, const char *text);
/* `before`, the name and ":"; *before becomes ",". */
void hone_put_key(struct hone_writer *writer, const char **before, const char *name);
void hone_put_schedule(struct hone_writer *writer, const hone_schedule *schedule);

/* Whether "lr_decay_gamma" says all of a schedule. */
bool hone_schedule_is_decay(const hone_schedule *schedule);

/* A group, and the values it would have if its JSON said nothing. */
struct hone_subject {
    const hone_spec *spec;
    const struct hone_group *group;
    int number;
    struct hone_value values[HONE_MAX_HYPERS];
    int state_dtype[HONE_MAX_SLOTS];
    double masked_lr;
    hone_precision precision;
    const hone_schedule *schedule, *masked_schedule;
    int first; /* of the groups that stand under "groups" */
};

void hone_set_subject(struct hone_subject *subject, const hone_spec *spec, int number);
bool hone_is_written(const struct hone_subject *subject, const struct hone_spec_key *key);
void hone_put_value(struct hone_writer *writer, const struct hone_subject *subject,
                    const struct hone_spec_key *key);

/* A callback cannot be written; nothing else can go wrong but memory. */
hone_status hone_check_writable(const hone_spec *spec, hone_error *error);

#endif
