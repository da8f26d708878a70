# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/pt/optimizer.pt with torch.save: the states of a small model and of the Adam
that has stepped it twice, as training scripts keep them.

    venv/bin/python tools/torch_pt.py
"""

import argparse
import pathlib

import torch


def trained():
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.arange(6, dtype=torch.float32).reshape(2, 3))
        model.bias.zero_()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25, betas=(0.5, 0.75))
    for _ in range(2):
        model.weight.grad = torch.ones(2, 3)
        model.bias.grad = torch.tensor([2.0, -4.0])
        optimizer.step()
    return model, optimizer


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write a checkpoint of a small model.")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/pt/optimizer.pt")
    path = parser.parse_args().out
    path.parent.mkdir(parents=True, exist_ok=True)
    model, optimizer = trained()
    content = {
        "epoch": 70000,
        "loss": -0.5,
        "note": "r\u00e9sum\u00e9",
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "dtypes": [torch.bfloat16, torch.bool],
        "parameter": model.bias,
        "big": [2**31, -(2**31) - 1, -1, 2**63 - 1],
    }
    torch.save(content, path)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
