/* SPDX-License-Identifier: Apache-2.0 */
/* hone._core.Table: a table of the library. Memory crosses as addresses that hone/sparse has checked;
 * the library works without the interpreter's lock, under a lock of the table's own. What a budget or a
 * policy evicts is collected during the call and told to Python in one piece after it. */
#include "table_type.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- one call at a time --------------------------------------------------------------------- */

bool table_enter(Table *self)
{
    if (self->process != (long)getpid()) {
        PyErr_Format(
            PyExc_RuntimeError,
            "table \"%s\" was made by process %ld and this is its child %ld: threads do not "
            "survive a fork; make the table, or load it from a file, in the child",
            hone_table_name(self->table), self->process, (long)getpid());
        return false;
    }
    if (PyThread_acquire_lock(self->lock, NOWAIT_LOCK))
        return true;
    PyThreadState *const thread = PyEval_SaveThread();
    PyThread_acquire_lock(self->lock, WAIT_LOCK);
    PyEval_RestoreThread(thread);
    return true;
}

void table_leave(Table *self)
{
    PyThread_release_lock(self->lock);
}

/* ---- eviction ------------------------------------------------------------------------------- */

static bool grow(struct table_gone *gone)
{
    const size_t capacity = gone->capacity == 0 ? 64 : 2 * gone->capacity;
    int64_t *const keys = realloc(gone->keys, capacity * sizeof *keys);
    if (keys != NULL)
        gone->keys = keys;
    char *const rows = keys == NULL ? NULL : realloc(gone->rows, capacity * gone->row_size);
    if (rows == NULL)
        return false;
    gone->rows = rows;
    gone->capacity = capacity;
    return true;
}

static void note_evicted(int64_t key, const void *row, void *user)
{
    struct table_gone *const gone = user;
    if (gone->failed || (gone->count == gone->capacity && !grow(gone))) {
        gone->failed = true;
        return;
    }
    gone->keys[gone->count] = key;
    memcpy(gone->rows + gone->count * gone->row_size, row, gone->row_size);
    gone->count++;
}

/* Tells Python what is gone, with no lock held: the callback may use the table. */
static bool tell_evicted(PyObject *callback, const struct table_gone *gone)
{
    PyObject *answer = NULL;
    if (gone->failed)
        PyErr_NoMemory();
    else
        answer = PyObject_CallFunction(callback, "y#y#", (char *)gone->keys,
                                       (Py_ssize_t)(gone->count * sizeof *gone->keys), gone->rows,
                                       (Py_ssize_t)(gone->count * gone->row_size));
    free(gone->keys);
    free(gone->rows);
    Py_XDECREF(answer);
    return answer != NULL;
}

PyObject *table_finish(Table *self, hone_status status, const hone_error *error, PyObject *result)
{
    const struct table_gone gone = self->gone;
    const bool evicted = status == HONE_OK && (gone.count > 0 || gone.failed);
    if (evicted) /* a call that failed leaves it to the next one */
        self->gone = (struct table_gone){.row_size = gone.row_size};
    table_leave(self);
    if (status != HONE_OK)
        binding_raise(error);
    if (status == HONE_OK && (!evicted || tell_evicted(self->evicted, &gone)))
        return result;
    Py_XDECREF(result);
    return NULL;
}

/* ---- batches of keys ------------------------------------------------------------------------ */

/* find(keys, n, rows) -> keys without a row */
static PyObject *table_find(Table *self, PyObject *args)
{
    unsigned long long keys, rows;
    long long n;
    if (!PyArg_ParseTuple(args, "KLK", &keys, &n, &rows) || !table_enter(self))
        return NULL;
    int64_t missing = 0;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_find(self->table, address(keys), n, address(rows), &missing, &error));
    table_leave(self);
    return status == HONE_OK ? PyLong_FromLongLong(missing) : binding_raise(&error);
}

