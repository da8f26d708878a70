# SPDX-License-Identifier: Apache-2.0
"""Tensors as the library takes them: checked here, then handed over by address."""

import torch
from torch._subclasses.fake_tensor import FakeTensor

# As in hone_dtype of <hone/tensor.h>.
DTYPES = {
    torch.float32: 0,
    torch.float64: 1,
    torch.bfloat16: 2,
    torch.float16: 3,
    torch.int64: 6,
    torch.int32: 7,
    torch.int16: 8,
    torch.int8: 9,
    torch.uint8: 13,
    torch.bool: 14,
}
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_memory(tensor, what):
    """Raises unless `tensor` is a strided tensor with memory on the processor."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{what} must be a Tensor, not {type(tensor).__name__}")
    if isinstance(tensor, FakeTensor) or tensor.device.type == "meta":
        raise RuntimeError(f"{what} is a tensor without memory (fake or on the meta device)")
    if tensor.layout is not torch.strided:
        raise TypeError(f"{what} is {tensor.layout}; it must be torch.strided")
    if tensor.device.type != "cpu":
        raise RuntimeError(
            f"{what} is on {tensor.device}; tables are on the CPU, so move it there with .cpu()"
        )


def integers(tensor, what):
    """`tensor` as contiguous int64; without a copy if it is that already."""
    check_memory(tensor, what)
    if tensor.dtype is not torch.int64:
        if tensor.dtype is not torch.int32:
            raise TypeError(f"{what} is {tensor.dtype}; it must be torch.int64 (or torch.int32)")
        tensor = tensor.to(torch.int64)
    return tensor.detach().contiguous()


def rows(tensor, count, width, what):
    """`tensor` as a contiguous [count, width] one of floats."""
    check_memory(tensor, what)
    if tensor.dtype not in FLOATS:
        raise TypeError(
            f"{what} is {tensor.dtype}; it must be torch.float32, float64, bfloat16 or float16"
        )
    if tensor.numel() != count * width:
        raise ValueError(
            f"{what} has shape {tuple(tensor.shape)}; it must hold {count} rows of {width} values"
        )
    return tensor.detach().reshape(count, width).contiguous()
