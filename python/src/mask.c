/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Mask: a mask of the library as a Python object, and the reading of mask files. Tensors come
 * as addresses of contiguous memory, which hone/masks.py and hone/optim/_masking.py make sure of. */
#include "binding.h"

enum { MAX_NDIM = HONE_MASK_MAX_NDIM };

typedef struct {
    PyObject_HEAD hone_mask *mask;
} Mask;

const hone_mask *binding_mask(struct binding *binding, PyObject *object)
{
    if (PyObject_TypeCheck(object, binding->mask_type))
        return ((Mask *)object)->mask;
    PyErr_SetString(PyExc_TypeError, "hone._core: not a Mask");
    return NULL;
}

/* Takes the mask over. */
static PyObject *wrap(struct binding *binding, hone_mask *mask)
{
    Mask *const self = (Mask *)PyType_GenericAlloc(binding->mask_type, 0);
    if (self == NULL)
        hone_mask_free(mask);
    else
        self->mask = mask;
    return (PyObject *)self;
}

static PyObject *wrap_made(struct binding *binding, hone_status status, hone_mask *mask,
                           const hone_error *error)
{
    return status == HONE_OK ? wrap(binding, mask) : binding_raise(error);
}

/* Reads a tuple of lengths; the number of them, or -1 and an exception. */
static int32_t read_shape(PyObject *tuple, int64_t *shape)
{
    const Py_ssize_t ndim = PyTuple_Check(tuple) ? PyTuple_Size(tuple) : -1;
    if (ndim < 0 || ndim > MAX_NDIM) {
        PyErr_SetString(PyExc_ValueError, "hone._core: a shape is a tuple of at most 64 lengths");
        return -1;
    }
    for (Py_ssize_t i = 0; i < ndim; i++)
        shape[i] = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
    return PyErr_Occurred() ? -1 : (int32_t)ndim;
}

/* ---- making --------------------------------------------------------------------------------- */

/* mask_from_dense(address, shape): one byte per element, row-major */
static PyObject *mask_from_dense(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    unsigned long long address;
    PyObject *lengths;
    int64_t shape[MAX_NDIM];
    if (!PyArg_ParseTuple(args, "KO", &address, &lengths))
        return NULL;
    const int32_t ndim = read_shape(lengths, shape);
    const hone_context *const context = ndim < 0 ? NULL : binding_context(binding, 0);
    if (context == NULL)
        return NULL;
    const hone_tensor values = hone_tensor_view((void *)(uintptr_t)address, HONE_U8, ndim, shape);
    hone_mask *mask = NULL;
    hone_error error;
    const hone_status status = hone_mask_from_dense(&mask, context, &values, &error);
    return wrap_made(binding, status, mask, &error);
}

/* mask_from_positions(address, count, shape): int64 positions in any order */
static PyObject *mask_from_positions(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    unsigned long long address;
    long long count;
    PyObject *lengths;
    int64_t shape[MAX_NDIM];
    if (!PyArg_ParseTuple(args, "KLO", &address, &count, &lengths))
        return NULL;
    const int32_t ndim = read_shape(lengths, shape);
    const hone_context *const context = ndim < 0 ? NULL : binding_context(binding, 0);
    if (context == NULL)
        return NULL;
    const int64_t length = count;
    const hone_tensor positions =
        hone_tensor_view((void *)(uintptr_t)address, HONE_I64, 1, &length);
    hone_mask *mask = NULL;
    hone_error error;
    const hone_status status =
        hone_mask_from_positions(&mask, context, ndim, shape, &positions, &error);
    return wrap_made(binding, status, mask, &error);
}

/* mask_from_words(bytes, shape): what words() gave */
static PyObject *mask_from_words(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    const char *bytes;
    Py_ssize_t size;
    PyObject *lengths;
    int64_t shape[MAX_NDIM];
    if (!PyArg_ParseTuple(args, "y#O", &bytes, &size, &lengths))
        return NULL;
    const int32_t ndim = read_shape(lengths, shape);
    const hone_context *const context = ndim < 0 ? NULL : binding_context(binding, 0);
    if (context == NULL)
        return NULL;
    const int64_t count = size / 4;
    const hone_tensor view = hone_tensor_view((void *)(uintptr_t)bytes, HONE_U32, 1, &count);
    hone_mask *mask = NULL;
    hone_error error;
    const hone_status status = hone_mask_from_words(&mask, context, ndim, shape, &view, &error);
    return wrap_made(binding, status, mask, &error);
}

/* A list of (name, Mask, form), the masks shared with the set. */
static PyObject *list_masks(struct binding *binding, const hone_mask_set *set)
{
    PyObject *const list = PyList_New(0);
    for (int64_t i = 0; list != NULL && i < hone_mask_set_count(set); i++) {
        PyObject *const mask = wrap(binding, hone_mask_share(hone_mask_set_mask(set, i)));
        PyObject *const item = mask == NULL
                                   ? NULL
                                   : Py_BuildValue("(sNs)", hone_mask_set_name(set, i), mask,
                                                   hone_mask_form_name(hone_mask_set_form(set, i)));
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(item);
    }
    return list;
}

/* load_masks(path, memory_limit): the path in bytes; a limit of 0 is the library's own */
static PyObject *load_masks(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    const char *path;
    long long limit;
    if (!PyArg_ParseTuple(args, "yL", &path, &limit))
        return NULL;
    const hone_context *const context = binding_context(binding, 0);
    if (context == NULL)
        return NULL;
    hone_mask_load_options options;
    hone_mask_load_options_init(&options);
    if (limit != 0)
        options.memory_limit = limit;
    hone_mask_set *set = NULL;
    hone_error error;
    PyThreadState *const thread = PyEval_SaveThread();
    const hone_status status = hone_mask_set_load(&set, context, path, &options, &error);
    PyEval_RestoreThread(thread);
    if (status != HONE_OK)
        return binding_raise(&error);
    PyObject *const list = list_masks(binding, set);
    hone_mask_set_free(set);
    return list;
}

