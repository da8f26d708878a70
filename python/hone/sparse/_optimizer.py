# SPDX-License-Identifier: Apache-2.0
"""Optimizers of tables' rows, as torch.optim.Optimizer: hooks, groups, schedulers and state dicts.

In `param_groups` a table is represented by one tensor of no meaning; states, counts and rows belong to
the table and are saved with it. The optimizer's own state dict holds the groups' values, and how far the
tables were, so that a mix-up is noticed."""

import contextlib
from collections.abc import Mapping

import torch

from hone import rules
from hone._compile import outside_of_compilation
from hone.sparse._table import BIASES, DECAYS, HashTable, Rule, _choice

# Presets of the library and the rule whose hyperparameters each takes.
_PRESETS = {
    "sparse_adam": "adamw_tf",
    "sparse_adamw": "adamw_tf",
    "sparse_adamw_tf": "adamw_tf",
    "rowwise_adagrad": "adamw",
    "rowwise_adam": "adamw",
}

_ERRORS = {
    "lr": "Invalid learning rate: {}",
    "eps": "Invalid epsilon value: {}",
    "beta1": "Invalid beta parameter at index 0: {}",
    "beta2": "Invalid beta parameter at index 1: {}",
}


def _number(value):
    """A value of a group as the library takes it: a one-element Tensor is its number."""
    return float(value)


def _part(state, what, name):
    if name not in state:
        raise ValueError(f'{what} has no "{name}"')
    return state[name]


def _named_tables(params, owner):
    """(name, table) pairs of what a group may be given as."""
    if isinstance(params, HashTable):
        params = {params.name: params}
    pairs = (
        list(params.items())
        if isinstance(params, Mapping)
        else [p if isinstance(p, tuple) else (getattr(p, "name", None), p) for p in params]
    )
    for _, table in pairs:
        if isinstance(table, torch.Tensor):
            raise RuntimeError(f"{owner} only support sparse gradients")
        if not isinstance(table, HashTable):
            raise TypeError(f"{owner} can only optimize HashTables, not {type(table).__name__}")
    return pairs


