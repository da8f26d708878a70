/* SPDX-License-Identifier: Apache-2.0 */
/* Masks in safetensors files: dense BOOL and U8 tensors as anyone may write them, and hone's own
 * layout, words or positions with the shapes in the metadata. docs/masks.md has it in full. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <hone/safetensors.h>

#include "checkpoint/mask_file.h"
#include "checkpoint/text.h"
#include "core/json_load.h"

#define METADATA_KEY "hone_masks"
#define VERSION 1

/* ---- dense tensors -------------------------------------------------------------------------- */

static hone_status load_dense_tensor(struct hone_mask_load *load, const hone_file *file,
                                     int64_t index)
{
    const char *const name = hone_file_name(file, index);
    hone_tensor tensor;
    hone_status status = hone_file_tensor(file, index, &tensor, load->error);
    if (status != HONE_OK)
        return status;
    if (tensor.dtype != HONE_BOOL && tensor.dtype != HONE_U8)
        return hone_mask_load_fail(load, HONE_ERROR_DTYPE, name,
                                   "the tensor is %s; a file without the metadata '" METADATA_KEY
                                   "' holds masks as BOOL or U8",
                                   hone_dtype_name(tensor.dtype));
    status = hone_mask_load_reserve(load, name, tensor.ndim, tensor.shape);
    if (status != HONE_OK)
        return status;
    hone_mask *mask = NULL;
    hone_error reason;
    status = hone_mask_from_dense(&mask, load->context, &tensor, &reason);
    return hone_mask_load_add(load, name, status, &reason, mask, HONE_MASK_DENSE);
}

static hone_status load_dense_tensors(struct hone_mask_load *load, const hone_file *file)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < hone_file_count(file) && status == HONE_OK; i++)
        status = load_dense_tensor(load, file, i);
    return status;
}

/* ---- reading hone's layout ------------------------------------------------------------------ */

/* A whole number from 0 on; -1 if it is none. */
static int64_t whole(const json_t *value)
{
    const double number = json_number_value(value);
    return json_is_number(value) && number >= 0 && number < 0x1p53 && number == floor(number)
               ? (int64_t)number
               : -1;
}

static hone_status take_shape(struct hone_mask_load *load, const char *name, const json_t *value,
                              int32_t *ndim, int64_t *shape)
{
    const size_t count = json_array_size(value);
    bool valid = json_is_array(value) && count <= HONE_MASK_MAX_NDIM;
    for (size_t i = 0; valid && i < count; i++) {
        shape[i] = whole(json_array_get(value, i));
        valid = shape[i] >= 0;
    }
    if (!valid)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "its 'shape' in the metadata must be a list of at most %d whole "
                                   "numbers",
                                   HONE_MASK_MAX_NDIM);
    *ndim = (int32_t)count;
    return HONE_OK;
}

static hone_status check_count(struct hone_mask_load *load, const char *name, const json_t *about,
                               const hone_tensor *tensor, const hone_mask *mask)
{
    const int64_t expected = whole(json_object_get(about, "true")), found = hone_mask_count(mask);
    const bool repeated = tensor->dtype != HONE_U32 && found != tensor->shape[0];
    if (found == expected && !repeated)
        return HONE_OK;
    return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                               "%" PRId64
                               " different elements are true; its 'true' in the metadata "
                               "and the length of its positions must say so",
                               found);
}

