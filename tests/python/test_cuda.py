# SPDX-License-Identifier: Apache-2.0
"""hone.optim on CUDA tensors, held against hone's own CPU steps (the same bits) and against torch.optim.
Runs under pytest and, where there is none, as a program."""

import copy
import os
import subprocess
import sys
import traceback
import unittest

try:
    import pytest
except ImportError:
    pytest = None
import torch

from hone import optim

GPU = torch.cuda.is_available() and bool(os.environ.get("HONE_CUDA"))
if pytest is not None:
    pytestmark = pytest.mark.skipif(
        not GPU, reason="no GPU, or HONE_CUDA does not name libhone_cuda.so.0"
    )

Skip = unittest.SkipTest if pytest is None else pytest.skip.Exception

SHAPES = [(40, 33), (33,), (), (0,), (9000,)]
ELEMENT_RULES = {
    "SGD": dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": dict(lr=1e-2, amsgrad=True, weight_decay=0.01),
    "AdamW": dict(lr=1e-2, weight_decay=0.1),
    "RMSprop": dict(lr=1e-2, momentum=0.9, centered=True),
    "ADOPT": dict(lr=1e-2, weight_decay=0.1, decouple=True),
    "AdamWTF": dict(lr=1e-2, weight_decay=0.01),
}


def parameters(device, dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype).to(device)) for s in shapes
    ]


def give_grads(lists, step, scale=1.0):
    """The same gradients to all lists, at new addresses."""
    generator = torch.Generator().manual_seed(100 + step)
    for parts in zip(*lists):
        grad = torch.randn(parts[0].shape, generator=generator) * scale
        for p in parts:
            p.grad = grad.to(p.dtype).to(p.device)


def assert_same(mine, theirs, **tolerance):
    for p, q in zip(mine, theirs):
        torch.testing.assert_close(p.detach().cpu(), q.detach().cpu(), **tolerance)


def test_bits_of_the_processor():
    for name, kwargs in ELEMENT_RULES.items():
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            here, there = parameters("cpu", dtype), parameters("cuda", dtype)
            ours = [getattr(optim, name)(list_, **kwargs) for list_ in (here, there)]
            for step in range(4):
                give_grads([here, there], step)
                for optimizer in ours:
                    optimizer.step()
            assert_same(there, here, atol=0, rtol=0)
            for p, q in zip(here, there):
                for key, value in ours[0].state.get(p, {}).items():
                    assert torch.equal(value, ours[1].state[q][key].cpu()), (name, key)


def test_against_torch():
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        mine, theirs = parameters("cuda"), parameters("cuda")
        ours = getattr(optim, name)(mine, **ELEMENT_RULES[name])
        reference = getattr(torch.optim, name)(theirs, foreach=False, **ELEMENT_RULES[name])
        for step in range(5):
            give_grads([mine, theirs], step)
            ours.step()
            reference.step()
        assert_same(mine, theirs, atol=1e-5, rtol=1.3e-5)


def test_muon():
    shapes = [(96, 64), (64, 128)]
    mine, theirs = parameters("cuda", shapes=shapes), parameters("cuda", shapes=shapes)
    before = [p.detach().clone() for p in theirs]
    ours, reference = optim.Muon(mine, lr=0.02), torch.optim.Muon(theirs, lr=0.02)
    give_grads([mine, theirs], 0)
    ours.step()
    reference.step()
    for p, q, old in zip(mine, theirs, before):
        assert (p - q).norm() <= 3e-2 * (q - old).norm()


def test_mixed_devices():
    here, there, alone = parameters("cpu"), parameters("cuda"), parameters("cpu")
    mixed = optim.AdamW([*here, *there], lr=1e-2)
    single = optim.AdamW(alone, lr=1e-2)
    for step in range(4):
        give_grads([here, there, alone], step)
        mixed.step()
        single.step()
        mixed.param_groups[0]["lr"] = single.param_groups[0]["lr"] = 1e-2 / (step + 2)
    assert_same(here, alone, atol=0, rtol=0)
    assert_same(there, alone, atol=0, rtol=0)


def needs_two_cards():
    if torch.cuda.device_count() < 2:
        raise Skip("this machine has one GPU; two are needed")


