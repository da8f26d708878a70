# SPDX-License-Identifier: Apache-2.0
"""MuonSpec's fields beyond the original ones: texts that the C library wrote load and are written back
alike, and each field does what it says."""

import json

import pydantic
import pytest
import torch

from hone.specs import MuonSpec, OptimizerSpecification

HEAD = (
    '{"optimizer_type":"muon","learning_rate":0.02,"lr_decay_gamma":null,"momentum":0.95,'
    '"nesterov":true,"adamw_lr":0.0003,"weight_decay":0.01,"betas":[0.9,0.999]'
)

# What hone_spec_to_dict writes.
WRITTEN = [
    "}",
    ',"muon_weight_decay":0.2,"adamw_eps":1e-6,"ns_steps":6,"adjust_lr_fn":"match_rms_adamw",'
    '"split":"hidden","flatten":true,"muon_eps":1e-6,"ns_coefficients":[[3,-4,2]],'
    '"products":"bfloat16"}',
    ',"ns_coefficients":[[3,-4,2],[1,2,3]]}',
    ',"ns_coefficients":"polar_express"}',
    ',"split":{"except":["*embed*","head.*"],"match":"a*"}}',
    ',"split":{"match":["a*","b*"],"min_ndim":3}}',
    ',"split":["x*"]}',
    ',"flatten":true}',
]


@pytest.mark.parametrize("rest", WRITTEN)
def test_texts_of_the_library(rest):
    fields = json.loads(HEAD + rest)
    spec = OptimizerSpecification.from_serialized("muon", fields)
    assert json.loads(json.dumps(spec.to_dict())) == fields
    assert list(spec.to_dict()) == list(fields) and json.loads(spec.model_dump_json()) == fields


def test_short_forms():
    assert MuonSpec(ns_coefficients=[3, -4, 2]) == MuonSpec(ns_coefficients=[[3, -4, 2]])
    assert MuonSpec.model_validate({"matrices": "flatten"}).flatten
    assert not MuonSpec.model_validate({"matrices": "strict"}).flatten


@pytest.mark.parametrize(
    "fields",
    [
        {"split": {"match": "a", "foo": 1}},
        {"split": {"min_ndim": -1}},
        {"ns_coefficients": []},
        {"ns_coefficients": [1, 2]},
        {"ns_coefficients": [[1, 2, float("nan")]]},
        {"ns_coefficients": [[1, 2, 3]] * 17},
        {"ns_coefficients": "custom"},
        {"products": "float16"},
        {"matrices": "batch"},
        {"muon_eps": -1e-7},
    ],
)
def test_what_is_refused(fields):
    with pytest.raises(pydantic.ValidationError):
        MuonSpec.model_validate(fields)


def model_with_gradient():
    torch.manual_seed(3)
    model = torch.nn.Linear(6, 4, bias=False)
    model.weight.grad = torch.randn(4, 6)
    return model


def moved(**fields):
    model = model_with_gradient()
    before = model.weight.detach().clone()
    spec = MuonSpec(
        split="matrices", nesterov=False, momentum=0.0, muon_weight_decay=0.0, learning_rate=1.0, **fields
    )
    spec.create_optimizer(model).step()
    return (before - model.weight.detach()).double(), model.weight.grad.double()


def polynomial(x, triple):
    a, b, c = triple
    gram = x @ x.T
    return a * x + (b * gram + c * gram @ gram) @ x


def orthogonal(grad, triples, steps, eps=1e-7):
    """The direction in double: step k by triple k, later ones by the last."""
    x = grad / max(grad.norm().item(), eps)
    for k in range(steps):
        x = polynomial(x, triples[min(k, len(triples) - 1)])
    return x


@pytest.mark.parametrize("triples", [[(3.0, -3.2, 1.2)], [(2.0, -1.5, 0.5), (1.9, -1.3, 0.4)]])
@pytest.mark.parametrize("steps", [1, 4])
def test_polynomials(triples, steps):
    step, grad = moved(ns_coefficients=triples, ns_steps=steps, products="float32")
    torch.testing.assert_close(step, orthogonal(grad, triples, steps), rtol=1e-4, atol=1e-5)


def test_epsilon_of_muon():
    step, grad = moved(muon_eps=10.0, ns_steps=1, products="float32")
    assert grad.norm() < 10
    wanted = orthogonal(grad, [(3.4445, -4.775, 2.0315)], 1, eps=10.0)
    torch.testing.assert_close(step, wanted, rtol=1e-4, atol=1e-5)


def test_named_polynomials_differ():
    steps = {name: moved(ns_coefficients=name)[0] for name in ("standard", "dion", "turbo")}
    assert not torch.equal(steps["standard"], steps["dion"])
    assert not torch.equal(steps["dion"], steps["turbo"])


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
def test_products(products):
    model = torch.nn.Linear(96, 64, bias=False)
    model.weight.grad = torch.randn(64, 96)
    before = model.weight.detach().clone()
    spec = MuonSpec(
        split="matrices", nesterov=False, momentum=0.0, muon_weight_decay=0.0, learning_rate=1.0,
        products=products,
    )  # fmt: skip
    optimizer = spec.create_optimizer(model)
    optimizer.step()
    assert optimizer.param_groups[0]["products"] == products
    wanted = orthogonal(model.weight.grad.double(), [(3.4445, -4.775, 2.0315)], 5)
    off = (before - model.weight.detach()).double() - wanted
    # bfloat16 may be used where the processor is faster with it: 8 bits a factor, times up to 4.8
    assert off.norm() / wanted.norm() < (1e-5 if products == "float32" else 3e-2)


def test_split_by_patterns():
    model = torch.nn.ModuleDict({
        "embed": torch.nn.Embedding(3, 4), "body": torch.nn.Linear(4, 4), "head": torch.nn.Linear(4, 2),
    })  # fmt: skip

    def taken(**split):
        return MuonSpec(split=split).create_optimizer(model).routing.muon

    assert taken() == ["embed.weight", "body.weight", "head.weight"]
    assert taken(**{"except": "embeddings_and_heads"}) == ["body.weight"]
    assert taken(match=["b*", "h*"], **{"except": ["head.*"]}) == ["body.weight"]
    assert taken(match="embed*", min_ndim=0) == ["embed.weight"]
