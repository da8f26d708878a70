# SPDX-License-Identifier: Apache-2.0
"""Runs torch.nn.utils.clip_grad_norm_ and clip_grad_value_ and writes their results to
tests/golden/torch/clip.safetensors, which tests/golden/torch/README.md describes.

    venv/bin/python tools/torch_clip.py
"""

import argparse
import os
import pathlib

os.environ["ATEN_CPU_CAPABILITY"] = "default"

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import safetensors_file

DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
}
# torch sums in the gradients' own precision and rounds the total to it.
TOLERANCES = {
    "f64": (1e-13, 0.0),
    "f32": (1.3e-6, 0.0),
    "bf16": (1e-2, 1e-5),
    "f16": (1e-3, 1e-5),
}
SHAPES = [(8,), (2, 6), (), (0,), (21,)]
WITHOUT_GRADIENT = 1
NORM_TYPES = {"1": 1.0, "2": 2.0, "3": 3.0, "inf": float("inf")}


def gradients(fill, dtype_name):
    """One gradient per shape: the fill decides which special values they hold."""
    generator = torch.Generator().manual_seed(900)
    result = []
    for index, shape in enumerate(SHAPES):
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        if fill == "wide" and dtype_name in ("f32", "f64"):
            # From squares too small to count to entries that outweigh all the others.
            scale = torch.logspace(-12, 2, values.numel(), dtype=torch.float64)
            values *= scale.reshape(shape)
        if fill == "zero":
            values = torch.zeros(shape, dtype=torch.float64)
        if fill == "inf" and index == 0:
            values[3] = float("-inf")
        if fill == "nan" and index == 4:
            values[7] = float("nan")
        result.append(values.to(DTYPES[dtype_name]))
    return result


class Recorder:
    """Collects cases and their tensors."""

    def __init__(self):
        self.cases = []
        self.tensors = {}

    def run(self, case_id, kind, fill, dtype_name, clip, settings):
        """Clips a fresh set of gradients; a parameter without one sits among them."""
        grads = gradients(fill, dtype_name)
        if settings.get("norm_type") == "inf":
            # torch refuses the infinity norm of an empty tensor.
            grads = [grad for grad in grads if grad.numel() > 0]
        parameters = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in grads]
        lone = torch.nn.Parameter(torch.zeros(3, dtype=DTYPES[dtype_name]))
        for parameter, grad in zip(parameters, grads):
            parameter.grad = grad.clone()
        total = clip(parameters[:WITHOUT_GRADIENT] + [lone] + parameters[WITHOUT_GRADIENT:])
        for index, (parameter, grad) in enumerate(zip(parameters, grads)):
            self.tensors[f"{case_id}/grad.{index}"] = grad
            self.tensors[f"{case_id}/clipped.{index}"] = parameter.grad.clone()
        if total is not None:
            self.tensors[f"{case_id}/total"] = total.detach().reshape(1)
        rtol, atol = TOLERANCES[dtype_name] if kind == "norm" else (0.0, 0.0)
        self.cases.append(
            {
                "id": case_id,
                "kind": kind,
                "dtype": dtype_name,
                "tensors": len(grads),
                **settings,
                "rtol": rtol,
                "atol": atol,
            }
        )


def clip_by_norm(recorder, fill, dtype_name, norm_name, max_norm):
    norm_type = NORM_TYPES[norm_name]
    recorder.run(
        f"norm.{dtype_name}.p{norm_name}.{fill}.max{max_norm:g}",
        "norm",
        fill,
        dtype_name,
        lambda parameters: clip_grad_norm_(parameters, max_norm, norm_type),
        {"norm_type": norm_name, "max_norm": max_norm},
    )


def clip_by_value(recorder, fill, dtype_name, value):
    recorder.run(
        f"value.{dtype_name}.{fill}.{value:g}",
        "value",
        fill,
        dtype_name,
        lambda parameters: clip_grad_value_(parameters, value, foreach=False),
        {"clip_value": value},
    )


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write PyTorch's clipped gradients.")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/torch")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    recorder = Recorder()
    for dtype_name in DTYPES:
        single_or_double = dtype_name in ("f32", "f64")
        for norm_name in NORM_TYPES:
            clip_by_norm(recorder, "plain", dtype_name, norm_name, 1.0)
            if single_or_double:
                clip_by_norm(recorder, "plain", dtype_name, norm_name, 1000.0)
                for fill in ("wide", "zero", "inf", "nan"):
                    clip_by_norm(recorder, fill, dtype_name, norm_name, 0.5)
        for fill in ("plain", "inf", "nan"):
            clip_by_value(recorder, fill, dtype_name, 0.25)
    path = arguments.out / "clip.safetensors"
    metadata = {
        "torch_version": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "rule": "clip",
        "cases": safetensors_file.one_line(recorder.cases),
    }
    safetensors_file.save(path, recorder.tensors, metadata)
    print(f"{path}: {len(recorder.cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
