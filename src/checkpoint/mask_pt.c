/* SPDX-License-Identifier: Apache-2.0 */
/* Masks from the tree of a .pt file: the layouts that exporters write, under their keys, with the
 * summary and the numbers that stand beside them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/mask_file.h"
#include "checkpoint/pt_file.h"
#include "checkpoint/text.h"

#define MOST_KEYS 64 /* of a dictionary that describes one mask */

/* ---- limits on work -------------------------------------------------------------------------- */

/* An entry of a dictionary that describes one mask; NULL also where there are too many for that: a
 * large one, named by many masks, would be searched for each of them. */
static const struct hone_node *get_of_mask(const struct hone_node *node, const char *key)
{
    const bool small = node->kind == HONE_NODE_DICT && node->as.items.count <= 2 * MOST_KEYS;
    return small ? hone_node_get(node, key) : NULL;
}

/* More entries than the mask has elements name some of them again. An honest file takes bytes
 * for each of those; a view with steps of 0 has any number in a few bytes, and one large
 * tensor may be named by many small masks. With this the work is bounded by the file's size
 * and the masks' memory. */
static hone_status check_entries(struct hone_mask_load *load, const char *name,
                                 const hone_tensor *indices, int32_t ndim, const int64_t *shape)
{
    const hone_tensor mask = hone_tensor_view(NULL, HONE_BOOL, ndim, shape);
    const int32_t last = indices->ndim - 1;
    const int64_t numel = hone_tensor_numel(&mask);
    if (last < 0 || indices->shape[last] <= numel)
        return HONE_OK;
    const uint64_t more = (uint64_t)(indices->shape[last] - numel);
    if (more > load->repeats)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "its indices have %" PRId64 " entries, but the mask has %" PRId64
                                   " elements; a file may repeat as many entries as it has bytes, "
                                   "of which %" PRIu64 " are left",
                                   indices->shape[last], numel, load->repeats);
    load->repeats -= more;
    return HONE_OK;
}

/* ---- one mask ------------------------------------------------------------------------------- */

static bool is_compact(const struct hone_node *node)
{
    return get_of_mask(node, "indices") != NULL && get_of_mask(node, "shape") != NULL;
}

static bool is_mask(const struct hone_node *node)
{
    return node->kind == HONE_NODE_TENSOR || node->kind == HONE_NODE_SPARSE || is_compact(node);
}

static hone_status load_dense(struct hone_mask_load *load, const char *name,
                              const hone_tensor *tensor)
{
    hone_status status = hone_mask_load_reserve(load, name, tensor->ndim, tensor->shape);
    if (status != HONE_OK)
        return status;
    hone_mask *mask = NULL;
    hone_error reason;
    status = hone_mask_from_dense(&mask, load->context, tensor, &reason);
    return hone_mask_load_add(load, name, status, &reason, mask, HONE_MASK_DENSE);
}

static hone_status load_sparse(struct hone_mask_load *load, const char *name,
                               const struct hone_node_sparse *sparse)
{
    hone_status status = hone_mask_load_reserve(load, name, sparse->ndim, sparse->shape);
    if (status == HONE_OK)
        status = check_entries(load, name, &sparse->indices, sparse->ndim, sparse->shape);
    if (status != HONE_OK)
        return status;
    hone_mask *mask = NULL;
    hone_error reason;
    status = hone_mask_from_coo(&mask, load->context, sparse->ndim, sparse->shape, &sparse->indices,
                                &sparse->values, &reason);
    return hone_mask_load_add(load, name, status, &reason, mask,
                              sparse->values.dtype == HONE_BOOL ? HONE_MASK_COO_BOOL
                                                                : HONE_MASK_COO_F32);
}

/* The "shape" of a compact dictionary. */
static hone_status take_shape(struct hone_mask_load *load, const char *name,
                              const struct hone_node *node, int32_t *ndim, int64_t *shape)
{
    if (node->kind != HONE_NODE_SIZE && node->kind != HONE_NODE_TUPLE &&
        node->kind != HONE_NODE_LIST)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "its 'shape' is %s; it must be a torch.Size, a tuple or a list",
                                   hone_node_kind_name(node->kind));
    const struct hone_node_items *const items = &node->as.items;
    if (items->count > HONE_MASK_MAX_NDIM)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "its 'shape' has %zu numbers; allowed: at most %d", items->count,
                                   HONE_MASK_MAX_NDIM);
    for (size_t i = 0; i < items->count; i++) {
        if (items->at[i]->kind != HONE_NODE_INTEGER || items->at[i]->as.integer < 0)
            return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                       "its 'shape' holds something else than integers from 0 on");
        shape[i] = items->at[i]->as.integer;
    }
    *ndim = (int32_t)items->count;
    return HONE_OK;
}

/* An entry that may be missing, but if it is there must be this text. */
static hone_status check_text(struct hone_mask_load *load, const char *name,
                              const struct hone_node *node, const char *key, const char *text)
{
    const struct hone_node *const value = hone_node_get(node, key);
    if (value == NULL || hone_node_is_string(value, text))
        return HONE_OK;
    return hone_mask_load_fail(
        load, HONE_ERROR_FORMAT, name, "its '%s' is %s; it must be '%s'", key,
        value->kind == HONE_NODE_STRING
            ? hone_pickle_show(value->as.string.bytes, value->as.string.length).text
            : hone_node_kind_name(value->kind),
        text);
}

