/* SPDX-License-Identifier: Apache-2.0 */
/* Python's pickle, as far as torch.save uses it for dictionaries of tensors and numbers: protocol
 * 2, an accepted list of names, and nothing that could be executed. What is read becomes a tree of
 * values without cycles. Private to src/. */
#ifndef HONE_CHECKPOINT_PICKLE_H
#define HONE_CHECKPOINT_PICKLE_H

#include "checkpoint/arena.h"

#define HONE_PICKLE_MAX_DEPTH 64 /* of containers within containers */

enum hone_node_kind {
    HONE_NODE_NONE,
    HONE_NODE_BOOL,
    HONE_NODE_INTEGER,
    HONE_NODE_NUMBER,
    HONE_NODE_STRING,
    HONE_NODE_TUPLE,
    HONE_NODE_LIST,
    HONE_NODE_SIZE, /* torch.Size: a tuple of integers */
    HONE_NODE_DICT, /* items are key, value, key, value, in the order they came */
    HONE_NODE_DTYPE,
    HONE_NODE_TENSOR,
    HONE_NODE_SPARSE,
    /* Parts of tensors on their way; they stand nowhere in a finished tree but as odd values. */
    HONE_NODE_LAYOUT,
    HONE_NODE_FUNCTION,
    HONE_NODE_STORAGE_TYPE,
    HONE_NODE_STORAGE
};

struct hone_node;

struct hone_node_items {
    struct hone_node **at;
    size_t count, capacity;
};

/* A COO tensor: indices [ndim, n], I64 or what the file holds; values [n, ...]. */
struct hone_node_sparse {
    hone_tensor indices, values;
    int32_t ndim;
    const int64_t *shape;
};

struct hone_node_storage {
    const char *bytes;
    hone_dtype dtype;
    int64_t numel;
};

struct hone_node {
    enum hone_node_kind kind;
    int depth;   /* of the containers below, 0 without any */
    bool sealed; /* part of another value: it can no longer change, so no value can hold itself */
    union {
        int64_t integer; /* BOOL and INTEGER */
        double number;
        struct {
            const char *bytes; /* UTF-8, not terminated, in the pickle */
            size_t length;
        } string;
        struct hone_node_items items;
        hone_dtype dtype;   /* DTYPE, STORAGE_TYPE */
        hone_tensor tensor; /* a view of the storage's bytes, of any alignment; steps >= 0 */
        struct hone_node_sparse *sparse;
        int function;
        struct hone_node_storage storage;
    } as;
};

/* Where storages come from: the bytes of storage `key` (`length` characters), or an error. */
struct hone_pickle_storages {
    hone_status (*find)(void *user, const char *key, size_t length, const void **bytes,
                        uint64_t *size, hone_error *error);
    void *user;
};

/* Interprets a pickle. Nodes live in the arena, strings in the pickle, tensors in the storages.
 * error->offset is the place in the pickle. */
hone_status hone_pickle_read(const struct hone_node **root, struct hone_arena *arena,
                             const void *bytes, size_t size,
                             const struct hone_pickle_storages *storages, hone_error *error);

/* ---- looking at values ---------------------------------------------------------------------- */

const char *hone_node_kind_name(enum hone_node_kind kind); /* "a list" */
bool hone_node_is_string(const struct hone_node *node, const char *text);

/* The value under a string key, the last if there are several; NULL if there is none or the node is
 * no dictionary (or NULL). */
const struct hone_node *hone_node_get(const struct hone_node *node, const char *key);

/* ---- inside --------------------------------------------------------------------------------- */

struct hone_pickle {
    struct hone_arena *arena;
    const struct hone_pickle_storages *storages;
    const unsigned char *bytes;
    size_t size, at, opcode;  /* where the next byte is, and the opcode now interpreted */
    struct hone_node **stack; /* NULL is a mark */
    size_t depth, stack_capacity;
    struct hone_node **memo;
    size_t memo_capacity;
    hone_error *error;
};

struct hone_node *hone_pickle_node(struct hone_pickle *pickle, enum hone_node_kind kind);
hone_status hone_pickle_fail(struct hone_pickle *pickle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The value of a name; what a function makes of its arguments; what a persistent id stands for. */
hone_status hone_pickle_global(struct hone_pickle *pickle, const char *module, size_t module_length,
                               const char *name, size_t name_length, struct hone_node **result);
hone_status hone_pickle_call(struct hone_pickle *pickle, const struct hone_node *function,
                             const struct hone_node *arguments, struct hone_node **result);
hone_status hone_pickle_storage(struct hone_pickle *pickle, const struct hone_node *id,
                                struct hone_node **result);

/* Text from a file as messages show it: cut and with control characters replaced. */
struct hone_pickle_text {
    char text[128];
};
struct hone_pickle_text hone_pickle_show(const char *bytes, size_t length);

#endif
