/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Snapshot: tables copied at one moment, for a directory of increments or for memory; and
 * the way back. */
#include <stdlib.h>

#include "table_type.h"

/* Tables of one call, entered in the order of their addresses so that two threads cannot wait for each
 * other. */
struct tables {
    Table **objects;
    hone_table **tables;
    Py_ssize_t count, entered;
};

typedef struct {
    PyObject_HEAD struct tables of;
    hone_snapshot *snapshot;
    bool busy; /* being written */
} Snapshot;

/* ---- several tables ------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const Table *const x = *(Table *const *)a, *const y = *(Table *const *)b;
    return x < y ? -1 : x > y;
}

static void leave_all(struct tables *t)
{
    while (t->entered > 0)
        table_leave(t->objects[--t->entered]);
}

static bool enter_all(struct tables *t)
{
    while (t->entered < t->count) {
        if (!table_enter(t->objects[t->entered])) {
            leave_all(t);
            return false;
        }
        t->entered++;
    }
    return true;
}

static void release_tables(struct tables *t)
{
    for (Py_ssize_t i = 0; i < t->count; i++)
        Py_DECREF((PyObject *)t->objects[i]);
    PyMem_Free(t->objects);
    PyMem_Free(t->tables);
    *t = (struct tables){0};
}

/* From a list of different objects of one type, the module's Table. */
static bool take_tables(struct tables *t, PyObject *list, PyTypeObject *type)
{
    const Py_ssize_t n = PyList_Size(list);
    *t = (struct tables){.objects = PyMem_Calloc((size_t)n + 1, sizeof *t->objects),
                         .tables = PyMem_Calloc((size_t)n + 1, sizeof *t->tables)};
    if (t->objects == NULL || t->tables == NULL) {
        release_tables(t);
        PyErr_NoMemory();
        return false;
    }
    for (; t->count < n; t->count++) {
        PyObject *const table = PyList_GetItem(list, t->count);
        if (!PyObject_TypeCheck(table, type)) {
            PyErr_SetString(PyExc_TypeError, "a table is not a hone._core.Table");
            release_tables(t);
            return false;
        }
        Py_INCREF(table);
        t->objects[t->count] = (Table *)table;
        t->tables[t->count] = ((Table *)table)->table;
    }
    qsort(t->objects, (size_t)n, sizeof *t->objects, by_address);
    for (Py_ssize_t i = 1; i < n; i++)
        if (t->objects[i] == t->objects[i - 1]) {
            PyErr_SetString(PyExc_ValueError, "a table is given twice");
            release_tables(t);
            return false;
        }
    return true;
}

/* ---- taking and writing --------------------------------------------------------------------- */

/* Snapshot(type of Table, tables, kind) */
static int snapshot_init(Snapshot *self, PyObject *args, PyObject *names)
{
    PyObject *type, *list;
    int kind;
    if (names != NULL || self->of.objects != NULL) {
        PyErr_SetString(PyExc_TypeError, "Snapshot takes no keywords and is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O!O!i", &PyType_Type, &type, &PyList_Type, &list, &kind) ||
        !take_tables(&self->of, list, (PyTypeObject *)type) || !enter_all(&self->of))
        return -1;
    hone_error error;
    hone_status status;
    RUN(status, hone_snapshot_take(&self->snapshot, self->of.tables, self->of.count,
                                   (hone_snapshot_kind)kind, &error));
    leave_all(&self->of);
    if (status != HONE_OK)
        binding_raise(&error);
    return status == HONE_OK ? 0 : -1;
}

static bool begin(Snapshot *self)
{
    if (self->snapshot == NULL || self->busy) {
        PyErr_SetString(PyExc_RuntimeError, self->busy
                                                ? "the snapshot is being written by another thread"
                                                : "the snapshot has been freed");
        return false;
    }
    self->busy = true;
    return true;
}

struct extras {
    hone_file_entry *entries;
    int64_t (*shapes)[8];
    Py_ssize_t count;
};

static void release_extras(struct extras *e)
{
    PyMem_Free(e->entries);
    PyMem_Free(e->shapes);
}

static bool read_extra(PyObject *item, hone_file_entry *entry, int64_t *shape)
{
    unsigned long long data;
    int dtype;
    PyObject *lengths;
    if (!PyArg_ParseTuple(item, "sKiO!", &entry->name, &data, &dtype, &PyTuple_Type, &lengths))
        return false;
    const Py_ssize_t ndim = PyTuple_Size(lengths);
    if (ndim > 8) {
        PyErr_SetString(PyExc_ValueError, "an extra has more than 8 dimensions");
        return false;
    }
    for (Py_ssize_t i = 0; i < ndim; i++)
        shape[i] = PyLong_AsLongLong(PyTuple_GetItem(lengths, i));
    entry->tensor = hone_tensor_view(address(data), (hone_dtype)dtype, (int32_t)ndim, shape);
    return !PyErr_Occurred();
}

/* From a list of (name, address, dtype, shape). */
static bool take_extras(struct extras *e, PyObject *list)
{
    const Py_ssize_t n = PyList_Size(list);
    *e = (struct extras){.entries = PyMem_Calloc((size_t)n + 1, sizeof *e->entries),
                         .shapes = PyMem_Calloc((size_t)n + 1, sizeof *e->shapes)};
    if (e->entries == NULL || e->shapes == NULL)
        PyErr_NoMemory();
    while (!PyErr_Occurred() && e->count < n) {
        if (read_extra(PyList_GetItem(list, e->count), &e->entries[e->count], e->shapes[e->count]))
            e->count++;
    }
    if (PyErr_Occurred())
        release_extras(e);
    return !PyErr_Occurred();
}

