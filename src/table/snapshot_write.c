/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot as a file: its parts, the caller's tensors, and metadata with the checksum of each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/snapshot_internal.h"

static size_t tensor_size(const hone_tensor *tensor)
{
    return (size_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
}

static int64_t part_total(const hone_snapshot *snapshot)
{
    int64_t total = 0;
    for (int64_t i = 0; i < snapshot->count; i++)
        total += snapshot->tables[i].part_count;
    return total;
}

static void list_parts(const hone_snapshot *snapshot, hone_file_entry *entries)
{
    for (int64_t i = 0; i < snapshot->count; i++)
        for (int p = 0; p < snapshot->tables[i].part_count; p++) {
            const struct hone_part *const part = &snapshot->tables[i].parts[p];
            entries->name = part->name;
            entries->tensor = hone_tensor_view(part->data, part->dtype, part->ndim, part->shape);
            entries++;
        }
}

/* The metadata as text, to be freed with free(); NULL: out of memory. */
static char *describe(const hone_snapshot *snapshot, const hone_file_entry *entries, int64_t count)
{
    json_t *const all = json_object(), *const sums = json_object(), *const tables = json_object();
    int failed = 0;
    for (int64_t i = 0; i < count; i++) {
        const hone_tensor *const tensor = &entries[i].tensor;
        failed |= json_object_set_new(
            sums, entries[i].name,
            hone_json_of_bits(hone_checksum(tensor->data, tensor_size(tensor))));
    }
    for (int64_t i = 0; i < snapshot->count; i++)
        failed |=
            json_object_set(tables, snapshot->tables[i].table->name, snapshot->tables[i].facts);
    static const char *const kinds[] = {"full", "increment", "copy"};
    const char *const kind = kinds[snapshot->kind];
    failed |= json_object_set_new(all, "format", json_integer(HONE_SNAPSHOT_FORMAT));
    failed |= json_object_set_new(all, "kind", json_string(kind));
    failed |= json_object_set_new(all, "chain", hone_json_of_bits(snapshot->chain));
    failed |= json_object_set_new(all, "sequence", hone_json_of_bits(snapshot->sequence));
    failed |= json_object_set_new(all, "before", hone_json_of_bits(snapshot->before));
    failed |= json_object_set_new(all, "checksum", hone_json_of_bits(snapshot->checksum));
    failed |= json_object_set_new(all, "tables", tables);
    failed |= json_object_set_new(all, "sums", sums);
    char *const text = failed ? NULL : json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    return text;
}

static hone_status check_extras(const hone_file_entry *extras, int64_t count, hone_error *error)
{
    if (count < 0 || (count > 0 && extras == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%lld extras at %s", (long long)count,
                         extras == NULL ? "NULL" : "an address");
    for (int64_t i = 0; i < count; i++) {
        const hone_status status = hone_tensor_numel(&extras[i].tensor) < 0
                                       ? hone_fail(error, HONE_ERROR_SHAPE,
                                                   "extra %lld has a negative length", (long long)i)
                                       : HONE_OK;
        if (status != HONE_OK)
            return status;
        if (extras[i].name == NULL)
            return hone_fail(error, HONE_ERROR_NAME, "extra %lld has no name", (long long)i);
    }
    return HONE_OK;
}

hone_status hone_snapshot_write(hone_snapshot *snapshot, const char *directory,
                                const hone_file_entry *extras, int64_t extra_count,
                                hone_error *error)
{
    hone_status status = check_extras(extras, extra_count, error);
    if (status != HONE_OK)
        return status;
    if (snapshot->kind == HONE_SNAPSHOT_COPY)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a copy belongs to no directory; hone_snapshot_pack writes it");
    char path[HONE_SNAPSHOT_PATH_SIZE];
    const int length =
        snprintf(path, sizeof path, "%s/%012" PRIu64 "-%s.safetensors", directory,
                 snapshot->sequence, snapshot->kind == HONE_SNAPSHOT_FULL ? "full" : "increment");
    if (length < 0 || (size_t)length >= sizeof path)
        return hone_fail(error, HONE_ERROR_NAME, "the directory's path has %zu bytes; at most %d",
                         strlen(directory), HONE_SNAPSHOT_PATH_SIZE - 40);
    const int64_t parts = part_total(snapshot), count = parts + extra_count;
    const size_t size = (size_t)count * sizeof(hone_file_entry);
    hone_file_entry *const entries = hone_allocate(snapshot->context, size);
    if (entries == NULL)
        return hone_fail_memory(error, size, "a snapshot's entries");
    list_parts(snapshot, entries);
    if (extra_count > 0)
        memcpy(entries + parts, extras, (size_t)extra_count * sizeof *entries);
    hone_snapshot_seal(snapshot);
    char *const text = describe(snapshot, entries, count);
    const hone_file_pair note = {HONE_SNAPSHOT_KEY, text};
    status = text == NULL
                 ? hone_fail_memory(error, size, "a snapshot's metadata")
                 : hone_file_write(snapshot->context, path, entries, count, &note, 1, error);
    free(text);
    hone_release(snapshot->context, entries, size);
    if (status == HONE_OK)
        snapshot->written = true;
    return status;
}

hone_status hone_snapshot_pack(const hone_snapshot *snapshot, void *bytes, size_t capacity,
                               size_t *size, hone_error *error)
{
    if (snapshot == NULL || snapshot->kind != HONE_SNAPSHOT_COPY)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "the snapshot is %s; only copies are packed",
                         snapshot == NULL ? "NULL" : "one for a directory");
    const int64_t count = part_total(snapshot);
    const size_t list = (size_t)count * sizeof(hone_file_entry);
    hone_file_entry *const entries = hone_allocate(snapshot->context, list);
    if (entries == NULL)
        return hone_fail_memory(error, list, "a snapshot's entries");
    list_parts(snapshot, entries);
    char *const text = describe(snapshot, entries, count);
    const hone_file_pair note = {HONE_SNAPSHOT_KEY, text};
    const hone_status status = text == NULL ? hone_fail_memory(error, list, "a snapshot's metadata")
                                            : hone_file_pack(snapshot->context, bytes, capacity,
                                                             size, entries, count, &note, 1, error);
    free(text);
    hone_release(snapshot->context, entries, list);
    return status;
}
