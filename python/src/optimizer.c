/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Optimizer: the library's optimizer beside the lists and tensors of a torch.optim.Optimizer.
 * It remembers what it saw of every parameter, gradient, state and group value; step() compares that
 * with what is there now, moves gradients' addresses by itself, and hands everything else that changed
 * to Python (hone/optim/_engine.py), which decides and binds anew. So a step costs one call.
 *
 * Objects are compared by identity and tensors by address, type, shape and strides; no Python code
 * runs while nothing changed, except the getter of `grad`. */
#include <math.h>
#include <string.h>

#include "optimizer_object.h"

PyObject *optimizer_fail(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return NULL;
}

bool optimizer_is_busy(const Optimizer *self)
{
    if (self->running)
        PyErr_SetString(PyExc_RuntimeError, "another thread is stepping this optimizer");
    return self->running;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void clear_watched(struct group *group)
{
    for (Py_ssize_t i = 0; i < group->value_count; i++) {
        Py_CLEAR(group->values[i].key);
        Py_CLEAR(group->values[i].value);
    }
    PyMem_Free(group->values);
    group->values = NULL;
    group->value_count = 0;
}

static int clear(Optimizer *self)
{
    hone_optimizer_free(self->optimizer);
    self->optimizer = NULL;
    for (Py_ssize_t i = 0; i < self->entry_count; i++)
        entry_clear(self, &self->entries[i]);
    self->entry_count = 0;
    for (Py_ssize_t g = 0; g < self->group_count; g++) {
        clear_watched(&self->groups[g]);
        Py_CLEAR(self->groups[g].curve);
    }
    self->group_count = 0;
    return 0;
}

static int traverse(Optimizer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < self->entry_count; i++) {
        const struct entry *const entry = &self->entries[i];
        Py_VISIT(entry->param);
        Py_VISIT(entry->state);
        Py_VISIT(entry->step);
        for (int k = 0; k < entry->slot_count; k++)
            Py_VISIT(entry->slots[k].tensor);
    }
    for (Py_ssize_t g = 0; g < self->group_count; g++) {
        Py_VISIT(self->groups[g].curve);
        for (Py_ssize_t i = 0; i < self->groups[g].value_count; i++)
            Py_VISIT(self->groups[g].values[i].value);
    }
    return 0;
}

static void deallocate(Optimizer *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(self->entries);
    PyMem_Free(self->groups);
    PyMem_Free(self->group_lengths);
    PyMem_Free(self->places);
    Py_XDECREF(self->word_step);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* One group for each name of a rule. */
static hone_status make_groups(Optimizer *self, const hone_context *context, PyObject *rules,
                               hone_error *error)
{
    hone_spec *spec = NULL;
    hone_status status = HONE_OK;
    for (Py_ssize_t g = 0; g < self->group_count && status == HONE_OK; g++) {
        PyObject *const item = PySequence_GetItem(rules, g);
        PyObject *const text = item == NULL ? NULL : PyUnicode_AsUTF8String(item);
        const char *const name = text == NULL ? "" : PyBytes_AsString(text);
        status = g == 0 ? hone_spec_create(&spec, context, name, error)
                        : hone_spec_add_group(spec, name, NULL, NULL, error);
        Py_XDECREF(text);
        Py_XDECREF(item);
    }
    if (status == HONE_OK)
        status = hone_optimizer_create(&self->optimizer, context, spec, error);
    hone_spec_free(spec);
    return status;
}

static PyObject *create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"rules", "lengths", "threads", NULL};
    PyObject *rules, *lengths;
    int threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|i", words, &rules, &lengths, &threads))
        return NULL;
    const Py_ssize_t count = PySequence_Size(rules);
    if (count < 1 || PySequence_Size(lengths) != count)
        return PyErr_Occurred() ? NULL : optimizer_fail("hone._core.Optimizer: no groups");
    struct binding *const binding = PyType_GetModuleState(type);
    const hone_context *const context = binding_context(binding, threads);
    Optimizer *const self =
        context == NULL ? NULL : (Optimizer *)PyType_GenericAlloc(type, 0); /* all zero */
    if (self == NULL)
        return NULL;
    self->binding = binding;
    self->groups = PyMem_Calloc((size_t)count, sizeof *self->groups);
    self->group_lengths = PyMem_Calloc((size_t)count, sizeof *self->group_lengths);
    self->word_step = PyUnicode_InternFromString("step");
    if (self->groups == NULL || self->group_lengths == NULL)
        PyErr_NoMemory();
    else
        self->group_count = count;
    hone_error error;
    if (!PyErr_Occurred() && make_groups(self, context, rules, &error) != HONE_OK &&
        !PyErr_Occurred())
        binding_raise(&error);
    for (Py_ssize_t g = 0; g < count && !PyErr_Occurred(); g++) {
        PyObject *const item = PySequence_GetItem(lengths, g);
        self->group_lengths[g] = item == NULL ? -1 : PyLong_AsSsize_t(item);
        Py_XDECREF(item);
    }
    for (Py_ssize_t g = 0; g < count && !PyErr_Occurred(); g++)
        self->groups[g].matrix =
            hone_rule_is_matrix(hone_optimizer_group_rule(self->optimizer, (int)g));
    if (!PyErr_Occurred())
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* ---- groups --------------------------------------------------------------------------------- */

