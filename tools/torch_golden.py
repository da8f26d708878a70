# SPDX-License-Identifier: Apache-2.0
"""Runs PyTorch's own optimizers (the for-loop path) and writes what they computed into small
safetensors files under tests/golden/torch/, the reference that hone's tests compare with.

    python3 -m venv venv && venv/bin/pip install torch numpy
    git clone https://github.com/iShohei220/adopt
    venv/bin/python tools/torch_golden.py --adopt adopt/src

Without --adopt the file of ADOPT is left as it is. tests/golden/torch/README.md describes the
files. ATen runs at its lowest CPU capability, which contracts no multiply-add, so that the
numbers do not depend on the vector width of the machine that wrote them.
"""

import argparse
import hashlib
import importlib
import itertools
import os
import pathlib
import sys

os.environ["ATEN_CPU_CAPABILITY"] = "default"

import torch

import safetensors_file

STEPS = 6
ELEMENTS = 8
DTYPES = {
    "f64": torch.float64,
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
}
# (relative, absolute). Tighter than torch.testing's defaults where the numbers allow it. What is
# left is the square root: torch takes it from MKL, one unit in the last place from the rounded
# one for one value in five. RMSprop's momentum adds quotients by it, of both signs.
TOLERANCES = {
    "f64": (1e-13, 1e-15),
    "f32": (1.3e-6, 1e-9),
    "bf16": (5e-3, 5e-3),
    "f16": (5e-3, 5e-3),
}
RMSPROP_F32_TOLERANCE = (1.3e-6, 2e-6)
# Calls without a gradient: none; a parameter that starts late; gaps in the middle.
MISSING = ([], [0, 1], [2, 4])
DEFAULT_CLIP = {"power": 0.25, "scale": 1.0}


class Rule:
    """A rule: how to build torch's optimizer, its options and the state it keeps."""

    def __init__(self, name, build, defaults, options, slots):
        self.name = name
        self.build = build
        self.defaults = defaults
        self.options = options
        self.slots = slots

    def settings(self):
        """Every combination of the options; an option is a list of {hyperparameter: value}."""
        for choice in itertools.product(*self.options):
            changes = {key: value for part in choice for key, value in part.items()}
            yield {**self.defaults, **changes}, changes


def betas(hypers):
    return hypers["beta1"], hypers["beta2"]


def take(hypers, *names):
    return {name: hypers[name] for name in names}


def build_sgd(parameters, hypers):
    return torch.optim.SGD(parameters, foreach=False, fused=False, **hypers)


def build_adam(parameters, hypers):
    names = ("lr", "eps", "weight_decay", "amsgrad", "maximize")
    return torch.optim.Adam(
        parameters, betas=betas(hypers), foreach=False, fused=False, **take(hypers, *names)
    )


def build_adamw(parameters, hypers):
    names = ("lr", "eps", "weight_decay", "amsgrad", "maximize")
    return torch.optim.AdamW(
        parameters, betas=betas(hypers), foreach=False, fused=False, **take(hypers, *names)
    )


def build_rmsprop(parameters, hypers):
    return torch.optim.RMSprop(parameters, foreach=False, **hypers)


def build_adopt(parameters, hypers):
    from adopt import ADOPT

    clip = hypers["clip_lambda"]
    names = ("lr", "eps", "weight_decay", "decouple", "maximize")
    return ADOPT(
        parameters,
        betas=betas(hypers),
        clip_lambda=None if clip is None else lambda s: clip["scale"] * s ** clip["power"],
        foreach=False,
        **take(hypers, *names),
    )


def toggles(name, *values):
    return [{name: value} for value in values]


def moment_slots(hypers):
    return ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * hypers.get("amsgrad", False)


def rmsprop_slots(hypers):
    slots = ["square_avg"]
    slots += ["momentum_buffer"] * (hypers["momentum"] > 0)
    return slots + ["grad_avg"] * hypers["centered"]


ADAM_OPTIONS = (
    toggles("amsgrad", False, True),
    toggles("weight_decay", 0.0, 0.1),
    toggles("maximize", False, True),
    # The second pair takes the other branch of lerp: 1 - beta1 > 0.5.
    ({"beta1": 0.9, "beta2": 0.999}, {"beta1": 0.3, "beta2": 0.9}),
    toggles("eps", 1e-8, 1e-3),
)
ADAM_DEFAULTS = {
    "lr": 0.01,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "maximize": False,
}

