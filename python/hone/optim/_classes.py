# SPDX-License-Identifier: Apache-2.0
"""The optimizer classes, one for each rule of the registry.

A rule that has a class in PyTorch, or in published code that is known by its signature, gets that
signature: _FORMS lists the order of its arguments, the registry fills in defaults and ranges. Any other
rule gets its hyperparameters in the registry's order, the flags by keyword only.
"""

import functools
import inspect

import torch

from hone.optim._optimizer import Optimizer, beta_names, label
from hone.optim._reference import curve_at
from hone.rules import RULES

_FLAGS = {"foreach": None, "capturable": False, "differentiable": False, "fused": None}

# Class name and arguments after `params`; behind `*` by keyword only.
_FORMS = {
    "sgd": (
        "SGD",
        "lr momentum dampening weight_decay nesterov * maximize foreach differentiable fused",
    ),
    "adam": (
        "Adam",
        "lr betas eps weight_decay amsgrad * foreach maximize capturable differentiable fused "
        "decoupled_weight_decay",
    ),
    "adamw": (
        "AdamW",
        "lr betas eps weight_decay amsgrad * maximize foreach capturable differentiable fused",
    ),
    "rmsprop": (
        "RMSprop",
        "lr alpha eps weight_decay momentum centered capturable foreach maximize differentiable",
    ),
    "adopt": (
        "ADOPT",
        "lr betas eps clip_lambda weight_decay decouple * foreach maximize capturable "
        "differentiable fused",
    ),
    "muon": (
        "Muon",
        "lr weight_decay momentum nesterov ns_coefficients eps ns_steps adjust_lr_fn",
    ),
    "adamw_tf": (
        "AdamWTF",
        "lr betas eps weight_decay use_nesterov * maximize fuse differentiable",
    ),
}

# Defaults that are not the registry's, because PyTorch writes the same thing otherwise.
_DEFAULTS = {
    ("muon", "ns_coefficients"): (3.4445, -4.7750, 2.0315),
    ("muon", "ns_steps"): 5,
    ("muon", "adjust_lr_fn"): None,
    ("adamw_tf", "use_nesterov"): False,
    ("adamw_tf", "fuse"): True,
    ("adam", "decoupled_weight_decay"): False,
    ("sgd", "momentum"): 0,
    ("sgd", "dampening"): 0,
}


def _default(rule, name):
    if (rule.name, name) in _DEFAULTS:
        return _DEFAULTS[rule.name, name]
    if name in _FLAGS:
        return _FLAGS[name]
    if name == "betas":
        return tuple(rule.hyper(beta).default for beta in beta_names(rule))
    hyper = rule.hyper(name)
    if hyper.kind == "flag":
        return bool(hyper.default)
    if hyper.kind == "choice":
        return hyper.words[int(hyper.default)]
    if hyper.kind == "curve":
        return {"power": hyper.power, "scale": hyper.default}
    return 0 if hyper.default == 0 and name == "weight_decay" else hyper.default


def _general_form(rule):
    """Class name and arguments of a rule without a form of its own."""
    numbers, flags = [], []
    betas = beta_names(rule)
    for hyper in rule.hypers:
        name = "betas" if hyper.name in betas else hyper.name
        if name not in numbers:
            (flags if hyper.kind == "flag" else numbers).append(name)
    title = "".join(part.capitalize() for part in rule.name.split("_"))
    return title, " ".join([*numbers, "*", *flags, *_FLAGS])


def _signature(rule, form):
    parameter = inspect.Parameter
    kind = parameter.POSITIONAL_OR_KEYWORD
    parameters = [parameter("self", kind), parameter("params", kind)]
    for name in form.split():
        if name == "*":
            kind = parameter.KEYWORD_ONLY
        else:
            parameters.append(parameter(name, kind, default=_default(rule, name)))
    return inspect.Signature(parameters)


def _check_number(cls, hyper, value, text):
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"Tensor {text} must be 1-element")
    too_high = value >= hyper.high if hyper.high_open else value > hyper.high
    if not hyper.low <= value or too_high:
        raise ValueError(cls._range_error(hyper.name, value))


class _RuleOptimizer(Optimizer):
    """What the generated classes share."""

    @classmethod
    def _range_error(cls, name, value):
        return f"Invalid {label(name)}: {value}"

    @classmethod
    def _check_values(cls, values):
        """Raises PyTorch's errors for values out of range."""
        betas = beta_names(cls.rule)
        for hyper in cls.rule.hypers:
            if hyper.kind != "number":
                continue
            if hyper.name in betas:
                index = betas.index(hyper.name)
                _check_number(cls, hyper, values["betas"][index], f"betas[{index}]")
            elif hyper.name in values:
                _check_number(cls, hyper, values[hyper.name], hyper.name)

    @classmethod
    def _group_values(cls, values):
        """The values as a group keeps them."""
        return values


def _make_init(rule, form):
    signature = _signature(rule, form)

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        del values["self"]
        params = values.pop("params")
        self._check_values(values)
        Optimizer.__init__(self, params, self._group_values(values))

    __init__.__signature__ = signature
    return __init__


def _documentation(rule, form):
    lines = [f"{rule.doc}.", "", "Args:", "    params: parameters, named parameters, or groups"]
    for name in form.replace("*", "").split():
        hyper = rule.hyper(name)
        if hyper is not None:
            lines.append(f"    {name}: {hyper.doc} (default: {_default(rule, name)})")
    return "\n".join(lines)


def make_class(rule):
    """The class of a rule."""
    name, form = _FORMS.get(rule.name) or _general_form(rule)
    body = {
        "__doc__": _documentation(rule, form),
        "__init__": _make_init(rule, form),
        "__module__": "hone.optim",
        "rule": rule,
    }
    return type(name, (_SPECIAL.get(rule.name, _RuleOptimizer),), body)


