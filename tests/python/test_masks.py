# SPDX-License-Identifier: Apache-2.0
"""hone.masks: what comes out is compared with dense boolean tensors, on which PyTorch's own
operations say what is right."""

import copy
import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from hone import masks
from hone.masks import SparseGradientAccumulator, SparseMaskManager

SHAPES = [(), (0,), (1,), (65,), (3, 4), (2, 0, 3), (2, 3, 5), (2, 1, 2, 3)]
DENSITIES = [0.0, 0.3, 1.0]
FILES = Path(__file__).parents[1] / "golden" / "masks"


def random_mask(shape, density, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) < density


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.fixture(params=DENSITIES)
def dense(request, shape):
    return random_mask(shape, request.param)


# ---- converters ---------------------------------------------------------------------------------


def test_torch_sparse_coo_is_a_coalesced_float_tensor(dense):
    coo = masks.convert_masks_to_torch_sparse_coo({"w": dense})["w"]
    assert coo.layout == torch.sparse_coo and coo.dtype == torch.float32 and coo.is_coalesced()
    assert coo.shape == dense.shape
    assert torch.equal(coo.indices(), dense.nonzero().t())
    assert torch.equal(coo.values(), torch.ones(int(dense.sum())))
    assert torch.equal(masks.convert_sparse_to_dense_mask(coo), dense)


def test_compact_holds_ascending_positions(dense):
    compact = masks.convert_masks_to_sparse_coo({"w": dense})["w"]
    assert list(compact) == ["indices", "shape", "nnz", "dtype", "layout"]
    assert compact["indices"].dtype == torch.int32
    assert compact["indices"].tolist() == [i for i, x in enumerate(dense.flatten().tolist()) if x]
    assert compact["shape"] == dense.shape and isinstance(compact["shape"], torch.Size)
    assert compact["nnz"] == int(dense.sum())
    assert (compact["dtype"], compact["layout"]) == ("bool", "compact_sparse")
    assert torch.equal(masks.convert_sparse_to_dense_mask(compact), dense)


def test_positions_beyond_int32_are_int64(monkeypatch):
    monkeypatch.setattr(masks, "_INT32_MAX", 9)
    small, large = torch.ones(9, dtype=torch.bool), torch.ones(10, dtype=torch.bool)
    compact = masks.convert_masks_to_sparse_coo({"small": small, "large": large})
    assert compact["small"]["indices"].dtype == torch.int32
    assert compact["large"]["indices"].dtype == torch.int64
    assert torch.equal(masks.convert_sparse_to_dense_mask(compact["large"]), large)


def test_what_is_dense_comes_back_as_it_is():
    for value in (torch.ones(3), torch.ones(3, dtype=torch.bool), "text", {"layout": "other"}):
        assert masks.convert_sparse_to_dense_mask(value) is value


def test_any_stored_value_but_zero_is_true():
    coo = torch.sparse_coo_tensor([[0, 1, 2, 2]], [0.0, -2.0, 0.5, 0.5], (4,))
    expected = torch.tensor([False, True, True, False])
    assert torch.equal(masks.convert_sparse_to_dense_mask(coo), expected)


@pytest.mark.parametrize(
    "convert", ["convert_masks_to_torch_sparse_coo", "convert_masks_to_sparse_coo"]
)
@pytest.mark.parametrize(
    "value, text",
    [
        ([True], "Mask for layer.w must be a torch.Tensor"),
        (torch.ones(3), "Mask for layer.w must be boolean tensor"),
    ],
)
def test_converters_refuse(convert, value, text):
    with pytest.raises(ValueError) as caught:
        getattr(masks, convert)({"layer.w": value})
    assert str(caught.value) == text


@pytest.mark.parametrize("indices", [[6], [-1], [0, 99]])
def test_compact_positions_outside_the_shape_are_refused(indices):
    compact = {"indices": torch.tensor(indices), "shape": (2, 3), "layout": "compact_sparse"}
    with pytest.raises(ValueError, match=r"they must be between 0 and 5"):
        masks.convert_sparse_to_dense_mask(compact)


# ---- SparseMaskManager --------------------------------------------------------------------------


def test_dense_to_coo_and_back(dense):
    coo = SparseMaskManager.dense_to_sparse_coo(dense)
    assert coo.dtype == torch.bool and coo.is_coalesced()
    assert coo.indices().shape == (dense.dim(), int(dense.sum()))
    assert torch.equal(SparseMaskManager.sparse_coo_to_dense(coo), dense)
    assert torch.equal(SparseMaskManager.dense_to_sparse_coo(dense.float() * 3).to_dense(), dense)