/* insert(keys, n, rows) -> rows made */
static PyObject *table_insert(Table *self, PyObject *args)
{
    unsigned long long keys, rows;
    long long n;
    if (!PyArg_ParseTuple(args, "KLK", &keys, &n, &rows) || !table_enter(self))
        return NULL;
    int64_t inserted = 0;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_insert(self->table, address(keys), n, address(rows), &inserted, &error));
    return table_finish(self, status, &error, PyLong_FromLongLong(inserted));
}

/* erase(keys, n) -> rows removed */
static PyObject *table_erase(Table *self, PyObject *args)
{
    unsigned long long keys;
    long long n;
    if (!PyArg_ParseTuple(args, "KL", &keys, &n) || !table_enter(self))
        return NULL;
    int64_t erased = 0;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_erase(self->table, address(keys), n, &erased, &error));
    table_leave(self);
    return status == HONE_OK ? PyLong_FromLongLong(erased) : binding_raise(&error);
}

/* copy(rows, n, slot or None, width, values, dtype, to_table) */
static PyObject *table_copy(Table *self, PyObject *args)
{
    unsigned long long rows, values;
    long long n, width;
    const char *slot;
    int dtype, to_table;
    if (!PyArg_ParseTuple(args, "KLzLKip", &rows, &n, &slot, &width, &values, &dtype, &to_table) ||
        !table_enter(self))
        return NULL;
    const int64_t shape[2] = {n, width};
    const hone_tensor view = hone_tensor_view(address(values), (hone_dtype)dtype, 2, shape);
    hone_error error;
    hone_status status;
    if (to_table)
        RUN(status, hone_table_scatter(self->table, address(rows), n, slot, &view, &error));
    else
        RUN(status, hone_table_gather(self->table, address(rows), n, slot, &view, &error));
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* keys(out, n): n must be the count, which another thread may have changed */
static PyObject *table_keys(Table *self, PyObject *args)
{
    unsigned long long out;
    long long n;
    if (!PyArg_ParseTuple(args, "KL", &out, &n) || !table_enter(self))
        return NULL;
    hone_error error;
    hone_status status = HONE_OK;
    const bool same = n == hone_table_count(self->table);
    if (same)
        RUN(status, hone_table_keys(self->table, address(out), &error));
    table_leave(self);
    return status == HONE_OK ? PyBool_FromLong(same) : binding_raise(&error);
}

/* evict(unseen_lookups, unseen_time, least_frequency, least_norm, most_rows) -> rows removed */
static PyObject *table_evict(Table *self, PyObject *args)
{
    hone_eviction policy = {0};
    unsigned int lookups, time, frequency;
    long long most;
    if (!PyArg_ParseTuple(args, "IIIdL", &lookups, &time, &frequency, &policy.least_norm, &most) ||
        !table_enter(self))
        return NULL;
    policy.unseen_lookups = lookups;
    policy.unseen_time = time;
    policy.least_frequency = frequency;
    int64_t evicted = 0;
    hone_error error;
    hone_status status;
    RUN(status, hone_table_evict(self->table, &policy, most, &evicted, &error));
    return table_finish(self, status, &error, PyLong_FromLongLong(evicted));
}

/* ---- settings ------------------------------------------------------------------------------- */

static PyObject *table_get(Table *self, PyObject *args)
{
    const char *name;
    double value;
    hone_error error;
    if (!PyArg_ParseTuple(args, "s", &name) || !table_enter(self))
        return NULL;
    const hone_status status = hone_table_get(self->table, name, &value, &error);
    table_leave(self);
    return status == HONE_OK ? PyFloat_FromDouble(value) : binding_raise(&error);
}

static PyObject *table_set(Table *self, PyObject *args)
{
    const char *name;
    double value;
    hone_error error;
    if (!PyArg_ParseTuple(args, "sd", &name, &value) || !table_enter(self))
        return NULL;
    const hone_status status = hone_table_set(self->table, name, value, &error);
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

static PyObject *table_set_accumulation(Table *self, PyObject *args)
{
    long long steps;
    int mean;
    hone_error error;
    if (!PyArg_ParseTuple(args, "Lp", &steps, &mean) || !table_enter(self))
        return NULL;
    const hone_status status = hone_table_set_grad_accum_steps(self->table, steps, mean, &error);
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

static PyObject *table_accumulation(Table *self, void *unused)
{
    (void)unused;
    bool mean;
    const int64_t steps = hone_table_grad_accum_steps(self->table, &mean);
    return Py_BuildValue("(LO)", (long long)steps, mean ? Py_True : Py_False);
}

static PyObject *table_set_loss_scale(Table *self, PyObject *value)
{
    hone_error error;
    const double scale = PyFloat_AsDouble(value);
    if (PyErr_Occurred() || !table_enter(self))
        return NULL;
    const hone_status status = hone_table_set_loss_scale(self->table, scale, &error);
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

static PyObject *table_set_clock(Table *self, PyObject *value)
{
    const unsigned long long now = PyLong_AsUnsignedLongLong(value);
    if (PyErr_Occurred() || !table_enter(self))
        return NULL;
    hone_table_set_clock(self->table, now);
    table_leave(self);
    Py_RETURN_NONE;
}

static PyObject *table_set_step(Table *self, PyObject *value)
{
    hone_error error;
    const unsigned long long step = PyLong_AsUnsignedLongLong(value);
    if (PyErr_Occurred() || !table_enter(self))
        return NULL;
    const hone_status status = hone_table_set_step(self->table, step, &error);
    table_leave(self);
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* A spec of `rule` with the values of a dict. */
static hone_status make_spec(hone_spec **spec, const Table *self, const char *rule,
                             PyObject *values, hone_error *error)
{
    hone_status status = hone_spec_create(spec, self->context, rule, error);
    PyObject *key, *value;
    for (Py_ssize_t at = 0; status == HONE_OK && PyDict_Next(values, &at, &key, &value);) {
        PyObject *const name = PyUnicode_AsUTF8String(key);
        const double number = PyFloat_AsDouble(value);
        if (name != NULL && !PyErr_Occurred())
            status = hone_spec_set(*spec, 0, PyBytes_AsString(name), number, error);
        else
            status = HONE_ERROR_ARGUMENT; /* with Python's exception */
        Py_XDECREF(name);
    }
    return status;
}

/* change_rule(rule, values or None, bias, decay); None: the rule is a preset */
static PyObject *table_change_rule(Table *self, PyObject *args)
{
    const char *rule;
    PyObject *values;
    int bias, decay;
    if (!PyArg_ParseTuple(args, "sOii", &rule, &values, &bias, &decay))
        return NULL;
    hone_table_options options;
    hone_table_options_init(&options);
    hone_spec *spec = NULL;
    hone_error error;
    hone_status status = values == Py_None ? HONE_OK : make_spec(&spec, self, rule, values, &error);
    options.rule = rule;
    options.spec = spec;
    options.bias = (hone_bias)bias;
    options.decay = (hone_decay)decay;
    if (status == HONE_OK && table_enter(self)) {
        RUN(status, hone_table_change_rule(self->table, &options, &error));
        table_leave(self);
    }
    hone_spec_free(spec);
    if (PyErr_Occurred())
        return NULL;
    if (status != HONE_OK)
        return binding_raise(&error);
    Py_RETURN_NONE;
}

/* ---- files by key --------------------------------------------------------------------------- */

static PyObject *exchange(Table *self, PyObject *args, bool out)
{
    PyObject *path;
    long long shard, shards;
    if (!PyArg_ParseTuple(args, "O&LL", PyUnicode_FSConverter, &path, &shard, &shards))
        return NULL;
    if (!table_enter(self)) {
        Py_DECREF(path);
        return NULL;
    }
    const char *const name = PyBytes_AsString(path);
    hone_error error;
    hone_status status;
    if (out)
        RUN(status, hone_table_export(self->table, name, shard, shards, &error));
    else
        RUN(status, hone_table_import(self->table, name, shard, shards, &error));
    Py_DECREF(path);
    Py_INCREF(Py_None);
    return table_finish(self, status, &error, Py_None);
}

static PyObject *table_export(Table *self, PyObject *args)
{
    return exchange(self, args, true);
}

static PyObject *table_import(Table *self, PyObject *args)
{
    return exchange(self, args, false);
}

/* ---- what it says of itself ----------------------------------------------------------------- */

static PyObject *table_count(Table *self, void *unused)
{
    (void)unused;
    return PyLong_FromLongLong(hone_table_count(self->table));
}

static PyObject *table_bytes(Table *self, void *unused)
{
    (void)unused;
    return Py_BuildValue("(KK)", (unsigned long long)hone_table_bytes(self->table),
                         (unsigned long long)hone_table_index_bytes(self->table));
}

static PyObject *table_progress(Table *self, void *unused)
{
    (void)unused;
    double power1, power2;
    hone_table_powers(self->table, &power1, &power2);
    return Py_BuildValue("(Kdd)", (unsigned long long)hone_table_step_count(self->table), power1,
                         power2);
}

/* ---- making and freeing --------------------------------------------------------------------- */

static bool make_table(Table *self, const char *name, hone_table_options *options, int threads,
                       unsigned long long seed)
{
    hone_context_options context;
    hone_context_options_init(&context);
    context.threads = threads;
    context.seed = seed;
    hone_error error;
    if (self->evicted != NULL) {
        options->evicted = note_evicted;
        options->evicted_user = &self->gone;
        self->gone.row_size = (size_t)options->width * hone_dtype_size(options->dtype);
    }
    hone_status status = hone_context_create(&self->context, &context, &error);
    if (status == HONE_OK)
        RUN(status, hone_table_create(&self->table, self->context, name, options, &error));
    if (status != HONE_OK)
        binding_raise(&error);
    return status == HONE_OK;
}

static int table_init(Table *self, PyObject *args, PyObject *names)
{
    static char *words[] = {"name",
                            "threads",
                            "seed",
                            "width",
                            "dtype",
                            "state_dtype",
                            "stochastic",
                            "rule",
                            "bias",
                            "decay",
                            "nonfinite",
                            "initial",
                            "initial_a",
                            "initial_b",
                            "admit_count",
                            "admit_counters",
                            "admit_probability",
                            "max_bytes",
                            "evict_rare",
                            "evicted",
                            NULL};
    hone_table_options o;
    hone_table_options_init(&o);
    const char *name;
    int threads, dtype, state_dtype, stochastic, bias, decay, nonfinite, initial, rare;
    unsigned long long seed, counters, bytes;
    long long width;
    unsigned int count;
    PyObject *evicted;
    if (self->table != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the table is already made");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(
            args, names, "$siKLiipsiiiiddIKdKpO", words, &name, &threads, &seed, &width, &dtype,
            &state_dtype, &stochastic, &o.rule, &bias, &decay, &nonfinite, &initial, &o.initial_a,
            &o.initial_b, &count, &counters, &o.admit_probability, &bytes, &rare, &evicted))
        return -1;
    o.width = width;
    o.dtype = (hone_dtype)dtype;
    o.state_dtype = (hone_dtype)state_dtype;
    o.stochastic = stochastic;
    o.bias = (hone_bias)bias;
    o.decay = (hone_decay)decay;
    o.nonfinite = (hone_row_policy)nonfinite;
    o.initial = (hone_initial)initial;
    o.admit_count = count;
    o.admit_counters = counters;
    o.max_bytes = bytes;
    o.evict_rare = rare;
    if (evicted != Py_None) {
        Py_INCREF(evicted);
        self->evicted = evicted;
    }
    self->process = (long)getpid();
    self->lock = PyThread_allocate_lock();
    self->lookup_type = make_lookup_type();
    if (self->lock == NULL)
        PyErr_NoMemory();
    return self->lock != NULL && self->lookup_type != NULL &&
                   make_table(self, name, &o, threads, seed)
               ? 0
               : -1;
}

static int table_traverse(Table *self, visitproc visit, void *arg)
{
    Py_VISIT((PyObject *)Py_TYPE((PyObject *)self));
    Py_VISIT((PyObject *)self->lookup_type);
    Py_VISIT(self->evicted);
    return 0;
}

static int table_clear(Table *self)
{
    Py_CLEAR(self->evicted);
    return 0;
}

static void table_dealloc(Table *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    table_clear(self);
    for (int i = 0; i < self->idle_count; i++)
        hone_lookup_free(self->idle[i]);
    hone_table_free(self->table);
    hone_context_free(self->context);
    if (self->lock != NULL)
        PyThread_free_lock(self->lock);
    free(self->gone.keys);
    free(self->gone.rows);
    Py_XDECREF((PyObject *)self->lookup_type);
    PyObject_GC_Del(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef table_methods[] = {
    {"lookup", (PyCFunction)table_lookup, METH_VARARGS, NULL},
    {"lookup_bags", (PyCFunction)table_lookup_bags, METH_VARARGS, NULL},
    {"values", (PyCFunction)table_values, METH_VARARGS, NULL},
    {"add_gradients", (PyCFunction)table_add_gradients, METH_VARARGS, NULL},
    {"apply", (PyCFunction)table_apply, METH_VARARGS, NULL},
    {"step", (PyCFunction)table_step, METH_NOARGS, NULL},
    {"zero_grad", (PyCFunction)table_zero_grad, METH_NOARGS, NULL},
    {"find", (PyCFunction)table_find, METH_VARARGS, NULL},
    {"insert", (PyCFunction)table_insert, METH_VARARGS, NULL},
    {"erase", (PyCFunction)table_erase, METH_VARARGS, NULL},
    {"copy", (PyCFunction)table_copy, METH_VARARGS, NULL},
    {"keys", (PyCFunction)table_keys, METH_VARARGS, NULL},
    {"evict", (PyCFunction)table_evict, METH_VARARGS, NULL},
    {"get", (PyCFunction)table_get, METH_VARARGS, NULL},
    {"set", (PyCFunction)table_set, METH_VARARGS, NULL},
    {"set_accumulation", (PyCFunction)table_set_accumulation, METH_VARARGS, NULL},
    {"set_loss_scale", (PyCFunction)table_set_loss_scale, METH_O, NULL},
    {"set_clock", (PyCFunction)table_set_clock, METH_O, NULL},
    {"set_step", (PyCFunction)table_set_step, METH_O, NULL},
    {"change_rule", (PyCFunction)table_change_rule, METH_VARARGS, NULL},
    {"export_rows", (PyCFunction)table_export, METH_VARARGS, NULL},
    {"import_rows", (PyCFunction)table_import, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef table_members[] = {
    {"count", (getter)table_count, NULL, "keys that have a row", NULL},
    {"bytes", (getter)table_bytes, NULL, "(of rows and index, of the index alone)", NULL},
    {"progress", (getter)table_progress, NULL, "(applied steps, power of beta1, of beta2)", NULL},
    {"accumulation", (getter)table_accumulation, NULL, "(steps of one update, whether averaged)",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_doc, "A table of the library (private: use hone.sparse.HashTable)"},
    {Py_tp_init, table_init},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_traverse, table_traverse},
    {Py_tp_clear, table_clear},
    {Py_tp_methods, table_methods},
    {Py_tp_getset, table_members},
    {0, NULL},
};

static PyType_Spec table_spec = {
    .name = "hone._core.Table",
    .basicsize = sizeof(Table),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = table_slots,
};

int add_table_type(PyObject *module)
{
    PyObject *const type = PyType_FromSpec(&table_spec);
    const int result = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return result;
}
