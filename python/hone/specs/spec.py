# SPDX-License-Identifier: Apache-2.0
"""The recipes. Validation is strict: unknown keys, values of another type, numbers that are not
finite or outside their range are errors, so that a typing error in a file is not a silent default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, Dict, List, Literal, Optional, Sequence, Tuple, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer, model_validator
from torch import nn
from typing_extensions import TypedDict
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hone.optim import Adam, AdamW, lr_scheduler
from hone.specs.hybrid import HybridMuonOptimizer, Split
from hone.specs.multipliers import Multipliers, named_group, named_parameters, resolve


def _pair(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"a list of two numbers is needed, but got {type(value).__name__}")
    return tuple(value)


_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Beta = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
_Betas = Annotated[Tuple[_Beta, _Beta], BeforeValidator(_pair)]
_Gamma = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class OptimizerSpecification(BaseModel, ABC):
    """What all recipes share."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True)

    optimizer_type: str
    learning_rate: _Number
    lr_decay_gamma: Optional[_Gamma] = None

    def create_optimizer(self, model: nn.Module, lr_multipliers: Multipliers = None) -> Optimizer:
        """The optimizer of one model. `lr_multipliers` maps modules of it (or their names) to what
        the learning rate of their parameters is multiplied by."""
        return self.create_optimizer_for_multiple([model], lr_multipliers)

    @abstractmethod
    def create_optimizer_for_multiple(
        self, models: List[nn.Module], lr_multipliers: Multipliers = None
    ) -> Optimizer:
        """One optimizer of the parameters of several models; one they share is stepped once."""

    def create_scheduler(self, optimizer: Optimizer) -> Optional[LRScheduler]:
        """Multiplies every group's learning rate by `lr_decay_gamma` at each step() (one per
        epoch); None without a gamma."""
        if self.lr_decay_gamma is None:
            return None
        return lr_scheduler.ExponentialLR(optimizer, gamma=self.lr_decay_gamma)

    def to_dict(self) -> Dict[str, Any]:
        """All fields, in the order of their declaration."""
        return self.model_dump()

    @staticmethod
    def from_serialized(optimizer_name: str, params: Dict[str, Any]) -> OptimizerSpecification:
        """The recipe of that name ("adam", "adamw" or "muon") with the fields of to_dict()."""
        if optimizer_name not in _SPECS:
            raise ValueError(f"Unknown optimizer name: {optimizer_name}")
        return _SPECS[optimizer_name].model_validate(params)


def _adam_groups(
    models: Sequence[nn.Module], learning_rate: float, multipliers: Multipliers
) -> List[Dict[str, Any]]:
    """Without multipliers one group of all parameters, frozen ones included; else a group for each
    rate, in the order the rates are met. Names go along, so that states can be matched by them."""
    named = [(title, parameter) for title, _, parameter in named_parameters(models)]
    if not any(parameter.requires_grad for _, parameter in named):
        raise ValueError("optimizer got an empty parameter list")
    factors = resolve(models, multipliers)
    if all(factor == 1.0 for factor in factors.values()):
        return [named_group(named)]
    groups: Dict[float, List[Tuple[str, nn.Parameter]]] = {}
    for title, parameter in named:
        if parameter.requires_grad:
            rate = learning_rate * factors.get(parameter, 1.0)
            groups.setdefault(rate, []).append((title, parameter))
    return [
        named_group(members, lr=rate, lr_multiplier=factors.get(members[0][1], 1.0))
        for rate, members in groups.items()
    ]


