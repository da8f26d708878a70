# SPDX-License-Identifier: Apache-2.0
"""Every rule in PyTorch's operations, to be read: what `differentiable=True` runs, what steps tensors
that the library does not, and what the tests hold the library against.

Each function moves one parameter `p` in place by its gradient `g` (unscaled, and negated if the rule
maximizes). `s` is the parameter's state, `h` the values of the hyperparameters, `fresh` the slots of `s`
that are new. Writing in place keeps autograd's record, so the same text is differentiable.
"""

import torch


def _plus(a, factor, b):
    """a + factor * b, rounded once where the factor is a number."""
    return a + factor * b if isinstance(factor, torch.Tensor) else a.add(b, alpha=factor)


def _kept(state):
    """A state as autograd may keep it: the next step writes the state itself in place."""
    return state.clone() if torch.is_grad_enabled() else state


def _descend(p, rate, direction):
    """p := p - rate * direction; a rate that is a tensor may have one value for each element."""
    if isinstance(rate, torch.Tensor):
        p.addcmul_(_kept(direction), rate.to(p.device), value=-1)
    else:
        p.add_(direction, alpha=-rate)


def _adam_moments(p, g, s, h):
    """Updates the moments; the direction before the learning rate, and its bias correction."""
    s["step"] += 1
    t = float(s["step"])
    s["exp_avg"].lerp_(g, 1 - h["beta1"])
    s["exp_avg_sq"].mul_(h["beta2"]).addcmul_(g, g, value=float(1 - h["beta2"]))
    second = s["exp_avg_sq"]
    if h["amsgrad"]:
        second = torch.maximum(_kept(s["max_exp_avg_sq"]), _kept(second))
        s["max_exp_avg_sq"].copy_(second)
    denominator = second.sqrt() / (1 - h["beta2"] ** t) ** 0.5 + h["eps"]
    return _kept(s["exp_avg"]) / denominator, 1 - h["beta1"] ** t


def adam(p, g, s, h, fresh):
    if h["weight_decay"] != 0:
        g = _plus(g, h["weight_decay"], p)
    direction, bias = _adam_moments(p, g, s, h)
    _descend(p, h["lr"] / bias, direction)


def adamw(p, g, s, h, fresh):
    p.mul_(1 - h["lr"] * h["weight_decay"])
    direction, bias = _adam_moments(p, g, s, h)
    _descend(p, h["lr"] / bias, direction)


def adamw_tf(p, g, s, h, fresh):
    s["step"] += 1
    t = float(s["step"])
    p.mul_(1 - h["weight_decay"])
    s["exp_avg"].lerp_(g, 1 - h["beta1"])
    s["exp_avg_sq"].mul_(h["beta2"]).addcmul_(g, g, value=float(1 - h["beta2"]))
    rate = h["lr"] / (1 - h["beta1"] ** t) * (1 - h["beta2"] ** t) ** 0.5
    _descend(p, rate, _kept(s["exp_avg"]) / (s["exp_avg_sq"].sqrt() + h["eps"]))


def adopt(p, g, s, h, fresh):
    if h["weight_decay"] != 0 and not h["decouple"]:
        g = _plus(g, h["weight_decay"], p)
    completed = int(s["step"])
    s["step"] += 1
    if completed == 0:
        s["exp_avg_sq"].addcmul_(g, g)
        return
    if h["weight_decay"] != 0 and h["decouple"]:
        p.mul_(1 - h["lr"] * h["weight_decay"])
    normal = g / s["exp_avg_sq"].sqrt().clamp(min=h["eps"])
    bound = curve_at(h["clip_lambda"], completed)
    if bound is not None:
        normal = normal.clamp(-bound, bound)
    s["exp_avg"].lerp_(normal, 1 - h["beta1"])
    _descend(p, h["lr"], s["exp_avg"])
    s["exp_avg_sq"].mul_(h["beta2"]).addcmul_(g, g, value=float(1 - h["beta2"]))


def curve_at(curve, completed):
    """ADOPT's bound after so many completed calls; None: there is none."""
    if curve is None:
        return None
    if isinstance(curve, dict):
        return curve["scale"] * completed ** curve["power"]
    return curve(completed) if callable(curve) else curve


def rmsprop(p, g, s, h, fresh):
    s["step"] += 1
    if h["weight_decay"] != 0:
        g = _plus(g, h["weight_decay"], p)
    s["square_avg"].mul_(h["alpha"]).addcmul_(g, g, value=float(1 - h["alpha"]))
    variance = s["square_avg"]
    if h["centered"]:
        s["grad_avg"].lerp_(g, 1 - h["alpha"])
        mean = _kept(s["grad_avg"])
        variance = variance.addcmul(mean, mean, value=-1).clamp(min=0)
    scaled = g / (variance.sqrt() + h["eps"])
    if h["momentum"] > 0:
        s["momentum_buffer"].mul_(h["momentum"]).add_(scaled)
        scaled = s["momentum_buffer"]
    _descend(p, h["lr"], scaled)


def sgd(p, g, s, h, fresh):
    if g.layout is not torch.strided:  # without decay
        if h["momentum"] == 0:  # only the elements that are there
            p.add_(g, alpha=-float(h["lr"]))
            return
        g = g.to_dense()
    if h["weight_decay"] != 0:
        g = _plus(g, h["weight_decay"], p)
    if h["momentum"] != 0:
        buffer = s["momentum_buffer"]
        if "momentum_buffer" in fresh:
            buffer.copy_(g)
        else:
            buffer.mul_(h["momentum"]).add_(g, alpha=1 - h["dampening"])
        g = _plus(g, h["momentum"], buffer) if h["nesterov"] else buffer
    _descend(p, h["lr"], g)


def muon(p, g, s, h, fresh):
    buffer = s["momentum_buffer"]
    buffer.lerp_(g, 1 - h["momentum"])
    update = torch.lerp(g, buffer, h["momentum"]) if h["nesterov"] else buffer
    update = update.flatten(1)  # what has more dimensions is a matrix of the first by all others
    polar = _newton_schulz(update, h["ns_coefficients"], int(h["ns_steps"]), h["eps"])
    rows, columns = update.shape
    if h["adjust_lr_fn"] == "match_rms_adamw":
        ratio = 0.2 * max(rows, columns) ** 0.5
    else:
        ratio = max(1, rows / columns) ** 0.5
    p.mul_(1 - h["lr"] * h["weight_decay"])
    _descend(p, h["lr"] * ratio, polar.reshape(p.shape))


def _newton_schulz(update, coefficients, steps, eps):
    a, b, c = coefficients
    tall = update.shape[0] > update.shape[1]
    x = update.T if tall else update
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


REFERENCES = {
    "adam": adam,
    "adamw": adamw,
    "adamw_tf": adamw_tf,
    "adopt": adopt,
    "muon": muon,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
