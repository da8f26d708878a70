/* SPDX-License-Identifier: Apache-2.0 */
/* hone inspect: what is in a safetensors file, and in a checkpoint of hone its recipe and counters.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>
#include <jansson.h>

#include "command.h"
#include "options.h"
#include "report.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"
#include "terminal/text_table.h"

#define CHECKPOINT_KEY "hone" /* of the metadata; its value is JSON */

static uint64_t tensor_bytes(const hone_tensor *tensor)
{
    return (uint64_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
}

static uint64_t all_bytes(const hone_file *file)
{
    uint64_t bytes = 0;
    for (int64_t i = 0; i < hone_file_count(file); i++) {
        hone_tensor tensor;
        if (hone_file_tensor(file, i, &tensor, NULL) == HONE_OK)
            bytes += tensor_bytes(&tensor);
    }
    return bytes;
}

/* The checkpoint's description, or NULL when the file is not a checkpoint of hone. */
static json_t *load_description(const hone_file *file)
{
    const char *const text = hone_file_metadata(file, CHECKPOINT_KEY);
    json_t *const root = text == NULL ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(json_object_get(root, "spec")) &&
        json_is_object(json_object_get(root, "params")))
        return root;
    json_decref(root);
    return NULL;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void shape_text(char *text, size_t size, const hone_tensor *tensor)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < tensor->ndim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i == 0 ? "" : ", ",
                                 tensor->shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}