static PyObject *done(hone_status status, const hone_error *error)
{
    if (status != HONE_OK)
        return binding_raise(error);
    Py_RETURN_NONE;
}

static PyObject *set(Optimizer *self, PyObject *args)
{
    int group;
    const char *name;
    double value;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "isd", &group, &name, &value))
        return NULL;
    return done(hone_optimizer_set(self->optimizer, group, name, value, &error), &error);
}

/* set_coefficients(group, ((a, b, c), ...)): the polynomials of the Newton-Schulz steps, in order */
static PyObject *set_coefficients(Optimizer *self, PyObject *args)
{
    enum { MOST = 16 }; /* that the library takes */
    int group;
    PyObject *list;
    double triples[MOST][3];
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "iO!", &group, &PyTuple_Type, &list))
        return NULL;
    const Py_ssize_t count = PyTuple_Size(list);
    if (count > MOST)
        return optimizer_fail("hone._core.Optimizer: more than 16 polynomials");
    for (Py_ssize_t i = 0; i < count; i++) {
        double *const triple = triples[i];
        PyObject *const item = PyTuple_GetItem(list, i);
        if (!PyArg_ParseTuple(item, "ddd", &triple[0], &triple[1], &triple[2]))
            return NULL;
    }
    return done(hone_optimizer_set_coefficients(self->optimizer, group, (const double(*)[3])triples,
                                                (int)count, &error),
                &error);
}

/* set_mask(index, Mask): over the elements in the order of the parameter's memory */
static PyObject *set_mask(Optimizer *self, PyObject *args)
{
    Py_ssize_t index;
    PyObject *object;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "nO", &index, &object))
        return NULL;
    const hone_mask *const mask = binding_mask(self->binding, object);
    if (mask == NULL)
        return NULL;
    return done(hone_optimizer_set_mask(self->optimizer, index, mask, &error), &error);
}

/* Computes a curve in Python; an exception becomes NaN, which stops the step before it writes. */
static double call_curve(uint64_t completed, void *user)
{
    struct group *const group = user;
    const PyGILState_STATE gil = PyGILState_Ensure();
    double bound = Py_NAN;
    if (!PyErr_Occurred()) {
        PyObject *const answer =
            PyObject_CallFunction(group->curve, "K", (unsigned long long)completed);
        if (answer != NULL)
            bound = PyFloat_AsDouble(answer);
        Py_XDECREF(answer);
        if (PyErr_Occurred())
            bound = Py_NAN;
    }
    PyGILState_Release(gil);
    return bound;
}

/* set_curve(group, name, scale, power), or (group, name, callable) */
static PyObject *set_curve(Optimizer *self, PyObject *args)
{
    int index;
    const char *name;
    PyObject *scale;
    double power = 0;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "isO|d", &index, &name, &scale, &power))
        return NULL;
    if (index < 0 || index >= self->group_count)
        return optimizer_fail("hone._core.Optimizer: no such group");
    struct group *const group = &self->groups[index];
    if (PyCallable_Check(scale)) {
        PyObject *const before = group->curve;
        Py_INCREF(scale);
        group->curve = scale;
        Py_XDECREF(before);
        return done(hone_optimizer_set_curve_callback(self->optimizer, index, name, call_curve,
                                                      group, &error),
                    &error);
    }
    const double number = PyFloat_AsDouble(scale);
    if (PyErr_Occurred())
        return NULL;
    hone_status status =
        hone_optimizer_set_curve_callback(self->optimizer, index, name, NULL, NULL, &error);
    if (status == HONE_OK)
        status = hone_optimizer_set_curve(self->optimizer, index, name, number, power, &error);
    return done(status, &error);
}

