/* SPDX-License-Identifier: Apache-2.0 */
/* Every block lies behind a header of its own alignment, which remembers what was asked for. */
#include "support/counting_allocator.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE 0x616c697665u
#define DEAD 0x64656164u

struct header {
    size_t size;
    void *start; /* what the C library gave */
    uint64_t mark;
};

static void *allocate(size_t size, size_t alignment, void *user)
{
    struct counting *const counting = user;
    counting->calls++;
    if (counting->calls == counting->fail_at || size == 0 || alignment > 4096)
        return NULL;
    const size_t room = alignment < 64 ? 64 : alignment;
    void *start = NULL;
    if (posix_memalign(&start, room, room + size) != 0)
        return NULL;
    char *const memory = (char *)start + room;
    ((struct header *)(void *)memory)[-1] = (struct header){size, start, ALIVE};
    memset(memory, 0xa5, size);
    counting->blocks++;
    counting->bytes += size;
    return memory;
}

static void release(void *memory, size_t size, void *user)
{
    struct counting *const counting = user;
    struct header *const header = (struct header *)memory - 1;
    if (header->mark != ALIVE || header->size != size) {
        counting->wrong++;
        return;
    }
    header->mark = DEAD;
    counting->blocks--;
    counting->bytes -= size;
    free(header->start);
}

hone_allocator counting_allocator(struct counting *counting)
{
    return (hone_allocator){allocate, release, counting};
}
