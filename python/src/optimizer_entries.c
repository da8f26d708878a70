/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that the entries of a hone._core.Optimizer are bound to. */
#include <string.h>

#include "optimizer_object.h"

/* ---- memory of tensors ---------------------------------------------------------------------- */

static void forget_layout(const Optimizer *self, struct layout *layout)
{
    if (layout->handle != NULL)
        self->binding->handles.release(layout->handle);
    PyMem_Free(layout->many);
    *layout = (struct layout){0};
}

static int remember_layout(const Optimizer *self, struct layout *layout, const struct view *view)
{
    const size_t n = (size_t)view->ndim;
    int64_t *many = NULL;
    if (n > FEW_DIMENSIONS) {
        many = PyMem_Malloc(sizeof *many * 2 * n);
        if (many == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    forget_layout(self, layout);
    *layout = (struct layout){.data = view->data,
                              .dtype = view->dtype,
                              .device = view->device,
                              .device_index = view->device_index,
                              .ndim = view->ndim,
                              .many = many};
    int64_t *const lengths = many != NULL ? many : layout->few;
    if (n > 0) {
        memcpy(lengths, view->shape, sizeof *lengths * n);
        memcpy(lengths + n, view->strides, sizeof *lengths * n);
    }
    return 0;
}

static bool has_lengths(const struct layout *layout, const int64_t *shape, const int64_t *strides)
{
    const int64_t *const lengths = layout->many != NULL ? layout->many : layout->few;
    for (int32_t i = 0; i < layout->ndim; i++)
        if (lengths[i] != shape[i] || lengths[layout->ndim + i] != strides[i])
            return false;
    return true;
}

bool layout_is_same(const struct layout *layout, const struct view *view)
{
    return layout->dtype == view->dtype && layout->device == view->device &&
           layout->device_index == view->device_index && layout->ndim == view->ndim &&
           has_lengths(layout, view->shape, view->strides);
}

/* Remembers a tensor that is asked again in every step. */
static int remember_tensor(const Optimizer *self, struct layout *layout, PyObject *tensor,
                           const struct view *view)
{
    if (remember_layout(self, layout, view) < 0)
        return -1;
    struct binding *const binding = self->binding;
    if (binding->make_handle == NULL)
        return 0;
    PyObject *const capsule = PyObject_CallFunctionObjArgs(binding->make_handle, tensor, NULL);
    if (capsule == NULL)
        return -1;
    layout->handle = PyCapsule_GetPointer(capsule, NULL); /* from here on ours */
    Py_DECREF(capsule);
    if (layout->handle == NULL)
        return -1;
    binding->handles.dtype(layout->handle, &layout->handle_dtype);
    return 0;
}

static bool is_handle_at_place(const struct handle_functions *ask, const struct layout *layout)
{
    void *data;
    int32_t dtype;
    return ask->data(layout->handle, &data) == 0 && data == layout->data &&
           ask->dtype(layout->handle, &dtype) == 0 && dtype == layout->handle_dtype;
}

static bool is_handle_unchanged(const struct handle_functions *ask, const struct layout *layout)
{
    int64_t ndim, *shape, *strides;
    return is_handle_at_place(ask, layout) && ask->ndim(layout->handle, &ndim) == 0 &&
           ndim == layout->ndim && ask->shape(layout->handle, &shape) == 0 &&
           ask->strides(layout->handle, &strides) == 0 && has_lengths(layout, shape, strides);
}

int layout_is_at_place(const Optimizer *self, PyObject *tensor, const struct layout *layout)
{
    return layout->handle != NULL ? is_handle_at_place(&self->binding->handles, layout)
                                  : layout_is_unchanged(self, tensor, layout);
}

int layout_is_unchanged(const Optimizer *self, PyObject *tensor, const struct layout *layout)
{
    if (layout->handle != NULL)
        return is_handle_unchanged(&self->binding->handles, layout);
    struct view view;
    const int plain = binding_view(self->binding, tensor, &view);
    return plain <= 0 ? plain : view.data == layout->data && layout_is_same(layout, &view);
}

/* A view of a tensor that must be plain. */
static int need_view(const Optimizer *self, PyObject *tensor, struct view *view)
{
    const int plain = binding_view(self->binding, tensor, view);
    if (plain == 0)
        optimizer_fail("hone._core.Optimizer: not a dense floating-point tensor");
    return plain == 1 ? 0 : -1;
}

double step_read(const struct layout *layout)
{
    return layout->dtype == HONE_F32 ? (double)*(const float *)layout->data
                                     : *(const double *)layout->data;
}

double step_shown(const struct layout *layout, uint64_t count)
{
    return layout->dtype == HONE_F32 ? (double)(float)count : (double)count;
}

void step_write(const struct layout *layout, uint64_t count)
{
    const double shown = step_shown(layout, count);
    if (layout->dtype == HONE_F32)
        *(float *)layout->data = (float)shown;
    else
        *(double *)layout->data = shown;
}

static void clear_slots(const Optimizer *self, struct entry *entry)
{
    for (int k = 0; k < entry->slot_count; k++) {
        Py_CLEAR(entry->slots[k].name);
        Py_CLEAR(entry->slots[k].tensor);
        forget_layout(self, &entry->slots[k].layout);
    }
    entry->slot_count = 0;
    Py_CLEAR(entry->step);
    forget_layout(self, &entry->step_layout);
}

void entry_clear(const Optimizer *self, struct entry *entry)
{
    clear_slots(self, entry);
    Py_CLEAR(entry->state);
    Py_CLEAR(entry->param);
    forget_layout(self, &entry->param_layout);
    forget_layout(self, &entry->grad_layout);
}

/* ---- entries -------------------------------------------------------------------------------- */

static struct entry *entry_at(const Optimizer *self, Py_ssize_t index)
{
    if (index >= 0 && index < self->entry_count)
        return &self->entries[index];
    optimizer_fail("hone._core.Optimizer: no such parameter");
    return NULL;
}

static int grow_entries(Optimizer *self)
{
    if (self->entry_count < self->entry_capacity)
        return 0;
    const Py_ssize_t capacity = self->entry_capacity == 0 ? 16 : self->entry_capacity * 2;
    struct entry *const grown = PyMem_Realloc(self->entries, sizeof *grown * (size_t)capacity);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->entries = grown;
    self->entry_capacity = capacity;
    return 0;
}

/* add(group, position, param, memory) -> index, or -1 if the memory overlaps that of another. `memory`
 * is the parameter itself or a copy of it. */
PyObject *optimizer_add(Optimizer *self, PyObject *args)
{
    int group;
    Py_ssize_t position;
    PyObject *param, *memory;
    struct view view;
    if (optimizer_is_busy(self) ||
        !PyArg_ParseTuple(args, "inOO", &group, &position, &param, &memory))
        return NULL;
    if (group < 0 || group >= self->group_count)
        return optimizer_fail("hone._core.Optimizer: no such group");
    if (need_view(self, memory, &view) < 0 || grow_entries(self) < 0)
        return NULL;
    int64_t shape[2];
    char name[32];
    hone_error error;
    const hone_tensor tensor = view_tensor(&view, self->groups[group].matrix, shape);
    PyOS_snprintf(name, sizeof name, "%ld", (long)self->entry_count);
    const hone_status status =
        hone_optimizer_add(self->optimizer, name, &tensor, group, NULL, &error);
    if (status == HONE_ERROR_ARGUMENT)
        return PyLong_FromLong(-1);
    if (status != HONE_OK)
        return binding_raise(&error);
    struct entry *const entry = &self->entries[self->entry_count];
    memset(entry, 0, sizeof *entry);
    Py_INCREF(param);
    entry->param = param;
    entry->group = group;
    entry->position = position;
    entry->staged = memory != param;
    return PyLong_FromSsize_t(self->entry_count++);
}

/* Hands the library a slot's memory and remembers it. */
static int bind_slot(Optimizer *self, Py_ssize_t index, PyObject *name, PyObject *tensor, int adopt)
{
    struct entry *const entry = &self->entries[index];
    struct view view;
    int64_t shape[2];
    hone_error error;
    if (entry->slot_count == MAX_SLOTS || need_view(self, tensor, &view) < 0)
        return -1;
    PyObject *const text = PyUnicode_AsUTF8String(name);
    if (text == NULL)
        return -1;
    const hone_tensor memory = view_tensor(&view, self->groups[entry->group].matrix, shape);
    const hone_status status = hone_optimizer_bind_state(
        self->optimizer, index, PyBytes_AsString(text), &memory, adopt != 0, &error);
    Py_DECREF(text);
    if (status != HONE_OK) {
        binding_raise(&error);
        return -1;
    }
    struct slot *const slot = &entry->slots[entry->slot_count++];
    memset(slot, 0, sizeof *slot);
    Py_INCREF(name);
    Py_INCREF(tensor);
    slot->name = name;
    slot->tensor = tensor;
    return remember_tensor(self, &slot->layout, tensor, &view);
}

static int bind_slots(Optimizer *self, Py_ssize_t index, PyObject *slots)
{
    for (Py_ssize_t k = 0; k < PyTuple_Size(slots); k++) {
        PyObject *name, *tensor;
        int adopt;
        if (!PyArg_ParseTuple(PyTuple_GetItem(slots, k), "UOp", &name, &tensor, &adopt) ||
            bind_slot(self, index, name, tensor, adopt) < 0)
            return -1;
    }
    return 0;
}

static int bind_step(Optimizer *self, struct entry *entry, PyObject *step)
{
    struct view view;
    if (step == Py_None)
        return 0;
    if (need_view(self, step, &view) < 0)
        return -1;
    if (view_numel(&view) != 1 || (view.dtype != HONE_F32 && view.dtype != HONE_F64)) {
        optimizer_fail("hone._core.Optimizer: a step counter is one float32 or float64");
        return -1;
    }
    Py_INCREF(step);
    entry->step = step;
    return remember_tensor(self, &entry->step_layout, step, &view);
}

/* The parameter's own address, and its gradient's. */
static hone_status bind_memory(Optimizer *self, Py_ssize_t index, const struct view *memory,
                               const struct view *grad, hone_error *error)
{
    const bool matrix = self->groups[self->entries[index].group].matrix;
    int64_t shape[2], grad_shape[2];
    const hone_tensor tensor = view_tensor(memory, matrix, shape);
    const hone_tensor gradient = view_tensor(grad, matrix, grad_shape);
    hone_tensor now;
    hone_status status = hone_optimizer_tensor(self->optimizer, index, &now, error);
    if (status == HONE_OK && now.data != tensor.data)
        status = hone_optimizer_rebind(self->optimizer, index, &tensor, error);
    if (status == HONE_OK)
        status = hone_optimizer_set_grad(self->optimizer, index, &gradient, error);
    return status;
}

/* bind(index, memory, grad, state, slots, step, count) -> bool: the memory of one parameter and of
 * everything beside it; slots are (name, tensor, adopt). False: the library refuses an address, because
 * it overlaps another. */
PyObject *optimizer_bind(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    PyObject *memory, *grad, *state, *slots, *step;
    unsigned long long count;
    struct view memory_view, grad_view;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "nOOOO!OK", &index, &memory, &grad,
                                                     &state, &PyTuple_Type, &slots, &step, &count))
        return NULL;
    struct entry *const entry = entry_at(self, index);
    if (entry == NULL || need_view(self, memory, &memory_view) < 0 ||
        need_view(self, grad, &grad_view) < 0)
        return NULL;
    entry->bound = entry->has_grad = false;
    entry->staged = memory != entry->param;
    clear_slots(self, entry);
    const hone_status status = bind_memory(self, index, &memory_view, &grad_view, &error);
    if (status == HONE_ERROR_ARGUMENT)
        Py_RETURN_FALSE;
    if (status != HONE_OK)
        return binding_raise(&error);
    PyObject *const before = entry->state;
    entry->state = state == Py_None ? NULL : state;
    Py_XINCREF(entry->state);
    Py_XDECREF(before);
    if (remember_tensor(self, &entry->param_layout, memory, &memory_view) < 0 ||
        remember_layout(self, &entry->grad_layout, &grad_view) < 0 ||
        bind_slots(self, index, slots) < 0 || bind_step(self, entry, step) < 0)
        return NULL;
    hone_optimizer_set_step_count(self->optimizer, index, count, NULL);
    entry->count = count;
    entry->bound = entry->has_grad = true;
    Py_RETURN_TRUE;
}