static void print_tensors(const hone_file *file)
{
    text_table table;
    text_table_begin(&table, "lllr");
    text_table_cell(&table, "tensor");
    text_table_cell(&table, "dtype");
    text_table_cell(&table, "shape");
    text_table_cell(&table, "bytes");
    for (int64_t i = 0; i < hone_file_count(file); i++) {
        hone_tensor tensor;
        char shape[256];
        if (hone_file_tensor(file, i, &tensor, NULL) != HONE_OK)
            continue;
        shape_text(shape, sizeof shape, &tensor);
        text_table_cell(&table, "%s", hone_file_name(file, i));
        text_table_cell(&table, "%s", hone_dtype_name(tensor.dtype));
        text_table_cell(&table, "%s", shape);
        text_table_cell(&table, "%" PRIu64, tensor_bytes(&tensor));
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

static void print_metadata(const hone_file *file, const json_t *description)
{
    for (int64_t i = 0; i < hone_file_metadata_count(file); i++) {
        const char *const key = hone_file_metadata_key(file, i);
        if (description != NULL && strcmp(key, CHECKPOINT_KEY) == 0)
            continue;
        fputs("metadata ", stdout);
        text_print_name(stdout, key);
        fputs(": ", stdout);
        text_print_name(stdout, hone_file_metadata(file, key));
        putchar('\n');
    }
}

/* The rule of a group as the recipe tells it: its own, or that of the whole. */
static const char *group_rule(const json_t *spec, json_int_t group)
{
    const json_t *const all = json_object_get(spec, "groups");
    const json_t *const own =
        group == 0 ? NULL
                   : json_object_get(json_array_get(all, (size_t)group - 1), "optimizer_type");
    const char *const name =
        json_string_value(own != NULL ? own : json_object_get(spec, "optimizer_type"));
    return name == NULL ? "?" : name;
}

static void print_counters(json_t *description)
{
    const json_t *const spec = json_object_get(description, "spec");
    const char *name;
    json_t *param;
    text_table table;
    text_table_begin(&table, "lrrl");
    text_table_cell(&table, "parameter");
    text_table_cell(&table, "steps");
    text_table_cell(&table, "group");
    text_table_cell(&table, "rule");
    json_object_foreach(json_object_get(description, "params"), name, param)
    {
        const json_int_t group = json_integer_value(json_object_get(param, "group"));
        text_table_cell(&table, "%s", name);
        text_table_cell(&table, "%" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(param, "step")));
        text_table_cell(&table, "%" JSON_INTEGER_FORMAT, group);
        text_table_cell(&table, "%s", group_rule(spec, group));
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

/* The recipe in canonical form: what jansson writes back has longer numbers. */
static void print_recipe(const hone_context *context, const json_t *description)
{
    const char *const version = json_string_value(json_object_get(description, "version"));
    char *const text = json_dumps(json_object_get(description, "spec"), 0);
    hone_spec *spec = NULL;
    char *canonical = NULL;
    if (text != NULL && hone_spec_parse(&spec, context, text, strlen(text), NULL) == HONE_OK)
        hone_spec_write(spec, &canonical, NULL);
    printf("checkpoint of hone %s, recipe: ", version == NULL ? "?" : version);
    text_print_name(stdout, canonical != NULL ? canonical : text != NULL ? text : "?");
    putchar('\n');
    hone_string_free(context, canonical);
    hone_spec_free(spec);
    free(text);
}

/* `what` stands before "of group"; nothing is printed for a schedule that is not there. */
static void print_schedule(const char *what, size_t group, const json_t *schedule)
{
    const json_t *const place = json_object_get(schedule, "e");
    if (json_is_integer(place))
        printf("%s of group %zu: moved on %" JSON_INTEGER_FORMAT " times\n", what, group,
               json_integer_value(place));
}

static void print_schedules(const json_t *description)
{
    size_t group;
    const json_t *schedule;
    json_array_foreach(json_object_get(description, "schedules"), group, schedule)
    {
        print_schedule("schedule", group, schedule);
        print_schedule("masked_schedule", group, json_object_get(schedule, "masked"));
    }
}

static void print_file(const hone_context *context, const char *path, const hone_file *file,
                       json_t *description)
{
    char size[TEXT_NUMBER_SIZE];
    const int64_t count = hone_file_count(file);
    text_print_name(stdout, path);
    printf(": %" PRId64 " tensor%s, %s\n", count, count == 1 ? "" : "s",
           text_bytes(size, all_bytes(file)));
    print_metadata(file, description);
    if (description != NULL) {
        print_recipe(context, description);
        print_schedules(description);
        print_counters(description);
    }
    if (count > 0)
        print_tensors(file);
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_tensor(json_writer *json, const char *name, const hone_tensor *tensor)
{
    json_open_object(json, true);
    json_put_key(json, "name");
    json_put_string(json, name);
    json_put_key(json, "dtype");
    json_put_string(json, hone_dtype_name(tensor->dtype));
    json_put_key(json, "shape");
    json_open_array(json, true);
    for (int32_t i = 0; i < tensor->ndim; i++)
        json_put_integer(json, tensor->shape[i]);
    json_close(json);
    json_put_key(json, "bytes");
    json_put_integer(json, (int64_t)tensor_bytes(tensor));
    json_close(json);
}

static void write_file(const char *path, const hone_file *file, const json_t *description)
{
    json_writer json;
    json_begin(&json, stdout);
    json_open_object(&json, false);
    json_put_key(&json, "file");
    json_put_string(&json, path);
    json_put_key(&json, "tensors");
    json_open_array(&json, false);
    for (int64_t i = 0; i < hone_file_count(file); i++) {
        hone_tensor tensor;
        if (hone_file_tensor(file, i, &tensor, NULL) == HONE_OK)
            write_tensor(&json, hone_file_name(file, i), &tensor);
    }
    json_close(&json);
    json_put_key(&json, "metadata");
    json_open_object(&json, false);
    for (int64_t i = 0; i < hone_file_metadata_count(file); i++) {
        const char *const key = hone_file_metadata_key(file, i);
        json_put_key(&json, key);
        json_put_string(&json, hone_file_metadata(file, key));
    }
    json_close(&json);
    json_put_key(&json, "checkpoint");
    if (description != NULL)
        json_put_raw(&json, hone_file_metadata(file, CHECKPOINT_KEY));
    else
        json_put_string(&json, NULL);
    json_close(&json);
    json_end(&json);
}

static int run_inspect(int argc, char **argv)
{
    bool as_json = false;
    const option options[] = {{.name = "json", .flag = &as_json}, {0}};
    const char *path = NULL;
    option_list list = {.command = "inspect",
                        .options = options,
                        .arguments = &path,
                        .least_arguments = 1,
                        .most_arguments = 1};
    const int code = options_read(&list, argc, argv);
    if (code != 0)
        return code;
    hone_error error;
    hone_context *context = NULL;
    hone_file *file = NULL;
    if (hone_context_create(&context, NULL, &error) != HONE_OK)
        return report_error(&error);
    if (hone_file_open(&file, context, path, &error) != HONE_OK) {
        hone_context_free(context);
        return report_error(&error);
    }
    json_t *const description = load_description(file);
    if (as_json)
        write_file(path, file, description);
    else
        print_file(context, path, file, description);
    json_decref(description);
    hone_file_close(file);
    hone_context_free(context);
    return EXIT_DONE;
}

const command command_inspect = {
    .name = "inspect",
    .summary = "Shows what a safetensors file or checkpoint holds",
    .usage = "inspect FILE [--json]",
    .help = "Tensors with dtype, shape and size; the metadata; for a checkpoint of hone also its\n"
            "recipe and each parameter's group and number of completed steps.\n\n"
            "  --json  the same for programs\n",
    .run = run_inspect,
};