def test_two_cards():
    needs_two_cards()
    lists = [parameters(place) for place in ("cuda:0", "cuda:1", "cpu")]
    alone = parameters("cpu")
    mixed = optim.AdamW([p for some in lists for p in some], lr=1e-2)
    single = optim.AdamW(alone, lr=1e-2)
    for step in range(4):
        give_grads([*lists, alone], step)
        mixed.step()
        single.step()
    for some in lists:
        assert_same(some, alone, atol=0, rtol=0)


# In a process of its own: whether a device has been used lasts as long as the process.
ON_THE_SECOND = """
import ctypes, torch
from hone import optim

def used(device):
    flags, active = ctypes.c_uint(), ctypes.c_int()
    driver = ctypes.CDLL("libcuda.so.1")
    assert driver.cuDevicePrimaryCtxGetState(device, ctypes.byref(flags), ctypes.byref(active)) == 0
    return active.value != 0

p = torch.nn.Parameter(torch.ones(20000, device="cuda:1"))
p.grad = torch.ones_like(p)
m = torch.nn.Parameter(torch.ones(64, 64, device="cuda:1"))
m.grad = torch.ones_like(m)
assert used(1)
before = used(0)
for optimizer in (optim.AdamW([p]), optim.Muon([m])):
    optimizer.step()
torch.cuda.synchronize(1)
assert p[0].item() != 1 and m[0, 0].item() != 1
print("used before", before, "after", used(0), "current", torch.cuda.current_device())
"""


def test_a_card_that_nobody_uses():
    needs_two_cards()
    output = subprocess.run(
        [sys.executable, "-c", ON_THE_SECOND], check=True, capture_output=True, text=True
    ).stdout
    assert output == "used before False after False current 0\n"


def test_database():
    """Every configuration that PyTorch tests its own classes with on CUDA."""
    try:
        from torch.testing._internal import common_optimizers as database
    except ImportError as reason:
        raise Skip(f"no database of optimizers: {reason}") from None
    tried = 0
    for info in database.optim_db:
        name = info.optim_cls.__name__
        if name not in ("SGD", "Adam", "AdamW", "RMSprop"):
            continue
        for given in database._get_optim_inputs_including_global_cliquey_kwargs(
            "cuda", torch.float32, info, skip=("differentiable",)
        ):
            mine, theirs = parameters("cuda"), parameters("cuda")
            ours = getattr(optim, name)(mine, **copy.deepcopy(given.kwargs))
            reference = info.optim_cls(theirs, **copy.deepcopy(given.kwargs))
            for step in range(5):
                give_grads([mine, theirs], step)
                ours.step()
                reference.step()
            try:
                assert_same(mine, theirs, atol=1e-5, rtol=1.3e-5)
            except AssertionError as error:
                raise AssertionError(f"{name} {given.desc} {given.kwargs}: {error}") from None
            tried += 1
    assert tried > 40


def test_graph_with_a_rate_on_the_device():
    mine, alone = parameters("cuda"), parameters("cuda")
    lr = torch.tensor(1e-2, device="cuda", dtype=torch.float64)
    captured = optim.AdamW(mine, lr=lr, capturable=True)
    single = optim.AdamW(alone, lr=1e-2)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        give_grads([mine, alone], 0)
        captured.step()
    torch.cuda.current_stream().wait_stream(stream)
    single.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.step()
    for step in range(1, 5):
        lr.fill_(1e-2 / step)
        single.param_groups[0]["lr"] = 1e-2 / step
        graph.replay()
        single.step()
    assert_same(mine, alone, atol=0, rtol=0)
    assert all(captured.state[p]["step"].item() == 5 for p in mine)
    assert all(captured.state[p]["step"].is_cuda for p in mine)
    give_grads([mine, alone], 9)  # a step outside of the graph goes on from there
    captured.step()
    single.step()
    assert_same(mine, alone, atol=0, rtol=0)


