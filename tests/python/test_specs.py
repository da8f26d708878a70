# SPDX-License-Identifier: Apache-2.0
"""hone.specs: validation, serialization, and the groups that recipes make of a model."""

import json
import math

import pytest
import torch
from torch import nn

pydantic = pytest.importorskip("pydantic")

from hone import optim, specs  # noqa: E402
from hone.specs import AdamSpec, AdamWSpec, MuonSpec, OptimizerSpecification  # noqa: E402

ALL = [AdamSpec, AdamWSpec, MuonSpec]
EMPTY = "^optimizer got an empty parameter list$"
OVERLAP = (
    "Parameter appears in multiple modules with different LR multipliers. "
    "This is likely due to shared parameters or overlapping module specifications."
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        self.scoring_head = nn.Linear(4, 1)

    def forward(self, x):
        return self.scoring_head(self.body(self.embedding(x)))


@pytest.fixture
def net():
    torch.manual_seed(1)
    return Net()


def names(net, optimizer):
    """Per group the names of its parameters and its learning rate."""
    of = {parameter: name for name, parameter in net.named_parameters()}
    return [([of[p] for p in group["params"]], group["lr"]) for group in optimizer.param_groups]


def train(net, optimizer, steps=3, seed=7):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(5, 3, generator=generator)).square().sum().backward()
        optimizer.step()


# ---- fields -------------------------------------------------------------------------------------


def test_fields_defaults_and_order():
    assert list(AdamSpec().to_dict().items()) == [
        ("optimizer_type", "adam"),
        ("learning_rate", 0.001),
        ("lr_decay_gamma", None),
        ("betas", (0.9, 0.999)),
        ("eps", 1e-8),
        ("weight_decay", 0.0),
    ]
    assert list(AdamWSpec().to_dict().items()) == [
        ("optimizer_type", "adamw"),
        ("learning_rate", 0.001),
        ("lr_decay_gamma", None),
        ("betas", (0.9, 0.999)),
        ("eps", 1e-8),
        ("weight_decay", 0.01),
    ]
    assert list(MuonSpec().to_dict().items()) == [
        ("optimizer_type", "muon"),
        ("learning_rate", 0.02),
        ("lr_decay_gamma", None),
        ("momentum", 0.95),
        ("nesterov", True),
        ("adamw_lr", 0.0003),
        ("weight_decay", 0.01),
        ("betas", (0.9, 0.999)),
    ]


def test_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        OptimizerSpecification(optimizer_type="adam", learning_rate=0.1)


@pytest.mark.parametrize("kind", ALL)
def test_round_trip_is_exact(kind):
    awkward = 0.1 + 0.2, 5e-324, 1 / 3
    for rate in awkward:
        spec = kind(learning_rate=rate, lr_decay_gamma=1 / 3, betas=(1 / 7, math.nextafter(1, 0)))
        for form in (spec.to_dict(), json.loads(json.dumps(spec.to_dict()))):
            again = OptimizerSpecification.from_serialized(spec.optimizer_type, form)
            assert type(again) is kind and again == spec and again.to_dict() == spec.to_dict()
        assert kind.model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(spec.model_dump_json())["betas"] == list(spec.betas)


def test_extras_of_muon_are_written_only_when_they_differ():
    spec = MuonSpec(muon_weight_decay=0.0, split=["blocks.*"], adjust_lr_fn="match_rms_adamw")
    extra = {k: v for k, v in spec.to_dict().items() if k not in MuonSpec().to_dict()}
    assert extra == {
        "muon_weight_decay": 0.0,
        "adjust_lr_fn": "match_rms_adamw",
        "split": ["blocks.*"],
    }
    assert MuonSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_type_may_be_missing_but_not_another():
    fields = AdamSpec(eps=1e-6).to_dict()
    del fields["optimizer_type"]
    assert OptimizerSpecification.from_serialized("adam", fields) == AdamSpec(eps=1e-6)
    with pytest.raises(pydantic.ValidationError, match="optimizer_type"):
        OptimizerSpecification.from_serialized("adamw", AdamSpec().to_dict())
    with pytest.raises(ValueError, match="^Unknown optimizer name: lion$"):
        OptimizerSpecification.from_serialized("lion", {})


