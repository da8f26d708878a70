# SPDX-License-Identifier: Apache-2.0
"""HashTable as a module: shapes, modes, autograd, options, and everything it must refuse."""

import gc
import os
import threading
import time
import weakref

import pytest
import torch

from hone.sparse import (
    HashTable,
    SparseAdamW,
    SparseOptimizer,
    filter_out_sparse_param,
    initial,
)

IDS = torch.tensor([[3, 1, 3], [-(2**63), 2**63 - 1, 0]])


# ---- look-up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (2, 3), (2, 0, 4), (2, 3, 4)])
@pytest.mark.parametrize("row", [(1,), (4,), (2, 3)])
def test_shapes(shape, row):
    table = HashTable(list(row))
    ids = torch.randint(10, shape)
    out = table(ids)
    assert out.shape == (*shape, *row)
    assert out.requires_grad
    assert table.count == ids.unique().numel()
    for index in range(ids.numel()):
        expected = table.read(ids.flatten()[index])
        torch.testing.assert_close(out.reshape(-1, *row)[index], expected, rtol=0, atol=0)


def test_modes():
    table = HashTable([2], initializer=1.5)
    table(torch.tensor([1, 2]))
    table.eval()
    out = table(torch.tensor([1, 5, 2]))
    assert not out.requires_grad
    assert out.tolist() == [[1.5, 1.5], [0, 0], [1.5, 1.5]]
    assert table.count == 2
    assert table.contains(torch.tensor([1, 5])).tolist() == [True, False]
    table.train()
    with torch.no_grad():
        assert not table(torch.tensor([7])).requires_grad
    assert table.count == 3
    with torch.inference_mode():
        assert table(torch.tensor([7])).tolist() == [[1.5, 1.5]]


def test_ids_that_are_not_plain():
    table = HashTable([2])
    base = torch.arange(12).reshape(3, 4)
    for ids in (base.T, base[:, ::2], base.int(), torch.tensor(5).expand(4), base.unsqueeze(1)):
        torch.testing.assert_close(table(ids), table.read(ids.long()), rtol=0, atol=0)


def test_first_values_depend_on_the_key_alone():
    first, second = HashTable([8], name="a"), HashTable([8], name="a")
    first(torch.arange(100))
    second(torch.arange(99, -1, -1))
    torch.testing.assert_close(first.read(IDS % 100), second.read(IDS % 100), rtol=0, atol=0)
    for other in (HashTable([8], name="b"), HashTable([8], name="a", seed=1)):
        other(torch.arange(100))
        assert not torch.equal(other.read(torch.arange(100)), first.read(torch.arange(100)))


@pytest.mark.parametrize(
    "chosen, mean, std, most",
    [
        (initial.constant(2.0), 2.0, 0.0, 2.0),
        (initial.uniform(-1, 3), 1.0, 4 / 12**0.5, 3.0),
        (initial.normal(1.0, 0.5), 1.0, 0.5, 5.0),
        (initial.truncated_normal(0.0, 1.0), 0.0, 0.88, 2.0),
        (initial.xavier_uniform(), 0.0, 0.25, (3 / 16) ** 0.5),
        (initial.xavier_normal(2.0), 0.0, 0.5, 5.0),
        (initial.kaiming_uniform(), 0.0, 2**0.5 / 4, (6 / 16) ** 0.5),
        (initial.kaiming_normal(), 0.0, 2**0.5 / 4, 5.0),
    ],
)
def test_first_values(chosen, mean, std, most):
    values = HashTable([16], initializer=chosen)(torch.arange(5000)).detach()
    assert values.mean().item() == pytest.approx(mean, abs=0.02)
    assert values.std().item() == pytest.approx(std, abs=0.02)
    assert values.abs().max() <= most


def test_bags():
    table = HashTable([2], initializer=initial.normal(0, 1))
    rows = table.read
    ids = torch.tensor([4, 5, 4, 6])
    with torch.no_grad():
        table(ids)
    offsets = torch.tensor([0, 3, 3])
    expected = torch.stack([rows(ids[:3]).sum(0), torch.zeros(2), rows(ids[3:]).sum(0)])
    torch.testing.assert_close(table(ids, offsets, mode="sum"), expected)
    ending = torch.tensor([0, 3, 3, 4], dtype=torch.int32)
    torch.testing.assert_close(table(ids, ending, mode="sum", include_last_offset=True), expected)
    torch.testing.assert_close(
        table(ids.reshape(2, 2), mode="mean"), rows(ids).reshape(2, 2, 2).mean(1)
    )
    assert table(ids[:0], torch.zeros(2, dtype=torch.int64), mode="mean").tolist() == [[0, 0]] * 2
    assert table(ids[:0], ids[:0], mode="sum").shape == (0, 2)
    table.eval()
    torch.testing.assert_close(table(ids, offsets, mode="sum"), expected)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    out = table(torch.tensor([4, 99, 4, 6]), offsets, weights, mode="mean")  # 99 has no row: zeros
    torch.testing.assert_close(out[0], rows(torch.tensor(4)) * 4 / 3)