def test_logic_is_that_of_dense_masks(shape):
    for seed, density in enumerate(DENSITIES):
        first, second = random_mask(shape, density, seed), random_mask(shape, 0.5, seed + 10)
        a, b = map(SparseMaskManager.dense_to_sparse_coo, (first, second))
        for result, expected in (
            (SparseMaskManager.sparse_logical_or(a, b), first | second),
            (SparseMaskManager.sparse_logical_and(a, b), first & second),
        ):
            again = torch.sparse_coo_tensor(result.indices(), result.values(), result.shape)
            assert result.dtype == torch.bool and result.is_coalesced()
            assert torch.equal(again.coalesce().indices(), result.indices())
            assert torch.equal(result.to_dense(), expected)
        with pytest.warns(UserWarning) as caught:
            inverse = SparseMaskManager.sparse_logical_not(a)
        assert torch.equal(inverse.to_dense(), ~first)
        assert [str(w.message) for w in caught if "logical_not" in str(w.message)] == [
            "sparse_logical_not creates mostly dense tensors and may not save memory. "
            "Consider redesigning logic to avoid NOT operations on sparse masks."
        ]


def test_logic_does_not_make_tensors_dense():
    # 2**40 elements: a dense mask would take 1 TiB.
    shape = (2**20, 2**20)
    a = torch.sparse_coo_tensor([[0, 5], [1, 2**20 - 1]], [1.0, 1.0], shape)
    b = torch.sparse_coo_tensor([[5, 7], [2**20 - 1, 0]], [1.0, 1.0], shape)
    assert SparseMaskManager.sparse_logical_or(a, b).indices().tolist() == [
        [0, 5, 7],
        [1, 2**20 - 1, 0],
    ]
    assert SparseMaskManager.sparse_logical_and(a, b).indices().tolist() == [[5], [2**20 - 1]]


@pytest.mark.parametrize("fill", [0.0, -1.5])
def test_apply_keeps_values_under_the_mask(dense, fill):
    values = torch.randn(dense.shape)
    coo = SparseMaskManager.dense_to_sparse_coo(dense)
    result = SparseMaskManager.apply_sparse_mask(values, coo, fill)
    assert torch.equal(result, torch.where(dense, values, torch.tensor(fill)))
    assert result.dtype == values.dtype


def test_density():
    manager = SparseMaskManager
    for numel, true in ((100, 29), (22, 15), (49, 49), (7, 0)):
        mask = torch.arange(numel) < true
        for convert in (manager.dense_to_sparse_coo, lambda m: m.float().to_sparse()):
            assert manager.sparse_mask_density(convert(mask)) == true / numel
    assert manager.sparse_mask_density(manager.dense_to_sparse_coo(torch.ones(0))) == 0.0


# semantics: 2-D float32 saves 0 % at 5 % density, not 75 %; 75 % needs a density of 1.25 %.
@pytest.mark.parametrize(
    "ndim, dtype, density, ratio",
    [
        (2, torch.float32, 0.01, 0.80),
        (2, torch.float32, 0.0125, 0.75),
        (2, torch.float32, 0.05, 0.0),
        (2, torch.float32, 0.5, -9.0),
        (2, torch.bool, 0.05, 0.15),
        (1, torch.float32, 0.05, 0.40),
        (1, torch.bool, 0.05, 0.55),
        (1, torch.bool, 0.5, -3.5),
    ],
)
def test_memory_is_what_the_tensors_take(ndim, dtype, density, ratio):
    numel, nnz = 1_000_000, int(1_000_000 * density)
    shape = (numel,) if ndim == 1 else (1000, 1000)
    mask = (torch.arange(numel) < nnz).view(shape)
    usage = SparseMaskManager.get_sparse_memory_usage(mask.to(dtype).to_sparse())
    sparse = 8 * ndim * nnz + torch.empty(0, dtype=dtype).element_size() * nnz
    assert usage == {
        "sparse_memory_bytes": sparse,
        "dense_memory_bytes": numel,
        "memory_savings_bytes": numel - sparse,
        "memory_savings_ratio": pytest.approx(ratio, abs=1e-12),
    }


