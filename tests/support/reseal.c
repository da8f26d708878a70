/* SPDX-License-Identifier: Apache-2.0 */
#include "support/reseal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/snapshot_internal.h"

/* Every tensor of the file; the description's list of checksums begins anew. */
static hone_file_entry *list_tensors(const hone_file *file, json_t *description)
{
    const int64_t count = hone_file_count(file);
    hone_file_entry *const entries = malloc((size_t)(count + 1) * sizeof *entries);
    json_t *const sums = json_object();
    for (int64_t i = 0; i < count; i++) {
        entries[i].name = hone_file_name(file, i);
        if (hone_file_tensor(file, i, &entries[i].tensor, NULL) != HONE_OK)
            abort();
        json_object_set_new(sums, entries[i].name,
                            hone_json_of_bits(hone_tensor_checksum(&entries[i].tensor)));
    }
    json_object_set_new(description, "sums", sums);
    return entries;
}

static bool write_sealed(const hone_context *context, const hone_file *file, json_t *description,
                         void **sealed, size_t *size)
{
    hone_file_entry *const entries = list_tensors(file, description);
    char *const text = json_dumps(description, JSON_COMPACT | JSON_SORT_KEYS);
    char sum[24];
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)hone_checksum(text, strlen(text)));
    const hone_file_pair notes[] = {{HONE_SNAPSHOT_KEY, text}, {HONE_SNAPSHOT_SUM_KEY, sum}};
    const int64_t count = hone_file_count(file);
    *sealed = NULL;
    bool done = hone_file_pack(context, NULL, 0, size, entries, count, notes, 2, NULL) == HONE_OK;
    if (done) {
        *sealed = malloc(*size);
        done = hone_file_pack(context, *sealed, *size, size, entries, count, notes, 2, NULL) ==
               HONE_OK;
    }
    free(text);
    free(entries);
    return done;
}

bool reseal_snapshot(const hone_context *context, const void *bytes, size_t size, void **sealed,
                     size_t *sealed_size)
{
    hone_file *file = NULL;
    if (hone_file_read(&file, context, bytes, size, NULL) != HONE_OK)
        return false;
    const char *const text = hone_file_metadata(file, HONE_SNAPSHOT_KEY);
    json_t *const description = text == NULL ? NULL : json_loads(text, 0, NULL);
    const bool done = json_is_object(description) &&
                      write_sealed(context, file, description, sealed, sealed_size);
    json_decref(description);
    hone_file_close(file);
    return done;
}