class SparseOptimizer(torch.optim.Optimizer):
    """Steps the rows of tables by any rule over elements, or by a preset of the library.

    Args:
        param_dict: {name: HashTable}, as of filter_out_sparse_param; or a list of groups
            {"params": {name: HashTable}, "lr": ..., ...} with values of their own.
        rule: a rule of hone.rules.RULES, or "sparse_adam", "sparse_adamw", "sparse_adamw_tf",
            "rowwise_adagrad", "rowwise_adam".
        bias: whose steps bias corrections count: None (the table's for presets, the row's for others),
            "table", "global" (HashTable.set_step) or "row".
        decay: None (as the rule says), "none", "l2", "rate", "raw" or "catch_up".
        values: hyperparameters by the names of the rule; the others have its defaults.

    A step consumes the gradients that wait; a row without one is not touched. `report` tells of the
    last step by table: rows stepped, stale gradients dropped, rows quarantined.
    """

    _step_supports_amp_scaling = True  # GradScaler hands its scale and what it found to step

    def __init__(self, param_dict, rule, *, bias=None, decay=None, **values):
        known = rules.RULES.get(_PRESETS.get(rule, rule))
        if known is None:
            names = ", ".join(sorted([*rules.RULES, *_PRESETS]))
            raise ValueError(f"there is no rule {rule!r}; there are {names}")
        hypers = {h.name: h for h in known.hypers if h.kind in ("number", "flag")}
        defaults = {
            name: bool(h.default) if h.kind == "flag" else h.default for name, h in hypers.items()
        }
        for name in values:
            if name not in hypers:
                raise TypeError(f"{rule} has no {name}; it has {', '.join(hypers)}")
        self._rule_name = rule
        self._bias = _choice(bias, "bias", BIASES)
        self._decay = _choice(decay, "decay", DECAYS)
        self._start(param_dict, {**defaults, **values})

    def _start(self, param_dict, defaults):
        if isinstance(param_dict, torch.Tensor):
            raise RuntimeError(f"{type(self).__name__} only support sparse gradients")
        self._tables = []  # of each group, a list
        self._expected = {}
        self.report = {}
        groups = param_dict
        if isinstance(param_dict, (Mapping, HashTable)):
            groups = [{"params": param_dict}] if isinstance(param_dict, HashTable) or param_dict else []
        elif not all(isinstance(group, Mapping) and "params" in group for group in groups):
            groups = [{"params": groups}] if groups else []
        for group in groups:  # all of them before the first takes its tables
            self._check_group(group, defaults)
        super().__init__(groups, {**defaults, "grad_accum_steps": 1, "grad_accum_mean": False})

    # ---- groups -----------------------------------------------------------------------------

    def add_param_group(self, param_group):
        """A group of tables, {"params": {name: HashTable}, "lr": ..., ...}."""
        group = dict(param_group)
        pairs = self._check_group(group, self.defaults)
        tables = [table for _, table in pairs]
        taken = [table for others in self._tables for table in others]
        if len({id(table) for table in [*tables, *taken]}) != len(tables) + len(taken):
            raise RuntimeError("some parameters appear in more than one parameter group.")
        for name in ("grad_accum_steps", "grad_accum_mean"):
            if self.param_groups:
                group[name] = self.param_groups[0][name]
        for table in tables:
            table._attach(self, self._rule_of({**self.defaults, **group}))
        group["params"] = [(name, table._holder) for name, table in pairs]
        super().add_param_group(group)
        self._tables.append(tables)

    def _check_group(self, group, defaults):
        """The (name, table) pairs of a group, if its tables and values will do."""
        pairs = _named_tables(group["params"], type(self).__name__)
        values = {**defaults, **group}
        self._check(values)
        for _, table in pairs:
            table._check_attach(self, self._rule_of(values))
        return pairs

    def _known(self):
        return rules.RULES[_PRESETS.get(self._rule_name, self._rule_name)]

    def _check(self, values):
        for hyper in self._known().hypers:
            value = values.get(hyper.name)
            if isinstance(value, torch.Tensor) and value.numel() != 1:
                raise ValueError(f"Tensor {hyper.name} must be 1-element")
            if hyper.name in values and not hyper.allows(_number(value)):
                text = _ERRORS.get(hyper.name, f"Invalid {hyper.name} value: {{}}")
                raise ValueError(text.format(values[hyper.name]))

    def _rule_of(self, values):
        """The rule with the values that decide which states there are."""
        name = self._rule_name
        if name in _PRESETS:
            return Rule(name, None, self._bias, self._decay)
        known = self._known()
        deciding = {h.name for h in known.hypers if h.kind == "flag"}
        deciding |= {slot.condition for slot in known.slots if slot.condition is not None}
        chosen = tuple(sorted((n, float(bool(values[n]))) for n in deciding if n in values))
        return Rule(name, chosen, self._bias, self._decay)

    def set_grad_accum_steps(self, grad_accum_steps, mode="sum"):
        """An update takes the gradients of so many calls of step(): their sum, or "mean". Not while
        gradients wait."""
        if isinstance(grad_accum_steps, bool) or not isinstance(grad_accum_steps, int):
            raise TypeError(
                f"grad_accum_steps must be an int, not {type(grad_accum_steps).__name__}"
            )
        if grad_accum_steps < 1:
            raise ValueError(f"grad_accum_steps is {grad_accum_steps}; it must be at least 1")
        mean = _choice(mode, "mode", ("sum", "mean")) == "mean"
        tables = [table for tables in self._tables for table in tables]
        before = [table._core.accumulation for table in tables]
        for table in tables:
            table._flush()
        try:
            for table in tables:
                table._accumulate((grad_accum_steps, mean))
        except ValueError:
            for table, accumulation in zip(tables, before):
                with contextlib.suppress(ValueError):
                    table._accumulate(accumulation)
            raise
        for group in self.param_groups:
            group["grad_accum_steps"] = grad_accum_steps
            group["grad_accum_mean"] = mean

    # ---- a step -----------------------------------------------------------------------------

    @outside_of_compilation
    def step(self, closure=None):
        """Steps the rows that have gradients, table after table. An error names the table; those before
        it have been stepped."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf = getattr(self, "found_inf", None)
        if found_inf is not None and _number(found_inf) != 0:
            for tables in self._tables:
                for table in tables:
                    table._skip()
            return loss
        scale = getattr(self, "grad_scale", None)
        scale = 1.0 if scale is None else _number(scale)
        self._meet_expectations()
        for tables in self._tables:
            for table in tables:
                table._stashed()  # raises before any table is stepped
        report = {}
        for group, tables in zip(self.param_groups, self._tables):
            values = self._values(group)
            accumulation = (group["grad_accum_steps"], group["grad_accum_mean"])
            for name, table in zip(group["param_names"], tables):
                table._push(values)
                table._accumulate(accumulation)
                report[name] = table._step(scale)
        self.report = report
        return loss

    def _values(self, group):
        return {
            hyper.name: _number(group[hyper.name])
            for hyper in self._known().hypers
            if hyper.name in group
        }

    def _values_of(self, table):
        """The present values of the group that a table is in."""
        for group, tables in zip(self.param_groups, self._tables):
            if table in tables:
                return self._values(group)
        return {}

    def zero_grad(self, set_to_none=True):
        """Forgets gradients that wait; while some are being accumulated, nothing."""
        for tables in self._tables:
            for table in tables:
                table.zero_grad()

    # ---- state ------------------------------------------------------------------------------

    def state_dict(self):
        """The groups' values, and of each table how far it was: applied steps and powers of the betas.
        Rows and their states are in the tables' own state."""
        for group, tables in zip(self.param_groups, self._tables):
            for holder, table in zip(group["params"], tables):
                step, beta1, beta2 = table._core.progress
                self.state[holder] = {"step": step, "beta1": beta1, "beta2": beta2}
        try:
            return super().state_dict()
        finally:
            self.state.clear()

    def load_state_dict(self, state_dict):
        """Takes the groups' values, by the tables' names. The tables' own state is loaded with the
        model or from snapshots, before or after; the next step fails if that was forgotten."""
        super().load_state_dict(self._in_order(state_dict))
        self._expected = {}
        for group in self.param_groups:
            for name, holder in zip(group["param_names"], group["params"]):
                found = self.state.get(holder)
                if found:
                    self._expected[name] = (found["step"], found["beta1"], found["beta2"])
        self.state.clear()

    def _in_order(self, state_dict):
        """The dict with each group's tables in the order of this optimizer's; values that a group of it
        lacks stay."""
        groups = _part(state_dict, "the loaded state dict", "param_groups")
        for progress in _part(state_dict, "the loaded state dict", "state").values():
            for name in ("step", "beta1", "beta2"):
                _part(progress, "a table's state in the loaded state dict", name)
        if len(groups) != len(self.param_groups):
            return state_dict  # PyTorch's error
        ordered = []
        for saved, group in zip(groups, self.param_groups):
            names = saved.get("param_names", group["param_names"])
            if sorted(names) != sorted(group["param_names"]):
                raise ValueError(
                    f"loaded state dict has the tables {', '.join(names)} where this optimizer has "
                    f"{', '.join(group['param_names'])}"
                )
            index = dict(zip(names, _part(saved, "a group of the loaded state dict", "params")))
            ordered.append({
                **group,
                **saved,
                "params": [index[name] for name in group["param_names"]],
                "param_names": list(group["param_names"]),
            })  # fmt: skip
        return {**state_dict, "param_groups": ordered}

    def _meet_expectations(self):
        for name, expected in self._expected.items():
            for group, tables in zip(self.param_groups, self._tables):
                if name not in group["param_names"]:
                    continue
                found = tables[group["param_names"].index(name)]._core.progress
                if tuple(found) != tuple(expected):
                    raise RuntimeError(
                        f'table "{name}" has made {found[0]} steps; the loaded state dict belongs to one '
                        f"after {expected[0]}: load the model's state dict, or its snapshot, as well"
                    )
        self._expected = {}

    def __getstate__(self):
        own = ("_rule_name", "_bias", "_decay", "_tables", "_expected", "report")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_tables" not in state:  # from load_state_dict
            return
        for group, tables in zip(self.param_groups, self._tables):
            group["params"] = [table._holder for table in tables]
            for table in tables:
                table._attach(self, self._rule_of(group))


