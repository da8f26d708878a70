# SPDX-License-Identifier: Apache-2.0
"""The base of all optimizers here: a torch.optim.Optimizer whose step is the library's.

What differs from rule to rule comes from the registry (hone.rules); what differs from PyTorch's general
manner in one class is overridden there (_classes.py).
"""

import copy
import functools

import torch
from torch.optim.optimizer import (
    _device_dtype_check_for_fused,
    _get_capturable_supported_devices,
    _get_scalar_dtype,
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)

from hone._compile import outside_of_compilation
from hone.optim._engine import Engine
from hone.optim._reference import REFERENCES

# Rules that PyTorch gives no counter in their state.
_UNCOUNTED = ("muon", "sgd")

# What PyTorch calls a value in its errors, where not "{name} value".
_LABELS = {
    "lr": "learning rate",
    "eps": "epsilon value",
    "beta1": "beta parameter at index 0",
    "beta2": "beta parameter at index 1",
    "beta3": "beta parameter at index 2",
}


def beta_names(rule):
    """The hyperparameters that stand together in a group as the tuple `betas`."""
    return [h.name for h in rule.hypers if h.name.startswith("beta") and h.name[4:].isdigit()]


def _with_hooks(function):
    """The step with PyTorch's hooks and its mark for the profiler, which cost as much as all other work
    of the host, wherever one of them is there; without where none is."""
    hooked = torch.optim.Optimizer.profile_hook_step(function)

    @outside_of_compilation
    @functools.wraps(function)
    def step(self, *args, **kwargs):
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or torch.autograd._profiler_enabled()
        ):
            return hooked(self, *args, **kwargs)
        return function(self, *args, **kwargs)

    step.hooked = True  # PyTorch need not wrap it again
    return step


