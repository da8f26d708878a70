/* SPDX-License-Identifier: Apache-2.0 */
/* Reading mask files: telling by the bytes what kind a file is, and the limit on memory. */
#include "checkpoint/mask_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/mapped_file.h"
#include "checkpoint/pt_file.h"
#include "checkpoint/safetensors_format.h"
#include "checkpoint/text.h"

#define LIMIT_BASE ((uint64_t)1 << 30)
#define LIMIT_FACTOR 8
#define MASK_OVERHEAD \
    256 /* of one mask beside its bits: the object, its name, its places in a set */

void hone_mask_load_options_init(hone_mask_load_options *options)
{
    if (options != NULL)
        *options = (hone_mask_load_options){.struct_size = sizeof *options};
}

/* ---- what the readers share ----------------------------------------------------------------- */

hone_status hone_mask_load_fail(struct hone_mask_load *load, hone_status status, const char *name,
                                const char *format, ...)
{
    char text[HONE_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return hone_fail(load->error, status, "mask '%s': %s", hone_show(name).text, text);
}

static hone_status fail_limit(struct hone_mask_load *load, const char *name, int32_t ndim,
                              const int64_t *shape)
{
    struct hone_text text;
    hone_text_start(&text, load->context);
    hone_text_shape(&text, ndim, shape);
    const hone_status status = hone_mask_load_fail(
        load, HONE_ERROR_MEMORY, name,
        "its shape %.*s needs more memory than the limit of %" PRIu64 " bytes leaves, of which "
        "%" PRIu64 " are taken (hone_mask_load_options.memory_limit)",
        (int)(text.length < 200 ? text.length : 200), text.bytes == NULL ? "" : text.bytes,
        load->limit, load->used);
    hone_text_release(&text);
    return status;
}

hone_status hone_mask_load_reserve(struct hone_mask_load *load, const char *name, int32_t ndim,
                                   const int64_t *shape)
{
    const hone_tensor view = hone_tensor_view(NULL, HONE_BOOL, ndim, shape);
    const int64_t numel = hone_tensor_numel(&view);
    const uint64_t needed = numel < 0 ? UINT64_MAX : MASK_OVERHEAD + (uint64_t)numel / 8;
    if (needed > load->limit - load->used)
        return fail_limit(load, name, ndim, shape);
    load->used += needed;
    return HONE_OK;
}

hone_status hone_mask_load_add(struct hone_mask_load *load, const char *name, hone_status status,
                               const hone_error *reason, hone_mask *mask, hone_mask_form form)
{
    if (status != HONE_OK)
        return hone_mask_load_fail(load, status, name, "%s", reason->message);
    status = hone_mask_set_add(load->set, name, mask, load->error);
    hone_mask_free(mask); /* the set has its own share */
    if (status == HONE_OK)
        hone_mask_set_put_form(load->set, hone_mask_set_count(load->set) - 1, form);
    return status;
}

/* ---- kinds of files ------------------------------------------------------------------------- */

static bool is_safetensors(const unsigned char *bytes, size_t size)
{
    uint64_t length;
    if (size <= HONE_FILE_PREFIX || bytes[HONE_FILE_PREFIX] != '{')
        return false;
    memcpy(&length, bytes, sizeof length);
    return length <= HONE_FILE_HEADER_MAX;
}

static bool is_json(const unsigned char *bytes, size_t size)
{
    size_t at = 0;
    while (at < size && memchr(" \t\r\n", bytes[at], 4) != NULL)
        at++;
    return at < size && (bytes[at] == '{' || bytes[at] == '[');
}

static hone_status read_kind(struct hone_mask_load *load, const void *bytes, size_t size)
{
    if (hone_pt_is_zip(bytes, size))
        return hone_mask_load_pt(load, bytes, size);
    if (is_safetensors(bytes, size))
        return hone_mask_load_safetensors(load, bytes, size);
    if (hone_pt_is_stream(bytes, size))
        return hone_fail_at(load->error, HONE_ERROR_FORMAT, 0,
                            "the file is in the stream format of torch before 1.6; load it with "
                            "torch and save it again to get a zip archive");
    if (is_json(bytes, size))
        return hone_fail_at(
            load->error, HONE_ERROR_FORMAT, 0,
            "the file is JSON, which can hold a summary of masks but no masks; they "
            "are in the .pt or .safetensors file beside it");
    return hone_fail_at(
        load->error, HONE_ERROR_FORMAT, 0,
        "the file begins with neither a zip archive nor a safetensors header; masks "
        "are read from PyTorch's .pt and from safetensors files");
}

static hone_status read_limit(uint64_t *limit, const hone_mask_load_options *options, size_t size,
                              hone_error *error)
{
    int64_t wanted = 0;
    if (options != NULL) {
        if (options->struct_size < sizeof *options)
            return hone_fail(error, HONE_ERROR_ARGUMENT,
                             "options->struct_size is %zu; hone_mask_load_options_init sets it to "
                             "%zu",
                             options->struct_size, sizeof *options);
        wanted = options->memory_limit;
    }
    if (wanted < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "options->memory_limit is %" PRId64 "; it must be 0 (the default) or more",
                         wanted);
    *limit = wanted > 0 ? (uint64_t)wanted : LIMIT_BASE + LIMIT_FACTOR * (uint64_t)size;
    return HONE_OK;
}

static hone_status read_bytes(hone_mask_set **set, const hone_context *context, const void *bytes,
                              size_t size, const hone_mask_load_options *options, hone_error *error)
{
    struct hone_mask_load load = {.context = context, .error = error};
    hone_status status = read_limit(&load.limit, options, size, error);
    if (status == HONE_OK)
        status = hone_mask_set_create(&load.set, context, error);
    if (status != HONE_OK)
        return status;
    status = read_kind(&load, bytes, size);
    if (status == HONE_OK)
        *set = load.set;
    else
        hone_mask_set_free(load.set);
    return status;
}

hone_status hone_mask_set_read(hone_mask_set **set, const hone_context *context, const void *bytes,
                               size_t size, const hone_mask_load_options *options,
                               hone_error *error)
{
    if (set == NULL || context == NULL || (bytes == NULL && size > 0))
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_read: %s is NULL",
                         set == NULL       ? "set"
                         : context == NULL ? "context"
                                           : "bytes");
    return read_bytes(set, context, bytes, size, options, error);
}

hone_status hone_mask_set_load(hone_mask_set **set, const hone_context *context, const char *path,
                               const hone_mask_load_options *options, hone_error *error)
{
    if (set == NULL || context == NULL || path == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_load: %s is NULL",
                         set == NULL       ? "set"
                         : context == NULL ? "context"
                                           : "path");
    const void *bytes = NULL;
    size_t size = 0;
    hone_status status = hone_map_file(&bytes, &size, path, error);
    if (status != HONE_OK)
        return status;
    hone_error inner = {.offset = -1};
    status = read_bytes(set, context, bytes, size, options, &inner);
    hone_unmap_file(bytes, size);
    if (status == HONE_OK)
        return HONE_OK;
    return hone_fail_at(error, status, inner.offset, "'%.500s': %s", path, inner.message);
}
