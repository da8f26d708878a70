# SPDX-License-Identifier: Apache-2.0
"""Muon for some parameters and AdamW for the others, as one optimizer: one list of groups, of which
each has its own rule, one state, one scheduler, one checkpoint."""

from __future__ import annotations

import dataclasses
import fnmatch
import warnings
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import nn

from hone.optim import AdamW, Muon, Optimizer
from hone.rules import RULES
from hone.specs.multipliers import Multipliers, named_group, named_parameters, resolve

SplitRule = Callable[[str, nn.Parameter], bool]
Split = Union[str, SplitRule, Sequence[Union[str, nn.Parameter]], Dict[str, Any]]
Triple = Tuple[float, float, float]
Coefficients = Union[str, Triple, Sequence[Triple]]


@dataclasses.dataclass
class Routing:
    """Which parameter went where, by name (with several models, after the model's number)."""

    muon: List[str] = dataclasses.field(default_factory=list)
    adamw: List[str] = dataclasses.field(default_factory=list)
    ignored_multipliers: List[str] = dataclasses.field(default_factory=list)  # all of Muon's


class HybridMuonOptimizer(Optimizer):
    """Muon for the matrices that `split` chooses, AdamW for all other parameters.

    The first group is Muon's, if it has any parameter; AdamW's follow, one for each learning rate,
    ascending. A group's "rule" is "muon" or "adamw", its other keys are those of torch.optim.Muon or
    AdamW, and all of them are live. Parameters that require no gradient are left out.

    Args:
        models: modules whose parameters are optimized; what they share once
        muon_lr, muon_momentum, muon_nesterov, muon_weight_decay, ns_steps, adjust_lr_fn: of Muon
        adamw_lr, adamw_betas, adamw_eps, adamw_weight_decay: of AdamW
        lr_multipliers: modules (or their names) and what AdamW's learning rate is multiplied by for
            their parameters; Muon's parameters keep muon_lr
        muon_eps, products: of Muon; factors of its products in "float32" or "bfloat16"
        ns_coefficients: of Muon: a polynomial (a, b, c) for all Newton-Schulz steps, a list of them in
            the order of the steps, or the name of such a list ("standard", "dion", "polar_express",
            "turbo")
        split: which parameters Muon takes: "transformer" (the name contains it, and two dimensions or
            more), "matrices" (two dimensions or more), "hidden" (those but embeddings and heads, by
            name), a function of name and parameter, a list of parameters or of patterns of names, or
            {"match": patterns, "except": patterns, "min_ndim": 2}
        flatten: whether Muon takes parameters of more than two dimensions as a matrix of the first
            by all the others; else they are an error
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        muon_lr: float = 0.02,
        adamw_lr: float = 0.0003,
        muon_momentum: float = 0.95,
        muon_nesterov: bool = True,
        adamw_weight_decay: float = 0.01,
        adamw_betas: Tuple[float, float] = (0.9, 0.999),
        lr_multipliers: Multipliers = None,
        *,
        muon_weight_decay: float = 0.1,
        adamw_eps: float = 1e-8,
        ns_steps: int = 5,
        adjust_lr_fn: Optional[str] = None,
        split: Split = "transformer",
        flatten: bool = False,
        muon_eps: float = 1e-7,
        ns_coefficients: Coefficients = "standard",
        products: Optional[str] = None,
    ) -> None:
        self.flatten = flatten
        self._forms = {
            "muon": _defaults_of(
                Muon,
                lr=muon_lr,
                momentum=muon_momentum,
                nesterov=muon_nesterov,
                weight_decay=muon_weight_decay,
                eps=muon_eps,
                ns_steps=ns_steps,
                adjust_lr_fn=adjust_lr_fn,
            ),
            "adamw": _defaults_of(
                AdamW,
                lr=adamw_lr,
                betas=tuple(adamw_betas),
                eps=adamw_eps,
                weight_decay=adamw_weight_decay,
            ),
        }
        self._forms["muon"].update(_further_values(ns_coefficients, products))
        groups, self.routing = _route(models, adamw_lr, lr_multipliers, split)
        super().__init__(groups, {})

    # ---- groups -----------------------------------------------------------------------------

    def add_param_group(self, param_group: Dict[str, Any]) -> None:
        """As torch.optim.Optimizer's; the group has to say its "rule"."""
        if isinstance(param_group, dict):
            if param_group.get("rule") not in self._forms:
                raise ValueError(
                    "a group of HybridMuonOptimizer needs a 'rule', 'muon' or 'adamw', but has: "
                    f"{param_group.get('rule')!r}"
                )
            param_group = {**self._forms[param_group["rule"]], **param_group}
        super().add_param_group(param_group)
        try:
            self._check_shapes(self.param_groups[-1])
        except ValueError:
            del self.param_groups[-1]
            raise

    def _check_shapes(self, group: Dict[str, Any]) -> None:
        for parameter in group["params"] if group["rule"] == "muon" else ():
            if parameter.ndim < 2 or (parameter.ndim > 2 and not self.flatten):
                raise ValueError(
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{parameter.size()}"
                    + ("; flatten=True takes it as a matrix" if parameter.ndim > 2 else "")
                )

    def _rule_of(self, group: Dict[str, Any]) -> Any:
        return RULES[group["rule"]]

    def _values(self, group: Dict[str, Any]) -> Any:
        yield from (Muon if group["rule"] == "muon" else AdamW)._values(self, group)
        if group.get("products") is not None:
            words = RULES["muon"].hyper("products").words
            yield "set", "products", float(words.index(group["products"]))

    def _polynomials(self, group: Dict[str, Any]) -> Any:
        chosen = group["ns_coefficients"]
        if isinstance(chosen, str):
            words = RULES["muon"].hyper("ns_coefficients").words
            yield "set", "ns_coefficients", float(words.index(chosen))
        else:
            triples = chosen if isinstance(chosen[0], (tuple, list)) else (chosen,)
            yield "set_coefficients", tuple(tuple(map(float, triple)) for triple in triples)

    def _check_parameter(self, group: Dict[str, Any], parameter: nn.Parameter, grad: Any) -> None:
        if group["rule"] == "muon" and parameter.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        super()._check_parameter(group, parameter, grad)

    # ---- saving and loading -----------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Dict[str, Any], *, by_name: bool = False, strict: bool = True
    ) -> None:
        """Loads what `state_dict` gave, or either form that two optimizers side by side were saved
        in: {"adamw", "muon"}, alone or under "_internal_optimizers". `by_name` and `strict` as of the
        other optimizers here."""
        state_dict = _flat(state_dict)
        saved = [group.get("rule") for group in state_dict["param_groups"]]
        ours = [group["rule"] for group in self.param_groups]
        if not by_name and len(saved) == len(ours) and saved != ours:
            raise ValueError(
                f"the state dict's groups have the rules {saved}, but these have {ours}"
            )
        super().load_state_dict(state_dict, by_name=by_name, strict=strict)

    def __getstate__(self) -> Dict[str, Any]:
        kept = ("flatten", "routing", "_forms")
        return {**super().__getstate__(), **{key: self.__dict__[key] for key in kept}}


