/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule a table's rows follow: what stands in a record, which kernel steps it, and the numbers
 * of a step for a row at its count. The arithmetic of elements is the rules' own; the row-wise
 * presets are sgd at a rate that each row computes from its one second moment. */
#include <math.h>
#include <string.h>

#include "kernel/prepare.h"
#include "table/table_internal.h"

static const struct hone_preset presets[] = {
    {"sparse_adam", "adamw_tf", "adamw_tf", "sparse_adam_", HONE_ROW_KIND_RUNNING, HONE_DECAY_NONE,
     HONE_BIAS_TABLE},
    {"sparse_adamw", "adamw_tf", "adamw_tf", "sparse_adamw_", HONE_ROW_KIND_RUNNING,
     HONE_DECAY_RATE, HONE_BIAS_TABLE},
    {"sparse_adamw_tf", "adamw_tf", "adamw_tf", "sparse_adamw_tf_", HONE_ROW_KIND_RUNNING,
     HONE_DECAY_RAW, HONE_BIAS_TABLE},
    {"rowwise_adagrad", "adamw", "sgd", "rowwise_adagrad_", HONE_ROW_KIND_ADAGRAD, HONE_DECAY_RATE,
     HONE_BIAS_TABLE},
    {"rowwise_adam", "adamw", "sgd", "rowwise_adam_", HONE_ROW_KIND_ADAM, HONE_DECAY_RATE,
     HONE_BIAS_TABLE},
};

