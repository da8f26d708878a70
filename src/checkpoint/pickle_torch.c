/* SPDX-License-Identifier: Apache-2.0 */
/* The names a pickle of torch.save may use, and what they make: dictionaries, sizes, dtypes,
 * storages, and the tensors rebuilt over them. Every other name is refused. */
#include <inttypes.h>
#include <string.h>

#include "checkpoint/pickle.h"

#define MAX_NDIM 64 /* as torch */

/* ---- names ---------------------------------------------------------------------------------- */

enum function { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, REBUILD_SPARSE, GET_LAYOUT, SIZE };

struct name {
    const char *module, *name;
    enum hone_node_kind kind;
    int value; /* a function or a hone_dtype */
};

static const struct name names[] = {
    {"collections", "OrderedDict", HONE_NODE_FUNCTION, ORDERED_DICT},
    {"torch._utils", "_rebuild_tensor_v2", HONE_NODE_FUNCTION, REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", HONE_NODE_FUNCTION, REBUILD_PARAMETER},
    {"torch._utils", "_rebuild_sparse_tensor", HONE_NODE_FUNCTION, REBUILD_SPARSE},
    {"torch.serialization", "_get_layout", HONE_NODE_FUNCTION, GET_LAYOUT},
    {"torch", "Size", HONE_NODE_FUNCTION, SIZE},
    {"torch", "FloatStorage", HONE_NODE_STORAGE_TYPE, HONE_F32},
    {"torch", "DoubleStorage", HONE_NODE_STORAGE_TYPE, HONE_F64},
    {"torch", "BFloat16Storage", HONE_NODE_STORAGE_TYPE, HONE_BF16},
    {"torch", "HalfStorage", HONE_NODE_STORAGE_TYPE, HONE_F16},
    {"torch", "ComplexFloatStorage", HONE_NODE_STORAGE_TYPE, HONE_C64},
    {"torch", "ComplexDoubleStorage", HONE_NODE_STORAGE_TYPE, HONE_C128},
    {"torch", "LongStorage", HONE_NODE_STORAGE_TYPE, HONE_I64},
    {"torch", "IntStorage", HONE_NODE_STORAGE_TYPE, HONE_I32},
    {"torch", "ShortStorage", HONE_NODE_STORAGE_TYPE, HONE_I16},
    {"torch", "CharStorage", HONE_NODE_STORAGE_TYPE, HONE_I8},
    {"torch", "ByteStorage", HONE_NODE_STORAGE_TYPE, HONE_U8},
    {"torch", "BoolStorage", HONE_NODE_STORAGE_TYPE, HONE_BOOL},
    {"torch", "float32", HONE_NODE_DTYPE, HONE_F32},
    {"torch", "float64", HONE_NODE_DTYPE, HONE_F64},
    {"torch", "bfloat16", HONE_NODE_DTYPE, HONE_BF16},
    {"torch", "float16", HONE_NODE_DTYPE, HONE_F16},
    {"torch", "complex64", HONE_NODE_DTYPE, HONE_C64},
    {"torch", "complex128", HONE_NODE_DTYPE, HONE_C128},
    {"torch", "int64", HONE_NODE_DTYPE, HONE_I64},
    {"torch", "int32", HONE_NODE_DTYPE, HONE_I32},
    {"torch", "int16", HONE_NODE_DTYPE, HONE_I16},
    {"torch", "int8", HONE_NODE_DTYPE, HONE_I8},
    {"torch", "uint8", HONE_NODE_DTYPE, HONE_U8},
    {"torch", "bool", HONE_NODE_DTYPE, HONE_BOOL},
};

static bool is_text(const char *bytes, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(bytes, text, length) == 0;
}

hone_status hone_pickle_global(struct hone_pickle *pickle, const char *module, size_t module_length,
                               const char *name, size_t name_length, struct hone_node **result)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is_text(module, module_length, names[i].module) ||
            !is_text(name, name_length, names[i].name))
            continue;
        struct hone_node *const node = hone_pickle_node(pickle, names[i].kind);
        if (node == NULL)
            return HONE_ERROR_MEMORY;
        if (node->kind == HONE_NODE_FUNCTION)
            node->as.function = names[i].value;
        else
            node->as.dtype = (hone_dtype)names[i].value;
        *result = node;
        return HONE_OK;
    }
    return hone_pickle_fail(pickle,
                            "the file names %s.%s; allowed: tensors, torch.Size, dtypes and "
                            "collections.OrderedDict",
                            hone_pickle_show(module, module_length).text,
                            hone_pickle_show(name, name_length).text);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static bool is_sequence(const struct hone_node *node)
{
    return node->kind == HONE_NODE_TUPLE || node->kind == HONE_NODE_LIST ||
           node->kind == HONE_NODE_SIZE;
}

