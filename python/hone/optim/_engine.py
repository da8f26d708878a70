# SPDX-License-Identifier: Apache-2.0
"""Between a torch.optim.Optimizer and the library: which parameters the library steps, and from what
memory.

In the usual step nothing has changed but gradients' addresses, and `_core.Optimizer.step` does all of
it in one call. What else it finds changed comes here as indices, is bound anew, and then runs. A tensor
whose elements do not lie in the parameter's order is stepped by way of a copy; what is not plain memory
of the processor or of a CUDA device is stepped by the reference (_reference.py). What lies on devices is
_device.py's.
"""

import ctypes
import os

import torch

from hone import _core
from hone.optim._device import Device

_core.set_tensor_type(torch.Tensor)


def _offer_handles():
    """Tells the extension module PyTorch's C functions on tensors, where this PyTorch has them."""
    names = ("get_data_ptr", "get_dtype", "get_dim", "get_sizes", "get_strides", "delete_tensor_object")
    path = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
    try:
        library = ctypes.CDLL(path)
        functions = [getattr(library, f"aoti_torch_{name}") for name in names]
        make_handle = torch._C._aoti.unsafe_alloc_void_ptr_from_tensor
    except (AttributeError, OSError):
        return
    addresses = (ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    _core.set_handle_functions(make_handle, *addresses)


_offer_handles()

try:
    torch._C._increment_version([])
    increment_version = torch._C._increment_version
except TypeError:  # an older PyTorch takes one tensor a call

    def increment_version(tensors):
        for tensor in tensors:
            torch._C._increment_version(tensor)


_in_child = False


def _note_fork():
    global _in_child
    _in_child = True


# OpenMP's threads do not follow a process into its child, and waiting for them would never end.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def thread_count():
    """How many threads the library may use here."""
    return 1 if _in_child else torch.get_num_threads()


class _Side:
    """One optimizer of the library, for parameters on one device, and whom its entries stand for."""

    def __init__(self, optimizer, threads, loss_scale, device):
        groups = optimizer.param_groups
        self.place = device  # a torch.device
        self.rules = [optimizer._rule_of(group) for group in groups]
        self.core = _core.Optimizer(
            [rule.name for rule in self.rules], [len(g["params"]) for g in groups], threads
        )
        self.core.set_loss_scale(loss_scale)
        self.device = None if device.type == "cpu" else Device(self.core, device)
        if optimizer._clip is not None:
            self.core.clip_norm(*optimizer._clip)
        self.entries = []  # (group, parameter)
        self.needed = [None] * len(groups)  # names of the slots that each group's values call for
        self.memory = []  # each entry's parameter, or the copy that is stepped in its place
        self.held = {}  # what else each entry is bound to


class Engine:
    """The library's side of one optimizer. Made from the optimizer's lists, and made again whenever
    these are others: all that lasts is in `param_groups` and `state`, and the exact counts here."""

    def __init__(self):
        self._sides = []  # one for each device; more only when parameters share memory
        self._others = []  # (group, position, parameter) that the library does not step
        self._threads = -1
        self._loss_scale = 1.0
        self._counts = {}

    # ---- a step -----------------------------------------------------------------------------

    def takes_tensors_of_scaler(self, optimizer):
        """Whether every parameter is stepped on a device, which can then read GradScaler's tensors."""
        self._renew(optimizer)
        return not self._others and all(side.device is not None for side in self._sides)

    def _renew(self, optimizer):
        threads = thread_count()
        if threads != self._threads or not self._has_others_in_place(optimizer):
            self._threads = threads
            self._build(optimizer)

    def _has_others_in_place(self, optimizer):
        """Whether the groups hold what the library does not step where it was found. What it steps it
        looks after itself, and with that the lengths of the lists."""
        groups = optimizer.param_groups
        if not self._sides and len(self._others) != sum(len(group["params"]) for group in groups):
            return False
        return all(
            g < len(groups)
            and position < len(groups[g]["params"])
            and groups[g]["params"][position] is parameter
            for g, position, parameter in self._others
        )

    def step(self, optimizer, loss_scale, scaler=(None, None)):
        """Steps every parameter that has a gradient. `scaler` are GradScaler's tensors grad_scale and
        found_inf, for devices to read."""
        self._renew(optimizer)
        if loss_scale != self._loss_scale:
            self._loss_scale = loss_scale
            for side in self._sides:
                side.core.set_loss_scale(loss_scale)
        groups, state = optimizer.param_groups, optimizer.state
        for side in self._sides:
            if side.device is not None:
                side.device.begin(scaler)
            moved = side.core.step(groups, state)
            if type(moved) is tuple:
                with torch.no_grad():
                    if self._is_outdated(optimizer, side, *moved):
                        self._rebuild_and_step(optimizer, side, scaler)
                        return
                    moved = self._attend(optimizer, side, moved[1], moved[2])
            self._moved(side, moved)
        if self._others:
            with torch.no_grad():
                self._step_others(optimizer)

    def _is_outdated(self, optimizer, side, structure, groups, entries):
        """Whether the change is one for which the library's optimizer has to be made again."""
        if structure or any(
            optimizer._rule_of(optimizer.param_groups[g]) is not side.rules[g] for g in groups
        ):
            return True
        for i in entries:
            (g, parameter), memory = side.entries[i], side.memory[i]
            if parameter.device != side.place:
                return True
            if memory is parameter and not side.core.fits(i, parameter):
                return True  # moved, or another tensor altogether
            if memory is not parameter and (
                memory.shape != parameter.shape
                or memory.dtype != parameter.dtype
                or own_memory(side.rules[g], parameter) is parameter
            ):
                return True
        return False

    def _moved(self, side, parameters):
        increment_version(parameters)
        if side.device is not None:
            side.device.advance(parameters, side.entries)

    def _rebuild_and_step(self, optimizer, changed, scaler):
        """The sides before `changed` have stepped already."""
        stepped = set()
        for side in self._sides[: self._sides.index(changed)]:
            stepped.update(id(parameter) for _, parameter in side.entries)
        self._build(optimizer)
        for side in self._sides:
            waiting = {}
            for i, (_, parameter) in enumerate(side.entries):
                if id(parameter) in stepped and parameter.grad is not None:
                    waiting[parameter] = parameter.grad
                    parameter.grad = None
            try:
                self._step_side(optimizer, side, scaler)
            finally:
                for parameter, grad in waiting.items():
                    parameter.grad = grad
        self._step_others(optimizer)

    def _step_side(self, optimizer, side, scaler):
        if side.device is not None:
            side.device.begin(scaler)
        moved = side.core.step(optimizer.param_groups, optimizer.state)
        if type(moved) is tuple:
            moved = self._attend(optimizer, side, moved[1], moved[2])
        self._moved(side, moved)

    def _step_others(self, optimizer):
        work = [(g, p) for g, _, p in self._others if p.grad is not None]
        if any(_core.layout(p) is not None for _, p in work):  # it has become one for the library
            self.rebuild()
        for g, parameter in work:
            optimizer._check_parameter(optimizer.param_groups[g], parameter, parameter.grad)
        for g, parameter in work:
            optimizer._reference_step(optimizer.param_groups[g], parameter)

    def total_norm(self):
        """Of the gradients of the last step, before they were clipped in it; None without clipping."""
        return self._sides[0].core.norm() if self._sides else None

    def _check_clipping(self, optimizer, elsewhere=()):
        """A norm inside the step is one over all gradients: the library has to have them all."""
        if optimizer._clip is not None and (len(self._sides) > 1 or self._others or elsewhere):
            raise RuntimeError(
                "clipping inside the step takes dense floating-point parameters that do not overlap, "
                "all in the processor's memory or all on one device; use hone.clip_grad_norm_ before "
                "the step for others"
            )

    def rebuild(self):
        """Makes the library's side anew at the next step."""
        self._threads = -1

    # ---- making the library's optimizer -----------------------------------------------------

    def _build(self, optimizer):
        for side in self._sides:
            for index, (_, parameter) in enumerate(side.entries):
                self._counts[id(parameter)] = side.core.count(index)
        self._sides, self._others = [], []
        for g, group in enumerate(optimizer.param_groups):
            for position, parameter in enumerate(group["params"]):
                if _core.layout(parameter) is None:
                    self._others.append((g, position, parameter))
                else:
                    self._add(optimizer, g, position, parameter)
        self._check_clipping(optimizer)

    def _add(self, optimizer, g, position, parameter):
        """To the first side of its device in which nothing shares its memory."""
        memory = own_memory(optimizer._rule_of(optimizer.param_groups[g]), parameter)
        for side in self._sides:
            if side.place != parameter.device:
                continue
            if memory is not parameter and any(known is parameter for _, known in side.entries):
                continue  # stepped twice, through two copies that would not overlap
            if side.core.add(g, position, parameter, memory) >= 0:
                break
        else:
            side = _Side(optimizer, self._threads, self._loss_scale, parameter.device)
            self._sides.append(side)
            side.core.add(g, position, parameter, memory)
        optimizer._added(side.core, len(side.entries), parameter, memory)
        side.entries.append((g, parameter))
        side.memory.append(memory)

    # ---- changes ----------------------------------------------------------------------------

    def _attend(self, optimizer, side, groups, entries):
        """Binds what changed and steps."""
        for g in groups:
            group = optimizer.param_groups[g]
            values, bound = optimizer._values(group), None
            if side.device is not None:
                values, bound = side.device.values(optimizer, g, group)
            push_values(side.core, g, values)
            side.core.watch(g, group, optimizer._watched_keys(group), bound)
            needed = optimizer._needed_slots(group)
            if needed != side.needed[g]:
                side.needed[g] = needed
                entries = sorted({*entries, *(i for i, e in enumerate(side.entries) if e[0] == g)})
        if groups and side.device is not None:
            side.device.set_capturable(optimizer)
        work = [i for i in entries if side.entries[i][1].grad is not None]
        for i in work:
            g, parameter = side.entries[i]
            optimizer._check_parameter(optimizer.param_groups[g], parameter, parameter.grad)
        self._check_clipping(optimizer, [
            i for i in work if _core.layout(side.entries[i][1].grad) is None
        ])
        back, elsewhere = [], []
        for i in work:
            g, parameter = side.entries[i]
            if _core.layout(parameter.grad) is None:
                side.core.skip(i)
                elsewhere.append((optimizer.param_groups[g], parameter))
            else:
                self._bind(optimizer, side, i, back)
        moved = side.core.run()
        for target, source in back:
            target.copy_(source)
        for group, parameter in elsewhere:
            optimizer._reference_step(group, parameter)
        return moved

    def _bind(self, optimizer, side, index, back):
        """Hands the library the memory of one parameter; pairs of a tensor and its copy, which have to
        be copied back after the step, go to `back`."""
        g, parameter = side.entries[index]
        group = optimizer.param_groups[g]
        state, slots = optimizer._prepare_state(group, parameter)
        memory = side.memory[index]
        if memory is not parameter:
            back.append((parameter, memory.copy_(parameter)))
        bound = []
        for name, tensor, adopt in slots:
            place = tensor
            if not _core.same_order(memory, tensor):
                place = torch.empty_like(memory, dtype=tensor.dtype).copy_(tensor)
                back.append((tensor, place))
            bound.append((name, place, adopt))
        step, count = self._counter(optimizer, side, index, state)
        grad = parameter.grad
        if grad.is_neg() or not _core.same_order(memory, grad):
            grad = torch.empty_like(memory, dtype=grad.dtype).copy_(grad)
        if not side.core.bind(index, memory, grad, state, tuple(bound), step, count):
            grad = grad.clone()  # it shared memory with a parameter
            if not side.core.bind(index, memory, grad, state, tuple(bound), step, count):
                raise RuntimeError("a parameter shares memory with a state of this optimizer")
        if any(place is not tensor for (_, tensor, _), (_, place, _) in zip(slots, bound)):
            side.core.renew(index)
        side.held[index] = (memory, grad, bound)

    def _counter(self, optimizer, side, index, state):
        """The tensor state["step"], brought to a form that the library or a device's side of it writes,
        and its value."""
        if state is None or "step" not in state:
            return None, side.core.count(index)
        step = state["step"]
        if side.device is not None:
            group = optimizer.param_groups[side.entries[index][0]]
            step, known = side.device.counter(index, state, optimizer._counts_on_device(group))
            if known is not None:
                return step, known
        if not torch.is_tensor(step) or _core.layout(step) is None or step.numel() != 1:
            step = state["step"] = torch.tensor(float(step), dtype=torch.float32)
        elif step.dtype not in (torch.float32, torch.float64):
            step = state["step"] = step.float()
        value = step.item()
        if value >= 2**24:  # beyond it float32 no longer tells every count from the next
            for known in (side.core.count(index), self._counts.get(id(side.entries[index][1]), 0)):
                if torch.tensor(known, dtype=step.dtype).item() == value:
                    return step, known
        return step, max(int(value), 0)


def own_memory(rule, parameter):
    """The parameter if the library can step it where it lies, else an empty tensor to copy it to."""
    if parameter.is_inference() and not torch.is_inference_mode_enabled():
        parameter.unsqueeze(0)[:0].zero_()  # PyTorch's error
    if _core.layout(parameter) and (not rule.matrix or parameter.is_contiguous()):
        return parameter
    for length, stride in zip(parameter.shape, parameter.stride()):
        if stride == 0 and length > 1:
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a "
                "single memory location. Please clone() the tensor before performing the operation."
            )
    return torch.empty_like(parameter, memory_format=torch.contiguous_format)


def push_values(core, g, values):
    """Sets a group's values, given as (method, arguments...). A value may be legal only beside
    another one, so those that are refused get another try after the rest."""
    waiting = list(values)
    while waiting:
        refused = []
        for value in waiting:
            try:
                getattr(core, value[0])(g, *value[1:])
            except ValueError as error:
                refused.append((error, value))
        if len(refused) == len(waiting):
            raise refused[0][0]
        waiting = [value for _, value in refused]