# ---- classes with manners of their own ------------------------------------------------------------


class _SGD(_RuleOptimizer):
    @classmethod
    def _check_values(cls, values):
        super()._check_values(values)
        if values["nesterov"] and (values["momentum"] <= 0 or values["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def __setstate__(self, state):
        super().__setstate__(state)
        for known in self.state.values():  # PyTorch's buffer of sparse gradients is sparse
            buffer = known.get("momentum_buffer")
            if buffer is not None and buffer.layout is not torch.strided:
                known["momentum_buffer"] = buffer.to_dense()

    def _check_parameter(self, group, parameter, grad):
        if grad.layout is not torch.strided:
            if group.get("fused"):
                raise RuntimeError("`_fused_sgd` does not support sparse gradients")
            if group["weight_decay"] == 0:
                return
        super()._check_parameter(group, parameter, grad)


def _check_adam_values(values):
    lr, betas = values["lr"], values["betas"]
    unsupported = "as a Tensor is not supported for capturable=False and foreach=True"
    by_list = values["foreach"] and not values["capturable"]
    if isinstance(lr, torch.Tensor) and by_list:
        raise ValueError(f"lr {unsupported}")
    tensors = [isinstance(beta, torch.Tensor) for beta in betas]
    floats = [isinstance(beta, float) for beta in betas]
    if not all(tensors) and not all(floats):
        raise ValueError("betas must be either both floats or both Tensors")
    for index, is_tensor in enumerate(tensors):
        if is_tensor and by_list:
            raise ValueError(f"betas[{index}] {unsupported}")


def _scalar_betas(values):
    squeezed = (b.squeeze() if isinstance(b, torch.Tensor) else b for b in values["betas"])
    return {**values, "betas": tuple(squeezed)}


class _Adam(_RuleOptimizer):
    @classmethod
    def _check_values(cls, values):
        super()._check_values(values)
        _check_adam_values(values)

    @classmethod
    def _group_values(cls, values):
        return _scalar_betas(values)

    def _rule_of(self, group):
        return RULES["adamw" if group["decoupled_weight_decay"] else "adam"]

    def _check_parameter(self, group, parameter, grad):
        if grad.layout is not torch.strided:
            raise RuntimeError(
                "Adam does not support sparse gradients, please consider SparseAdam instead"
            )
        if group["foreach"] and isinstance(group["lr"], torch.Tensor) and not group["capturable"]:
            raise RuntimeError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        super()._check_parameter(group, parameter, grad)


class _AdamW(_Adam):
    @classmethod
    def _group_values(cls, values):
        return {**super()._group_values(values), "decoupled_weight_decay": True}

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class _ADOPT(_RuleOptimizer):
    """The bound of the normalised gradient is data in each group, or a callable, which is kept beside
    them and cannot be saved."""

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            if "decoupled" in group:  # before 2024-11-21
                group["decouple"] = group.pop("decoupled")

    @property
    def clip_lambda(self):
        curve = self.param_groups[0]["clip_lambda"]
        return curve if curve is None or callable(curve) else functools.partial(curve_at, curve)

    def state_dict(self):
        saved = super().state_dict()
        for group in saved["param_groups"]:
            if callable(group.get("clip_lambda")):
                del group["clip_lambda"]
        return saved

    @classmethod
    def _check_values(cls, values):
        super()._check_values(values)
        by_list = values["foreach"] and not values["capturable"]
        if isinstance(values["lr"], torch.Tensor) and by_list:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")


class _AdamWTF(_RuleOptimizer):
    def _check_parameter(self, group, parameter, grad):
        super()._check_parameter(group, parameter, grad)
        assert not group["use_nesterov"], "use_nesterov is not supported"
        assert not parameter.is_complex(), "complex parameters are not supported"


class _Muon(_RuleOptimizer):
    _NAMES = {"lr": "Learning rate", "momentum": "momentum", "weight_decay": "weight decay"}

    @classmethod
    def _range_error(cls, name, value):
        return f"{cls._NAMES[name]} should be >= 0 but is: {value}"

    @classmethod
    def _check_values(cls, values):
        for name in cls._NAMES:
            _check_number(cls, cls.rule.hyper(name), values[name], name)
        known = (None, "original", "match_rms_adamw")
        if values["adjust_lr_fn"] not in known:
            raise ValueError(
                f"Adjust learning rate function {values['adjust_lr_fn']} is not supported"
            )

    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                size = parameter.size()
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {size}"
                )

    def _check_parameter(self, group, parameter, grad):
        if parameter.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        super()._check_parameter(group, parameter, grad)
        if grad.ndim != 2:
            raise ValueError("Param gradient must be a 2D matrix")
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")

    def _values(self, group):
        for name in ("lr", "weight_decay", "momentum", "eps", "ns_steps", "nesterov"):
            yield "set", name, float(group[name])
        words = self._rule_of(group).hyper("adjust_lr_fn").words
        yield "set", "adjust_lr_fn", float(words.index(group["adjust_lr_fn"] or "original"))
        yield from self._polynomials(group)

    def _polynomials(self, group):
        yield "set_coefficients", (tuple(float(x) for x in group["ns_coefficients"]),)


_SPECIAL = {
    "sgd": _SGD,
    "adam": _Adam,
    "adamw": _AdamW,
    "adopt": _ADOPT,
    "adamw_tf": _AdamWTF,
    "muon": _Muon,
}

CLASSES = {cls.__name__: cls for cls in map(make_class, RULES.values())}
