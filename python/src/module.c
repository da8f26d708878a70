/* SPDX-License-Identifier: Apache-2.0 */
/* The extension module hone._core: its state, its errors, and the registry of rules as Python objects. */
#include "binding.h"

/* ---- state ---------------------------------------------------------------------------------- */

struct binding *binding_of(PyObject *module)
{
    return PyModule_GetState(module);
}

PyObject *binding_raise(const hone_error *error)
{
    PyObject *type = PyExc_ValueError;
    switch (error->status) {
    case HONE_ERROR_DTYPE:
        type = PyExc_TypeError;
        break;
    case HONE_ERROR_NAME:
        type = PyExc_KeyError;
        break;
    case HONE_ERROR_IO:
        type = PyExc_OSError;
        break;
    case HONE_ERROR_MEMORY:
        type = PyExc_MemoryError;
        break;
    case HONE_ERROR_UNSUPPORTED:
    case HONE_ERROR_DEVICE:
    case HONE_ERROR_NONFINITE:
    case HONE_ERROR_CLOSURE:
        type = PyExc_RuntimeError;
        break;
    default:
        break;
    }
    PyErr_SetString(type, error->message);
    return NULL;
}

/* Memory of a device from PyTorch, by set_device_allocator's functions; without them there is none. What
 * they raise becomes the library's error for memory. Called with or without the interpreter's lock. */
static void *allocate_on_device(size_t size, int device, void *stream, void *user)
{
    struct binding *const binding = user;
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *const allocate = binding->allocate_on_device;
    PyObject *const answer = allocate == NULL
                                 ? NULL
                                 : PyObject_CallFunction(allocate, "niK", (Py_ssize_t)size, device,
                                                         (unsigned long long)(uintptr_t)stream);
    void *const memory = answer == NULL ? NULL : PyLong_AsVoidPtr(answer);
    PyErr_Clear();
    Py_XDECREF(answer);
    PyGILState_Release(gil);
    return memory;
}

static void release_on_device(void *memory, size_t size, int device, void *stream, void *user)
{
    (void)size;
    struct binding *const binding = user;
    const PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *type, *value, *traceback; /* of an error under way, which may be why this is freed */
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *const free_block = binding->release_on_device; /* NULL: the interpreter ends */
    if (free_block != NULL) {
        PyObject *const answer =
            PyObject_CallFunction(free_block, "KiK", (unsigned long long)(uintptr_t)memory, device,
                                  (unsigned long long)(uintptr_t)stream);
        if (answer == NULL)
            PyErr_WriteUnraisable(free_block);
        Py_XDECREF(answer);
    }
    PyErr_Restore(type, value, traceback);
    PyGILState_Release(gil);
}

const hone_context *binding_context(struct binding *binding, int threads)
{
    for (int i = 0; i < binding->context_count; i++)
        if (binding->contexts[i].threads == threads)
            return binding->contexts[i].context;
    struct binding_context *const grown =
        PyMem_Realloc(binding->contexts, sizeof *grown * ((size_t)binding->context_count + 1));
    if (grown == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    binding->contexts = grown;
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = threads;
    options.device_allocator =
        (hone_device_allocator){allocate_on_device, release_on_device, binding};
    hone_error error;
    struct binding_context *const made = &grown[binding->context_count];
    if (hone_context_create(&made->context, &options, &error) != HONE_OK) {
        binding_raise(&error);
        return NULL;
    }
    made->threads = threads;
    binding->context_count++;
    return made->context;
}

/* ---- the registry --------------------------------------------------------------------------- */

static PyObject *words_of(const hone_hyper *hyper)
{
    PyObject *const words = PyList_New(0);
    for (int i = 0; words != NULL && hyper->words != NULL && hyper->words[i] != NULL; i++) {
        PyObject *const word = PyUnicode_FromString(hyper->words[i]);
        if (word == NULL || PyList_Append(words, word) < 0) {
            Py_XDECREF(word);
            Py_DECREF(words);
            return NULL;
        }
        Py_DECREF(word);
    }
    return words;
}

static PyObject *describe_hyper(const hone_hyper *hyper)
{
    static const char *const kinds[] = {"number", "flag", "choice", "curve"};
    PyObject *const words = words_of(hyper);
    return words == NULL
               ? NULL
               : Py_BuildValue("{s:s,s:s,s:d,s:d,s:d,s:d,s:O,s:s,s:N}", "name", hyper->name, "kind",
                               kinds[hyper->kind], "default", hyper->default_value, "power",
                               hyper->default_power, "low", hyper->low, "high", hyper->high,
                               "high_open", hyper->high_open ? Py_True : Py_False, "doc",
                               hyper->doc, "words", words);
}

static PyObject *describe_slot(const hone_rule *rule, const hone_slot *slot)
{
    const hone_hyper *const condition =
        slot->condition < 0 ? NULL : hone_rule_hyper(rule, slot->condition);
    return Py_BuildValue("{s:s,s:d,s:z,s:s}", "name", slot->name, "initial", slot->initial,
                         "condition", condition == NULL ? NULL : condition->name, "doc", slot->doc);
}

/* A list of `count` objects, made one after the other. */
static PyObject *list_of(int count, PyObject *(*make)(const hone_rule *rule, int index),
                         const hone_rule *rule)
{
    PyObject *const list = PyList_New(0);
    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *const item = make(rule, i);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_XDECREF(item);
            Py_DECREF(list);
            return NULL;
        }
        Py_DECREF(item);
    }
    return list;
}

