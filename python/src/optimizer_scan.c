/* SPDX-License-Identifier: Apache-2.0 */
/* What changed since the last step around a hone._core.Optimizer. */
#include <string.h>

#include "optimizer_object.h"

static int report(PyObject *list, Py_ssize_t index)
{
    PyObject *const number = PyLong_FromSsize_t(index);
    const int result = number == NULL ? -1 : PyList_Append(list, number);
    Py_XDECREF(number);
    return result;
}

/* The lists of parameters, against the entries; and the watched values. */
static int scan_groups(const Optimizer *self, PyObject *param_groups, struct changes *changes)
{
    if (PyList_Size(param_groups) != self->group_count) {
        changes->structure = true;
        return 0;
    }
    for (Py_ssize_t g = 0; g < self->group_count; g++) {
        PyObject *const dict = PyList_GetItem(param_groups, g);
        PyObject *const params =
            !PyDict_Check(dict) ? NULL : PyDict_GetItemWithError(dict, self->binding->word_params);
        if (params == NULL || !PyList_Check(params) ||
            PyList_Size(params) != self->group_lengths[g]) {
            changes->structure = true;
            return PyErr_Occurred() ? -1 : 0;
        }
        const struct group *const group = &self->groups[g];
        bool changed = group->values == NULL;
        for (Py_ssize_t i = 0; i < group->value_count && !changed; i++) {
            PyObject *const value = PyDict_GetItemWithError(dict, group->values[i].key);
            if (value == NULL && PyErr_Occurred())
                return -1;
            changed = value != group->values[i].value || !group->values[i].constant;
        }
        if (changed && report(changes->groups, g) < 0)
            return -1;
    }
    return 0;
}

/* The list of a group's parameters, borrowed. */
static PyObject *params_of(const Optimizer *self, PyObject *param_groups, Py_ssize_t group)
{
    PyObject *const dict = PyList_GetItem(param_groups, group);
    return PyDict_GetItemWithError(dict, self->binding->word_params);
}

/* The entry of a key of Optimizer.state, looked for from `hint` on; -1 if it is none. */
static Py_ssize_t find_param(const Optimizer *self, PyObject *key, Py_ssize_t hint)
{
    for (Py_ssize_t i = 0; i < self->entry_count; i++) {
        const Py_ssize_t at =
            hint + i < self->entry_count ? hint + i : hint + i - self->entry_count;
        if (self->entries[at].param == key)
            return at;
    }
    return -1;
}

static int remember_place(Optimizer *self, Py_ssize_t at, PyObject *key, Py_ssize_t entry)
{
    if (at == self->place_capacity) {
        const Py_ssize_t capacity = at == 0 ? 16 : at * 2;
        struct place *const grown = PyMem_Realloc(self->places, sizeof *grown * (size_t)capacity);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        self->places = grown;
        self->place_capacity = capacity;
    }
    self->places[at] = (struct place){key, entry};
    if (at >= self->place_count)
        self->place_count = at + 1;
    return 0;
}

/* Marks the entries whose dict in Optimizer.state is the one that was bound. The dict is walked in its
 * order rather than asked, since a tensor's hash is a call of Python code. */
static int scan_state(Optimizer *self, PyObject *state)
{
    Py_ssize_t position = 0, at = 0, hint = 0;
    PyObject *key, *value;
    self->scan++;
    while (PyDict_Next(state, &position, &key, &value)) {
        if (at >= self->place_count || self->places[at].key != key) {
            if (remember_place(self, at, key, find_param(self, key, hint)) < 0)
                return -1;
        }
        const Py_ssize_t found = self->places[at++].entry;
        if (found < 0)
            continue;
        if (self->entries[found].state == value)
            self->entries[found].seen = self->scan;
        hint = found + 1;
    }
    return 0;
}

/* A state's dict holds the tensors that were bound, each under its name: 1, 0, or -1 and an exception. */
static int has_bound_tensors(const Optimizer *self, const struct entry *entry)
{
    for (int k = 0; k <= entry->slot_count; k++) {
        const bool is_slot = k < entry->slot_count;
        PyObject *const wanted = is_slot ? entry->slots[k].tensor : entry->step;
        if (wanted == NULL)
            continue;
        PyObject *const found =
            PyDict_GetItemWithError(entry->state, is_slot ? entry->slots[k].name : self->word_step);
        if (found != wanted)
            return PyErr_Occurred() ? -1 : 0;
    }
    return 1;
}

