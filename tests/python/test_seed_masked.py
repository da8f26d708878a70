# SPDX-License-Identifier: Apache-2.0
"""The complete example and the other snippets of MaskedAdamW's usage guide, with golden_params'
import lines changed to hone's. Its GRPO integration is in test_trainers.py."""

import pytest
import torch
from torch import nn

from hone.masks import (
    SparseMaskManager,
    convert_masks_to_sparse_coo,
    convert_masks_to_torch_sparse_coo,
    load_masks,
)
from hone.optim import MaskedAdamW


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.fixture
def mask_file(model, tmp_path):
    generator = torch.Generator().manual_seed(1)
    masks = {
        name: torch.rand(p.shape, generator=generator) < 0.05
        for name, p in model.named_parameters()
        if name.endswith("weight")
    }
    torch.save({"masks": masks, "summary": {}, "kl_divergence": 0.03}, tmp_path / "golden_masks.pt")
    return tmp_path / "golden_masks.pt"


def test_complete_example(model, mask_file, capsys):
    generator = torch.Generator().manual_seed(2)
    dataloader = [torch.randn(8, 128, generator=generator) for _ in range(4)]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    mask_data = torch.load(mask_file, map_location="cpu")
    dense_masks = mask_data["masks"]
    sparse_masks = convert_masks_to_torch_sparse_coo(dense_masks)
    print(f"Loaded {len(sparse_masks)} sparse masks")

    optimizer = MaskedAdamW(
        model.parameters(),
        sparse_masks=sparse_masks,
        masked_lr=1e-3,
        unmasked_lr=1e-5,
        weight_decay=0.01,
    )
    optimizer.add_param_names(dict(model.named_parameters()))

    lr_info = optimizer.get_lr_info()
    print(f"Masked LR: {lr_info['masked_lr']}")
    print(f"Unmasked LR: {lr_info['unmasked_lr']}")
    print(f"Total masked parameters: {lr_info['total_masked_parameters']:,}")
    print(f"Total unmasked parameters: {lr_info['total_unmasked_parameters']:,}")

    for epoch in range(10):
        for batch in dataloader:
            optimizer.zero_grad()
            loss = model(batch).sum()
            loss.backward()
            optimizer.step()

    inside = sum(int(mask.sum()) for mask in dense_masks.values())
    assert capsys.readouterr().out.splitlines() == [
        "Loaded 2 sparse masks",
        "Masked LR: 0.001",
        "Unmasked LR: 1e-05",
        f"Total masked parameters: {inside:,}",
        f"Total unmasked parameters: {128 * 64 + 64 + 64 * 10 + 10 - inside:,}",
    ]
    for name, p in model.named_parameters():
        moved = (p.detach() - before[name]).abs()
        if name in dense_masks:
            ratio = moved[dense_masks[name]].mean() / moved[~dense_masks[name]].mean()
            assert 60 < ratio < 140, f"{name}: {ratio}"
        else:
            assert moved.max() < 40 * 2e-5, f"{name} moves at unmasked_lr"


@pytest.mark.parametrize(
    "convert",
    [
        convert_masks_to_torch_sparse_coo,
        convert_masks_to_sparse_coo,
        dict,
        lambda masks: {k: SparseMaskManager.dense_to_sparse_coo(m) for k, m in masks.items()},
    ],
    ids=["coo_float32", "compact", "dense", "coo_bool"],
)
def test_every_layout_gives_the_same_weights(model, mask_file, convert):
    other = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    other.load_state_dict(model.state_dict())
    for net, masks in (
        (model, load_masks(mask_file)),
        (other, convert(torch.load(mask_file)["masks"])),
    ):
        optimizer = MaskedAdamW(net.named_parameters(), masks, masked_lr=1e-3, unmasked_lr=1e-5)
        torch.manual_seed(3)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(4, 128)).square().mean().backward()
            optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters()))


def test_memory_report(mask_file, capsys):
    sparse_masks = convert_masks_to_torch_sparse_coo(torch.load(mask_file)["masks"])
    for name, mask in sparse_masks.items():
        memory_info = SparseMaskManager.get_sparse_memory_usage(mask)
        print(f"{name}:")
        print(f"  Sparse: {memory_info['sparse_memory_bytes']:,} bytes")
        print(f"  Dense: {memory_info['dense_memory_bytes']:,} bytes")
        print(f"  Savings: {memory_info['memory_savings_ratio']:.1%}")
    lines = capsys.readouterr().out.splitlines()
    true = sparse_masks["0.weight"].values().numel()
    assert lines[:4] == [
        "0.weight:",
        f"  Sparse: {20 * true:,} bytes",
        "  Dense: 8,192 bytes",
        f"  Savings: {1 - 20 * true / 8192:.1%}",
    ]


def test_parameters_without_a_mask_move_at_unmasked_lr(model):
    weight = model[0].weight
    sparse_masks = {"0.weight": torch.ones_like(weight, dtype=torch.bool).to_sparse()}
    optimizer = MaskedAdamW(
        model.named_parameters(), sparse_masks, masked_lr=1e-2, unmasked_lr=1e-4, weight_decay=0
    )
    before = [p.detach().clone() for p in model.parameters()]
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    for p, old in zip(model.parameters(), before):
        rate = 1e-2 if p is weight else 1e-4
        torch.testing.assert_close(old - p, torch.full_like(p, rate), rtol=1e-3, atol=1e-7)
