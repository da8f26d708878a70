# SPDX-License-Identifier: Apache-2.0
"""A captured step against the same steps taken one by one, with a rate that changes; on one GPU."""
import ctypes as C

import torch

import hone_c


SHAPES = {"adamw": [(10000,), (33,), (8192,), (1,)],
          "muon": [(96, 256), (256, 96), (96, 256), (130, 130), (5, 7)]}


def params(rule="adamw"):
    torch.manual_seed(2)
    made = [torch.randn(shape, device="cuda") for shape in SHAPES[rule]]
    for p in made:
        p.grad = torch.randn_like(p)
    return made


def eager(rule, rates, **options):
    mine = params(rule)
    optimizer = hone_c.Optimizer(rule, mine, **options)
    for rate in rates:
        optimizer.set("lr", rate)
        optimizer.step()
    torch.cuda.synchronize()
    assert optimizer.count() == len(rates)
    optimizer.close()
    return mine


def captured(rule, rates, bound, stepped, **options):
    """The first rate's step is taken before the capture, or the capture is only prepared for."""
    mine = params(rule)
    optimizer = hone_c.Optimizer(rule, mine, **options)
    optimizer.capturable()
    lr = torch.tensor(rates[0], device="cuda", dtype=torch.float64)
    if bound:
        optimizer.bind_lr(lr)
    optimizer.set("lr", rates[0])
    optimizer.step() if stepped else optimizer.prepare()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.stream(torch.cuda.current_stream())
        optimizer.step()
    optimizer.stream(torch.cuda.current_stream())
    for rate in rates[stepped:]:
        if bound:
            lr.fill_(rate)
        else:
            optimizer.set("lr", rate)
            optimizer.prepare()
        graph.replay()
    torch.cuda.synchronize()
    assert optimizer.count() == len(rates), optimizer.count()
    optimizer.close()
    return mine


def refused():
    """A capture whose plan would have to be rebuilt is an error, and changes nothing."""
    mine = params()
    optimizer = hone_c.Optimizer("adamw", mine)
    optimizer.capturable()
    before = [p.clone() for p in mine]
    graph = torch.cuda.CUDAGraph()
    message = ""
    with torch.cuda.graph(graph):
        optimizer.stream(torch.cuda.current_stream())
        try:
            optimizer.step()
        except RuntimeError as error:
            message = str(error)
    torch.cuda.synchronize()
    assert "being captured" in message, message
    assert all(torch.equal(a, b) for a, b in zip(before, mine))
    optimizer.stream(torch.cuda.current_stream())
    optimizer.step()
    torch.cuda.synchronize()
    optimizer.close()


RATES = [1e-3, 2e-3, 5e-4, 7e-3, 1e-5, 3e-3]
for rule, options in (("adamw", {}), ("adamw", {"clip": 1.0}), ("adamw", {"weight_decay": 0.1}),
                      ("muon", {"products": 1}), ("muon", {"products": 0, "clip": 1.0})):
    one = eager(rule, RATES, **options)
    for bound in (False, True):
        for stepped in (1, 0):
            other = captured(rule, RATES, bound, stepped, **options)
            assert all(torch.equal(a, b) for a, b in zip(one, other)), (rule, options, bound, stepped)
refused()
print("graphs: replays equal single steps, bit for bit; a stale plan is refused")