def test_union_is_told_apart_by_its_type():
    class Model(pydantic.BaseModel):
        optimizer: specs.OptimizerSpec

    given = {
        "optimizer_type": "adamw",
        "learning_rate": 1e-4,
        "lr_decay_gamma": 0.98,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "weight_decay": 0.01,
    }
    model = Model.model_validate({"optimizer": given})
    assert model.optimizer == AdamWSpec(learning_rate=1e-4, lr_decay_gamma=0.98)
    assert Model.model_validate_json(json.dumps({"optimizer": given})) == model
    with pytest.raises(pydantic.ValidationError, match="optimizer_type"):
        Model.model_validate({"optimizer": {"learning_rate": 1e-4}})


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "field, value",
    [
        ("learning_rat", 0.1),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("learning_rate", None),
        ("learning_rate", -1e-9),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("lr_decay_gamma", 0.0),
        ("lr_decay_gamma", 1.0000001),
        ("lr_decay_gamma", math.nan),
        ("lr_decay_gamma", "0.9"),
        ("betas", 0.9),
        ("betas", [0.9]),
        ("betas", [0.9, 0.99, 0.999]),
        ("betas", [0.9, 1.0]),
        ("betas", [-0.1, 0.9]),
        ("betas", ["0.9", 0.9]),
        ("betas", {0.9, 0.99}),
        ("weight_decay", -0.1),
        ("weight_decay", math.inf),
    ],
)
def test_bad_values_are_refused(kind, field, value):
    with pytest.raises(pydantic.ValidationError) as caught:
        kind(**{field: value})
    assert field in str(caught.value)
    spec = kind()
    with pytest.raises(pydantic.ValidationError):
        setattr(spec, field, value)
    assert spec == kind()


@pytest.mark.parametrize(
    "kind, field, value",
    [
        (AdamSpec, "eps", -1e-8),
        (AdamWSpec, "eps", math.nan),
        (AdamSpec, "momentum", 0.9),
        (MuonSpec, "eps", 1e-8),
        (MuonSpec, "momentum", -0.1),
        (MuonSpec, "nesterov", 1),
        (MuonSpec, "adamw_lr", -1.0),
        (MuonSpec, "muon_weight_decay", -1.0),
        (MuonSpec, "ns_steps", 100),
        (MuonSpec, "ns_steps", 0),
        (MuonSpec, "adjust_lr_fn", "arbitrary"),
        (MuonSpec, "split", "names"),
    ],
)
def test_bad_values_of_one_kind_are_refused(kind, field, value):
    with pytest.raises(pydantic.ValidationError, match=field):
        kind(**{field: value})


def test_whole_numbers_are_numbers():
    spec = AdamWSpec(learning_rate=1, weight_decay=0, betas=[0, 0.5])
    assert isinstance(spec.learning_rate, float) and spec.betas == (0.0, 0.5)


# ---- Adam and AdamW -----------------------------------------------------------------------------


@pytest.mark.parametrize("multipliers", [None, {}, "ones"])
def test_one_group_without_multipliers(net, multipliers):
    net.embedding.bias.requires_grad_(False)
    if multipliers == "ones":
        multipliers = {net.body: 1.0, net.scoring_head: 1.0}
    optimizer = AdamWSpec(learning_rate=0.1).create_optimizer(net, multipliers)
    assert names(net, optimizer) == [([name for name, _ in net.named_parameters()], 0.1)]


def test_groups_by_rate_in_the_order_met(net):
    net.embedding.bias.requires_grad_(False)
    optimizer = AdamWSpec(learning_rate=0.1).create_optimizer(
        net, {net.scoring_head: 5.0, net.body[0]: 0.5}
    )
    assert names(net, optimizer) == [
        (["embedding.weight", "body.2.weight", "body.2.bias"], 0.1),
        (["body.0.weight", "body.0.bias"], 0.05),
        (["scoring_head.weight", "scoring_head.bias"], 0.5),
    ]


