/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that grow with what has been asked for, carved from the front. */
#include "checkpoint/arena.h"

#include <string.h>

#define ALIGNMENT ((size_t)16)
#define FIRST_BLOCK ((size_t)4096)
#define LARGEST_BLOCK ((size_t)1 << 20) /* of those for small things */

struct hone_arena_block {
    struct hone_arena_block *next;
    size_t size, filled; /* bytes, the header included */
};

#define HEADER ((sizeof(struct hone_arena_block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

void hone_arena_start(struct hone_arena *arena, const hone_context *context, size_t limit)
{
    *arena = (struct hone_arena){.context = context, .limit = limit};
}

void hone_arena_release(struct hone_arena *arena)
{
    while (arena->blocks != NULL) {
        struct hone_arena_block *const block = arena->blocks;
        arena->blocks = block->next;
        hone_release(arena->context, block, block->size);
    }
    arena->used = 0;
}

static bool add_block(struct hone_arena *arena, size_t size)
{
    size_t wanted = arena->used < FIRST_BLOCK     ? FIRST_BLOCK
                    : arena->used > LARGEST_BLOCK ? LARGEST_BLOCK
                                                  : arena->used;
    if (size > SIZE_MAX - HEADER)
        return false;
    if (wanted < size + HEADER)
        wanted = size + HEADER;
    if (wanted > arena->limit - arena->used)
        wanted = size + HEADER; /* close to the limit: just what is needed */
    if (wanted > arena->limit - arena->used)
        return false;
    struct hone_arena_block *const block = hone_allocate(arena->context, wanted);
    if (block == NULL)
        return false;
    *block = (struct hone_arena_block){.next = arena->blocks, .size = wanted, .filled = HEADER};
    arena->blocks = block;
    arena->used += wanted;
    return true;
}

void *hone_arena_allocate(struct hone_arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct hone_arena_block *block = arena->blocks;
    if (block == NULL || size > block->size - block->filled) {
        if (!add_block(arena, size))
            return NULL;
        block = arena->blocks;
    }
    char *const memory = (char *)block + block->filled;
    block->filled += size;
    return memory;
}

void *hone_arena_grow(struct hone_arena *arena, const void *old, size_t old_size, size_t new_size)
{
    void *const memory = hone_arena_allocate(arena, new_size);
    if (memory != NULL && old_size > 0)
        memcpy(memory, old, old_size);
    return memory;
}

hone_status hone_arena_fail(const struct hone_arena *arena, const char *what, hone_error *error)
{
    return hone_fail(error, HONE_ERROR_MEMORY,
                     "out of memory for %s: %zu bytes are taken; the limit is %zu", what,
                     arena->used, arena->limit);
}
