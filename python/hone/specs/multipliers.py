# SPDX-License-Identifier: Apache-2.0
"""Learning-rate multipliers: which factor each parameter of some models gets, given factors of
their modules."""

from __future__ import annotations

import math
import warnings
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from torch import nn
from torch.optim import Optimizer

Multipliers = Optional[Mapping[Union[nn.Module, str], float]]

_OVERLAP = (
    "Parameter appears in multiple modules with different LR multipliers. "
    "This is likely due to shared parameters or overlapping module specifications."
)


def named_parameters(models: Sequence[nn.Module]) -> Iterator[Tuple[str, str, nn.Parameter]]:
    """Titles, names and parameters of all models in order, each parameter once. The title is the name,
    with several models after the model's number."""
    seen = set()
    for number, model in enumerate(models):
        for name, parameter in model.named_parameters():
            if parameter not in seen:
                seen.add(parameter)
                yield (name if len(models) == 1 else f"{number}.{name}"), name, parameter


def named_group(members: Sequence[Tuple[str, nn.Parameter]], **values: Any) -> Dict[str, Any]:
    """A parameter group of (title, parameter)."""
    titles, parameters = zip(*members)
    return {"params": list(parameters), "param_names": list(titles), **values}


def resolve(models: Sequence[nn.Module], multipliers: Multipliers) -> Dict[nn.Parameter, float]:
    """The multiplier of each parameter that lies in a listed module. Of two listed modules, one
    inside the other, the inner one decides; otherwise a parameter in several must get the same
    from each (ValueError). A listed module without a parameter of the models is warned about."""
    factors = {
        _module(models, key): _factor(key, value) for key, value in (multipliers or {}).items()
    }
    ours = {parameter for _, _, parameter in named_parameters(models)}
    listed: Dict[nn.Parameter, List[nn.Module]] = {}
    for module in factors:
        parameters = [p for p in module.parameters() if p in ours]
        if not parameters:
            warnings.warn(
                f"lr_multipliers lists {_title(module)}, which has no parameter of the model: "
                f"its multiplier {factors[module]} has no effect",
                stacklevel=4,
            )
        for parameter in parameters:
            listed.setdefault(parameter, []).append(module)
    return {parameter: _decide(modules, factors) for parameter, modules in listed.items()}


def _decide(modules: List[nn.Module], factors: Mapping[nn.Module, float]) -> float:
    inner = [
        module
        for module in modules
        if not any(other is not module and other in set(module.modules()) for other in modules)
    ]
    chosen = {factors[module] for module in inner}
    if len(chosen) != 1:
        raise ValueError(_OVERLAP)
    return chosen.pop()


def _module(models: Sequence[nn.Module], key: Union[nn.Module, str]) -> nn.Module:
    if isinstance(key, nn.Module):
        return key
    if not isinstance(key, str):
        raise TypeError(
            f"lr_multipliers must have modules or their names as keys, but got {type(key).__name__}"
        )
    for model in models:
        modules = dict(model.named_modules())
        if key in modules:
            return modules[key]
    raise ValueError(f"lr_multipliers names the module '{key}', which no model has")


def _factor(key: Union[nn.Module, str], value: float) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"The LR multiplier of {_title(key)} must be a finite number >= 0 but is: {value!r}"
        )
    return float(value)


def _title(key: Union[nn.Module, str]) -> str:
    return f"'{key}'" if isinstance(key, str) else f"a module of class {type(key).__name__}"


def multipliers_by_name(models: Sequence[nn.Module], multipliers: Multipliers) -> Dict[str, float]:
    """The multipliers under the modules' names, as JSON can hold them; `create_optimizer` takes
    them back. Names are those within the first model that has the module."""
    names: Dict[nn.Module, str] = {}
    for model in reversed(list(models)):
        names.update({module: name for name, module in model.named_modules()})
    result = {}
    for key, value in (multipliers or {}).items():
        module = _module(models, key)
        if module not in names:
            raise ValueError(f"lr_multipliers lists {_title(key)}, which is in no model")
        result[names[module]] = _factor(key, value)
    return result


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Sets the base learning rate of all groups; each keeps its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_multiplier", 1.0)
