# SPDX-License-Identifier: Apache-2.0
"""Saving and going on: a run that was saved in any way and resumed has the bits of one that was not."""

import copy
import glob
import io
import pickle
import threading

import pytest
import torch

from hone.sparse import (
    HashTable,
    Snapshot,
    SparseAdam,
    SparseAdamW,
    SparseOptimizer,
    filter_out_sparse_param,
    initial,
    restore,
)


class Run:
    """Two tables and a dense layer, trained by a function of the step alone."""

    def __init__(self, rule=None):
        torch.manual_seed(1)
        self.model = torch.nn.ModuleDict({
            "u": HashTable([4], name="users", admit_count=2, admit_counters=1000),
            "i": HashTable([4], name="items", dtype=torch.bfloat16, stochastic=True),
            "dense": torch.nn.Linear(4, 1),
        })  # fmt: skip
        tables = filter_out_sparse_param(self.model)
        self.sparse = SparseOptimizer(tables, rule, lr=0.05) if rule else SparseAdamW(tables, lr=0.05)
        self.sparse.set_grad_accum_steps(2, "mean")
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.sparse, 0.9)
        self.dense = torch.optim.SGD(self.model["dense"].parameters(), lr=0.1)

    def train(self, first, last):
        for step in range(first, last):
            torch.manual_seed(step)
            users, items = torch.randint(step, step + 40, (30,)), torch.randint(-20, 20, (30,))
            rows = self.model["u"](users) + self.model["i"](items).float()
            loss = torch.tanh(self.model["dense"](rows)).square().mean()
            self.sparse.zero_grad()
            self.dense.zero_grad()
            (loss + rows.mean()).backward()
            self.sparse.step()
            self.dense.step()
            self.schedule.step()
            self.model["u"].erase(users[:3])

    def parts(self):
        return [self.model, self.sparse, self.schedule, self.dense]

    def assert_same(self, other):
        for name in ("users", "items"):
            one, two = self.model[name[0]], other.model[name[0]]
            ids = one.ids()
            assert torch.equal(ids, two.ids())
            for slot in (None, "exp_avg", "exp_avg_sq"):
                assert torch.equal(one.read(ids, slot), two.read(ids, slot))
            assert one._core.progress == two._core.progress
        assert torch.equal(self.model["dense"].weight, other.model["dense"].weight)
        assert self.sparse.param_groups[0]["lr"] == other.sparse.param_groups[0]["lr"]


@pytest.fixture
def whole():
    run = Run()
    run.train(0, 15)
    return run


# ---- in memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [6, 7])  # 7: between the two calls of one update
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3)])
def test_state_dicts(whole, at, order):
    run = Run()
    run.train(0, at)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in run.parts()], file)
    run.train(at, 15)  # and what was saved is no view of it
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = Run()
    again.train(0, 3)  # what is loaded replaces what was there
    for i in order:
        again.parts()[i].load_state_dict(saved[i])
    again.train(at, 15)
    again.assert_same(whole)
    run.assert_same(whole)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
@pytest.mark.parametrize("at", [6, 7])
def test_copies(whole, way, at):
    run = Run()
    run.train(0, at)
    again = way(run)
    again.train(at, 15)
    again.assert_same(whole)
    run.train(at, 15)
    run.assert_same(whole)


def test_gradients_that_wait_are_saved():
    one = HashTable([2], initializer=1.0)
    optimizer = SparseAdamW({"t": one})
    one(torch.arange(3)).sum().backward()
    two = HashTable([2], initializer=1.0)
    other = SparseAdamW({"t": two})
    two.load_state_dict(one.state_dict())
    optimizer.step()
    other.step()
    assert torch.equal(one.embeddings(), two.embeddings())
    assert (one.embeddings() != 1).all()


def test_a_model_is_loaded_before_its_optimizer_is_made(whole):
    run = Run()
    run.train(0, 6)
    table = HashTable([4], name="users", admit_count=2, admit_counters=1000)
    table.load_state_dict(run.model["u"].state_dict())
    SparseAdamW({"users": table})
    ids = table.ids()
    assert torch.equal(table.read(ids, "exp_avg"), run.model["u"].read(ids, "exp_avg"))
    assert table.read(ids, "exp_avg").abs().sum() > 0


