/* SPDX-License-Identifier: Apache-2.0 */
/* Writing safetensors files. The layout is that of the reference implementation: widest elements
 * first, then by name, behind a header padded with spaces, so that every tensor is aligned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/atomic_file.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/text.h"

struct writer {
    const hone_context *context;
    const hone_file_entry *entries;
    int64_t count;
    const hone_file_pair *metadata;
    int64_t metadata_count;
    const hone_file_entry **ordered; /* entries in the order of their bytes */
    struct hone_text header;
};

static uint64_t tensor_bytes(const hone_tensor *tensor)
{
    return (uint64_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
}

static int compare_names(const void *left, const void *right)
{
    const hone_file_entry *a = *(const hone_file_entry *const *)left;
    const hone_file_entry *b = *(const hone_file_entry *const *)right;
    return strcmp(a->name, b->name);
}

static int compare_places(const void *left, const void *right)
{
    const hone_file_entry *a = *(const hone_file_entry *const *)left;
    const hone_file_entry *b = *(const hone_file_entry *const *)right;
    size_t a_size = hone_dtype_size(a->tensor.dtype), b_size = hone_dtype_size(b->tensor.dtype);
    if (a_size != b_size)
        return a_size > b_size ? -1 : 1;
    return strcmp(a->name, b->name);
}

static hone_status check_entry(const hone_file_entry *entry, int64_t index, hone_error *error)
{
    if (entry->name == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "entry %lld has no name", (long long)index);
    struct hone_shown name = hone_show(entry->name);
    if (!hone_is_utf8(entry->name))
        return hone_fail(error, HONE_ERROR_NAME, "the tensor name '%s' is not UTF-8", name.text);
    if (strcmp(entry->name, HONE_FILE_METADATA) == 0)
        return hone_fail(error, HONE_ERROR_NAME,
                         "a tensor cannot be called '%s': the name is "
                         "reserved for the file's metadata",
                         name.text);
    char what[sizeof(name.text) + 16];
    snprintf(what, sizeof(what), "tensor '%s'", name.text);
    return hone_tensor_check(&entry->tensor, what, error);
}

static hone_status check_entries(struct writer *writer, hone_error *error)
{
    for (int64_t i = 0; i < writer->count; i++) {
        hone_status status = check_entry(&writer->entries[i], i, error);
        if (status != HONE_OK)
            return status;
        writer->ordered[i] = &writer->entries[i];
    }
    if (writer->count > 1)
        qsort(writer->ordered, (size_t)writer->count, sizeof(*writer->ordered), compare_names);
    for (int64_t i = 1; i < writer->count; i++)
        if (strcmp(writer->ordered[i - 1]->name, writer->ordered[i]->name) == 0)
            return hone_fail(error, HONE_ERROR_NAME,
                             "two tensors are called '%s'; names must be "
                             "unique",
                             hone_show(writer->ordered[i]->name).text);
    if (writer->count > 1)
        qsort(writer->ordered, (size_t)writer->count, sizeof(*writer->ordered), compare_places);
    return HONE_OK;
}

static hone_status check_pair(const struct writer *writer, int64_t index, hone_error *error)
{
    const hone_file_pair *pair = &writer->metadata[index];
    if (pair->key == NULL || pair->value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "metadata entry %lld has no %s",
                         (long long)index, pair->key == NULL ? "key" : "value");
    if (!hone_is_utf8(pair->key) || !hone_is_utf8(pair->value))
        return hone_fail(error, HONE_ERROR_NAME, "the metadata entry '%s' is not UTF-8",
                         hone_show(pair->key).text);
    for (int64_t i = 0; i < index; i++)
        if (strcmp(pair->key, writer->metadata[i].key) == 0)
            return hone_fail(error, HONE_ERROR_NAME,
                             "two metadata entries are called '%s'; keys "
                             "must be unique",
                             hone_show(pair->key).text);
    return HONE_OK;
}

static void write_metadata(struct writer *writer)
{
    struct hone_text *header = &writer->header;
    hone_text_string(header, "\"" HONE_FILE_METADATA "\":{");
    for (int64_t i = 0; i < writer->metadata_count; i++) {
        const hone_file_pair *pair = &writer->metadata[i];
        if (i > 0)
            hone_text_string(header, ",");
        hone_text_json(header, pair->key, strlen(pair->key));
        hone_text_string(header, ":");
        hone_text_json(header, pair->value, strlen(pair->value));
    }
    hone_text_string(header, "}");
}

static void write_tensor_entry(struct hone_text *header, const hone_file_entry *entry,
                               uint64_t begin, uint64_t end)
{
    hone_text_json(header, entry->name, strlen(entry->name));
    hone_text_string(header, ":{\"dtype\":\"");
    hone_text_string(header, hone_dtype_name(entry->tensor.dtype));
    hone_text_string(header, "\",\"shape\":");
    hone_text_shape(header, entry->tensor.ndim, entry->tensor.shape);
    hone_text_string(header, ",\"data_offsets\":[");
    hone_text_integer(header, begin);
    hone_text_string(header, ",");
    hone_text_integer(header, end);
    hone_text_string(header, "]}");
}

static hone_status write_header(struct writer *writer, hone_error *error)
{
    struct hone_text *header = &writer->header;
    hone_text_string(header, "{");
    if (writer->metadata_count > 0)
        write_metadata(writer);
    uint64_t begin = 0;
    for (int64_t i = 0; i < writer->count; i++) {
        const hone_file_entry *entry = writer->ordered[i];
        uint64_t end;
        if (__builtin_add_overflow(begin, tensor_bytes(&entry->tensor), &end) || end > INT64_MAX)
            return hone_fail(error, HONE_ERROR_SHAPE, "tensor '%s' ends beyond 2^63 bytes",
                             hone_show(entry->name).text);
        if (i > 0 || writer->metadata_count > 0)
            hone_text_string(header, ",");
        write_tensor_entry(header, entry, begin, end);
        begin = end;
    }
    hone_text_string(header, "}");
    while (!header->failed && header->length % HONE_FILE_PREFIX != 0)
        hone_text_string(header, " ");
    if (header->failed)
        return hone_fail_memory(error, header->capacity, "a file's header");
    if (header->length > HONE_FILE_HEADER_MAX)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the names, shapes and metadata take %zu bytes; "
                         "the format's header holds at most %zu",
                         header->length, HONE_FILE_HEADER_MAX);
    return HONE_OK;
}