class _SparseAdam(SparseOptimizer):
    """Adam with epsilon outside the root and running powers of the betas, one pair a table."""

    def __init__(self, rule, unsupported, param_dict, **values):
        for name, value in unsupported.items():
            if value:
                raise ValueError(f"{name} is not support now")
        super().__init__(param_dict, rule, **values)
        for group in [self.defaults, *self.param_groups]:
            group.update(unsupported)


class SparseAdam(_SparseAdam):
    """Adam on the rows that have gradients. `weight_decay` is accepted and, as in RecIS, ignored."""

    def __init__(
        self, param_dict, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False
    ):
        super().__init__(
            "sparse_adam", {"amsgrad": amsgrad}, param_dict,
            lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
        )  # fmt: skip


class SparseAdamW(_SparseAdam):
    """The same; a row is multiplied by 1 - lr * weight_decay when it is stepped."""

    def __init__(
        self, param_dict, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False
    ):
        super().__init__(
            "sparse_adamw", {"amsgrad": amsgrad}, param_dict,
            lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
        )  # fmt: skip


class SparseAdamWTF(_SparseAdam):
    """The same; a row is multiplied by 1 - weight_decay when it is stepped: at the default by 0.99."""

    def __init__(
        self, param_dict, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2,
        use_nesterov=False,
    ):  # fmt: skip
        super().__init__(
            "sparse_adamw_tf", {"use_nesterov": use_nesterov}, param_dict,
            lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
        )  # fmt: skip
