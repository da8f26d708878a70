/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot's metadata says of a table: what it must agree in, its counters and its
 * hyperparameters. Numbers of 64 bits are hexadecimal text, so that no reader rounds them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/schedule_internal.h"
#include "table/snapshot_internal.h"

uint64_t hone_checksum(const void *bytes, size_t size)
{
    const unsigned char *const from = bytes;
    uint64_t lane[4] = {1, 2, 3, 4};
    size_t i = 0;
    for (; i + 32 <= size; i += 32)
        for (int k = 0; k < 4; k++) {
            uint64_t word;
            memcpy(&word, from + i + 8 * (size_t)k, 8);
            lane[k] = (lane[k] ^ word) * 0x9e3779b97f4a7c15u;
            lane[k] ^= lane[k] >> 32;
        }
    uint64_t sum = size;
    for (; i < size; i++)
        sum = (sum ^ from[i]) * 0xff51afd7ed558ccdu;
    for (int k = 0; k < 4; k++)
        sum = hone_mix(sum ^ lane[k]);
    return sum;
}

uint64_t hone_tensor_checksum(const hone_tensor *tensor)
{
    const size_t numel = (size_t)hone_tensor_numel(tensor);
    const char *const dtype = hone_dtype_name(tensor->dtype);
    uint64_t sum = hone_checksum(tensor->data, numel * hone_dtype_size(tensor->dtype));
    sum = hone_mix(sum ^ hone_checksum(dtype, strlen(dtype)));
    for (int32_t i = 0; i < tensor->ndim; i++)
        sum = hone_mix(sum ^ (uint64_t)tensor->shape[i]);
    return sum;
}

json_t *hone_json_of_bits(uint64_t bits)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, bits);
    return json_string(text);
}

uint64_t hone_json_bits(const json_t *object, const char *key)
{
    const char *const text = json_string_value(json_object_get(object, key));
    return text == NULL ? 0 : strtoull(text, NULL, 16);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void hone_column_file_name(const struct hone_table *table, const struct hone_column *column,
                           char *name, size_t size)
{
    const bool state = column->slot != HONE_COLUMN_VALUES && table->preset != NULL;
    snprintf(name, size, "%s@%s%s", table->name, state ? table->preset->prefix : "", column->name);
}

static const char *rule_name(const struct hone_table *table)
{
    return table->preset != NULL ? table->preset->name : table->spec->groups[0].rule->name;
}

/* What the arithmetic of steps depends on besides the rule: it is the table's, never taken over. */
#define SWITCHES(X)               \
    X("bias", bias_name(table))   \
    X("decay", decay_name(table)) \
    X("rounding", rounding_name(table))

static const char *bias_name(const struct hone_table *table)
{
    static const char *const names[] = {
        [HONE_BIAS_TABLE] = "table", [HONE_BIAS_GLOBAL] = "global", [HONE_BIAS_ROW] = "row"};
    return names[table->bias];
}

static const char *decay_name(const struct hone_table *table)
{
    static const char *const names[] = {[HONE_DECAY_DEFAULT] = "the rule's",
                                        [HONE_DECAY_NONE] = "none",
                                        [HONE_DECAY_L2] = "l2",
                                        [HONE_DECAY_RATE] = "rate",
                                        [HONE_DECAY_RAW] = "raw",
                                        [HONE_DECAY_CATCH_UP] = "catch_up"};
    return names[table->decay];
}

static const char *rounding_name(const struct hone_table *table)
{
    return hone_table_is_random(table) ? "stochastic" : "nearest";
}

/* (key, field) of every 64-bit counter. */
#define COUNTERS(X)               \
    X("next", next)               \
    X("births", births)           \
    X("tick", tick)               \
    X("clock", clock)             \
    X("step", step)               \
    X("global_step", global_step) \
    X("calls", calls)             \
    X("hand", hand)               \
    X("removals", removals)

#define COUNTER_COUNT 9

/* (key, field) of what a schedule has come to. */
#define PLACES(X) X("e", e) X("bad", bad) X("cooldown", cooldown)

static json_t *schedule_facts(const struct hone_schedule_state *state)
{
    json_t *const facts = json_object();
#define WRITE(key, field) json_object_set_new(facts, key, hone_json_of_bits(state->field));
    PLACES(WRITE)
#undef WRITE
    json_object_set_new(facts, "base", hone_json_of_bits(bits_of(state->base)));
    json_object_set_new(facts, "best", hone_json_of_bits(bits_of(state->best)));
    if (json_object_size(facts) == 3 + 2)
        return facts;
    json_decref(facts);
    return NULL;
}

hone_status hone_table_facts(const struct hone_table *table, json_t **written, hone_error *error)
{
    char *spec = NULL;
    const hone_status status = hone_spec_write(table->spec, &spec, error);
    if (status != HONE_OK)
        return status;
    const struct hone_group *const group = &table->spec->groups[0];
    json_t *const facts = json_object();
    json_object_set_new(facts, "rule", json_string(rule_name(table)));
    json_object_set_new(facts, "spec", json_string(spec));
    json_object_set_new(facts, "width", json_integer(table->options.width));
    json_object_set_new(facts, "dtype", json_string(hone_dtype_name(table->options.dtype)));
#define WRITE(key, name) json_object_set_new(facts, key, json_string(name));
    SWITCHES(WRITE)
#undef WRITE
    json_object_set_new(facts, "stream", hone_json_of_bits(table->stream));
    json_object_set_new(facts, "count", json_integer((json_int_t)table->index.count));
#define WRITE(key, field) json_object_set_new(facts, key, hone_json_of_bits(table->field));
    COUNTERS(WRITE)
#undef WRITE
    json_object_set_new(facts, "beta1", hone_json_of_bits(bits_of(table->power1)));
    json_object_set_new(facts, "beta2", hone_json_of_bits(bits_of(table->power2)));
    json_object_set_new(facts, "loss_scale", hone_json_of_bits(bits_of(table->loss_scale)));
    json_object_set_new(facts, "accumulate", json_integer((json_int_t)table->accumulate));
    json_object_set_new(facts, "accumulate_mean", json_boolean(table->accumulate_mean));
    json_object_set_new(facts, "failed", json_boolean(table->failed));
    const int set = json_object_set_new(facts, "registered", json_boolean(table->registered));
    hone_string_free(table->context, spec);
    if (group->schedule != NULL)
        json_object_set_new(facts, "schedule", schedule_facts(&group->schedule_state));
    const size_t expected = 16 + COUNTER_COUNT + (group->schedule != NULL);
    if (set != 0 || json_object_size(facts) != expected) {
        json_decref(facts);
        return hone_fail_memory(error, sizeof *table, "a snapshot's metadata");
    }
    *written = facts;
    return HONE_OK;
}

static hone_status check_switch(const struct hone_table *table, const json_t *facts,
                                const char *key, const char *own, hone_error *error)
{
    const char *const found = json_string_value(json_object_get(facts, key));
    if (found == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT, "table \"%s\": its description has no %s",
                         table->name, key);
    if (strcmp(found, own) != 0)
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "table \"%s\" has the %s \"%s\"; the snapshot's has \"%s\"", table->name,
                         key, own, found);
    return HONE_OK;
}

