# SPDX-License-Identifier: Apache-2.0
"""SparseOptimizer and its kind over HashTables: groups, schedulers, accumulation, loss scaling."""

import gc

import pytest
import torch

import hone
from hone.sparse import (
    HashTable,
    SparseAdam,
    SparseAdamW,
    SparseAdamWTF,
    SparseOptimizer,
    filter_out_sparse_param,
)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.users = HashTable([4], name="users")
        self.items = HashTable([4], name="items")
        self.shared = self.items
        self.out = torch.nn.Linear(8, 1)

    def forward(self, users, items):
        return self.out(torch.cat([self.users(users), self.shared(items)], -1)).squeeze(-1)


def test_the_usage_flow():
    """Tables apart from the dense rest, and an optimizer for each."""
    torch.manual_seed(3)
    model = Model()
    sparse_params = filter_out_sparse_param(model)
    assert list(sparse_params) == ["users", "items"]
    assert sparse_params["items"] is model.items
    assert [name for name, _ in model.named_parameters()] == ["out.weight", "out.bias"]
    sparse_optimizer = SparseAdamWTF(
        sparse_params, lr=0.05, weight_decay=0.0001, beta1=0.9, beta2=0.999
    )
    dense_optimizer = hone.optim.AdamWTF(model.parameters(), lr=0.05, weight_decay=0.0001)
    sparse_optimizer.set_grad_accum_steps(2)
    users, items = torch.randint(50, (200,)), torch.randint(-30, 0, (200,))
    labels = (users % 2).float()
    losses = []
    for step in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(users, items), labels)
        sparse_optimizer.zero_grad()
        dense_optimizer.zero_grad()
        loss.backward()
        dense_optimizer.step()
        sparse_optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert model.items.count == 30


