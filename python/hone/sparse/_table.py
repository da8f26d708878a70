# SPDX-License-Identifier: Apache-2.0
"""HashTable: rows of numbers under int64 keys, as a module whose look-ups autograd knows."""

import dataclasses
import math
import os
import weakref

import torch
from torch.autograd.function import once_differentiable

from hone import _core
from hone._compile import outside_of_compilation
from hone.sparse import _memory
from hone.sparse._holder import Holder, Waiting
from hone.sparse.initial import KINDS, Initial, constant, normal

# As in <hone/table.h>.
BIASES = (None, "table", "global", "row")
DECAYS = (None, "none", "l2", "rate", "raw", "catch_up")
NONFINITE = ("propagate", "error", "quarantine")
EVICT = ("oldest", "rarest")

_in_child = False


def _note_fork():
    global _in_child
    _in_child = True


# OpenMP's threads do not follow a process into its child: a table made there works alone.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What steps a table's rows. `values` are those of a rule of the registry that its states depend
    on, as pairs; None for a preset, whose states are always the same."""

    name: str
    values: "tuple | None" = ()
    bias: "str | None" = None
    decay: "str | None" = None

    def apply(self, core):
        values = None if self.values is None else dict(self.values)
        core.change_rule(self.name, values, BIASES.index(self.bias), DECAYS.index(self.decay))


_PLAIN = Rule("sgd")  # no states: before an optimizer takes the table


def _integer(value, what, low, high):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}; it must be {low} to {high}")
    return value


def _choice(value, what, allowed):
    if value not in allowed:
        raise ValueError(f"{what} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")
    return value


def _initial(value):
    if value is None:
        return normal()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return constant(value)
    if not isinstance(value, Initial):
        raise TypeError(
            f"initializer must come from hone.sparse.initial, not {type(value).__name__}"
        )
    return value


@dataclasses.dataclass(frozen=True)
class _Options:
    """A table's fixed properties."""

    name: str
    shape: tuple
    dtype: torch.dtype
    state_dtype: torch.dtype
    initial: Initial
    seed: int
    stochastic: bool
    nonfinite: str
    admit_count: int
    admit_counters: int
    admit_probability: float
    max_bytes: int
    evict: str
    evicted: "object | None"

    def check(self):
        if not isinstance(self.name, str) or not self.name or "@" in self.name:
            raise ValueError(f"a table's name is {self.name!r}; it must be text without '@'")
        for dtype in (self.dtype, self.state_dtype):
            if dtype not in _memory.FLOATS:
                raise TypeError(
                    f"a table's dtype is {dtype}; it must be torch.float32, float64, bfloat16 or "
                    "float16"
                )
        _choice(self.nonfinite, "nonfinite", NONFINITE)
        _choice(self.evict, "evict", EVICT)
        _integer(self.seed, "seed", 0, 2**64 - 1)
        _integer(self.admit_count, "admit_count", 1, 255)
        _integer(self.admit_counters, "admit_counters", 1, 2**40)
        _integer(self.max_bytes, "max_bytes", 0, 2**63 - 1)
        if self.evicted is not None and not callable(self.evicted):
            raise TypeError("evicted must be a callable or None")

    @property
    def width(self):
        return math.prod(self.shape)

    def make(self):
        """An empty table without states."""
        return _core.Table(
            name=self.name,
            threads=1 if _in_child else torch.get_num_threads(),
            seed=self.seed,
            width=self.width,
            dtype=_memory.DTYPES[self.dtype],
            state_dtype=_memory.DTYPES[self.state_dtype],
            stochastic=self.stochastic,
            rule=_PLAIN.name,
            bias=0,
            decay=0,
            nonfinite=NONFINITE.index(self.nonfinite),
            initial=KINDS.index(self.initial.kind),
            initial_a=self.initial.a,
            initial_b=self.initial.b,
            admit_count=self.admit_count,
            admit_counters=self.admit_counters,
            admit_probability=self.admit_probability,
            max_bytes=self.max_bytes,
            evict_rare=self.evict == "rarest",
            evicted=None if self.evicted is None else self._tell,
        )

    def _tell(self, keys, rows):
        """From the library: what a call has evicted."""
        keys = torch.frombuffer(bytearray(keys), dtype=torch.int64)
        rows = torch.frombuffer(bytearray(rows), dtype=self.dtype)
        self.evicted(keys, rows.view(-1, *self.shape))


