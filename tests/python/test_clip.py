# SPDX-License-Identifier: Apache-2.0
"""Clipping before the step and inside it, against torch.nn.utils and against each other."""

import pytest
import torch

import hone
from hone import optim

ORDERS = [1.0, 2.0, 3.0, float("inf"), 0.5]


def parameters_with_grads(dtype=torch.float32):
    made = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((5, 3), (7,), (), (0,))]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    made.append(torch.nn.Parameter(torch.ones(2)))  # without a gradient
    return made


def copies(parameters):
    made = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for copy, parameter in zip(made, parameters):
        copy.grad = None if parameter.grad is None else parameter.grad.clone()
    return made


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [0.5, 100.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_norm(order, limit, dtype):
    ours = parameters_with_grads(dtype)
    theirs = copies(ours)
    version = ours[0].grad._version
    total = hone.clip_grad_norm_(ours, limit, order)
    filled = [q for q in theirs if q.numel() > 0]  # PyTorch knows no maximum of nothing
    expected = torch.nn.utils.clip_grad_norm_(filled, limit, order)
    assert total.dtype == expected.dtype and total.shape == expected.shape
    if not dtype.is_complex:
        torch.testing.assert_close(total, expected)
        for p, q in zip(ours, theirs):
            torch.testing.assert_close(p.grad, q.grad)
    assert ours[0].grad._version > version


def test_complex_norm_of_order_two():
    ours = parameters_with_grads(torch.complex128)
    theirs = copies(ours)
    total = hone.clip_grad_norm_(ours, 0.1)
    torch.testing.assert_close(total, torch.nn.utils.clip_grad_norm_(theirs, 0.1))
    torch.testing.assert_close([p.grad for p in ours[:4]], [q.grad for q in theirs[:4]])


def test_value():
    ours = parameters_with_grads()
    theirs = copies(ours)
    ours[0].grad = ours[0].grad.t().contiguous().t()
    hone.clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p.grad, q.grad)


def test_not_finite():
    for parameters, module in ((parameters_with_grads(), hone), (None, torch.nn.utils)):
        parameters = parameters or parameters_with_grads()
        parameters[0].grad[0, 0] = float("inf")
        before = parameters[1].grad.clone()
        with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients from"):
            module.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
        assert torch.equal(parameters[1].grad, before)


def test_nothing_to_clip():
    with pytest.warns(UserWarning, match="`parameters` is an empty generator"):
        assert hone.clip_grad_norm_((p for p in ()), 1.0) == 0
    assert hone.clip_grad_norm_([torch.nn.Parameter(torch.ones(2))], 1.0) == 0
    single = torch.nn.Parameter(torch.ones(4))
    single.grad = torch.ones(4)
    assert hone.clip_grad_norm_(single, 1.0) == 2


@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
def test_inside_the_step(order):
    ours = parameters_with_grads()
    theirs = copies(ours)
    kept = [None if p.grad is None else p.grad.clone() for p in ours]
    mine, reference = optim.AdamW(ours, lr=0.1), torch.optim.AdamW(theirs, lr=0.1)
    mine.clip_grad_norm(0.5, order)
    for _ in range(3):
        for q, grad in zip(theirs, kept):
            q.grad = None if grad is None else grad.clone()
        filled = [q for q in theirs if q.numel() > 0]
        expected = torch.nn.utils.clip_grad_norm_(filled, 0.5, order)
        reference.step()
        mine.step()
        assert mine.total_norm == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(ours, theirs)
    for p, grad in zip(ours, kept):  # not written
        assert grad is None or torch.equal(p.grad, grad)
    mine.clip_grad_norm(None)
    mine.step()
    assert mine.total_norm is None


def test_inside_the_step_refuses():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.SGD([parameter, torch.nn.Parameter(torch.ones(2, device="meta"))], lr=0.1)
    parameter.grad = torch.ones(3)
    for max_norm, order in ((0, 2.0), (-1, 2.0), (1.0, 0.5)):
        with pytest.raises(ValueError, match="max_norm must be above 0"):
            optimizer.clip_grad_norm(max_norm, order)
    optimizer.clip_grad_norm(1.0)
    with pytest.raises(RuntimeError, match="clipping inside the step takes dense"):
        optimizer.step()
    assert torch.equal(parameter, torch.ones(3))
    optimizer.clip_grad_norm(None)
    optimizer.step()
    with pytest.raises(RuntimeError, match="differentiable"):
        optim.SGD([parameter], differentiable=True).clip_grad_norm(1.0)
