/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON header of a safetensors file, read without believing any of it: every entry is checked
 * by itself, then all of them together against the bytes that the file really has. */
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/json_kind.h"
#include "checkpoint/safetensors_file.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/text.h"
#include "core/json_load.h"

#define DTYPE_LIST(name, bits, text) " " text

static const char *const unread_dtypes[] = {"F4",      "F6_E2M3",     "F6_E3M2",     "F8_E4M3",
                                            "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"};

bool hone_find_dtype(hone_dtype *dtype, const char *name)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++) {
        if (strcmp(name, hone_dtype_name((hone_dtype)i)) == 0) {
            *dtype = (hone_dtype)i;
            return true;
        }
    }
    return false;
}

/* ---- one tensor's entry --------------------------------------------------------------------- */

static hone_status parse_dtype(struct hone_file_tensor *tensor, const json_t *value,
                               const char *shown, hone_error *error)
{
    if (!json_is_string(value))
        return hone_fail(error, HONE_ERROR_FORMAT, "tensor '%s': its dtype is %s, not a string",
                         shown, hone_json_kind(value));
    const char *text = json_string_value(value);
    if (hone_find_dtype(&tensor->dtype, text))
        return HONE_OK;
    for (size_t i = 0; i < sizeof(unread_dtypes) / sizeof(*unread_dtypes); i++)
        if (strcmp(text, unread_dtypes[i]) == 0)
            return hone_fail(error, HONE_ERROR_DTYPE,
                             "tensor '%s': the format's dtype %s cannot be read; these can:%s",
                             shown, text, HONE_DTYPE_MAP(DTYPE_LIST) "");
    return hone_fail(error, HONE_ERROR_FORMAT,
                     "tensor '%s': '%s' is not a dtype of the format; known are%s", shown,
                     hone_show(text).text, HONE_DTYPE_MAP(DTYPE_LIST) "");
}

/* `lengths` has room for the shape; the caller counted its entries. */
static hone_status parse_shape(struct hone_file_tensor *tensor, const json_t *value,
                               int64_t *lengths, const char *shown, hone_error *error)
{
    if (!json_is_array(value))
        return hone_fail(error, HONE_ERROR_FORMAT, "tensor '%s': its shape is %s, not an array",
                         shown, hone_json_kind(value));
    size_t ndim = json_array_size(value);
    if (ndim > INT32_MAX)
        return hone_fail(error, HONE_ERROR_FORMAT, "tensor '%s': its shape has %zu dimensions",
                         shown, ndim);
    for (size_t i = 0; i < ndim; i++) {
        const json_t *length = json_array_get(value, i);
        if (!json_is_integer(length))
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "tensor '%s': dimension %zu of its shape is %s, not an integer", shown,
                             i, hone_json_kind(length));
        lengths[i] = json_integer_value(length);
        if (lengths[i] < 0)
            return hone_fail(error, HONE_ERROR_FORMAT,
                             "tensor '%s': dimension %zu of its shape is %lld; at least 0 is "
                             "allowed",
                             shown, i, (long long)lengths[i]);
    }
    tensor->ndim = (int32_t)ndim;
    tensor->shape = lengths;
    return HONE_OK;
}

static hone_status parse_offsets(struct hone_file_tensor *tensor, const json_t *value,
                                 uint64_t data_size, const char *shown, hone_error *error)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(begin) ||
        !json_is_integer(end))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "tensor '%s': its data_offsets are not an array of two integers", shown);
    long long first = json_integer_value(begin), last = json_integer_value(end);
    if (first < 0 || last < first || (uint64_t)last > data_size)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "tensor '%s': its data_offsets are %lld to %lld; allowed is a rising pair "
                         "from 0 to %llu, the size of the file's data",
                         shown, first, last, (unsigned long long)data_size);
    tensor->begin = (uint64_t)first;
    tensor->end = (uint64_t)last;
    return HONE_OK;
}

static hone_status check_size(const struct hone_file_tensor *tensor, const char *shown,
                              hone_error *error)
{
    hone_tensor view = hone_tensor_view(NULL, tensor->dtype, tensor->ndim, tensor->shape);
    int64_t numel = hone_tensor_numel(&view);
    uint64_t bytes;
    if (numel < 0 ||
        __builtin_mul_overflow((uint64_t)numel, hone_dtype_size(tensor->dtype), &bytes))
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "tensor '%s': the product of its shape passes 2^62", shown);
    if (bytes != tensor->end - tensor->begin)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "tensor '%s': its data_offsets span %llu bytes, but %lld elements of %s "
                         "take %llu",
                         shown, (unsigned long long)(tensor->end - tensor->begin), (long long)numel,
                         hone_dtype_name(tensor->dtype), (unsigned long long)bytes);
    return HONE_OK;
}