RULES = {
    "sgd": Rule(
        "sgd",
        build_sgd,
        {
            "lr": 0.1,
            "momentum": 0.0,
            "dampening": 0.0,
            "nesterov": False,
            "weight_decay": 0.0,
            "maximize": False,
        },
        (
            (
                {"momentum": 0.0},
                {"momentum": 0.0, "dampening": 0.5},
                {"momentum": 0.9},
                {"momentum": 0.9, "dampening": 0.5},
                {"momentum": 0.9, "nesterov": True},
            ),
            toggles("weight_decay", 0.0, 0.1),
            toggles("maximize", False, True),
        ),
        lambda hypers: ["momentum_buffer"] * (hypers["momentum"] != 0),
    ),
    "adam": Rule("adam", build_adam, ADAM_DEFAULTS, ADAM_OPTIONS, moment_slots),
    "adamw": Rule("adamw", build_adamw, ADAM_DEFAULTS, ADAM_OPTIONS, moment_slots),
    "rmsprop": Rule(
        "rmsprop",
        build_rmsprop,
        {
            "lr": 0.01,
            "alpha": 0.99,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "momentum": 0.0,
            "centered": False,
            "maximize": False,
        },
        (
            toggles("momentum", 0.0, 0.9),
            toggles("centered", False, True),
            toggles("weight_decay", 0.0, 0.1),
            toggles("maximize", False, True),
            # 1 - alpha on both sides of 0.5, for the two branches of lerp.
            ({"alpha": 0.99, "eps": 1e-8}, {"alpha": 0.4, "eps": 1e-3}),
        ),
        rmsprop_slots,
    ),
    "adopt": Rule(
        "adopt",
        build_adopt,
        {
            "lr": 0.01,
            "beta1": 0.9,
            "beta2": 0.9999,
            "eps": 1e-6,
            "weight_decay": 0.0,
            "decouple": False,
            "clip_lambda": DEFAULT_CLIP,
            "maximize": False,
        },
        (
            (
                {"weight_decay": 0.0},
                {"weight_decay": 0.1},
                {"weight_decay": 0.1, "decouple": True},
            ),
            toggles("clip_lambda", DEFAULT_CLIP, None, {"power": 0.5, "scale": 0.1}),
            toggles("maximize", False, True),
            (
                {"beta1": 0.9, "beta2": 0.9999, "eps": 1e-6},
                {"beta1": 0.3, "beta2": 0.9, "eps": 1e-2},
            ),
        ),
        moment_slots,
    ),
}


def inputs(seed, dtype_name, count, steps=STEPS):
    """Parameters and gradients of many magnitudes: zeros, -0, denormal squares, an element that
    starts with zero gradients and a whole call of zeros."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(count, generator=generator, dtype=torch.float64)
    grads = torch.randn(steps, count, generator=generator, dtype=torch.float64)
    tiny = 1e-160 if dtype_name == "f64" else 1e-20
    theta_scale = [1.0, 2.0, 0.5, 0.0, 3e-4, 125.0, 1e-12, 0.75]
    grad_scale = [1.0, 0.1, 1e-3, 1.0, 1e-6, 50.0, tiny, 1.0]
    repeats = -(-count // ELEMENTS)
    theta *= torch.tensor((theta_scale * repeats)[:count], dtype=torch.float64)
    grads *= torch.tensor((grad_scale * repeats)[:count], dtype=torch.float64)
    grads[:2, 3::ELEMENTS] = 0.0
    grads[3] = 0.0
    grads[3, 1::ELEMENTS] = -0.0
    storage = DTYPES[dtype_name]
    return theta.to(storage), grads.to(storage)


def half_inputs(seed, dtype_name, count):
    """Values near 1, and zeros. torch rounds after every operation, hone once per stored value:
    where a square underflows or a parameter is large the two part by more than the tolerance."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(count, generator=generator, dtype=torch.float64) * 0.8 - 0.4
    size = 0.3 + 0.7 * torch.rand(STEPS, count, generator=generator, dtype=torch.float64)
    sign = torch.rand(STEPS, count, generator=generator, dtype=torch.float64) - 0.5
    grads = torch.copysign(size, sign)
    grads[:2, 3] = 0.0
    grads[3] = 0.0
    theta[5] = 0.0
    return theta.to(DTYPES[dtype_name]), grads.to(DTYPES[dtype_name])


def tolerance(rule_name, dtype_name):
    if rule_name == "rmsprop" and dtype_name == "f32":
        return RMSPROP_F32_TOLERANCE
    return TOLERANCES[dtype_name]


