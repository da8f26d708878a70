# SPDX-License-Identifier: Apache-2.0
"""The functional form of ADOPT, with the signature of the published code."""

import torch

from hone import _core
from hone._compile import outside_of_compilation
from hone.optim._once import Job, step_once
from hone.optim._optimizer import curve_arguments
from hone.optim._reference import REFERENCES
from hone.rules import RULES


@outside_of_compilation
def adopt(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    state_steps,
    foreach=None,
    capturable=False,
    differentiable=False,
    fused=None,
    grad_scale=None,
    found_inf=None,
    has_complex=False,
    *,
    beta1,
    beta2,
    lr,
    clip_lambda,
    weight_decay,
    decouple,
    eps,
    maximize,
):
    """Steps `params` in place by `grads`, and the states and counters beside them. `clip_lambda` is a
    callable of the number of completed calls, a number, {"power": p, "scale": c}, or None."""
    if not all(isinstance(step, torch.Tensor) for step in state_steps):
        raise RuntimeError(
            "API has changed, `state_steps` argument must contain a list of singleton tensors"
        )
    if foreach and isinstance(lr, torch.Tensor) and not capturable:
        raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if found_inf is not None and float(found_inf) != 0:
        return
    values = {
        "lr": lr,
        "beta1": beta1,
        "beta2": beta2,
        "eps": eps,
        "weight_decay": weight_decay,
        "clip_lambda": clip_lambda,
        "decouple": decouple,
        "maximize": maximize,
    }
    scale = 1.0 if grad_scale is None else float(grad_scale)
    jobs = []
    for p, grad, exp_avg, exp_avg_sq, step in zip(
        params, grads, exp_avgs, exp_avg_sqs, state_steps, strict=True
    ):
        slots = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        if differentiable or any(_core.layout(t) is None for t in (p, grad, exp_avg, step)):
            grad = grad / scale if scale != 1.0 else grad
            grad = -grad if maximize else grad
            REFERENCES["adopt"](p, grad, {**slots, "step": step}, values, set())
        else:
            jobs.append(Job(p, grad, slots, step))
    calls = [("set", name, float(v)) for name, v in values.items() if name != "clip_lambda"]
    calls.append(("set_curve", "clip_lambda", *curve_arguments(clip_lambda)))
    with torch.no_grad():
        step_once(RULES["adopt"], calls, jobs, scale)
