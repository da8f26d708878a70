# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/masks/old/torch_VERSION.pt with the torch that runs it, from 1.6 on: one mask in
every layout, all of them [4, 5] with every third element true, and a summary. Run it with each version
whose files are to be held against the reader.

    venv/bin/python tools/torch_old_masks.py
"""

import argparse
import pathlib

import torch


def layouts():
    positions = torch.arange(0, 20, 3)
    mask = torch.zeros(20, dtype=torch.bool)
    mask[positions] = True
    mask = mask.reshape(4, 5)
    coordinates = torch.stack([positions // 5, positions % 5])
    ones = torch.ones(len(positions))
    compact = {"shape": mask.shape, "nnz": len(positions), "dtype": "bool", "layout": "compact_sparse"}
    return {
        "dense": mask,
        "view": mask.t().contiguous().t(),
        "bytes": mask.to(torch.uint8),
        "coo_float32": torch.sparse_coo_tensor(coordinates, ones, mask.shape).coalesce(),
        "coo_bool": torch.sparse_coo_tensor(coordinates, ones.bool(), mask.shape),
        "compact_int32": dict(compact, indices=positions.int()),
        "compact_int64": dict(compact, indices=positions),
    }


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write masks with this version of torch.")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/masks/old")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    masks = layouts()
    numbers = {"active_count": 7, "total_count": 20, "density": 0.35, "sparsity": 0.65}
    summary = {name: dict(numbers, shape=[4, 5]) for name in masks}
    path = folder / f"torch_{torch.__version__.split('+')[0]}.pt"
    torch.save({"masks": masks, "summary": summary}, path)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
