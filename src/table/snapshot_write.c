/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot as a file: its parts, the caller's tensors, and metadata with the checksum of each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/snapshot_internal.h"

static int64_t part_total(const hone_snapshot *snapshot)
{
    int64_t total = 0;
    for (int64_t i = 0; i < snapshot->count; i++)
        total += snapshot->tables[i].part_count;
    return total;
}

/* Everything that a file holds. */
struct contents {
    hone_file_entry *entries; /* the parts, then the caller's */
    uint64_t *sums;           /* their checksums */
    int64_t parts, count;
    char *text; /* the description, and its checksum: */
    char sum[24];
    hone_file_pair notes[2];
};

static void free_contents(const hone_snapshot *snapshot, struct contents *c)
{
    const size_t count = (size_t)c->count;
    hone_release(snapshot->context, c->entries, count * sizeof *c->entries);
    hone_release(snapshot->context, c->sums, count * sizeof *c->sums);
    json_free_t release; /* the program may have given jansson an allocator of its own */
    json_get_alloc_funcs(NULL, &release);
    if (c->text != NULL) /* which that one's release need not take */
        release(c->text);
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

/* The description as text, in jansson's memory; NULL: out of memory. */
static char *describe(const hone_snapshot *snapshot, const struct contents *c)
{
    json_t *const all = json_object(), *const sums = json_object(), *const tables = json_object();
    int failed = 0;
    for (int64_t i = 0; i < c->count; i++)
        failed |= json_object_set_new(sums, c->entries[i].name, hone_json_of_bits(c->sums[i]));
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

static hone_status make_contents(const hone_snapshot *snapshot, struct contents *c,
                                 const hone_file_entry *extras, int64_t extra_count,
                                 hone_error *error)
{
    *c = (struct contents){.parts = part_total(snapshot)};
    c->count = c->parts + extra_count;
    const size_t count = (size_t)c->count;
    c->entries = hone_allocate(snapshot->context, count * sizeof *c->entries);
    c->sums = hone_allocate(snapshot->context, count * sizeof *c->sums);
    if (c->entries == NULL || c->sums == NULL)
        return hone_fail_memory(error, count * sizeof *c->entries, "a snapshot's entries");
    list_parts(snapshot, c->entries);
    if (extra_count > 0)
        memcpy(c->entries + c->parts, extras, (size_t)extra_count * sizeof *extras);
    for (int64_t i = 0; i < c->count; i++)
        c->sums[i] = hone_tensor_checksum(&c->entries[i].tensor);
    return HONE_OK;
}

/* After the snapshot has been sealed. */
static hone_status add_notes(const hone_snapshot *snapshot, struct contents *c, hone_error *error)
{
    c->text = describe(snapshot, c);
    if (c->text == NULL)
        return hone_fail_memory(error, (size_t)c->count * sizeof *c->entries,
                                "a snapshot's description");
    snprintf(c->sum, sizeof c->sum, "%016" PRIx64, hone_checksum(c->text, strlen(c->text)));
    c->notes[0] = (hone_file_pair){HONE_SNAPSHOT_KEY, c->text};
    c->notes[1] = (hone_file_pair){HONE_SNAPSHOT_SUM_KEY, c->sum};
    return HONE_OK;
}

static hone_status check_extras(const hone_file_entry *extras, int64_t count, hone_error *error)
{
    if (count < 0 || (count > 0 && extras == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%lld extras at %s", (long long)count,
                         extras == NULL ? "NULL" : "an address");
    hone_status status = HONE_OK;
    for (int64_t i = 0; status == HONE_OK && i < count; i++) {
        char what[80];
        if (extras[i].name == NULL)
            return hone_fail(error, HONE_ERROR_NAME, "extra %lld has no name", (long long)i);
        snprintf(what, sizeof what, "extra '%.60s'", extras[i].name);
        status =
            hone_tensor_check(&extras[i].tensor, what, error); /* it is read before it is written */
    }
    return status;
}

/* A full snapshot begins anew, but never under a number that the directory has had: it would be
 * taken for older than what stands there from another run. */
static hone_status choose_path(hone_snapshot *snapshot, const char *directory,
                               char path[HONE_SNAPSHOT_PATH_SIZE], hone_error *error)
{
    const bool full = snapshot->kind == HONE_SNAPSHOT_FULL;
    if (full) {
        struct hone_snapshot_list list;
        const hone_status status = hone_snapshot_list(&list, snapshot->context, directory, error);
        const uint64_t last = list.count == 0 ? 0 : list.files[list.count - 1].sequence;
        hone_snapshot_list_free(&list);
        if (status != HONE_OK)
            return status;
        if (snapshot->sequence <= last)
            snapshot->sequence = last + 1;
    }
    const struct hone_snapshot_file file = {snapshot->sequence, full};
    return hone_snapshot_path(path, directory, &file, error);
}

hone_status hone_snapshot_write(hone_snapshot *snapshot, const char *directory,
                                const hone_file_entry *extras, int64_t extra_count,
                                hone_error *error)
{
    if (snapshot == NULL || directory == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "%s is NULL",
                         snapshot == NULL ? "snapshot" : "directory");
    hone_status status = check_extras(extras, extra_count, error);
    if (status != HONE_OK)
        return status;
    if (snapshot->kind == HONE_SNAPSHOT_COPY)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "a copy belongs to no directory; hone_snapshot_pack writes it");
    char path[HONE_SNAPSHOT_PATH_SIZE];
    status = choose_path(snapshot, directory, path, error);
    if (status != HONE_OK)
        return status;
    struct contents c;
    status = make_contents(snapshot, &c, extras, extra_count, error);
    if (status == HONE_OK) {
        hone_snapshot_seal(snapshot, c.sums, c.parts);
        status = add_notes(snapshot, &c, error);
    }
    if (status == HONE_OK)
        status = hone_file_write(snapshot->context, path, c.entries, c.count, c.notes, 2, error);
    free_contents(snapshot, &c);
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
    struct contents c;
    hone_status status = make_contents(snapshot, &c, NULL, 0, error);
    if (status == HONE_OK)
        status = add_notes(snapshot, &c, error);
    if (status == HONE_OK)
        status = hone_file_pack(snapshot->context, bytes, capacity, size, c.entries, c.count,
                                c.notes, 2, error);
    free_contents(snapshot, &c);
    return status;
}