static hone_status load_own(struct hone_mask_load *load, const hone_file *file, const char *name,
                            const json_t *about)
{
    const int64_t index = hone_file_find(file, name);
    if (index < 0)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "the metadata speaks of it, but the file has no such tensor");
    hone_tensor tensor;
    int32_t ndim = 0;
    int64_t shape[HONE_MASK_MAX_NDIM];
    hone_status status = hone_file_tensor(file, index, &tensor, load->error);
    if (status == HONE_OK)
        status = take_shape(load, name, json_object_get(about, "shape"), &ndim, shape);
    if (status == HONE_OK)
        status = hone_mask_load_reserve(load, name, ndim, shape);
    if (status != HONE_OK)
        return status;
    hone_mask *mask = NULL;
    hone_error reason;
    status = tensor.dtype == HONE_U32
                 ? hone_mask_from_words(&mask, load->context, ndim, shape, &tensor, &reason)
                 : hone_mask_from_positions(&mask, load->context, ndim, shape, &tensor, &reason);
    if (status == HONE_OK) {
        status = check_count(load, name, about, &tensor, mask);
        if (status != HONE_OK) {
            hone_mask_free(mask);
            return status;
        }
    }
    return hone_mask_load_add(load, name, status, &reason, mask,
                              tensor.dtype == HONE_U32 ? HONE_MASK_BITMAP : HONE_MASK_COMPACT);
}

static hone_status load_notes(struct hone_mask_load *load, json_t *notes)
{
    const char *key;
    json_t *value;
    hone_status status = HONE_OK;
    json_object_foreach(notes, key, value)
    {
        if (status == HONE_OK && json_is_string(value))
            status = hone_mask_set_note(load->set, key, json_string_value(value), load->error);
    }
    return status;
}

static hone_status load_own_masks(struct hone_mask_load *load, const hone_file *file,
                                  const json_t *metadata)
{
    json_t *const masks = json_object_get(metadata, "masks");
    if (whole(json_object_get(metadata, "version")) != VERSION || !json_is_object(masks))
        return hone_fail(load->error, HONE_ERROR_FORMAT,
                         "the metadata '" METADATA_KEY "' must have the 'version' %d and 'masks'",
                         VERSION);
    if (hone_file_count(file) != (int64_t)json_object_size(masks))
        return hone_fail(load->error, HONE_ERROR_FORMAT,
                         "the file has %" PRId64 " tensors; its metadata speaks of %zu masks",
                         hone_file_count(file), json_object_size(masks));
    const char *name;
    json_t *about;
    hone_status status = HONE_OK;
    json_object_foreach(masks, name, about)
    {
        if (status == HONE_OK)
            status = load_own(load, file, name, about);
    }
    return status == HONE_OK ? load_notes(load, json_object_get(metadata, "notes")) : status;
}

static hone_status load_file(struct hone_mask_load *load, const hone_file *file)
{
    const char *const text = hone_file_metadata(file, METADATA_KEY);
    if (text == NULL)
        return load_dense_tensors(load, file);
    json_t *metadata = NULL;
    hone_error reason = {.offset = -1};
    hone_status status = hone_json_load(&metadata, text, strlen(text), &reason);
    if (status != HONE_OK)
        return hone_fail(load->error, status == HONE_ERROR_SPEC ? HONE_ERROR_FORMAT : status,
                         "the metadata '" METADATA_KEY "': %s", reason.message);
    status = load_own_masks(load, file, metadata);
    json_decref(metadata);
    return status;
}

