/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file as read-only memory. Private to src/checkpoint. */
#ifndef HONE_CHECKPOINT_MAPPED_FILE_H
#define HONE_CHECKPOINT_MAPPED_FILE_H

#include "core/core.h"

/* Errors: IO with the system's reason, or when it is no regular file; FORMAT when it is empty. The
 * file may be replaced while it is mapped, but not shortened in place. */
hone_status hone_map_file(const void **bytes, size_t *size, const char *path, hone_error *error);
void hone_unmap_file(const void *bytes, size_t size);

#endif
