/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator that counts what it gives, fails where it is told to, fills new memory with rubbish,
 * and checks that every block comes back once, with the size it was asked for. */
#ifndef SUPPORT_COUNTING_ALLOCATOR_H
#define SUPPORT_COUNTING_ALLOCATOR_H

#include <hone/context.h>

struct counting {
    size_t calls;   /* of allocate, successful or not */
    size_t fail_at; /* the number of the call, from 1, that answers NULL; 0: none */
    size_t blocks;  /* alive now */
    size_t bytes;   /* alive now, as asked for */
    size_t wrong;   /* releases of what was not allocated, or with another size */
};

hone_allocator counting_allocator(struct counting *counting);

#endif