hone_status hone_mask_load_safetensors(struct hone_mask_load *load, const void *bytes, size_t size)
{
    hone_file *file = NULL;
    hone_status status = hone_file_read(&file, load->context, bytes, size, load->error);
    if (status != HONE_OK)
        return status;
    status = load_file(load, file);
    hone_file_close(file);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct form {
    int64_t length; /* of the tensor, which has one dimension */
    void *positions;
    size_t positions_size;
};

struct writer {
    const hone_mask_set *set;
    const hone_context *context;
    int64_t count;
    hone_file_entry *entries;
    struct form *forms;
    struct hone_text metadata;
};

static hone_status make_entry(struct writer *writer, int64_t index, hone_error *error)
{
    const hone_mask *const mask = hone_mask_set_mask(writer->set, index);
    struct form *const form = &writer->forms[index];
    hone_file_entry *const entry = &writer->entries[index];
    const hone_dtype dtype = hone_mask_position_dtype(mask);
    const size_t positions_size = (size_t)hone_mask_count(mask) * hone_dtype_size(dtype);
    const size_t words_size = (size_t)hone_mask_word_count(mask) * sizeof(uint32_t);
    entry->name = hone_mask_set_name(writer->set, index);
    if (words_size <= positions_size) {
        form->length = hone_mask_word_count(mask);
        entry->tensor =
            hone_tensor_view((void *)(uintptr_t)hone_mask_words(mask), HONE_U32, 1, &form->length);
        return HONE_OK;
    }
    form->length = hone_mask_count(mask);
    form->positions_size = positions_size;
    form->positions = hone_allocate(writer->context, positions_size);
    if (form->positions == NULL)
        return hone_fail_memory(error, positions_size, "the positions of a mask");
    entry->tensor = hone_tensor_view(form->positions, dtype, 1, &form->length);
    return hone_mask_to_positions(mask, dtype, form->positions, error);
}

static void write_string(struct hone_text *text, const char *string)
{
    hone_text_json(text, string, strlen(string));
}

static void write_metadata(struct writer *writer)
{
    struct hone_text *const text = &writer->metadata;
    hone_text_string(text, "{\"version\":1,\"masks\":{");
    for (int64_t i = 0; i < writer->count; i++) {
        const hone_mask *const mask = hone_mask_set_mask(writer->set, i);
        if (i > 0)
            hone_text_string(text, ",");
        write_string(text, hone_mask_set_name(writer->set, i));
        hone_text_string(text, ":{\"shape\":");
        hone_text_shape(text, hone_mask_ndim(mask), hone_mask_shape(mask));
        hone_text_string(text, ",\"true\":");
        hone_text_integer(text, (uint64_t)hone_mask_count(mask));
        hone_text_string(text, "}");
    }
    hone_text_string(text, "}");
    for (int64_t i = 0; i < hone_mask_set_note_count(writer->set); i++) {
        const char *const key = hone_mask_set_note_key(writer->set, i);
        hone_text_string(text, i == 0 ? ",\"notes\":{" : ",");
        write_string(text, key);
        hone_text_string(text, ":");
        write_string(text, hone_mask_set_note_value(writer->set, key));
    }
    hone_text_string(text, hone_mask_set_note_count(writer->set) > 0 ? "}}" : "}");
    hone_text_bytes(text, "", 1); /* terminated, as metadata is */
}

static hone_status write_set(struct writer *writer, const char *path, hone_error *error)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < writer->count && status == HONE_OK; i++)
        status = make_entry(writer, i, error);
    if (status != HONE_OK)
        return status;
    write_metadata(writer);
    if (writer->metadata.failed)
        return hone_fail_memory(error, writer->metadata.capacity, "the metadata of a mask file");
    const hone_file_pair metadata = {METADATA_KEY, writer->metadata.bytes};
    return hone_file_write(writer->context, path, writer->entries, writer->count, &metadata, 1,
                           error);
}

hone_status hone_mask_set_save(const hone_mask_set *set, const char *path, hone_error *error)
{
    if (set == NULL || path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_save: %s is NULL",
                         set == NULL ? "set" : "path");
    struct writer writer = {
        .set = set, .context = hone_mask_set_context(set), .count = hone_mask_set_count(set)};
    const size_t entries_size = (size_t)writer.count * sizeof *writer.entries;
    const size_t forms_size = (size_t)writer.count * sizeof *writer.forms;
    writer.entries = hone_allocate_zeroed(writer.context, entries_size);
    writer.forms = hone_allocate_zeroed(writer.context, forms_size);
    hone_text_start(&writer.metadata, writer.context);
    const hone_status status =
        writer.entries == NULL || writer.forms == NULL
            ? hone_fail_memory(error, entries_size + forms_size, "a mask file's entries")
            : write_set(&writer, path, error);
    hone_text_release(&writer.metadata);
    for (int64_t i = 0; writer.forms != NULL && i < writer.count; i++)
        hone_release(writer.context, writer.forms[i].positions, writer.forms[i].positions_size);
    hone_release(writer.context, writer.forms, forms_size);
    hone_release(writer.context, writer.entries, entries_size);
    return status;
}