def test_forgotten_tables_are_noticed():
    run = Run()
    run.train(0, 6)
    again = Run()
    again.sparse.load_state_dict(run.sparse.state_dict())
    with pytest.raises(RuntimeError, match='table "users" has made 0 steps; .* after 3'):
        again.sparse.step()


def test_optimizers_are_loaded_by_name():
    def make(names):
        tables = {name: HashTable([2], name=name) for name in names}
        return tables, SparseAdamW(tables)

    tables, optimizer = make(["a", "b"])
    tables["a"](torch.arange(2)).sum().backward()
    optimizer.step()
    others, other = make(["b", "a"])
    other.load_state_dict(optimizer.state_dict())
    for name in tables:
        others[name].load_state_dict(tables[name].state_dict())
    other.step()
    assert others["a"]._core.progress[0] == 1 and others["b"]._core.progress[0] == 0
    _, third = make(["a", "c"])
    with pytest.raises(ValueError, match="has the tables a, b where this optimizer has a, c"):
        third.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        third.load_state_dict({"state": {}, "param_groups": []})


def test_state_that_does_not_fit():
    table = HashTable([2])
    first = SparseAdamW({"t": table})
    table(torch.arange(3))
    state = table.state_dict()
    for other, error, text in (
        (HashTable([3]), ValueError, "has width 3"),
        (HashTable([2], dtype=torch.float64), ValueError, "of F64"),
        (HashTable([2], name="else"), ValueError, 'no table "else"'),
        (HashTable([2], seed=5), ValueError, "another seed"),
    ):
        other(torch.arange(5))
        rows = other.embeddings()
        with pytest.raises(error, match=text):
            other.load_state_dict(state)
        assert torch.equal(rows, other.embeddings())
    adam = HashTable([2])
    second = SparseAdam({"t": adam})
    with pytest.raises(RuntimeError, match='follows "sparse_adam" of its optimizer'):
        adam.load_state_dict(state)
    damaged = copy.deepcopy(state)
    damaged["_extra_state"]["table"][-100] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        HashTable([2]).load_state_dict(damaged)
    for wrong in (None, {}, {"format": 2}, 5):
        with pytest.raises(ValueError, match="not one of HashTable.state_dict"):
            HashTable([2]).load_state_dict({"_extra_state": wrong})
    assert first is not second


def without(state, *path):
    """A copy of a dict in which the entry at `path` is missing."""
    state = copy.deepcopy(state)
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return state


def test_state_that_is_incomplete():
    """What is missing is named, and nothing changes."""
    table = HashTable([2])
    optimizer = SparseAdamW({"t": table})
    table(torch.arange(3)).sum().backward()
    optimizer.step()
    state, progress = table.state_dict(), optimizer.state_dict()
    table(torch.arange(4)).sum().backward()
    optimizer.step()
    rows = table.embeddings()
    for path in (("table",), ("rule",), ("rule", "name"), ("rule", "values"), ("rule", "bias")):
        with pytest.raises(ValueError, match=f'the state.* has no "{path[-1]}"'):
            table.load_state_dict({"_extra_state": without(state["_extra_state"], *path)})
        assert torch.equal(rows, table.embeddings())
    optimizer.param_groups[0]["lr"] = 0.5
    for path in (("state",), ("param_groups",), ("state", 0, "beta1"), ("param_groups", 0, "params")):
        with pytest.raises(ValueError, match=f'the loaded state dict has no "{path[-1]}"'):
            optimizer.load_state_dict(without(progress, *path))
        assert optimizer.param_groups[0]["lr"] == 0.5
    table.load_state_dict(state)
    optimizer.load_state_dict(without(progress, "param_groups", 0, "lr"))
    assert optimizer.param_groups[0]["lr"] == 0.5  # as it was
    table(torch.arange(3)).sum().backward()
    optimizer.step()


def test_a_table_that_stays_out_of_state_dicts():
    table = HashTable([2], persistent=False)
    table(torch.arange(3))
    assert table.state_dict() == {}
    table.load_state_dict({})
    assert table.count == 3


def test_what_cannot_be_pickled_says_so():
    table = HashTable([2], evicted=lambda keys, rows: None)
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(table)
    assert copy.deepcopy(table)._options.evicted is table._options.evicted


