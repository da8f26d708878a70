# SPDX-License-Identifier: Apache-2.0
"""Runs torch.optim.Muon beside torch.optim.AdamW, as MuonSpec combines them, and writes
the results to tests/golden/torch/hybrid.safetensors, which tests/golden/torch/README.md describes.

    venv/bin/python tools/torch_hybrid.py
"""

import argparse
import os
import pathlib

os.environ["ATEN_CPU_CAPABILITY"] = "default"

import torch

import safetensors_file

SHAPES = {
    "transformer.0.weight": (6, 4),
    "transformer.0.bias": (6,),
    "transformer.1.weight": (4, 6),
    "embed.weight": (5, 4),
    "head.weight": (3, 4),
    "head.bias": (3,),
}
# As MuonSpec writes itself, and beside it the multipliers by module.
SPEC = {"optimizer_type": "muon", "learning_rate": 0.02, "lr_decay_gamma": 0.9, "momentum": 0.9,
        "nesterov": True, "adamw_lr": 0.003, "weight_decay": 0.05, "betas": [0.8, 0.95]}
MULTIPLIERS = {"head": 5.0, "transformer.0": 0.5}
EPOCHS, STEPS = 3, 4


def multiplier(name):
    found = [module for module in MULTIPLIERS if name.startswith(module + ".")]
    return MULTIPLIERS[max(found, key=len)] if found else 1.0


def optimizers(params):
    """Muon for matrices whose name contains "transformer", at a rate that multipliers leave alone."""
    is_muon = {name: "transformer" in name and param.ndim >= 2 for name, param in params.items()}
    muon = torch.optim.Muon([params[name] for name in params if is_muon[name]],
                            lr=SPEC["learning_rate"], momentum=SPEC["momentum"],
                            nesterov=SPEC["nesterov"])
    adamw = torch.optim.AdamW(
        [{"params": [params[name]], "lr": SPEC["adamw_lr"] * multiplier(name)}
         for name in params if not is_muon[name]],
        betas=tuple(SPEC["betas"]), weight_decay=SPEC["weight_decay"])
    return [muon, adamw]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path,
                        default=root / "tests/golden/torch/hybrid.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(501)
    params = {name: torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
              for name, shape in SHAPES.items()}
    tensors = {f"{name}/start": param.detach().clone() for name, param in params.items()}
    run = optimizers(params)
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(one, SPEC["lr_decay_gamma"])
                  for one in run]
    grads = {name: [] for name in SHAPES}
    values = {name: [] for name in SHAPES}
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            for name, param in params.items():
                param.grad = torch.randn(param.shape, generator=generator, dtype=torch.float64)
                grads[name].append(param.grad.clone())
            for one in run:
                one.step()
            for name, param in params.items():
                values[name].append(param.detach().clone())
        for scheduler in schedulers:
            scheduler.step()
    for name in SHAPES:
        tensors[f"{name}/grad"] = torch.stack(grads[name])
        tensors[f"{name}/param"] = torch.stack(values[name])
    safetensors_file.save(options.out, tensors,
                          {"torch_version": torch.__version__, "rule": "muon beside adamw",
                           "epochs": str(EPOCHS), "steps": str(STEPS),
                           "spec": safetensors_file.one_line(
                               dict(SPEC, lr_multipliers=MULTIPLIERS))})


if __name__ == "__main__":
    main()