class Recorder:
    """Collects the cases and tensors of one rule's file."""

    def __init__(self, rule):
        self.rule = rule
        self.cases = []
        self.tensors = {}

    def run(self, case_id, dtype_name, hypers, shape, theta0, grads, missing, is_complex=False):
        """Steps torch's optimizer once per row of grads and records every result. A second
        parameter with a gradient in every call shares the optimizer: counters are per
        parameter."""
        if f"{case_id}/theta0" in self.tensors:
            sys.exit(f"torch_golden.py: two cases are called {case_id}")

        def shaped(flat):
            pairs = torch.view_as_complex(flat.reshape(*shape, 2)) if is_complex else flat
            return pairs.reshape(shape).clone()

        parameter = torch.nn.Parameter(shaped(theta0))
        companion = torch.nn.Parameter(torch.ones(2, dtype=theta0.dtype))
        optimizer = self.rule.build([parameter, companion], hypers)
        slots = self.rule.slots(hypers)
        rows = {name: [] for name in ["theta", *slots]}
        counters = []
        for step, grad in enumerate(grads):
            parameter.grad = None if step in missing else shaped(grad)
            companion.grad = torch.full_like(companion, 0.25)
            optimizer.step()
            state = optimizer.state.get(parameter, {})
            for name in slots:
                value = state.get(name)
                rows[name].append(torch.zeros_like(theta0) if value is None else flat(value))
            rows["theta"].append(flat(parameter))
            counters.append(int(state["step"]) if "step" in state else 0)

        recorded = grads.clone()
        recorded[missing] = float("nan")
        count = theta0.numel()
        self.tensors[f"{case_id}/theta0"] = theta0
        self.tensors[f"{case_id}/grads"] = recorded
        for name, values in rows.items():
            self.tensors[f"{case_id}/{name}"] = torch.stack(values).reshape(len(grads), count)
        rtol, atol = tolerance(self.rule.name, dtype_name)
        case = {
            "id": case_id,
            "rule": self.rule.name,
            "dtype": dtype_name,
            "complex": is_complex,
            "shape": list(shape),
            "n": count,
            "steps": len(grads),
            "missing": list(missing),
            "hypers": hypers,
            "slots": slots,
            "rtol": rtol,
            "atol": atol,
        }
        if self.rule.name != "sgd":
            case["counters"] = counters
        self.cases.append(case)

    def save(self, folder, extra):
        path = folder / f"{self.rule.name}.safetensors"
        metadata = {
            "torch_version": torch.__version__,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "rule": self.rule.name,
            **extra,
            "cases": safetensors_file.one_line(self.cases),
        }
        safetensors_file.save(path, self.tensors, metadata)
        print(f"{path}: {len(self.cases)} cases, {path.stat().st_size} bytes")


def flat(tensor):
    """The tensor's values in order, complex numbers as pairs of reals."""
    tensor = tensor.detach()
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.reshape(-1).clone()


def label(dtype_name, changes, defaults, missing):
    """A case's name: its format and the options that differ from the defaults."""
    short = {
        "weight_decay": "wd",
        "momentum": "mom",
        "dampening": "damp",
        "nesterov": "nesterov",
        "maximize": "max",
        "amsgrad": "amsgrad",
        "centered": "centered",
        "decouple": "decouple",
        "beta1": "b1=",
        "alpha": "alpha",
        "eps": "eps",
    }
    parts = [dtype_name]
    for name, value in changes.items():
        if name == "beta2" or value == defaults[name]:
            continue
        if name == "clip_lambda":
            parts.append("noclip" if value is None else f"clip{value['power']:g}")
        else:
            parts.append(short[name] + ("" if value is True else f"{value:g}"))
    if missing:
        parts.append("late" if missing[0] == 0 else "gaps")
    return ".".join(parts)


def add_combinations(recorder):
    """Every combination of the options in single and double precision."""
    rule = recorder.rule
    for dtype_name in ("f32", "f64"):
        for index, (hypers, changes) in enumerate(rule.settings()):
            theta0, grads = inputs(index, dtype_name, ELEMENTS)
            missing = MISSING[index % len(MISSING)]
            shape = (2, 4) if index % 2 else (ELEMENTS,)
            case_id = label(dtype_name, changes, rule.defaults, missing)
            recorder.run(case_id, dtype_name, hypers, shape, theta0, grads, missing)