/* fits(index, param) -> whether the tensor is what the library knows of the entry: its address, type and
 * shape. */
PyObject *optimizer_fits(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    PyObject *param;
    if (!PyArg_ParseTuple(args, "nO", &index, &param) || entry_at(self, index) == NULL)
        return NULL;
    struct view view;
    const int plain = binding_view(self->binding, param, &view);
    if (plain < 0)
        return NULL;
    const bool matrix = self->groups[self->entries[index].group].matrix;
    if (plain == 0 || (matrix && view.ndim < 2))
        Py_RETURN_FALSE;
    int64_t shape[2];
    const hone_tensor found = view_tensor(&view, matrix, shape);
    hone_tensor known;
    hone_error error;
    const hone_status status = hone_optimizer_tensor(self->optimizer, index, &known, &error);
    if (status != HONE_OK)
        return binding_raise(&error);
    return PyBool_FromLong(known.dtype == found.dtype && known.data == found.data &&
                           known.device == found.device &&
                           known.device_index == found.device_index &&
                           memcmp(known.shape, shape, sizeof *shape * (size_t)found.ndim) == 0);
}

/* skip(index): the parameter is left alone until it is bound again. */
PyObject *optimizer_skip(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "n", &index))
        return NULL;
    struct entry *const entry = entry_at(self, index);
    if (entry == NULL)
        return NULL;
    hone_optimizer_set_grad(self->optimizer, index, NULL, NULL);
    entry->bound = entry->has_grad = false;
    Py_RETURN_NONE;
}

