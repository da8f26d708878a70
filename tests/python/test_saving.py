# SPDX-License-Identifier: Apache-2.0
"""State dicts: by order and by name, and in memory of their own."""

import pytest
import torch

from hone import optim


def trained():
    parameters = [torch.nn.Parameter(torch.randn(4, 3)) for _ in range(2)]
    optimizer = optim.AdamW([("a", parameters[0]), ("b", parameters[1])], lr=0.1)
    step(optimizer, parameters, 3)
    return optimizer, parameters


def step(optimizer, parameters, times):
    generator = torch.Generator().manual_seed(times)
    for _ in range(times):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("by_name", [False, True])
def test_loaded_state_is_a_copy(by_name):
    """Both go on alike from one dict, by name in other groups too."""
    optimizer, parameters = trained()
    twins = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    named = [("a", twins[0]), ("b", twins[1])]
    groups = [{"params": [named[1]]}, {"params": [named[0]]}] if by_name else named
    other = optim.AdamW(groups, lr=0.1)
    other.load_state_dict(optimizer.state_dict(), **({"by_name": True} if by_name else {}))
    step(optimizer, parameters, 2)
    step(other, twins, 2)
    assert all(torch.equal(p, q) for p, q in zip(parameters, twins))
    assert other.state[twins[0]]["step"] == 5


def test_names_on_one_side():
    optimizer, _ = trained()
    other = optim.AdamW([("a", torch.nn.Parameter(torch.ones(4, 3)))], lr=0.1)
    with pytest.raises(ValueError, match="only on one side: b"):
        other.load_state_dict(optimizer.state_dict(), by_name=True)
    other.load_state_dict(optimizer.state_dict(), by_name=True, strict=False)