static PyObject *hyper_at(const hone_rule *rule, int index)
{
    return describe_hyper(hone_rule_hyper(rule, index));
}

static PyObject *slot_at(const hone_rule *rule, int index)
{
    return describe_slot(rule, hone_rule_slot(rule, index));
}

static PyObject *rule_at(const hone_rule *unused, int index)
{
    (void)unused;
    const hone_rule *const rule = hone_rule_at(index);
    PyObject *const hypers = list_of(hone_rule_hyper_count(rule), hyper_at, rule);
    PyObject *const slots = list_of(hone_rule_slot_count(rule), slot_at, rule);
    if (hypers == NULL || slots == NULL) {
        Py_XDECREF(hypers);
        Py_XDECREF(slots);
        return NULL;
    }
    return Py_BuildValue(
        "{s:s,s:s,s:O,s:N,s:N}", "name", hone_rule_name(rule), "doc", hone_rule_doc(rule), "matrix",
        hone_rule_is_matrix(rule) ? Py_True : Py_False, "hypers", hypers, "slots", slots);
}

static PyObject *rules(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    return list_of(hone_rule_count(), rule_at, NULL);
}

/* ---- tensors -------------------------------------------------------------------------------- */

static const struct exchange_api *exchange_of(PyObject *type)
{
    PyObject *const capsule = PyObject_GetAttrString(type, "__dlpack_c_exchange_api__");
    const struct exchange_api *api = NULL;
    if (capsule != NULL)
        api = PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    PyErr_Clear(); /* an older PyTorch */
    Py_XDECREF(capsule);
    return api != NULL && api->major == 1 && api->tensor_from_object != NULL ? api : NULL;
}

/* set_tensor_type(torch.Tensor, exchange=True) -> whether tensors are read by the exchange interface */
static PyObject *set_tensor_type(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    PyObject *type;
    int exchange = 1;
    if (!PyArg_ParseTuple(args, "O!|p", &PyType_Type, &type, &exchange))
        return NULL;
    PyTypeObject *const before = binding->tensor_type;
    Py_INCREF(type);
    binding->tensor_type = (PyTypeObject *)type;
    Py_XDECREF(before);
    binding->exchange = exchange ? exchange_of(type) : NULL;
    Py_CLEAR(binding->grad_type);
    Py_XDECREF(binding->grad);
    binding->grad = PyObject_GetAttr(type, binding->word_grad);
    if (binding->grad == NULL || !Py_IS_TYPE(binding->grad, &PyGetSetDescr_Type)) {
        PyErr_Clear();
        Py_CLEAR(binding->grad);
    } else {
        binding->grad_get = (descrgetfunc)PyType_GetSlot(&PyGetSetDescr_Type, Py_tp_descr_get);
    }
    return PyBool_FromLong(binding->exchange != NULL);
}

