# SPDX-License-Identifier: Apache-2.0
"""The sparse Adams against numbers computed elsewhere, against a model in plain Python, and against
PyTorch's SparseAdam where both mean the same."""

import random

import pytest
import torch
from sparse_model import ModelTable

from hone.sparse import HashTable, SparseAdam, SparseAdamW, SparseAdamWTF, SparseOptimizer, initial

CLASSES = {"adam": SparseAdam, "adamw": SparseAdamW, "adamw_tf": SparseAdamWTF}


def double_table(width, value=0.0, name="items"):
    return HashTable([width], dtype=torch.float64, initializer=initial.constant(value), name=name)


def learn(table, keys, gradients):
    """One look-up and its gradients."""
    out = table(torch.tensor(keys, dtype=torch.int64))
    out.backward(torch.tensor(gradients, dtype=torch.float64).reshape(out.shape))


def close(actual, expected, rtol=5e-12):
    torch.testing.assert_close(
        actual.double().flatten(), torch.tensor(expected, dtype=torch.float64).flatten(),
        rtol=rtol, atol=1e-14,
    )  # fmt: skip


# ---- numbers computed elsewhere ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls, expected",
    [
        (SparseAdam, [0.49900000316226767, 0.4993661061715039, 0.4990228653813656]),
        (SparseAdamW, [0.4989950031622677, 0.4993561162214723, 0.4990078818701718]),
        (SparseAdamWTF, [0.49400000316226766, 0.4894261061398812, 0.48418860428834404]),
    ],
)
def test_one_row(cls, expected):
    table = double_table(1, 0.5)
    optimizer = cls({"items": table})
    for g, value in zip((0.1, -0.2, 0.3), expected):
        learn(table, [7], [g])
        optimizer.step()
        close(table.read(torch.tensor([7])), [value])


def test_a_row_that_misses_a_step():
    table = double_table(1, 0.5)
    optimizer = SparseAdamW({"items": table})
    expected = [0.4989950031622677, 0.4989950031622677, 0.4982021332751223]
    for key, g, value in zip((7, 8, 7), (0.1, -0.2, 0.3), expected):
        learn(table, [key], [g])
        optimizer.step()
        close(table.read(torch.tensor([7])), [value])


def test_a_gradient_of_no_row_counts_as_a_step():
    table = double_table(1, 0.5)
    optimizer = SparseAdamW({"items": table})
    for key, g in ((7, 0.1), (None, 0.0), (7, 0.3)):
        learn(table, [] if key is None else [key], [] if key is None else [g])
        optimizer.step()
    close(table.read(torch.tensor([7])), [0.4982021332751223])
    optimizer.step()  # without any gradient nothing advances
    assert table._core.progress[0] == 3


def test_tiny_gradients_show_where_epsilon_stands():
    table = double_table(1)
    optimizer = SparseAdam({"items": table})
    expected = [-0.00024025307335204222, -0.0005492166755544686, -0.0009029917068797662]
    for value in expected:
        learn(table, [1], [1e-7])
        optimizer.step()
        close(table.read(torch.tensor([1])), [value])


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("sum", [0.4989950007905688, 0.499042642390079]),
        ("mean", [0.49899500158113635, 0.4990426431512094]),
    ],
)
def test_accumulation(mode, expected):
    table = double_table(1, 0.5)
    optimizer = SparseAdamW({"items": table})
    optimizer.set_grad_accum_steps(2, mode)
    values = []
    for pair in ((0.1, 0.3), (-0.2, -0.2)):
        for g in pair:
            learn(table, [7], [g])
            before = table.read(torch.tensor([7])).clone()
            optimizer.step()
            optimizer.zero_grad()
        assert not torch.equal(before, table.read(torch.tensor([7])))
        values.append(table.read(torch.tensor([7])).item())
    close(torch.tensor(values, dtype=torch.float64), expected)
    assert table._core.progress[0] == 2


def test_two_rows():
    table = double_table(2)
    table.insert(torch.tensor([7, 9]), torch.tensor([[0.5, -0.5], [0.25, 0.25]]).double())
    optimizer = SparseAdamW({"items": table}, lr=1e-2, weight_decay=1e-2)
    learn(table, [7, 9, 7], [[0.1, 0.2], [-0.3, 0.1], [0.1, -0.1]])
    optimizer.step()
    ids = torch.tensor([7, 9])
    close(table.read(ids), [0.489950015811, -0.509949968377, 0.259974989459, 0.239975031623], 5e-12)
    close(table.read(ids, "exp_avg"), [0.02, 0.01, -0.03, 0.01])
    close(table.read(ids, "exp_avg_sq"), [4e-5, 1e-5, 9e-5, 1e-5])
    learn(table, [9], [[0.2, 0.2]])
    optimizer.step()
    close(table.read(ids), [0.489950015811, -0.509949968377, 0.261394195989, 0.230299227512], 5e-12)
    learn(table, [7, 7], [[-0.1, 0.3], [0.1, 0.1]])
    optimizer.step()
    close(table.read(ids), [0.484148830696, -0.517491008581, 0.261394195989, 0.230299227512], 5e-12)
    close(table.read(ids, "exp_avg"), [0.018, 0.049, -0.007, 0.029])
    close(table.read(ids, "exp_avg_sq"), [3.996e-05, 0.00016999, 0.00012991, 4.999e-05])
    steps, power1, power2 = table._core.progress
    assert steps == 3
    close(torch.tensor([power1, power2], dtype=torch.float64), [0.729, 0.997002999])


