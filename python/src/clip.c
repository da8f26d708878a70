/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping of gradients outside a step. */
#include "binding.h"

/* Views of all tensors in a list, and pointers to them as clip.h takes them. */
struct views {
    Py_ssize_t count;
    hone_tensor *tensors;
    const hone_tensor **pointers;
    int64_t (*shapes)[2];
};

static void free_views(struct views *views)
{
    PyMem_Free(views->tensors);
    PyMem_Free(views->pointers);
    PyMem_Free(views->shapes);
}

/* 1; 0 without an exception when a tensor is none that the library can clip; -1 on failure. The order
 * of elements does not matter, so dense tensors are taken as they lie. */
static int make_views(struct binding *binding, PyObject *list, struct views *views)
{
    const Py_ssize_t count = PyList_Size(list);
    *views = (struct views){.count = count};
    const size_t room = (size_t)count + 1;
    views->tensors = PyMem_Calloc(room, sizeof *views->tensors);
    views->pointers = PyMem_Calloc(room, sizeof *views->pointers);
    views->shapes = PyMem_Calloc(room, sizeof *views->shapes);
    if (views->tensors == NULL || views->pointers == NULL || views->shapes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        struct view view;
        PyObject *const grad = PyList_GetItem(list, i);
        int plain = binding_view(binding, grad, &view);
        if (plain == 1)
            plain = binding_is_negative(grad, &view) == 0;
        if (plain != 1 || view.device != HONE_CPU || !view_is_dense(&view))
            return PyErr_Occurred() ? -1 : 0;
        views->tensors[i] = view_tensor(&view, false, views->shapes[i]);
        views->pointers[i] = &views->tensors[i];
    }
    return 1;
}

/* A list and numbers turned into one call. */
static PyObject *clip(PyObject *module, PyObject *list, int threads, double limit, double order,
                      int strict, bool by_norm)
{
    struct binding *const binding = binding_of(module);
    const hone_context *const context = binding_context(binding, threads);
    struct views views = {0};
    PyObject *result = NULL;
    const int plain = context == NULL ? -1 : make_views(binding, list, &views);
    if (plain == 0) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else if (plain == 1) {
        double total = 0;
        hone_error error;
        PyThreadState *const thread = PyEval_SaveThread();
        const hone_status status =
            by_norm ? hone_clip_grad_norm(context, views.pointers, views.count, limit, order,
                                          strict != 0, &total, &error)
                    : hone_clip_grad_value(context, views.pointers, views.count, limit, &error);
        PyEval_RestoreThread(thread);
        result = status == HONE_OK ? PyFloat_FromDouble(total) : binding_raise(&error);
    }
    free_views(&views);
    return result;
}

static PyObject *clip_grad_norm(PyObject *module, PyObject *args)
{
    PyObject *list;
    double max_norm, order;
    int strict, threads;
    if (!PyArg_ParseTuple(args, "O!ddpi", &PyList_Type, &list, &max_norm, &order, &strict,
                          &threads))
        return NULL;
    return clip(module, list, threads, max_norm, order, strict, true);
}

static PyObject *clip_grad_value(PyObject *module, PyObject *args)
{
    PyObject *list;
    double limit;
    int threads;
    if (!PyArg_ParseTuple(args, "O!di", &PyList_Type, &list, &limit, &threads))
        return NULL;
    return clip(module, list, threads, limit, 0, 0, false);
}

PyMethodDef clip_methods[] = {
    {"clip_grad_norm", clip_grad_norm, METH_VARARGS,
     "clip_grad_norm(grads, max_norm, order, error_if_nonfinite, threads) -> total, or None if a "
     "tensor is not a dense one in memory"},
    {"clip_grad_value", clip_grad_value, METH_VARARGS,
     "clip_grad_value(grads, limit, threads) -> 0.0, or None likewise"},
    {NULL, NULL, 0, NULL},
};
