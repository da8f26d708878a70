/* SPDX-License-Identifier: Apache-2.0 */
/* Opening safetensors files, by mapping them or over bytes in memory, and looking into them. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_file.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/text.h"

#define COPY_ALIGNMENT 64 /* of every tensor in the aligned copy */

/* ---- misaligned tensors --------------------------------------------------------------------- */

static bool is_misaligned(const hone_file *file, const struct hone_file_tensor *tensor)
{
    size_t size = hone_dtype_size(tensor->dtype);
    size_t alignment = size > 8 ? 8 : size; /* complex numbers need no more than their reals */
    return tensor->begin < tensor->end &&
           (uintptr_t)(file->bytes + file->data_start + tensor->begin) % alignment != 0;
}

static size_t copy_size(const struct hone_file_tensor *tensor)
{
    size_t bytes = (size_t)(tensor->end - tensor->begin);
    return (bytes + COPY_ALIGNMENT - 1) / COPY_ALIGNMENT * COPY_ALIGNMENT;
}

/* Points every tensor at its bytes. Files whose header is not padded, or that mix element sizes in
 * an odd order, hold some where the processor's loads must not go: those are copied, once. */
static hone_status place_tensors(hone_file *file, hone_error *error)
{
    for (int64_t i = 0; i < file->count; i++)
        if (is_misaligned(file, &file->tensors[i]))
            file->copies_size += copy_size(&file->tensors[i]);
    if (file->copies_size > 0) {
        file->copies = hone_allocate_aligned(file->context, file->copies_size, COPY_ALIGNMENT);
        if (file->copies == NULL)
            return hone_fail_memory(error, file->copies_size, "copies of misaligned tensors");
    }
    unsigned char *room = file->copies;
    for (int64_t i = 0; i < file->count; i++) {
        struct hone_file_tensor *tensor = &file->tensors[i];
        const unsigned char *bytes = file->bytes + file->data_start + tensor->begin;
        tensor->data = tensor->begin == tensor->end ? NULL : bytes;
        if (!is_misaligned(file, tensor))
            continue;
        tensor->data = memcpy(room, bytes, (size_t)(tensor->end - tensor->begin));
        room += copy_size(tensor);
    }
    return HONE_OK;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static hone_status parse_file(hone_file *file, hone_error *error)
{
    if (file->size < HONE_FILE_PREFIX)
        return hone_fail_at(
            error, HONE_ERROR_FORMAT, 0,
            "it holds %zu bytes; a safetensors file begins with the %d bytes of its "
            "header's length",
            file->size, HONE_FILE_PREFIX);
    uint64_t length, available = file->size - HONE_FILE_PREFIX;
    memcpy(&length, file->bytes, sizeof(length));
    if (length > HONE_FILE_HEADER_MAX)
        return hone_fail_at(error, HONE_ERROR_FORMAT, 0,
                            "the header's length is given as %llu bytes; at most %zu are allowed "
                            "(is this a safetensors file?)",
                            (unsigned long long)length, HONE_FILE_HEADER_MAX);
    if (length > available)
        return hone_fail_at(error, HONE_ERROR_FORMAT, 0,
                            "the header's length is given as %llu bytes, but only %llu follow",
                            (unsigned long long)length, (unsigned long long)available);
    file->data_start = HONE_FILE_PREFIX + (size_t)length;
    hone_status status = hone_file_parse_header(file, error);
    return status == HONE_OK ? place_tensors(file, error) : status;
}

void hone_file_close(hone_file *file)
{
    if (file == NULL)
        return;
    const hone_context *context = file->context;
    if (file->copies != NULL)
        hone_release(context, file->copies, file->copies_size);
    if (file->index != NULL)
        hone_release(context, file->index, file->index_size);
    if (file->mapped)
        hone_unmap_file(file->bytes, file->size);
    hone_release(context, file, sizeof(*file));
}

/* Over bytes that become the file's when `mapped`, unless the call fails. */
static hone_status read_bytes(hone_file **result, const hone_context *context, const void *bytes,
                              size_t size, bool mapped, hone_error *error)
{
    hone_file *file = hone_allocate_zeroed(context, sizeof(*file));
    if (file == NULL)
        return hone_fail_memory(error, sizeof(*file), "a file");
    file->context = context;
    file->bytes = bytes;
    file->size = size;
    hone_status status = parse_file(file, error);
    if (status != HONE_OK) {
        hone_file_close(file);
        return status;
    }
    file->mapped = mapped;
    *result = file;
    return HONE_OK;
}

hone_status hone_file_read(hone_file **file, const hone_context *context, const void *bytes,
                           size_t size, hone_error *error)
{
    if (file == NULL || context == NULL || (bytes == NULL && size > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_file_read: %s is NULL",
                         file == NULL      ? "file"
                         : context == NULL ? "context"
                                           : "bytes");
    return read_bytes(file, context, bytes, size, false, error);
}

hone_status hone_file_open(hone_file **file, const hone_context *context, const char *path,
                           hone_error *error)
{
    if (file == NULL || context == NULL || path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_file_open: %s is NULL",
                         file == NULL      ? "file"
                         : context == NULL ? "context"
                                           : "path");
    const void *bytes = NULL;
    size_t size = 0;
    hone_status status = hone_map_file(&bytes, &size, path, error);
    if (status != HONE_OK)
        return status;
    hone_error inner = {.offset = -1};
    status = read_bytes(file, context, bytes, size, true, &inner);
    if (status == HONE_OK)
        return HONE_OK;
    hone_unmap_file(bytes, size);
    return hone_fail_at(error, status, inner.offset, "'%.500s': %s", path, inner.message);
}

/* ---- looking inside ------------------------------------------------------------------------- */

int64_t hone_file_count(const hone_file *file)
{
    return file == NULL ? 0 : file->count;
}

static bool has_tensor(const hone_file *file, int64_t index)
{
    return file != NULL && index >= 0 && index < file->count;
}

const char *hone_file_name(const hone_file *file, int64_t index)
{
    return has_tensor(file, index) ? file->tensors[index].name : NULL;
}

static int compare_key(const void *key, const void *element)
{
    const struct hone_file_tensor *tensor = *(const struct hone_file_tensor *const *)element;
    return strcmp(key, tensor->name);
}

int64_t hone_file_find(const hone_file *file, const char *name)
{
    if (file == NULL || name == NULL || file->count == 0)
        return -1;
    const struct hone_file_tensor **found =
        bsearch(name, file->by_name, (size_t)file->count, sizeof(*file->by_name), compare_key);
    return found == NULL ? -1 : *found - file->tensors;
}

hone_status hone_file_tensor(const hone_file *file, int64_t index, hone_tensor *tensor,
                             hone_error *error)
{
    if (file == NULL || tensor == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_file_tensor: %s is NULL",
                         file == NULL ? "file" : "tensor");
    if (!has_tensor(file, index))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "hone_file_tensor: there is no tensor %lld; the file has %lld",
                         (long long)index, (long long)file->count);
    const struct hone_file_tensor *entry = &file->tensors[index];
    *tensor =
        hone_tensor_view((void *)(uintptr_t)entry->data, entry->dtype, entry->ndim, entry->shape);
    return HONE_OK;
}

const char *hone_file_metadata(const hone_file *file, const char *key)
{
    if (file == NULL || key == NULL)
        return NULL;
    for (int64_t i = 0; i < file->note_count; i++)
        if (strcmp(file->notes[i].key, key) == 0)
            return file->notes[i].value;
    return NULL;
}

int64_t hone_file_metadata_count(const hone_file *file)
{
    return file == NULL ? 0 : file->note_count;
}

const char *hone_file_metadata_key(const hone_file *file, int64_t index)
{
    bool inside = file != NULL && index >= 0 && index < file->note_count;
    return inside ? file->notes[index].key : NULL;
}
