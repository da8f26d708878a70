/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing safetensors files: an 8-byte little-endian header length, a JSON header, then
 * the tensors' bytes. Readers check everything before they believe it: offsets, overlaps, holes,
 * sizes, duplicate names. Writers go to a temporary file beside the target, fsync and rename, so
 * the target is either the old file or the whole new one. A writer that is killed leaves its
 * temporary file, ".hone-<16 hex digits>.tmp"; whoever next writes a file into the folder removes
 * those of the same owner to which nobody has written for more than 24 hours. */
#ifndef HONE_SAFETENSORS_H
#define HONE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include <hone/context.h>
#include <hone/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_file hone_file;

/* Opens and validates a file; the tensors' bytes are mapped, not copied (except where they lie
 * misaligned), and must not be written. The file may be replaced meanwhile, as hone_file_write
 * does, but not shortened in place. Errors: IO (with the system's reason), FORMAT (what is wrong
 * and where), DTYPE (a dtype of the format that hone has no type for), MEMORY. */
HONE_API hone_status hone_file_open(hone_file **file, const hone_context *context, const char *path,
                                    hone_error *error);

/* The same over bytes in memory, which stay the caller's and must outlive the file object. */
HONE_API hone_status hone_file_read(hone_file **file, const hone_context *context,
                                    const void *bytes, size_t size, hone_error *error);
HONE_API void hone_file_close(hone_file *file); /* NULL is accepted */

/* Tensors in the order of their bytes. Name and shape live as long as the file object. */
HONE_API int64_t hone_file_count(const hone_file *file);
HONE_API const char *hone_file_name(const hone_file *file, int64_t index); /* NULL outside */
HONE_API int64_t hone_file_find(const hone_file *file, const char *name);  /* -1 if none */
HONE_API hone_status hone_file_tensor(const hone_file *file, int64_t index, hone_tensor *tensor,
                                      hone_error *error);

/* The "__metadata__" map: value of a key, or NULL; and its entries by index. */
HONE_API const char *hone_file_metadata(const hone_file *file, const char *key);
HONE_API int64_t hone_file_metadata_count(const hone_file *file);
HONE_API const char *hone_file_metadata_key(const hone_file *file, int64_t index);

/* One entry of a file to be written. */
typedef struct hone_file_entry {
    const char *name;
    hone_tensor tensor; /* contiguous, on the CPU */
} hone_file_entry;

typedef struct hone_file_pair {
    const char *key, *value;
} hone_file_pair;

/* Writes all entries atomically to `path`, ordered by size of element, then name. Nothing is kept;
 * a symbolic link is followed; the mode of a replaced file stays. Errors: NAME for a duplicate or
 * reserved name or one that is not UTF-8, SHAPE, DTYPE, IO, FORMAT when the header passes the
 * format's 100 MB, MEMORY; `path` is untouched unless the call succeeds. */
HONE_API hone_status hone_file_write(const hone_context *context, const char *path,
                                     const hone_file_entry *entries, int64_t count,
                                     const hone_file_pair *metadata, int64_t metadata_count,
                                     hone_error *error);

/* The same file as bytes in memory: *size becomes its length, and `bytes` receives it if `capacity`
 * is at least that; else nothing is written (so NULL and 0 ask for the length). Errors as above but
 * IO. */
HONE_API hone_status hone_file_pack(const hone_context *context, void *bytes, size_t capacity,
                                    size_t *size, const hone_file_entry *entries, int64_t count,
                                    const hone_file_pair *metadata, int64_t metadata_count,
                                    hone_error *error);

#ifdef __cplusplus
}
#endif

#endif