static hone_status check_count(struct hone_pickle *pickle, const struct hone_node *arguments,
                               size_t least, size_t most, const char *what)
{
    const size_t count = arguments->as.items.count;
    if (count >= least && count <= most)
        return HONE_OK;
    return hone_pickle_fail(pickle, "%s with %zu parts; allowed: %zu to %zu", what, count, least,
                            most);
}

static hone_status check_kind(struct hone_pickle *pickle, const struct hone_node *node,
                              enum hone_node_kind kind, const char *what)
{
    if (node->kind == kind)
        return HONE_OK;
    return hone_pickle_fail(pickle, "%s is %s; it must be %s", what,
                            hone_node_kind_name(node->kind), hone_node_kind_name(kind));
}

/* A sequence of integers >= 0 as an array in the arena. */
static hone_status take_lengths(struct hone_pickle *pickle, const struct hone_node *node,
                                const char *what, int32_t *count, int64_t **lengths)
{
    if (!is_sequence(node))
        return hone_pickle_fail(pickle, "%s is %s; it must be a tuple", what,
                                hone_node_kind_name(node->kind));
    const struct hone_node_items *const items = &node->as.items;
    if (items->count > MAX_NDIM)
        return hone_pickle_fail(pickle, "%s has %zu numbers; allowed: at most %d", what,
                                items->count, MAX_NDIM);
    *count = (int32_t)items->count;
    *lengths = hone_arena_allocate(pickle->arena, items->count * sizeof **lengths);
    if (*lengths == NULL)
        return hone_arena_fail(pickle->arena, "the values of a pickle", pickle->error);
    for (size_t i = 0; i < items->count; i++) {
        const hone_status status = check_kind(pickle, items->at[i], HONE_NODE_INTEGER, what);
        if (status != HONE_OK)
            return status;
        if (items->at[i]->as.integer < 0)
            return hone_pickle_fail(pickle, "%s holds %" PRId64 "; allowed: 0 and more", what,
                                    items->at[i]->as.integer);
        (*lengths)[i] = items->at[i]->as.integer;
    }
    return HONE_OK;
}

/* ---- storages ------------------------------------------------------------------------------- */

