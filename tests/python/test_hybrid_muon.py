# SPDX-License-Identifier: Apache-2.0
"""The optimizer of a MuonSpec: which parameter goes where, what either part computes, and the files it
reads and writes."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

pytest.importorskip("pydantic")

from hone.optim import lr_scheduler  # noqa: E402
from hone.specs import HybridMuonOptimizer, MuonSpec  # noqa: E402

F64 = torch.float64


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(3, 16)
        self.transformer = nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24), nn.Linear(24, 16))
        self.scoring_head = nn.Linear(16, 1)

    def forward(self, x):
        return self.scoring_head(self.transformer(self.embedding(x)))


MATRICES = ["transformer.0.weight", "transformer.2.weight"]


@pytest.fixture
def net():
    torch.manual_seed(1)
    return Net().double()


def names(net, optimizer):
    of = {parameter: name for name, parameter in net.named_parameters()}
    return [([of[p] for p in group["params"]], group["lr"]) for group in optimizer.param_groups]


def train(net, optimizer, steps=3, seed=7):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(5, 3, generator=generator, dtype=F64)).square().sum().backward()
        optimizer.step()


def parts(net, lr=0.02, adamw_lr=0.0003):
    """The two optimizers of PyTorch that the published code puts side by side."""
    matrices = [p for n, p in net.named_parameters() if n in MATRICES]
    rest = [p for n, p in net.named_parameters() if n not in MATRICES]
    return torch.optim.Muon(matrices, lr=lr), torch.optim.AdamW(
        rest, lr=adamw_lr, weight_decay=0.01
    )


# ---- who goes where ------------------------------------------------------------------------------


def test_muons_group_comes_first_and_adamws_by_rate(net):
    net.embedding.bias.requires_grad_(False)
    optimizer = MuonSpec().create_optimizer(net, {net.scoring_head: 5.0, net.embedding: 0.5})
    groups = names(net, optimizer)
    assert [group["rule"] for group in optimizer.param_groups] == [
        "muon",
        "adamw",
        "adamw",
        "adamw",
    ]
    assert groups[0] == (MATRICES, 0.02)
    assert groups[1] == (["embedding.weight"], 0.0003 * 0.5)
    assert [rate for _, rate in groups[2:]] == [0.0003, 0.0003 * 5.0]
    assert groups[3][0] == ["scoring_head.weight", "scoring_head.bias"]
    assert optimizer.routing.muon == MATRICES
    assert "embedding.weight" in optimizer.routing.adamw
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert optimizer.param_groups[1]["weight_decay"] == 0.01


@pytest.mark.parametrize(
    "split, chosen",
    [
        (None, MATRICES),
        ("matrices", ["embedding.weight", *MATRICES, "scoring_head.weight"]),
        ("hidden", MATRICES),
        (
            ["embedding.*eight", "transformer.2.weight"],
            ["embedding.weight", "transformer.2.weight"],
        ),
        (lambda name, p: p.shape == (24, 16), ["transformer.0.weight"]),
    ],
    ids=["documented", "matrices", "hidden", "patterns", "function"],
)
def test_splits(net, split, chosen):
    optimizer = MuonSpec().create_optimizer(net, split=split)
    assert names(net, optimizer)[0][0] == chosen


def test_a_split_may_list_parameters_or_be_part_of_the_recipe(net):
    chosen = [net.transformer[2].weight]
    assert names(net, MuonSpec().create_optimizer(net, split=chosen))[0][0] == MATRICES[1:]
    spec = MuonSpec(split=["*.0.weight"])
    assert names(net, spec.create_optimizer(net))[0][0] == MATRICES[:1]
    with pytest.warns(UserWarning, match=r"patterns that match no parameter: '\*.1.bia'"):
        MuonSpec(split=["*.0.weight", "*.1.bia"]).create_optimizer(net)
    with pytest.raises(ValueError, match="split must be"):
        MuonSpec().create_optimizer(net, split="matrix")
    with pytest.raises(TypeError, match="must list parameters or patterns"):
        MuonSpec().create_optimizer(net, split=[3])


def test_multipliers_of_muons_parameters_are_reported(net):
    with pytest.warns(
        UserWarning, match="do not apply to Muon's parameters: transformer.0.weight, "
    ):
        optimizer = MuonSpec().create_optimizer(net, {net.transformer: 2.0})
    assert names(net, optimizer)[0] == (MATRICES, 0.02)
    assert optimizer.routing.ignored_multipliers == MATRICES
    assert [rate for _, rate in names(net, optimizer)[1:]] == [0.0003, 0.0006]


def test_either_part_may_be_empty(net):
    only_matrices = nn.ModuleDict({"transformer": nn.Linear(2, 2, bias=False)})
    assert [g["rule"] for g in MuonSpec().create_optimizer(only_matrices).param_groups] == ["muon"]
    assert [g["rule"] for g in MuonSpec().create_optimizer(net.embedding).param_groups] == ["adamw"]


def test_several_models(net):
    other = Net().double()
    other.transformer = net.transformer
    optimizer = MuonSpec().create_optimizer_for_multiple([net, other])
    assert optimizer.routing.muon == [f"0.{name}" for name in MATRICES]
    assert "1.embedding.weight" in optimizer.routing.adamw
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 10 + 4


@pytest.mark.parametrize(
    "shape, flatten, refused",
    [((3,), True, True), ((2, 3, 2), False, True), ((2, 3, 2), True, False)],
)
def test_shapes(shape, flatten, refused):
    model = nn.Module()
    model.register_parameter("transformer", nn.Parameter(torch.ones(shape)))
    spec = MuonSpec(flatten=flatten)
    build = lambda: spec.create_optimizer(model, split=lambda name, p: True)  # noqa: E731
    if refused:
        with pytest.raises(ValueError, match="Muon only supports 2D parameters whereas we found"):
            build()
    else:
        assert build().param_groups[0]["rule"] == "muon"


def test_convolutions_are_flattened():
    torch.manual_seed(0)
    values, gradient = torch.randn(4, 3, 2, 2, dtype=F64), torch.randn(4, 3, 2, 2, dtype=F64)
    results = []
    for shape in ((4, 3, 2, 2), (4, 12)):
        model = nn.Module()
        model.weight = nn.Parameter(values.reshape(shape).clone())
        optimizer = MuonSpec(flatten=True).create_optimizer(model, split="matrices")
        for _ in range(2):
            model.weight.grad = gradient.reshape(shape).clone()
            optimizer.step()
        results.append(model.weight.detach())
    assert torch.equal(results[0].reshape(4, 12), results[1])


# ---- what it computes ----------------------------------------------------------------------------

# Computed by an independent model in double: learning rate 0.02, decay 0.1, momentum 0.95, nesterov.
P0, G1, G2 = (
    [[1, 0], [0, 1], [0.5, -0.5]],
    [[0.1, 0.2], [-0.3, 0.1], [0.05, 0]],
    [[0.2, -0.1], [0, 0.1], [0.1, 0.3]],
)
P1 = [
    [0.989815941679, -0.015125952738],
    [0.0257115279386, 0.989857347143],
    [0.494742348986, -0.498917189073],
]
P2 = [
    [0.967426490665, -0.0133125435518],
    [0.0378636729127, 0.975888625705],
    [0.485038110805, -0.520505530602],
]
BUFFER = [[0.01475, 0.0045], [-0.01425, 0.00975], [0.007375, 0.015]]


def test_golden_numbers_of_muon():
    model = nn.ModuleDict({"transformer": nn.Linear(2, 3, bias=False)}).double()
    p = model["transformer"].weight
    p.data.copy_(torch.tensor(P0))
    optimizer = MuonSpec().create_optimizer(model)
    for gradient, expected in ((G1, P1), (G2, P2)):
        p.grad = torch.tensor(gradient, dtype=F64)
        optimizer.step()
        expected = torch.tensor(expected, dtype=F64)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-10, atol=1e-12)
    buffer = optimizer.state[p]["momentum_buffer"]
    torch.testing.assert_close(buffer, torch.tensor(BUFFER, dtype=F64), rtol=1e-12, atol=1e-15)
    assert list(optimizer.state[p]) == ["momentum_buffer"]


def polar_error(before, p, q, lr, steps=1):
    """How far two updates without their decay are apart, relatively: PyTorch rounds every product to
    bfloat16, which alone is worth 1 to 2 %."""
    decayed = before * (1 - lr * 0.1) ** steps
    return (p - q).norm() / (decayed - q).norm()


def test_both_parts_are_pytorchs(net):
    other = copy.deepcopy(net)
    optimizer = MuonSpec().create_optimizer(net)
    muon, adamw = parts(other)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        for p, q in zip(net.parameters(), other.parameters()):
            p.grad = torch.randn(p.shape, generator=generator, dtype=F64)
            q.grad = p.grad.clone()
        for o in (optimizer, muon, adamw):
            o.step()
    for (name, p), q in zip(net.named_parameters(), other.parameters()):
        if name in MATRICES:
            assert polar_error(before[name], p, q, lr=0.02, steps=3) < 3e-2
            buffers = optimizer.state[p]["momentum_buffer"], muon.state[q]["momentum_buffer"]
            torch.testing.assert_close(*buffers)
        else:
            torch.testing.assert_close(p, q)


def test_closure_runs_first(net):
    optimizer = MuonSpec().create_optimizer(net)
    x = torch.ones(2, 3, dtype=F64)

    def closure():
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        return loss

    expected = net(x).square().sum()
    before = [p.detach().clone() for p in net.parameters()]
    assert torch.equal(optimizer.step(closure), expected)
    assert all(not torch.equal(p, q) for p, q in zip(net.parameters(), before))


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_one_scheduler_drives_all_groups_and_all_keys_are_live(net):
    optimizer = MuonSpec().create_optimizer(net, {net.scoring_head: 5.0})
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.0 if epoch else 1.0)
    scheduler.step()
    train(net, optimizer, steps=1)
    before = [p.detach().clone() for p in net.parameters()]
    train(net, optimizer, steps=2)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before))
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = 1.0, 1.0  # weights vanish but for the update
    train(net, optimizer, steps=1)
    for p, q in zip(net.parameters(), before):
        assert (p - q).abs().max() > 0.1 * q.abs().max()


def test_bad_gradients(net):
    optimizer = MuonSpec().create_optimizer(net)
    p = net.embedding.weight
    p.grad = torch.sparse_coo_tensor([[0]], torch.ones(1, 3, dtype=F64), p.shape)
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step()


def test_groups_need_a_rule(net):
    optimizer = MuonSpec().create_optimizer(net)
    extra = nn.Parameter(torch.ones(2, 2))
    for group in ({"params": [("extra", extra)]}, {"params": [("extra", extra)], "rule": "sgd"}):
        with pytest.raises(ValueError, match="needs a 'rule', 'muon' or 'adamw'"):
            optimizer.add_param_group(group)
    optimizer.add_param_group({"params": [("extra", extra)], "rule": "muon", "lr": 0.5})
    assert optimizer.param_groups[-1]["momentum"] == 0.95
    assert len(optimizer.param_groups) == 3


# ---- saving --------------------------------------------------------------------------------------


def test_copies_go_on_alike(net):
    optimizer = MuonSpec().create_optimizer(net, {net.scoring_head: 5.0})
    train(net, optimizer)
    for clone in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        net2, optimizer2 = clone((net, optimizer))
        assert isinstance(optimizer2, HybridMuonOptimizer)
        assert optimizer2.routing == optimizer.routing
        train(net2, optimizer2, seed=3)
        net3, optimizer3 = copy.deepcopy((net, optimizer))
        train(net3, optimizer3, seed=3)
        assert all(torch.equal(p, q) for p, q in zip(net2.parameters(), net3.parameters()))


def published(net, muon, adamw):
    """The forms that published versions were saved in."""
    parts = {"adamw": adamw.state_dict(), "muon": muon.state_dict()}
    groups = copy.deepcopy(parts["muon"]["param_groups"] + parts["adamw"]["param_groups"])
    return {
        "side by side": parts,
        "internal": {"state": {}, "param_groups": groups, "_internal_optimizers": parts},
    }


@pytest.mark.parametrize("form", ["side by side", "internal"])
def test_older_files_load_and_go_on_alike(net, form):
    muon, adamw = parts(net, lr=0.01, adamw_lr=0.001)
    generator = torch.Generator().manual_seed(2)
    for p in net.parameters():
        p.grad = torch.randn(p.shape, generator=generator, dtype=F64)
    muon.step()
    adamw.step()
    saved = published(net, muon, adamw)[form]
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    untouched = copy.deepcopy(loaded)

    other = copy.deepcopy(net)
    optimizer = MuonSpec().create_optimizer(other)
    optimizer.load_state_dict(loaded)
    assert str(loaded) == str(untouched), "the given dict is not changed"
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 0.001]
    of = dict(zip(other.parameters(), net.parameters()))
    for p, q in of.items():
        theirs = (muon if "momentum_buffer" in optimizer.state[p] else adamw).state[q]
        torch.testing.assert_close(dict(optimizer.state[p]), dict(theirs))
    before = {p: p.detach().clone() for p in of}
    for p, q in of.items():
        p.grad = torch.randn(p.shape, generator=generator, dtype=F64)
        q.grad = p.grad.clone()
    for o in (optimizer, muon, adamw):
        o.step()
    for p, q in of.items():
        if "momentum_buffer" in optimizer.state[p]:
            assert polar_error(before[p], p, q, lr=0.01) < 3e-2
        else:
            torch.testing.assert_close(p, q)


def test_older_files_of_one_part_load():
    model = nn.Linear(2, 2)
    adamw = torch.optim.AdamW(model.parameters(), lr=0.5)
    optimizer = MuonSpec().create_optimizer(model)
    optimizer.load_state_dict({"adamw": adamw.state_dict()})
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_another_layout_is_refused(net):
    optimizer = MuonSpec().create_optimizer(net)
    saved = optimizer.state_dict()
    saved["param_groups"].reverse()
    with pytest.raises(ValueError, match="rules"):
        optimizer.load_state_dict(saved)
    saved["param_groups"].pop()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict(saved)