def _further_values(coefficients: Coefficients, products: Optional[str]) -> Dict[str, Any]:
    """Muon's values that torch.optim.Muon does not have, where they are not the default."""
    hypers = {name: RULES["muon"].hyper(name).words for name in ("ns_coefficients", "products")}
    values: Dict[str, Any] = {}
    if isinstance(coefficients, str):
        if coefficients not in hypers["ns_coefficients"] or coefficients == "custom":
            raise ValueError(f"ns_coefficients has no {coefficients!r}")
        if coefficients != "standard":
            values["ns_coefficients"] = coefficients
    else:
        values["ns_coefficients"] = tuple(
            tuple(item) if isinstance(item, list) else item for item in coefficients
        )
    if products is not None:
        if products not in hypers["products"]:
            raise ValueError(f"products is {products!r}; it must be one of {hypers['products']}")
        values["products"] = products
    return values


def _defaults_of(kind: type, **values: Any) -> Dict[str, Any]:
    """A group's values of a class of hone.optim, checked by that class."""
    group = dict(kind([nn.Parameter(torch.zeros(1, 1))], **values).param_groups[0])
    del group["params"]
    return group


# ---- who goes where -----------------------------------------------------------------------------

# Embeddings and heads, as docs/spec.md lists them.
_OUTER = (
    "*embed*",
    "*emb.*",
    "*wte.*",
    "*wpe.*",
    "head.*",
    "*.head.*",
    "*_head.*",
    "*classifier.*",
)


