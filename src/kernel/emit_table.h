/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata pass: turns a rule's lists into its constant table. */
#ifndef HONE_KERNEL_EMIT_TABLE_H
#define HONE_KERNEL_EMIT_TABLE_H

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

#define RULE_READ_NUMBER(name, ...) .name = values[HYPER_##name].number,
#define RULE_READ_FLAG(name, ...) .name = values[HYPER_##name].number != 0,
#define RULE_READ_CURVE(name, ...) .name = values[HYPER_##name],
#define RULE_READ_CHOICE(name, ...) .name = (int)values[HYPER_##name].number,

static struct rule_hypers rule_read(const struct hone_value *values)
{
    return (struct rule_hypers){RULE_HYPERS(RULE_READ_NUMBER, RULE_READ_FLAG, RULE_READ_CURVE)
                                    RULE_CHOICES(RULE_READ_CHOICE)};
}

static void rule_table_prepare(const struct hone_step_input *in, struct hone_step_output *out)
{
    const struct rule_hypers hypers = rule_read(in->values);
    struct rule_coefs coefs = {.unused = 0};
    struct rule_moves moves = {.rate = in->lr, .keep = 1, .l2 = 0};
    rule_prepare(&hypers, in->step, in->lr, in->fresh, &coefs, &moves);
    int i = 0;
#define RULE_WRITE_COEF(name) out->coef[i++] = coefs.name;
    RULE_COEFS(RULE_WRITE_COEF)
    (void)i;
    out->rate = moves.rate;
    out->keep = moves.keep;
    out->l2 = moves.l2;
}

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
    .prepare = rule_table_prepare,
    .check = rule_table_check,
};

#endif
