/* SPDX-License-Identifier: Apache-2.0 */
/* .pt archives through libzip. Stored entries need no decoding: libzip finds them, and they are
 * used where they lie. For that its reads go through a source of ours, which notes where the last
 * one was. Checksums are not compared: torch has an option that leaves them out. */
#include "checkpoint/pt_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "checkpoint/text.h"

#define PICKLE_NAME "data.pkl"
#define MAX_KEY 64 /* of a storage; torch counts them: "0", "1", ... */

/* ---- libzip's view of the bytes ------------------------------------------------------------- */

struct source {
    const unsigned char *bytes;
    uint64_t size, position;
    uint64_t read_at, read_length; /* the last read */
    zip_error_t error;
};

static zip_int64_t read_source(struct source *source, void *data, zip_uint64_t length)
{
    const uint64_t left = source->size - source->position;
    const uint64_t n = length < left ? length : left;
    if (n > 0)
        memcpy(data, source->bytes + source->position, (size_t)n);
    source->read_at = source->position;
    source->read_length = n;
    source->position += n;
    return (zip_int64_t)n;
}

static zip_int64_t describe_source(const struct source *source, void *data, zip_uint64_t length)
{
    if (length < sizeof(zip_stat_t))
        return -1;
    zip_stat_t *const about = data;
    zip_stat_init(about);
    about->size = source->size;
    about->valid |= ZIP_STAT_SIZE;
    return sizeof *about;
}

static zip_int64_t seek_source(struct source *source, void *data, zip_uint64_t length)
{
    const zip_int64_t to = zip_source_seek_compute_offset(source->position, source->size, data,
                                                          length, &source->error);
    if (to < 0)
        return -1;
    source->position = (uint64_t)to;
    return 0;
}

static zip_int64_t serve(void *user, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
    struct source *const source = user;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_OPEN:
        source->position = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return read_source(source, data, length);
    case ZIP_SOURCE_STAT:
        return describe_source(source, data, length);
    case ZIP_SOURCE_SEEK:
        return seek_source(source, data, length);
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)source->position;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&source->error, data, length);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        zip_error_set(&source->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* ---- the archive ---------------------------------------------------------------------------- */

struct archive {
    struct source source;
    zip_t *zip;
    const char *top; /* the folder that holds everything, not terminated */
    size_t top_length;
};

static hone_status fail_zip(hone_error *error, const zip_error_t *reason)
{
    zip_error_t copy = *reason; /* the text is made on demand, within the error */
    copy.str = NULL;
    const hone_status status =
        hone_fail(error, HONE_ERROR_FORMAT, "the zip archive is cut short or damaged: %s",
                  zip_error_strerror(&copy));
    zip_error_fini(&copy);
    return status;
}

static hone_status open_archive(struct archive *archive, const void *bytes, size_t size,
                                hone_error *error)
{
    archive->source = (struct source){.bytes = bytes, .size = size};
    zip_error_init(&archive->source.error);
    zip_error_t reason;
    zip_error_init(&reason);
    zip_source_t *const source = zip_source_function_create(serve, &archive->source, &reason);
    if (source != NULL)
        archive->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &reason);
    hone_status status = HONE_OK;
    if (archive->zip == NULL) {
        zip_source_free(source);
        status = zip_error_code_zip(&reason) == ZIP_ER_MEMORY
                     ? hone_fail_memory(error, size, "the list of a zip archive's entries")
                     : fail_zip(error, &reason);
    }
    zip_error_fini(&reason);
    return status;
}

static void close_archive(struct archive *archive)
{
    if (archive->zip != NULL)
        zip_discard(archive->zip);
    zip_error_fini(&archive->source.error);
}

/* Whether a name stays below the folder: no empty part, no ".", no "..", no other separator. */
static bool is_plain_path(const char *name)
{
    if (strchr(name, '\\') != NULL)
        return false;
    for (const char *part = name; part != NULL;) {
        const char *const end = strchr(part, '/');
        const size_t length = end == NULL ? strlen(part) : (size_t)(end - part);
        const bool dots = (length == 1 || length == 2) && memcmp(part, "..", length) == 0;
        if (length == 0 || dots)
            return false;
        part = end == NULL ? NULL : end + 1;
    }
    return true;
}

static hone_status check_entry(struct archive *archive, uint64_t index, hone_error *error)
{
    zip_stat_t about;
    if (zip_stat_index(archive->zip, index, ZIP_FL_ENC_RAW, &about) != 0)
        return fail_zip(error, zip_get_error(archive->zip));
    const struct hone_shown name = hone_show(about.name);
    const char *const slash = strchr(about.name, '/');
    if (!is_plain_path(about.name) || slash == NULL)
        return hone_fail(
            error, HONE_ERROR_FORMAT,
            "the archive's entry '%s'; torch.save writes plain names within one folder", name.text);
    if (archive->top == NULL) {
        archive->top = about.name;
        archive->top_length = (size_t)(slash - about.name);
    }
    if ((size_t)(slash - about.name) != archive->top_length ||
        memcmp(about.name, archive->top, archive->top_length) != 0)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the archive's entry '%s' is outside the folder '%.*s' of the first one",
                         name.text, (int)(archive->top_length < 100 ? archive->top_length : 100),
                         archive->top);
    if (about.comp_method != ZIP_CM_STORE || about.encryption_method != ZIP_EM_NONE ||
        about.comp_size != about.size)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the archive's entry '%s' is %s; torch.save stores entries as they are, "
                         "and only such are read",
                         name.text,
                         about.encryption_method == ZIP_EM_NONE ? "compressed" : "encrypted");
    return HONE_OK;
}

