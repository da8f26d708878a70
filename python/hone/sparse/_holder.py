# SPDX-License-Identifier: Apache-2.0
"""The tensor that stands for a table in autograd and in an optimizer's param_groups, and what it shows
GradScaler of the table's gradients."""

import math

import torch


def _is_finite(grad):
    """Whether all numbers are; the sum of finite float32 is finite in double."""
    if grad.dtype is torch.float64:
        return bool(torch.isfinite(grad).all())
    return math.isfinite(grad.sum(dtype=torch.float64).item())


class Waiting:
    """What is known of the gradients that wait in one table for a step."""

    def __init__(self, stash):
        self._stash = stash  # the table's list of (lookup, gradient, version)
        self.forget()

    def forget(self):
        self._moved, self._finite, self._mark = False, True, None

    def move(self, grad):
        """The library adds this one to its sums: it cannot be looked at later."""
        self._moved = True
        self._finite = self._finite and _is_finite(grad)

    def change(self):
        """There are others than before."""
        self._mark = None

    def mark(self):
        """1 where all of them are finite, else infinity; None where there are none."""
        if self._mark is None and (self._moved or self._stash):
            finite = self._finite and all(_is_finite(grad) for _, grad, _ in self._stash)
            self._mark = torch.tensor(1.0 if finite else math.inf)
        return self._mark

    def factor(self):
        """What the mark was multiplied by since it was shown."""
        value = 1.0 if self._mark is None else self._mark.item()
        return value if math.isfinite(value) and value > 0 else 1.0


class Holder(torch.Tensor):
    """A number of no meaning, whose gradient is the mark of the gradients that wait in the table, made
    when someone asks. GradScaler does: it finds infinities in it, and what unscale_() multiplies it by,
    the table's next step multiplies its gradients by."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def of(cls, waiting):
        holder = torch.zeros(()).as_subclass(cls).requires_grad_()
        holder._waiting = waiting
        return holder

    @property
    def grad(self):
        return self._waiting.mark()

    @grad.setter
    def grad(self, value):
        """Gradients of tables are forgotten by zero_grad() of the table or its optimizer."""

    def __deepcopy__(self, memo):
        return Holder.of(Waiting([]))  # a copied optimizer takes those of its copied tables

    def __reduce_ex__(self, protocol):
        return _lonely, ()


def _lonely():
    return Holder.of(Waiting([]))