static hone_status check_keys(json_t *entry, const char *shown, hone_error *error)
{
    if (!json_is_object(entry))
        return hone_fail(error, HONE_ERROR_FORMAT, "tensor '%s': its entry is %s, not an object",
                         shown, hone_json_kind(entry));
    const char *key;
    json_t *value;
    json_object_foreach(entry, key,
                        value) if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
                                   strcmp(key, "data_offsets") !=
                                       0) return hone_fail(error, HONE_ERROR_FORMAT,
                                                           "tensor '%s': '%s' is not a key of an "
                                                           "entry; allowed are dtype, shape "
                                                           "and data_offsets",
                                                           shown, hone_show(key).text);
    static const char *const required[] = {"dtype", "shape", "data_offsets"};
    for (size_t i = 0; i < 3; i++)
        if (json_object_get(entry, required[i]) == NULL)
            return hone_fail(error, HONE_ERROR_FORMAT, "tensor '%s': its entry has no %s", shown,
                             required[i]);
    return HONE_OK;
}

static hone_status parse_tensor(struct hone_file_tensor *tensor, json_t *entry, int64_t *lengths,
                                uint64_t data_size, hone_error *error)
{
    struct hone_shown shown = hone_show(tensor->name);
    hone_status status = check_keys(entry, shown.text, error);
    if (status == HONE_OK)
        status = parse_dtype(tensor, json_object_get(entry, "dtype"), shown.text, error);
    if (status == HONE_OK)
        status = parse_shape(tensor, json_object_get(entry, "shape"), lengths, shown.text, error);
    if (status == HONE_OK)
        status = parse_offsets(tensor, json_object_get(entry, "data_offsets"), data_size,
                               shown.text, error);
    return status == HONE_OK ? check_size(tensor, shown.text, error) : status;
}

/* ---- all tensors together ------------------------------------------------------------------- */

static int compare_places(const void *left, const void *right)
{
    const struct hone_file_tensor *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int compare_names(const void *left, const void *right)
{
    const struct hone_file_tensor *a = *(const struct hone_file_tensor *const *)left;
    const struct hone_file_tensor *b = *(const struct hone_file_tensor *const *)right;
    return strcmp(a->name, b->name);
}

/* Every byte of the data belongs to exactly one tensor. */
static hone_status check_cover(const hone_file *file, hone_error *error)
{
    uint64_t covered = 0, data_size = file->size - file->data_start;
    for (int64_t i = 0; i < file->count; i++) {
        const struct hone_file_tensor *tensor = &file->tensors[i];
        int64_t offset = (int64_t)(file->data_start + tensor->begin);
        if (tensor->begin < covered)
            return hone_fail_at(error, HONE_ERROR_FORMAT, offset,
                                "tensors '%s' and '%s' overlap: the second begins at byte %llu of "
                                "the data, the first ends at %llu",
                                hone_show(tensor[-1].name).text, hone_show(tensor->name).text,
                                (unsigned long long)tensor->begin, (unsigned long long)covered);
        if (tensor->begin > covered)
            return hone_fail_at(error, HONE_ERROR_FORMAT, (int64_t)(file->data_start + covered),
                                "bytes %llu to %llu of the data, before tensor '%s', belong to no "
                                "tensor",
                                (unsigned long long)covered, (unsigned long long)tensor->begin,
                                hone_show(tensor->name).text);
        covered = tensor->end;
    }
    if (covered != data_size)
        return hone_fail_at(error, HONE_ERROR_FORMAT, (int64_t)(file->data_start + covered),
                            "the tensors end at byte %llu of the data, which has %llu bytes",
                            (unsigned long long)covered, (unsigned long long)data_size);
    return HONE_OK;
}

static void sort_tensors(hone_file *file)
{
    if (file->count == 0)
        return;
    qsort(file->tensors, (size_t)file->count, sizeof(*file->tensors), compare_places);
    for (int64_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->tensors[i];
    qsort(file->by_name, (size_t)file->count, sizeof(*file->by_name), compare_names);
}

/* ---- the index: one block, measured first --------------------------------------------------- */

struct measure {
    size_t tensors, notes, lengths, characters;
};

static hone_status measure_header(json_t *header, struct measure *measure, hone_error *error)
{
    const char *key, *note_key;
    json_t *entry, *note;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, HONE_FILE_METADATA) != 0) {
            measure->tensors++;
            measure->characters += strlen(key) + 1;
            measure->lengths += json_array_size(json_object_get(entry, "shape"));
            continue;
        }
        if (!json_is_object(entry))
            return hone_fail(error, HONE_ERROR_FORMAT, HONE_FILE_METADATA " is %s, not an object",
                             hone_json_kind(entry));
        json_object_foreach(entry, note_key, note)
        {
            if (!json_is_string(note))
                return hone_fail(error, HONE_ERROR_FORMAT,
                                 HONE_FILE_METADATA ": the value of '%s' is %s, not a string",
                                 hone_show(note_key).text, hone_json_kind(note));
            measure->notes++;
            measure->characters += strlen(note_key) + 1 + json_string_length(note) + 1;
        }
    }
    return HONE_OK;
}

