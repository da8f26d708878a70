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
    PyThread_type_lock lock; /* one call at a time, without the interpreter's lock */
    long process;            /* that made it */
    PyObject *evicted;       /* called with bytes of keys and of rows; or NULL */
    struct table_gone gone;
    hone_lookup *idle[TABLE_IDLE];
    int idle_count;
} Table;

/* False and an exception in a forked child: OpenMP's threads did not follow. */
bool table_enter(Table *self);
void table_leave(Table *self);

/* Calls the library without the interpreter's lock, the table's own being held. */
#define RUN(status, call)                                   \
    do {                                                    \
        PyThreadState *const thread_ = PyEval_SaveThread(); \
        status = call;                                      \
        PyEval_RestoreThread(thread_);                      \
    } while (0)

/* Ends a call: leaves, raises if it failed, else tells Python what was evicted. Takes over `result`
 * (NULL with an exception) and returns it, or NULL and an exception. */
PyObject *table_finish(Table *self, hone_status status, const hone_error *error, PyObject *result);

/* ---- table_lookup.c ------------------------------------------------------------------------- */

PyTypeObject *make_lookup_type(void);
PyObject *table_lookup(Table *self, PyObject *args);
PyObject *table_lookup_bags(Table *self, PyObject *args);
PyObject *table_values(Table *self, PyObject *args);
PyObject *table_add_gradients(Table *self, PyObject *args);
PyObject *table_apply(Table *self, PyObject *args);
PyObject *table_step(Table *self, PyObject *unused);
PyObject *table_zero_grad(Table *self, PyObject *unused);

/* A memory address that Python hands in. */
static inline void *address(unsigned long long number)
{
    return (void *)(uintptr_t)number;
}

#endif