# The options under which the small families below run: everything switched on, then defaults.
FULL = {
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "adam": {"amsgrad": True, "weight_decay": 0.1, "beta2": 0.9},
    "adamw": {"amsgrad": True, "weight_decay": 0.1, "beta2": 0.9},
    "rmsprop": {"momentum": 0.9, "centered": True, "weight_decay": 0.1},
    "adopt": {"weight_decay": 0.1, "decouple": True},
}


def add_shapes(recorder):
    """A 0-dim tensor, an empty one, and one long enough for vectors and a tail."""
    hypers = {**recorder.rule.defaults, **FULL[recorder.rule.name]}
    for dtype_name in ("f32", "f64"):
        for name, shape in (("scalar", ()), ("empty", (0,)), ("rows", (3, 0)), ("tail", (21,))):
            count = torch.Size(shape).numel()
            theta0, grads = inputs(500, dtype_name, count)
            missing = [1] if name == "scalar" else []
            recorder.run(f"{dtype_name}.{name}", dtype_name, hypers, shape, theta0, grads, missing)


def add_complex(recorder):
    """Complex parameters are pairs of reals."""
    defaults = recorder.rule.defaults
    for name, changes in (("defaults", {}), ("full", FULL[recorder.rule.name])):
        theta0, grads = inputs(600, "f32", 2 * ELEMENTS)
        hypers = {**defaults, **changes}
        case_id = f"c64.{name}"
        recorder.run(case_id, "f32", hypers, (ELEMENTS,), theta0, grads, [], is_complex=True)


def add_non_finite(recorder):
    """Infinities and NaNs in the gradient, and eps = 0 under a zero gradient."""
    defaults = recorder.rule.defaults
    for dtype_name in ("f32", "f64"):
        for name, changes in (("defaults", {}), ("full", FULL[recorder.rule.name])):
            theta0, grads = inputs(700, dtype_name, ELEMENTS)
            grads[1, 0] = float("inf")
            grads[1, 1] = float("-inf")
            grads[2, 2] = float("nan")
            case_id = f"{dtype_name}.nonfinite.{name}"
            hypers = {**defaults, **changes}
            recorder.run(case_id, dtype_name, hypers, (ELEMENTS,), theta0, grads, [])
        if "eps" in defaults:
            theta0, grads = inputs(701, dtype_name, ELEMENTS)
            # A denormal square divided by its own root would measure only its rounding.
            grads[:, 6] = 0.125
            hypers = {**defaults, "eps": 0.0}
            recorder.run(f"{dtype_name}.eps0", dtype_name, hypers, (ELEMENTS,), theta0, grads, [])


def add_half(recorder):
    """16-bit parameters with 16-bit state, where torch rounds after every operation."""
    rule = recorder.rule
    for dtype_name in ("bf16", "f16"):
        for name, changes in (
            ("defaults", {}),
            ("full", FULL[rule.name]),
            ("max", {**FULL[rule.name], "maximize": True}),
        ):
            theta0, grads = half_inputs(800, dtype_name, 2 * ELEMENTS)
            grads *= 0.125 if rule.name == "sgd" else 1.0
            # 1e-8 is 0 in half precision; 1e-3 it can hold.
            eps = {"eps": 1e-3} if "eps" in rule.defaults else {}
            hypers = {**rule.defaults, **changes, **eps}
            case_id = f"{dtype_name}.{name}"
            recorder.run(case_id, dtype_name, hypers, (2, ELEMENTS), theta0, grads, [])


def adopt_source(path):
    """Makes `import adopt` find the original implementation; says which text it is."""
    sys.path.insert(0, str(path))
    module = importlib.import_module("adopt.adopt")
    # torch 2.11 renamed this check, which concerns CUDA graphs alone.
    module.ADOPT._cuda_graph_capture_health_check = lambda self: None
    text = pathlib.Path(module.__file__).read_bytes()
    return {
        "source": "https://github.com/iShohei220/adopt",
        "source_sha256": hashlib.sha256(text).hexdigest(),
    }


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write PyTorch's results for hone's tests.")
    parser.add_argument("--adopt", type=pathlib.Path, help="the folder that holds adopt/adopt.py")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/torch")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, rule in RULES.items():
        if name == "adopt" and arguments.adopt is None:
            print("adopt: no --adopt PATH, left as it is")
            continue
        extra = adopt_source(arguments.adopt) if name == "adopt" else {}
        recorder = Recorder(rule)
        add_combinations(recorder)
        add_shapes(recorder)
        add_complex(recorder)
        add_non_finite(recorder)
        if name in ("sgd", "adamw"):
            add_half(recorder)
        recorder.save(arguments.out, extra)


if __name__ == "__main__":
    main()
