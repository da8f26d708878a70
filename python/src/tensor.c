/* SPDX-License-Identifier: Apache-2.0 */
/* Views of PyTorch's tensors: by DLPack's C exchange interface where PyTorch has it (2.10), else by
 * calling the tensor's methods. */
#include <string.h>

#include "binding.h"

/* ---- by the exchange interface -------------------------------------------------------------- */

static bool exchange_dtype(const struct exchange_tensor *tensor, hone_dtype *dtype)
{
    if (tensor->type_lanes != 1)
        return false;
    switch (tensor->type_code * 1000 + tensor->type_bits) {
    case EXCHANGE_FLOAT * 1000 + 32:
        *dtype = HONE_F32;
        return true;
    case EXCHANGE_FLOAT * 1000 + 64:
        *dtype = HONE_F64;
        return true;
    case EXCHANGE_FLOAT * 1000 + 16:
        *dtype = HONE_F16;
        return true;
    case EXCHANGE_BFLOAT * 1000 + 16:
        *dtype = HONE_BF16;
        return true;
    case EXCHANGE_COMPLEX * 1000 + 64:
        *dtype = HONE_C64;
        return true;
    case EXCHANGE_COMPLEX * 1000 + 128:
        *dtype = HONE_C128;
        return true;
    default:
        return false;
    }
}

/* 1, 0 or -1: what a method without arguments answers, as a truth. */
static int ask(PyObject *object, const char *method)
{
    PyObject *const answer = PyObject_CallMethod(object, method, NULL);
    const int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

/* Whether the memory holds conjugates or negatives of the values: PyTorch keeps both as a mark on a view
 * that the exchange does not show. Only the imaginary part of a conjugate is a negative view of reals: with
 * strides of its own, unless it is a single number (binding_is_negative). */
static int is_lazy(PyObject *tensor, const struct view *view)
{
    if (view_reals(view) == 1)
        return 0;
    const int lazy = ask(tensor, "is_conj");
    return lazy == 0 ? ask(tensor, "is_neg") : lazy;
}

int binding_is_negative(PyObject *tensor, const struct view *view)
{
    return view->ndim == 0 ? ask(tensor, "is_neg") : 0;
}

static int exchange_view(struct binding *binding, PyObject *tensor, struct view *view)
{
    struct exchange_tensor found;
    if (binding->exchange->tensor_from_object(tensor, &found) != 0) {
        PyErr_Clear(); /* sparse, quantized, without memory, ... */
        return 0;
    }
    if (!exchange_dtype(&found, &view->dtype) ||
        (found.device_type != HONE_CPU && found.device_type != HONE_CUDA))
        return 0;
    view->data = (char *)found.data + found.byte_offset;
    view->device = (hone_device_type)found.device_type;
    view->device_index = view->device == HONE_CUDA ? found.device_index : 0;
    view->ndim = found.ndim;
    view->shape = found.shape;
    view->strides = found.strides;
    const int lazy = is_lazy(tensor, view);
    return lazy < 0 ? -1 : !lazy && (found.data != NULL || view_numel(view) == 0);
}

/* ---- by methods ----------------------------------------------------------------------------- */

/* str(getattr(tensor, attribute)) compared with names[i]; the index, -1 if none, -2 on failure. */
static int find_text(PyObject *tensor, const char *attribute, const char *const *names)
{
    PyObject *const value = PyObject_GetAttrString(tensor, attribute);
    PyObject *const text = value == NULL ? NULL : PyObject_Str(value);
    int found = text == NULL ? -2 : -1;
    for (int i = 0; text != NULL && names[i] != NULL; i++)
        if (PyUnicode_CompareWithASCIIString(text, names[i]) == 0)
            found = i;
    Py_XDECREF(text);
    Py_XDECREF(value);
    return found;
}

static int read_lengths(PyObject *tuple, int64_t *lengths, int32_t *count)
{
    const Py_ssize_t n = tuple == NULL ? -1 : PySequence_Size(tuple);
    if (n < 0 || n > 64)
        return n < 0 ? -1 : 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *const item = PySequence_GetItem(tuple, i);
        lengths[i] = item == NULL ? -1 : PyLong_AsLongLong(item);
        Py_XDECREF(item);
        if (PyErr_Occurred())
            return -1;
    }
    *count = (int32_t)n;
    return 1;
}

