/* SPDX-License-Identifier: Apache-2.0 */
/* Enumerates every kernel of the build (rule, compute type, direct formats, variant, form) and
 * draws scalars for it from the rule's own table and preparation. */
#include <math.h>
#include <stdio.h>

#include "kernel_test.h"

struct direct {
    int real_bits, index;
    enum hone_format param, grad, slot;
    enum hone_extra extra;
    enum hone_format extra_format;
};

#define DIRECT(bits, index, P, G, S, E, X)                                              \
    {bits,           index,          HONE_FORMAT_##P, HONE_FORMAT_##G, HONE_FORMAT_##S, \
     HONE_EXTRA_##E, HONE_FORMAT_##X},
#define DIRECT_32(index, P, G, S, E, X) DIRECT(32, index, P, G, S, E, X)
#define DIRECT_64(index, P, G, S, E, X) DIRECT(64, index, P, G, S, E, X)
static const struct direct directs[] = {HONE_DIRECT_F32(DIRECT_32) HONE_DIRECT_F64(DIRECT_64)};

enum { DIRECT_COUNT = sizeof directs / sizeof directs[0] };

/* A matrix rule's direction: everything in the compute type, the direction beside it. */
static const struct direct matrix_directs[] = {DIRECT(32, 0, F32, F32, F32, NONE, F32)
                                                   DIRECT(64, 0, F64, F64, F64, NONE, F64)};

static void prepare_move(const struct hone_step_input *in, struct hone_step_output *out)
{
    out->rate = in->lr;
    out->keep = 1 - 0.125 * in->lr;
    out->l2 = 0;
}

static const char *check_move(const struct hone_value *values)
{
    (void)values;
    return NULL;
}

static const struct hone_rule move_rule = {
    .name = "move", .prepare = prepare_move, .check = check_move};

static const struct hone_rule *rule_at(int index)
{
    return index < hone_rules_count ? hone_rules[index] : &move_rule;
}

static int rule_combinations(const struct hone_rule *rule)
{
    return rule->matrix ? 2 : (1 << rule->optional_count) * DIRECT_COUNT * HONE_FORM_COUNT;
}

int combination_count(void)
{
    int count = 0;
    for (int i = 0; i <= hone_rules_count; i++)
        count += rule_combinations(rule_at(i));
    return count;
}

static struct formats formats_of(const struct hone_rule *rule, const struct direct *direct,
                                 int variant)
{
    struct formats formats = {
        .param = direct->param,
        .grad = direct->grad,
        .slot_count = rule->slot_count,
        .extra = direct->extra,
        .extra_format = direct->extra_format,
        .has_extra =
            rule->matrix || direct->extra == HONE_EXTRA_MASTER || direct->extra == HONE_EXTRA_KAHAN,
    };
    for (int k = 0; k < rule->slot_count; k++) {
        const int optional = rule->slots[k].optional;
        formats.slot[k] = direct->slot;
        if (optional < 0 || (variant >> optional & 1) != 0)
            formats.present |= 1u << k;
    }
    return formats;
}

struct combination combination_at(int index)
{
    int rule = 0;
    while (index >= rule_combinations(rule_at(rule)))
        index -= rule_combinations(rule_at(rule++));
    const bool matrix = rule_at(rule)->matrix;
    const struct direct *const direct =
        matrix ? &matrix_directs[index] : &directs[index / HONE_FORM_COUNT % DIRECT_COUNT];
    const int variant = matrix ? 0 : index / HONE_FORM_COUNT / DIRECT_COUNT;
    return (struct combination){
        .rule = rule_at(rule),
        .rule_index = rule,
        .real_bits = direct->real_bits,
        .direct = direct->index,
        .variant = variant,
        .form = matrix ? HONE_FORM_DENSE : (enum hone_form)(index % HONE_FORM_COUNT),
        .formats = formats_of(rule_at(rule), direct, variant),
    };
}

static const struct hone_rule_kernels *kernels_of(const struct combination *combination,
                                                  const struct hone_cpu_level *level)
{
    const bool wide = combination->real_bits == 64;
    if (combination->rule == &move_rule)
        return wide ? level->move_f64 : level->move_f32;
    return (wide ? level->f64 : level->f32)[combination->rule_index];
}

hone_kernel_fn *combination_kernel(const struct combination *combination,
                                   const struct hone_cpu_level *level)
{
    const struct hone_rule_kernels *const kernels = kernels_of(combination, level);
    return combination->rule->matrix
               ? kernels->direction[combination->variant]
               : kernels->step[combination->direct][combination->variant][combination->form];
}

bool has_forms(const struct combination *combination)
{
    return !combination->rule->matrix;
}

hone_kernel_fn *tile_kernel(const struct combination *combination,
                            const struct hone_cpu_level *level)
{
    return kernels_of(combination, level)->step[0][combination->variant][combination->form];
}

void combination_label(char label[LABEL_SIZE], const struct combination *combination)
{
    static const char *const extras[] = {"NONE", "MASTER", "KAHAN", "STOCHASTIC"};
    const bool wide = combination->real_bits == 64;
    if (combination->rule->matrix) {
        snprintf(label, LABEL_SIZE, "%s_direction_%s", combination->rule->name,
                 wide ? "f64" : "f32");
        return;
    }
    const struct formats *const formats = &combination->formats;
    const enum hone_format slot = wide ? HONE_FORMAT_F64 : directs[combination->direct].slot;
    snprintf(label, LABEL_SIZE, "%s_%s_%s_%s_%s_%s_v%d", combination->rule->name,
             combination->form == HONE_FORM_DENSE ? "dense" : "masked", format_name(formats->param),
             format_name(formats->grad), format_name(slot), extras[formats->extra],
             combination->variant);
}

/* ---- scenarios ------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Whether the hyperparameter decides about a slot, and if so, whether that slot exists. */
static bool decides_slot(const struct combination *combination, int hyper, bool *present)
{
    for (int k = 0; k < combination->rule->slot_count; k++)
        if (combination->rule->slots[k].condition == hyper) {
            *present = (combination->formats.present >> k & 1u) != 0;
            return true;
        }
    return false;
}

static struct hone_value draw_value(const struct combination *combination, int hyper, bool options,
                                    uint64_t *state)
{
    const hone_hyper *const table = &combination->rule->hypers[hyper];
    struct hone_value value = {.number = table->default_value, .power = table->default_power};
    const bool heads = next_random(state) % 2 == 0;
    bool present;
    if (decides_slot(combination, hyper, &present))
        value.number = !present ? 0 : table->kind == HONE_FLAG ? 1 : 0.9;
    else if (same(table->name, "weight_decay"))
        value.number = heads ? 0.125 : 0;
    else if (table->kind == HONE_FLAG && options)
        value.number = heads ? 1 : 0;
    return value;
}

static void draw_values(const struct combination *combination,
                        struct hone_value values[HONE_MAX_HYPERS], uint64_t *state)
{
    const struct hone_rule *const rule = combination->rule;
    for (int i = 0; i < rule->hyper_count; i++)
        values[i] = draw_value(combination, i, true, state);
    if (rule->check(values) != NULL) /* options that do not go together: keep the defaults */
        for (int i = 0; i < rule->hyper_count; i++)
            values[i] = draw_value(combination, i, false, state);
}

static double maximize_of(const struct hone_rule *rule, const struct hone_value *values)
{
    for (int i = 0; i < rule->hyper_count; i++)
        if (same(rule->hypers[i].name, "maximize"))
            return values[i].number;
    return 0;
}

struct scenario scenario_make(const struct combination *combination, uint64_t seed)
{
    static const uint64_t steps[] = {1, 2, 3, 1000};
    static const struct hone_frame frames[] = {{1, HUGE_VAL, 1}, {0.375, 1.5, 0.8125}};
    uint64_t state = seed;
    struct hone_value values[HONE_MAX_HYPERS];
    draw_values(combination, values, &state);
    struct scenario scenario = {.frame = frames[next_random(&state) % 2]};
    struct hone_scalars *const scalars = &scenario.scalars;
    const uint64_t step = steps[next_random(&state) % 4];
    for (int k = 1; k >= 0; k--) { /* coefficients and l2 do not depend on the learning rate */
        const struct hone_step_input in = {.values = values,
                                           .step = step,
                                           .lr = k == 0 ? 0.0078125 : 0.1,
                                           .fresh = step == 1 ? combination->formats.present : 0};
        struct hone_step_output out = {.coef = scalars->coef};
        combination->rule->prepare(&in, &out);
        scalars->rate[k] = out.rate;
        scalars->keep[k] = out.keep;
        scalars->frozen[k] = next_random(&state) % 8 == 0;
        scalars->l2 = out.l2;
    }
    scalars->maximize = maximize_of(combination->rule, values) != 0;
    return scenario;
}