static bool is_constant(PyObject *value)
{
    return value == Py_None || PyFloat_CheckExact(value) || PyLong_Check(value) ||
           PyUnicode_CheckExact(value);
}

/* A tuple of constants is one. */
static bool is_constant_value(PyObject *value)
{
    bool constant = is_constant(value);
    if (PyTuple_CheckExact(value)) {
        constant = true;
        for (Py_ssize_t i = 0; i < PyTuple_Size(value); i++)
            constant = constant && is_constant(PyTuple_GetItem(value, i));
    }
    return constant;
}

/* watch(group, group_dict, keys, bound): remembers the dict's values under these keys. `bound` is the
 * value that the library reads by itself, or None. */
static PyObject *watch(Optimizer *self, PyObject *args)
{
    int index;
    PyObject *dict, *keys, *bound;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "iO!O!O", &index, &PyDict_Type, &dict,
                                                     &PyTuple_Type, &keys, &bound))
        return NULL;
    if (index < 0 || index >= self->group_count)
        return optimizer_fail("hone._core.Optimizer: no such group");
    struct group *const group = &self->groups[index];
    const Py_ssize_t count = PyTuple_Size(keys);
    struct watched *const values = PyMem_Calloc((size_t)count + 1, sizeof *values);
    if (values == NULL)
        return PyErr_NoMemory();
    clear_watched(group);
    group->values = values;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *const key = PyTuple_GetItem(keys, i);
        PyObject *const value = PyDict_GetItemWithError(dict, key);
        Py_INCREF(key);
        Py_XINCREF(value);
        values[i] = (struct watched){.key = key,
                                     .value = value,
                                     .constant = value == NULL || value == bound ||
                                                 is_constant_value(value)};
        group->value_count = i + 1;
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* clip_norm(max_norm, order): every step then scales the gradients as it reads them */
static PyObject *clip_norm(Optimizer *self, PyObject *args)
{
    double max_norm, order;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "dd", &max_norm, &order))
        return NULL;
    self->clips = max_norm < (double)INFINITY;
    return done(hone_optimizer_clip_norm(self->optimizer, max_norm, order, HONE_NONFINITE_PROPAGATE,
                                         &error),
                &error);
}

static PyObject *get_norm(Optimizer *self, PyObject *unused)
{
    (void)unused;
    return PyFloat_FromDouble(self->norm);
}

static PyObject *set_loss_scale(Optimizer *self, PyObject *args)
{
    double scale;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "d", &scale))
        return NULL;
    return done(hone_optimizer_set_loss_scale(self->optimizer, scale, &error), &error);
}

/* ---- devices -------------------------------------------------------------------------------- */

/* set_stream(device, address of a cudaStream_t) */
static PyObject *set_stream(Optimizer *self, PyObject *args)
{
    int device;
    unsigned long long stream;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "iK", &device, &stream))
        return NULL;
    return done(
        hone_optimizer_set_stream(self->optimizer, device, (void *)(uintptr_t)stream, &error),
        &error);
}

static PyObject *set_capturable(Optimizer *self, PyObject *args)
{
    int capturable;
    hone_error error;
    if (optimizer_is_busy(self) || !PyArg_ParseTuple(args, "p", &capturable))
        return NULL;
    return done(hone_optimizer_set_capturable(self->optimizer, capturable != 0, &error), &error);
}

/* ---- the step ------------------------------------------------------------------------------- */

/* Counts, and the list of parameters that moved. */
static PyObject *count_stepped(Optimizer *self)
{
    PyObject *const stepped = PyList_New(0);
    for (Py_ssize_t i = 0; stepped != NULL && i < self->entry_count; i++) {
        struct entry *const entry = &self->entries[i];
        if (!entry->has_grad)
            continue;
        entry->count++;
        if (entry->step != NULL && entry->step_layout.device == HONE_CPU)
            step_write(&entry->step_layout, entry->count);
        if (PyList_Append(stepped, entry->param) < 0) {
            Py_DECREF(stepped);
            return NULL;
        }
    }
    return stepped;
}

static PyObject *run(Optimizer *self, PyObject *unused)
{
    (void)unused;
    hone_error error;
    hone_step_report report = {.total_norm = Py_NAN};
    if (optimizer_is_busy(self))
        return NULL;
    self->running = true;
    PyThreadState *const thread = PyEval_SaveThread();
    /* A device waits for whoever asks what came of a step, and a graph cannot. */
    const hone_status status =
        hone_optimizer_step(self->optimizer, self->clips ? &report : NULL, &error);
    PyEval_RestoreThread(thread);
    self->running = false;
    if (PyErr_Occurred()) /* from a curve */
        return NULL;
    self->norm = report.total_norm;
    return status == HONE_OK ? count_stepped(self) : binding_raise(&error);
}

