# SPDX-License-Identifier: Apache-2.0
"""Boolean masks over parameters: the forms they take in files and in memory, and what can be done
with them. `MaskedAdamW` (`hone.optim`) chooses between two learning rates by such a mask.

A mask is one of

- a dense ``torch.bool`` tensor of the parameter's shape;
- a sparse COO tensor (``torch.sparse_coo``), true wherever a value other than 0 is stored;
- a *compact* dictionary: ``indices`` (row-major positions of the true elements, ascending),
  ``shape``, ``nnz``, ``dtype`` "bool" and ``layout`` "compact_sparse";
- a `Mask`: one bit per element, which is how hone keeps it.

    masks = load_masks("golden_masks.pt")
    optimizer = MaskedAdamW(model.named_parameters(), masks, masked_lr=1e-3, unmasked_lr=1e-5)
"""

from __future__ import annotations

import copyreg
import math
import os
import warnings
from typing import Any, Dict, Mapping, Optional, Union

import torch
from torch import Tensor

from hone import _core

__all__ = [
    "Mask",
    "SparseGradientAccumulator",
    "SparseMaskManager",
    "convert_masks_to_sparse_coo",
    "convert_masks_to_torch_sparse_coo",
    "convert_sparse_to_dense_mask",
    "load_masks",
]

_COMPACT = "compact_sparse"
_INT32_MAX = 2**31 - 1


Mask = _core.Mask


def _restore_mask(words: bytes, shape: tuple) -> Mask:
    return _core.mask_from_words(words, shape)


copyreg.pickle(Mask, lambda mask: (_restore_mask, (mask.words(), mask.shape)))

# ---- converters ---------------------------------------------------------------------------------


def _checked(name: str, mask: Any) -> Tensor:
    if not isinstance(mask, Tensor):
        raise ValueError(f"Mask for {name} must be a torch.Tensor")
    if mask.dtype != torch.bool:
        raise ValueError(f"Mask for {name} must be boolean tensor")
    return mask


