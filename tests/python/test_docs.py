# SPDX-License-Identifier: Apache-2.0
"""The Python that docs/python.md and docs/migration.md show: blocks run as they stand, and every name
that is imported from hone exists."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import hone

pytest.importorskip("pydantic")

OTHERS = re.compile("golden_params|src.models|recis|dicee|genesis|[Dd]eep[Ss]peed|bitsandbytes|bnb")
DOCS = Path(__file__).parents[2] / "docs"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.scoring_head = nn.Linear(8, 1)

    def forward(self, x):
        return self.scoring_head(self.body(x).tanh())


@pytest.mark.parametrize("block", blocks("python.md"), ids=lambda block: block.split("\n")[0])
def test_blocks_of_the_guide_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Model()
    torch.save({"masks": {"body.weight": torch.rand(8, 4) < 0.2}}, "golden_masks.pt")
    batches = [(torch.randn(3, 4), torch.randn(3, 1)) for _ in range(2)]
    names = {"model": model, "batches": batches, "criterion": nn.MSELoss()}
    exec(compile(block, "docs/python.md", "exec"), names)  # noqa: S102
    assert "optimizer" in names


@pytest.mark.parametrize("block", blocks("migration.md"), ids=lambda block: block.split("\n")[0])
def test_lines_after_a_migration_run(block):
    model = Model()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    ours = [line for line in block.splitlines() if "before" not in line and not OTHERS.search(line)]
    assert any("hone" in line for line in ours)
    exec(compile("\n".join(ours), "docs/migration.md", "exec"), {"model": model, "hone": hone})