# ---- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [8, 9])
def test_snapshots(whole, tmp_path, at):
    """A full one and increments, written by another thread while training goes on; the dense part rides
    along."""
    run = Run()
    tables = filter_out_sparse_param(run.model)
    threads = []
    for step in range(at):
        run.train(step, step + 1)
        if step not in (2, 4, 5, at - 1):
            continue
        for thread in threads:
            thread.join()
        snapshot = Snapshot(tables, increment=step > 2)
        extras = {k: v.clone() for k, v in run.model["dense"].state_dict().items()}
        extras["step"] = torch.tensor(step)

        def write(snapshot=snapshot, extras=extras):
            snapshot.write(tmp_path, extras)

        threads = [threading.Thread(target=write)]
        threads[0].start()
        run.train(step + 1, step + 1)
        threads[0].join()
        assert snapshot.nbytes > 0 and snapshot.rows >= 0
        snapshot.close()
        run.model.state_dict()  # a copy in memory does not disturb the sequence
    again = Run()
    again.train(0, 2)
    found = restore(tmp_path, filter_out_sparse_param(again.model))
    assert (found.files, found.problem) == (4, "")
    assert found.path == sorted(glob.glob(str(tmp_path / "*")))[-1]
    assert found.extras.pop("step").item() == at - 1
    again.model["dense"].load_state_dict(found.extras)
    again.sparse.load_state_dict(run.sparse.state_dict())
    again.schedule.load_state_dict(run.schedule.state_dict())
    again.train(at, 15)
    again.assert_same(whole)


def test_snapshots_that_fail(tmp_path):
    run = Run()
    run.train(0, 3)
    tables = filter_out_sparse_param(run.model)
    with pytest.raises(ValueError, match="an increment needs a full snapshot before it"):
        Snapshot(tables, increment=True)
    with pytest.raises(ValueError, match="given twice"):
        Snapshot([tables["users"], tables["users"]])
    with pytest.raises(TypeError, match="tables must be HashTables, not int"):
        Snapshot([5])
    with Snapshot(tables) as snapshot:
        with pytest.raises(OSError, match="No such file"):
            snapshot.write("/nonexistent/place")
        with pytest.raises(ValueError, match="has not been freed"):
            Snapshot(tables)
        with pytest.raises(TypeError, match="torch.complex64, which files do not hold"):
            snapshot.write(tmp_path, {"z": torch.ones(1, dtype=torch.complex64)})
        snapshot.write(tmp_path)
    with pytest.raises(RuntimeError, match="has been freed"):
        snapshot.write(tmp_path)
    snapshot.close()
    other = Run(rule="adamw")
    other.train(0, 2)
    rows = other.model["i"].embeddings()
    with pytest.raises(ValueError, match='follows "adamw"; the snapshot\'s follows "sparse_adamw"'):
        restore(tmp_path, filter_out_sparse_param(other.model))
    assert torch.equal(rows, other.model["i"].embeddings())
    with pytest.raises(OSError, match="no full snapshot"):
        restore(tmp_path.parent, tables)


def test_rows_by_key(tmp_path):
    """Three shards out, two in, read by the safetensors package as well."""
    table = HashTable([3], name="t", initializer=initial.normal(0, 1))
    SparseAdamW({"t": table})
    table(torch.randint(-500, 500, (300,))).sum().backward()
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for i, path in enumerate(paths):
        table.export_rows(path, i, 3)
    parts = []
    for shard in range(2):
        part = HashTable([3], name="t", dtype=torch.float64)
        SparseAdamW({"t": part})
        for path in paths:
            part.import_rows(path, shard, 2)
        parts.append(part)
        ids = part.ids()
        torch.testing.assert_close(part.read(ids), table.read(ids).double(), rtol=0, atol=0)
    assert sorted(torch.cat([p.ids() for p in parts]).tolist()) == sorted(table.ids().tolist())
    safetensors = pytest.importorskip("safetensors.torch")
    loaded = safetensors.load_file(paths[0])
    assert set(loaded) == {
        "t@id", "t@embedding", "t@sparse_adamw_exp_avg", "t@sparse_adamw_exp_avg_sq", "t@counts",
        "t@sparse_adamw_step", "t@sparse_adamw_beta1", "t@sparse_adamw_beta2", "t@global_step",
        "t@tick", "t@clock",
    }  # fmt: skip
    torch.testing.assert_close(table.read(loaded["t@id"]), loaded["t@embedding"], rtol=0, atol=0)
    with pytest.raises(ValueError, match="no list of keys"):
        HashTable([3], name="u").import_rows(paths[0])
