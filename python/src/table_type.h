/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Table, as its neighbour hone._core.Snapshot knows it. */
#ifndef HONE_PYTHON_TABLE_TYPE_H
#define HONE_PYTHON_TABLE_TYPE_H

#include "binding.h"

enum { TABLE_IDLE = 8 }; /* lookups kept for the next batches */

/* What eviction removed during a call, told to Python after it. */
struct table_gone {
    int64_t *keys;
    char *rows;
    size_t count, capacity, row_size;
    bool failed; /* no memory for more */
};

typedef struct {
    PyObject_HEAD hone_context *context;
    hone_table *table;
    PyTypeObject *lookup_type;
    PyThread_type_lock
        lock;          /* one call at a time: the library runs without the interpreter's lock */
    long process;      /* that made it */
    PyObject *evicted; /* called with bytes of keys and of rows; or NULL */
    struct table_gone gone;
    hone_lookup *idle[TABLE_IDLE];
    int idle_count;
} Table;

/* False and an exception in a forked child: OpenMP's threads did not follow. */
bool table_enter(Table *self);
void table_leave(Table *self);

/* A memory address that Python hands in. */
static inline void *address(unsigned long long number)
{
    return (void *)(uintptr_t)number;
}

#endif