static hone_status write_everything(const struct writer *writer, struct hone_atomic_file *file,
                                    hone_error *error)
{
    uint64_t length = writer->header.length;
    hone_status status = hone_atomic_write(file, &length, sizeof(length), error);
    if (status == HONE_OK)
        status = hone_atomic_write(file, writer->header.bytes, writer->header.length, error);
    for (int64_t i = 0; i < writer->count && status == HONE_OK; i++) {
        const hone_tensor *tensor = &writer->ordered[i]->tensor;
        status = hone_atomic_write(file, tensor->data, (size_t)tensor_bytes(tensor), error);
    }
    return status == HONE_OK ? hone_atomic_commit(file, error) : status;
}

/* Checks everything and writes the header; whatever happens, call finish. */
static hone_status prepare(struct writer *writer, hone_error *error)
{
    if (writer->context == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a file to write: context is NULL");
    if (writer->count < 0 || writer->metadata_count < 0)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a file to write: a count is negative");
    const bool no_entries = writer->entries == NULL && writer->count > 0;
    if (no_entries || (writer->metadata == NULL && writer->metadata_count > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a file to write: %s is NULL",
                         no_entries ? "entries" : "metadata");
    size_t size;
    if (__builtin_mul_overflow((size_t)writer->count, sizeof(*writer->ordered), &size))
        return hone_fail_memory(error, SIZE_MAX, "a file's entries");
    writer->ordered = hone_allocate(writer->context, size);
    if (writer->ordered == NULL)
        return hone_fail_memory(error, size, "a file's entries");
    hone_text_start(&writer->header, writer->context);
    hone_status status = check_entries(writer, error);
    for (int64_t i = 0; i < writer->metadata_count && status == HONE_OK; i++)
        status = check_pair(writer, i, error);
    return status == HONE_OK ? write_header(writer, error) : status;
}

static void finish(struct writer *writer)
{
    if (writer->ordered == NULL)
        return;
    hone_text_release(&writer->header);
    hone_release(writer->context, writer->ordered,
                 (size_t)writer->count * sizeof(*writer->ordered));
}

static hone_status write_file(const struct writer *writer, const char *path, hone_error *error)
{
    if (path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a file to write: path is NULL");
    struct hone_atomic_file file;
    hone_status status = hone_atomic_start(&file, writer->context, path, error);
    if (status == HONE_OK)
        status = write_everything(writer, &file, error);
    hone_atomic_end(&file);
    return status;
}

hone_status hone_file_write(const hone_context *context, const char *path,
                            const hone_file_entry *entries, int64_t count,
                            const hone_file_pair *metadata, int64_t metadata_count,
                            hone_error *error)
{
    struct writer writer = {.context = context,
                            .entries = entries,
                            .count = count,
                            .metadata = metadata,
                            .metadata_count = metadata_count};
    hone_status status = prepare(&writer, error);
    if (status == HONE_OK)
        status = write_file(&writer, path, error);
    finish(&writer);
    return status;
}

/* ---- into memory ----------------------------------------------------------------------------- */

static size_t file_size(const struct writer *writer)
{
    uint64_t size = HONE_FILE_PREFIX + writer->header.length;
    for (int64_t i = 0; i < writer->count; i++)
        size += tensor_bytes(&writer->ordered[i]->tensor);
    return (size_t)size;
}

static char *append(char *to, const void *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
    return to + size;
}

hone_status hone_file_pack(const hone_context *context, void *bytes, size_t capacity, size_t *size,
                           const hone_file_entry *entries, int64_t count,
                           const hone_file_pair *metadata, int64_t metadata_count,
                           hone_error *error)
{
    if (size == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "a file to write: size is NULL");
    struct writer writer = {.context = context,
                            .entries = entries,
                            .count = count,
                            .metadata = metadata,
                            .metadata_count = metadata_count};
    const hone_status status = prepare(&writer, error);
    if (status == HONE_OK)
        *size = file_size(&writer);
    if (status == HONE_OK && bytes != NULL && capacity >= *size) {
        const uint64_t length = writer.header.length;
        char *to = append(bytes, &length, sizeof(length));
        to = append(to, writer.header.bytes, writer.header.length);
        for (int64_t i = 0; i < count; i++)
            to = append(to, writer.ordered[i]->tensor.data,
                        (size_t)tensor_bytes(&writer.ordered[i]->tensor));
    }
    finish(&writer);
    return status;
}