def test_memory_of_no_elements():
    usage = SparseMaskManager.get_sparse_memory_usage(torch.empty(0).to_sparse())
    assert usage["memory_savings_ratio"] == 0.0 and usage["dense_memory_bytes"] == 0


def coo(*shape):
    return SparseMaskManager.dense_to_sparse_coo(torch.ones(shape))


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda m: m.dense_to_sparse_coo([1]), TypeError, "Input must be a torch.Tensor"),
        (lambda m: m.sparse_logical_or(coo(2), torch.ones(2)), ValueError, "Both inputs must be sparse COO tensors"),
        (lambda m: m.sparse_logical_and(torch.ones(2), coo(2)), ValueError, "Both inputs must be sparse COO tensors"),
        (lambda m: m.sparse_logical_or(coo(2), coo(3)), ValueError, "Masks must have the same shape"),
        (lambda m: m.sparse_logical_and(coo(2), coo(1, 2)), ValueError, "Masks must have the same shape"),
        (lambda m: m.sparse_logical_not(torch.ones(2)), ValueError, "Input must be a sparse COO tensor"),
        (lambda m: m.apply_sparse_mask(torch.ones(2), torch.ones(2)), ValueError, "Mask must be a sparse COO tensor"),
        (lambda m: m.apply_sparse_mask(torch.ones(2), coo(3)), ValueError, "Tensor and mask must have the same shape"),
        (lambda m: m.sparse_mask_density(torch.ones(2)), ValueError, "Input must be a sparse COO tensor"),
        (lambda m: m.get_sparse_memory_usage(torch.ones(2)), ValueError, "Input must be a sparse COO tensor"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:sparse_logical_not")
def test_manager_refuses(call, kind, text):
    with pytest.raises(kind) as caught:
        call(SparseMaskManager)
    assert str(caught.value) == text


# ---- SparseGradientAccumulator ------------------------------------------------------------------


def test_accumulator_adds_under_each_calls_mask(dense):
    gradients = [torch.randn(dense.shape) for _ in range(3)]
    used = [dense, random_mask(dense.shape, 0.5, 1), dense]
    accumulator = SparseGradientAccumulator()
    assert accumulator.get_accumulated_gradient("w") is None
    for mask, gradient in zip(used, gradients):
        sparse = SparseMaskManager.dense_to_sparse_coo(mask)
        accumulator.add_sparse_gradient("w", dense.shape, sparse, gradient)
    expected = sum(mask * gradient for mask, gradient in zip(used, gradients))
    torch.testing.assert_close(accumulator.get_accumulated_gradient("w"), expected)
    accumulator.clear()
    assert accumulator.get_accumulated_gradient("w") is None


def test_accumulator_lets_go_of_sums_of_zero():
    accumulator = SparseGradientAccumulator()
    mask = coo(2, 50)
    for gradient in (torch.ones(2, 50), torch.tensor([[-1.0] * 50, [1.0] * 50])):
        accumulator.add_sparse_gradient("w", mask.shape, mask, gradient)
    expected = torch.tensor([[0.0] * 50, [2.0] * 50])
    assert torch.equal(accumulator.get_accumulated_gradient("w"), expected)
    assert accumulator.get_memory_usage() == {
        "total_sparse_memory_bytes": 50 * (2 * 8 + 4),
        "total_dense_memory_bytes": 100 * 4,
        "memory_savings_bytes": 400 - 1000,
        "memory_savings_ratio": -1.5,
    }


def test_accumulator_of_nothing_uses_nothing():
    assert SparseGradientAccumulator().get_memory_usage() == {
        "total_sparse_memory_bytes": 0,
        "total_dense_memory_bytes": 0,
        "memory_savings_bytes": 0,
        "memory_savings_ratio": 0.0,
    }


def test_accumulator_refuses():
    accumulator = SparseGradientAccumulator()
    with pytest.raises(ValueError, match="^sparse_mask must be a sparse COO tensor$"):
        accumulator.add_sparse_gradient("w", torch.Size([2]), torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="^Tensor and mask must have the same shape$"):
        accumulator.add_sparse_gradient("w", torch.Size([2]), coo(2), torch.ones(3))


# ---- load_masks ----------------------------------------------------------------------------------

KNOWN = json.loads((FILES / "masks.json").read_text())["files"]


def positions(mask):
    return mask.flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize("entry", [e for e in KNOWN if e["loads"]], ids=lambda e: e["file"])
@pytest.mark.parametrize("layout", ["dense", "coo", "compact", "bitmap"])
def test_files_of_every_layout_load(entry, layout):
    loaded = masks.load_masks(FILES / entry["file"], layout)
    assert list(loaded) == list(entry["masks"])
    for name, expected in entry["masks"].items():
        mask = loaded[name]
        if layout == "compact":
            assert mask["nnz"] == len(expected["true"])
        elif layout == "bitmap":
            assert mask.count == len(expected["true"])
        dense = masks.convert_sparse_to_dense_mask(mask)
        assert dense.dtype == torch.bool and list(dense.shape) == expected["shape"]
        assert positions(dense) == expected["true"]


def test_what_converters_make_loads(tmp_path):
    named = {f"w{i}": random_mask(shape, 0.3, i) for i, shape in enumerate(SHAPES)}
    for convert in (
        dict,
        masks.convert_masks_to_sparse_coo,
        masks.convert_masks_to_torch_sparse_coo,
        lambda m: {name: SparseMaskManager.dense_to_sparse_coo(x) for name, x in m.items()},
    ):
        torch.save({"masks": convert(named)}, tmp_path / "golden_masks.pt")
        loaded = masks.load_masks(tmp_path / "golden_masks.pt")
        assert list(loaded) == list(named)
        assert all(torch.equal(loaded[name], named[name]) for name in named)


@pytest.mark.parametrize("entry", [e for e in KNOWN if not e["loads"]], ids=lambda e: e["file"])
def test_files_that_hold_no_masks_are_refused(entry):
    with pytest.raises(ValueError):
        masks.load_masks(FILES / entry["file"])


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"masks": os.getcwd}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="getcwd"):
        masks.load_masks(str(tmp_path / "bad.pt"))