# ---- the model ---------------------------------------------------------------------------------------


class Both:
    """A table and its model, through the same story."""

    def __init__(self, rng, kind, name):
        self.width = rng.choice([1, 2, 3, 5, 16, 17])
        value = rng.uniform(-1, 1)
        self.table = double_table(self.width, value, name)
        self.model = ModelTable(kind, self.width, value)
        self.means = rng.random() < 0.3
        # The shares of a mean are float32 in the library; all else is float64.
        self.tolerance = 1e-5 if self.means else 1e-11

    def same(self, actual, expected):
        scale = max((abs(x) for row in expected for x in row), default=0.0)
        torch.testing.assert_close(
            actual, torch.tensor(expected, dtype=torch.float64).reshape(actual.shape),
            rtol=self.tolerance, atol=self.tolerance * scale + 1e-14,
        )  # fmt: skip

    def gradients(self, rng, n):
        return [[rng.gauss(0, 1) * 10 ** rng.randint(-6, 1) for _ in range(self.width)] for _ in range(n)]

    def learn(self, rng):
        keys = [rng.choice([0, -1, 2**63 - 1, -(2**63), rng.randrange(12)]) for _ in range(rng.randrange(12))]
        rows = self.model.look_up(keys, True)
        if rng.random() < 0.5:
            out = self.table(torch.tensor(keys, dtype=torch.int64))
            self.same(out, self.model.values(rows))
            gradients = self.gradients(rng, len(keys))
            self.model.add(rows, gradients)
        else:
            cuts = sorted(rng.randrange(len(keys) + 1) for _ in range(rng.randrange(5)))
            offsets = [0, *cuts, len(keys)]
            mean = self.means and rng.random() < 0.5
            weights = [rng.choice([0.5, 1.0, -2.0]) for _ in keys]
            out = self.table(
                torch.tensor(keys, dtype=torch.int64), torch.tensor(offsets[:-1]),
                torch.tensor(weights), mode="mean" if mean else "sum",
            )  # fmt: skip
            self.same(out, self.model.pooled(rows, offsets, weights, mean))
            gradients = self.gradients(rng, len(offsets) - 1)
            self.model.add_pooled(rows, offsets, weights, mean, gradients)
        out.backward(torch.tensor(gradients, dtype=torch.float64).reshape(out.shape))

    def check(self):
        keys = sorted(self.model.rows)
        assert sorted(self.table.ids().tolist()) == keys
        ids = torch.tensor(keys, dtype=torch.int64)
        rows = [self.model.rows[key] for key in keys]
        for slot, name in ((None, "w"), ("exp_avg", "m"), ("exp_avg_sq", "v")):
            self.same(self.table.read(ids, slot), [getattr(row, name) for row in rows])
        steps, power1, power2 = self.table._core.progress
        assert steps == self.model.steps
        assert (power1, power2) == (self.model.P1, self.model.P2)


@pytest.mark.parametrize("seed", range(60))
def test_random_stories(seed):
    """Several tables with learning rates of their own, accumulation, erased rows, forgotten gradients,
    a schedule."""
    rng = random.Random(seed)
    kind = rng.choice(list(CLASSES))
    both = [Both(rng, kind, f"table{i}") for i in range(rng.randint(1, 3))]
    values = {
        "lr": 10 ** rng.uniform(-4, -1),
        "beta1": rng.choice([0.0, 0.5, 0.9]),
        "beta2": rng.choice([0.0, 0.9, 0.999]),
        "eps": rng.choice([1e-8, 1e-3]),
        "weight_decay": rng.choice([0.0, 1e-2, 0.3]),
    }
    rates = [values["lr"] * 2**i for i in range(len(both))]
    groups = [{"params": {b.table.name: b.table}, "lr": lr} for b, lr in zip(both, rates)]
    optimizer = CLASSES[kind](groups, **values)
    n, mode = rng.randint(1, 3), rng.choice(["sum", "mean"])
    optimizer.set_grad_accum_steps(n, mode)
    for b in both:
        b.model.n, b.model.mean = n, mode == "mean"
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    for call in range(15):
        for b in both:
            for _ in range(rng.choice([0, 1, 1, 2])):
                b.learn(rng)
            if rng.random() < 0.3 and b.model.rows:
                keys = rng.sample(sorted(b.model.rows), min(2, len(b.model.rows)))
                b.model.erase(keys)
                b.table.erase(torch.tensor(keys))
        if rng.random() < 0.2:
            optimizer.zero_grad()
            for b in both:
                b.model.zero_grad()
        optimizer.step()
        for b, lr in zip(both, rates):
            b.model.step(**{**values, "lr": lr * 0.8**call})
        schedule.step()
        for b in both:
            b.check()


