/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files whose content was changed by hand, under checksums that fit it again: what stands
 * behind the checksums is only reached so. */
#ifndef SUPPORT_RESEAL_H
#define SUPPORT_RESEAL_H

#include <stdbool.h>
#include <stddef.h>

#include <hone/hone.h>

/* A new file of the tensors and the description in `bytes`, to be released with free. False if they
 * are no safetensors file, or one without a description. */
bool reseal_snapshot(const hone_context *context, const void *bytes, size_t size, void **sealed,
                     size_t *sealed_size);

#endif