/* ("storage", type, key, location, numel). The location is where it was: here it is in the file. */
hone_status hone_pickle_storage(struct hone_pickle *pickle, const struct hone_node *id,
                                struct hone_node **result)
{
    hone_status status = check_kind(pickle, id, HONE_NODE_TUPLE, "a persistent id");
    if (status == HONE_OK)
        status = check_count(pickle, id, 5, 5, "a persistent id");
    if (status != HONE_OK)
        return status;
    struct hone_node *const *const parts = id->as.items.at;
    if (!hone_node_is_string(parts[0], "storage"))
        return hone_pickle_fail(pickle, "a persistent id that is no storage");
    status = check_kind(pickle, parts[1], HONE_NODE_STORAGE_TYPE, "the type of a storage");
    if (status == HONE_OK)
        status = check_kind(pickle, parts[2], HONE_NODE_STRING, "the key of a storage");
    if (status == HONE_OK)
        status = check_kind(pickle, parts[4], HONE_NODE_INTEGER, "the length of a storage");
    if (status != HONE_OK)
        return status;
    const void *bytes = NULL;
    uint64_t size = 0;
    const char *const key = parts[2]->as.string.bytes;
    const size_t key_length = parts[2]->as.string.length;
    status = pickle->storages->find(pickle->storages->user, key, key_length, &bytes, &size,
                                    pickle->error);
    if (status != HONE_OK)
        return status;
    const int64_t numel = parts[4]->as.integer;
    const size_t element = hone_dtype_size(parts[1]->as.dtype);
    if (numel < 0 || (uint64_t)numel > size / element)
        return hone_pickle_fail(pickle,
                                "storage '%s' is said to hold %" PRId64 " elements of %s; the file "
                                "has %" PRIu64 " bytes of it",
                                hone_pickle_show(key, key_length).text, numel,
                                hone_dtype_name(parts[1]->as.dtype), size);
    *result = hone_pickle_node(pickle, HONE_NODE_STORAGE);
    if (*result == NULL)
        return HONE_ERROR_MEMORY;
    (*result)->as.storage = (struct hone_node_storage){bytes, parts[1]->as.dtype, numel};
    return HONE_OK;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* Whether every element lies within the storage: offset + sum of (length - 1) * step < numel.
 * A step that is never taken may be any number. */
static bool fits(const struct hone_node_storage *storage, int64_t offset, int32_t ndim,
                 const int64_t *shape, const int64_t *steps)
{
    int64_t last = offset;
    for (int32_t d = 0; d < ndim; d++) {
        int64_t reach;
        if (__builtin_mul_overflow(shape[d] - 1, steps[d], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    }
    return last < storage->numel;
}

static hone_status make_tensor(struct hone_pickle *pickle, const struct hone_node_storage *storage,
                               int64_t offset, int32_t ndim, const int64_t *shape, int64_t *steps,
                               struct hone_node **result)
{
    hone_tensor tensor = hone_tensor_view(NULL, storage->dtype, ndim, shape);
    const int64_t numel = hone_tensor_numel(&tensor);
    if (numel < 0)
        return hone_pickle_fail(pickle, "a tensor has more than 2^62 elements");
    if (offset < 0)
        return hone_pickle_fail(pickle, "a tensor begins at element %" PRId64 " of its storage",
                                offset);
    if (numel > 0 && !fits(storage, offset, ndim, shape, steps))
        return hone_pickle_fail(pickle,
                                "a tensor of %" PRId64 " elements from element %" PRId64
                                " on goes beyond its storage of %" PRId64,
                                numel, offset, storage->numel);
    if (numel == 0)
        memset(steps, 0, (size_t)ndim * sizeof *steps);
    else
        tensor.data =
            (void *)(uintptr_t)(storage->bytes + (size_t)offset * hone_dtype_size(storage->dtype));
    tensor.strides = steps;
    *result = hone_pickle_node(pickle, HONE_NODE_TENSOR);
    if (*result == NULL)
        return HONE_ERROR_MEMORY;
    (*result)->as.tensor = tensor;
    return HONE_OK;
}

/* (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
static hone_status rebuild_tensor(struct hone_pickle *pickle, const struct hone_node *arguments,
                                  struct hone_node **result)
{
    hone_status status = check_count(pickle, arguments, 6, 7, "a tensor");
    if (status != HONE_OK)
        return status;
    struct hone_node *const *const parts = arguments->as.items.at;
    status = check_kind(pickle, parts[0], HONE_NODE_STORAGE, "the storage of a tensor");
    if (status == HONE_OK)
        status = check_kind(pickle, parts[1], HONE_NODE_INTEGER, "the offset of a tensor");
    if (status != HONE_OK)
        return status;
    const bool marked = arguments->as.items.count == 7 &&
                        !(parts[6]->kind == HONE_NODE_DICT && parts[6]->as.items.count == 0);
    if (marked && parts[6]->kind != HONE_NODE_NONE) /* conjugate and negative bits change values */
        return hone_pickle_fail(pickle, "a tensor with metadata; allowed: none. Save the tensor "
                                        "after resolve_conj() and resolve_neg()");
    int32_t ndim = 0, step_count = 0;
    int64_t *shape = NULL, *steps = NULL;
    status = take_lengths(pickle, parts[2], "the size of a tensor", &ndim, &shape);
    if (status == HONE_OK)
        status = take_lengths(pickle, parts[3], "the strides of a tensor", &step_count, &steps);
    if (status != HONE_OK)
        return status;
    if (ndim != step_count)
        return hone_pickle_fail(pickle,
                                "a tensor of %" PRId32 " dimensions with %" PRId32 " strides", ndim,
                                step_count);
    return make_tensor(pickle, &parts[0]->as.storage, parts[1]->as.integer, ndim, shape, steps,
                       result);
}

/* (data, requires_grad, backward_hooks): the parameter is its data. */
static hone_status rebuild_parameter(struct hone_pickle *pickle, const struct hone_node *arguments,
                                     struct hone_node **result)
{
    hone_status status = check_count(pickle, arguments, 3, 3, "a parameter");
    if (status == HONE_OK)
        status = check_kind(pickle, arguments->as.items.at[0], HONE_NODE_TENSOR,
                            "the data of a parameter");
    if (status == HONE_OK)
        *result = arguments->as.items.at[0];
    return status;
}

/* (layout, (indices, values, size[, is_coalesced])) */
static hone_status rebuild_sparse(struct hone_pickle *pickle, const struct hone_node *arguments,
                                  struct hone_node **result)
{
    hone_status status = check_count(pickle, arguments, 2, 2, "a sparse tensor");
    if (status == HONE_OK)
        status = check_kind(pickle, arguments->as.items.at[0], HONE_NODE_LAYOUT,
                            "the layout of a sparse tensor");
    if (status == HONE_OK)
        status = check_kind(pickle, arguments->as.items.at[1], HONE_NODE_TUPLE,
                            "the data of a sparse tensor");
    if (status == HONE_OK)
        status = check_count(pickle, arguments->as.items.at[1], 3, 4, "a sparse tensor's data");
    if (status != HONE_OK)
        return status;
    struct hone_node *const *const parts = arguments->as.items.at[1]->as.items.at;
    status = check_kind(pickle, parts[0], HONE_NODE_TENSOR, "the indices of a sparse tensor");
    if (status == HONE_OK)
        status = check_kind(pickle, parts[1], HONE_NODE_TENSOR, "the values of a sparse tensor");
    int32_t ndim = 0;
    int64_t *shape = NULL;
    if (status == HONE_OK)
        status = take_lengths(pickle, parts[2], "the size of a sparse tensor", &ndim, &shape);
    if (status != HONE_OK)
        return status;
    struct hone_node_sparse *const sparse = hone_arena_allocate(pickle->arena, sizeof *sparse);
    *result = sparse == NULL ? NULL : hone_pickle_node(pickle, HONE_NODE_SPARSE);
    if (*result == NULL)
        return hone_arena_fail(pickle->arena, "the values of a pickle", pickle->error);
    *sparse = (struct hone_node_sparse){parts[0]->as.tensor, parts[1]->as.tensor, ndim, shape};
    (*result)->as.sparse = sparse;
    return HONE_OK;
}

/* ---- the smaller ones ----------------------------------------------------------------------- */

static hone_status get_layout(struct hone_pickle *pickle, const struct hone_node *arguments,
                              struct hone_node **result)
{
    const hone_status status = check_count(pickle, arguments, 1, 1, "a layout");
    if (status != HONE_OK)
        return status;
    const struct hone_node *const name = arguments->as.items.at[0];
    if (!hone_node_is_string(name, "torch.sparse_coo"))
        return hone_pickle_fail(
            pickle, "the layout %s; allowed: torch.sparse_coo",
            name->kind == HONE_NODE_STRING
                ? hone_pickle_show(name->as.string.bytes, name->as.string.length).text
                : hone_node_kind_name(name->kind));
    *result = hone_pickle_node(pickle, HONE_NODE_LAYOUT);
    return *result == NULL ? HONE_ERROR_MEMORY : HONE_OK;
}

static hone_status make_size(struct hone_pickle *pickle, const struct hone_node *arguments,
                             struct hone_node **result)
{
    hone_status status = check_count(pickle, arguments, 1, 1, "a torch.Size");
    int32_t ndim = 0;
    int64_t *lengths = NULL;
    if (status == HONE_OK)
        status = take_lengths(pickle, arguments->as.items.at[0], "a torch.Size", &ndim, &lengths);
    if (status != HONE_OK)
        return status;
    struct hone_node *const node = hone_pickle_node(pickle, HONE_NODE_SIZE);
    if (node == NULL)
        return HONE_ERROR_MEMORY;
    node->as.items = arguments->as.items.at[0]->as.items; /* sealed: they change no more */
    node->depth = 1;
    *result = node;
    return HONE_OK;
}

static hone_status make_dictionary(struct hone_pickle *pickle, const struct hone_node *arguments,
                                   struct hone_node **result)
{
    const hone_status status = check_count(pickle, arguments, 0, 0, "an OrderedDict");
    if (status != HONE_OK)
        return status;
    *result = hone_pickle_node(pickle, HONE_NODE_DICT);
    return *result == NULL ? HONE_ERROR_MEMORY : HONE_OK;
}

hone_status hone_pickle_call(struct hone_pickle *pickle, const struct hone_node *function,
                             const struct hone_node *arguments, struct hone_node **result)
{
    switch ((enum function)function->as.function) {
    case ORDERED_DICT:
        return make_dictionary(pickle, arguments, result);
    case REBUILD_TENSOR:
        return rebuild_tensor(pickle, arguments, result);
    case REBUILD_PARAMETER:
        return rebuild_parameter(pickle, arguments, result);
    case REBUILD_SPARSE:
        return rebuild_sparse(pickle, arguments, result);
    case GET_LAYOUT:
        return get_layout(pickle, arguments, result);
    default:
        return make_size(pickle, arguments, result);
    }
}