# ---- PyTorch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_torch_sparse_adam(dtype):
    """When every row is met in every step, PyTorch's per-tensor count is the table's."""
    rows, width = 9, 6
    embedding = torch.nn.Embedding(rows, width, sparse=True, dtype=dtype)
    table = HashTable([width], dtype=dtype)
    table.insert(torch.arange(rows), embedding.weight)
    mine = SparseAdam({"items": table}, lr=0.01)
    theirs = torch.optim.SparseAdam(embedding.parameters(), lr=0.01)
    for _ in range(20):
        ids = torch.cat([torch.randperm(rows), torch.randint(rows, (5,))]).reshape(2, 7)
        slopes = torch.randn(2, 7, width, dtype=dtype)
        results = []
        for module, optimizer in ((table, mine), (embedding, theirs)):
            optimizer.zero_grad()
            out = module(ids)
            (out * slopes).sum().backward()
            optimizer.step()
            results.append(out)
        torch.testing.assert_close(*results)
    torch.testing.assert_close(table.read(torch.arange(rows)), embedding.weight.detach())


@pytest.mark.parametrize("mode, weighted", [("sum", False), ("sum", True), ("mean", False)])
def test_as_torch_embedding_bag(mode, weighted):
    """Values, the gradient of the weights, and the rows after steps of plain SGD. (It has no weights in
    a mean; the model's stories do.)"""
    rows, width = 30, 4
    bag = torch.nn.EmbeddingBag(rows, width, mode=mode, sparse=True)
    table = HashTable([width])
    table.insert(torch.arange(rows), bag.weight)
    mine = SparseOptimizer({"items": table}, "sgd", lr=0.1)
    theirs = torch.optim.SGD(bag.parameters(), lr=0.1)
    for _ in range(5):
        ids = torch.randint(rows, (40,))
        offsets = torch.tensor([0, 3, 3, 20, 39])
        weights = [torch.rand(40, requires_grad=True) if weighted else None]
        weights.append(weights[0].detach().clone().requires_grad_() if weighted else None)
        slopes = torch.randn(5, width)
        results = [table(ids, offsets, weights[0], mode=mode), bag(ids, offsets, weights[1])]
        for out, optimizer in zip(results, (mine, theirs)):
            optimizer.zero_grad()
            (out * slopes).sum().backward()
            optimizer.step()
        torch.testing.assert_close(*results)
        if weighted:
            torch.testing.assert_close(weights[0].grad, weights[1].grad)
    torch.testing.assert_close(table.read(torch.arange(rows)), bag.weight.detach())


def test_rows_as_parameters():
    """With bias="row" a row is stepped as a parameter of its own would be, whenever it is met."""
    table = HashTable([3], dtype=torch.float64, initializer=0.5)
    mine = SparseOptimizer({"t": table}, "adamw", lr=0.01, weight_decay=0.1)
    parameters = {k: torch.nn.Parameter(torch.full((3,), 0.5).double()) for k in range(5)}
    theirs = torch.optim.AdamW(parameters.values(), lr=0.01, weight_decay=0.1)
    for step in range(12):
        keys = [k for k in range(5) if (step + k) % (k + 1) == 0]
        slopes = torch.randn(len(keys), 3, dtype=torch.float64)
        (table(torch.tensor(keys)) * slopes).sum().backward()
        theirs.zero_grad()
        for k, slope in zip(keys, slopes):
            parameters[k].grad = slope.clone()
        mine.step()
        theirs.step()
    expected = torch.stack([p.detach() for p in parameters.values()])
    torch.testing.assert_close(table.read(torch.arange(5)), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_tables(dtype):
    """Rows of 16 bits with states of float32: each step rounds the row once."""
    table = HashTable([8], dtype=dtype, initializer=0.5)
    wide = HashTable([8], initializer=0.5)
    optimizers = [SparseAdamW({"t": table}, lr=0.05), SparseAdamW({"t": wide}, lr=0.05)]
    ids = torch.arange(6)
    for _ in range(4):
        slopes = torch.randn(6, 8).to(dtype)
        before = wide.read(ids)
        wide.insert(ids, table.read(ids) if table.count else torch.full((6, 8), 0.5))
        for t, optimizer in zip((table, wide), optimizers):
            out = t(ids)
            assert out.dtype == t.dtype
            (out * slopes.to(out.dtype)).sum().backward()
            optimizer.step()
        assert table.read(ids).dtype == dtype
        torch.testing.assert_close(table.read(ids), wide.read(ids).to(dtype), rtol=0, atol=0)
        assert not torch.equal(before, wide.read(ids))
    assert table.read(ids, "exp_avg").dtype == torch.float32
