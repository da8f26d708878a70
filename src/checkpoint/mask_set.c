/* SPDX-License-Identifier: Apache-2.0 */
/* Masks by name, in the order they came, with an index of the names' hashes beside them. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "checkpoint/mask_file.h"
#include "checkpoint/text.h"

#define FIRST_CAPACITY 16

struct entry {
    char *name;
    hone_mask *mask;
    hone_mask_form form;
    bool summarized;
    hone_mask_summary summary;
};

struct note {
    char *key, *value;
};

struct hone_mask_set {
    const hone_context *context;
    struct entry *entries;
    int64_t count, capacity;
    int64_t *index; /* 2 * capacity places: number of an entry plus 1, or 0 */
    struct note *notes;
    int64_t note_count;
    const char *key;
};

hone_status hone_mask_set_create(hone_mask_set **set, const hone_context *context,
                                 hone_error *error)
{
    if (set == NULL || context == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_create: %s is NULL",
                         set == NULL ? "set" : "context");
    hone_mask_set *const made = hone_allocate_zeroed(context, sizeof *made);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a set of masks");
    made->context = context;
    *set = made;
    return HONE_OK;
}

void hone_mask_set_free(hone_mask_set *set)
{
    if (set == NULL)
        return;
    const hone_context *const context = set->context;
    for (int64_t i = 0; i < set->count; i++) {
        hone_string_free(context, set->entries[i].name);
        hone_mask_free(set->entries[i].mask);
    }
    for (int64_t i = 0; i < set->note_count; i++) {
        hone_string_free(context, set->notes[i].key);
        hone_string_free(context, set->notes[i].value);
    }
    hone_release(context, set->entries, (size_t)set->capacity * sizeof *set->entries);
    hone_release(context, set->index, 2 * (size_t)set->capacity * sizeof *set->index);
    hone_release(context, set->notes, (size_t)set->note_count * sizeof *set->notes);
    hone_release(context, set, sizeof *set);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The name's place in an index of `places` (a power of two), or the free one where it belongs. */
static int64_t *find_place(const struct entry *entries, int64_t *index, int64_t places,
                           const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (const char *at = name; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    uint64_t place = (hash ^ hash >> 32) & ((uint64_t)places - 1);
    while (index[place] != 0 && strcmp(entries[index[place] - 1].name, name) != 0)
        place = (place + 1) & ((uint64_t)places - 1);
    return &index[place];
}

static hone_status grow(hone_mask_set *set, hone_error *error)
{
    const int64_t capacity = set->capacity == 0 ? FIRST_CAPACITY : 2 * set->capacity;
    const size_t entries_size = (size_t)capacity * sizeof *set->entries;
    const size_t index_size = 2 * (size_t)capacity * sizeof *set->index;
    int64_t *const index = hone_allocate_zeroed(set->context, index_size);
    struct entry *const entries =
        index == NULL ? NULL
                      : hone_reallocate(set->context, set->entries,
                                        (size_t)set->capacity * sizeof *entries, entries_size);
    if (entries == NULL) {
        hone_release(set->context, index, index_size);
        return hone_fail_memory(error, entries_size + index_size, "a set of masks");
    }
    for (int64_t i = 0; i < set->count; i++)
        *find_place(entries, index, 2 * capacity, entries[i].name) = i + 1;
    hone_release(set->context, set->index, 2 * (size_t)set->capacity * sizeof *set->index);
    set->entries = entries;
    set->index = index;
    set->capacity = capacity;
    return HONE_OK;
}

hone_status hone_mask_set_add(hone_mask_set *set, const char *name, const hone_mask *mask,
                              hone_error *error)
{
    if (set == NULL || name == NULL || mask == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_add: %s is NULL",
                         set == NULL    ? "set"
                         : name == NULL ? "name"
                                        : "mask");
    if (name[0] == '\0' || !hone_is_utf8(name))
        return hone_fail(error, HONE_ERROR_NAME, "the mask name '%s' is %s", hone_show(name).text,
                         name[0] == '\0' ? "empty" : "not UTF-8");
    if (hone_mask_set_find(set, name) >= 0)
        return hone_fail(error, HONE_ERROR_NAME, "two masks are called '%s'; names must be unique",
                         hone_show(name).text);
    hone_status status = HONE_OK;
    if (set->count == set->capacity)
        status = grow(set, error);
    if (status != HONE_OK)
        return status;
    char *const copy = hone_copy_string(set->context, name);
    if (copy == NULL)
        return hone_fail_memory(error, strlen(name) + 1, "a mask's name");
    *find_place(set->entries, set->index, 2 * set->capacity, name) = set->count + 1;
    set->entries[set->count++] = (struct entry){.name = copy, .mask = hone_mask_share(mask)};
    return HONE_OK;
}

int64_t hone_mask_set_find(const hone_mask_set *set, const char *name)
{
    if (set == NULL || name == NULL || set->capacity == 0)
        return -1;
    return *find_place(set->entries, set->index, 2 * set->capacity, name) - 1;
}

int64_t hone_mask_set_count(const hone_mask_set *set)
{
    return set == NULL ? 0 : set->count;
}

static struct entry *entry_at(const hone_mask_set *set, int64_t index)
{
    return set != NULL && index >= 0 && index < set->count ? &set->entries[index] : NULL;
}

const char *hone_mask_set_name(const hone_mask_set *set, int64_t index)
{
    const struct entry *const entry = entry_at(set, index);
    return entry == NULL ? NULL : entry->name;
}

const hone_mask *hone_mask_set_mask(const hone_mask_set *set, int64_t index)
{
    const struct entry *const entry = entry_at(set, index);
    return entry == NULL ? NULL : entry->mask;
}

/* ---- what stands beside the masks ----------------------------------------------------------- */

static struct note *find_note(const hone_mask_set *set, const char *key)
{
    for (int64_t i = 0; set != NULL && key != NULL && i < set->note_count; i++)
        if (strcmp(set->notes[i].key, key) == 0)
            return &set->notes[i];
    return NULL;
}

static hone_status add_note(hone_mask_set *set, struct note note, hone_error *error)
{
    const size_t old_size = (size_t)set->note_count * sizeof *set->notes;
    struct note *const notes =
        hone_reallocate(set->context, set->notes, old_size, old_size + sizeof *notes);
    if (notes == NULL)
        return hone_fail_memory(error, old_size + sizeof *notes, "the notes of a set of masks");
    notes[set->note_count++] = note;
    set->notes = notes;
    return HONE_OK;
}

static hone_status put_note(hone_mask_set *set, const char *key, char *value, hone_error *error)
{
    struct note *const known = find_note(set, key);
    if (known != NULL) {
        hone_string_free(set->context, known->value);
        known->value = value;
        return HONE_OK;
    }
    char *const copy = hone_copy_string(set->context, key);
    if (copy == NULL)
        return hone_fail_memory(error, strlen(key) + 1, "a note's key");
    const hone_status status = add_note(set, (struct note){copy, value}, error);
    if (status != HONE_OK)
        hone_string_free(set->context, copy);
    return status;
}

hone_status hone_mask_set_note(hone_mask_set *set, const char *key, const char *value,
                               hone_error *error)
{
    if (set == NULL || key == NULL || value == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "hone_mask_set_note: %s is NULL",
                         set == NULL   ? "set"
                         : key == NULL ? "key"
                                       : "value");
    if (!hone_is_utf8(key) || !hone_is_utf8(value))
        return hone_fail(error, HONE_ERROR_NAME, "the note '%s' is not UTF-8", hone_show(key).text);
    char *const copy = hone_copy_string(set->context, value);
    if (copy == NULL)
        return hone_fail_memory(error, strlen(value) + 1, "a note");
    const hone_status status = put_note(set, key, copy, error);
    if (status != HONE_OK)
        hone_string_free(set->context, copy);
    return status;
}

int64_t hone_mask_set_note_count(const hone_mask_set *set)
{
    return set == NULL ? 0 : set->note_count;
}

const char *hone_mask_set_note_key(const hone_mask_set *set, int64_t index)
{
    return set != NULL && index >= 0 && index < set->note_count ? set->notes[index].key : NULL;
}

const char *hone_mask_set_note_value(const hone_mask_set *set, const char *key)
{
    const struct note *const note = find_note(set, key);
    return note == NULL ? NULL : note->value;
}

void hone_mask_set_put_summary(hone_mask_set *set, int64_t index, const hone_mask_summary *summary)
{
    set->entries[index].summary = *summary;
    set->entries[index].summarized = true;
}

const hone_mask_summary *hone_mask_set_summary(const hone_mask_set *set, int64_t index)
{
    const struct entry *const entry = entry_at(set, index);
    return entry == NULL || !entry->summarized ? NULL : &entry->summary;
}

void hone_mask_set_put_form(hone_mask_set *set, int64_t index, hone_mask_form form)
{
    set->entries[index].form = form;
}

hone_mask_form hone_mask_set_form(const hone_mask_set *set, int64_t index)
{
    const struct entry *const entry = entry_at(set, index);
    return entry == NULL ? HONE_MASK_BITMAP : entry->form;
}

void hone_mask_set_put_key(hone_mask_set *set, const char *key)
{
    set->key = key;
}

const char *hone_mask_set_key(const hone_mask_set *set)
{
    return set == NULL ? NULL : set->key;
}

const hone_context *hone_mask_set_context(const hone_mask_set *set)
{
    return set->context;
}