static hone_status check_switches(const struct hone_table *table, const json_t *facts,
                                  hone_error *error)
{
    hone_status status = HONE_OK;
#define CHECK(key, name)   \
    if (status == HONE_OK) \
        status = check_switch(table, facts, key, name, error);
    SWITCHES(CHECK)
#undef CHECK
    return status;
}

static hone_status check_facts(const struct hone_table *table, const json_t *facts,
                               hone_error *error)
{
    const char *const rule = json_string_value(json_object_get(facts, "rule"));
    const char *const dtype = json_string_value(json_object_get(facts, "dtype"));
    const json_int_t width = json_integer_value(json_object_get(facts, "width"));
    if (rule == NULL || dtype == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT, "table \"%s\": its description is incomplete",
                         table->name);
    if (strcmp(rule, rule_name(table)) != 0)
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "table \"%s\" follows \"%s\"; the snapshot's follows \"%s\"", table->name,
                         rule_name(table), rule);
    if (width != table->options.width || strcmp(dtype, hone_dtype_name(table->options.dtype)) != 0)
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "table \"%s\" has width %lld of %s; the snapshot's has %lld of %s",
                         table->name, (long long)table->options.width,
                         hone_dtype_name(table->options.dtype), (long long)width, dtype);
    if (hone_json_bits(facts, "stream") != table->stream)
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "table \"%s\": the snapshot was made under another seed of the context",
                         table->name);
    return check_switches(table, facts, error);
}

/* The place of the spec's schedule, which the spec's text does not tell. */
static hone_status take_schedule(const struct hone_table *table, struct hone_group *group,
                                 const json_t *facts, hone_error *error)
{
    if ((group->schedule != NULL) != json_is_object(facts))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "table \"%s\": its spec has %s schedule, its description the place of %s",
                         table->name, group->schedule != NULL ? "a" : "no",
                         json_is_object(facts) ? "one" : "none");
    if (group->schedule == NULL)
        return HONE_OK;
    struct hone_schedule_state *const state = &group->schedule_state;
    *state = (struct hone_schedule_state){.masked_base = (double)NAN};