def _rule_of_split(split: Split) -> SplitRule:
    if split == "transformer":
        return lambda name, parameter: "transformer" in name and parameter.ndim >= 2
    if split == "matrices":
        return lambda name, parameter: parameter.ndim >= 2
    if split == "hidden":
        return lambda name, parameter: parameter.ndim >= 2 and not _matches(name, _OUTER)
    if callable(split):
        return split
    if isinstance(split, dict):
        return _rule_of_parts(**{_PARTS.get(key, key): value for key, value in split.items()})
    if isinstance(split, str):
        raise ValueError(
            f"split must be 'transformer', 'matrices', 'hidden', a function or a list: {split!r}"
        )
    patterns = [item for item in split if isinstance(item, str)]
    chosen = {item for item in split if isinstance(item, nn.Parameter)}
    if len(patterns) + len(chosen) != len(split):
        raise TypeError("split must list parameters or patterns of their names")
    return lambda name, parameter: parameter in chosen or _matches(name, patterns)


_PARTS = {"except": "but"}


def _rule_of_parts(match: Any = "*", but: Any = (), min_ndim: int = 2) -> SplitRule:
    """As docs/spec.md has it: patterns or one, and the name of a list of them."""
    wanted = [match] if isinstance(match, str) else match
    unwanted = _OUTER if but == "embeddings_and_heads" else [but] if isinstance(but, str) else but
    return (
        lambda name, parameter: parameter.ndim >= min_ndim
        and _matches(name, wanted)
        and not _matches(name, unwanted)
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _route(
    models: Sequence[nn.Module], adamw_lr: float, multipliers: Multipliers, split: Split
) -> Tuple[List[Dict[str, Any]], Routing]:
    is_muon = _rule_of_split(split)
    factors = resolve(models, multipliers)
    routing = Routing()
    muon: List[Tuple[str, nn.Parameter]] = []
    adamw: Dict[float, List[Tuple[str, nn.Parameter]]] = {}
    for title, name, parameter in named_parameters(models):
        if not parameter.requires_grad:
            continue
        factor = factors.get(parameter, 1.0)
        if is_muon(name, parameter):
            muon.append((title, parameter))
            routing.muon.append(title)
            if factor != 1.0:
                routing.ignored_multipliers.append(title)
        else:
            adamw.setdefault(adamw_lr * factor, []).append((title, parameter))
            routing.adamw.append(title)
    if not isinstance(split, (str, dict)) and not callable(split):
        _warn_of_unused(split, [name for _, name, _ in named_parameters(models)])
    if routing.ignored_multipliers:
        warnings.warn(
            "lr_multipliers do not apply to Muon's parameters: "
            + ", ".join(routing.ignored_multipliers),
            stacklevel=5,
        )
    groups = [named_group(muon, rule="muon")] if muon else []
    for rate, members in sorted(adamw.items()):
        factor = factors.get(members[0][1], 1.0)
        groups.append(named_group(members, rule="adamw", lr=rate, lr_multiplier=factor))
    if not groups:
        raise ValueError("optimizer got an empty parameter list")
    return groups, routing


def _warn_of_unused(split: Sequence[Union[str, nn.Parameter]], names: Sequence[str]) -> None:
    unused = [
        repr(pattern)
        for pattern in split
        if isinstance(pattern, str) and not any(_matches(name, [pattern]) for name in names)
    ]
    if unused:
        text = f"split has patterns that match no parameter: {', '.join(unused)}"
        warnings.warn(text, stacklevel=6)


# ---- older files --------------------------------------------------------------------------------


def _flat(state_dict: Dict[str, Any]) -> Dict[str, Any]:
    """One state dict of the two that stand side by side in older files."""
    parts = state_dict.get("_internal_optimizers", state_dict)
    if "adamw" not in parts:
        return state_dict
    state: Dict[int, Any] = {}
    groups: List[Dict[str, Any]] = []
    for rule in ("muon", "adamw"):
        part = parts.get(rule) or {"state": {}, "param_groups": []}
        first = sum(len(group["params"]) for group in groups)
        for group in part["param_groups"]:
            if group["params"]:  # an AdamW of nothing was saved with an empty group
                moved = [first + index for index in group["params"]]
                groups.append({**group, "params": moved, "rule": rule})
        state.update({first + index: value for index, value in part["state"].items()})
    driven = state_dict.get("param_groups", ())
    if len(driven) == len(groups):  # schedulers wrote to these
        for group, outer in zip(groups, driven):
            group.update({key: outer[key] for key in ("lr", "initial_lr") if key in outer})
    return {"state": state, "param_groups": groups}