/* The dictionary's own count of its positions, which are all different. */
static hone_status check_count(struct hone_mask_load *load, const char *name,
                               const struct hone_node *node, int64_t given, int64_t distinct)
{
    const struct hone_node *const nnz = hone_node_get(node, "nnz");
    if (nnz != NULL && (nnz->kind != HONE_NODE_INTEGER || nnz->as.integer != given))
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "it has %" PRId64 " positions, but its 'nnz' is not that number",
                                   given);
    if (given != distinct)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "of its %" PRId64 " positions only %" PRId64 " are different",
                                   given, distinct);
    return HONE_OK;
}

static hone_status load_compact(struct hone_mask_load *load, const char *name,
                                const struct hone_node *node)
{
    const struct hone_node *const positions = hone_node_get(node, "indices");
    if (positions->kind != HONE_NODE_TENSOR)
        return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                                   "its 'indices' are %s; they must be a tensor",
                                   hone_node_kind_name(positions->kind));
    int32_t ndim = 0;
    int64_t shape[HONE_MASK_MAX_NDIM];
    hone_status status = check_text(load, name, node, "layout", "compact_sparse");
    if (status == HONE_OK)
        status = check_text(load, name, node, "dtype", "bool");
    if (status == HONE_OK)
        status = take_shape(load, name, hone_node_get(node, "shape"), &ndim, shape);
    if (status == HONE_OK)
        status = hone_mask_load_reserve(load, name, ndim, shape);
    if (status == HONE_OK)
        status = check_entries(load, name, &positions->as.tensor, ndim, shape);
    if (status != HONE_OK)
        return status;
    hone_mask *mask = NULL;
    hone_error reason;
    status =
        hone_mask_from_positions(&mask, load->context, ndim, shape, &positions->as.tensor, &reason);
    if (status == HONE_OK)
        status =
            check_count(load, name, node, positions->as.tensor.shape[0], hone_mask_count(mask));
    else
        return hone_mask_load_add(load, name, status, &reason, NULL, HONE_MASK_COMPACT);
    if (status == HONE_OK)
        return hone_mask_load_add(load, name, status, &reason, mask, HONE_MASK_COMPACT);
    hone_mask_free(mask);
    return status;
}