class Optimizer(torch.optim.Optimizer):
    """An optimizer whose rule is in the registry of the library."""

    rule = None  # hone.rules.Rule, set by each class
    _clip = None  # (largest norm, order of the norm) of clipping inside the step

    def __init__(self, params, defaults):
        super().__init__(params, defaults)
        self._start()
        if defaults.get("fused"):
            if defaults.get("differentiable"):
                raise RuntimeError("`fused` does not support `differentiable`")
            if defaults.get("foreach"):
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    def _start(self):
        """What is not saved and made anew with every object."""
        self._engine = Engine()
        # Tells GradScaler to leave unscaling to step(). As in PyTorch only where "fused" was asked for:
        # otherwise gradients can be clipped between the two, and trainers count on it.
        self._step_supports_amp_scaling = bool(self.defaults.get("fused"))

    # ---- what may differ by class -----------------------------------------------------------

    def _rule_of(self, group):
        return self.rule

    def _value(self, group, hyper):
        """A group's value of one hyperparameter."""
        betas = beta_names(self._rule_of(group))
        if hyper.name in betas and "betas" in group:
            return group["betas"][betas.index(hyper.name)]
        return group.get(hyper.name, hyper.default)

    def _values(self, group):
        """A group's values as calls of the library: (method, arguments...)."""
        for hyper in self._rule_of(group).hypers:
            value = self._value(group, hyper)
            if hyper.kind == "curve":
                yield ("set_curve", hyper.name, *curve_arguments(value))
            elif hyper.kind == "choice" and not isinstance(value, float):
                yield "set", hyper.name, float(hyper.words.index(value))
            else:
                yield "set", hyper.name, float(value)

    def _reference_values(self, group, parameter):
        """A group's values as the reference takes them for one parameter."""
        return {hyper.name: self._value(group, hyper) for hyper in self._rule_of(group).hypers}

    def _before_step(self):
        """Called in every step after the closure, before anything is stepped."""

    def _added(self, core, index, parameter, memory):
        """Called when the library (a _core.Optimizer) has taken a parameter; `memory` is what it
        steps: the parameter or a copy of it."""

    def _names_of(self, group):
        """The names of a group's parameters as a list, or None."""
        return list(group["param_names"]) if "param_names" in group else None

    def _watched_keys(self, group):
        return tuple(key for key in group if key not in ("params", "param_names"))

    def _check_parameter(self, group, parameter, grad):
        """PyTorch's errors about one parameter and its gradient, raised before anything is written."""
        if grad.layout is not torch.strided:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
        if group.get("fused"):
            _device_dtype_check_for_fused(parameter)
        if group.get("capturable") and not torch.compiler.is_compiling():
            devices = _get_capturable_supported_devices()
            assert parameter.device.type in devices, (
                "If capturable=True, params and state_steps must be on supported devices: "
                f"{devices}."
            )

    # ---- states -----------------------------------------------------------------------------

    def _needed_slots(self, group):
        rule = self._rule_of(group)
        return tuple(
            slot
            for slot in rule.slots
            if slot.condition is None or self._value(group, rule.hyper(slot.condition)) != 0
        )

    def _is_counted(self, group):
        return self._rule_of(group).name not in _UNCOUNTED

    def _counts_on_device(self, group):
        """Whether state["step"] is where the parameter is, as PyTorch has it."""
        return bool(group.get("capturable") or group.get("fused"))

    def _is_capturable(self, group):
        return bool(group.get("capturable", not self._is_counted(group)))

    def _check_capture(self):
        """PyTorch's error, before anything is written."""
        if torch.cuda.is_current_stream_capturing() and not all(
            map(self._is_capturable, self.param_groups)
        ):
            raise RuntimeError(
                f"Attempting CUDA graph capture of step() for an instance of {type(self).__name__} "
                "but param_groups' capturable is False."
            )

    def _prepare_state(self, group, parameter):
        """The parameter's state, with what is missing made, and its slots as (name, tensor, whether
        the tensor holds values already). No dict of states is made for a rule that keeps none."""
        needed = self._needed_slots(group)
        if not needed and not self._is_counted(group):
            return None, ()
        state = self.state[parameter]
        if self._is_counted(group) and "step" not in state:
            on_device = group.get("capturable") or group.get("fused")
            state["step"] = torch.tensor(
                0.0,
                dtype=_get_scalar_dtype(is_fused=group.get("fused")),
                device=parameter.device if on_device else None,
            )
        slots = []
        for slot in needed:
            adopt = state.get(slot.name) is not None
            if not adopt:
                state[slot.name] = torch.full_like(
                    parameter, slot.initial, memory_format=torch.preserve_format
                ).detach_()
            check_memory(state[slot.name], f"the state {slot.name}")
            slots.append((slot.name, state[slot.name], adopt))
        return state, tuple(slots)

    # ---- the step ---------------------------------------------------------------------------

    def _reference_step(self, group, parameter):
        """One parameter's step in PyTorch's own operations."""
        rule = self._rule_of(group)
        check_memory(parameter, "a parameter")
        check_memory(parameter.grad, "a gradient")
        if rule.name not in REFERENCES:
            raise RuntimeError(
                f"{type(self).__name__} has no reference in PyTorch's operations: it steps dense "
                f"floating-point parameters in the processor's memory, without `differentiable`; "
                f"this one is {parameter.dtype} on {parameter.device}"
            )
        state, slots = self._prepare_state(group, parameter)
        values = {name: _scalar(v) for name, v in self._reference_values(group, parameter).items()}
        fresh = {name for name, _, adopt in slots if not adopt}
        grad = parameter.grad
        if self._loss_scale != 1.0:
            grad = grad * (1.0 / self._loss_scale)
        if values["maximize"]:
            grad = -grad
        if parameter.is_complex():  # two reals, each on its own
            parameter, grad = torch.view_as_real(parameter), torch.view_as_real(grad.resolve_conj())
            state = {
                name: torch.view_as_real(value) if name != "step" else value
                for name, value in (state or {}).items()
            }
        REFERENCES[rule.name](parameter, grad, state, values, fresh)

    def _differentiable_step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._check_parameter(group, parameter, parameter.grad)
                    state = self.state.get(parameter, {})
                    if torch.is_tensor(state.get("step")) and state["step"].requires_grad:
                        raise RuntimeError(
                            "`requires_grad` is not supported for `step` in differentiable mode"
                        )
                    self._reference_step(group, parameter)

    @_with_hooks
    def step(self, closure=None):
        """Performs one step. `closure`, if given, is called first: it computes the loss and the
        gradients anew, and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.cuda.is_initialized():
            self._check_capture()
        scaler = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)  # GradScaler's
        differentiable = self.defaults.get("differentiable")
        if scaler != (None, None) and not differentiable and all(t is None or t.is_cuda for t in scaler):
            if self._engine.takes_tensors_of_scaler(self):
                self._loss_scale = 1.0
                self._before_step()
                self._engine.step(self, 1.0, scaler)
                return loss
        grad_scale, found_inf = scaler
        if found_inf is not None and float(found_inf) != 0:
            return loss
        self._loss_scale = 1.0 if grad_scale is None else float(grad_scale)
        self._before_step()
        if differentiable:
            with torch.enable_grad():
                self._differentiable_step()
        else:
            self._engine.step(self, self._loss_scale)
        return loss

    # ---- clipping inside the step -----------------------------------------------------------

    def clip_grad_norm(self, max_norm, norm_type=2.0):
        """From the next step on, every step scales the gradients by what hone.clip_grad_norm_ would
        scale them by, as it reads them: the gradients are not written, and a pass over them is saved.
        `max_norm` None ends it. Not saved with the state. After a step `total_norm` is the norm."""
        self._clip = None if max_norm is None else (float(max_norm), float(norm_type))
        if self._clip is not None and not (self._clip[0] > 0 and self._clip[1] >= 1):
            clip, self._clip = self._clip, None
            raise ValueError(f"max_norm must be above 0 and norm_type at least 1, but they are {clip}")
        if self._clip is not None and self.defaults.get("differentiable"):
            self._clip = None
            raise RuntimeError("clipping inside the step does not support `differentiable`")
        self._engine.rebuild()

    @property
    def total_norm(self):
        """The norm of the last step's gradients before clip_grad_norm's clipping; else None."""
        return None if self._clip is None else self._engine.total_norm()

    # ---- saving and loading -----------------------------------------------------------------

    def load_state_dict(self, state_dict, *, by_name=False, strict=True):
        """Loads what state_dict() of this class or of PyTorch's gave. Parameters are matched by their
        order, as PyTorch does; with `by_name` by the names that both sides have, whatever the groups:
        then a group takes the saved values only from a saved group of the same names. `strict`
        makes a name that only one side has an error."""
        if by_name:
            state_dict = rearrange_by_name(self, state_dict, strict)
        # PyTorch would go on in the given dict's own tensors, and two optimizers in the same ones.
        state_dict = {**state_dict, "state": copy.deepcopy(state_dict["state"])}
        super().load_state_dict(state_dict)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.defaults.items():
                if key != "lr":
                    group.setdefault(key, value)
            for parameter in group["params"]:
                known = self.state.get(parameter)
                if known and "step" in known and not torch.is_tensor(known["step"]):
                    on_device = group.get("capturable") or group.get("fused")
                    known["step"] = torch.tensor(
                        float(known["step"]),
                        dtype=_get_scalar_dtype(is_fused=group.get("fused")),
                        device=parameter.device if on_device else "cpu",
                    )
        if "_engine" not in self.__dict__:
            self._start()


def check_memory(tensor, what):
    """Raises for a tensor whose storage was resized to nothing: PyTorch's operations would crash."""
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    if plain and tensor.device.type == "cpu" and tensor.numel() > 0:
        if tensor.untyped_storage().nbytes() == 0:
            raise RuntimeError(f"{what} of {tuple(tensor.shape)} has no memory: its storage is empty")


