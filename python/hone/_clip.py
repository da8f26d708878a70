# SPDX-License-Identifier: Apache-2.0
"""Clipping of gradients, with the signatures of torch.nn.utils."""

import functools
import types
import warnings

import torch

from hone import _core
from hone.optim._engine import thread_count  # which tells the extension module what a tensor is
from hone._compile import outside_of_compilation


def _gradients(parameters):
    if isinstance(parameters, torch.Tensor):
        parameters = [parameters]
    elif isinstance(parameters, types.GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.",
                stacklevel=4,
            )
    return [p.grad for p in parameters if p.grad is not None]


def _norm_dtype(grads):
    dtype = functools.reduce(torch.promote_types, {g.dtype for g in grads})
    return dtype.to_real() if dtype.is_complex else dtype


@outside_of_compilation
def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales all gradients in place so that their common norm is at most `max_norm`; returns the norm
    before that. As torch.nn.utils.clip_grad_norm_, with the norm summed in double precision."""
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else parameters
    with torch.no_grad():
        return _clip_norm(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def _clip_norm(parameters, max_norm, norm_type, error_if_nonfinite, foreach):
    grads = _gradients(parameters)
    order = float(norm_type)
    total = None
    if grads and order >= 1 and float(max_norm) >= 0:
        threads = thread_count()
        try:
            total = _core.clip_grad_norm(grads, max_norm, order, error_if_nonfinite, threads)
        except RuntimeError:
            raise RuntimeError(
                f"The total norm of order {order} for gradients from `parameters` is non-finite, so "
                "it cannot be clipped. To disable this error and scale the gradients by the "
                "non-finite norm anyway, set `error_if_nonfinite=False`"
            ) from None
    if total is None:  # no gradients, or some that the library does not take
        total = torch.nn.utils.get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
        holders = [types.SimpleNamespace(grad=grad) for grad in grads]
        torch.nn.utils.clip_grads_with_norm_(holders, max_norm, total, foreach)
        return total
    torch._C._increment_version(grads)
    return torch.tensor(total, dtype=_norm_dtype(grads))


@outside_of_compilation
def clip_grad_value_(parameters, clip_value, foreach=None):
    """Clamps every gradient in place to [-clip_value, clip_value], as torch.nn.utils does."""
    with torch.no_grad():
        _clip_value(parameters, clip_value)


def _clip_value(parameters, clip_value):
    grads = _gradients(parameters)
    limit = float(clip_value)
    if grads and _core.clip_grad_value(grads, limit, thread_count()) is not None:
        torch._C._increment_version(grads)
        return
    for grad in grads:
        grad.clamp_(-limit, limit)
