/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the extension module hone._core share: its state, errors, and views of tensors. The
 * module is written against the limited API of CPython 3.10, so that one build serves all later
 * versions; it keeps everything in its module state, so each interpreter has its own. */
#ifndef HONE_PYTHON_BINDING_H
#define HONE_PYTHON_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <hone/hone.h>

#include "dlpack_exchange.h"

/* A context of each number of threads that was asked for. */
struct binding_context {
    int threads;
    hone_context *context;
};

/* Functions of PyTorch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h) on a handle, which
 * stands for a tensor and keeps it alive: what a tensor says of itself in a few nanoseconds, where the
 * exchange takes a hundred. Each answers 0, or another number on failure. */
struct handle_functions {
    int32_t (*data)(void *handle, void **data);
    int32_t (*dtype)(void *handle, int32_t *dtype);
    int32_t (*ndim)(void *handle, int64_t *ndim);
    int32_t (*shape)(void *handle, int64_t **shape);
    int32_t (*strides)(void *handle, int64_t **strides);
    int32_t (*release)(void *handle);
};

/* The state of the module, one for each interpreter that imports it. */
struct binding {
    PyTypeObject *tensor_type; /* torch.Tensor; NULL until set_tensor_type */
    PyObject *grad;            /* what the class has under `grad`: a getter of C, or NULL */
    descrgetfunc grad_get;     /* of it */
    PyTypeObject *grad_type;   /* the class of tensors that was last seen to have no other */
    PyTypeObject *mask_type;
    const struct exchange_api *exchange; /* NULL: an older PyTorch, asked through its methods */
    PyObject *make_handle; /* a tensor's handle as a capsule; NULL: the functions are not there */
    struct handle_functions handles;
    PyObject *allocate_on_device, *release_on_device; /* PyTorch's memory; NULL: the device's own */
    PyObject *word_grad, *word_params;                /* interned names of attributes and keys */
    struct binding_context *contexts;
    int context_count;
};

struct binding *binding_of(PyObject *module);

/* Raises the exception that fits the status, with the error's sentence; returns NULL. */
PyObject *binding_raise(const hone_error *error);

/* The context with so many threads (0: what OpenMP would use); NULL and an exception on failure. */
const hone_context *binding_context(struct binding *binding, int threads);

/* ---- tensors -------------------------------------------------------------------------------- */

/* What a tensor object says of its memory. Shape and strides belong to the tensor. */
struct view {
    void *data;
    hone_dtype dtype; /* F32, F64, BF16, F16, C64 or C128 */
    hone_device_type device;
    int32_t device_index;
    int32_t ndim;
    const int64_t *shape, *strides;
    int64_t room[2 * 64]; /* for shape and strides when the tensor has to be asked for them */
};

/* Fills `view`: 1; 0 without an exception for an object that is no plain floating-point tensor in memory
 * of the processor or of a CUDA device (sparse, on another device, another dtype, lazily conjugated);
 * -1 and an exception on failure. */
int binding_view(struct binding *binding, PyObject *tensor, struct view *view);

/* tensor.grad, a new reference. `kept`: it is the tensor's own, and lives as long as the tensor has it;
 * not what a subclass may make up for every answer. */
PyObject *binding_grad(struct binding *binding, PyObject *tensor, bool *kept);

/* Whether a plain tensor's memory holds the negative of its value: 1, 0, or -1 and an exception. */
int binding_is_negative(PyObject *tensor, const struct view *view);

int64_t view_numel(const struct view *view);
int view_reals(const struct view *view); /* per element: 2 for complex */

/* Whether the elements lie in memory without gaps and overlaps, in any order of the dimensions, and at
 * an address that their type allows. */
bool view_is_dense(const struct view *view);
bool view_is_contiguous(const struct view *view);                 /* row-major and dense */
bool view_same_order(const struct view *a, const struct view *b); /* shapes and strides alike */

/* A view of reals as the library takes it: flat, or as a matrix of the first dimension by all
 * others. `shape` has room for two lengths and is used by the result. */
hone_tensor view_tensor(const struct view *view, bool matrix, int64_t *shape);

/* ---- the parts of the module ---------------------------------------------------------------- */

/* What a Mask holds, borrowed; NULL and an exception for any other object. */
const hone_mask *binding_mask(struct binding *binding, PyObject *object);

int add_optimizer_type(PyObject *module);
int add_table_type(PyObject *module);
int add_snapshot_type(PyObject *module);
int add_mask_type(PyObject *module);
extern PyMethodDef clip_methods[], mask_methods[];

#endif