/* write(directory, extras) */
static PyObject *snapshot_write(Snapshot *self, PyObject *args)
{
    PyObject *path, *list;
    struct extras extras;
    if (!PyArg_ParseTuple(args, "O&O!", PyUnicode_FSConverter, &path, &PyList_Type, &list))
        return NULL;
    if (!take_extras(&extras, list)) {
        Py_DECREF(path);
        return NULL;
    }
    hone_error error;
    hone_status status = HONE_OK;
    if (begin(self)) {
        RUN(status, hone_snapshot_write(self->snapshot, PyBytes_AsString(path), extras.entries,
                                        extras.count, &error));
        self->busy = false;
    }
    Py_DECREF(path);
    release_extras(&extras);
    if (PyErr_Occurred())
        return NULL;
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* pack(address, capacity) -> size */
static PyObject *snapshot_pack(Snapshot *self, PyObject *args)
{
    unsigned long long data, capacity;
    if (!PyArg_ParseTuple(args, "KK", &data, &capacity) || !begin(self))
        return NULL;
    size_t size = 0;
    hone_error error;
    hone_status status;
    RUN(status, hone_snapshot_pack(self->snapshot, address(data), (size_t)capacity, &size, &error));
    self->busy = false;
    return status == HONE_OK ? PyLong_FromSize_t(size) : binding_raise(&error);
}

static PyObject *snapshot_free(Snapshot *self, PyObject *unused)
{
    (void)unused;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "the snapshot is being written by another thread");
        return NULL;
    }
    if (self->snapshot != NULL) {
        if (!enter_all(&self->of))
            return NULL;
        hone_snapshot *const snapshot = self->snapshot;
        self->snapshot = NULL;
        hone_snapshot_free(snapshot);
        leave_all(&self->of);
    }
    Py_RETURN_NONE;
}

static void snapshot_dealloc(Snapshot *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyObject *const done = self->of.objects == NULL ? NULL : snapshot_free(self, NULL);
    Py_XDECREF(done); /* NULL in a forked child: the parent's tables and copies stay as they are */
    PyErr_Restore(kind, value, trace);
    release_tables(&self->of);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *snapshot_size(Snapshot *self, void *unused)
{
    (void)unused;
    if (!begin(self))
        return NULL;
    self->busy = false;
    return Py_BuildValue("(LK)", (long long)hone_snapshot_rows(self->snapshot),
                         (unsigned long long)hone_snapshot_bytes(self->snapshot));
}

static PyMethodDef snapshot_methods[] = {
    {"write", (PyCFunction)snapshot_write, METH_VARARGS, NULL},
    {"pack", (PyCFunction)snapshot_pack, METH_VARARGS, NULL},
    {"free", (PyCFunction)snapshot_free, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef snapshot_members[] = {
    {"size", (getter)snapshot_size, NULL, "(rows, bytes) of the copy", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot snapshot_slots[] = {
    {Py_tp_doc, "Tables at one moment (private: use hone.sparse.Snapshot)"},
    {Py_tp_init, snapshot_init},
    {Py_tp_dealloc, snapshot_dealloc},
    {Py_tp_methods, snapshot_methods},
    {Py_tp_getset, snapshot_members},
    {0, NULL},
};

static PyType_Spec snapshot_spec = {
    .name = "hone._core.Snapshot",
    .basicsize = sizeof(Snapshot),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = snapshot_slots,
};

/* ---- the way back --------------------------------------------------------------------------- */

/* restore(type of Table, tables, directory) -> (files, sequence, last path, problem) */
static PyObject *restore(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *type, *list, *path;
    struct tables tables;
    if (!PyArg_ParseTuple(args, "O!O!O&", &PyType_Type, &type, &PyList_Type, &list,
                          PyUnicode_FSConverter, &path))
        return NULL;
    PyObject *result = NULL;
    if (take_tables(&tables, list, (PyTypeObject *)type)) {
        if (enter_all(&tables)) {
            hone_restore_report report;
            hone_error error;
            hone_status status;
            RUN(status, hone_snapshot_restore(tables.tables, tables.count, PyBytes_AsString(path),
                                              &report, &error));
            leave_all(&tables);
            result = status == HONE_OK ? Py_BuildValue("(LKss)", (long long)report.files,
                                                       (unsigned long long)report.sequence,
                                                       report.last, report.problem)
                                       : binding_raise(&error);
        }
        release_tables(&tables);
    }
    Py_DECREF(path);
    return result;
}

/* unpack(type of Table, tables, address, size) */
static PyObject *unpack(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *type, *list;
    unsigned long long data, size;
    struct tables tables;
    if (!PyArg_ParseTuple(args, "O!O!KK", &PyType_Type, &type, &PyList_Type, &list, &data, &size) ||
        !take_tables(&tables, list, (PyTypeObject *)type))
        return NULL;
    PyObject *result = NULL;
    if (enter_all(&tables)) {
        hone_error error;
        hone_status status;
        RUN(status,
            hone_snapshot_unpack(tables.tables, tables.count, address(data), (size_t)size, &error));
        leave_all(&tables);
        result = status == HONE_OK ? Py_None : binding_raise(&error);
        Py_XINCREF(result);
    }
    release_tables(&tables);
    return result;
}

static PyMethodDef functions[] = {
    {"restore", restore, METH_VARARGS, "restore(Table, tables, directory) (private)"},
    {"unpack", unpack, METH_VARARGS, "unpack(Table, tables, address, size) (private)"},
    {NULL, NULL, 0, NULL},
};

int add_snapshot_type(PyObject *module)
{
    PyObject *const type = PyType_FromSpec(&snapshot_spec);
    const int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
