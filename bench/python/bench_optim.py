# SPDX-License-Identifier: Apache-2.0
"""hone's Python classes against PyTorch's fastest path on the processor, and others.

    python bench/python/bench_optim.py [--out FILE.json] [--repeat N] [CASE...]

Both sides step the same parameters by the same gradients, each with states of its own, in turns and in
changing order. A repetition gives one ratio (other / hone: above 1 hone is faster); reported is the
median of these ratios with its quartiles, and the median time of either side.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time

import torch
from torch.optim.adamw import adamw

import hone
from hone import optim

WIDTH = 768


def gpt2_shapes():
    """The 148 parameters of GPT-2 124M."""
    layer = [
        (WIDTH,), (WIDTH,), (WIDTH, 3 * WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,),
        (WIDTH,), (WIDTH,), (WIDTH, 4 * WIDTH), (4 * WIDTH,), (4 * WIDTH, WIDTH), (WIDTH,),
    ]  # fmt: skip
    return [(50257, WIDTH), (1024, WIDTH), *layer * 12, (WIDTH,), (WIDTH,)]


def make(shapes):
    """Parameters, and gradients small enough that nothing becomes denormal or large."""
    parameters = [torch.nn.Parameter(torch.rand(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.rand(parameter.shape) * 1e-2 + 1e-3
    return parameters


# ---- what others do, where it is not a class of PyTorch's -------------------------------------------


class LoopADOPT:
    """ADOPT as published: PyTorch's operations, tensor by tensor (arXiv 2411.02853v2)."""

    def __init__(self, parameters, lr=1e-3, beta1=0.9, beta2=0.9999, eps=1e-6):
        self.parameters, self.lr, self.betas, self.eps = parameters, lr, (beta1, beta2), eps
        self.exp_avg = [torch.zeros_like(p) for p in parameters]
        self.exp_avg_sq = [torch.zeros_like(p) for p in parameters]
        self.count = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self):
        beta1, beta2 = self.betas
        for p, m, v, count in zip(self.parameters, self.exp_avg, self.exp_avg_sq, self.count):
            completed = int(count.item())
            if completed == 0:
                v.addcmul_(p.grad, p.grad)
                count += 1
                continue
            normed = p.grad.div(torch.clamp(v.sqrt(), self.eps))
            bound = completed**0.25
            normed.clamp_(-bound, bound)
            m.lerp_(normed, 1 - beta1)
            p.add_(m, alpha=-self.lr)
            v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
            count += 1


class TwoCallAdamW:
    """The published MaskedAdamW's algorithm: a whole AdamW call with the gradient kept under the mask,
    and another with the rest, on one state. Its masks are made dense once here, not in every step."""

    def __init__(self, parameters, masks, masked_lr=1e-3, unmasked_lr=1e-5):
        self.parameters, self.masks = parameters, masks
        self.rates = (masked_lr, unmasked_lr)
        self.exp_avg = [torch.zeros_like(p) for p in parameters]
        self.exp_avg_sq = [torch.zeros_like(p) for p in parameters]
        self.count = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self):
        for rate, keep in zip(self.rates, (True, False)):
            grads = [
                p.grad * (mask if keep else ~mask) for p, mask in zip(self.parameters, self.masks)
            ]
            adamw(
                self.parameters, grads, self.exp_avg, self.exp_avg_sq, [], self.count,
                foreach=False, amsgrad=False, beta1=0.9, beta2=0.999, lr=rate, weight_decay=1e-2,
                eps=1e-8, maximize=False,
            )  # fmt: skip


# ---- cases ----------------------------------------------------------------------------------------


def of(name, **options):
    """hone's class and PyTorch's by every path it has, over the same parameters."""

    def build(parameters):
        other = {}
        for path in ({"foreach": False}, {"foreach": True}, {"fused": True}):
            try:
                made = getattr(torch.optim, name)(parameters, **options, **path)
            except TypeError:  # no such path
                continue
            other[f"torch {name} {next(iter(path))}={next(iter(path.values()))}"] = made.step
        return getattr(optim, name)(parameters, **options).step, other

    return build


class Limit:
    """The largest norm of the next call: above any norm, or where clipping is `active` a little below
    the last, so that every call has to write the gradients."""

    def __init__(self, parameters, active):
        self.active = active
        self.norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters]))

    def __call__(self):
        if not self.active:
            return 1e30
        self.norm *= 0.97
        return self.norm


def torch_clip(parameters, limit):
    theirs = torch.optim.AdamW(parameters, fused=True)

    def by(foreach):
        def step():
            torch.nn.utils.clip_grad_norm_(parameters, limit(), foreach=foreach)
            theirs.step()

        return step

    return {f"torch clip_grad_norm_ foreach={f} + AdamW fused": by(f) for f in (False, True)}


def clip_in_step(active):
    def build(parameters):
        ours = optim.AdamW(parameters)
        ours.clip_grad_norm(1e-3 if active else 1e30)
        return ours.step, torch_clip(parameters, Limit(parameters, active))

    return build


def clip_before_step(active):
    def build(parameters):
        ours, limit = optim.AdamW(parameters), Limit(parameters, active)

        def mine():
            hone.clip_grad_norm_(parameters, limit())
            ours.step()

        return mine, torch_clip(parameters, limit)

    return build


