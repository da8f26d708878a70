# SPDX-License-Identifier: Apache-2.0
"""A model of tables and their Adams in float64, one number at a time: what the tests of hone.sparse
compare with. Written from the formulas, in the names that papers use; slow and plain on purpose.

A row has w, m, v; a table has P1 = P2 = 1. A step in which a gradient was registered, be it of no row:

    P1 *= b1; P2 *= b2; alpha = lr * sqrt(1 - P2) / (1 - P1)
    rows with a gradient g (summed over repeats): w *= F; m = b1 m + (1 - b1) g;
        v = b2 v + (1 - b2) g g; w -= alpha m / (sqrt(v) + eps)

F is 1 for SparseAdam, 1 - lr wd for SparseAdamW and 1 - wd for SparseAdamWTF. Over n calls of step the
gradients are summed, or averaged, and applied at the n-th. A gradient belongs to the row that was looked
up: it is dropped if that row is erased, also when the key comes back."""

import math


class Row:
    def __init__(self, width, value):
        self.w = [value] * width
        self.m = [0.0] * width
        self.v = [0.0] * width


class ModelTable:
    def __init__(self, kind, width, initial):
        self.kind, self.width, self.initial = kind, width, initial
        self.rows = {}
        self.P1 = self.P2 = 1.0
        self.steps = self.calls = 0
        self.n, self.mean = 1, False
        self.waiting = []  # (row object, gradient), in order
        self.registered = False

    def look_up(self, keys, train):
        """The rows of the keys; None where there is none."""
        if train:
            for key in keys:
                if key not in self.rows:
                    self.rows[key] = Row(self.width, self.initial)
        return [self.rows.get(key) for key in keys]

    def values(self, rows):
        return [[0.0] * self.width if row is None else list(row.w) for row in rows]

    def pooled(self, rows, offsets, weights, mean):
        out = []
        for b in range(len(offsets) - 1):
            total = [0.0] * self.width
            for i in range(offsets[b], offsets[b + 1]):
                if rows[i] is not None:
                    for k in range(self.width):
                        total[k] += weights[i] * rows[i].w[k]
            count = offsets[b + 1] - offsets[b]
            out.append([t / count if mean and count else t for t in total])
        return out

    def add(self, rows, gradients):
        self.registered = True
        for row, gradient in zip(rows, gradients):
            if row is not None:
                self.waiting.append((row, list(gradient)))

    def add_pooled(self, rows, offsets, weights, mean, gradients):
        each = [None] * len(rows)
        for b in range(len(offsets) - 1):
            count = offsets[b + 1] - offsets[b]
            for i in range(offsets[b], offsets[b + 1]):
                share = weights[i] / count if mean else weights[i]
                each[i] = [share * g for g in gradients[b]]
        self.add(rows, each)

    def erase(self, keys):
        for key in keys:
            self.rows.pop(key, None)

    def zero_grad(self):
        if self.calls % self.n == 0:
            self.waiting, self.registered = [], False

    def step(self, lr, beta1, beta2, eps, weight_decay):
        b1, b2, wd = beta1, beta2, weight_decay
        self.calls += 1
        if self.calls % self.n or not self.registered:
            return
        self.steps += 1
        self.P1 *= b1
        self.P2 *= b2
        alpha = lr * math.sqrt(1 - self.P2) / (1 - self.P1)
        keep = {"adam": 1.0, "adamw": 1 - lr * wd, "adamw_tf": 1 - wd}[self.kind]
        alive = {id(row) for row in self.rows.values()}
        sums = {}
        for row, gradient in self.waiting:
            if id(row) in alive:
                total = sums.setdefault(id(row), (row, [0.0] * self.width))[1]
                for k in range(self.width):
                    total[k] += gradient[k]
        for row, total in sums.values():
            for k in range(self.width):
                g = total[k] / self.n if self.mean else total[k]
                row.w[k] *= keep
                row.m[k] = b1 * row.m[k] + (1 - b1) * g
                row.v[k] = b2 * row.v[k] + (1 - b2) * g * g
                row.w[k] -= alpha * row.m[k] / (math.sqrt(row.v[k]) + eps)
        self.waiting, self.registered = [], False