#define READ(key, field) state->field = hone_json_bits(facts, key);
    PLACES(READ)
#undef READ
    state->base = double_of(hone_json_bits(facts, "base"));
    state->best = double_of(hone_json_bits(facts, "best"));
    const double end = hone_schedule_end(group->schedule);
    if (state->base >= 0 && isfinite(state->base) && (double)state->e <= end)
        return HONE_OK;
    return hone_fail(
        error, HONE_ERROR_FORMAT,
        "table \"%s\": its schedule is at step %llu with the base %g; its last step is "
        "%g, and a base is at least 0",
        table->name, (unsigned long long)state->e, state->base, end);
}

static hone_status check_spec(struct hone_table *table, hone_spec *spec, const json_t *facts,
                              hone_error *error)
{
    if (spec->group_count != 1 || spec->groups[0].rule != table->spec->groups[0].rule)
        return hone_fail(error, HONE_ERROR_FORMAT, "table \"%s\": rule and spec do not agree",
                         table->name);
    hone_spec *const own = table->spec;
    const int variant = hone_table_variant(table);
    table->spec = spec;
    const bool fits = hone_table_variant(table) == variant;
    table->spec = own;
    if (!fits)
        return hone_fail(error, HONE_ERROR_MISMATCH,
                         "table \"%s\": the snapshot's hyperparameters need other states than the "
                         "table's",
                         table->name);
    return take_schedule(table, &spec->groups[0], json_object_get(facts, "schedule"), error);
}

static bool is_power(double value)
{
    return value >= 0 && value <= 1;
}

static hone_status check_numbers(const struct hone_table *table, const json_t *facts,
                                 hone_error *error)
{
    const double scale = double_of(hone_json_bits(facts, "loss_scale"));
    const double power1 = double_of(hone_json_bits(facts, "beta1"));
    const double power2 = double_of(hone_json_bits(facts, "beta2"));
    const uint64_t next_step = hone_json_bits(facts, "global_step");
    if (is_power(power1) && is_power(power2) && isfinite(scale) && scale > 0 && next_step > 0)
        return HONE_OK;
    return hone_fail(
        error, HONE_ERROR_FORMAT,
        "table \"%s\": its running products are %g and %g, its loss scale is %g and its "
        "next step %llu; they must be 0 to 1, above 0 and at least 1",
        table->name, power1, power2, scale, (unsigned long long)next_step);
}

/* Those that the first of a restore's files takes the place of come back if the restore fails. */
static void keep_settings(struct hone_table *table)
{
    if (table->kept.spec != NULL)
        hone_spec_free(table->spec);
    else
        table->kept = (struct hone_table_settings){
            table->spec,       table->clock,           table->global_step,
            table->accumulate, table->accumulate_mean, table->loss_scale};
}

hone_status hone_table_take_facts(struct hone_table *table, const json_t *facts, bool apply,
                                  hone_error *error)
{
    hone_status status = check_facts(table, facts, error);
    if (status == HONE_OK)
        status = check_numbers(table, facts, error);
    if (status != HONE_OK)
        return status;
    const char *const text = json_string_value(json_object_get(facts, "spec"));
    hone_spec *spec = NULL;
    status = hone_spec_parse(&spec, table->context, text == NULL ? "" : text,
                             text == NULL ? 0 : strlen(text), error);
    if (status == HONE_OK)
        status = check_spec(table, spec, facts, error);
    if (status != HONE_OK || !apply) {
        hone_spec_free(spec);
        return status;
    }
    keep_settings(table);
    table->spec = spec;
    table->version++;
#define READ(key, field) table->field = hone_json_bits(facts, key);
    COUNTERS(READ)
#undef READ
    table->power1 = double_of(hone_json_bits(facts, "beta1"));
    table->power2 = double_of(hone_json_bits(facts, "beta2"));
    table->loss_scale = double_of(hone_json_bits(facts, "loss_scale"));
    const json_int_t accumulate = json_integer_value(json_object_get(facts, "accumulate"));
    table->accumulate = accumulate < 1 ? 1 : (int64_t)accumulate;
    table->accumulate_mean = json_is_true(json_object_get(facts, "accumulate_mean"));
    table->registered = json_is_true(json_object_get(facts, "registered"));
    table->failed = json_is_true(json_object_get(facts, "failed"));
    return HONE_OK;
}