static const struct hone_preset *find_preset(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

/* ---- hyperparameters --------------------------------------------------------------------------
 */

double hone_table_hyper(const struct hone_table *table, const char *name)
{
    const struct hone_group *const group = &table->spec->groups[0];
    const int index = hone_rule_hyper_find(group->rule, name);
    return index < 0 ? 0 : group->values[index].number;
}

/* Values of the caller's group go over by name. */
static void take_values(struct hone_group *to, const struct hone_group *from, double multiplier)
{
    for (int i = 0; i < from->rule->hyper_count; i++) {
        const int index = hone_rule_hyper_find(to->rule, from->rule->hypers[i].name);
        if (index >= 0)
            to->values[index] = from->values[i];
    }
    memcpy(to->state_dtype, from->state_dtype, sizeof to->state_dtype);
    if (to->rule != from->rule)
        for (int k = 0; k < HONE_MAX_SLOTS; k++)
            to->state_dtype[k] = HONE_STATE_DTYPE_DEFAULT;
    const int lr = hone_rule_hyper_find(to->rule, "lr");
    if (lr >= 0)
        to->values[lr].number *= multiplier;
}

/* Before the records are laid out: a schedule may move momentum. */
static hone_status start_schedule(struct hone_table *table, const hone_schedule *schedule,
                                  hone_error *error)
{
    struct hone_group *const own = &table->spec->groups[0];
    const hone_status status = hone_schedule_copy(&own->schedule, table->context, schedule, error);
    return status == HONE_OK ? hone_group_attach(own, error) : status;
}

static hone_status make_spec(struct hone_table *table, hone_error *error)
{
    const hone_spec *const given = table->options.spec;
    const int number = hone_spec_match(given, table->name, 2);
    const struct hone_group *const group = given == NULL ? NULL : &given->groups[number];
    double multiplier = 1;
    table->preset = find_preset(table->options.rule);
    const char *rule = table->options.rule;
    if (table->preset != NULL)
        rule = table->preset->hypers;
    else if (group != NULL)
        rule = group->rule->name;
    if (rule == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table \"%s\": options->rule is NULL",
                         table->name);
    hone_status status = hone_spec_create(&table->spec, table->context, rule, error);
    if (status == HONE_OK && group != NULL)
        status = hone_spec_multiplier(given, number, hone_spec_find_module(given, table->name),
                                      table->name, &multiplier, error);
    if (status == HONE_OK && group != NULL)
        take_values(&table->spec->groups[0], group, multiplier);
    if (status != HONE_OK || group == NULL || group->schedule == NULL)
        return status;
    return start_schedule(table, group->schedule, error);
}

/* ---- the record -------------------------------------------------------------------------------
 */

static void add_column(struct hone_table *table, const char *name, int slot, size_t count,
                       hone_dtype dtype, double initial)
{
    struct hone_column *const column = &table->columns[table->column_count++];
    int reals;
    *column = (struct hone_column){.name = name, .slot = slot, .count = count, .initial = initial};
    hone_dtype_format(dtype, &column->format, &reals);
    column->size = count * hone_format_size(column->format);
}

/* The group that the kernel's rule runs with: the table's own, or sgd's for row-wise presets. */
static void kernel_group(const struct hone_table *table, struct hone_group *group)
{
    *group = table->spec->groups[0];
    if (table->kind != HONE_ROW_KIND_ADAGRAD && table->kind != HONE_ROW_KIND_ADAM)
        return;
    const double beta1 = table->kind == HONE_ROW_KIND_ADAM ? hone_table_hyper(table, "beta1") : 0;
    group->rule = table->kernel_rule;
    hone_rule_defaults(group->rule, group->values);
    group->values[hone_rule_hyper_find(group->rule, "momentum")].number = beta1;
    group->values[hone_rule_hyper_find(group->rule, "dampening")].number = beta1;
}

/* A row-wise Adam has a first moment whatever beta1 is. */
static int kernel_variant(const struct hone_table *table, struct hone_group *group)
{
    kernel_group(table, group);
    if (table->kind == HONE_ROW_KIND_ADAM)
        group->values[hone_rule_hyper_find(group->rule, "momentum")].number = 1;
    return hone_group_variant(group);
}

static void add_columns(struct hone_table *table, const struct hone_group *group)
{
    const hone_dtype state = table->options.state_dtype;
    const size_t width = (size_t)table->options.width;
    add_column(table, "embedding", HONE_COLUMN_VALUES, width, table->options.dtype, 0);
    for (int k = 0; k < group->rule->slot_count; k++) {
        if (!hone_group_needs_slot(group, k))
            continue;
        const int chosen = group->state_dtype[k];
        const char *const name =
            table->kind == HONE_ROW_KIND_ADAM ? "exp_avg" : group->rule->slots[k].name;
        add_column(table, name, k, width,
                   chosen == HONE_STATE_DTYPE_DEFAULT ? state : (hone_dtype)chosen,
                   group->rule->slots[k].initial);
    }
    if (table->kind == HONE_ROW_KIND_ADAGRAD || table->kind == HONE_ROW_KIND_ADAM)
        add_column(table, table->kind == HONE_ROW_KIND_ADAM ? "exp_avg_sq" : "sum",
                   HONE_COLUMN_ROW_STATE, 1, table->options.dtype == HONE_F64 ? HONE_F64 : HONE_F32,
                   0);
}

/* Places the columns: a row's one number beside the header, arrays after it from a multiple of
 * `alignment` on. Returns the stride of records. */
static size_t place_columns(struct hone_table *table, size_t alignment)
{
    size_t used = sizeof(struct hone_row);
    for (int c = 0; c < table->column_count; c++)
        if (table->columns[c].slot == HONE_COLUMN_ROW_STATE) {
            table->columns[c].offset = used;
            used += sizeof(double);
        }
    used = (used + alignment - 1) & ~(alignment - 1);
    for (int c = 0; c < table->column_count; c++) {
        if (table->columns[c].slot == HONE_COLUMN_ROW_STATE)
            continue;
        table->columns[c].offset = (used + 7) & ~(size_t)7;
        used = table->columns[c].offset + table->columns[c].size;
    }
    const size_t grain = used < 256 ? 32 : 64;
    return (used + grain - 1) & ~(grain - 1);
}

/* Values start on a cache line where that makes no record longer. */
static void lay_out(struct hone_table *table, const struct hone_group *group)
{
    add_columns(table, group);
    const size_t dense = place_columns(table, 8);
    table->stride = place_columns(table, 64);
    if (table->stride > dense)
        table->stride = place_columns(table, 8);
}

static void choose_kernel(struct hone_table *table, int variant)
{
    const struct hone_cpu_level *const cpu = table->context->cpu;
    struct hone_stage *const stage = &table->stage;
    struct hone_chunk present = {.n = 0};
    bool half = false;
    stage->support = cpu->support;
    stage->slot_count = table->kernel_rule->slot_count;
    for (int c = 0; c < table->column_count; c++) {
        const struct hone_column *const column = &table->columns[c];
        if (column->slot == HONE_COLUMN_VALUES)
            stage->param = column->format;
        if (column->slot < 0)
            continue;
        stage->slot[column->slot] = column->format;
        half |= hone_format_size(column->format) == 2;
        present.slot[column->slot] = table->columns; /* any address: it is there */
    }
    const bool wide = stage->param == HONE_FORMAT_F64;
    stage->grad = wide ? HONE_FORMAT_F64 : HONE_FORMAT_F32;
    stage->extra = table->options.stochastic && hone_format_size(stage->param) == 2
                       ? HONE_EXTRA_STOCHASTIC
                       : HONE_EXTRA_NONE;
    stage->random_slots = table->options.stochastic && half && !wide;
    const struct hone_rule_kernels *const kernels =
        (wide ? cpu->f64 : cpu->f32)[hone_rule_index(table->kernel_rule)];
    const int direct = hone_find_direct(stage, &present);
    stage->kernel = kernels->step[0][variant][HONE_FORM_DENSE];
    table->kernel =
        direct < 0 || stage->random_slots ? NULL : kernels->step[direct][variant][HONE_FORM_DENSE];
}

int hone_table_variant(const struct hone_table *table)
{
    struct hone_group group;
    return kernel_variant(table, &group);
}

/* The row-wise presets take their numbers by adamw's names, but keep no greatest second moment. */
static hone_status check_amsgrad(const struct hone_table *table, double amsgrad, hone_error *error)
{
    const bool single = table->kind == HONE_ROW_KIND_ADAGRAD || table->kind == HONE_ROW_KIND_ADAM;
    if (!single || amsgrad == 0)
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                     "table \"%s\": amsgrad is %g; \"%s\" has no amsgrad, so it must be 0",
                     table->name, amsgrad, table->preset->name);
}