def test_graph_with_backward():
    torch.manual_seed(3)
    model = torch.nn.Linear(16, 8, device="cuda")
    other = copy.deepcopy(model)
    x = torch.randn(32, 16, device="cuda")
    ours = optim.AdamW(model.parameters(), lr=1e-2, capturable=True)
    single = optim.AdamW(other.parameters(), lr=1e-2)

    def train(module, optimizer):
        optimizer.zero_grad(set_to_none=True)
        module(x).square().mean().backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        train(model, ours)
        train(other, single)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    ours.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        model(x).square().mean().backward()
        ours.step()
    for _ in range(3):
        graph.replay()
        train(other, single)
    assert_same(model.parameters(), other.parameters(), atol=1e-6, rtol=1e-6)


def test_capture_without_capturable():
    mine = parameters("cuda")
    optimizer = optim.AdamW(mine, lr=1e-2)
    give_grads([mine], 0)
    optimizer.step()
    text = ""
    graph = torch.cuda.CUDAGraph()
    one = torch.zeros(1, device="cuda")
    with torch.cuda.graph(graph):
        one.add_(1)
        try:
            optimizer.step()
        except RuntimeError as error:
            text = str(error)
    assert text == (
        "Attempting CUDA graph capture of step() for an instance of AdamW but param_groups' "
        "capturable is False."
    )


def test_grad_scaler_without_waiting():
    mine, theirs = parameters("cuda"), parameters("cuda")
    ours = optim.AdamW(mine, lr=1e-2, fused=True)
    reference = torch.optim.AdamW(theirs, lr=1e-2, fused=True)
    scalers = [torch.amp.GradScaler("cuda", init_scale=1024.0) for _ in range(2)]
    for scaler in scalers:
        scaler.scale(torch.ones((), device="cuda"))
    for step in range(5):
        give_grads([mine, theirs], step, 1024.0)
        if step == 2:
            mine[0].grad[0, 0] = theirs[0].grad[0, 0] = float("inf")
        torch.cuda.synchronize()
        if step > 0:
            torch.cuda.set_sync_debug_mode("error")
        try:
            scalers[0].step(ours)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        scalers[1].step(reference)
        for scaler in scalers:
            scaler.update(1024.0)
    assert_same(mine, theirs, atol=1e-5, rtol=1.3e-5)
    assert all(ours.state[p]["step"].item() == 4 for p in mine)


def test_state_dict_both_ways():
    for flags in ({}, {"capturable": True}, {"fused": True}):
        mine, theirs = parameters("cuda"), parameters("cuda")
        ours = optim.AdamW(mine, lr=1e-2, **flags)
        reference = torch.optim.AdamW(theirs, lr=1e-2, **flags)
        for step in range(6):
            give_grads([mine, theirs], step)
            ours.step()
            reference.step()
            if step in (1, 3):
                saved = copy.deepcopy(ours.state_dict()), copy.deepcopy(reference.state_dict())
                ours.load_state_dict(saved[1])
                reference.load_state_dict(saved[0])
        assert_same(mine, theirs, atol=1e-5, rtol=1.3e-5)
        assert all(ours.state[p]["step"].item() == 6 for p in mine)
        assert all(ours.state[p]["step"].is_cuda == bool(flags) for p in mine)


def test_masked():
    here, there = parameters("cpu"), parameters("cuda")
    mask = torch.rand(40, 33, generator=torch.Generator().manual_seed(4)) < 0.3
    ours = [
        optim.MaskedAdamW([("w", p[0])], {"w": mask}, masked_lr=1e-2, unmasked_lr=0.0)
        for p in (here, there)
    ]
    for step in range(3):
        give_grads([here, there], step)
        for optimizer in ours:
            optimizer.step()
    assert_same(there, here, atol=0, rtol=0)


def run(test):
    """What came of it; the reason too where it was skipped."""
    try:
        if not GPU:
            raise Skip("no GPU, or no HONE_CUDA")
        test()
    except Skip as reason:
        return "skipped", f": {reason}"
    except Exception:
        traceback.print_exc()
        return "FAILED", ""
    return "passed", ""


if __name__ == "__main__":
    results = []
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            result, reason = run(test)
            print(f"{result} {name}{reason}", flush=True)
            results.append(result)
    counts = [results.count(result) for result in ("passed", "FAILED", "skipped")]
    print("{} passed, {} failed, {} skipped".format(*counts))
    sys.exit(counts[1] != 0)