def test_optimizer_arguments():
    tables = {"t": HashTable([2], name="t")}
    for cls, extra in ((SparseAdam, "amsgrad"), (SparseAdamW, "amsgrad"), (SparseAdamWTF, "use_nesterov")):
        optimizer = cls(tables)
        group = optimizer.param_groups[0]
        assert [group[k] for k in ("lr", "beta1", "beta2", "eps", "weight_decay")] == [
            1e-3, 0.9, 0.999, 1e-8, 1e-2,
        ]  # fmt: skip
        del optimizer
        gc.collect()
        with pytest.raises(ValueError, match=f"^{extra} is not support now$"):
            cls(tables, **{extra: True})
        for values, text in (
            ({"lr": -1}, "Invalid learning rate: -1"),
            ({"lr": float("nan")}, "Invalid learning rate: nan"),
            ({"lr": torch.ones(2)}, "Tensor lr must be 1-element"),
            ({"eps": -1.0}, "Invalid epsilon value: -1.0"),
            ({"beta1": 1.0}, "Invalid beta parameter at index 0: 1.0"),
            ({"beta2": -0.1}, "Invalid beta parameter at index 1: -0.1"),
            ({"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
        ):
            with pytest.raises(ValueError, match="^" + text + "$"):
                cls(tables, **values)
        with pytest.raises(RuntimeError, match=f"^{cls.__name__} only support sparse gradients$"):
            cls({"w": torch.nn.Parameter(torch.ones(2))})
        with pytest.raises(RuntimeError, match=f"^{cls.__name__} only support sparse gradients$"):
            cls(torch.ones(2))
        with pytest.raises(TypeError, match="can only optimize HashTables, not int"):
            cls({"w": 5})
        with pytest.raises(ValueError, match="empty parameter list"):
            cls({})
        twice = "^some parameters appear in more than one parameter group.$"
        with pytest.raises(RuntimeError, match=twice):
            cls([{"params": tables}, {"params": tables}])
        with pytest.raises(RuntimeError, match=twice):
            cls({"a": tables["t"], "b": tables["t"]})
    fresh = HashTable([2], name="fresh")
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        SparseAdamW([{"params": fresh}, {"params": tables, "lr": -1}])
    assert fresh._rule.name == "sgd"  # the first group's table was not taken
    with pytest.raises(ValueError, match="there is no rule 'adamv'"):
        SparseOptimizer(tables, "adamv")
    with pytest.raises(TypeError, match="adamw has no momentum"):
        SparseOptimizer(tables, "adamw", momentum=0.5)
    with pytest.raises(RuntimeError, match="a rule over matrices"):
        SparseOptimizer({"m": HashTable([2])}, "muon")


def test_accumulation_arguments():
    table = HashTable([2])
    optimizer = SparseAdamW({"t": table})
    for value in (0, -1):
        with pytest.raises(ValueError, match="must be at least 1"):
            optimizer.set_grad_accum_steps(value)
    for value in (True, 1.5, "2"):
        with pytest.raises(TypeError):
            optimizer.set_grad_accum_steps(value)
    with pytest.raises(ValueError, match="'sum', 'mean'"):
        optimizer.set_grad_accum_steps(2, "max")
    table(torch.arange(2)).sum().backward()
    with pytest.raises(ValueError, match="gradients wait"):
        optimizer.set_grad_accum_steps(2)
    optimizer.zero_grad()
    optimizer.set_grad_accum_steps(2)
    assert optimizer.param_groups[0]["grad_accum_steps"] == 2


def test_accumulation_is_set_for_all_tables_or_none():
    tables = {name: HashTable([2], name=name, initializer=0.0) for name in "ab"}
    optimizer = SparseOptimizer(tables, "sgd", lr=1.0)
    tables["b"](torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match='table "b": gradients wait'):
        optimizer.set_grad_accum_steps(2)
    tables["a"](torch.tensor([1])).sum().backward()
    optimizer.step()
    assert [t.embeddings().tolist() for t in tables.values()] == [[[-1, -1]]] * 2


def test_an_emptied_table_goes_on_accumulating():
    table = HashTable([2], initializer=0.0)
    optimizer = SparseOptimizer(table, "sgd", lr=1.0)
    optimizer.set_grad_accum_steps(2)
    table.reset()
    for _ in range(2):
        assert not table.count or table.embeddings()[0, 0] == 0
        table(torch.tensor([1])).sum().backward()
        optimizer.step()
    assert table.embeddings().tolist() == [[-2, -2]]


def test_groups_hooks_closure_and_a_tensor_as_lr():
    model = Model()
    optimizer = SparseAdamW([{"params": {"users": model.users}, "lr": torch.tensor(0.5)}], lr=0.1)
    optimizer.add_param_group({"params": model.items})
    assert [g["param_names"] for g in optimizer.param_groups] == [["users"], ["items"]]
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda *a: calls.append("before"))
    optimizer.register_step_post_hook(lambda *a: calls.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = model(torch.arange(3), torch.arange(3)).sum()
        loss.backward()
        return loss

    before = [t.read(torch.arange(3)) for t in (model.users, model.items)]
    assert optimizer.step(closure).item() != 0
    assert calls == ["before", "after"]
    moved = [(t.read(torch.arange(3)) - b).abs().max().item()
             for t, b in zip((model.users, model.items), before)]  # fmt: skip
    assert moved[0] == pytest.approx(0.5, abs=0.05) and moved[1] == pytest.approx(0.1, abs=0.05)
    schedule.step()
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.01)
    assert "beta1: 0.9" in repr(optimizer)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, 20, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)),
        lambda o: hone.optim.lr_scheduler.LinearLR(o, 0.1),
    ],
)
def test_schedulers(make):
    """The rate of each step is the group's: a first step moves a row by it."""
    table = HashTable([1], dtype=torch.float64, initializer=0.0)
    optimizer = SparseAdam({"t": table}, lr=0.5, eps=0)
    schedule = make(optimizer)
    for step in range(8):
        rate = optimizer.param_groups[0]["lr"]
        table(torch.tensor([step])).sum().backward()
        optimizer.step()
        _, power1, power2 = table._core.progress
        alpha = rate * (1 - power2) ** 0.5 / (1 - power1)
        moved = -table.read(torch.tensor([step])).item()
        assert moved == pytest.approx(alpha * 0.1 / 0.001**0.5, rel=1e-9)
        schedule.step()