def convert_masks_to_torch_sparse_coo(masks_dict: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Sparse COO tensors (float32 ones, coalesced) of dense boolean masks, by name."""
    return {name: _coo(_checked(name, mask), torch.float32) for name, mask in masks_dict.items()}


def convert_masks_to_sparse_coo(masks_dict: Mapping[str, Tensor]) -> Dict[str, Dict[str, Any]]:
    """Compact dictionaries of dense boolean masks, by name. Positions are int32, or int64 for
    masks of more than 2**31 - 1 elements."""
    return {name: _compact(_checked(name, mask)) for name, mask in masks_dict.items()}


def convert_sparse_to_dense_mask(sparse_mask: Any) -> Any:
    """A dense boolean tensor of a compact dictionary, a sparse COO tensor or a `Mask`; anything else
    comes back as it is."""
    if isinstance(sparse_mask, Mask):
        return to_dense(sparse_mask)
    if isinstance(sparse_mask, dict) and sparse_mask.get("layout") == _COMPACT:
        return _dense_of_compact(sparse_mask)
    if isinstance(sparse_mask, Tensor) and sparse_mask.is_sparse:
        return SparseMaskManager.sparse_coo_to_dense(sparse_mask)
    return sparse_mask


def _coo(dense: Tensor, dtype: torch.dtype) -> Tensor:
    indices = dense.nonzero().t().contiguous()
    values = torch.ones(indices.shape[1], dtype=dtype, device=dense.device)
    return _coalesced(indices, values, dense.shape)


def _coalesced(indices: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """A COO tensor whose indices come in row-major order, each once, as coalescing leaves them."""
    return torch.sparse_coo_tensor(indices, values, shape, is_coalesced=True)


def _compact(dense: Tensor) -> Dict[str, Any]:
    positions = dense.flatten().nonzero().flatten()
    if dense.numel() <= _INT32_MAX:
        positions = positions.to(torch.int32)
    return _compact_of_positions(positions, dense.shape)


def _compact_of_positions(positions: Tensor, shape: torch.Size) -> Dict[str, Any]:
    return {
        "indices": positions,
        "shape": shape,
        "nnz": positions.numel(),
        "dtype": "bool",
        "layout": _COMPACT,
    }


def _dense_of_compact(mask: Mapping[str, Any]) -> Tensor:
    positions, shape = mask["indices"], torch.Size(mask["shape"])
    numel = math.prod(shape)
    if positions.numel() and not 0 <= int(positions.min()) <= int(positions.max()) < numel:
        raise ValueError(
            f"Compact mask of shape {tuple(shape)} has positions from {int(positions.min())} to "
            f"{int(positions.max())}; they must be between 0 and {numel - 1}"
        )
    dense = torch.zeros(numel, dtype=torch.bool, device=positions.device)
    dense[positions.long()] = True
    return dense.view(shape)


# ---- masks of one bit per element ----------------------------------------------------------------


def as_mask(name: str, value: Any) -> Mask:
    """A `Mask` of any of the forms above; `name` is for the error."""
    if isinstance(value, Mask):
        return value
    if isinstance(value, Tensor) and value.is_sparse:
        return _mask_of_positions(name, _true_positions(value), value.shape)
    if isinstance(value, Tensor) and value.dtype == torch.bool:
        return _mask_of_dense(value)
    if isinstance(value, dict) and "shape" in value and isinstance(value.get("indices"), Tensor):
        return _mask_of_positions(name, value["indices"], torch.Size(value["shape"]))
    raise ValueError(f"Mask for parameter '{name}' must be a sparse COO tensor")


def _mask_of_dense(dense: Tensor) -> Mask:
    dense = dense.detach().cpu().contiguous()
    return _core.mask_from_dense(dense.data_ptr(), tuple(dense.shape))


def _mask_of_positions(name: str, positions: Tensor, shape: torch.Size) -> Mask:
    positions = positions.detach().to("cpu", torch.int64).contiguous()
    try:
        return _core.mask_from_positions(positions.data_ptr(), positions.numel(), tuple(shape))
    except ValueError as error:
        raise ValueError(f"Mask for parameter '{name}': {error}") from None


def to_dense(mask: Mask) -> Tensor:
    """A dense boolean tensor of the mask's shape."""
    dense = torch.empty(mask.shape, dtype=torch.bool)
    mask.write_dense(dense.data_ptr())
    return dense


def in_memory_order(mask: Mask, tensor: Tensor) -> Mask:
    """The mask in one dimension, its elements in the order in which the tensor's lie in memory; each
    twice for a complex tensor, whose elements are two numbers."""
    if tensor.is_contiguous() and not tensor.is_complex():
        return _core.mask_from_words(mask.words(), (mask.numel,))
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    flat = to_dense(mask).permute(order).flatten()
    return _mask_of_dense(flat.repeat_interleave(2) if tensor.is_complex() else flat)


def load_masks(
    path: Union[str, os.PathLike],
    layout: str = "dense",
    memory_limit: Optional[int] = None,
) -> Dict[str, Any]:
    """The masks of a file, by name: PyTorch's ``.pt`` in any of the forms above, under "masks" or
    "intersection_masks", or safetensors. Nothing in the file is executed.

    `layout` says what comes back: "dense" boolean tensors, "coo" (boolean COO tensors), "compact"
    dictionaries, or "bitmap" (`Mask`, an eighth of the dense size). `memory_limit` bounds in bytes what
    reading may take beside the file (default: 1 GiB and 8 times the file's size)."""
    if layout not in _LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(_LAYOUTS)}, but got {layout!r}")
    if memory_limit is not None and memory_limit <= 0:
        raise ValueError(f"memory_limit must be positive, but got {memory_limit}")
    loaded = _core.load_masks(os.fsencode(path), memory_limit or 0)
    return {name: _LAYOUTS[layout](mask) for name, mask, _ in loaded}