class AdamSpec(OptimizerSpecification):
    """Adam, with weight decay as an L2 penalty."""

    optimizer_type: Literal["adam"] = "adam"
    learning_rate: _Number = 0.001
    betas: _Betas = (0.9, 0.999)
    eps: _Number = 1e-8
    weight_decay: _Number = 0.0

    def create_optimizer_for_multiple(
        self, models: List[nn.Module], lr_multipliers: Multipliers = None
    ) -> Adam:
        return Adam(
            _adam_groups(models, self.learning_rate, lr_multipliers),
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


class AdamWSpec(OptimizerSpecification):
    """AdamW: weight decay is decoupled from the gradient."""

    optimizer_type: Literal["adamw"] = "adamw"
    learning_rate: _Number = 0.001
    betas: _Betas = (0.9, 0.999)
    eps: _Number = 1e-8
    weight_decay: _Number = 0.01

    def create_optimizer_for_multiple(
        self, models: List[nn.Module], lr_multipliers: Multipliers = None
    ) -> AdamW:
        return AdamW(
            _adam_groups(models, self.learning_rate, lr_multipliers),
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


_MUON_EXTRAS = (
    "muon_weight_decay",
    "adamw_eps",
    "ns_steps",
    "adjust_lr_fn",
    "split",
    "flatten",
    "muon_eps",
    "ns_coefficients",
    "products",
)

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Globs = Union[str, List[str]]


class _SplitParts(TypedDict, total=False):
    """A split by patterns; the key "except" is a word of Python's and so not written as a field."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    match: _Globs
    min_ndim: Annotated[int, Field(ge=0)]


_SplitParts.__annotations__["except"] = _Globs


def _triples(value: Any) -> Any:
    """One polynomial is a list of one."""
    if isinstance(value, (list, tuple)):
        flat = len(value) == 3 and not any(isinstance(item, (list, tuple)) for item in value)
        return [tuple(value)] if flat else [_triple(item) for item in value]
    return value


def _triple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Triples = Annotated[List[Tuple[_Finite, _Finite, _Finite]], Field(min_length=1, max_length=16)]


class MuonSpec(OptimizerSpecification):
    """Muon for the weight matrices of transformers, AdamW for all else, in one optimizer."""

    optimizer_type: Literal["muon"] = "muon"
    learning_rate: _Number = 0.02
    momentum: _Number = 0.95
    nesterov: bool = True
    adamw_lr: _Number = 0.0003
    weight_decay: _Number = 0.01  # of the AdamW part
    betas: _Betas = (0.9, 0.999)
    # Written only when they differ from these defaults, so that files stay those of before.
    muon_weight_decay: _Number = 0.1
    adamw_eps: _Number = 1e-8
    ns_steps: Annotated[int, Field(ge=1, lt=100)] = 5
    adjust_lr_fn: Optional[Literal["original", "match_rms_adamw", "spectral_unclamped"]] = None
    split: Union[Literal["transformer", "matrices", "hidden"], List[str], _SplitParts] = "transformer"
    flatten: bool = False
    muon_eps: _Number = 1e-7
    ns_coefficients: Annotated[
        Union[Literal["standard", "dion", "polar_express", "turbo"], _Triples],
        BeforeValidator(_triples),
    ] = "standard"
    products: Optional[Literal["float32", "bfloat16"]] = None

    @model_validator(mode="before")
    @classmethod
    def _matrices(cls, fields: Any) -> Any:
        """ "matrices" is another way to say `flatten` in the library's recipes."""
        if isinstance(fields, dict) and "flatten" not in fields and "matrices" in fields:
            if fields["matrices"] in ("flatten", "strict"):
                fields = {**fields, "flatten": fields["matrices"] == "flatten"}
                del fields["matrices"]
        return fields

    def create_optimizer(
        self,
        model: nn.Module,
        lr_multipliers: Multipliers = None,
        *,
        split: Optional[Split] = None,
    ) -> HybridMuonOptimizer:
        """As OptimizerSpecification.create_optimizer; `split` is as of HybridMuonOptimizer and
        stands for the field `split`."""
        return self.create_optimizer_for_multiple([model], lr_multipliers, split=split)

    def create_optimizer_for_multiple(
        self,
        models: List[nn.Module],
        lr_multipliers: Multipliers = None,
        *,
        split: Optional[Split] = None,
    ) -> HybridMuonOptimizer:
        return HybridMuonOptimizer(
            models,
            muon_lr=self.learning_rate,
            adamw_lr=self.adamw_lr,
            muon_momentum=self.momentum,
            muon_nesterov=self.nesterov,
            adamw_weight_decay=self.weight_decay,
            adamw_betas=self.betas,
            lr_multipliers=lr_multipliers,
            muon_weight_decay=self.muon_weight_decay,
            adamw_eps=self.adamw_eps,
            ns_steps=self.ns_steps,
            adjust_lr_fn=self.adjust_lr_fn,
            split=self.split if split is None else split,
            flatten=self.flatten,
            muon_eps=self.muon_eps,
            ns_coefficients=self.ns_coefficients,
            products=self.products,
        )

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: Any) -> Dict[str, Any]:
        fields = handler(self)
        for name in _MUON_EXTRAS:
            if fields.get(name) == type(self).model_fields[name].default:
                del fields[name]
        return fields


OptimizerSpec = Annotated[
    Union[AdamSpec, AdamWSpec, MuonSpec], Field(discriminator="optimizer_type")
]
"""Any recipe, told apart by its "optimizer_type"; the type of a field of another model."""

_SPECS = {"adam": AdamSpec, "adamw": AdamWSpec, "muon": MuonSpec}