/* The same, told by a walk over the dict, which is faster than asking for each name: 1; 0: not certain.
 * Names are the objects that were bound, or interned. */
static int walks_over_bound_tensors(const Optimizer *self, const struct entry *entry)
{
    const int wanted = entry->slot_count + (entry->step != NULL);
    Py_ssize_t position = 0;
    PyObject *key, *value;
    int met = 0;
    while (met < wanted && PyDict_Next(entry->state, &position, &key, &value)) {
        if (value == entry->step) {
            if (key != self->word_step)
                return 0;
            met++;
            continue;
        }
        int k = 0;
        while (k < entry->slot_count && value != entry->slots[k].tensor)
            k++;
        if (k == entry->slot_count)
            continue;
        if (key != entry->slots[k].name)
            return 0;
        met++;
    }
    return met == wanted;
}

/* The tensors of a state and the counter: 1 as they were, 0 changed, -1 an exception. */
static int scan_slots(const Optimizer *self, const struct entry *entry)
{
    if (entry->state == NULL)
        return 1;
    int same = walks_over_bound_tensors(self, entry);
    if (same == 0)
        same = has_bound_tensors(self, entry);
    for (int k = 0; k < entry->slot_count && same == 1; k++)
        same = layout_is_unchanged(self, entry->slots[k].tensor, &entry->slots[k].layout);
    if (same != 1 || entry->step == NULL)
        return same;
    same = layout_is_at_place(self, entry->step, &entry->step_layout);
    if (same == 1 && entry->step_layout.device == HONE_CPU)
        same = step_read(&entry->step_layout) == step_shown(&entry->step_layout, entry->count);
    return same;
}

/* Moves the gradient's address if it is the only thing that changed: 1; 0: Python has to look. */
static int scan_grad(Optimizer *self, Py_ssize_t index, PyObject *grad)
{
    struct entry *const entry = &self->entries[index];
    struct view view;
    const int plain = binding_view(self->binding, grad, &view);
    if (plain <= 0)
        return plain;
    if (!layout_is_same(&entry->grad_layout, &view) || !view_is_dense(&view))
        return 0;
    const int negative = binding_is_negative(grad, &view);
    if (negative != 0)
        return negative < 0 ? -1 : 0;
    if (entry->has_grad && view.data == entry->grad_layout.data)
        return 1;
    int64_t shape[2];
    const hone_tensor tensor = view_tensor(&view, self->groups[entry->group].matrix, shape);
    if (hone_optimizer_set_grad(self->optimizer, index, &tensor, NULL) != HONE_OK)
        return 0;
    entry->grad_layout.data = view.data;
    entry->has_grad = true;
    return 1;
}

/* 1: ready for the step; 0: Python has to look; -1: an exception. */
static int scan_entry(Optimizer *self, Py_ssize_t index)
{
    struct entry *const entry = &self->entries[index];
    bool kept;
    PyObject *const grad = binding_grad(self->binding, entry->param, &kept);
    if (grad == NULL)
        return -1;
    int ready = 0;
    if (grad == Py_None) {
        if (entry->has_grad)
            hone_optimizer_set_grad(self->optimizer, index, NULL, NULL);
        entry->has_grad = false;
        ready = 1;
    } else if (kept && entry->bound && !entry->staged &&
               (entry->state == NULL || entry->seen == self->scan)) {
        ready = layout_is_unchanged(self, entry->param, &entry->param_layout);
        if (ready == 1)
            ready = scan_slots(self, entry);
        if (ready == 1)
            ready = scan_grad(self, index, grad);
    }
    Py_DECREF(grad);
    return ready;
}

int optimizer_scan(Optimizer *self, PyObject *param_groups, PyObject *state,
                   struct changes *changes)
{
    if (scan_groups(self, param_groups, changes) < 0)
        return -1;
    if (changes->structure)
        return 0;
    if (scan_state(self, state) < 0)
        return -1;
    PyObject *params = NULL;
    Py_ssize_t group = -1; /* whose list `params` is */
    for (Py_ssize_t i = 0; i < self->entry_count; i++) {
        const struct entry *const entry = &self->entries[i];
        if (entry->group != group) {
            group = entry->group;
            params = params_of(self, param_groups, group);
        }
        if (PyList_GetItem(params, entry->position) != entry->param) {
            changes->structure = true;
            return 0;
        }
        const int ready = scan_entry(self, i);
        if (ready < 0 || (ready == 0 && report(changes->entries, i) < 0))
            return -1;
    }
    return 0;
}
