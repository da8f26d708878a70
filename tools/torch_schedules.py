# SPDX-License-Identifier: Apache-2.0
"""Runs every torch.optim.lr_scheduler that hone has for 200 steps and writes the learning rates
to tests/golden/torch/schedules.safetensors, which tests/golden/torch/README.md describes.

    venv/bin/python tools/torch_schedules.py
"""

import argparse
import math
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler

import safetensors_file

STEPS = 200
# torch multiplies from step to step where a closed form exists: the two agree to this.
RTOL = 1e-12
CLASSES = {
    "step": lr_scheduler.StepLR,
    "multi_step": lr_scheduler.MultiStepLR,
    "constant": lr_scheduler.ConstantLR,
    "linear": lr_scheduler.LinearLR,
    "exponential": lr_scheduler.ExponentialLR,
    "polynomial": lr_scheduler.PolynomialLR,
    "cosine_annealing": lr_scheduler.CosineAnnealingLR,
    "cosine_annealing_warm_restarts": lr_scheduler.CosineAnnealingWarmRestarts,
    "cyclic": lr_scheduler.CyclicLR,
    "one_cycle": lr_scheduler.OneCycleLR,
    "reduce_lr_on_plateau": lr_scheduler.ReduceLROnPlateau,
}

# One line per case: type, base learning rate, arguments as torch names them.
PLAIN = [
    ("step", 1e-3, {"step_size": 30, "gamma": 0.1}),
    ("step", 0.5, {"step_size": 7, "gamma": 0.9}),
    ("multi_step", 1e-3, {"milestones": [20, 50, 50, 120], "gamma": 0.5}),
    ("multi_step", 0.1, {"milestones": [0, 3, 150], "gamma": 0.1}),
    ("constant", 1e-3, {"factor": 1 / 3, "total_iters": 5}),
    ("constant", 0.2, {"factor": 0.05, "total_iters": 60}),
    ("linear", 1e-3, {"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5}),
    ("linear", 1e-2, {"start_factor": 1.0, "end_factor": 0.01, "total_iters": 150}),
    ("exponential", 1e-3, {"gamma": 0.98}),
    ("exponential", 0.7, {"gamma": 0.5}),
    ("polynomial", 1e-3, {"total_iters": 5, "power": 1.0}),
    ("polynomial", 0.1, {"total_iters": 170, "power": 0.9}),
    ("polynomial", 0.1, {"total_iters": 60, "power": 2.5}),
    ("cosine_annealing", 1e-3, {"T_max": 200, "eta_min": 0.0}),
    ("cosine_annealing", 1e-3, {"T_max": 40, "eta_min": 1e-5}),
    ("cosine_annealing", 0.3, {"T_max": 7, "eta_min": 0.01}),
    ("cosine_annealing_warm_restarts", 1e-3, {"T_0": 50, "T_mult": 1, "eta_min": 0.0}),
    ("cosine_annealing_warm_restarts", 0.1, {"T_0": 5, "T_mult": 2, "eta_min": 1e-4}),
    ("cosine_annealing_warm_restarts", 0.1, {"T_0": 2, "T_mult": 3, "eta_min": 1e-3}),
    ("cyclic", 1e-4, {"base_lr": 1e-4, "max_lr": 1e-2, "step_size_up": 20}),
    (
        "cyclic",
        1e-3,
        {
            "base_lr": 1e-3,
            "max_lr": 1e-1,
            "step_size_up": 11,
            "step_size_down": 29,
            "mode": "triangular2",
            "base_momentum": 0.7,
            "max_momentum": 0.95,
        },
    ),
    (
        "cyclic",
        1e-3,
        {
            "base_lr": 1e-3,
            "max_lr": 1e-1,
            "step_size_up": 8,
            "step_size_down": 5,
            "mode": "exp_range",
            "gamma": 0.99,
        },
    ),
    ("one_cycle", 1e-3, {"max_lr": 1e-2, "total_steps": STEPS}),
    (
        "one_cycle",
        1e-3,
        {
            "max_lr": 0.1,
            "total_steps": STEPS,
            "pct_start": 0.15,
            "anneal_strategy": "linear",
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
    ),
    ("one_cycle", 1e-3, {"max_lr": 0.1, "total_steps": STEPS, "three_phase": True}),
]

# Factors of LambdaLR and MultiplicativeLR: the text in the file is for the reader, the factors
# themselves are a tensor.
FACTORS = [
    ("lambda", 1e-3, "0.95^e", lambda e: 0.95**e),
    ("lambda", 1e-3, "0.5^(e // 30)", lambda e: 0.5 ** (e // 30)),
    ("lambda", 0.1, "(1 - e/200)^0.9", lambda e: (1 - e / 200) ** 0.9),
    ("lambda", 1e-3, "min(1, (e + 1)/10)", lambda e: min(1.0, (e + 1) / 10)),
    ("lambda", 1e-7, "(end/start)^(e/199)", lambda e: (1.0 / 1e-7) ** (e / 199)),
    (
        "lambda",
        1e-3,
        "cosine with warmup, w = 20, T = 150",
        lambda e: e / 20 if e < 20 else (1 + math.cos(math.pi * min(1, (e - 20) / 130))) / 2,
    ),
    ("multiplicative", 1e-3, "0.97", lambda e: 0.97),
    ("multiplicative", 0.1, "1.1 every 10th, else 0.98", lambda e: 0.98 if e % 10 else 1.1),
]

WARMUP = {"type": "linear", "args": {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 20}}
COSINE = {"type": "cosine_annealing", "args": {"T_max": 100, "eta_min": 1e-6}}
EXPONENTIAL = {"type": "exponential", "args": {"gamma": 0.97}}
STEP = {"type": "step", "args": {"step_size": 25, "gamma": 0.5}}
CONSTANT = {"type": "constant", "args": {"factor": 0.1, "total_iters": 30}}
NESTED = [
    ("sequential", 1e-3, {"schedulers": [WARMUP, COSINE], "milestones": [20]}),
    ("sequential", 1e-2, {"schedulers": [CONSTANT, EXPONENTIAL, STEP], "milestones": [15, 90]}),
    ("chained", 1e-3, {"schedulers": [WARMUP, EXPONENTIAL]}),
    ("chained", 1e-2, {"schedulers": [CONSTANT, STEP, EXPONENTIAL]}),
]

PLATEAU_DEFAULTS = {
    "mode": "min",
    "factor": 0.1,
    "patience": 10,
    "threshold": 1e-4,
    "threshold_mode": "rel",
    "cooldown": 0,
    "min_lr": 0.0,
    "eps": 1e-8,
}
PLATEAUS = [
    (1e-3, {}),
    (1e-3, {"factor": 0.5, "patience": 3, "cooldown": 4, "min_lr": 1e-5}),
    (1e-2, {"mode": "max", "factor": 0.3, "patience": 2, "threshold": 0.01}),
    (1e-2, {"threshold_mode": "abs", "threshold": 0.05, "patience": 5, "cooldown": 1}),
    (1e-2, {"mode": "max", "threshold_mode": "abs", "patience": 0, "factor": 0.7}),
    (1e-7, {"factor": 0.5, "patience": 1, "eps": 2e-8}),
]


def optimizer_at(lr, adam=False):
    parameter = torch.nn.Parameter(torch.zeros(1))
    if adam:
        return torch.optim.Adam([parameter], lr=lr)
    return torch.optim.SGD([parameter], lr=lr, momentum=0.9)


def build(kind, optimizer, args):
    """A scheduler from its type and arguments; those that hold others build them first."""
    if kind not in ("sequential", "chained"):
        return CLASSES[kind](optimizer, **args)
    parts = [build(part["type"], optimizer, part["args"]) for part in args["schedulers"]]
    if kind == "chained":
        return lr_scheduler.ChainedScheduler(parts, optimizer)
    return lr_scheduler.SequentialLR(optimizer, parts, args["milestones"])


class Recorder:
    """Collects cases and their tensors."""

    def __init__(self):
        self.cases = []
        self.tensors = {}

    def add(self, kind, base, args, rows):
        number = sum(case["type"] == kind for case in self.cases) + 1
        case_id = f"{kind}.{number}"
        case = {"id": case_id, "type": kind, "base_lr": base, "args": args}
        self.cases.append({**case, "steps": STEPS, "tensors": list(rows), "rtol": RTOL})
        for name, values in rows.items():
            self.tensors[f"{case_id}/{name}"] = torch.tensor(values, dtype=torch.float64)


def rates(optimizer, scheduler, momentum_of=None):
    """The learning rate at e = 0, 1, ..., and the momentum where the schedule moves it."""
    group = optimizer.param_groups[0]
    rows = {"lr": []}
    if momentum_of is not None:
        rows["momentum"] = []
    for step in range(STEPS):
        rows["lr"].append(float(group["lr"]))
        if momentum_of is not None:
            rows["momentum"].append(float(momentum_of(group)))
        if step + 1 < STEPS:
            optimizer.step()
            scheduler.step()
    return rows


def add_plain(recorder):
    for kind, base, args in PLAIN + NESTED:
        optimizer = optimizer_at(base)
        moves_momentum = kind in ("cyclic", "one_cycle")
        momentum_of = (lambda group: group["momentum"]) if moves_momentum else None
        scheduler = build(kind, optimizer, args)
        recorder.add(kind, base, args, rates(optimizer, scheduler, momentum_of))
    optimizer = optimizer_at(1e-3, adam=True)
    args = {"max_lr": 1e-2, "total_steps": STEPS, "pct_start": 0.4}
    scheduler = build("one_cycle", optimizer, args)
    rows = rates(optimizer, scheduler, lambda group: group["betas"][0])
    recorder.add("one_cycle", 1e-3, args, rows)


def add_factors(recorder):
    for kind, base, text, factor in FACTORS:
        optimizer = optimizer_at(base)
        name = "LambdaLR" if kind == "lambda" else "MultiplicativeLR"
        scheduler = getattr(lr_scheduler, name)(optimizer, factor)
        rows = {"factor": [factor(e) for e in range(STEPS)], **rates(optimizer, scheduler)}
        recorder.add(kind, base, {"factor": text}, rows)


def add_fractional_restarts(recorder):
    """CosineAnnealingWarmRestarts may be told the epoch, a fraction or one in the past."""
    base, args = 0.1, {"T_0": 3, "T_mult": 2, "eta_min": 1e-3}
    optimizer = optimizer_at(base)
    scheduler = build("cosine_annealing_warm_restarts", optimizer, args)
    epochs = [e / 8 for e in range(150)] + [e * 0.75 for e in range(50)]
    learning_rates = []
    for epoch in epochs:
        optimizer.step()
        scheduler.step(epoch)
        learning_rates.append(float(optimizer.param_groups[0]["lr"]))
    rows = {"epochs": epochs, "lr": learning_rates}
    recorder.add("cosine_annealing_warm_restarts", base, args, rows)


def metrics(maximum):
    """A loss that falls, stays, falls by less than a threshold, rises and falls again."""
    generator = torch.Generator().manual_seed(1000)
    noise = torch.rand(STEPS, generator=generator, dtype=torch.float64)
    values = []
    for step in range(STEPS):
        level = 2.0 * math.exp(-step / 30) if step < 90 else 0.3 - 0.00001 * (step - 90)
        level -= 0.2 if step >= 150 else 0.0
        values.append(level + 0.05 * float(noise[step]) * (step % 3))
    return [1.0 - value for value in values] if maximum else values


def add_plateaus(recorder):
    """The learning rate after each call with the metric of that call."""
    for base, changes in PLATEAUS:
        args = {**PLATEAU_DEFAULTS, **changes}
        optimizer = optimizer_at(base)
        scheduler = build("reduce_lr_on_plateau", optimizer, args)
        seen = metrics(args["mode"] == "max")
        learning_rates = []
        for metric in seen:
            optimizer.step()
            scheduler.step(metric)
            learning_rates.append(float(optimizer.param_groups[0]["lr"]))
        recorder.add("reduce_lr_on_plateau", base, args, {"metric": seen, "lr": learning_rates})


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write PyTorch's learning rates.")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/torch")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # SequentialLR and fractional epochs warn about torch's own calls with an epoch.
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.optim.lr_scheduler")
    recorder = Recorder()
    add_plain(recorder)
    add_factors(recorder)
    add_fractional_restarts(recorder)
    add_plateaus(recorder)
    path = arguments.out / "schedules.safetensors"
    metadata = {
        "torch_version": torch.__version__,
        "rule": "schedules",
        "cases": safetensors_file.one_line(recorder.cases),
    }
    safetensors_file.save(path, recorder.tensors, metadata)
    print(f"{path}: {len(recorder.cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