static hone_status check_entries(struct archive *archive, hone_error *error)
{
    const zip_int64_t count = zip_get_num_entries(archive->zip, 0);
    hone_status status = HONE_OK;
    for (zip_int64_t i = 0; i < count && status == HONE_OK; i++)
        status = check_entry(archive, (uint64_t)i, error);
    return status;
}

/* Where a stored entry's bytes lie: the place of a read of the first of them. */
static hone_status place_entry(struct archive *archive, uint64_t index, uint64_t size,
                               const void **bytes, hone_error *error)
{
    zip_file_t *const file = zip_fopen_index(archive->zip, index, ZIP_FL_COMPRESSED);
    if (file == NULL)
        return fail_zip(error, zip_get_error(archive->zip));
    char first;
    const zip_int64_t n = zip_fread(file, &first, 1);
    const struct source *const source = &archive->source;
    const uint64_t at = source->read_at;
    zip_fclose(file);
    if (n != 1 || source->read_length != 1 || at >= source->size || size > source->size - at)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the zip archive is cut short: entry '%s' has %" PRIu64
                         " bytes, which are not all there",
                         hone_show(zip_get_name(archive->zip, index, ZIP_FL_ENC_RAW)).text, size);
    *bytes = source->bytes + at;
    return HONE_OK;
}

/* Entry `top/name`; *bytes stays NULL when there is none. */
static hone_status find_entry(struct archive *archive, const char *name, const void **bytes,
                              uint64_t *size, hone_error *error)
{
    char path[1024];
    const int length = snprintf(path, sizeof path, "%.*s/%s", (int)archive->top_length,
                                archive->top == NULL ? "" : archive->top, name);
    *bytes = NULL;
    if (length >= (int)sizeof path)
        return hone_fail(error, HONE_ERROR_FORMAT, "the archive's folder has a name of %zu bytes",
                         archive->top_length);
    const zip_int64_t index = zip_name_locate(archive->zip, path, ZIP_FL_ENC_RAW);
    zip_stat_t about;
    if (index < 0)
        return HONE_OK;
    if (zip_stat_index(archive->zip, (uint64_t)index, 0, &about) != 0)
        return fail_zip(error, zip_get_error(archive->zip));
    *size = about.size;
    if (about.size == 0) {
        *bytes = archive->source.bytes;
        return HONE_OK;
    }
    return place_entry(archive, (uint64_t)index, about.size, bytes, error);
}

/* ---- the tree ------------------------------------------------------------------------------- */

static hone_status find_storage(void *user, const char *key, size_t length, const void **bytes,
                                uint64_t *size, hone_error *error)
{
    const struct hone_pickle_text shown = hone_pickle_show(key, length);
    char name[MAX_KEY + 8];
    *bytes = NULL;
    if (length <= MAX_KEY && memchr(key, '\0', length) == NULL) {
        snprintf(name, sizeof name, "data/%.*s", (int)length, key);
        const hone_status status = find_entry(user, name, bytes, size, error);
        if (status != HONE_OK)
            return status;
    }
    if (*bytes == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT, "the archive has no storage '%s'", shown.text);
    return HONE_OK;
}

static hone_status check_byte_order(struct archive *archive, hone_error *error)
{
    const void *bytes = NULL;
    uint64_t size = 0;
    const hone_status status = find_entry(archive, "byteorder", &bytes, &size, error);
    if (status != HONE_OK || bytes == NULL || (size == 6 && memcmp(bytes, "little", 6) == 0))
        return status;
    return hone_fail(error, HONE_ERROR_FORMAT,
                     "the archive's byte order is '%s'; allowed: 'little'",
                     hone_pickle_show(bytes, (size_t)size).text);
}

static hone_status read_tree(struct archive *archive, struct hone_pt *pt, hone_error *error)
{
    hone_status status = check_entries(archive, error);
    if (status == HONE_OK)
        status = check_byte_order(archive, error);
    const void *pickle = NULL;
    uint64_t size = 0;
    if (status == HONE_OK)
        status = find_entry(archive, PICKLE_NAME, &pickle, &size, error);
    if (status != HONE_OK)
        return status;
    if (pickle == NULL)
        return hone_fail(error, HONE_ERROR_FORMAT,
                         "the zip archive has no entry " PICKLE_NAME " in its folder; torch.save "
                         "writes one");
    const struct hone_pickle_storages storages = {.find = find_storage, .user = archive};
    return hone_pickle_read(&pt->root, &pt->arena, pickle, (size_t)size, &storages, error);
}

hone_status hone_pt_read(struct hone_pt *pt, const hone_context *context, const void *bytes,
                         size_t size, size_t limit, hone_error *error)
{
    *pt = (struct hone_pt){0};
    hone_arena_start(&pt->arena, context, limit);
    struct archive archive = {0};
    hone_status status = open_archive(&archive, bytes, size, error);
    if (status == HONE_OK)
        status = read_tree(&archive, pt, error);
    close_archive(&archive);
    if (status != HONE_OK)
        hone_pt_release(pt);
    return status;
}

void hone_pt_release(struct hone_pt *pt)
{
    hone_arena_release(&pt->arena);
    pt->root = NULL;
}

bool hone_pt_is_zip(const void *bytes, size_t size)
{
    return size >= 4 && memcmp(bytes, "PK\3\4", 4) == 0;
}

bool hone_pt_is_stream(const void *bytes, size_t size)
{
    /* A pickle of torch's magic number, 0x1950a86a20f9469cfc6c. */
    static const unsigned char start[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    return size >= sizeof start && memcmp(bytes, start, sizeof start) == 0;
}