PyMethodDef mask_methods[] = {
    {"mask_from_dense", mask_from_dense, METH_VARARGS, "mask_from_dense(address, shape) (private)"},
    {"mask_from_positions", mask_from_positions, METH_VARARGS,
     "mask_from_positions(address, count, shape) (private)"},
    {"mask_from_words", mask_from_words, METH_VARARGS, "mask_from_words(bytes, shape) (private)"},
    {"load_masks", load_masks, METH_VARARGS,
     "load_masks(path, memory_limit) -> [(name, Mask, layout)] (private)"},
    {NULL, NULL, 0, NULL},
};

/* ---- the object ----------------------------------------------------------------------------- */

static void deallocate(Mask *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    hone_mask_free(self->mask);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *get_shape(const Mask *self, void *unused)
{
    (void)unused;
    const int32_t ndim = hone_mask_ndim(self->mask);
    PyObject *const shape = PyTuple_New(ndim);
    for (int32_t i = 0; shape != NULL && i < ndim; i++) {
        PyObject *const length = PyLong_FromLongLong(hone_mask_shape(self->mask)[i]);
        if (length == NULL || PyTuple_SetItem(shape, i, length) < 0) {
            Py_DECREF(shape);
            return NULL;
        }
    }
    return shape;
}

static PyObject *get_numel(const Mask *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_mask_numel(self->mask));
}

static PyObject *get_count(const Mask *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_mask_count(self->mask));
}

static PyObject *get_density(const Mask *self, void *unused)
{
    (void)unused;
    return PyFloat_FromDouble(hone_mask_density(self->mask));
}

static PyObject *get_nbytes(const Mask *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_mask_memory_as(self->mask, HONE_MASK_BITMAP).bytes);
}

/* write_dense(address): one byte per element, row-major */
static PyObject *write_dense(const Mask *self, PyObject *args)
{
    unsigned long long address;
    hone_error error;
    if (!PyArg_ParseTuple(args, "K", &address))
        return NULL;
    if (hone_mask_to_dense(self->mask, (void *)(uintptr_t)address, &error) != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* write_positions(address, bits): count ascending positions of 32 or 64 bits */
static PyObject *write_positions(const Mask *self, PyObject *args)
{
    unsigned long long address;
    int bits;
    hone_error error;
    if (!PyArg_ParseTuple(args, "Ki", &address, &bits))
        return NULL;
    if (hone_mask_to_positions(self->mask, bits == 32 ? HONE_I32 : HONE_I64,
                               (void *)(uintptr_t)address, &error) != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* words(): the bitmap, as mask_from_words takes it */
static PyObject *words(const Mask *self, PyObject *unused)
{
    (void)unused;
    return PyBytes_FromStringAndSize((const char *)hone_mask_words(self->mask),
                                     (Py_ssize_t)(4 * hone_mask_word_count(self->mask)));
}

static PyObject *hash_of(const Mask *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(hone_mask_hash(self->mask));
}

static PyObject *compare(PyObject *self, PyObject *other, int operation)
{
    const struct binding *const binding = PyType_GetModuleState(Py_TYPE(self));
    if ((operation != Py_EQ && operation != Py_NE) ||
        !PyObject_TypeCheck(other, binding->mask_type))
        Py_RETURN_NOTIMPLEMENTED;
    const bool equal = hone_mask_equal(((Mask *)self)->mask, ((Mask *)other)->mask);
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

static PyObject *represent(PyObject *self)
{
    const hone_mask *const mask = ((Mask *)self)->mask;
    PyObject *const shape = get_shape((Mask *)self, NULL);
    PyObject *const text = shape == NULL ? NULL
                                         : PyUnicode_FromFormat("Mask(shape=%R, count=%lld)", shape,
                                                                (long long)hone_mask_count(mask));
    Py_XDECREF(shape);
    return text;
}

static PyGetSetDef properties[] = {
    {"shape", (getter)get_shape, NULL, "tuple of lengths", NULL},
    {"numel", (getter)get_numel, NULL, "number of elements", NULL},
    {"count", (getter)get_count, NULL, "number of true elements", NULL},
    {"density", (getter)get_density, NULL, "count / numel, 0.0 without elements", NULL},
    {"nbytes", (getter)get_nbytes, NULL, "bytes of the bitmap", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"write_dense", (PyCFunction)write_dense, METH_VARARGS, "write_dense(address) (private)"},
    {"write_positions", (PyCFunction)write_positions, METH_VARARGS,
     "write_positions(address, bits) (private)"},
    {"words", (PyCFunction)words, METH_NOARGS, "words() -> the bitmap as bytes (private)"},
    {"hash", (PyCFunction)hash_of, METH_NOARGS, "hash() -> 64 bits of shape and elements"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "One bit per element of a tensor; made by hone.masks"},
    {Py_tp_dealloc, deallocate},
    {Py_tp_getset, properties},
    {Py_tp_methods, methods},
    {Py_tp_richcompare, compare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_repr, represent},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "hone._core.Mask",
    .basicsize = sizeof(Mask),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = type_slots,
};

int add_mask_type(PyObject *module)
{
    PyObject *const type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    if (type == NULL)
        return -1;
    binding_of(module)->mask_type = (PyTypeObject *)type;
    Py_INCREF(type);
    const int result = PyModule_AddObjectRef(module, "Mask", type);
    Py_DECREF(type);
    return result;
}
