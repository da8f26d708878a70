/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of hone._core.Table that look up and learn, and hone._core.Lookup, the memory of one batch
 * between the two. */
#include "table_type.h"

typedef struct {
    PyObject_HEAD Table *table;
    hone_lookup *lookup;
} Lookup;

/* ---- lookups -------------------------------------------------------------------------------- */

static void lookup_dealloc(Lookup *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    Table *const table = self->table;
    PyObject_GC_UnTrack(self);
    if (self->lookup != NULL && table->idle_count < TABLE_IDLE)
        table->idle[table->idle_count++] = self->lookup;
    else
        hone_lookup_free(self->lookup);
    Py_XDECREF((PyObject *)table);
    PyObject_GC_Del(self);
    Py_DECREF((PyObject *)type);
}

static int lookup_traverse(Lookup *self, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)Py_TYPE((PyObject *)self));
    Py_VISIT((PyObject *)self->table);
    return 0;
}

static PyObject *lookup_missing(Lookup *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_lookup_missing(self->lookup));
}

static PyObject *lookup_inserted(Lookup *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_lookup_inserted(self->lookup));
}

static PyObject *lookup_unique(Lookup *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_lookup_unique(self->lookup));
}

static PyGetSetDef lookup_members[] = {
    {"missing", (getter)lookup_missing, NULL, "keys without a row", NULL},
    {"inserted", (getter)lookup_inserted, NULL, "rows made", NULL},
    {"unique", (getter)lookup_unique, NULL, "different rows met; in training", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lookup_slots[] = {
    {Py_tp_doc, "The memory of one batch: its keys, their rows, which repeat"},
    {Py_tp_dealloc, lookup_dealloc},
    {Py_tp_traverse, lookup_traverse},
    {Py_tp_getset, lookup_members},
    {0, NULL},
};

static PyType_Spec lookup_spec = {
    .name = "hone._core.Lookup",
    .basicsize = sizeof(Lookup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lookup_slots,
};

PyTypeObject *make_lookup_type(void)
{
    return (PyTypeObject *)PyType_FromSpec(&lookup_spec);
}

/* A lookup that was used before, or a new one. */
static Lookup *take_lookup(Table *self)
{
    Lookup *const made = PyObject_GC_New(Lookup, self->lookup_type);
    if (made == NULL)
        return NULL;
    hone_error error;
    Py_INCREF((PyObject *)self);
    made->table = self;
    made->lookup = self->idle_count > 0 ? self->idle[--self->idle_count] : NULL;
    PyObject_GC_Track(made);
    if (made->lookup != NULL || hone_lookup_create(&made->lookup, self->table, &error) == HONE_OK)
        return made;
    binding_raise(&error);
    Py_DECREF((PyObject *)made);
    return NULL;
}

/* The object is made first: with the table's lock held no other object's finalizer may run. */
static Lookup *enter_with_lookup(Table *self)
{
    Lookup *const lookup = take_lookup(self);
    if (lookup == NULL || table_enter(self))
        return lookup;
    Py_DECREF((PyObject *)lookup);
    return NULL;
}

/* lookup(keys, n, train, out, dtype) -> Lookup */
PyObject *table_lookup(Table *self, PyObject *args)
{
    unsigned long long keys, out;
    long long n;
    int train, dtype;
    if (!PyArg_ParseTuple(args, "KLpKi", &keys, &n, &train, &out, &dtype))
        return NULL;
    Lookup *const lookup = enter_with_lookup(self);
    if (lookup == NULL)
        return NULL;
    hone_error error;
    hone_status status;
    const int64_t shape[2] = {n, hone_table_width(self->table)};
    const hone_tensor view = hone_tensor_view(address(out), (hone_dtype)dtype, 2, shape);
    RUN(status, hone_table_lookup(self->table, lookup->lookup, address(keys), n,
                                  train ? HONE_LOOKUP_TRAIN : HONE_LOOKUP_READ_ONLY,
                                  out == 0 ? NULL : &view, &error));
    return table_finish(self, status, &error, (PyObject *)lookup);
}

/* lookup_bags(keys, n, offsets, bags, weights, their dtype, mean, train, out, dtype) -> Lookup */
PyObject *table_lookup_bags(Table *self, PyObject *args)
{
    unsigned long long keys, offsets, weights, out;
    long long n, bags;
    int weight_dtype, mean, train, dtype;
    if (!PyArg_ParseTuple(args, "KLKLKippKi", &keys, &n, &offsets, &bags, &weights, &weight_dtype,
                          &mean, &train, &out, &dtype))
        return NULL;
    Lookup *const lookup = enter_with_lookup(self);
    if (lookup == NULL)
        return NULL;
    hone_error error;
    hone_status status;
    const int64_t shape[2] = {bags, hone_table_width(self->table)};
    const hone_tensor view = hone_tensor_view(address(out), (hone_dtype)dtype, 2, shape);
    const int64_t length = n;
    const hone_tensor factors =
        hone_tensor_view(address(weights), (hone_dtype)weight_dtype, 1, &length);
    RUN(status, hone_table_lookup_bags(self->table, lookup->lookup, address(keys), n,
                                       address(offsets), bags, weights == 0 ? NULL : &factors,
                                       mean ? HONE_POOLING_MEAN : HONE_POOLING_SUM,
                                       train ? HONE_LOOKUP_TRAIN : HONE_LOOKUP_READ_ONLY,
                                       out == 0 ? NULL : &view, &error));
    return table_finish(self, status, &error, (PyObject *)lookup);
}

/* values(lookup, n, out, dtype): the rows of a lookup's keys, one by one */
PyObject *table_values(Table *self, PyObject *args)
{
    PyObject *lookup;
    unsigned long long out;
    long long n;
    int dtype;
    if (!PyArg_ParseTuple(args, "O!LKi", self->lookup_type, &lookup, &n, &out, &dtype) ||
        !table_enter(self))
        return NULL;
    const int64_t shape[2] = {n, hone_table_width(self->table)};
    const hone_tensor view = hone_tensor_view(address(out), (hone_dtype)dtype, 2, shape);
    hone_error error;
    hone_status status;
    RUN(status, hone_table_gather(self->table, hone_lookup_rows(((Lookup *)lookup)->lookup), n,
                                  NULL, &view, &error));
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* ---- learning ------------------------------------------------------------------------------- */

static PyObject *describe_report(const hone_table_report *report)
{
    return Py_BuildValue("{s:O,s:L,s:L,s:L}", "applied", report->applied ? Py_True : Py_False,
                         "stepped", (long long)report->stepped, "stale", (long long)report->stale,
                         "quarantined", (long long)report->quarantined);
}

/* Reads (lookup, rows of the gradient, its address, dtype). */
static bool read_gradients(Table *self, PyObject *args, Lookup **lookup, int64_t shape[2],
                           hone_tensor *gradients)
{
    unsigned long long data;
    long long n;
    int dtype;
    if (!PyArg_ParseTuple(args, "O!LKi", self->lookup_type, (PyObject **)lookup, &n, &data, &dtype))
        return false;
    shape[0] = n;
    shape[1] = hone_table_width(self->table);
    *gradients = hone_tensor_view(address(data), (hone_dtype)dtype, 2, shape);
    return true;
}

PyObject *table_add_gradients(Table *self, PyObject *args)
{
    Lookup *lookup;
    int64_t shape[2];
    hone_tensor gradients;
    if (!read_gradients(self, args, &lookup, shape, &gradients) || !table_enter(self))
        return NULL;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_add_gradients(self->table, lookup->lookup, &gradients, &error));
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

PyObject *table_apply(Table *self, PyObject *args)
{
    Lookup *lookup;
    int64_t shape[2];
    hone_tensor gradients;
    if (!read_gradients(self, args, &lookup, shape, &gradients) || !table_enter(self))
        return NULL;
    hone_table_report report;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_apply(self->table, lookup->lookup, &gradients, &report, &error));
    table_leave(self);
    return status == HONE_OK ? describe_report(&report) : binding_raise(&error);
}

PyObject *table_step(Table *self, PyObject *unused)
{
    (void)unused;
    if (!table_enter(self))
        return NULL;
    hone_table_report report;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_step(self->table, &report, &error));
    table_leave(self);
    return status == HONE_OK ? describe_report(&report) : binding_raise(&error);
}

PyObject *table_zero_grad(Table *self, PyObject *unused)
{
    (void)unused;
    if (!table_enter(self))
        return NULL;
    hone_table_zero_grad(self->table);
    table_leave(self);
    Py_RETURN_NONE;
}