def test_weights_of_a_mean_have_gradients():
    table = HashTable([3], dtype=torch.float64, initializer=initial.normal(0, 1))
    ids, offsets = torch.tensor([1, 2, 3, 1]), torch.tensor([0, 0, 2])
    weights = torch.rand(4, dtype=torch.float32, requires_grad=True)
    slopes = torch.randn(3, 3, dtype=torch.float64)
    (table(ids, offsets, weights, mode="mean") * slopes).sum().backward()
    rows = table.read(ids)
    expected = (rows * slopes[[1, 1, 2, 2]]).sum(1) / 2
    torch.testing.assert_close(weights.grad, expected.float())


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_double_weights_stay_double(mode):
    table = HashTable([3], dtype=torch.float64, initializer=initial.normal(0, 1))
    ids, offsets = torch.tensor([1, 2, 3, 1, 2]), torch.tensor([0, 3])
    weights = torch.rand(5, dtype=torch.float64) / 3
    out = table(ids, offsets, weights, mode=mode)
    weighted = table.read(ids) * weights[:, None]
    expected = torch.stack([weighted[:3].sum(0), weighted[3:].sum(0)])
    if mode == "mean":
        expected /= torch.tensor([[3], [2]])
    torch.testing.assert_close(out, expected, rtol=1e-15, atol=1e-15)


# ---- gradients ---------------------------------------------------------------------------------------


def one_step(table, *backward):
    optimizer = SparseOptimizer({"t": table}, "sgd", lr=1.0)
    for call in backward:
        call()
    before = table.read(torch.arange(5))
    optimizer.step()
    return before - table.read(torch.arange(5))


def test_gradients_of_several_look_ups_add_up():
    table = HashTable([2], dtype=torch.float64)
    ids = torch.arange(5)

    def both():
        (table(ids[:3]).sum() + 2 * table(ids[2:]).sum()).backward()

    moved = one_step(table, both, lambda: (table(ids[4]) * 5).sum().backward())
    torch.testing.assert_close(moved[:, 0], torch.tensor([1.0, 1.0, 3.0, 2.0, 7.0]).double())


def test_backward_twice():
    table = HashTable([2], dtype=torch.float64)

    def twice():
        loss = table(torch.arange(5)).sum()
        loss.backward(retain_graph=True)
        loss.backward()

    torch.testing.assert_close(one_step(table, twice), torch.full((5, 2), 2.0).double())


def test_a_step_consumes_gradients_and_zero_grad_forgets_them():
    table = HashTable([2], dtype=torch.float64)
    optimizer = SparseOptimizer({"t": table}, "sgd", lr=1.0)
    table(torch.arange(3)).sum().backward()
    optimizer.zero_grad()
    before = table.read(torch.arange(3))
    optimizer.step()
    assert torch.equal(before, table.read(torch.arange(3)))
    table(torch.arange(3)).sum().backward()
    optimizer.step()
    after = table.read(torch.arange(3))
    assert not torch.equal(before, after)
    optimizer.step()
    assert torch.equal(after, table.read(torch.arange(3)))


def test_a_graph_that_is_dropped_leaves_nothing():
    table = HashTable([2])
    SparseAdamW({"t": table})
    for _ in range(20):
        table(torch.arange(100))
    table(torch.arange(100)).sum().backward()
    table.zero_grad()
    report = table._core.step()
    assert not report["applied"]


