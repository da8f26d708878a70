# SPDX-License-Identifier: Apache-2.0
"""MaskedAdamW: AdamW with two learning rates inside each parameter, chosen element by element."""

import math
import warnings

import torch

from hone.masks import as_mask, in_memory_order, to_dense
from hone.optim._classes import CLASSES
from hone.optim._optimizer import Optimizer

_NO_NAMES = (
    "No parameter names provided. Cannot apply sparse masks. "
    "Pass parameter names via param_groups or use add_param_names method."
)
_PUBLISHED = (
    "this state was written by another MaskedAdamW, which makes two AdamW calls in every step: its "
    "step counts are doubled and its moments are not those of one call"
)
_PREFIX = "module."


class MaskedAdamW(CLASSES["AdamW"]):
    """AdamW whose learning rate is `masked_lr` where a mask is true and `unmasked_lr` elsewhere.

    There is one state and one count of steps; moments see the whole gradient. Equal rates give
    AdamW, and a rate of 0 leaves its elements as they are, bit for bit.

    Masks meet parameters by name: that of named parameters or groups, or of `add_param_names`.
    Parameters without a mask move at `unmasked_lr`. What does not match (a mask without a parameter,
    another shape, a parameter without a name, the prefix "module.") is a warning as soon as it can be
    known, and with `strict` an error.

    Each group has `masked_lr` and `unmasked_lr`; its `lr` is another name for `unmasked_lr`, or for
    `masked_lr` where `unmasked_lr` is 0. A learning rate scheduler writes `lr`: both rates follow it
    in the ratio that they had when the scheduler was made.

    Args:
        params: parameters, named parameters, or groups
        sparse_masks: dict of masks by parameter name, each a sparse COO tensor, a dense boolean
            tensor, a compact dictionary or a `hone.masks.Mask`; kept as one bit per element
        masked_lr: learning rate where the mask is true (default: 1e-3)
        unmasked_lr: learning rate elsewhere (default: 1e-4)
        betas, eps, weight_decay, amsgrad, maximize: as AdamW's
        foreach, capturable, differentiable, fused: as AdamW's
        strict: whether what does not match is an error (default: False)
    """

    def __init__(
        self,
        params,
        sparse_masks,
        masked_lr=1e-3,
        unmasked_lr=1e-4,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        *,
        maximize=False,
        foreach=None,
        capturable=False,
        differentiable=False,
        fused=None,
        strict=False,
    ):
        if not isinstance(sparse_masks, dict):
            raise TypeError("sparse_masks must be a dictionary")
        values = {
            "lr": unmasked_lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._check_values(values)
        self._check_values({**values, "lr": masked_lr})
        self.sparse_masks = {name: as_mask(name, mask) for name, mask in sparse_masks.items()}
        self.strict = strict
        self._names = {}  # parameter -> name
        self._rates = []  # for each group
        self._forget_matches()
        rates = {"masked_lr": masked_lr, "unmasked_lr": unmasked_lr}
        Optimizer.__init__(self, params, {**self._group_values(values), **rates})
        if self._names:
            self._match(self._names)

    # ---- names ------------------------------------------------------------------------------

    def add_param_names(self, param_names):
        """Tells the names of parameters, as ``dict(model.named_parameters())`` does."""
        names = {**self._names, **{parameter: name for name, parameter in param_names.items()}}
        self._match(names)

    def _forget_matches(self):
        self._matched = {}  # parameter -> Mask
        self._skipped = {}  # name -> (shape of the mask, shape of the parameter)
        self._reported = set()
        self._unmatched = True  # whether groups changed since masks and parameters last met

    def _match(self, names):
        """Lets masks and parameters meet, and reports what does not fit."""
        meeting = _Meeting(self.sparse_masks, self.param_groups, names)
        news = [text for text in meeting.problems if text not in self._reported]
        if news and self.strict:
            raise ValueError("\n".join(news))
        self._names, self._matched, self._skipped = names, meeting.matched, meeting.skipped
        self._unmatched = False
        self._engine.rebuild()
        if news:
            self._reported.update(news)
            warnings.warn("\n".join(news), UserWarning, stacklevel=3)

    def _update_matches(self):
        if self._unmatched and self._names:
            self._match(self._names)

    def _meet(self):
        self._update_matches()
        if self._unmatched and self.sparse_masks:
            if self.strict:
                raise ValueError(_NO_NAMES)
            self._unmatched = False
            warnings.warn(_NO_NAMES, UserWarning, stacklevel=5)

    # ---- groups and their rates -------------------------------------------------------------

    def add_param_group(self, param_group):
        """As torch.optim.Optimizer.add_param_group; `masked_lr` and `unmasked_lr` (or `lr`) of the
        group win over the constructor's."""
        if isinstance(param_group, dict):
            param_group = self._with_rates(param_group)
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        self._rates.append(_Rates(group))
        self._unmatched = True
        names = dict(zip(group["params"], group.get("param_names", ())))
        names = {**self._names, **names}
        if "_engine" not in self.__dict__:  # more groups may follow before the constructor matches
            self._names = names
        elif "param_names" in group:
            self._match_new_group(names)

    def _match_new_group(self, names):
        try:
            self._match(names)
        except ValueError:
            del self.param_groups[-1], self._rates[-1]
            raise

    def _with_rates(self, group):
        unmasked = group.get("unmasked_lr", group.get("lr", self.defaults["unmasked_lr"]))
        masked = group.get("masked_lr", self.defaults["masked_lr"])
        for rate in (masked, unmasked):
            self._check_values({**self.defaults, "lr": rate})
        lr = masked if float(unmasked) == 0 else unmasked
        return {**group, "masked_lr": masked, "unmasked_lr": unmasked, "lr": lr}

    def _follow(self):
        for rates in self._rates:
            rates.follow()

    def get_lr_info(self):
        """Rates (those of the first group) and counts as they stand; `total_unmasked_parameters`
        counts all elements that no mask covers. `skipped_mask_details` maps names to the shapes of
        mask and parameter."""
        self._update_matches()
        self._follow()
        masked = sum(mask.count for mask in self._matched.values())
        total = sum(p.numel() for group in self.param_groups for p in group["params"])
        group = self.param_groups[0]
        return {
            "masked_lr": float(group["masked_lr"]),
            "unmasked_lr": float(group["unmasked_lr"]),
            "masks_loaded": len(self.sparse_masks),
            "param_name_mapping": len(self._names),
            "total_masked_parameters": masked,
            "total_unmasked_parameters": total - masked,
            "skipped_masks": len(self._skipped),
            "skipped_mask_names": list(self._skipped),
            "skipped_mask_details": dict(self._skipped),
        }

    # ---- the step ---------------------------------------------------------------------------

    def _check_parameter(self, group, parameter, grad):
        if grad.layout is not torch.strided:
            raise RuntimeError("MaskedAdamW does not support sparse gradients")
        super()._check_parameter(group, parameter, grad)

    def _before_step(self):
        self._meet()
        self._follow()

    def _values(self, group):
        for action, name, *arguments in super()._values(group):
            if name == "lr":
                arguments = [float(group["unmasked_lr"])]
            yield action, name, *arguments
        yield "set", "masked_lr", float(group["masked_lr"])

    def _added(self, core, index, parameter, memory):
        if parameter in self._matched:
            core.set_mask(index, in_memory_order(self._matched[parameter], memory))

    def _element_rates(self, group, parameter):
        """The learning rate of each element; of all, where there is no mask."""
        masked, unmasked = float(group["masked_lr"]), float(group["unmasked_lr"])
        if parameter not in self._matched:
            return torch.tensor(unmasked, dtype=torch.float64)
        inside = to_dense(self._matched[parameter]).to(parameter.device)
        doubles = parameter.dtype in (torch.float64, torch.complex128)
        rates = torch.tensor([unmasked, masked], dtype=torch.float64 if doubles else torch.float32)
        return rates.to(parameter.device)[inside.long()]

    def _reference_values(self, group, parameter):
        rates = self._element_rates(group, parameter)
        if parameter.is_complex():  # stepped as pairs of reals
            rates = rates.unsqueeze(-1)
        return {**super()._reference_values(group, parameter), "lr": rates}

    def _reference_step(self, group, parameter):
        before = parameter.clone()
        super()._reference_step(group, parameter)
        frozen = self._element_rates(group, parameter) == 0
        if frozen.any():  # 0 times a NaN is one
            parameter.copy_(torch.where(frozen.to(parameter.device), before, parameter))

    # ---- saving and loading -----------------------------------------------------------------

    def state_dict(self):
        """As torch.optim.Optimizer's. Of the masks it holds hashes only, "mask_hashes" in each group. Names
        that `add_param_names` told are in it like those of named parameters."""
        self._update_matches()
        self._follow()
        state_dict = super().state_dict()
        for packed, hashes in zip(state_dict["param_groups"], self._mask_hashes()):
            packed["mask_hashes"] = hashes
        for packed, group in zip(state_dict["param_groups"], self.param_groups):
            names = self._names_of(group)
            if names is not None:
                packed["param_names"] = names
        return state_dict

    def load_state_dict(self, state_dict, *, by_name=False, strict=True):
        """As the other optimizers' here. A state that belongs to other masks is an error (ValueError)
        and changes nothing; without the groups' "mask_hashes" it loads with any."""
        groups = [dict(group) for group in state_dict["param_groups"]]
        saved = [group.pop("mask_hashes", None) for group in groups]
        named = ["param_names" in group for group in self.param_groups]
        self._update_matches()
        if self._matched and not by_name:
            for g, (theirs, ours) in enumerate(zip(saved, self._mask_hashes())):
                if theirs is not None and theirs != ours:
                    raise ValueError(
                        f"the state of group {g} was saved with other masks; without the key "
                        f"'mask_hashes' in its groups it loads with any"
                    )
        super().load_state_dict(
            {**state_dict, "param_groups": groups}, by_name=by_name, strict=strict
        )
        for group, had_names in zip(self.param_groups, named):
            if not had_names:  # PyTorch wants names in all groups or in none
                group.pop("param_names", None)

    def _names_of(self, group):
        names = [self._names.get(parameter) for parameter in group["params"]]
        return super()._names_of(group) or (None if None in names else names)

    def _mask_hashes(self):
        """For each group a list: the hash of each parameter's mask, None where there is none."""
        return [
            [
                f"{self._matched[p].hash():016x}" if p in self._matched else None
                for p in group["params"]
            ]
            for group in self.param_groups
        ]

    def __getstate__(self):
        kept = ("sparse_masks", "strict", "_names")
        return {**super().__getstate__(), **{key: self.__dict__[key] for key in kept}}

    def __setstate__(self, state):
        groups = state["param_groups"]
        if any("sparse_masks" in group for group in groups):
            warnings.warn(_PUBLISHED, UserWarning, stacklevel=3)
        for group in groups:
            group.pop("sparse_masks", None)
            group.setdefault("unmasked_lr", group["lr"])
        super().__setstate__(state)
        self._rates = [_Rates(group) for group in self.param_groups]
        if "_names" in state:
            self._forget_matches()
        self._unmatched = True


class _Rates:
    """Keeps `lr`, `masked_lr` and `unmasked_lr` of one group in line, whichever of them was written.

    Without a scheduler `lr` is one of the two (`self.alias`). A scheduler is known by the group's
    "initial_lr"; the rates that belong to it are kept as "initial_rates", so that a schedule that
    passes through 0 loses nothing."""

    def __init__(self, group):
        self.group = group
        outside_moves = float(group["unmasked_lr"]) != 0
        self.alias = "unmasked_lr" if outside_moves else "masked_lr"
        self.seen = (
            math.nan,
            *self._now()[1:],
        )  # a group that was loaded may have been out of line

    def _now(self):
        return tuple(float(self.group[key]) for key in ("lr", "masked_lr", "unmasked_lr"))

    def follow(self):
        scheduled = "initial_lr" in self.group
        if self._now() == self.seen and ("initial_rates" in self.group or not scheduled):
            return
        if scheduled:
            self._follow_schedule()
        else:
            self._follow_edits()
        self.seen = self._now()

    def _follow_edits(self):
        group, (_, masked, unmasked) = self.group, self.seen
        if float(group["unmasked_lr"]) != unmasked:
            self.alias = "unmasked_lr" if float(group["unmasked_lr"]) != 0 else "masked_lr"
        elif float(group["masked_lr"]) == masked:
            group[self.alias] = group["lr"]
        group["lr"] = group[self.alias]

    def _follow_schedule(self):
        group = self.group
        initial = float(group["initial_lr"])
        factor = float(group["lr"]) / initial if initial != 0 else 1.0
        seen = dict(zip(("masked_lr", "unmasked_lr"), self.seen[1:]))
        first = {**seen, self.alias: initial}
        rates = dict(zip(seen, group.get("initial_rates", first.values())))
        for key, value in seen.items():
            if float(group[key]) != value and factor != 0:  # edited: from now on another ratio
                rates[key] = float(group[key]) / factor
            group[key] = rates[key] * factor
        group["initial_rates"] = tuple(rates.values())


class _Meeting:
    """Masks and parameters, brought together by name: who has which mask, and what does not fit."""

    def __init__(self, masks, groups, names):
        self.matched, self.skipped, self.problems = {}, {}, []
        nameless, prefixed, used = [], [], set()
        for g, group in enumerate(groups):
            for position, parameter in enumerate(group["params"]):
                name = names.get(parameter)
                if name is None:
                    nameless.append(f"number {position} of group {g}")
                    continue
                key = next((key for key in _spellings(name) if key in masks), None)
                if key is None:
                    continue
                used.add(key)
                if key != name:
                    prefixed.append(f"'{key}' for '{name}'")
                self._take(name, masks[key], parameter)
        unused = [f"'{name}'" for name in masks if name not in used]
        if unused:
            self._complain("Masks without a parameter of that name", unused)
        if prefixed:
            self._complain(f"Masks whose name differs by the prefix '{_PREFIX}'", prefixed)
        if nameless and masks:
            self._complain("Parameters without a name, which no mask can cover", nameless)

    def _take(self, name, mask, parameter):
        if tuple(mask.shape) == tuple(parameter.shape):
            self.matched[parameter] = mask
            return
        shapes = torch.Size(mask.shape), parameter.shape
        self.skipped[name] = shapes
        self.problems.append(
            f"Mask shape {shapes[0]} does not match parameter shape {shapes[1]} for '{name}'"
        )

    def _complain(self, text, items):
        self.problems.append(f"{text}: {', '.join(items)}")


def _spellings(name):
    """The name, and how DistributedDataParallel changes it."""
    other = name[len(_PREFIX) :] if name.startswith(_PREFIX) else _PREFIX + name
    return name, other