static int method_view(PyObject *tensor, struct view *view)
{
    static const char *const layouts[] = {"torch.strided", NULL};
    static const char *const devices[] = {"cpu",    "cuda:0", "cuda:1", "cuda:2", "cuda:3",
                                          "cuda:4", "cuda:5", "cuda:6", "cuda:7", NULL};
    static const char *const names[] = {"torch.float32",
                                        "torch.float64",
                                        "torch.bfloat16",
                                        "torch.float16",
                                        "torch.complex64",
                                        "torch.complex128",
                                        NULL};
    static const hone_dtype dtypes[] = {HONE_F32, HONE_F64, HONE_BF16,
                                        HONE_F16, HONE_C64, HONE_C128};
    const int layout = find_text(tensor, "layout", layouts);
    const int device = layout == 0 ? find_text(tensor, "device", devices) : layout;
    const int dtype = device >= 0 ? find_text(tensor, "dtype", names) : device;
    if (dtype < 0)
        return dtype == -2 ? -1 : 0;
    PyObject *const shape = PyObject_GetAttrString(tensor, "shape");
    PyObject *const strides = shape == NULL ? NULL : PyObject_CallMethod(tensor, "stride", NULL);
    PyObject *const data = strides == NULL ? NULL : PyObject_CallMethod(tensor, "data_ptr", NULL);
    int result = data == NULL ? -1 : read_lengths(shape, view->room, &view->ndim);
    if (result == 1)
        result = read_lengths(strides, view->room + 64, &view->ndim);
    if (result == 1)
        view->data = PyLong_AsVoidPtr(data);
    Py_XDECREF(shape);
    Py_XDECREF(strides);
    Py_XDECREF(data);
    if (result != 1 || PyErr_Occurred())
        return PyErr_Occurred() ? -1 : 0;
    view->dtype = dtypes[dtype];
    view->device = device == 0 ? HONE_CPU : HONE_CUDA;
    view->device_index = device == 0 ? 0 : device - 1;
    view->shape = view->room;
    view->strides = view->room + 64;
    const int lazy = is_lazy(tensor, view);
    return lazy < 0 ? -1 : !lazy && (view->data != NULL || view_numel(view) == 0);
}

int binding_view(struct binding *binding, PyObject *tensor, struct view *view)
{
    if (binding->tensor_type == NULL || !PyObject_TypeCheck(tensor, binding->tensor_type))
        return 0;
    return binding->exchange != NULL ? exchange_view(binding, tensor, view)
                                     : method_view(tensor, view);
}

/* Whether instances of a class answer for `grad` with the tensors' own getter. */
static bool has_plain_grad(const struct binding *binding, PyTypeObject *type)
{
    PyObject *const found = PyObject_GetAttr((PyObject *)type, binding->word_grad);
    const bool plain = found != NULL && found == binding->grad &&
                       PyType_GetSlot(type, Py_tp_getattro) == (void *)PyObject_GenericGetAttr;
    PyErr_Clear();
    Py_XDECREF(found);
    return plain;
}

/* By the getter itself: looking it up again costs as much as calling it. */
PyObject *binding_grad(struct binding *binding, PyObject *tensor, bool *kept)
{
    PyTypeObject *const type = Py_TYPE(tensor);
    *kept = true;
    if (type != binding->grad_type) {
        *kept = binding->grad == NULL || has_plain_grad(binding, type);
        if (binding->grad == NULL || !*kept)
            return PyObject_GetAttr(tensor, binding->word_grad);
        PyTypeObject *const before = binding->grad_type;
        Py_INCREF(type);
        binding->grad_type = type;
        Py_XDECREF(before);
    }
    return binding->grad_get(binding->grad, tensor, (PyObject *)type);
}

/* ---- shapes --------------------------------------------------------------------------------- */

int64_t view_numel(const struct view *view)
{
    int64_t numel = 1;
    for (int32_t i = 0; i < view->ndim; i++)
        numel *= view->shape[i];
    return numel;
}

int view_reals(const struct view *view)
{
    return view->dtype == HONE_C64 || view->dtype == HONE_C128 ? 2 : 1;
}

static bool is_aligned(const struct view *view)
{
    const size_t size = hone_dtype_size(view->dtype) / (size_t)view_reals(view);
    return (uintptr_t)view->data % size == 0;
}

/* Looks for the dimension that continues what was found so far, until none is left: quadratic in the
 * number of dimensions, which is small. */
bool view_is_dense(const struct view *view)
{
    if (!is_aligned(view))
        return false;
    const int64_t numel = view_numel(view);
    int64_t reached = 1;
    while (reached < numel) {
        int32_t next = 0;
        while (next < view->ndim && (view->shape[next] == 1 || view->strides[next] != reached))
            next++;
        if (next == view->ndim)
            return false;
        reached *= view->shape[next];
    }
    return true;
}

bool view_is_contiguous(const struct view *view)
{
    int64_t expected = 1;
    for (int32_t i = view->ndim - 1; i >= 0; i--) {
        if (view->shape[i] != 1 && view->strides[i] != expected)
            return view_numel(view) == 0;
        expected *= view->shape[i];
    }
    return is_aligned(view);
}

bool view_same_order(const struct view *a, const struct view *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int32_t i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i] || (a->shape[i] != 1 && a->strides[i] != b->strides[i]))
            return view_numel(a) == 0 &&
                   memcmp(a->shape, b->shape, sizeof *a->shape * (size_t)a->ndim) == 0;
    return true;
}

hone_tensor view_tensor(const struct view *view, bool matrix, int64_t *shape)
{
    hone_dtype dtype = view->dtype;
    if (view_reals(view) == 2)
        dtype = dtype == HONE_C64 ? HONE_F32 : HONE_F64;
    const int64_t numel = view_numel(view);
    shape[0] = matrix ? view->shape[0] : numel * view_reals(view);
    shape[1] = !matrix || numel == 0 ? 0 : numel / shape[0];
    hone_tensor tensor = hone_tensor_view(view->data, dtype, matrix ? 2 : 1, shape);
    tensor.device = view->device;
    tensor.device_index = view->device_index;
    return tensor;
}
