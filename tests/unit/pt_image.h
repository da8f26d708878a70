/* SPDX-License-Identifier: Apache-2.0 */
/* Zip archives and pickles written byte by byte, for files that torch would never write. */
#ifndef HONE_TESTS_PT_IMAGE_H
#define HONE_TESTS_PT_IMAGE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct image {
    unsigned char *bytes;
    size_t size;
};

static inline void put(struct image *image, const void *bytes, size_t size)
{
    image->bytes = realloc(image->bytes, image->size + size + 1);
    if (size > 0)
        memcpy(image->bytes + image->size, bytes, size);
    image->size += size;
}

static inline void put_number(struct image *image, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)(i < 8 ? number >> 8 * i : 0);
        put(image, &byte, 1);
    }
}

static inline void drop(struct image *image)
{
    free(image->bytes);
    *image = (struct image){0};
}

/* ---- zip ------------------------------------------------------------------------------------ */

struct zip_entry {
    const char *name;
    const void *bytes;
    size_t size;
    unsigned method;        /* 0: stored */
    uint32_t claimed_extra; /* added to the sizes that the headers give */
};

static inline void put_zip_fields(struct image *image, const struct zip_entry *entry)
{
    const uint32_t size = (uint32_t)entry->size + entry->claimed_extra;
    put_number(image, 20, 2); /* version */
    put_number(image, 0, 2);  /* flags */
    put_number(image, entry->method, 2);
    put_number(image, 0, 2);    /* time */
    put_number(image, 0x21, 2); /* date: the first that zip knows */
    put_number(image, 0, 4);    /* checksum */
    put_number(image, size, 4);
    put_number(image, size, 4);
    put_number(image, strlen(entry->name), 2);
    put_number(image, 0, 2); /* extra field */
}

static inline struct image make_zip(const struct zip_entry *entries, size_t count)
{
    struct image image = {0}, directory = {0};
    for (size_t i = 0; i < count; i++) {
        const uint64_t offset = image.size;
        put(&image, "PK\3\4", 4);
        put_zip_fields(&image, &entries[i]);
        put(&image, entries[i].name, strlen(entries[i].name));
        put(&image, entries[i].bytes, entries[i].size);
        put(&directory, "PK\1\2", 4);
        put_number(&directory, 20, 2); /* made by */
        put_zip_fields(&directory, &entries[i]);
        put_number(&directory, 0, 10); /* comment, disk, attributes */
        put_number(&directory, offset, 4);
        put(&directory, entries[i].name, strlen(entries[i].name));
    }
    const uint64_t start = image.size;
    put(&image, directory.bytes, directory.size);
    put(&image, "PK\5\6", 4);
    put_number(&image, 0, 4);
    put_number(&image, count, 2);
    put_number(&image, count, 2);
    put_number(&image, directory.size, 4);
    put_number(&image, start, 4);
    put_number(&image, 0, 2);
    drop(&directory);
    return image;
}

/* ---- pickles -------------------------------------------------------------------------------- */

static inline struct image start_pickle(void)
{
    struct image pickle = {0};
    put(&pickle, "\x80\2", 2);
    return pickle;
}

static inline void put_opcode(struct image *pickle, const char *opcodes)
{
    put(pickle, opcodes, strlen(opcodes));
}

static inline void put_string(struct image *pickle, const char *text)
{
    put_opcode(pickle, "X");
    put_number(pickle, strlen(text), 4);
    put_opcode(pickle, text);
}

static inline void put_integer(struct image *pickle, int64_t value)
{
    put_opcode(pickle, "\x8a\x08");
    put_number(pickle, (uint64_t)value, 8);
}

static inline void put_global(struct image *pickle, const char *module, const char *name)
{
    put_opcode(pickle, "c");
    put_opcode(pickle, module);
    put_opcode(pickle, "\n");
    put_opcode(pickle, name);
    put_opcode(pickle, "\n");
}

static inline void put_tuple(struct image *pickle, int count, const int64_t *numbers)
{
    put_opcode(pickle, "(");
    for (int i = 0; i < count; i++)
        put_integer(pickle, numbers[i]);
    put_opcode(pickle, "t");
}

struct tensor_plan {
    const char *type, *key;
    int64_t storage, offset;
    int ndim;
    int64_t size[4], stride[4];
};

static inline void put_tensor(struct image *pickle, const struct tensor_plan *plan)
{
    put_global(pickle, "torch._utils", "_rebuild_tensor_v2");
    put_opcode(pickle, "((");
    put_string(pickle, "storage");
    put_global(pickle, "torch", plan->type);
    put_string(pickle, plan->key);
    put_string(pickle, "cpu");
    put_integer(pickle, plan->storage);
    put_opcode(pickle, "tQ");
    put_integer(pickle, plan->offset);
    put_tuple(pickle, plan->ndim, plan->size);
    put_tuple(pickle, plan->ndim, plan->stride);
    put_opcode(pickle, "\x89");
    put_global(pickle, "collections", "OrderedDict");
    put_opcode(pickle, ")RtR");
}

/* {"masks": {"w": what `put_tensor` and the like have put} } */
static inline struct image start_masks(void)
{
    struct image pickle = start_pickle();
    put_opcode(&pickle, "}");
    put_string(&pickle, "masks");
    put_opcode(&pickle, "}");
    put_string(&pickle, "w");
    return pickle;
}

static inline void end_masks(struct image *pickle)
{
    put_opcode(pickle, "ss.");
}

#endif