/* renew(index): bound to copies, which Python makes anew before every step. */
PyObject *optimizer_renew(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    struct entry *const entry = optimizer_is_busy(self) || !PyArg_ParseTuple(args, "n", &index)
                                    ? NULL
                                    : entry_at(self, index);
    if (entry == NULL)
        return NULL;
    entry->staged = true;
    Py_RETURN_NONE;
}

PyObject *optimizer_count(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    if (!PyArg_ParseTuple(args, "n", &index))
        return NULL;
    const struct entry *const entry = entry_at(self, index);
    if (entry == NULL)
        return NULL;
    hone_tensor tensor;
    hone_error error;
    uint64_t count = entry->count;
    hone_status status = hone_optimizer_tensor(self->optimizer, index, &tensor, &error);
    if (status == HONE_OK && tensor.device != HONE_CPU) /* a device may have counted by itself */
        status = hone_optimizer_step_count(self->optimizer, index, &count, &error);
    return status == HONE_OK ? PyLong_FromUnsignedLongLong(count) : binding_raise(&error);
}

/* ---- numbers on a device ---------------------------------------------------------------------- */

/* A tensor as the library takes it; None: NULL. 0, or -1 and an exception. */
static int view_or_none(const Optimizer *self, PyObject *object, int64_t *shape,
                        hone_tensor *tensor, const hone_tensor **result)
{
    struct view view;
    *result = NULL;
    if (object == Py_None)
        return 0;
    if (need_view(self, object, &view) < 0)
        return -1;
    *tensor = view_tensor(&view, false, shape);
    *result = tensor;
    return 0;
}

/* bind_lr(group, tensor or None). The group's dict keeps the tensor, as watch() does. */
PyObject *optimizer_bind_lr(Optimizer *self, PyObject *args)
{
    int group;
    PyObject *object;
    int64_t shape[2];
    hone_tensor tensor;
    const hone_tensor *lr;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "iO", &group, &object) ||
        view_or_none(self, object, shape, &tensor, &lr) < 0)
        return NULL;
    if (hone_optimizer_bind_lr(self->optimizer, group, lr, &error) != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* bind_loss_scale(scale or None, found_inf or None). The caller keeps the tensors. */
PyObject *optimizer_bind_loss_scale(Optimizer *self, PyObject *args)
{
    PyObject *scale_object, *flag_object;
    int64_t scale_shape[2], flag_shape[2];
    hone_tensor scale_tensor, flag_tensor;
    const hone_tensor *scale, *flag;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "OO", &scale_object, &flag_object) ||
        view_or_none(self, scale_object, scale_shape, &scale_tensor, &scale) < 0 ||
        view_or_none(self, flag_object, flag_shape, &flag_tensor, &flag) < 0)
        return NULL;
    if (hone_optimizer_bind_loss_scale(self->optimizer, scale, flag, &error) != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}