static const char *keep_string(char **room, const char *text)
{
    size_t size = strlen(text) + 1;
    char *kept = memcpy(*room, text, size);
    *room += size;
    return kept;
}

static hone_status fill_index(hone_file *file, json_t *header, int64_t *lengths, char *characters,
                              hone_error *error)
{
    const char *key, *note_key;
    json_t *entry, *note;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, HONE_FILE_METADATA) == 0) {
            json_object_foreach(entry, note_key, note)
            {
                struct hone_file_note *kept = &file->notes[file->note_count++];
                kept->key = keep_string(&characters, note_key);
                kept->value = keep_string(&characters, json_string_value(note));
            }
            continue;
        }
        struct hone_file_tensor *tensor = &file->tensors[file->count];
        tensor->name = keep_string(&characters, key);
        hone_status status =
            parse_tensor(tensor, entry, lengths, file->size - file->data_start, error);
        if (status != HONE_OK)
            return status;
        lengths += tensor->ndim;
        file->count++;
    }
    return HONE_OK;
}

static hone_status build_index(hone_file *file, json_t *header, hone_error *error)
{
    struct measure measure = {0};
    hone_status status = measure_header(header, &measure, error);
    if (status != HONE_OK)
        return status;
    /* Each count is at most the header's length, so no sum here can pass SIZE_MAX. */
    size_t tensors_size = measure.tensors * sizeof(*file->tensors);
    size_t by_name_size = measure.tensors * sizeof(*file->by_name);
    size_t notes_size = measure.notes * sizeof(*file->notes);
    size_t lengths_size = measure.lengths * sizeof(int64_t);
    file->index_size = tensors_size + by_name_size + notes_size + lengths_size + measure.characters;
    file->index = hone_allocate_zeroed(file->context, file->index_size);
    if (file->index == NULL)
        return hone_fail_memory(error, file->index_size, "a file's index");
    char *room = file->index;
    file->tensors = (void *)room;
    file->by_name = (void *)(room += tensors_size);
    file->notes = (void *)(room += by_name_size);
    int64_t *lengths = (void *)(room += notes_size);
    status = fill_index(file, header, lengths, room + lengths_size, error);
    if (status != HONE_OK)
        return status;
    sort_tensors(file);
    return check_cover(file, error);
}

hone_status hone_file_parse_header(hone_file *file, hone_error *error)
{
    const char *text = (const char *)file->bytes + HONE_FILE_PREFIX;
    size_t length = file->data_start - HONE_FILE_PREFIX;
    if (length == 0 || text[0] != '{')
        return hone_fail_at(error, HONE_ERROR_FORMAT, HONE_FILE_PREFIX,
                            "the header does not begin with '{'");
    json_error_t problem = {0}; /* jansson does not always set its code */
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    if (header == NULL && hone_json_out_of_memory(&problem, text, length))
        return hone_fail_memory(error, length, "a file's header");
    if (header == NULL)
        return hone_fail_at(error, HONE_ERROR_FORMAT, HONE_FILE_PREFIX + problem.position,
                            "the header is not valid JSON: %s", hone_show(problem.text).text);
    hone_status status = build_index(file, header, error);
    json_decref(header);
    return status;
}
