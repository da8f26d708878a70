# SPDX-License-Identifier: Apache-2.0
"""One step of a rule over tensors that are handed in, without an optimizer object: for the functional
forms, and for steps over the rows of a sparse gradient."""

import torch

from hone import _core
from hone.optim._device import Device
from hone.optim._engine import increment_version, own_memory, push_values, thread_count


class Job:
    """One tensor's step: its gradient, its states by slot, its counter (a tensor that is advanced)."""

    def __init__(self, parameter, grad, slots, step):
        self.parameter, self.grad, self.slots, self.step = parameter, grad, slots, step


def step_once(rule, values, jobs, loss_scale=1.0):
    """Steps every job by the rule. `values` are calls of the library, as Optimizer._values gives."""
    while jobs:
        jobs = _step_apart(rule, values, jobs, loss_scale)


def _step_apart(rule, values, jobs, loss_scale):
    """Steps the jobs whose memory is their own; the others are left for the next time."""
    core = _core.Optimizer([rule.name], [len(jobs)], thread_count())
    place = jobs[0].parameter.device
    device = None if place.type == "cpu" else Device(core, place)
    core.set_loss_scale(loss_scale)
    push_values(core, 0, values)
    back, left, held, counters = [], [], [], []
    for position, job in enumerate(jobs):
        if job.parameter.device != place:
            left.append(job)
            continue
        memory = own_memory(rule, job.parameter)
        index = core.add(0, position, job.parameter, memory)
        if index < 0:
            left.append(job)
            continue
        if memory is not job.parameter:
            back.append((job.parameter, memory.copy_(job.parameter)))
        slots = []
        for name, tensor in job.slots.items():
            place = tensor
            if not _core.same_order(memory, tensor):
                place = torch.empty_like(memory, dtype=tensor.dtype).copy_(tensor)
                back.append((tensor, place))
            slots.append((name, place, True))
        grad = job.grad
        if grad.is_neg() or not _core.same_order(memory, grad):
            grad = torch.empty_like(memory, dtype=grad.dtype).copy_(grad)
        if not core.bind(index, memory, grad, None, tuple(slots), job.step, int(job.step.item())):
            raise RuntimeError("a parameter shares memory with a gradient or a state")
        held.append((memory, grad, slots))
        if job.step.device.type != "cpu":  # those of the processor are the library's to write
            counters.append(job.step)
    increment_version(core.run())
    for step in counters:
        step.add_(1)
    for target, source in back:
        target.copy_(source)
    return left
