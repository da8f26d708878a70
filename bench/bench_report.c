/* SPDX-License-Identifier: Apache-2.0 */
/* Results as a table for people and as JSON for keeping. */
#include "bench.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"
#include "terminal/text_table.h"

bool bench_reached(const bench_result *result)
{
    switch (result->target) {
    case BENCH_AT_LEAST:
        return result->ratio >= result->target_ratio;
    case BENCH_AT_MOST:
        return result->ratio <= result->target_ratio;
    case BENCH_NO_TARGET:
        break;
    }
    return true;
}

/* Times are kept in seconds; bytes a second come from them before they are scaled. */
static double scale_of(const char *unit)
{
    return unit[0] == 'm' ? 1e3 : unit[0] == 'u' ? 1e6 : 1e9;
}

static void print_result(text_table *table, const bench_result *result)
{
    const double scale = scale_of(result->unit);
    text_table_cell(table, "%s", result->name);
    text_table_cell(table, "%.3g %s", result->time * scale, result->unit);
    text_table_cell(table, "%.3g %s", result->against_time * scale, result->unit);
    text_table_cell(table, "%s", result->against);
    if (result->bytes > 0)
        text_table_cell(table, "%.1f", 1e-9 * result->bytes / result->time);
    else
        text_table_cell(table, "%s", "");
    text_table_cell(table, "%.3f", result->ratio);
    text_table_cell(table, "%.3f..%.3f", result->ratio_low, result->ratio_high);
    text_table_cell(table, "%s", result->ratio_is);
    if (result->target == BENCH_NO_TARGET)
        text_table_cell(table, "%s", "");
    else
        text_table_cell(table, "%s %g%s",
                        result->target == BENCH_AT_LEAST ? ">=" : "<=", result->target_ratio,
                        bench_reached(result) ? "" : "  MISSED");
}

void bench_print(const bench_results *results, FILE *stream)
{
    static const char *const head[] = {"case",  "hone",      "other", "which is", "GB/s",
                                       "ratio", "quartiles", "of",    "wanted"};
    bench_machine machine;
    char memory[TEXT_NUMBER_SIZE];
    bench_describe_machine(&machine);
    fprintf(stream, "hone %s, level %s, %d thread%s, %s, %s build\n%s, %ld cores, %s, %s\n\n",
            hone_version(), results->cpu, results->threads, results->threads == 1 ? "" : "s",
            HONE_BENCH_COMPILER, HONE_BENCH_BUILD, machine.cpu, machine.cores,
            text_bytes(memory, machine.memory), machine.system);
    text_table table;
    text_table_begin(&table, "lrrlrrrll");
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++)
        text_table_cell(&table, "%s", head[i]);
    for (int i = 0; i < results->count; i++)
        print_result(&table, &results->list[i]);
    text_table_end(&table, stream);
}

static void write_machine(json_writer *json, const bench_results *results)
{
    bench_machine machine;
    bench_describe_machine(&machine);
    json_put_key(json, "date");
    json_put_string(json, machine.date);
    json_put_key(json, "machine");
    json_open_object(json, false);
    json_put_key(json, "cpu");
    json_put_string(json, machine.cpu);
    json_put_key(json, "cores");
    json_put_integer(json, machine.cores);
    json_put_key(json, "memory_bytes");
    json_put_integer(json, (int64_t)machine.memory);
    json_put_key(json, "system");
    json_put_string(json, machine.system);
    json_put_key(json, "compiler");
    json_put_string(json, HONE_BENCH_COMPILER);
    json_put_key(json, "build");
    json_put_string(json, HONE_BENCH_BUILD);
    json_put_key(json, "level");
    json_put_string(json, results->cpu);
    json_put_key(json, "threads");
    json_put_integer(json, results->threads);
    json_close(json);
}

static void write_result(json_writer *json, const bench_result *result)
{
    json_open_object(json, true);
    json_put_key(json, "name");
    json_put_string(json, result->name);
    json_put_key(json, "against");
    json_put_string(json, result->against);
    json_put_key(json, "seconds");
    json_put_number(json, result->time);
    json_put_key(json, "against_seconds");
    json_put_number(json, result->against_time);
    json_put_key(json, "per");
    json_put_string(json, result->unit[0] == 'n' ? "element" : "step");
    if (result->bytes > 0) {
        json_put_key(json, "bytes");
        json_put_number(json, result->bytes);
    }
    json_put_key(json, "ratio_of");
    json_put_string(json, result->ratio_is);
    json_put_key(json, "ratio");
    json_put_number(json, result->ratio);
    json_put_key(json, "ratio_quartiles");
    json_open_array(json, true);
    json_put_number(json, result->ratio_low);
    json_put_number(json, result->ratio_high);
    json_close(json);
    json_put_key(json, "repetitions");
    json_put_integer(json, result->repetitions);
    if (result->target != BENCH_NO_TARGET) {
        json_put_key(json, result->target == BENCH_AT_LEAST ? "wanted_at_least" : "wanted_at_most");
        json_put_number(json, result->target_ratio);
        json_put_key(json, "reached");
        json_put_bool(json, bench_reached(result));
    }
    json_close(json);
}

void bench_write_json(const bench_results *results, const bench_options *options,
                      const char *command, FILE *stream)
{
    json_writer json;
    json_begin(&json, stream);
    json_open_object(&json, false);
    json_put_key(&json, "hone");
    json_put_string(&json, hone_version());
    json_put_key(&json, "command");
    json_put_string(&json, command);
    write_machine(&json, results);
    json_put_key(&json, "elements");
    json_put_integer(&json, options->elements);
    json_put_key(&json, "results");
    json_open_array(&json, false);
    for (int i = 0; i < results->count; i++)
        write_result(&json, &results->list[i]);
    json_close(&json);
    json_close(&json);
    json_end(&json);
}