def test_gradients_come_in_any_form():
    """Expanded, transposed, and through autocast."""
    table = HashTable([4], dtype=torch.float64)

    def expanded():
        table(torch.arange(5)).sum().backward()

    def transposed():
        slopes = torch.arange(20, dtype=torch.float64).reshape(4, 5)
        out = table(torch.arange(5))
        out.backward(slopes.T)

    moved = one_step(table, expanded, transposed)
    torch.testing.assert_close(moved, torch.arange(20).reshape(4, 5).T.double() + 1)
    single = HashTable([4])
    linear = torch.nn.Linear(4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear(single(torch.arange(5))).sum().backward()
    before = single.read(torch.arange(5))
    SparseAdamW({"t": single}).step()  # one gradient may wait for its optimizer
    assert not torch.equal(before, single.read(torch.arange(5)))


def test_a_gradient_that_is_changed_before_the_step_is_refused():
    """It waits without a copy; the caller may still hold it, or a view of its memory."""
    ids = torch.arange(3)
    other, table = HashTable([2], name="other"), HashTable([2], name="t")
    optimizer = SparseOptimizer({"other": other, "t": table}, "sgd", lr=1.0)
    before, untouched = table(ids).detach(), other(ids).detach()
    memory = torch.ones(4, 2)
    for grad in (memory[:3], torch.ones(3, 2)):
        other(ids).sum().backward()
        table(ids).backward(grad)
        (memory if grad.data_ptr() == memory.data_ptr() else grad).fill_(100.0)
        with pytest.raises(RuntimeError, match='table "t": the gradient .* was changed in place'):
            optimizer.step()
        assert torch.equal(table.read(ids), before) and torch.equal(other.read(ids), untouched)
        with pytest.raises(RuntimeError, match="changed in place"):
            table(ids).backward(torch.ones(3, 2))  # would be added to it
        optimizer.zero_grad()
    grad = torch.full((3, 2), 2.0)
    table(ids).backward(grad)
    optimizer.step()
    grad.fill_(100.0)  # after the step it is the caller's again
    optimizer.step()
    assert torch.equal(table.read(ids), before - 2)
    with torch.inference_mode():
        grad = torch.full((3, 2), 2.0)
    table(ids).backward(grad)
    optimizer.step()
    assert torch.equal(table.read(ids), before - 2 - 2)


def test_a_gradient_of_an_erased_row_is_dropped():
    table = HashTable([2], initializer=1.0)
    optimizer = SparseAdamW({"t": table})
    table(torch.arange(4)).sum().backward()
    assert table.erase(torch.tensor([1, 1, 2, 9])) == 2
    table(torch.tensor([1]))
    optimizer.step()
    assert optimizer.report["t"] == {"applied": True, "stepped": 2, "stale": 2, "quarantined": 0}
    assert table.read(torch.tensor([1, 2])).tolist() == [[1, 1], [0, 0]]
    out = table(torch.arange(2))
    table.reset()
    out.sum().backward()
    optimizer.step()
    assert not optimizer.report["t"]["applied"]


# ---- options -----------------------------------------------------------------------------------------


def test_admission():
    table = HashTable([2], admit_count=3, initializer=1.0)
    for sights in range(4):
        assert table(torch.tensor([5])).sum().item() == (2.0 if sights >= 2 else 0.0)
    rare = HashTable([2], admit_probability=0.0)
    assert rare(torch.arange(50)).abs().sum() == 0 and rare.count == 0


def test_eviction_by_policy_tells_what_went():
    told = []
    table = HashTable([2, 2], initializer=initial.normal(), evicted=lambda k, r: told.append((k, r)))
    rows = table(torch.arange(10)).detach()
    for _ in range(3):
        table(torch.arange(5))
    assert table.evict(unseen_lookups=3) == 5
    (keys, values), = told
    assert sorted(keys.tolist()) == [5, 6, 7, 8, 9]
    torch.testing.assert_close(values, rows[keys], rtol=0, atol=0)
    assert table.evict(least_frequency=2) == 0
    table.set_clock(100)
    assert table.evict(unseen_time=100, most_rows=20) == 5
    assert table.count == 0 and len(told) == 2


@pytest.mark.parametrize("evict", ["oldest", "rarest"])
def test_a_byte_budget(evict):
    told = []
    table = HashTable(
        [16], max_bytes=1_000_000, evict=evict, evicted=lambda keys, rows: told.extend(keys.tolist())
    )
    SparseAdamW({"t": table})
    for step in range(40):
        table(torch.arange(step * 500, step * 500 + 500))
        assert table.nbytes <= 1_000_000
    assert len(told) == 40 * 500 - table.count > 0
    assert not set(told) & set(table.ids().tolist())


def test_the_callback_may_use_the_table_and_may_fail():
    def evicted(keys, rows):
        table.insert(keys + 1000, rows)

    table = HashTable([2], evicted=evicted)
    table(torch.arange(4))
    table.evict(unseen_lookups=0, least_frequency=9)
    assert sorted(table.ids().tolist()) == [1000, 1001, 1002, 1003]

    def broken(keys, rows):
        raise KeyError("mine")

    table = HashTable([2], evicted=broken)
    table(torch.arange(4))
    with pytest.raises(KeyError, match="mine"):
        table.evict(least_frequency=9)
    assert table.count == 0


@pytest.mark.parametrize("policy", ["propagate", "error", "quarantine"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_that_are_not_finite(policy, accumulate):
    table = HashTable([2], nonfinite=policy, initializer=1.0)
    optimizer = SparseAdamW({"t": table})
    optimizer.set_grad_accum_steps(accumulate)
    slopes = torch.tensor([[1.0, 1.0], [float("nan"), 1.0]])
    for call in range(accumulate):
        (table(torch.arange(2)) * slopes).sum().backward()
        if call < accumulate - 1:
            optimizer.step()
    if policy == "error":
        with pytest.raises(RuntimeError, match='table "hashtable": 1 rows have gradients'):
            optimizer.step()
        assert table.read(torch.arange(2)).tolist() == [[1, 1], [1, 1]]
        optimizer.zero_grad()
        optimizer.step()
        return
    optimizer.step()
    moved = table.read(torch.arange(2)) != 1
    assert moved.all() if policy == "propagate" else moved.tolist() == [[True, True], [False, False]]
    assert optimizer.report["t"]["quarantined"] == (policy == "quarantine")


def test_rows_and_states_by_hand():
    table = HashTable([2])
    SparseAdamW({"t": table})
    table.insert(torch.tensor([5, 6, 5]), torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    assert table.read(torch.tensor([5, 6, 7])).tolist() == [[5, 6], [3, 4], [0, 0]]
    table.insert(torch.tensor([6]), torch.tensor([[7.0, 8.0]], dtype=torch.bfloat16), "exp_avg_sq")
    assert table.read(torch.tensor([6]), "exp_avg_sq").tolist() == [[7, 8]]
    assert table.ids().tolist() == [5, 6] and table.embeddings().tolist() == [[5, 6], [3, 4]]
    row = HashTable([4])
    SparseOptimizer({"t": row}, "rowwise_adam")
    row(torch.arange(3))
    assert row.read(torch.arange(3), "exp_avg_sq").shape == (3, 1)
    assert row.read(torch.arange(3), "exp_avg").shape == (3, 4)


# ---- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, text, call",
    [
        (TypeError, "ids must be a Tensor, not list", lambda t: t([1, 2])),
        (TypeError, "ids is torch.float32; it must be torch.int64", lambda t: t(torch.ones(2))),
        (TypeError, "ids is torch.bool", lambda t: t(torch.ones(2, dtype=torch.bool))),
        (RuntimeError, "without memory", lambda t: t(torch.ones(2, dtype=torch.int64, device="meta"))),
        (TypeError, "torch.sparse_coo", lambda t: t(torch.ones(2, dtype=torch.int64).to_sparse())),
        (ValueError, "need mode=", lambda t: t(IDS[0], torch.tensor([0]))),
        (ValueError, "mode is 'max'", lambda t: t(IDS, mode="max")),
        (ValueError, "1 dimensions; without offsets it must have 2", lambda t: t(IDS[0], mode="sum")),
        (ValueError, "2 dimensions; with offsets", lambda t: t(IDS, torch.tensor([0]), mode="sum")),
        (ValueError, "offsets run from 1 to 3", lambda t: t(IDS[0], torch.tensor([1]), mode="sum")),
        (ValueError, "offset 2 is 1, below", lambda t: t(IDS[0], torch.tensor([0, 2, 1]), mode="sum")),
        (ValueError, "offsets run from 0 to 2",
         lambda t: t(IDS[0], torch.tensor([0, 2]), mode="sum", include_last_offset=True)),
        (ValueError, "offsets has shape",
         lambda t: t(IDS[0], torch.tensor([[0]]), mode="sum")),
        (ValueError, "per_sample_weights has shape",
         lambda t: t(IDS[0], torch.tensor([0]), torch.ones(2), mode="sum")),
        (TypeError, "per_sample_weights is torch.int64",
         lambda t: t(IDS[0], torch.tensor([0]), IDS[0], mode="sum")),
        (ValueError, "must hold 3 rows of 2 values", lambda t: t.insert(IDS[0], torch.ones(3, 3))),
        (TypeError, "embeddings is torch.int64", lambda t: t.insert(IDS[0], IDS)),
        (KeyError, 'did you mean "exp_avg"', lambda t: t.read(IDS, "exp_avgs")),
        (ValueError, "unseen_lookups is -1", lambda t: t.evict(unseen_lookups=-1)),
        (ValueError, "least_norm is nan", lambda t: t.evict(least_norm=float("nan"))),
        (OSError, "No such file", lambda t: t.export_rows("/nonexistent/place", 0, 1)),
        (ValueError, "shard", lambda t: t.export_rows("/tmp/x", 3, 2)),
        (TypeError, "now must be an int", lambda t: t.set_clock(1.5)),
    ],
)  # fmt: skip
def test_bad_calls(error, text, call):
    table = HashTable([2])
    SparseAdamW({"t": table})
    table(IDS)
    rows = table.embeddings()
    with pytest.raises(error, match=text):
        call(table)
    assert torch.equal(rows, table.embeddings())


@pytest.mark.parametrize(
    "error, text, arguments",
    [
        (ValueError, "a length of embedding_shape is 0", {"embedding_shape": [0]}),
        (ValueError, "width is 8192", {"embedding_shape": [4096, 2]}),
        (TypeError, "must be an int, not float", {"embedding_shape": [2.0]}),
        (TypeError, "dtype is torch.int64", {"dtype": torch.int64}),
        (TypeError, "dtype is torch.int8", {"state_dtype": torch.int8}),
        (ValueError, "name is ''", {"name": ""}),
        (ValueError, "name is 'a@b'", {"name": "a@b"}),
        (ValueError, "device is meta", {"device": "meta"}),
        (ValueError, "nonfinite is 'ignore'", {"nonfinite": "ignore"}),
        (ValueError, "evict is 'some'", {"evict": "some"}),
        (ValueError, "admit_count is 256", {"admit_count": 256}),
        (ValueError, "admit_probability is 1.5", {"admit_probability": 1.5}),
        (ValueError, "max_bytes is 10;", {"max_bytes": 10}),
        (ValueError, "seed is -1", {"seed": -1}),
        (TypeError, "evicted must be a callable", {"evicted": 5}),
        (TypeError, "initializer must come from", {"initializer": "normal"}),
        (ValueError, "deviation, is -1", {"initializer": initial.normal(0, -1)}),
        (ValueError, "coalesced", {"coalesced": True}),
        (ValueError, "grad_reduce_by is 'id'", {"grad_reduce_by": "id"}),
    ],
)
def test_bad_options(error, text, arguments):
    with pytest.raises(error, match=text):
        HashTable(**{"embedding_shape": [2], **arguments})


def test_fake_tensors_are_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    table = HashTable([2])
    with FakeTensorMode() as mode:
        ids = mode.from_tensor(torch.arange(3))
        with pytest.raises(RuntimeError, match="without memory"):
            table(ids)


def test_two_tables_of_one_name():
    model = torch.nn.ModuleList([HashTable([2]), HashTable([2])])
    with pytest.raises(ValueError, match='two tables of the model are called "hashtable"'):
        filter_out_sparse_param(model)


# ---- threads, processes, memory ----------------------------------------------------------------------


def test_threads_take_turns():
    """Rows that are only looked up and erased have their first values, whoever made them."""
    table, first = HashTable([4]), HashTable([4])
    with torch.no_grad():
        rows = first(torch.arange(400))
    problems = []

    def work(number):
        try:
            for _ in range(30):
                ids = torch.arange(number * 50, number * 50 + 200)
                assert torch.equal(table(ids).detach(), rows[ids])
                table.erase(ids[:3])
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(set(table.ids().tolist())) == table.count


def test_other_threads_run_during_a_call():
    table = HashTable([16])
    ids = torch.randint(2**62, (1_500_000,))
    done = threading.Event()

    def work():
        with torch.no_grad():
            table(ids)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        time.sleep(0.0005)
        turns += 1
    thread.join()
    assert turns > 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_told():
    table = HashTable([2])
    table(torch.arange(5000))  # with all threads
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        text = "no error"
        try:
            table(torch.arange(5000))
        except RuntimeError as error:
            text = str(error)
        mine = HashTable([2], name="mine")
        mine(torch.arange(5000))
        os.write(write, f"{text}|{mine.count}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    text, count = os.read(read, 1000).decode().split("|")
    assert "threads do not survive a fork" in text
    assert count == "5000"
    os.close(read), os.close(write)


def test_memory_is_freed():
    """Also in a circle with its own callback."""

    def make():
        table = HashTable([2], evicted=lambda keys, rows: table)
        optimizer = SparseAdamW({"t": table})
        table(torch.arange(5)).sum().backward()
        return weakref.ref(table), weakref.ref(optimizer)

    references = make()
    gc.collect()
    assert [r() for r in references] == [None, None]
