/* SPDX-License-Identifier: Apache-2.0 */
/* hone mask: what is in a mask file, masks in hone's own form, and masks of the largest gradients. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "mask_make.h"
#include "options.h"
#include "report.h"
#include "terminal/json_writer.h"
#include "terminal/text.h"
#include "terminal/text_table.h"

static void count_elements(const hone_mask_set *set, int64_t *elements, int64_t *trues)
{
    *elements = *trues = 0;
    for (int64_t i = 0; i < hone_mask_set_count(set); i++) {
        *elements += hone_mask_numel(hone_mask_set_mask(set, i));
        *trues += hone_mask_count(hone_mask_set_mask(set, i));
    }
}

/* Whether the file's summary, where there is one, says what its mask holds. */
static bool summary_agrees(const hone_mask_set *set, int64_t index)
{
    const hone_mask_summary *const summary = hone_mask_set_summary(set, index);
    const hone_mask *const mask = hone_mask_set_mask(set, index);
    return summary == NULL || (summary->active_count == hone_mask_count(mask) &&
                               summary->total_count == hone_mask_numel(mask));
}

/* ---- for people ----------------------------------------------------------------------------- */

static void put_shape(text_table *table, const hone_mask *mask)
{
    char text[256];
    size_t used = (size_t)snprintf(text, sizeof text, "[");
    for (int32_t d = 0; d < hone_mask_ndim(mask) && used < sizeof text; d++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64, d == 0 ? "" : ", ",
                                 hone_mask_shape(mask)[d]);
    text_table_cell(table, "%s%s", text, used < sizeof text ? "]" : "...");
}

static void put_summary(text_table *table, const hone_mask_set *set, int64_t index)
{
    const hone_mask_summary *const summary = hone_mask_set_summary(set, index);
    if (summary == NULL)
        text_table_cell(table, "none");
    else if (summary_agrees(set, index))
        text_table_cell(table, "agrees");
    else
        text_table_cell(table, "says %" PRId64 " of %" PRId64, summary->active_count,
                        summary->total_count);
}

