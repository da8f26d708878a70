/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader and the writer of safetensors files both know about the format. Private to
 * src/checkpoint. */
#ifndef HONE_CHECKPOINT_SAFETENSORS_FORMAT_H
#define HONE_CHECKPOINT_SAFETENSORS_FORMAT_H

#include "core/core.h"

/* Numbers in these files are little-endian and are copied as they are. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "hone reads and writes safetensors files on little-endian machines only"
#endif

#define HONE_FILE_PREFIX 8                       /* bytes of the header's length */
#define HONE_FILE_HEADER_MAX ((size_t)100000000) /* the reference implementation's limit */
#define HONE_FILE_METADATA "__metadata__"

/* The dtype of this name in the format; false if hone has none. */
bool hone_find_dtype(hone_dtype *dtype, const char *name);

#endif