def test_another_rule():
    """The rows of a table outlive its optimizer; states go with the rule."""
    table = HashTable([3])
    table(torch.arange(4))
    rows = table.read(torch.arange(4))
    first = SparseAdamW({"t": table})
    assert torch.equal(rows, table.read(torch.arange(4)))
    table(torch.arange(4)).sum().backward()
    first.step()
    moments = table.read(torch.arange(4), "exp_avg")
    with pytest.raises(RuntimeError, match='follows "sparse_adamw" in another optimizer'):
        SparseAdam({"t": table})
    again = SparseAdamW({"t": table}, lr=0.5)  # the same rule: it goes on
    assert torch.equal(moments, table.read(torch.arange(4), "exp_avg"))
    rows = table.read(torch.arange(4))
    del first, again
    gc.collect()
    SparseOptimizer({"t": table}, "sgd", momentum=0.9, lr=1.0)
    assert torch.equal(rows, table.read(torch.arange(4)))
    assert torch.equal(torch.zeros(4, 3), table.read(torch.arange(4), "momentum_buffer"))


def test_catch_up_is_at_the_rate_of_the_moment():
    """A row that sat out a step is caught up by the next look-up in training, at the rate set by then."""
    table = HashTable([1], dtype=torch.float64, initializer=1.0)
    optimizer = SparseOptimizer({"t": table}, "sgd", decay="catch_up", lr=0.1, weight_decay=0.5)
    offsets = torch.tensor([0])
    with torch.no_grad():
        table(torch.tensor([2, 3]))
    table(torch.tensor([1])).sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.2
    assert table.eval()(torch.tensor([2])).item() == 1.0
    out = table.train()(torch.tensor([2]))
    torch.testing.assert_close(out.item(), 1 - 0.2 * 0.5, rtol=1e-15, atol=0)
    bag = table(torch.tensor([3]), offsets, mode="sum")
    torch.testing.assert_close(bag.item(), 1 - 0.2 * 0.5, rtol=1e-15, atol=0)
    out.sum().backward()
    optimizer.step()
    expected = (1 - 0.2 * 0.5) ** 2 - 0.2
    torch.testing.assert_close(table.read(torch.tensor(2)).item(), expected, rtol=1e-15, atol=0)


def test_the_count_of_a_global_bias():
    """As one parameter whose count is set: a first step at count 10."""
    table = HashTable([1], dtype=torch.float64, initializer=0)
    optimizer = SparseOptimizer({"t": table}, "adamw", bias="global", lr=0.1)
    for wrong, error in ((0, ValueError), (2**64, ValueError), (1.0, TypeError)):
        with pytest.raises(error, match="step"):
            table.set_step(wrong)
    table.set_step(10)
    table(torch.tensor([1])).sum().backward()
    optimizer.step()
    m, v = 0.1 / (1 - 0.9**10), 0.001 / (1 - 0.999**10)
    expected = -0.1 * m / (v**0.5 + 1e-8)
    torch.testing.assert_close(table.read(torch.tensor(1)).item(), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("scaled", [False, True])
def test_loss_scaling(scaled):
    model = Model()
    optimizer = SparseAdamW(filter_out_sparse_param(model))
    dense = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
    loss = model(torch.arange(3), torch.arange(3)).sum()
    slopes = model.out.weight.detach()[0, 4:].clone()
    scaler.scale(loss).backward()
    scaler.step(dense)
    scaler.step(optimizer)
    scaler.update()
    moments = model.items.read(torch.arange(3), "exp_avg")
    torch.testing.assert_close(moments, (0.1 * slopes).expand(3, 4))
    optimizer.found_inf = torch.tensor(1.0)
    rows = model.items.read(torch.arange(3))
    model(torch.arange(3), torch.arange(3)).sum().backward()
    optimizer.step()
    assert torch.equal(rows, model.items.read(torch.arange(3)))