def _scalar(value):
    """A tensor of one element without dimensions, which combines with tensors of every shape."""
    one = isinstance(value, torch.Tensor) and value.numel() == 1
    return value.squeeze() if one else value


def rearrange_by_name(optimizer, state_dict, strict):
    """A state dict in the order of the optimizer's own groups."""
    groups, saved = optimizer.param_groups, state_dict["param_groups"]
    wanted = [optimizer._names_of(group) for group in groups]
    if None in wanted or any("param_names" not in group for group in saved):
        raise ValueError("matching by name needs named parameters, in the optimizer and in the file")
    keys = {name: k for group in saved for name, k in zip(group["param_names"], group["params"])}
    lonely = sorted({name for names in wanted for name in names} ^ set(keys))
    if strict and lonely:
        raise ValueError(f"parameters that are only on one side: {', '.join(lonely)}")
    index, state, arranged = 0, {}, []
    for group, names in zip(groups, wanted):
        same = next((g for g in saved if list(g["param_names"]) == names), group)
        values = {key: v for key, v in same.items() if key not in ("params", "param_names")}
        if "param_names" in group:
            values["param_names"] = names
        indices = list(range(index, index + len(names)))
        arranged.append({**values, "params": indices})
        index += len(names)
        for number, name in zip(indices, names):
            if keys.get(name) in state_dict["state"]:
                state[number] = state_dict["state"][keys[name]]
    return {"state": state, "param_groups": arranged}


def curve_arguments(value):
    """A curve as the library takes it: a callable, or scale and power; None: no bound."""
    if value is None:
        return float("inf"), 0.0
    if isinstance(value, dict):
        return float(value["scale"]), float(value["power"])
    if callable(value):
        return (value,)
    return float(value), 0.0


def label(name):
    return _LABELS.get(name, f"{name} value")