def adopt(parameters):
    theirs = LoopADOPT(parameters)
    return optim.ADOPT(parameters).step, {"the published code's operations": theirs.step}


def masked(parameters):
    masks = [torch.rand(p.shape) < 0.05 for p in parameters]
    named = {f"p{i}": mask for i, mask in enumerate(masks)}
    ours = optim.MaskedAdamW(
        [(f"p{i}", p) for i, p in enumerate(parameters)], named, masked_lr=1e-3, unmasked_lr=1e-5
    )
    theirs = TwoCallAdamW(parameters, masks)
    return ours.step, {"the published algorithm": theirs.step}


def deepspeed(parameters):
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    theirs = DeepSpeedCPUAdam(parameters, weight_decay=1e-2, adamw_mode=True)
    return optim.AdamW(parameters).step, {"DeepSpeedCPUAdam": theirs.step}


SMALL = [(1024,)] * 10000
CASES = {
    "adamw": (of("AdamW"), gpt2_shapes(), 1.0),
    "sgd": (of("SGD", lr=1e-3), gpt2_shapes(), 1.0),
    "sgd-momentum": (of("SGD", lr=1e-3, momentum=0.9), gpt2_shapes(), 1.0),
    "rmsprop": (of("RMSprop"), gpt2_shapes(), 3.0),
    "adopt": (adopt, gpt2_shapes(), 5.0),
    "clip-adamw": (clip_in_step(False), gpt2_shapes(), 1.3),
    "clip-adamw-active": (clip_in_step(True), gpt2_shapes(), 1.3),
    "clip-then-adamw": (clip_before_step(False), gpt2_shapes(), 1.3),
    "clip-then-adamw-active": (clip_before_step(True), gpt2_shapes(), None),
    "adamw-10000": (of("AdamW"), SMALL, 2.0),
    "masked-adamw": (masked, gpt2_shapes(), 5.0),
    "deepspeed": (deepspeed, gpt2_shapes(), 1.0),
}


def timed(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(mine, others, repeat):
    """Ratios and times against the fastest of the others, which a first round finds."""
    for call in (mine, *others.values()):
        call()  # states are made here
    rounds = {name: min(timed(call) for _ in range(3)) for name, call in others.items()}
    name = min(rounds, key=rounds.get)
    ratios, ours, theirs = [], [], []
    for turn in range(repeat):
        pair = {}
        for call in (mine, others[name]) if turn % 2 else (others[name], mine):
            pair[call] = timed(call)
        ours.append(pair[mine])
        theirs.append(pair[others[name]])
        ratios.append(pair[others[name]] / pair[mine])
    return name, ratios, ours, theirs


def run(case, repeat):
    build, shapes, wanted = CASES[case]
    parameters = make(shapes)
    mine, others = build(parameters)
    name, ratios, ours, theirs = measure(mine, others, repeat)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "name": case,
        "tensors": len(shapes),
        "elements": sum(p.numel() for p in parameters),
        "against": name,
        "seconds": statistics.median(ours),
        "against_seconds": statistics.median(theirs),
        "ratio": middle,
        "quartiles": [low, high],
        "wanted": wanted,
        "repeat": repeat,
    }


# ---- overhead of the host ---------------------------------------------------------------------------


def overhead(repeat):
    """A step over 148 tensors of one element beyond the library's own call, in microseconds: with
    gradients that stay, and with new ones in every step. The library's call is measured under the same
    conditions: as it is, and after as many tensors have been copied, which costs the caches."""
    parameters = make([(1,)] * 148)
    ours = optim.AdamW(parameters)
    ours.step()
    core = ours._engine._sides[0].core
    whole, call, fresh, call_after_copies = [], [], [], []
    for _ in range(200 * repeat):
        whole.append(timed(ours.step))
        call.append(timed(core.run))
        for p in parameters:
            p.grad = p.grad.clone()
        fresh.append(timed(ours.step))
        copies = [p.grad.clone() for p in parameters]
        call_after_copies.append(timed(core.run))
        del copies
    middle = {
        name: 1e6 * statistics.median(times)
        for name, times in (
            ("whole", whole), ("call", call), ("fresh", fresh), ("after", call_after_copies),
        )
    }  # fmt: skip
    return {
        "name": "overhead",
        "tensors": 148,
        "library_microseconds": middle["call"],
        "microseconds": middle["whole"] - middle["call"],
        "library_microseconds_after_copies": middle["after"],
        "microseconds_with_new_gradients": middle["fresh"] - middle["after"],
        "wanted": 50,
    }


def machine():
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "level": hone._core.cpu(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the results to this file")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}, overhead; default: all")
    options = parser.parse_args()
    results = []
    for case in options.cases or ["overhead", *CASES]:
        if case == "deepspeed" and not options.cases:
            try:
                importlib.metadata.version("deepspeed")
            except importlib.metadata.PackageNotFoundError:
                print("deepspeed     not installed", flush=True)
                continue
        row = overhead(options.repeat) if case == "overhead" else run(case, options.repeat)
        results.append(row)
        print(json.dumps(row), flush=True)
    if options.out:
        report = {
            "command": " ".join(["python", *sys.argv]),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "results": results,
        }
        with open(options.out, "w") as file:
            json.dump(report, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