def test_bad_loads(tmp_path):
    with pytest.raises(OSError, match="missing.pt"):
        masks.load_masks(tmp_path / "missing.pt")
    with pytest.raises(ValueError, match="layout must be one of dense, coo, compact, bitmap"):
        masks.load_masks(tmp_path / "missing.pt", "sparse")
    with pytest.raises(ValueError, match="memory_limit must be positive"):
        masks.load_masks(tmp_path / "missing.pt", memory_limit=0)
    torch.save({"masks": {"w": torch.ones(100_000, dtype=torch.bool)}}, tmp_path / "large.pt")
    with pytest.raises(MemoryError):
        masks.load_masks(tmp_path / "large.pt", memory_limit=100)


# ---- Mask ----------------------------------------------------------------------------------------


def test_mask_of_every_form(dense):
    made = [
        masks.as_mask("w", form)
        for form in (
            dense,
            dense.float().to_sparse()
            if dense.dim()
            else SparseMaskManager.dense_to_sparse_coo(dense),
            masks.convert_masks_to_sparse_coo({"w": dense})["w"],
        )
    ]
    for mask in made:
        assert mask == made[0] and not mask != made[0]
        assert mask.hash() == made[0].hash()
        assert (mask.shape, mask.numel) == (tuple(dense.shape), dense.numel())
        assert mask.count == int(dense.sum())
        assert mask.density == (mask.count / mask.numel if mask.numel else 0.0)
        assert mask.nbytes == (dense.numel() + 7) // 8
        assert torch.equal(masks.to_dense(mask), dense)
        assert repr(mask) == f"Mask(shape={mask.shape}, count={mask.count})"
        for clone in (copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
            assert clone == mask
        assert masks.as_mask("w", mask) is mask


def test_masks_of_views():
    dense = random_mask((6, 8), 0.5)
    for view in (dense.t(), dense[::2, 1::3], dense[0].expand(4, 8)):
        assert torch.equal(masks.to_dense(masks.as_mask("w", view)), view)


def test_masks_are_not_made_by_hand():
    with pytest.raises(TypeError):
        masks.Mask()
    with pytest.raises(TypeError):
        hash(masks.as_mask("w", torch.ones(2, dtype=torch.bool)))
    for value in (torch.ones(3), [True], None, {"indices": [1], "shape": (2,)}):
        with pytest.raises(
            ValueError, match="^Mask for parameter 'w' must be a sparse COO tensor$"
        ):
            masks.as_mask("w", value)
    with pytest.raises(ValueError, match="Mask for parameter 'w': "):
        masks.as_mask("w", {"indices": torch.tensor([7]), "shape": (2, 3)})