/* step(param_groups, state): steps, and answers with the list of parameters that moved; or, when
 * something changed that Python has to look at, leaves all as it is and answers with the tuple
 * (structure, groups, entries). */
static PyObject *step(Optimizer *self, PyObject *args)
{
    PyObject *param_groups, *state;
    if (optimizer_is_busy(self) ||
        !PyArg_ParseTuple(args, "O!O!", &PyList_Type, &param_groups, &PyDict_Type, &state))
        return NULL;
    struct changes changes = {.groups = PyList_New(0), .entries = PyList_New(0)};
    PyObject *result = NULL;
    if (changes.groups != NULL && changes.entries != NULL &&
        optimizer_scan(self, param_groups, state, &changes) == 0) {
        const bool clean = !changes.structure && PyList_Size(changes.groups) == 0 &&
                           PyList_Size(changes.entries) == 0;
        result = clean ? run(self, NULL)
                       : Py_BuildValue("(OOO)", changes.structure ? Py_True : Py_False,
                                       changes.groups, changes.entries);
    }
    Py_XDECREF(changes.groups);
    Py_XDECREF(changes.entries);
    return result;
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"set", (PyCFunction)set, METH_VARARGS, "set(group, hyperparameter, number)"},
    {"set_curve", (PyCFunction)set_curve, METH_VARARGS,
     "set_curve(group, hyperparameter, scale, power) or set_curve(group, hyperparameter, "
     "callable)"},
    {"set_coefficients", (PyCFunction)set_coefficients, METH_VARARGS,
     "set_coefficients(group, ((a, b, c), ...))"},
    {"set_mask", (PyCFunction)set_mask, METH_VARARGS, "set_mask(index, Mask)"},
    {"clip_norm", (PyCFunction)clip_norm, METH_VARARGS, "clip_norm(max_norm, order)"},
    {"norm", (PyCFunction)get_norm, METH_NOARGS, "norm() -> of the last step's gradients"},
    {"set_loss_scale", (PyCFunction)set_loss_scale, METH_VARARGS, "set_loss_scale(scale)"},
    {"watch", (PyCFunction)watch, METH_VARARGS, "watch(group, dict, keys, bound)"},
    {"set_stream", (PyCFunction)set_stream, METH_VARARGS, "set_stream(device, address)"},
    {"set_capturable", (PyCFunction)set_capturable, METH_VARARGS, "set_capturable(bool)"},
    {"bind_lr", (PyCFunction)optimizer_bind_lr, METH_VARARGS, "bind_lr(group, tensor or None)"},
    {"bind_loss_scale", (PyCFunction)optimizer_bind_loss_scale, METH_VARARGS,
     "bind_loss_scale(scale or None, found_inf or None)"},
    {"add", (PyCFunction)optimizer_add, METH_VARARGS,
     "add(group, position, param, memory) -> index or -1"},
    {"bind", (PyCFunction)optimizer_bind, METH_VARARGS,
     "bind(index, memory, grad, state, slots, step, count) -> bool"},
    {"fits", (PyCFunction)optimizer_fits, METH_VARARGS, "fits(index, param) -> bool"},
    {"skip", (PyCFunction)optimizer_skip, METH_VARARGS, "skip(index)"},
    {"renew", (PyCFunction)optimizer_renew, METH_VARARGS, "renew(index)"},
    {"count", (PyCFunction)optimizer_count, METH_VARARGS, "count(index) -> completed calls"},
    {"run", (PyCFunction)run, METH_NOARGS, "run() -> parameters that moved"},
    {"step", (PyCFunction)step, METH_VARARGS,
     "step(param_groups, state) -> parameters that moved, or (structure, groups, entries)"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "The library's optimizer beside a torch.optim.Optimizer (private)"},
    {Py_tp_new, create},
    {Py_tp_dealloc, deallocate},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "hone._core.Optimizer",
    .basicsize = sizeof(Optimizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = type_slots,
};

int add_optimizer_type(PyObject *module)
{
    PyObject *const type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    const int result = type == NULL ? -1 : PyModule_AddObjectRef(module, "Optimizer", type);
    Py_XDECREF(type);
    return result;
}
