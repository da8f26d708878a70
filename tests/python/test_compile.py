# SPDX-License-Identifier: Apache-2.0
"""torch.compile around code that calls hone: it breaks its graph there, and all goes as without it."""

import pytest
import torch

import hone
from hone import optim
from hone.sparse import HashTable, SparseAdamW

BACKENDS = ["eager", "aot_eager"]


@pytest.fixture(autouse=True)
def forget_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def train(step_of, backend):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    step = step_of(model)
    if backend is not None:
        step = torch.compile(step, backend=backend)
    x = torch.linspace(-1, 1, 20).reshape(5, 4)
    losses = [step(x) for _ in range(4)]
    return torch.stack(losses), [p.detach() for p in model.parameters()]


def dense(kind, **options):
    def step_of(model):
        optimizer = kind(model.parameters(), **options)

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().sum()
            loss.backward()
            hone.clip_grad_norm_(model.parameters(), 1.0)
            hone.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            return loss.detach()

        return step

    return step_of


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [optim.AdamW, optim.SGD, optim.ADOPT, optim.RMSprop])
def test_whole_step(kind, backend):
    options = {"lr": 0.05}
    wanted, found = train(dense(kind, **options), None), train(dense(kind, **options), backend)
    torch.testing.assert_close(found, wanted)
    assert wanted[0][-1] < wanted[0][0]


def test_hooks_and_closure():
    def step_of(model):
        optimizer = optim.AdamW(model.parameters(), lr=0.05)
        optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
        optimizer.register_step_post_hook(lambda *_: calls.append("after"))

        def step(x):
            def closure():
                optimizer.zero_grad()
                loss = model(x).square().sum()
                loss.backward()
                return loss.detach()

            return optimizer.step(closure)

        return step

    calls = []
    wanted = train(step_of, None)
    assert calls == ["before", "after"] * 4
    found = train(step_of, "eager")
    assert calls == ["before", "after"] * 8
    torch.testing.assert_close(found, wanted)


def test_the_step_alone():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.AdamW([parameter], lr=0.5)
    parameter.grad = torch.ones(3)
    torch.compile(optimizer.step, backend="eager")()
    assert torch.all(parameter < 0.6)
    with pytest.raises(Exception, match="hone works outside of torch.compile"):
        torch.compile(lambda: optimizer.step(), backend="eager", fullgraph=True)()


@pytest.mark.parametrize("backend", [None, "eager"])
def test_compiled_model_and_scheduler(backend):
    model = torch.nn.Linear(4, 2)
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = optim.Muon([model.weight], lr=0.1)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    before = model.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        compiled(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    assert not torch.equal(before, model.weight) and scheduler.get_last_lr() == [0.025]


@pytest.mark.parametrize("backend", [None, "eager"])
def test_tables(backend):
    table = HashTable([4], name="t", initializer=0.5)
    optimizer = SparseAdamW({"t": table}, lr=0.1)
    layer = torch.nn.Linear(4, 1)

    def step(keys):
        loss = layer(table(keys)).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    if backend is not None:
        step = torch.compile(step, backend=backend)
    losses = [step(torch.arange(5)).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and table.count == 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_sparse_gradients(backend):
    def run(backend):
        torch.manual_seed(0)
        embedding = torch.nn.Embedding(10, 4, sparse=True)
        optimizer = optim.SparseAdam(embedding.parameters(), lr=0.1)

        def step(keys):
            optimizer.zero_grad()
            embedding(keys).square().sum().backward()
            optimizer.step()

        if backend is not None:
            step = torch.compile(step, backend=backend)
        for _ in range(3):
            step(torch.tensor([1, 2, 2]))
        return embedding.weight.detach()

    torch.testing.assert_close(run(backend), run(None))
