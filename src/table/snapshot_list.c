/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a directory of snapshots: "<sequence>-full.safetensors",
 * "<sequence>-increment...". */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/snapshot_internal.h"

#define DIGITS 12
#define LAST_SEQUENCE 999999999999u

hone_status hone_snapshot_path(char path[HONE_SNAPSHOT_PATH_SIZE], const char *directory,
                               const struct hone_snapshot_file *file, hone_error *error)
{
    const int length =
        snprintf(path, HONE_SNAPSHOT_PATH_SIZE, "%s/%0*" PRIu64 "-%s.safetensors", directory,
                 DIGITS, file->sequence, file->full ? "full" : "increment");
    if (length < 0 || length >= HONE_SNAPSHOT_PATH_SIZE)
        return hone_fail(error, HONE_ERROR_NAME, "the directory's path has %zu bytes; at most %d",
                         strlen(directory), HONE_SNAPSHOT_PATH_SIZE - 40);
    if (file->sequence > LAST_SEQUENCE)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "'%s' has a snapshot of number %" PRIu64 "; there is none after it",
                         directory, file->sequence - 1);
    return HONE_OK;
}

/* Other names than those written here are other files': of the numbers that scanf reads, "-1"
 * is the largest. */
static bool read_name(const char *name, struct hone_snapshot_file *file)
{
    char kind[16];
    int end = 0;
    if (strspn(name, "0123456789") != DIGITS ||
        sscanf(name, "%" SCNu64 "-%9[a-z].safetensors%n", &file->sequence, kind, &end) != 2 ||
        end == 0 || name[end] != '\0')
        return false;
    file->full = strcmp(kind, "full") == 0;
    return file->full || strcmp(kind, "increment") == 0;
}

static int by_sequence(const void *a, const void *b)
{
    const struct hone_snapshot_file *const x = a, *const y = b;
    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return (int)y->full - (int)x->full;
}

hone_status hone_snapshot_list(struct hone_snapshot_list *list, const hone_context *context,
                               const char *directory, hone_error *error)
{
    *list = (struct hone_snapshot_list){.context = context};
    DIR *const dir = opendir(directory);
    if (dir == NULL)
        return hone_fail(error, HONE_ERROR_IO, "cannot read the directory '%s': %s", directory,
                         strerror(errno));
    hone_status status = HONE_OK;
    while (status == HONE_OK) {
        struct hone_snapshot_file file;
        errno = 0; /* the end and a failure look the same but for this */
        const struct dirent *const entry = readdir(dir);
        if (entry == NULL && errno != 0)
            status = hone_fail(error, HONE_ERROR_IO, "cannot read the directory '%s': %s",
                               directory, strerror(errno));
        if (entry == NULL)
            break;
        if (!read_name(entry->d_name, &file))
            continue;
        void *files = list->files;
        status = hone_table_grow(context, &files, &list->capacity, list->count + 1,
                                 sizeof *list->files, "a list of snapshots", error);
        list->files = files;
        if (status == HONE_OK)
            list->files[list->count++] = file;
    }
    closedir(dir);
    if (status == HONE_OK && list->count > 0)
        qsort(list->files, list->count, sizeof *list->files, by_sequence);
    return status;
}

void hone_snapshot_list_free(struct hone_snapshot_list *list)
{
    hone_release(list->context, list->files, list->capacity * sizeof *list->files);
}
