# SPDX-License-Identifier: Apache-2.0
"""The plain step of every class that PyTorch has too, against PyTorch's own."""

import pytest
import torch

import hone
from hone import optim

PAIRS = ["SGD", "Adam", "AdamW", "RMSprop"]
SHAPES = [(3, 5), (7,), (), (0, 4), (2, 3, 4, 5), (20000,)]


def twins(dtype=torch.float64, shapes=SHAPES):
    """Two lists of equal parameters."""
    first = [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in shapes]
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    return first, second


def give_grads(*lists):
    for parameters in zip(*lists):
        grad = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = grad.clone()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex64])
def test_as_torch(name, dtype):
    ours, theirs = twins(dtype)
    mine = getattr(optim, name)(ours, lr=0.01, weight_decay=0.1)
    reference = getattr(torch.optim, name)(theirs, lr=0.01, weight_decay=0.1)
    for _ in range(5):
        give_grads(ours, theirs)
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(mine.state.get(p, {}), reference.state.get(q, {}))


def test_version():
    assert hone.__version__.count(".") == 2
