# SPDX-License-Identifier: Apache-2.0
"""SparseAdam as PyTorch has it: dense parameters whose gradients are sparse (COO). Only the elements that
a gradient holds move, and only their moments; the bias correction counts all calls. It is the rule
`adamw_tf` without decay, over the rows that the gradient holds."""

import torch

from hone._compile import outside_of_compilation
from hone.optim._once import Job, step_once
from hone.rules import RULES


class SparseAdam(torch.optim.Optimizer):
    """Adam for dense parameters with sparse gradients: elements without an entry stay as they are."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if isinstance(lr, torch.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, maximize=maximize))
        self._refuse("Sparse", torch.Tensor.is_sparse.__get__, "requires dense parameter tensors")
        self._refuse("Complex", torch.is_complex, "does not support complex parameters")

    def _refuse(self, kind, test, reason):
        found = [
            [g, index]
            for g, group in enumerate(self.param_groups)
            for index, parameter in enumerate(group["params"])
            if test(parameter)
        ]
        if found:
            raise ValueError(f"{kind} params at indices {found}: SparseAdam {reason}")

    @torch.no_grad()
    def step(self, closure=None):
        """Performs one step. `closure`, if given, is called first; its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = [(g, p) for g in self.param_groups for p in g["params"] if p.grad is not None]
        if any(not p.grad.is_sparse for _, p in work):
            raise RuntimeError(
                "SparseAdam does not support dense gradients, please consider Adam instead"
            )
        for group, parameter in work:
            self._step(group, parameter)
        return loss

    @outside_of_compilation
    def _step(self, group, parameter):
        state = self.state[parameter]
        if len(state) == 0:
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["step"] += 1
        grad = parameter.grad.coalesce()
        values = grad._values()
        if values.numel() == 0:
            return
        where = tuple(grad._indices())
        whole = (parameter, state["exp_avg"], state["exp_avg_sq"])
        rows, exp_avg, exp_avg_sq = (tensor[where].reshape(values.shape) for tensor in whole)
        completed = torch.tensor(float(state["step"] - 1), dtype=torch.float64)
        slots = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        calls = [
            ("set", "lr", float(group["lr"])),
            ("set", "beta1", float(group["betas"][0])),
            ("set", "beta2", float(group["betas"][1])),
            ("set", "eps", float(group["eps"])),
            ("set", "weight_decay", 0.0),
            ("set", "maximize", float(group.get("maximize", False))),
        ]
        step_once(RULES["adamw_tf"], calls, [Job(rows, values, slots, completed)])
        for target, part in zip(whole, (rows, exp_avg, exp_avg_sq)):
            target[where] = part.reshape(target[where].shape)