static void print_masks(const hone_mask_set *set)
{
    text_table table;
    text_table_begin(&table, "llrrll");
    static const char *const heads[] = {"mask", "shape", "true", "density", "held as", "summary"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        text_table_cell(&table, "%s", heads[i]);
    for (int64_t i = 0; i < hone_mask_set_count(set); i++) {
        const hone_mask *const mask = hone_mask_set_mask(set, i);
        text_table_cell(&table, "%s", hone_mask_set_name(set, i));
        put_shape(&table, mask);
        text_table_cell(&table, "%" PRId64, hone_mask_count(mask));
        text_table_cell(&table, "%.2f %%", 100 * hone_mask_density(mask));
        text_table_cell(&table, "%s", hone_mask_form_name(hone_mask_set_form(set, i)));
        put_summary(&table, set, i);
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

static void print_memory(const hone_mask_set *set)
{
    text_table table;
    text_table_begin(&table, "lrr");
    text_table_cell(&table, "all masks as");
    text_table_cell(&table, "take");
    text_table_cell(&table, "saved beside one byte per element");
    for (int form = 0; form < HONE_MASK_FORM_COUNT; form++) {
        char size[TEXT_NUMBER_SIZE];
        const hone_mask_memory memory = hone_mask_set_memory_as(set, (hone_mask_form)form);
        text_table_cell(&table, "%s", hone_mask_form_name((hone_mask_form)form));
        text_table_cell(&table, "%s", text_bytes(size, (uint64_t)memory.bytes));
        text_table_cell(&table, "%.1f %%", 100 * memory.saved_ratio);
    }
    putchar('\n');
    text_table_end(&table, stdout);
}

static void print_set(const char *path, const hone_mask_set *set)
{
    int64_t elements, trues;
    count_elements(set, &elements, &trues);
    const int64_t count = hone_mask_set_count(set);
    text_print_name(stdout, path);
    printf(": %" PRId64 " mask%s, %" PRId64 " of %" PRId64 " elements true", count,
           count == 1 ? "" : "s", trues, elements);
    if (hone_mask_set_key(set) != NULL)
        printf(", under %s", hone_mask_set_key(set));
    putchar('\n');
    for (int64_t i = 0; i < hone_mask_set_note_count(set); i++) {
        const char *const key = hone_mask_set_note_key(set, i);
        text_print_name(stdout, key);
        fputs(": ", stdout);
        text_print_name(stdout, hone_mask_set_note_value(set, key));
        putchar('\n');
    }
    if (count == 0)
        return;
    print_masks(set);
    print_memory(set);
}

/* ---- for programs --------------------------------------------------------------------------- */

static void write_mask(json_writer *json, const hone_mask_set *set, int64_t index)
{
    const hone_mask *const mask = hone_mask_set_mask(set, index);
    char hash[32];
    snprintf(hash, sizeof hash, "%016" PRIx64, hone_mask_hash(mask));
    json_open_object(json, true);
    json_put_key(json, "name");
    json_put_string(json, hone_mask_set_name(set, index));
    json_put_key(json, "shape");
    json_open_array(json, true);
    for (int32_t d = 0; d < hone_mask_ndim(mask); d++)
        json_put_integer(json, hone_mask_shape(mask)[d]);
    json_close(json);
    json_put_key(json, "true");
    json_put_integer(json, hone_mask_count(mask));
    json_put_key(json, "elements");
    json_put_integer(json, hone_mask_numel(mask));
    json_put_key(json, "density");
    json_put_number(json, hone_mask_density(mask));
    json_put_key(json, "hash");
    json_put_string(json, hash);
    json_put_key(json, "held_as");
    json_put_string(json, hone_mask_form_name(hone_mask_set_form(set, index)));
    json_put_key(json, "summary_agrees");
    if (hone_mask_set_summary(set, index) == NULL)
        json_put_string(json, NULL);
    else
        json_put_bool(json, summary_agrees(set, index));
    json_close(json);
}

static void write_memory(json_writer *json, const hone_mask_set *set)
{
    json_put_key(json, "memory");
    json_open_object(json, false);
    for (int form = 0; form < HONE_MASK_FORM_COUNT; form++) {
        const hone_mask_memory memory = hone_mask_set_memory_as(set, (hone_mask_form)form);
        json_put_key(json, hone_mask_form_name((hone_mask_form)form));
        json_open_object(json, true);
        json_put_key(json, "memory_bytes");
        json_put_integer(json, memory.bytes);
        json_put_key(json, "dense_memory_bytes");
        json_put_integer(json, memory.dense_bytes);
        json_put_key(json, "memory_savings_bytes");
        json_put_integer(json, memory.saved_bytes);
        json_put_key(json, "memory_savings_ratio");
        json_put_number(json, memory.saved_ratio);
        json_close(json);
    }
    json_close(json);
}

static void write_set(const char *path, const hone_mask_set *set)
{
    json_writer json;
    json_begin(&json, stdout);
    json_open_object(&json, false);
    json_put_key(&json, "file");
    json_put_string(&json, path);
    json_put_key(&json, "key");
    json_put_string(&json, hone_mask_set_key(set));
    json_put_key(&json, "masks");
    json_open_array(&json, false);
    for (int64_t i = 0; i < hone_mask_set_count(set); i++)
        write_mask(&json, set, i);
    json_close(&json);
    json_put_key(&json, "notes");
    json_open_object(&json, false);
    for (int64_t i = 0; i < hone_mask_set_note_count(set); i++) {
        const char *const key = hone_mask_set_note_key(set, i);
        json_put_key(&json, key);
        json_put_string(&json, hone_mask_set_note_value(set, key));
    }
    json_close(&json);
    write_memory(&json, set);
    json_close(&json);
    json_end(&json);
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Reads `in` and shows it, or writes it to `out` when that is given. */
static int run_file(const char *in, const char *out, bool as_json)
{
    hone_error error;
    hone_context *context = NULL;
    hone_mask_set *set = NULL;
    int code = EXIT_DONE;
    if (hone_context_create(&context, NULL, &error) != HONE_OK ||
        hone_mask_set_load(&set, context, in, NULL, &error) != HONE_OK)
        code = report_error(&error);
    else if (out == NULL && as_json)
        write_set(in, set);
    else if (out == NULL)
        print_set(in, set);
    else if (hone_mask_set_save(set, out, &error) != HONE_OK)
        code = report_error(&error);
    hone_mask_set_free(set);
    hone_context_free(context);
    return code;
}

static int run_info(int argc, char **argv)
{
    bool as_json = false;
    const char *path = NULL;
    const option options[] = {{.name = "json", .flag = &as_json}, {0}};
    option_list list = {.command = "mask",
                        .options = options,
                        .arguments = &path,
                        .least_arguments = 1,
                        .most_arguments = 1};
    const int code = options_read(&list, argc, argv);
    return code == 0 ? run_file(path, NULL, as_json) : code;
}

static int run_convert(int argc, char **argv)
{
    const char *paths[2] = {0};
    const option options[] = {{0}};
    option_list list = {.command = "mask",
                        .options = options,
                        .arguments = paths,
                        .least_arguments = 2,
                        .most_arguments = 2};
    const int code = options_read(&list, argc, argv);
    return code == 0 ? run_file(paths[0], paths[1], false) : code;
}

static int run_mask(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "info") == 0)
        return run_info(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "convert") == 0)
        return run_convert(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "make") == 0)
        return mask_make(argc - 1, argv + 1);
    return report_usage("mask",
                        "hone mask needs to be told what to do; it can: info, convert, make");
}

const command command_mask = {
    .name = "mask",
    .summary = "Shows, converts and makes masks for two learning rates",
    .usage = "mask info FILE [--json]\n"
             "       hone mask convert IN OUT\n"
             "       hone mask make --top FRACTION --from GRADS... [--intersect | --sum] OUT",
    .help =
        "Mask files are PyTorch's .pt (dense, COO and compact_sparse) and safetensors; OUT is a\n"
        "safetensors file in hone's own layout.\n\n"
        "info shows each mask's shape, count and density, whether the file's summary agrees,\n"
        "and what the masks take in memory in each form.\n\n"
        "make takes of every tensor of GRADS the largest absolute values:\n"
        "  --top FRACTION  how many: ceil(FRACTION * elements), at least 1\n"
        "  --from GRADS... safetensors files with the same tensors\n"
        "  --intersect     only elements that every file's mask holds\n"
        "  --sum           the absolute values are added up over the files first\n",
    .run = run_mask,
};
