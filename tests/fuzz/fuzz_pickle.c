/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a pickle: they are refused with a sentence, or make a tree without cycles, not too
 * deep, whose every tensor can be read to its last element. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/pickle.h"
#include "fuzz/fuzz.h"

#define LIMIT ((size_t)1 << 22)

static volatile unsigned sink; /* keeps the reads below alive */

/* Storage "k" has k % 7 * 32 bytes, each in memory of its own so that a read beyond it is seen. */
struct storages {
    unsigned char *bytes[7];
};

static hone_status find(void *user, const char *key, size_t length, const void **bytes,
                        uint64_t *size, hone_error *error)
{
    const struct storages *const storages = user;
    if (length == 0)
        return hone_fail(error, HONE_ERROR_FORMAT, "no such storage");
    const unsigned index = (unsigned char)key[0] % 7;
    *bytes = storages->bytes[index];
    *size = index * 32;
    return HONE_OK;
}

/* The last element is the furthest one: no step is negative. */
static void touch_tensor(const hone_tensor *tensor)
{
    int64_t last = 0;
    REQUIRE(hone_tensor_numel(tensor) >= 0);
    if (hone_tensor_numel(tensor) == 0)
        return;
    for (int32_t d = 0; d < tensor->ndim; d++) {
        REQUIRE(tensor->strides[d] >= 0);
        last += (tensor->shape[d] - 1) * tensor->strides[d];
    }
    const unsigned char *const bytes = tensor->data;
    const size_t element = hone_dtype_size(tensor->dtype);
    sink += bytes[0];
    sink += bytes[(size_t)(last + 1) * element - 1];
}

static int budget; /* of visits: a tree may share parts and be longer walked than written */

static void walk(const struct hone_node *node, int depth)
{
    REQUIRE(depth <= HONE_PICKLE_MAX_DEPTH);
    REQUIRE(hone_node_kind_name(node->kind) != NULL);
    if (budget-- <= 0)
        return;
    switch (node->kind) {
    case HONE_NODE_STRING:
        for (size_t i = 0; i < node->as.string.length; i++)
            sink += (unsigned char)node->as.string.bytes[i];
        return;
    case HONE_NODE_TENSOR:
        touch_tensor(&node->as.tensor);
        return;
    case HONE_NODE_SPARSE:
        touch_tensor(&node->as.sparse->indices);
        touch_tensor(&node->as.sparse->values);
        return;
    case HONE_NODE_DICT:
        REQUIRE(node->as.items.count % 2 == 0);
        hone_node_get(node, "masks");
        break;
    case HONE_NODE_TUPLE:
    case HONE_NODE_LIST:
    case HONE_NODE_SIZE:
        break;
    default:
        return;
    }
    for (size_t i = 0; i < node->as.items.count; i++)
        walk(node->as.items.at[i], depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hone_context *const context = fuzz_context();
    struct storages storages;
    for (unsigned i = 0; i < 7; i++)
        REQUIRE((storages.bytes[i] = calloc(i == 0 ? 1 : i * 32, 1)) != NULL);
    struct hone_arena arena;
    hone_arena_start(&arena, context, LIMIT);
    const struct hone_pickle_storages source = {.find = find, .user = &storages};
    const struct hone_node *root = NULL;
    hone_error error = {.status = HONE_OK};
    const hone_status status = hone_pickle_read(&root, &arena, data, size, &source, &error);
    REQUIRE(arena.used <= LIMIT);
    budget = 100000;
    if (status == HONE_OK)
        walk(root, 0);
    else
        REQUIRE(error.status == status && memchr(error.message, '\0', sizeof error.message));
    hone_arena_release(&arena);
    for (unsigned i = 0; i < 7; i++)
        free(storages.bytes[i]);
    return 0;
}