def _positions_of(mask: Mask, dtype: torch.dtype) -> Tensor:
    positions = torch.empty(mask.count, dtype=dtype)
    mask.write_positions(positions.data_ptr(), torch.iinfo(dtype).bits)
    return positions


def _compact_of(mask: Mask) -> Dict[str, Any]:
    dtype = torch.int32 if mask.numel <= _INT32_MAX else torch.int64
    return _compact_of_positions(_positions_of(mask, dtype), torch.Size(mask.shape))


_LAYOUTS = {
    "dense": to_dense,
    "coo": lambda mask: _coo_mask(_positions_of(mask, torch.int64), torch.Size(mask.shape)),
    "compact": _compact_of,
    "bitmap": lambda mask: mask,
}

# ---- operations on COO masks --------------------------------------------------------------------


def _true_positions(mask: Tensor) -> Tensor:
    """Row-major positions of the true elements, each once, ascending."""
    mask = mask.coalesce()
    true = mask.values() != 0
    positions = torch.zeros_like(true, dtype=torch.long)
    for length, index in zip(mask.shape, mask.indices()):
        positions = positions * length + index
    return positions[true]


def _coo_of_positions(positions: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """A COO tensor of ascending positions and their values."""
    indices = torch.empty(len(shape), positions.numel(), dtype=torch.long, device=positions.device)
    for axis in reversed(range(len(shape))):
        indices[axis] = positions % max(shape[axis], 1)
        positions = positions // max(shape[axis], 1)
    return _coalesced(indices, values, shape)


def _coo_mask(positions: Tensor, shape: torch.Size) -> Tensor:
    return _coo_of_positions(positions, torch.ones_like(positions, dtype=torch.bool), shape)


def _require_sparse(message: str, *masks: Tensor) -> None:
    if not all(isinstance(mask, Tensor) and mask.is_sparse for mask in masks):
        raise ValueError(message)


def _savings(sparse_bytes: int, dense_bytes: int, prefix: str = "") -> Dict[str, Union[int, float]]:
    saved = dense_bytes - sparse_bytes
    return {
        f"{prefix}sparse_memory_bytes": sparse_bytes,
        f"{prefix}dense_memory_bytes": dense_bytes,
        "memory_savings_bytes": saved,
        "memory_savings_ratio": saved / dense_bytes if dense_bytes else 0.0,
    }


def _stored_bytes(*tensors: Tensor) -> int:
    return sum(tensor.element_size() * tensor.numel() for tensor in tensors)


class SparseMaskManager:
    """Operations on sparse COO masks. Nothing is made dense on the way, so they cost time and
    memory in proportion to the true elements."""

    @staticmethod
    def dense_to_sparse_coo(dense_mask: Tensor) -> Tensor:
        """A boolean COO mask of a dense one; what is not boolean is cast."""
        if not isinstance(dense_mask, Tensor):
            raise TypeError("Input must be a torch.Tensor")
        return _coo(dense_mask.bool(), torch.bool)

    @staticmethod
    def sparse_coo_to_dense(sparse_mask: Tensor) -> Tensor:
        """A dense boolean tensor, true where a value other than 0 is stored."""
        positions = _true_positions(sparse_mask)
        dense = torch.zeros(sparse_mask.numel(), dtype=torch.bool, device=sparse_mask.device)
        dense[positions] = True
        return dense.view(sparse_mask.shape)

    @staticmethod
    def sparse_logical_or(mask1: Tensor, mask2: Tensor) -> Tensor:
        """Elements true in either mask."""
        positions, _ = SparseMaskManager._counted(mask1, mask2)
        return _coo_mask(positions, mask1.shape)

    @staticmethod
    def sparse_logical_and(mask1: Tensor, mask2: Tensor) -> Tensor:
        """Elements true in both masks."""
        positions, counts = SparseMaskManager._counted(mask1, mask2)
        return _coo_mask(positions[counts == 2], mask1.shape)

    @staticmethod
    def _counted(mask1: Tensor, mask2: Tensor):
        _require_sparse("Both inputs must be sparse COO tensors", mask1, mask2)
        if mask1.shape != mask2.shape:
            raise ValueError("Masks must have the same shape")
        both = torch.cat([_true_positions(mask1), _true_positions(mask2)])
        return both.unique(return_counts=True)

    @staticmethod
    def sparse_logical_not(mask: Tensor) -> Tensor:
        """Elements that are false: most of them, so this saves no memory."""
        warnings.warn(
            "sparse_logical_not creates mostly dense tensors and may not save memory. "
            "Consider redesigning logic to avoid NOT operations on sparse masks.",
            UserWarning,
            stacklevel=2,
        )
        _require_sparse("Input must be a sparse COO tensor", mask)
        return _coo(~SparseMaskManager.sparse_coo_to_dense(mask), torch.bool)

    @staticmethod
    def apply_sparse_mask(tensor: Tensor, sparse_mask: Tensor, fill_value: float = 0.0) -> Tensor:
        """The tensor's values under the mask and `fill_value` everywhere else."""
        _require_sparse("Mask must be a sparse COO tensor", sparse_mask)
        if tensor.shape != sparse_mask.shape:
            raise ValueError("Tensor and mask must have the same shape")
        inside = SparseMaskManager.sparse_coo_to_dense(sparse_mask).to(tensor.device)
        return torch.where(inside, tensor, torch.full_like(tensor, fill_value))

    @staticmethod
    def sparse_mask_density(sparse_mask: Tensor) -> float:
        """The part of the elements that is true, between 0 and 1; 0.0 without elements."""
        _require_sparse("Input must be a sparse COO tensor", sparse_mask)
        numel = sparse_mask.numel()
        return int(sparse_mask.coalesce().values().count_nonzero()) / numel if numel else 0.0

    @staticmethod
    def get_sparse_memory_usage(sparse_mask: Tensor) -> Dict[str, Union[int, float]]:
        """What the COO tensor takes beside one byte per element, which is what a dense boolean
        tensor takes; the ratio is negative when it takes more. hone itself keeps one bit per
        element: 87.5 % below dense at any density."""
        _require_sparse("Input must be a sparse COO tensor", sparse_mask)
        mask = sparse_mask.coalesce()
        return _savings(_stored_bytes(mask.indices(), mask.values()), mask.numel())


class SparseGradientAccumulator:
    """Sums of gradients, kept only where a mask is true."""

    def __init__(self) -> None:
        self._sums: Dict[str, Tensor] = {}

    def add_sparse_gradient(
        self, name: str, param_shape: torch.Size, sparse_mask: Tensor, gradient: Tensor
    ) -> None:
        """Adds the gradient's values under the mask. Positions whose sum is 0 are let go; the
        masks of several calls may differ."""
        _require_sparse("sparse_mask must be a sparse COO tensor", sparse_mask)
        if gradient.shape != sparse_mask.shape:
            raise ValueError("Tensor and mask must have the same shape")
        positions = _true_positions(sparse_mask).to(gradient.device)
        values = gradient.detach().flatten()[positions]
        added = _coo_of_positions(positions, values, param_shape)
        if name in self._sums:
            total = (self._sums[name] + added).coalesce()
            kept = total.values() != 0
            added = _coalesced(total.indices()[:, kept], total.values()[kept], param_shape)
        self._sums[name] = added

    def get_accumulated_gradient(self, name: str) -> Optional[Tensor]:
        """The sum as a dense tensor, or None when nothing was added under that name."""
        return self._sums[name].to_dense() if name in self._sums else None

    def clear(self) -> None:
        """Forgets all sums."""
        self._sums.clear()

    def get_memory_usage(self) -> Dict[str, Union[int, float]]:
        """What the sums take beside dense float32 tensors of the same shapes."""
        sparse = sum(_stored_bytes(s.indices(), s.values()) for s in self._sums.values())
        dense = sum(4 * s.numel() for s in self._sums.values())
        return _savings(sparse, dense, prefix="total_")