hone_status hone_table_set_rule(struct hone_table *table, hone_error *error)
{
    const hone_status status = make_spec(table, error);
    if (status != HONE_OK)
        return status;
    const struct hone_preset *const preset = table->preset;
    const hone_table_options *const o = &table->options;
    table->kind = preset == NULL ? HONE_ROW_KIND_PLAIN : preset->kind;
    table->kernel_rule =
        preset == NULL ? table->spec->groups[0].rule : hone_rule_find(preset->kernel);
    table->decay = o->decay != HONE_DECAY_DEFAULT || preset == NULL ? o->decay : preset->decay;
    table->bias = o->bias != HONE_BIAS_DEFAULT ? o->bias
                  : preset != NULL             ? preset->bias
                                               : HONE_BIAS_ROW;
    if (table->kernel_rule == NULL)
        return hone_fail(error, HONE_ERROR_UNSUPPORTED, "this build has no rule \"%s\"",
                         preset->kernel);
    if (hone_rule_is_matrix(table->kernel_rule))
        return hone_fail(
            error, HONE_ERROR_UNSUPPORTED,
            "table \"%s\": \"%s\" is a rule over matrices; rows need one over elements",
            table->name, table->kernel_rule->name);
    const hone_status allowed = check_amsgrad(table, hone_table_hyper(table, "amsgrad"), error);
    if (allowed != HONE_OK)
        return allowed;
    struct hone_group group;
    const int variant = kernel_variant(table, &group);
    lay_out(table, &group);
    choose_kernel(table, variant);
    return HONE_OK;
}

hone_status hone_table_get(const hone_table *table, const char *hyper, double *value,
                           hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    return hone_spec_get(table->spec, 0, hyper, value, error);
}

hone_status hone_table_set(hone_table *table, const char *hyper, double value, hone_error *error)
{
    if (table == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "table is NULL");
    double before;
    hone_status status = hone_spec_get(table->spec, 0, hyper, &before, error);
    const int variant = hone_table_variant(table);
    if (status == HONE_OK && strcmp(hyper, "amsgrad") == 0)
        status = check_amsgrad(table, value, error);
    if (status == HONE_OK)
        status = hone_spec_set(table->spec, 0, hyper, value, error);
    if (status != HONE_OK)
        return status;
    if (hone_table_variant(table) != variant) {
        hone_spec_set(table->spec, 0, hyper, before, NULL);
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "table \"%s\": %s cannot change from %g to %g: the rows' records were "
                         "made for the states the rule had at the start",
                         table->name, hyper, before, value);
    }
    table->version++;
    return HONE_OK;
}

