# SPDX-License-Identifier: Apache-2.0
"""examples/python/click_model.py learns, and a run in two halves has the bits of one run."""

import importlib.util
import pathlib

import torch

PATH = pathlib.Path(__file__).parents[2] / "examples" / "python" / "click_model.py"


def test_click_model(tmp_path):
    spec = importlib.util.spec_from_file_location("click_model", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    area, whole = example.main(["--steps", "200", "--out", str(tmp_path / "whole")])
    assert area > 0.6
    example.main(["--steps", "100", "--out", str(tmp_path / "halves")])
    again_area, again = example.main(["--steps", "200", "--out", str(tmp_path / "halves")])
    assert again_area == area
    for one, two in ((whole.users, again.users), (whole.items, again.items)):
        assert torch.equal(one.ids(), two.ids()) and torch.equal(one.embeddings(), two.embeddings())
    for p, q in zip(whole.parameters(), again.parameters()):
        assert torch.equal(p, q)