class _Rows(torch.autograd.Function):
    """A look-up of one row for each key."""

    @staticmethod
    def forward(ctx, holder, table, ids):
        out, ctx.lookup = table._look_up(ids, True)
        ctx.table, ctx.core = table, table._core
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        ctx.table._receive(ctx.core, ctx.lookup, grad)
        return None, None, None


class _Bags(torch.autograd.Function):
    """A look-up of sums or means over bags of keys."""

    @staticmethod
    def forward(ctx, holder, weights, table, ids, offsets, mean):
        out, ctx.lookup = table._look_up_bags(ids, offsets, weights, mean, True)
        ctx.table, ctx.core, ctx.mean = table, table._core, mean
        if ctx.needs_input_grad[1]:
            values = torch.empty(ids.numel(), table._options.width, dtype=out.dtype)
            table._core.values(
                ctx.lookup, ids.numel(), values.data_ptr(), _memory.DTYPES[out.dtype]
            )
            ctx.save_for_backward(values, offsets, weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        ctx.table._receive(ctx.core, ctx.lookup, grad)
        if not ctx.needs_input_grad[1]:
            return (None,) * 6
        values, offsets, weights = ctx.saved_tensors
        lengths = offsets.diff()
        bag = torch.repeat_interleave(torch.arange(lengths.numel()), lengths)
        slopes = (grad.reshape(lengths.numel(), -1)[bag] * values).sum(1)
        if ctx.mean:
            slopes = slopes / lengths[bag]
        return (None, slopes.reshape(weights.shape).to(weights.dtype), None, None, None, None)


class HashTable(torch.nn.Module):
    """Rows of `embedding_shape` under int64 keys, each made when its key is first looked up in training
    mode; in eval mode a key without a row is zeros. Any int64 is a key.

    The rows are no Parameters: `model.parameters()` are the dense ones, and
    `filter_out_sparse_param(model)` gives the tables to an optimizer of this package.

    Args:
        embedding_shape: the shape of a row, such as [64]; 1 to 4096 values.
        dtype: of the rows: float32, float64, bfloat16 or float16.
        initializer: first values, from hone.sparse.initial; a number for a constant; default normal(0,
            0.01). They depend on `seed`, `name` and the key alone.
        name: tells tables of a model and of a file apart.
        state_dtype: of the optimizer's states; default float32, for float64 tables float64.
        stochastic: 16-bit rows and states are rounded at random when they move.
        nonfinite: what a gradient does that is not finite: "propagate", "error" (step raises
            RuntimeError, nothing of this table is stepped) or "quarantine" (its row stays as it is).
        admit_count, admit_counters, admit_probability: a key gets a row from its admit_count-th sight
            on (counted in so many shared 8-bit counters), and then with this probability a sight.
        max_bytes: the most that rows and index may take; 0: no limit. When a batch needs room, the
            rows seen longest ago go (evict="oldest") or those seen least often ("rarest").
        evicted: called as evicted(keys, rows) after a call that evicted: int64 tensor and rows.
        persistent: whether `state_dict()` holds the table; switch off where snapshots do it.

    block_size, device, coalesced, children, slice, grad_reduce_by and filter_hook are accepted for
    programs that pass them; other values than the defaults change nothing (block_size, slice) or are
    refused, since a table lies in one process on the CPU.
    """

    def __init__(
        self,
        embedding_shape,
        block_size=5,
        dtype=torch.float32,
        device="cpu",
        coalesced=False,
        children=None,
        slice=None,
        initializer=None,
        name="hashtable",
        grad_reduce_by="worker",
        filter_hook=None,
        *,
        state_dtype=None,
        seed=0,
        stochastic=False,
        nonfinite="propagate",
        admit_count=1,
        admit_counters=1 << 20,
        admit_probability=1.0,
        max_bytes=0,
        evict="oldest",
        evicted=None,
        persistent=True,
    ):
        super().__init__()
        _check_foreign(name, device, coalesced, children, grad_reduce_by, filter_hook)
        shape = (embedding_shape,) if isinstance(embedding_shape, int) else tuple(embedding_shape)
        for length in shape:
            _integer(length, "a length of embedding_shape", 1, 4096)
        if state_dtype is None:
            state_dtype = torch.float64 if dtype is torch.float64 else torch.float32
        self._options = _Options(
            name, shape, dtype, state_dtype, _initial(initializer), seed, bool(stochastic), nonfinite,
            admit_count, admit_counters, float(admit_probability), max_bytes, evict, evicted,
        )  # fmt: skip
        self._options.check()
        self.persistent = bool(persistent)
        self._begin(self._options.make(), _PLAIN)

    def _begin(self, core, rule):
        """What is not saved: the library's table and what hangs on it."""
        self._core = core
        self._rule = rule
        self._stash = []  # at most one (lookup, gradient, its version): a step needs no copy of it
        self._pushed = {}  # hyperparameters that the library was told
        self._loss_scale = None
        self._optimizer = None
        self._waiting = Waiting(self._stash)
        # Stands for the rows in autograd and in an optimizer's param_groups.
        self._holder = Holder.of(self._waiting)

    # ---- look-up ----------------------------------------------------------------------------

    @outside_of_compilation
    def forward(
        self, ids, offsets=None, per_sample_weights=None, *, mode=None, include_last_offset=False
    ):
        """The rows of `ids`: [*ids.shape, *embedding_shape]. With mode="sum" or "mean": one row for
        each bag, [bags, *embedding_shape]; bags are the rows of a 2-D `ids`, or begin at `offsets` in a
        1-D one as in nn.EmbeddingBag. Absent keys count as zeros. Weights multiply rows."""
        ids = _memory.integers(ids, "ids")
        if mode is not None:
            _choice(mode, "mode", ("sum", "mean"))
            return self._forward_bags(ids, offsets, per_sample_weights, mode, include_last_offset)
        if offsets is not None or per_sample_weights is not None:
            raise ValueError("offsets and per_sample_weights need mode='sum' or mode='mean'")
        if self.training and torch.is_grad_enabled():
            out = _Rows.apply(self._holder, self, ids)
        else:
            out, _ = self._look_up(ids, self.training)
        return out.view(*ids.shape, *self._options.shape)

    def _forward_bags(self, ids, offsets, weights, mode, include_last_offset):
        offsets = _bag_offsets(ids, offsets, include_last_offset)
        if weights is not None:
            _memory.check_memory(weights, "per_sample_weights")
            if weights.shape != ids.shape:
                raise ValueError(
                    f"per_sample_weights has shape {tuple(weights.shape)}; it must be as ids, "
                    f"{tuple(ids.shape)}"
                )
            if weights.dtype not in _memory.FLOATS:
                raise TypeError(f"per_sample_weights is {weights.dtype}; it must be floating")
        if self.training and torch.is_grad_enabled():
            out = _Bags.apply(self._holder, weights, self, ids, offsets, mode == "mean")
        else:
            out, _ = self._look_up_bags(ids, offsets, weights, mode == "mean", self.training)
        return out.view(-1, *self._options.shape)

    def _look_up(self, ids, train):
        if train:
            self._meet_rate()
        out = torch.empty(ids.numel(), self._options.width, dtype=self._options.dtype)
        lookup = self._core.lookup(
            ids.data_ptr(), ids.numel(), train, out.data_ptr(), _memory.DTYPES[out.dtype]
        )
        return out, lookup

    def _look_up_bags(self, ids, offsets, weights, mean, train):
        bags = offsets.numel() - 1
        if train:
            self._meet_rate()
        out = torch.empty(bags, self._options.width, dtype=self._options.dtype)
        if weights is not None:
            weights = weights.detach().contiguous()
        lookup = self._core.lookup_bags(
            ids.data_ptr(),
            ids.numel(),
            offsets.data_ptr(),
            bags,
            0 if weights is None else weights.data_ptr(),
            0 if weights is None else _memory.DTYPES[weights.dtype],
            mean,
            train,
            out.data_ptr(),
            _memory.DTYPES[out.dtype],
        )
        return out, lookup

    def _meet_rate(self):
        """Of what a look-up does, catch-up decay alone depends on the optimizer: on its present rate."""
        optimizer = None if self._optimizer is None else self._optimizer()
        if self._rule.decay == "catch_up" and optimizer is not None:
            self._push(optimizer._values_of(self))

    # ---- gradients --------------------------------------------------------------------------

    def _receive(self, core, lookup, grad):
        """From autograd: the gradient of a look-up's result."""
        if core is not self._core:
            return  # the table was loaded or reset since: these rows are gone
        grad = grad.contiguous().view(-1, self._options.width)
        self._waiting.change()
        if core.accumulation[0] == 1 and not self._stash:
            if grad.is_inference():  # has no version
                grad = grad.clone()
            self._stash.append((lookup, grad, grad._version))
            return
        self._flush()
        self._add(lookup, grad)

    def _add(self, lookup, grad):
        self._waiting.move(grad)
        self._core.add_gradients(
            lookup, grad.shape[0], grad.data_ptr(), _memory.DTYPES[grad.dtype]
        )

    def _stashed(self):
        """(lookup, gradient) that waits here, or None. It may be a tensor of the caller's, which is not
        copied: one that was written to since is no gradient any more."""
        if not self._stash:
            return None
        lookup, grad, version = self._stash[0]
        if grad._version != version:
            raise RuntimeError(
                f'table "{self.name}": the gradient that backward() was given was changed in place '
                "before the step; give backward() a clone of it, or change it after the step "
                "(zero_grad() forgets this one)"
            )
        return lookup, grad

    def _flush(self):
        """Moves the gradient that waits here to those that wait in the library."""
        waiting = self._stashed()
        if waiting is not None:
            self._add(*waiting)
            self._stash.clear()

    def zero_grad(self, set_to_none=True):
        """Forgets gradients that wait for a step; while some are being accumulated, nothing."""
        if self._core.accumulation[0] == 1:
            self._stash.clear()
            self._waiting.forget()
        self._core.zero_grad()

    # ---- for the optimizer ------------------------------------------------------------------

    def _check_attach(self, optimizer, rule):
        before = None if self._optimizer is None else self._optimizer()
        if rule != self._rule and before is not None and before is not optimizer:
            raise RuntimeError(
                f'table "{self.name}" follows "{self._rule.name}" in another optimizer; it cannot '
                f'follow "{rule.name}" as well'
            )

    def _attach(self, optimizer, rule):
        """The optimizer from now on. States and counts belong to the table and stay under the same
        rule; under another they begin anew."""
        if rule != self._rule:
            rule.apply(self._core)
            self._rule = rule
            self._pushed = {}
        self._optimizer = weakref.ref(optimizer)

    def _push(self, values):
        """Tells the library what changed of the group's values."""
        for name, value in values.items():
            if self._pushed.get(name) != value:
                self._core.set(name, value)
                self._pushed[name] = value

    def _accumulate(self, accumulation):
        """(steps of an update, whether they are averaged)"""
        if self._core.accumulation != accumulation:
            self._core.set_accumulation(*accumulation)

    def _skip(self):
        """A step that GradScaler calls off. Of gradients that are being accumulated the infinite ones
        stay in the sum, and what comes of it is `nonfinite`'s to say."""
        if self._core.accumulation[0] != 1:
            self._waiting.forget()

    def _step(self, loss_scale):
        waiting = self._stashed()
        loss_scale /= self._waiting.factor()
        self._waiting.forget()
        if loss_scale != self._loss_scale:
            self._core.set_loss_scale(loss_scale)
            self._loss_scale = loss_scale
        if waiting is None:
            return self._core.step()
        lookup, grad = waiting
        report = self._core.apply(
            lookup, grad.shape[0], grad.data_ptr(), _memory.DTYPES[grad.dtype]
        )
        self._stash.clear()
        return report

    # ---- the table --------------------------------------------------------------------------

    @property
    def name(self):
        return self._options.name

    @property
    def embedding_shape(self):
        return torch.Size(self._options.shape)

    @property
    def dtype(self):
        return self._options.dtype

    @property
    def count(self):
        """Keys that have a row."""
        return self._core.count

    @property
    def nbytes(self):
        """Memory of rows, states and index."""
        return self._core.bytes[0]

    def ids(self):
        """All keys, in the order of their rows."""
        while True:
            keys = torch.empty(self._core.count, dtype=torch.int64)
            if self._core.keys(keys.data_ptr(), keys.numel()):
                return keys

    def embeddings(self):
        """All rows, in the order of ids()."""
        return self.read(self.ids())

    def contains(self, ids):
        """Which of the keys have a row."""
        ids = _memory.integers(ids, "ids")
        rows = torch.empty_like(ids)
        self._core.find(ids.data_ptr(), ids.numel(), rows.data_ptr())
        return rows >= 0

    def read(self, ids, slot=None):
        """Rows, or a state of theirs such as "exp_avg", without training; zeros where there is none."""
        ids = _memory.integers(ids, "ids")
        rows = torch.empty_like(ids)
        self._core.find(ids.data_ptr(), ids.numel(), rows.data_ptr())
        dtype = self._options.dtype if slot is None else self._options.state_dtype
        width = self._width_of(slot)
        out = torch.empty(ids.numel(), width, dtype=dtype)
        self._core.copy(
            rows.data_ptr(), ids.numel(), slot, width, out.data_ptr(), _memory.DTYPES[dtype], False
        )
        return out.view(*ids.shape, *(self._options.shape if width == self._options.width else (1,)))

    def insert(self, ids, embeddings, slot=None):
        """Gives rows, or a state of theirs, these values; absent keys get a row. Of a repeated key the
        last values stay."""
        ids = _memory.integers(ids, "ids")
        width = self._width_of(slot)
        values = _memory.rows(embeddings, ids.numel(), width, "embeddings")
        rows = torch.empty_like(ids)
        self._core.insert(ids.data_ptr(), ids.numel(), rows.data_ptr())
        self._core.copy(
            rows.data_ptr(), ids.numel(), slot, width, values.data_ptr(),
            _memory.DTYPES[values.dtype], True,
        )  # fmt: skip

    def _width_of(self, slot):
        single = {"rowwise_adagrad": "sum", "rowwise_adam": "exp_avg_sq"}.get(self._rule.name)
        return 1 if slot is not None and slot == single else self._options.width

    def erase(self, ids):
        """Removes keys with their rows and states; returns how many there were."""
        ids = _memory.integers(ids, "ids")
        return self._core.erase(ids.data_ptr(), ids.numel())

    def evict(
        self, *, unseen_lookups=0, unseen_time=0, least_frequency=0, least_norm=0.0, most_rows=None
    ):
        """Removes the rows that were not met in so many training look-ups, nor in so much time of the
        caller's clock, or met less often, or have a smaller norm; 0 switches a condition off. Looks at
        `most_rows` rows, going on where the last call stopped; default: all. Returns how many went."""
        bound = 2**32 - 1
        return self._core.evict(
            _integer(unseen_lookups, "unseen_lookups", 0, bound),
            _integer(unseen_time, "unseen_time", 0, bound),
            _integer(least_frequency, "least_frequency", 0, bound),
            float(least_norm),
            2**62 if most_rows is None else _integer(most_rows, "most_rows", 0, 2**62),
        )

    def set_clock(self, now):
        """The time that rows remember when they are looked up, in units of the caller's choice."""
        self._core.set_clock(_integer(now, "now", 0, 2**64 - 1))

    def set_step(self, step):
        """The count that bias="global" corrects the next step with, from 1; it goes on from there."""
        self._core.set_step(_integer(step, "step", 1, 2**64 - 1))

    def reset(self):
        """Makes the table empty, with states and counts as at the start."""
        core = self._options.make()
        self._rule.apply(core)
        core.set_accumulation(*self._core.accumulation)
        self._replace(core)

    def _replace(self, core):
        self._core = core
        self._stash.clear()
        self._waiting.forget()
        self._pushed = {}
        self._loss_scale = None

    def export_rows(self, path, shard=0, shards=1):
        """Writes the rows of one of `shards` shards by key: "<name>@id", "<name>@embedding", states."""
        self._core.export_rows(path, shard, shards)

    def import_rows(self, path, shard=0, shards=1):
        """Takes rows over from such a file, whatever shards it was written in."""
        self._core.import_rows(path, shard, shards)

    def extra_repr(self):
        o = self._options
        return f"{o.name!r}, {list(o.shape)}, dtype={o.dtype}, count={self.count}, rule={self._rule.name!r}"

    # ---- state ------------------------------------------------------------------------------

    def _pack(self):
        """Everything as bytes: keys, rows, states, counts, gradients that wait."""
        self._flush()
        snapshot = _core.Snapshot(_core.Table, [self._core], 2)
        packed = torch.empty(snapshot.pack(0, 0), dtype=torch.uint8)
        snapshot.pack(packed.data_ptr(), packed.numel())
        rule = dataclasses.asdict(self._rule)
        if rule["values"] is not None:
            rule["values"] = dict(rule["values"])
        return {"format": 1, "rule": rule, "table": packed}

    def _unpacked(self, state):
        """A table of the library from such bytes, and its rule."""
        if not isinstance(state, dict) or state.get("format") != 1:
            raise ValueError(f'table "{self.name}": the state is not one of HashTable.state_dict()')
        packed = self._part(state, "the state", "table")
        _memory.check_memory(packed, "a table's state")
        found = self._part(state, "the state", "rule")
        name, values, bias, decay = (
            self._part(found, "the state's rule", field.name) for field in dataclasses.fields(Rule)
        )
        rule = Rule(
            name,
            None if values is None else tuple(sorted(values.items())),
            _choice(bias, "bias", BIASES),
            _choice(decay, "decay", DECAYS),
        )
        core = self._options.make()
        rule.apply(core)
        packed = packed.contiguous()
        _core.unpack(_core.Table, [core], packed.data_ptr(), packed.numel() * packed.itemsize)
        return core, rule

    def _part(self, state, what, name):
        if not isinstance(state, dict) or name not in state:
            raise ValueError(f'table "{self.name}": {what} has no "{name}"')
        return state[name]

    def get_extra_state(self):
        return self._pack()

    def set_extra_state(self, state):
        core, rule = self._unpacked(state)
        optimizer = None if self._optimizer is None else self._optimizer()
        if rule != self._rule and optimizer is not None:
            raise RuntimeError(
                f'table "{self.name}" follows "{self._rule.name}" of its optimizer; the state\'s '
                f'follows "{rule.name}"'
            )
        self._rule = rule
        self._replace(core)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        if self.persistent:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if self.persistent:
            super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self):
        state = self.__dict__.copy()
        for name in (
            "_core", "_rule", "_stash", "_pushed", "_loss_scale", "_optimizer", "_waiting", "_holder",
        ):  # fmt: skip
            del state[name]
        state["_packed"] = self._pack()
        return state

    def __setstate__(self, state):
        packed = state.pop("_packed")
        super().__setstate__(state)
        core, rule = self._unpacked(packed)
        self._begin(core, rule)