/* ---- the numbers of a step --------------------------------------------------------------------
 */

double hone_table_missed_decay(const struct hone_table *table, uint32_t steps)
{
    return power(1 - hone_table_hyper(table, "lr") * hone_table_hyper(table, "weight_decay"),
                 steps);
}

static void set_decay(const struct hone_table *table, double lr, double decay, uint32_t gap,
                      struct hone_step_output *out)
{
    switch (table->decay) {
    case HONE_DECAY_L2:
        out->l2 = decay;
        break;
    case HONE_DECAY_RATE:
        out->keep = 1 - lr * decay;
        break;
    case HONE_DECAY_RAW:
        out->keep = 1 - decay;
        break;
    case HONE_DECAY_CATCH_UP:
        out->keep = hone_table_missed_decay(table, gap);
        break;
    default:
        break;
    }
}

static void compute(const struct hone_table *table, uint64_t step, uint32_t gap, bool fresh,
                    struct hone_scalars *scalars)
{
    struct hone_group group;
    kernel_group(table, &group);
    const double lr = hone_table_hyper(table, "lr");
    const double decay = hone_table_hyper(table, "weight_decay");
    const int own_decay = hone_rule_hyper_find(group.rule, "weight_decay");
    if (table->decay != HONE_DECAY_DEFAULT && own_decay >= 0)
        group.values[own_decay].number = 0;
    /* sgd's buffer starts as the first gradient, a first moment as its weighted share */
    const bool starts = fresh && table->kind != HONE_ROW_KIND_ADAM;
    const struct hone_step_input in = {
        .values = group.values, .step = step, .lr = lr, .fresh = starts ? ~0u : 0};
    memset(scalars, 0, sizeof *scalars);
    struct hone_step_output out = {.coef = scalars->coef};
    group.rule->prepare(&in, &out);
    if (table->decay != HONE_DECAY_DEFAULT)
        set_decay(table, lr, decay, gap, &out);
    if (table->kind == HONE_ROW_KIND_RUNNING && table->bias == HONE_BIAS_TABLE) {
        const double power1 = table->power1 * hone_table_hyper(table, "beta1");
        const double power2 = table->power2 * hone_table_hyper(table, "beta2");
        out.rate = lr * sqrt(1 - power2) / (1 - power1);
    }
    for (int k = 0; k < 2; k++) {
        scalars->rate[k] = out.rate;
        scalars->keep[k] = out.keep;
        scalars->frozen[k] = out.rate == 0 && out.keep == 1;
    }
    scalars->l2 = out.l2;
    scalars->maximize = hone_table_hyper(table, "maximize") != 0;
}

double hone_row_adam_rate(const struct hone_table *table, double second, double lr, double eps,
                          uint64_t step)
{
    const double bias1 = 1 - power(hone_table_hyper(table, "beta1"), step);
    const double bias2 = 1 - power(hone_table_hyper(table, "beta2"), step);
    return lr / bias1 / (sqrt(second / bias2) + eps);
}

struct hone_row_scalars *hone_table_scalars(const struct hone_table *table,
                                            const struct hone_row *row, int thread)
{
    const uint64_t step = table->bias == HONE_BIAS_ROW     ? (uint64_t)row->updates + 1
                          : table->bias == HONE_BIAS_TABLE ? table->step + 1
                                                           : table->global_step;
    const uint32_t gap =
        table->decay == HONE_DECAY_CATCH_UP ? (uint32_t)(table->step + 1) - row->updated : 0;
    const bool fresh = row->updates == 0;
    const size_t at =
        (size_t)hone_mix(step * 2 + fresh + ((uint64_t)gap << 40)) % HONE_SCALARS_CACHE;
    struct hone_row_scalars *const entry = &table->cache[(size_t)thread * HONE_SCALARS_CACHE + at];
    const bool same = entry->version == table->version && entry->step == step &&
                      entry->gap == gap && entry->fresh == fresh;
    if (!same) {
        entry->version = table->version;
        entry->step = step;
        entry->gap = gap;
        entry->fresh = fresh;
        compute(table, step, gap, fresh, &entry->scalars);
    }
    return entry;
}