@pytest.mark.parametrize(
    "spec, reference",
    [
        (AdamSpec(learning_rate=0.01, weight_decay=0.1, eps=1e-6, betas=(0.8, 0.9)), torch.optim.Adam),
        (AdamWSpec(learning_rate=0.01, weight_decay=0.1, eps=1e-6, betas=(0.8, 0.9)), torch.optim.AdamW),
    ],
)  # fmt: skip
def test_trains_as_torch_does(net, spec, reference):
    other = Net()
    other.load_state_dict(net.state_dict())
    ours = spec.create_optimizer(net, {net.scoring_head: 5.0})
    theirs = reference(
        [
            {"params": [*other.embedding.parameters(), *other.body.parameters()]},
            {"params": other.scoring_head.parameters(), "lr": 0.05},
        ],
        lr=0.01,
        weight_decay=0.1,
        eps=1e-6,
        betas=(0.8, 0.9),
    )
    assert type(ours) is getattr(optim, reference.__name__)
    train(net, ours)
    train(other, theirs)
    for p, q in zip(net.parameters(), other.parameters()):
        torch.testing.assert_close(p, q)


def test_several_models_and_what_they_share(net):
    other = nn.Sequential(nn.Linear(2, 2), net.scoring_head)
    optimizer = AdamSpec().create_optimizer_for_multiple([net, other])
    expected = [*net.parameters(), *other[0].parameters()]
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in expected]


def test_equal_multipliers_may_overlap_and_the_inner_module_wins(net):
    spec = AdamWSpec(learning_rate=1.0)
    equal = spec.create_optimizer(net, {net.body: 2.0, net.body[2]: 2.0})
    assert [rate for _, rate in names(net, equal)] == [1.0, 2.0]
    inner = spec.create_optimizer(net, {net.body[2]: 3.0, net.body: 2.0, net: 0.5})
    assert names(net, inner) == [
        (["embedding.weight", "embedding.bias", "scoring_head.weight", "scoring_head.bias"], 0.5),
        (["body.0.weight", "body.0.bias"], 2.0),
        (["body.2.weight", "body.2.bias"], 3.0),
    ]


def test_different_multipliers_of_a_shared_parameter_are_refused(net):
    net.scoring_head.weight = net.embedding.weight
    for kind in ALL:
        with pytest.raises(ValueError) as caught:
            kind().create_optimizer(net, {net.embedding: 2.0, net.scoring_head: 3.0})
        assert str(caught.value) == OVERLAP


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "2", True, None])
def test_bad_multipliers_are_refused(net, value):
    with pytest.raises(ValueError, match="must be a finite number >= 0 but is"):
        AdamWSpec().create_optimizer(net, {net.body: value})


def test_multiplier_of_zero_keeps_weights_and_runs_moments(net):
    optimizer = AdamWSpec().create_optimizer(net, {net.body: 0.0})
    before = [p.clone() for p in net.body.parameters()]
    train(net, optimizer)
    assert all(torch.equal(p, q) for p, q in zip(net.body.parameters(), before))
    assert all(optimizer.state[p]["exp_avg"].any() for p in net.body.parameters())


def test_modules_that_hit_nothing_are_reported(net):
    with pytest.warns(UserWarning, match="a module of class Linear, which has no parameter"):
        AdamWSpec().create_optimizer(net, {nn.Linear(1, 1): 2.0})
    with pytest.raises(ValueError, match="names the module 'bod', which no model has"):
        AdamWSpec().create_optimizer(net, {"bod": 2.0})
    with pytest.raises(TypeError, match="must have modules or their names as keys, but got int"):
        AdamWSpec().create_optimizer(net, {3: 2.0})


