/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata pass: turns a rule's lists into its constant table. */
#ifndef HONE_KERNEL_EMIT_TABLE_H
#define HONE_KERNEL_EMIT_TABLE_H

#include "kernel/emit_prepare.h"

#define RULE_TABLE_NUMBER(name, value, range, doc) {#name, HONE_NUMBER, value, 0, range, doc, NULL},
#define RULE_TABLE_FLAG(name, value, doc) {#name, HONE_FLAG, value, 0, 0, 1, false, doc, NULL},
#define RULE_TABLE_CURVE(name, scale, power, doc) \
    {#name, HONE_CURVE, scale, power, 0, HUGE_VAL, false, doc, NULL},

/* The words of each choice, and how many there are. */
#define RULE_WORDS(name, value, doc, ...) \
    static const char *const rule_words_##name[] = {__VA_ARGS__, NULL};
RULE_CHOICES(RULE_WORDS)

#define RULE_TABLE_CHOICE(name, value, doc, ...)                                               \
    {#name, HONE_CHOICE, value,                                                                \
     0,     0,           (double)(sizeof rule_words_##name / sizeof rule_words_##name[0]) - 2, \
     false, doc,         rule_words_##name},

static const hone_hyper rule_hyper_table[] = {RULE_HYPERS(
    RULE_TABLE_NUMBER, RULE_TABLE_FLAG, RULE_TABLE_CURVE) RULE_CHOICES(RULE_TABLE_CHOICE)};

#define RULE_TABLE_SLOT(name, initial, doc) {#name, initial, -1, -1, doc},
#define RULE_TABLE_OPTIONAL(name, hyper, initial, doc) \
    {#name, initial, HYPER_##hyper, OPTIONAL_##name, doc},

/* One entry more than the list, so that a rule without slots has a table too. */
static const hone_slot rule_slot_table[] = {
    RULE_SLOTS(RULE_TABLE_SLOT, RULE_TABLE_OPTIONAL){NULL, 0, -1, -1, NULL}};

static const char *rule_table_check(const struct hone_value *values)
{
    const struct rule_hypers hypers = rule_read(values);
    return rule_check(&hypers);
}

#define RULE_TABLE RULE_PASTE(hone_rule_, RULE)

#if defined(RULE_MATRIX)
#define RULE_IS_MATRIX true
#else
#define RULE_IS_MATRIX false
#endif

extern const struct hone_rule RULE_TABLE;
const struct hone_rule RULE_TABLE = {
    .name = RULE_TEXT(RULE),
    .doc = RULE_DOC,
    .matrix = RULE_IS_MATRIX,
    .hyper_count = RULE_HYPER_COUNT,
    .slot_count = RULE_SLOT_COUNT,
    .optional_count = RULE_OPTIONAL_COUNT,
    .coef_count = RULE_COEF_COUNT,
    .hypers = rule_hyper_table,
    .slots = rule_slot_table,
    .prepare = rule_prepare_all,
    .check = rule_table_check,
};

#endif