static hone_status load_mask(struct hone_mask_load *load, const char *name,
                             const struct hone_node *node)
{
    if (node->kind == HONE_NODE_TENSOR)
        return load_dense(load, name, &node->as.tensor);
    if (node->kind == HONE_NODE_SPARSE)
        return load_sparse(load, name, node->as.sparse);
    if (is_compact(node))
        return load_compact(load, name, node);
    return hone_mask_load_fail(load, HONE_ERROR_FORMAT, name,
                               "it is %s; a mask is a dense or sparse tensor, or a dictionary with "
                               "'indices' and 'shape'",
                               hone_node_kind_name(node->kind));
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A terminated copy in the context's memory; refused when it holds a zero or is no string. */
static hone_status copy_name(struct hone_mask_load *load, const struct hone_node *key, char **name)
{
    if (key->kind != HONE_NODE_STRING)
        return hone_fail(load->error, HONE_ERROR_FORMAT, "a mask's name is %s; it must be a string",
                         hone_node_kind_name(key->kind));
    const char *const bytes = key->as.string.bytes;
    const size_t length = key->as.string.length;
    if (memchr(bytes, '\0', length) != NULL)
        return hone_fail(load->error, HONE_ERROR_FORMAT, "the mask name '%s' holds a zero byte",
                         hone_pickle_show(bytes, length).text);
    *name = hone_allocate(load->context, length + 1);
    if (*name == NULL)
        return hone_fail_memory(load->error, length + 1, "a mask's name");
    memcpy(*name, bytes, length);
    (*name)[length] = '\0';
    return HONE_OK;
}

static hone_status load_masks(struct hone_mask_load *load, const struct hone_node *masks)
{
    const struct hone_node_items *const items = &masks->as.items;
    for (size_t i = 0; i + 1 < items->count; i += 2) {
        char *name = NULL;
        hone_status status = copy_name(load, items->at[i], &name);
        if (status != HONE_OK)
            return status;
        status = load_mask(load, name, items->at[i + 1]);
        hone_string_free(load->context, name);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

/* ---- what stands beside --------------------------------------------------------------------- */

static int64_t take_count(const struct hone_node *summary, const char *key)
{
    const struct hone_node *const node = get_of_mask(summary, key);
    return node != NULL && node->kind == HONE_NODE_INTEGER ? node->as.integer : -1;
}

static double take_ratio(const struct hone_node *summary, const char *key)
{
    const struct hone_node *const node = get_of_mask(summary, key);
    if (node != NULL && node->kind == HONE_NODE_INTEGER)
        return (double)node->as.integer;
    return node != NULL && node->kind == HONE_NODE_NUMBER ? node->as.number : NAN;
}

static hone_status load_summary(struct hone_mask_load *load, const struct hone_node *summary)
{
    if (summary == NULL || summary->kind != HONE_NODE_DICT)
        return HONE_OK;
    const struct hone_node_items *const items = &summary->as.items;
    for (size_t i = 0; i + 1 < items->count; i += 2) {
        const struct hone_node *const about = items->at[i + 1];
        if (items->at[i]->kind != HONE_NODE_STRING || about->kind != HONE_NODE_DICT)
            continue;
        char *name = NULL;
        const hone_status status = copy_name(load, items->at[i], &name);
        if (status != HONE_OK)
            return status;
        const int64_t index = hone_mask_set_find(load->set, name);
        hone_string_free(load->context, name);
        if (index < 0)
            continue;
        const hone_mask_summary found = {.active_count = take_count(about, "active_count"),
                                         .total_count = take_count(about, "total_count"),
                                         .density = take_ratio(about, "density"),
                                         .sparsity = take_ratio(about, "sparsity")};
        hone_mask_set_put_summary(load->set, index, &found);
    }
    return HONE_OK;
}

/* Numbers beside the masks become notes. */
static hone_status load_notes(struct hone_mask_load *load, const struct hone_node *root)
{
    const struct hone_node_items *const items = &root->as.items;
    for (size_t i = 0; i + 1 < items->count; i += 2) {
        const struct hone_node *const value = items->at[i + 1];
        if (items->at[i]->kind != HONE_NODE_STRING ||
            (value->kind != HONE_NODE_INTEGER && value->kind != HONE_NODE_NUMBER))
            continue;
        char *key = NULL, text[32];
        hone_status status = copy_name(load, items->at[i], &key);
        if (status != HONE_OK)
            return status;
        if (value->kind == HONE_NODE_INTEGER)
            snprintf(text, sizeof text, "%" PRId64, value->as.integer);
        else
            hone_format_number(text, value->as.number);
        status = hone_mask_set_note(load->set, key, text, load->error);
        hone_string_free(load->context, key);
        if (status != HONE_OK)
            return status;
    }
    return HONE_OK;
}

/* ---- the file ------------------------------------------------------------------------------- */

static const struct hone_node *find_masks(const struct hone_node *root, const char **key)
{
    static const char *const keys[] = {"masks", "intersection_masks"};
    for (int i = 0; i < 2; i++) {
        const struct hone_node *const masks = hone_node_get(root, keys[i]);
        if (masks != NULL && masks->kind == HONE_NODE_DICT && !is_compact(masks)) {
            *key = keys[i];
            return masks;
        }
    }
    return NULL;
}

/* Masks directly in the top dictionary, if that is what it holds. */
static hone_status check_bare(struct hone_mask_load *load, const struct hone_node *root)
{
    const struct hone_node_items *const items = &root->as.items;
    if (items->count == 0)
        return hone_fail(load->error, HONE_ERROR_FORMAT,
                         "the file holds an empty dictionary; a mask file has 'masks', "
                         "'intersection_masks' or masks by name");
    for (size_t i = 0; i + 1 < items->count; i += 2) {
        const struct hone_node *const key = items->at[i];
        if (is_mask(items->at[i + 1]))
            continue;
        return hone_fail(
            load->error, HONE_ERROR_FORMAT,
            "the file has neither 'masks' nor 'intersection_masks', and its entry '%s' "
            "is %s, not a mask",
            key->kind == HONE_NODE_STRING
                ? hone_pickle_show(key->as.string.bytes, key->as.string.length).text
                : hone_node_kind_name(key->kind),
            hone_node_kind_name(items->at[i + 1]->kind));
    }
    return HONE_OK;
}

static hone_status load_tree(struct hone_mask_load *load, const struct hone_node *root)
{
    if (root->kind != HONE_NODE_DICT)
        return hone_fail(load->error, HONE_ERROR_FORMAT,
                         "the file holds %s; a mask file holds a dictionary",
                         hone_node_kind_name(root->kind));
    const char *key = NULL;
    const struct hone_node *const masks = find_masks(root, &key);
    if (masks == NULL) {
        const hone_status status = check_bare(load, root);
        return status == HONE_OK ? load_masks(load, root) : status;
    }
    hone_mask_set_put_key(load->set, key);
    hone_status status = load_masks(load, masks);
    if (status == HONE_OK)
        status = load_summary(load, hone_node_get(root, "summary"));
    return status == HONE_OK ? load_notes(load, root) : status;
}

hone_status hone_mask_load_pt(struct hone_mask_load *load, const void *bytes, size_t size)
{
    struct hone_pt pt;
    const size_t limit = load->limit > SIZE_MAX ? SIZE_MAX : (size_t)load->limit;
    hone_status status = hone_pt_read(&pt, load->context, bytes, size, limit, load->error);
    if (status != HONE_OK)
        return status;
    load->used = pt.arena.used;
    load->repeats = size;
    status = load_tree(load, pt.root);
    hone_pt_release(&pt);
    return status;
}