/* set_handle_functions(make_handle, addresses of the functions in their order) */
static PyObject *set_handle_functions(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    PyObject *make;
    unsigned long long address[6];
    if (!PyArg_ParseTuple(args, "OKKKKKK", &make, &address[0], &address[1], &address[2],
                          &address[3], &address[4], &address[5]))
        return NULL;
    binding->handles = (struct handle_functions){
        .data = (int32_t(*)(void *, void **))(uintptr_t)address[0],
        .dtype = (int32_t(*)(void *, int32_t *))(uintptr_t)address[1],
        .ndim = (int32_t(*)(void *, int64_t *))(uintptr_t)address[2],
        .shape = (int32_t(*)(void *, int64_t **))(uintptr_t)address[3],
        .strides = (int32_t(*)(void *, int64_t **))(uintptr_t)address[4],
        .release = (int32_t(*)(void *))(uintptr_t)address[5],
    };
    PyObject *const before = binding->make_handle;
    binding->make_handle = make == Py_None ? NULL : make;
    Py_XINCREF(binding->make_handle);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* set_device_allocator(allocate(size, device, stream) -> address, release(address, device, stream)), once */
static PyObject *set_device_allocator(PyObject *module, PyObject *args)
{
    struct binding *const binding = binding_of(module);
    PyObject *allocate, *release;
    if (!PyArg_ParseTuple(args, "OO", &allocate, &release))
        return NULL;
    if (binding->allocate_on_device != NULL) {
        PyErr_SetString(PyExc_ValueError, "hone._core: there is an allocator for devices already");
        return NULL;
    }
    Py_INCREF(allocate);
    Py_INCREF(release);
    binding->allocate_on_device = allocate;
    binding->release_on_device = release;
    Py_RETURN_NONE;
}

/* layout(tensor) -> None unless it is a plain floating-point tensor in memory of the processor or of a
 * CUDA device; else whether it is dense */
static PyObject *layout(PyObject *module, PyObject *tensor)
{
    struct view view;
    const int plain = binding_view(binding_of(module), tensor, &view);
    if (plain < 0)
        return NULL;
    if (plain == 0)
        Py_RETURN_NONE;
    return PyBool_FromLong(view_is_dense(&view));
}

/* same_order(a, b) -> whether both are plain, dense, and have their elements in the same order */
static PyObject *same_order(PyObject *module, PyObject *args)
{
    PyObject *a, *b;
    struct view first, second;
    if (!PyArg_ParseTuple(args, "OO", &a, &b))
        return NULL;
    int plain = binding_view(binding_of(module), a, &first);
    if (plain == 1)
        plain = binding_view(binding_of(module), b, &second);
    if (plain < 0)
        return NULL;
    return PyBool_FromLong(plain == 1 && first.device == second.device &&
                           first.device_index == second.device_index && view_is_dense(&first) &&
                           view_is_dense(&second) && view_reals(&first) == view_reals(&second) &&
                           view_same_order(&first, &second));
}

static PyObject *cpu(PyObject *module, PyObject *unused)
{
    (void)unused;
    const hone_context *const context = binding_context(binding_of(module), 0);
    return context == NULL ? NULL : PyUnicode_FromString(hone_context_cpu(context));
}

/* ---- the module ----------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"rules", rules, METH_NOARGS, "rules() -> the registry, one dict for each update rule"},
    {"cpu", cpu, METH_NOARGS, "cpu() -> the level of processor instructions in use"},
    {"set_tensor_type", set_tensor_type, METH_VARARGS, "set_tensor_type(torch.Tensor) (private)"},
    {"set_handle_functions", set_handle_functions, METH_VARARGS,
     "set_handle_functions(make_handle, addresses...) (private)"},
    {"set_device_allocator", set_device_allocator, METH_VARARGS,
     "set_device_allocator(allocate, release) (private)"},
    {"layout", layout, METH_O, "layout(tensor) -> None, or whether it is dense (private)"},
    {"same_order", same_order, METH_VARARGS, "same_order(a, b) (private)"},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    struct binding *const binding = binding_of(module);
    binding->word_grad = PyUnicode_InternFromString("grad");
    binding->word_params = PyUnicode_InternFromString("params");
    if (binding->word_grad == NULL || binding->word_params == NULL ||
        PyModule_AddStringConstant(module, "version", hone_version()) < 0 ||
        PyModule_AddFunctions(module, clip_methods) < 0 ||
        PyModule_AddFunctions(module, mask_methods) < 0 || add_mask_type(module) < 0 ||
        add_table_type(module) < 0 || add_snapshot_type(module) < 0)
        return -1;
    return add_optimizer_type(module);
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(binding_of(module)->tensor_type);
    Py_VISIT(binding_of(module)->grad);
    Py_VISIT(binding_of(module)->grad_type);
    Py_VISIT(binding_of(module)->mask_type);
    Py_VISIT(binding_of(module)->make_handle);
    Py_VISIT(binding_of(module)->allocate_on_device);
    Py_VISIT(binding_of(module)->release_on_device);
    return 0;
}

static int clear(PyObject *module)
{
    struct binding *const binding = binding_of(module);
    Py_CLEAR(binding->tensor_type);
    Py_CLEAR(binding->grad);
    Py_CLEAR(binding->grad_type);
    Py_CLEAR(binding->mask_type);
    Py_CLEAR(binding->make_handle);
    Py_CLEAR(binding->allocate_on_device);
    Py_CLEAR(binding->release_on_device);
    Py_CLEAR(binding->word_grad);
    Py_CLEAR(binding->word_params);
    return 0;
}

static void release(void *module)
{
    struct binding *const binding = binding_of(module);
    clear(module);
    for (int i = 0; i < binding->context_count; i++)
        hone_context_free(binding->contexts[i].context);
    PyMem_Free(binding->contexts);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "hone._core",
    .m_doc = "The hone library for Python (private: use hone.optim and its neighbours)",
    .m_size = sizeof(struct binding),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
