/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears at its path whole or not at all: written beside the target under a
 * name that never comes twice, synced, then renamed over it. Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_ATOMIC_FILE_H
#define HONE_CHECKPOINT_ATOMIC_FILE_H

#include "core/core.h"

struct hone_atomic_file {
    const hone_context *context;
    char *target;                /* where it is to appear, symbolic links resolved */
    char *directory, *temporary; /* where the target is, and what it is called there meanwhile */
    size_t directory_size, temporary_size;
    bool named;     /* it is at `temporary`, to be removed unless it is renamed */
    int descriptor; /* -1 when closed */
};

/* Creates the temporary file with the mode of the file it will replace, or else that of a new file.
 * Only a regular file is ever replaced. What killed writers left in the folder more than a day ago
 * is removed. Whatever happens, call hone_atomic_end. */
hone_status hone_atomic_start(struct hone_atomic_file *file, const hone_context *context,
                              const char *path, hone_error *error);
hone_status hone_atomic_write(struct hone_atomic_file *file, const void *bytes, size_t size,
                              hone_error *error);

/* Syncs and renames: after HONE_OK the new file is at the path. */
hone_status hone_atomic_commit(struct hone_atomic_file *file, hone_error *error);

/* Releases everything, and removes the temporary file if it was not committed. */
void hone_atomic_end(struct hone_atomic_file *file);

/* IO with the system's reason for `code` (an errno): "cannot <doing> '<path>': <reason>". */
hone_status hone_fail_system(hone_error *error, int code, const char *doing, const char *path);

#endif
