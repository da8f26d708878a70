# SPDX-License-Identifier: Apache-2.0
"""Writes a safetensors file whose bytes depend on its contents alone: keys in the order given,
so that a golden file made again from the same numbers shows no difference in git."""

import json
import math

import torch

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}


def one_line(value):
    """JSON without spaces; refuses NaN and infinity, which JSON cannot hold."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def save(path, tensors, metadata):
    """Writes {name: tensor} and {key: string} to path, widest elements first for alignment."""
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header = {"__metadata__": metadata}
    chunks = []
    offset = 0
    for name, tensor in ordered:
        size = math.prod(tensor.shape) * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        chunks.append(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        offset += size
    text = one_line(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(chunks))
