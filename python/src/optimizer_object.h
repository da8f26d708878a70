/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Optimizer: what an object holds, and what its files share. optimizer.c has the type, groups
 * and the step, optimizer_entries.c the binding of memory, optimizer_scan.c the search for changes. */
#ifndef HONE_PYTHON_OPTIMIZER_OBJECT_H
#define HONE_PYTHON_OPTIMIZER_OBJECT_H

#include "binding.h"

enum { MAX_SLOTS = 8 }; /* of one rule */

enum { FEW_DIMENSIONS = 4 };

/* What is remembered of a tensor. A step reads all of it, so little of it lies elsewhere. */
struct layout {
    void *data;
    void *handle; /* of the tensor itself, or NULL */
    hone_dtype dtype;
    int32_t handle_dtype;
    hone_device_type device;
    int32_t device_index;
    int32_t ndim;
    int64_t few[2 * FEW_DIMENSIONS]; /* shape, then strides */
    int64_t *many;                   /* the same of a tensor of more dimensions */
};

struct slot {
    PyObject *name, *tensor;
    struct layout layout;
};

struct entry {
    PyObject *param;
    Py_ssize_t group, position; /* where it stands in param_groups */
    PyObject *state;            /* the dict in Optimizer.state, or NULL */
    PyObject *step; /* the tensor state["step"], or NULL; one on a device is Python's to advance */
    uint64_t count; /* completed calls, exact where the tensor is not */
    uint64_t seen;  /* the scan that last met its state */
    bool bound;     /* bind() has been called */
    bool staged;    /* its memory is a copy: Python renews it before every step */
    bool has_grad;  /* the library has one */
    int slot_count;
    struct layout param_layout, grad_layout, step_layout;
    struct slot slots[MAX_SLOTS];
};

/* A group's value that was pushed to the library: a different object there means a change. */
struct watched {
    PyObject *key, *value;
    bool constant; /* a number, text or memory that is bound: the same object is the same value */
};

struct group {
    struct watched *values;
    Py_ssize_t value_count;
    PyObject *curve; /* a callable that computes a curve, or NULL */
    bool matrix;     /* the library steps tensors as matrices, not as rows of numbers */
};

/* A key of Optimizer.state in its order, and whose it is (-1: none of this object's). */
struct place {
    PyObject *key; /* borrowed: an address to compare */
    Py_ssize_t entry;
};

typedef struct {
    PyObject_HEAD struct binding *binding; /* lives as long as the type */
    hone_optimizer *optimizer;
    struct entry *entries;
    Py_ssize_t entry_count, entry_capacity;
    struct group *groups;
    Py_ssize_t group_count;
    Py_ssize_t *group_lengths; /* parameters of each group when the entries were made */
    struct place *places;
    Py_ssize_t place_count, place_capacity;
    uint64_t scan;
    double norm;  /* total norm of the last step's gradients; NaN where none was asked for */
    bool clips;   /* a step is asked for its norm */
    bool running; /* the library works without the interpreter's lock: hands off */
    PyObject *word_step;
} Optimizer;

/* ---- optimizer.c ---------------------------------------------------------------------------- */

/* Raises a ValueError; returns NULL. */
PyObject *optimizer_fail(const char *text);

/* Whether another thread is inside the library with this object; raises. */
bool optimizer_is_busy(const Optimizer *self);

/* ---- optimizer_entries.c -------------------------------------------------------------------- */

/* Methods; the comments above their definitions say what they take and return. */
PyObject *optimizer_add(Optimizer *self, PyObject *args);
PyObject *optimizer_bind(Optimizer *self, PyObject *args);
PyObject *optimizer_fits(Optimizer *self, PyObject *args);
PyObject *optimizer_skip(Optimizer *self, PyObject *args);
PyObject *optimizer_renew(Optimizer *self, PyObject *args);
PyObject *optimizer_count(Optimizer *self, PyObject *args);
PyObject *optimizer_bind_lr(Optimizer *self, PyObject *args);
PyObject *optimizer_bind_loss_scale(Optimizer *self, PyObject *args);

void entry_clear(const Optimizer *self, struct entry *entry);

/* Whether a tensor is as it was remembered, by address and all else: 1, 0, or -1 and an exception. */
int layout_is_unchanged(const Optimizer *self, PyObject *tensor, const struct layout *layout);

/* The same of a tensor of one element, whose shape says nothing. */
int layout_is_at_place(const Optimizer *self, PyObject *tensor, const struct layout *layout);

/* Whether a view is what was remembered, but for its address. */
bool layout_is_same(const struct layout *layout, const struct view *view);

/* The number in a step counter's tensor in the processor's memory, and what it shows of a count. */
double step_shown(const struct layout *layout, uint64_t count);
double step_read(const struct layout *layout);
void step_write(const struct layout *layout, uint64_t count);

/* ---- optimizer_scan.c ----------------------------------------------------------------------- */

/* What a scan found, to be handed to Python. */
struct changes {
    bool structure;             /* groups or their parameters are others */
    PyObject *groups, *entries; /* lists of indices */
};

/* Compares everything with what is remembered, and moves gradients' addresses. 0, or -1 and an
 * exception. */
int optimizer_scan(Optimizer *self, PyObject *param_groups, PyObject *state,
                   struct changes *changes);

#endif
