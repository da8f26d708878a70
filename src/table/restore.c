/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring tables from a directory of snapshots: which files belong together, whether each is
 * sound, and in which order they are applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_load.h"
#include "table/restore_internal.h"

/* ---- one file -------------------------------------------------------------------------------- */

static hone_status read_notes(struct hone_loaded *loaded, hone_error *error)
{
    const char *const text = hone_file_metadata(loaded->file, HONE_SNAPSHOT_KEY);
    if (text == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT, "'%s' is not a snapshot of tables",
                         loaded->path);
    json_error_t problem = {0}; /* jansson does not always set its code */
    loaded->notes = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    if (loaded->notes == NULL && hone_json_out_of_memory(&problem, text, strlen(text)))
        return hone_fail_memory(error, strlen(text), "a snapshot's description");
    const json_t *const format = json_object_get(loaded->notes, "format");
    if (json_is_integer(format) && json_integer_value(format) != HONE_SNAPSHOT_FORMAT)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "'%s': its description is damaged or of format %lld; format %d is read",
                         loaded->path, (long long)json_integer_value(format), HONE_SNAPSHOT_FORMAT);
    const char *const sum = hone_file_metadata(loaded->file, HONE_SNAPSHOT_SUM_KEY);
    if (!json_is_integer(format) || sum == NULL ||
        strtoull(sum, NULL, 16) != hone_checksum(text, strlen(text)))
        return hone_fail(error, HONE_ERROR_FORMAT, "'%s': the checksum of its description is wrong",
                         loaded->path);
    return HONE_OK;
}

static hone_status check_sums(const struct hone_loaded *loaded, hone_error *error)
{
    const json_t *const sums = json_object_get(loaded->notes, "sums");
    const int64_t count = hone_file_count(loaded->file);
    if ((int64_t)json_object_size(sums) != count)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "'%s' holds %lld tensors; its metadata lists %zu", loaded->path,
                         (long long)count, json_object_size(sums));
    for (int64_t i = 0; i < count; i++) {
        hone_tensor tensor;
        const char *const name = hone_file_name(loaded->file, i);
        const hone_status status = hone_file_tensor(loaded->file, i, &tensor, error);
        if (status != HONE_OK)
            return status;
        if (json_object_get(sums, name) == NULL ||
            hone_json_bits(sums, name) != hone_tensor_checksum(&tensor))
            return hone_fail(error, HONE_ERROR_FORMAT, "'%s': the checksum of \"%s\" is wrong",
                             loaded->path, name);
    }
    return HONE_OK;
}

static void close_file(struct hone_loaded *loaded)
{
    hone_file_close(loaded->file);
    json_decref(loaded->notes);
    loaded->file = NULL;
    loaded->notes = NULL;
}

static hone_status read_kind(struct hone_loaded *loaded, hone_error *error)
{
    const char *const kind = json_string_value(json_object_get(loaded->notes, "kind"));
    loaded->increment = kind != NULL && strcmp(kind, "increment") == 0;
    if (loaded->increment ||
        (kind != NULL && (strcmp(kind, "full") == 0 || strcmp(kind, "copy") == 0)))
        return HONE_OK;
    return hone_fail(error, HONE_ERROR_FORMAT,
                     "'%s': its description does not say what kind of snapshot it is",
                     loaded->path);
}

/* Closes it again unless it is sound. */
static hone_status check_file(struct hone_loaded *loaded, hone_error *error)
{
    hone_status status = read_notes(loaded, error);
    if (status == HONE_OK)
        status = read_kind(loaded, error);
    if (status == HONE_OK)
        status = check_sums(loaded, error);
    if (status != HONE_OK)
        close_file(loaded);
    return status;
}

static hone_status open_file(struct hone_loaded *loaded, const hone_context *context,
                             const char *directory, const struct hone_snapshot_file *found,
                             hone_error *error)
{
    *loaded = (struct hone_loaded){.sequence = found->sequence};
    hone_status status = hone_snapshot_path(loaded->path, directory, found, error);
    if (status == HONE_OK)
        status = hone_file_open(&loaded->file, context, loaded->path, error);
    if (status == HONE_OK)
        status = check_file(loaded, error);
    if (status == HONE_OK && loaded->increment == found->full) {
        status = hone_fail(error, HONE_ERROR_FORMAT, "'%s' has another file's name: it is %s",
                           loaded->path, found->full ? "an increment" : "a full snapshot");
        close_file(loaded);
    }
    if (status != HONE_OK)
        return status;
    loaded->chain = hone_json_bits(loaded->notes, "chain");
    loaded->before = hone_json_bits(loaded->notes, "before");
    loaded->checksum = hone_json_bits(loaded->notes, "checksum");
    return HONE_OK;
}

/* ---- the chain ------------------------------------------------------------------------------- */

struct restoring {
    const hone_context *context;
    hone_table *const *tables;
    int64_t count;
    const char *directory;
    hone_restore_report report;
    uint64_t chain, last;
};

static void note_problem(struct restoring *r, const hone_error *error)
{
    if (r->report.problem[0] == '\0')
        snprintf(r->report.problem, sizeof r->report.problem, "%s", error->message);
}

/* A file that does not fit the tables or their budgets, or lack of memory, ends the whole call. */
static bool is_final(hone_status status)
{
    return status == HONE_ERROR_MISMATCH || status == HONE_ERROR_RANGE ||
           status == HONE_ERROR_MEMORY;
}

static void clear_tables(hone_table *const *tables, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        hone_table_clear(tables[i]);
}

