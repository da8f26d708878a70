# SPDX-License-Identifier: Apache-2.0
"""GradScaler and the gradients of tables: it finds infinities in them, skips, and its unscale_() holds."""

import copy
import math
import pickle

import pytest
import torch

from hone.sparse import HashTable, SparseAdamW

KEYS = torch.arange(3)


def make():
    table = HashTable([4], name="t", initializer=0.5)
    return table, SparseAdamW({"t": table}, lr=0.1)


def backward(table, scaler, factor=1.0, keys=KEYS):
    scaler.scale((table(keys) * factor).sum()).backward()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("lookups", [1, 2, 3])
def test_infinity_skips_the_step(bad, unscaled, lookups):
    table, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for turn in range(lookups):  # more than one look-up: gradients add up in the library
        backward(table, scaler, bad if turn == 0 else 1.0)
    if unscaled:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    assert torch.equal(table.read(KEYS), torch.full((3, 4), 0.5)) and optimizer.report == {}
    optimizer.zero_grad()
    backward(table, scaler)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0 and optimizer.report["t"]["stepped"] == 3


@pytest.mark.parametrize("lookups", [1, 2])
def test_unscaled_gradients_are_those_without_a_scaler(lookups):
    table, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plain, reference = make()
    for _ in range(2):
        for turn in range(lookups):
            backward(table, scaler, 0.25 + turn)
            (plain(KEYS) * (0.25 + turn)).sum().backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        reference.step()
    for slot in (None, "exp_avg", "exp_avg_sq"):
        assert torch.equal(table.read(KEYS, slot), plain.read(KEYS, slot))


def test_one_scaler_for_tables_and_parameters():
    table, optimizer = make()
    layer = torch.nn.Linear(4, 1)
    dense = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(layer(table(KEYS)).sum()).backward()
    table._receive(table._core, table._stash[0][0], torch.full((3, 4), math.inf))
    for each in (dense, optimizer):
        scaler.step(each)
    scaler.update()
    assert scaler.get_scale() == 4.0 and not torch.equal(layer.weight, before)
    assert torch.equal(table.read(KEYS), torch.full((3, 4), 0.5))


def test_nothing_waits():
    _, optimizer = make()
    holder = optimizer.param_groups[0]["params"][0]
    assert holder.grad is None and holder.is_leaf
    holder.grad = torch.ones(())
    assert holder.grad is None


def test_skipped_accumulation_goes_on():
    table, optimizer = make()
    optimizer.set_grad_accum_steps(2)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    backward(table, scaler, math.inf)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0
    for _ in range(2):
        backward(table, scaler, keys=KEYS + 5)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 4.0 and optimizer.report["t"]["applied"]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_have_holders_of_their_own(way):
    table, optimizer = make()
    table(KEYS).sum().backward()
    other, copied = way((table, optimizer))
    assert copied.param_groups[0]["params"][0] is other._holder
    assert other._holder.grad is None and table._holder.grad is not None
    other(KEYS).sum().backward()
    assert other._holder.grad.item() == 1.0


@pytest.mark.parametrize("way", ["load", "reset"])
def test_a_table_with_another_content_is_still_seen(way):
    table, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    if way == "load":
        table.load_state_dict(make()[0].state_dict())
    else:
        table.reset()
    backward(table, scaler)
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    plain, reference = make()
    plain(KEYS).sum().backward()
    reference.step()
    assert torch.equal(table.read(KEYS, "exp_avg"), plain.read(KEYS, "exp_avg"))
