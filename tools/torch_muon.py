# SPDX-License-Identifier: Apache-2.0
"""Runs torch.optim.Muon and writes its results to tests/golden/torch/muon.safetensors, which
tests/golden/torch/README.md describes.

    venv/bin/python tools/torch_muon.py
"""

import argparse
import os
import pathlib

os.environ["ATEN_CPU_CAPABILITY"] = "default"

import torch

import safetensors_file

SHAPES = [(16, 16), (16, 24), (24, 16)]
# The configurations of torch's own tests, and each way to adjust the rate.
CONFIGURATIONS = [
    {},
    {"lr": 0.01},
    {"weight_decay": 0.2},
    {"momentum": 0.8},
    {"ns_steps": 6},
    {"ns_coefficients": (3.4, -4.7, 2.0)},
    {"nesterov": False},
    {"adjust_lr_fn": "match_rms_adamw", "lr": 0.02},
    {"adjust_lr_fn": "original", "lr": 0.02},
]
CALLS = 3


def run(shape, hypers, dtype, generator):
    start = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) / 16
    param = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Muon([param], **hypers)
    grads, params, buffers = [], [], []
    for _ in range(CALLS):
        param.grad = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        grads.append(param.grad.clone())
        optimizer.step()
        params.append(param.detach().clone())
        buffers.append(optimizer.state[param]["momentum_buffer"].clone())
    return {"start": start, "grad": torch.stack(grads), "param": torch.stack(params),
            "momentum_buffer": torch.stack(buffers)}


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path,
                        default=root / "tests/golden/torch/muon.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(77)
    tensors, cases = {}, []
    for number, hypers in enumerate(CONFIGURATIONS):
        for shape in SHAPES:
            dtypes = (("f32", torch.float32), ("f64", torch.float64))
            for name, dtype in dtypes[: 2 if number == 0 else 1]:
                identity = f"muon.{number}.{shape[0]}x{shape[1]}.{name}"
                for key, tensor in run(shape, hypers, dtype, generator).items():
                    tensors[f"{identity}/{key}"] = tensor
                cases.append({"id": identity, "dtype": name, "shape": list(shape),
                              "steps": CALLS, "hypers": hypers})
    safetensors_file.save(options.out, tensors,
                          {"torch_version": torch.__version__, "rule": "muon",
                           "cases": safetensors_file.one_line(cases)})


if __name__ == "__main__":
    main()