/* Checks all tables' parts, then applies them. */
static hone_status apply(struct restoring *r, const struct hone_loaded *loaded, hone_error *error)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < r->count; i++)
        status = hone_table_check_loaded(r->tables[i], loaded, error);
    for (int64_t i = 0; status == HONE_OK && i < r->count; i++) {
        status = hone_table_apply_loaded(r->tables[i], loaded, error);
        if (status != HONE_OK)
            r->report.files = -1; /* half applied */
    }
    if (status != HONE_OK)
        return status;
    r->chain = loaded->chain;
    r->last = loaded->checksum;
    r->report.files++;
    r->report.sequence = loaded->sequence;
    snprintf(r->report.last, sizeof r->report.last, "%s", loaded->path);
    return HONE_OK;
}

/* A full file and what follows it. FORMAT: the full one is not sound. */
static hone_status try_chain(struct restoring *r, const struct hone_snapshot_list *listing,
                             size_t first, hone_error *error)
{
    struct hone_loaded loaded;
    hone_error local;
    r->report.files = 0;
    hone_status status =
        open_file(&loaded, r->context, r->directory, &listing->files[first], &local);
    if (status == HONE_OK) {
        status = apply(r, &loaded, &local);
        close_file(&loaded);
    }
    for (size_t i = first + 1; status == HONE_OK && i < listing->count; i++) {
        if (listing->files[i].full)
            continue; /* newer and not sound, or it would have been tried first */
        hone_status one = open_file(&loaded, r->context, r->directory, &listing->files[i], &local);
        if (one == HONE_OK && loaded.chain == r->chain && loaded.before == r->last)
            one = apply(r, &loaded, &local);
        else if (one == HONE_OK && loaded.chain == r->chain)
            one = hone_fail(&local, HONE_ERROR_FORMAT,
                            "'%s' follows a snapshot that is missing or damaged", loaded.path);
        close_file(&loaded);
        if (one != HONE_OK)
            note_problem(r, &local);
        if (is_final(one) || r->report.files < 0)
            status = one;
    }
    if (status != HONE_OK && error != NULL)
        *error = local;
    if (status != HONE_OK)
        note_problem(r, &local);
    return status;
}

static hone_status check_empty(hone_table *const *tables, int64_t count, hone_error *error)
{
    if (tables == NULL || count < 1)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%lld tables to restore; at least 1",
                         (long long)count);
    for (int64_t i = 0; i < count; i++) {
        if (tables[i] == NULL)
            return hone_fail(error, HONE_ERROR_ARGUMENT, "table %lld to restore is NULL",
                             (long long)i);
        if (tables[i]->next != 0 || tables[i]->step != 0)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "table \"%s\" has rows or steps; restoring needs empty tables",
                             tables[i]->name);
        if (tables[i]->copied)
            return hone_fail(
                error, HONE_ERROR_ARGUMENT,
                "table \"%s\": a snapshot is at work; restoring has to wait until it is "
                "freed",
                tables[i]->name);
    }
    return HONE_OK;
}

static hone_status restore(struct restoring *r, const struct hone_snapshot_list *listing,
                           hone_error *error)
{
    hone_status status = hone_fail(error, HONE_ERROR_IO, "no full snapshot in '%s'", r->directory);
    for (size_t i = listing->count; i-- > 0;) {
        if (!listing->files[i].full)
            continue;
        status = try_chain(r, listing, i, error);
        if (status == HONE_OK)
            return HONE_OK;
        clear_tables(r->tables, r->count);
        if (is_final(status))
            return status;
    }
    return status;
}

hone_status hone_snapshot_restore(hone_table *const *tables, int64_t count, const char *directory,
                                  hone_restore_report *report, hone_error *error)
{
    hone_status status = check_empty(tables, count, error);
    if (status != HONE_OK)
        return status;
    if (directory == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "directory is NULL");
    struct restoring r = {
        .context = tables[0]->context, .tables = tables, .count = count, .directory = directory};
    struct hone_snapshot_list listing;
    status = hone_snapshot_list(&listing, r.context, directory, error);
    if (status == HONE_OK)
        status = restore(&r, &listing, error);
    for (int64_t i = 0; status == HONE_OK && i < count; i++) {
        tables[i]->chain = r.chain;
        tables[i]->last_checksum = r.last;
        tables[i]->sequence = listing.files[listing.count - 1].sequence;
        tables[i]->tracking = true;
        hone_table_forget_settings(tables[i]);
    }
    hone_snapshot_list_free(&listing);
    if (report != NULL)
        *report = r.report;
    return status;
}

/* ---- from memory ----------------------------------------------------------------------------- */

static hone_status take_loaded(hone_table *const *tables, int64_t count,
                               const struct hone_loaded *loaded, hone_error *error)
{
    if (loaded->increment)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "'%s' are an increment's; a copy's or a full snapshot's are needed",
                         loaded->path);
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < count; i++)
        status = hone_table_check_loaded(tables[i], loaded, error);
    for (int64_t i = 0; status == HONE_OK && i < count; i++)
        status = hone_table_apply_loaded(tables[i], loaded, error);
    for (int64_t i = 0; i < count; i++)
        tables[i]->tracking = false; /* no file holds these rows */
    for (int64_t i = 0; status == HONE_OK && i < count; i++)
        hone_table_forget_settings(tables[i]);
    if (status != HONE_OK)
        clear_tables(tables, count);
    return status;
}

hone_status hone_snapshot_unpack(hone_table *const *tables, int64_t count, const void *bytes,
                                 size_t size, hone_error *error)
{
    hone_status status = check_empty(tables, count, error);
    if (status != HONE_OK)
        return status;
    struct hone_loaded loaded = {.path = "the bytes"};
    status = hone_file_read(&loaded.file, tables[0]->context, bytes, size, error);
    if (status == HONE_OK)
        status = check_file(&loaded, error);
    if (status != HONE_OK)
        return status;
    status = take_loaded(tables, count, &loaded, error);
    close_file(&loaded);
    return status;
}
