# SPDX-License-Identifier: Apache-2.0
"""PyTorch's database of optimizers on hone's classes: every configuration, every error input."""

import copy
import os
import warnings

import conformance
import pytest
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum

from hone import optim

CASES = list(conformance.cases())


@pytest.mark.parametrize("case", CASES, ids=map(conformance.case_id, CASES))
def test_configuration(case):
    conformance.run(case)


ERRORS = [
    pytest.param(name, index, id=f"{name}-{given.optimizer_error_input.desc}".replace(" ", "_"))
    for name in conformance.INFOS
    for index, given in enumerate(conformance.error_inputs(name))
]


def outcome(cls, given):
    """Type and text of what an input raises or warns of."""
    wrong = given.optimizer_error_input
    params = wrong.params
    if params is None:
        params = [torch.nn.Parameter(torch.randn(2, 3))]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            optimizer = cls(params, **copy.deepcopy(wrong.kwargs))
            if given.error_on is OptimizerErrorEnum.STEP_ERROR:
                optimizer.step()
        except (Exception, UserWarning) as error:  # noqa: BLE001 - it is compared
            return type(error), str(error)
    return None, ""


@pytest.mark.parametrize("name, index", ERRORS)
def test_error_input(name, index):
    given = conformance.error_inputs(name)[index]
    expected = outcome(getattr(torch.optim, name), conformance.error_inputs(name)[index])
    assert expected[0] is not None
    assert outcome(getattr(optim, name), given) == expected


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop"])
def test_capturable_on_the_processor(name):
    results = []
    for module in (torch.optim, optim):
        parameter = torch.nn.Parameter(torch.ones(2))
        optimizer = getattr(module, name)([parameter], capturable=True)
        parameter.grad = torch.ones(2)
        with pytest.raises(AssertionError) as raised:
            optimizer.step()
        results.append(str(raised.value))
        assert torch.equal(parameter, torch.ones(2))
    assert results[0] == results[1]


def test_page_lists_every_configuration():
    path = os.path.join(os.path.dirname(__file__), "../../docs/python-conformance.md")
    with open(path) as page:
        text = page.read()
    for case in CASES:
        assert f"| {case.name} | {case.desc.split(' & ')[0]} |" in text
    assert "0/2" not in text and "1/2" not in text