def _check_foreign(name, device, coalesced, children, grad_reduce_by, filter_hook):
    """Arguments of distributed tables, as far as a table of one process can mean the same."""
    if torch.device(device).type != "cpu":
        raise ValueError(f"device is {device}; tables are on the CPU")
    if coalesced or children not in (None, [name]):
        raise ValueError("a HashTable holds one table: coalesced tables are not supported")
    if grad_reduce_by != "worker":
        raise ValueError(
            f"grad_reduce_by is {grad_reduce_by!r}; gradients of a key are summed, which is 'worker'"
        )
    if filter_hook is not None:
        raise ValueError("filter_hook is not supported: HashTable.evict removes rows by policy")


def _bag_offsets(ids, offsets, include_last_offset):
    """Where bags begin, and at last where the last one ends."""
    if offsets is None:
        if ids.dim() != 2:
            raise ValueError(f"ids has {ids.dim()} dimensions; without offsets it must have 2")
        bags, length = ids.shape
        return torch.arange(bags + 1, dtype=torch.int64) * length
    if ids.dim() != 1:
        raise ValueError(f"ids has {ids.dim()} dimensions; with offsets it must have 1")
    offsets = _memory.integers(offsets, "offsets")
    if offsets.dim() != 1 or (include_last_offset and offsets.numel() == 0):
        raise ValueError(f"offsets has shape {tuple(offsets.shape)}; it must be a list of numbers")
    if include_last_offset:
        return offsets
    return torch.cat([offsets, torch.tensor([ids.numel()])])


def filter_out_sparse_param(model):
    """The tables of a model by name, for an optimizer of this package. `model.parameters()` are the
    dense ones: rows are no Parameters, so nothing has to be taken out of them."""
    tables = {}
    for module in model.modules():
        if not isinstance(module, HashTable):
            continue
        if tables.setdefault(module.name, module) is not module:
            raise ValueError(f'two tables of the model are called "{module.name}"')
    return tables
