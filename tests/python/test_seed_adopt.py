# SPDX-License-Identifier: Apache-2.0
"""The examples of dicee's ADOPT module with its import line changed to hone's. (test_golden.py has the
numbers that the algorithm has to give.)"""

import copy

import pytest
import torch

from hone.optim import ADOPT, adopt


def regression(seed=0):
    torch.manual_seed(seed)
    x = torch.randn(64, 10)
    return torch.nn.Linear(10, 1), x, x @ torch.randn(10, 1)


def test_example_of_the_module():
    model, inputs, targets = regression()
    criterion = torch.nn.MSELoss()
    optimizer = ADOPT(model.parameters(), lr=0.01, weight_decay=0.01, decouple=True)
    losses = []
    for epoch in range(200):
        optimizer.zero_grad()
        output = model(inputs)
        loss = criterion(output, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] == losses[0], "the first call only sets the second moment"
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    "clip_lambda",
    [lambda step: max(1.0, step**0.5), lambda step: 1.0, None],
    ids=["max", "one", "none"],
)
def test_custom_clipping(clip_lambda):
    model, inputs, targets = regression()
    optimizer = ADOPT(model.parameters(), lr=1e-3, clip_lambda=clip_lambda)
    for _ in range(5):
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_step_with_a_closure():
    model, inputs, targets = regression()
    optimizer = ADOPT(model.parameters(), lr=0.001)

    def closure():
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        return loss

    expected = (model(inputs) - targets).square().mean()
    assert torch.equal(optimizer.step(closure), expected)
    short = lambda: (loss := model(inputs).mean(), loss.backward(), loss)[-1]  # noqa: E731
    assert optimizer.step(short).shape == ()


def test_functional_form_is_the_class():
    gradients = [[torch.randn(3), torch.randn(2, 2)] for _ in range(4)]
    p1, p2 = torch.randn(3), torch.randn(2, 2)
    m1, m2, v1, v2 = (torch.zeros_like(p) for p in (p1, p2, p1, p2))
    step1, step2 = torch.tensor(0.0), torch.tensor(0.0)
    params = [torch.nn.Parameter(p.clone()) for p in (p1, p2)]
    optimizer = ADOPT(params, lr=0.001, weight_decay=0.01, decouple=True)
    for grads in gradients:
        adopt(
            params=[p1, p2],
            grads=grads,
            exp_avgs=[m1, m2],
            exp_avg_sqs=[v1, v2],
            state_steps=[step1, step2],
            beta1=0.9,
            beta2=0.9999,
            lr=0.001,
            clip_lambda=lambda s: s**0.25,
            weight_decay=0.01,
            decouple=True,
            eps=1e-6,
            maximize=False,
        )
        for p, gradient in zip(params, grads):
            p.grad = gradient.clone()
        optimizer.step()
    assert step1 == step2 == 4
    for p, q, m, v in zip(params, (p1, p2), (m1, m2), (v1, v2)):
        torch.testing.assert_close(p.detach(), q)
        torch.testing.assert_close(optimizer.state[p]["exp_avg"], m)
        torch.testing.assert_close(optimizer.state[p]["exp_avg_sq"], v)


def test_published_checkpoints_load(tmp_path):
    """Groups as the published versions wrote them: without clip_lambda, and before 2024-11-21 with
    `decoupled` for `decouple`."""
    model, inputs, targets = regression()
    optimizer = ADOPT(model.parameters(), lr=0.01, weight_decay=0.1, decouple=True)

    def train(model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            (model(inputs) - targets).square().mean().backward()
            optimizer.step()

    train(model, optimizer)
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        group["decoupled"] = group.pop("decouple")
        for key in ("clip_lambda", "maximize", "foreach", "capturable", "differentiable", "fused"):
            del group[key]
    for state in saved["state"].values():
        state["step"] = state["step"].item()
    torch.save(saved, tmp_path / "adopt.pt")
    again = copy.deepcopy(model)
    other = ADOPT(again.parameters())
    other.load_state_dict(torch.load(tmp_path / "adopt.pt", weights_only=True))
    train(model, optimizer)
    train(again, other)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters()))