def test_multipliers_as_names(net):
    given = {net.scoring_head: 5.0, net.body[0]: 0.5}
    written = json.loads(json.dumps(specs.multipliers_by_name([net], given)))
    assert written == {"scoring_head": 5.0, "body.0": 0.5}
    spec = AdamWSpec()
    assert names(net, spec.create_optimizer(net, written)) == names(
        net, spec.create_optimizer(net, given)
    )


def test_set_learning_rate_keeps_ratios(net):
    optimizer = AdamWSpec(learning_rate=0.1).create_optimizer(net, {net.scoring_head: 5.0})
    specs.set_learning_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.05]


@pytest.mark.parametrize("kind", ALL)
def test_nothing_to_train_is_refused(net, kind):
    for model in (nn.Tanh(), net.requires_grad_(False)):
        with pytest.raises(ValueError, match=EMPTY):
            kind().create_optimizer(model)


@pytest.mark.parametrize("kind", ALL)
def test_states_move_to_other_groups_by_name(net, kind):
    optimizer = kind().create_optimizer(net)
    train(net, optimizer)
    saved = optimizer.state_dict()
    regrouped = kind().create_optimizer(net, {net.scoring_head: 5.0, net.embedding: 0.5})
    with pytest.raises(ValueError, match="different number of parameter groups"):
        regrouped.load_state_dict(saved)
    regrouped.load_state_dict(saved, by_name=True)
    for parameter in net.parameters():
        for slot, value in optimizer.state[parameter].items():
            assert torch.equal(regrouped.state[parameter][slot], value)
    rates = sorted(group["lr"] for group in regrouped.param_groups)
    base = MuonSpec().adamw_lr if kind is MuonSpec else kind().learning_rate
    assert rates[:3] == pytest.approx([0.5 * base, base, 5 * base])


# ---- schedulers and checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_scheduler_multiplies_current_rates(net, kind):
    assert kind().create_scheduler(kind().create_optimizer(net)) is None
    spec = kind(lr_decay_gamma=0.5)
    optimizer = spec.create_optimizer(net, {net.scoring_head: 5.0})
    scheduler = spec.create_scheduler(optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.param_groups[0]["lr"] = rates[0] = 3.0
    train(net, optimizer, steps=1)
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [rate * 0.5 for rate in rates]
    with pytest.raises(TypeError, match="is not an Optimizer"):
        spec.create_scheduler(net)


@pytest.mark.parametrize("kind", ALL)
def test_a_run_continues_from_its_checkpoint(tmp_path, kind):
    def build(spec):
        torch.manual_seed(3)
        net = Net()
        optimizer = spec.create_optimizer(net, {net.scoring_head: 5.0})
        return net, optimizer, spec.create_scheduler(optimizer)

    def epoch(net, optimizer, scheduler, seed):
        train(net, optimizer, seed=seed)
        scheduler.step()

    spec = kind(lr_decay_gamma=0.7)
    net, optimizer, scheduler = build(spec)
    epoch(net, optimizer, scheduler, 1)
    torch.save(
        {
            "optimizer_type": spec.optimizer_type,
            "optimizer_params": spec.to_dict(),
            "optimizer_state": optimizer.state_dict(),
            "scheduler_state": scheduler.state_dict(),
            "network": net.state_dict(),
        },
        tmp_path / "model.pt",
    )
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    again = OptimizerSpecification.from_serialized(
        saved["optimizer_type"], saved["optimizer_params"]
    )
    net2, optimizer2, scheduler2 = build(again)
    net2.load_state_dict(saved["network"])
    optimizer2.load_state_dict(saved["optimizer_state"])
    scheduler2.load_state_dict(saved["scheduler_state"])
    for seed in (2, 3):
        epoch(net, optimizer, scheduler, seed)
        epoch(net2, optimizer2, scheduler2, seed)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), net2.parameters()))
    assert [g["lr"] for g in optimizer.param_groups] == [g["lr"] for g in optimizer2.param_groups]
