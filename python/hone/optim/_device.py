# SPDX-License-Identifier: Apache-2.0
"""What an optimizer of the library has on a CUDA device: PyTorch's stream, memory of PyTorch's allocator,
counters that live on the device, GradScaler's tensors."""

import torch

from hone import _core

_blocks = {}  # address -> the tensor that holds it


def _allocate(size, device, stream):
    block = torch.empty(size, dtype=torch.uint8, device=torch.device("cuda", device))
    _blocks[block.data_ptr()] = block
    return block.data_ptr()


def _release(address, device, stream):
    """The allocator gives the memory to others when the work that is queued on the stream is done."""
    block = _blocks.pop(address)
    if stream == 0:
        block.record_stream(torch.cuda.default_stream(device))
    else:
        block.record_stream(torch.cuda.ExternalStream(stream, device=device))


_core.set_device_allocator(_allocate, _release)


class Device:
    """The part of one side (_engine.py) that is on a device."""

    def __init__(self, core, device):
        self._core = core
        self._index = device.index
        self._device = device
        self._stream = None
        self._scaler = self._held = (None, None)
        self._bound_lr = {}  # group -> tensor
        self._capturable = False
        self._steps = {}  # index of an entry -> its state["step"], where that is on a device
        self._all_steps = None  # all of them, once they are asked for
        self._follow_stream()

    def _follow_stream(self):
        stream = torch._C._cuda_getCurrentRawStream(self._index)
        if stream != self._stream:
            self._core.set_stream(self._index, stream)
            self._stream = stream

    def begin(self, scaler):
        """Before every step."""
        self._follow_stream()
        scale, found_inf = scaler
        if scale is self._scaler[0] and found_inf is self._scaler[1]:
            return
        here = tuple(_one_here(tensor, self._device) for tensor in scaler)
        self._core.bind_loss_scale(*here)
        self._scaler, self._held = scaler, here

    # ---- a group's values ---------------------------------------------------------------------

    def values(self, optimizer, g, group):
        """The group's values as calls of the library, and the tensor that the device reads itself."""
        lr = group.get("lr")
        reads = (
            isinstance(lr, torch.Tensor)
            and lr.device == self._device
            and lr.dtype in (torch.float32, torch.float64)
            and optimizer._counts_on_device(group)
        )
        values = [("bind_lr", lr if reads else None)] if reads or g in self._bound_lr else []
        self._bound_lr[g] = lr
        if not reads:
            del self._bound_lr[g]
        values += optimizer._values({**group, "lr": 0.0} if reads else group)
        products = optimizer._rule_of(group).hyper("products")
        if products is not None and "products" not in group:  # as torch.optim.Muon computes
            values.append(("set", "products", float(products.words.index("bfloat16"))))
        return values, lr if reads else None

    def set_capturable(self, optimizer):
        """Rules without a counter are captured without being asked for, as in PyTorch."""
        wanted = any(map(optimizer._is_capturable, optimizer.param_groups))
        if wanted != self._capturable:
            self._core.set_capturable(wanted)
            self._capturable = wanted

    # ---- counters -----------------------------------------------------------------------------

    def counter(self, index, state, on_device):
        """The tensor state["step"], on the device if it is to count there, and its value; None as value:
        it counts on the host. Waits for the device, as everything that binds anew."""
        step = state["step"]
        known = torch.is_tensor(step) and step.numel() == 1
        if not on_device and not (known and step.device == self._device):
            self._steps.pop(index, None)
            self._all_steps = None
            return step, None
        if not known:
            step = torch.tensor(float(step), dtype=torch.float32)
        dtype = step.dtype if step.dtype in (torch.float32, torch.float64) else torch.float32
        step = state["step"] = step.to(device=self._device, dtype=dtype)
        self._steps[index] = step
        self._all_steps = None
        return step, max(int(step.item()), 0)

    @torch.no_grad()
    def advance(self, moved, entries):
        """Counts the step in the counters on the device of the parameters that moved."""
        if not self._steps or not moved:
            return
        if self._all_steps is None:
            self._all_steps = list(self._steps.values())
        steps = self._all_steps
        if len(moved) != len(entries):
            steps = [step for i, step in self._steps.items() if entries[i][1].grad is not None]
        if not steps:
            return
        found_inf = self._held[1]
        torch._foreach_add_(steps, 1)
        if found_inf is not None:  # 1 where nothing was stepped
            torch._foreach_sub_(steps, [found_inf.reshape(())] * len(steps))


def _one_here(tensor, device):
    return None if tensor is None else tensor.to(device=device, dtype=torch.float32)
