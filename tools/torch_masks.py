# SPDX-License-Identifier: Apache-2.0
"""Writes small mask files, one per layout that hone reads, with torch.save into
tests/golden/masks/, and masks.json, which says what each of them holds. Run again it writes the
same bytes, but for legacy_stream.pt: that format numbers storages by their address.

    venv/bin/python tools/torch_masks.py
"""

import argparse
import fractions
import json
import pathlib

import torch

import safetensors_file


def random_mask(shape, density, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) < density


def model_masks():
    """The masks of a small model: every rank, no True at all, all True, no element."""
    return {
        "embed.weight": random_mask((6, 5), 0.2, 1),
        "head.bias": random_mask((9,), 0.5, 2),
        "conv.weight": random_mask((2, 3, 4), 0.3, 3),
        "frozen.weight": torch.zeros(4, 4, dtype=torch.bool),
        "full.weight": torch.ones(3, 3, dtype=torch.bool),
        "scale": torch.tensor(True),
        "empty.weight": torch.zeros(0, 4, dtype=torch.bool),
    }


def coo(mask, value_dtype):
    indices = mask.nonzero().t().contiguous()
    values = torch.ones(indices.shape[1], dtype=value_dtype)
    return torch.sparse_coo_tensor(indices, values, mask.shape).coalesce()


def compact(mask, index_dtype):
    positions = mask.flatten().nonzero().flatten().to(index_dtype)
    return {
        "indices": positions,
        "shape": mask.shape,
        "nnz": positions.numel(),
        "dtype": "bool",
        "layout": "compact_sparse",
    }


def every(masks, convert):
    return {name: convert(mask) for name, mask in masks.items()}


def summary(masks):
    result = {}
    for name, mask in masks.items():
        active, total = int(mask.sum()), mask.numel()
        density = active / total if total else 0.0
        result[name] = {
            "shape": list(mask.shape),
            "active_count": active,
            "total_count": total,
            "density": density,
            "sparsity": 1.0 - density,
        }
    return result


def views(masks):
    """Masks that are no plain arrays: transposed, one column, and two parts of one storage."""
    plane = masks["embed.weight"]
    line = masks["head.bias"].clone()
    return {
        "transposed": plane.t(),
        "column": plane[:, 2],
        "first": line[:5],
        "second": line[5:],
    }


def uncoalesced(mask):
    """Its positions in reverse order, the first of them twice."""
    indices = mask.nonzero().t().flip(1)
    indices = torch.cat([indices, indices[:, :1]], dim=1)
    return torch.sparse_coo_tensor(indices, torch.ones(indices.shape[1]), mask.shape)


def explicit_zeros(mask):
    """Every position stored, the value 0 where the mask is False."""
    indices = torch.ones_like(mask).nonzero().t().contiguous()
    return torch.sparse_coo_tensor(indices, mask.flatten().float(), mask.shape).coalesce()


class Recorder:
    """Saves a file and notes what it holds."""

    def __init__(self, folder):
        self.folder = folder
        self.files = []

    def note(self, name, about, key, layout, masks, has_summary=False):
        """masks is None for a file that must be refused."""
        entry = {"file": name, "about": about, "loads": masks is not None}
        if masks is not None:
            entry["key"] = key
            entry["layout"] = layout
            entry["summary"] = has_summary
            entry["masks"] = {
                mask_name: {
                    "shape": list(mask.shape),
                    "true": mask.reshape(-1).nonzero().flatten().tolist(),
                }
                for mask_name, mask in masks.items()
            }
        self.files.append(entry)

    def save(self, name, content, *description, legacy=False, **more):
        torch.save(content, self.folder / name, _use_new_zipfile_serialization=not legacy)
        self.note(name, *description, **more)


def write_layouts(recorder):
    masks = model_masks()
    # A sparse tensor without dimensions or elements is nothing that an exporter writes.
    ranked = {name: mask for name, mask in masks.items() if mask.dim() > 0 and mask.numel() > 0}
    summaries = summary(masks)
    recorder.save(
        "dense_bool.pt",
        {
            "masks": masks,
            "summary": summaries,
            "kl_divergence": 0.03125,
        },
        "dense bool tensors of the parameters' shapes, with summary and divergence",
        "masks",
        "dense",
        masks,
        has_summary=True,
    )
    recorder.save(
        "dense_views.pt",
        {"masks": views(masks)},
        "dense bool tensors with strides and offsets, two of them in one storage",
        "masks",
        "dense",
        views(masks),
    )
    for suffix, dtype in (("float32", torch.float32), ("bool", torch.bool)):
        recorder.save(
            f"coo_{suffix}.pt",
            {"masks": every(ranked, lambda mask: coo(mask, dtype)), "summary": summary(ranked)},
            f"coalesced COO tensors with {suffix} values",
            "masks",
            "coo",
            ranked,
            has_summary=True,
        )
    recorder.save(
        "coo_uncoalesced.pt",
        {"masks": every(ranked, uncoalesced)},
        "COO tensors in reverse order, one position stored twice",
        "masks",
        "coo",
        ranked,
    )
    recorder.save(
        "coo_explicit_zeros.pt",
        {"masks": every(ranked, explicit_zeros)},
        "COO tensors that store zeros too: only a value other than 0 means True",
        "masks",
        "coo",
        ranked,
    )
    for bits, dtype in (("int32", torch.int32), ("int64", torch.int64)):
        recorder.save(
            f"compact_{bits}.pt",
            {"masks": every(masks, lambda mask: compact(mask, dtype)), "summary": summaries},
            f"compact dictionaries with {bits} positions",
            "masks",
            "compact",
            masks,
            has_summary=True,
        )
    recorder.save(
        "intersection.pt",
        {
            "intersection_masks": every(masks, lambda mask: compact(mask, torch.int32)),
            "summary": summaries,
        },
        "compact dictionaries under intersection_masks",
        "intersection_masks",
        "compact",
        masks,
        has_summary=True,
    )
    recorder.save(
        "bare.pt",
        masks,
        "dense bool tensors directly in the top dictionary",
        None,
        "dense",
        masks,
    )
    mixed = {
        "embed.weight": coo(masks["embed.weight"], torch.float32),
        "head.bias": masks["head.bias"],
        "conv.weight": compact(masks["conv.weight"], torch.int32),
        "full.weight": coo(masks["full.weight"], torch.bool),
    }
    recorder.save(
        "mixed.pt",
        {"masks": mixed},
        "a different layout for each name",
        "masks",
        "mixed",
        {name: masks[name] for name in mixed},
    )


def write_refused(recorder):
    masks = model_masks()
    recorder.save(
        "legacy_stream.pt",
        {"masks": {"head.bias": masks["head.bias"]}},
        "the stream format from before torch 1.6, no zip archive",
        None,
        None,
        None,
        legacy=True,
    )
    recorder.save(
        "unknown_global.pt",
        {"masks": {"head.bias": masks["head.bias"]}, "note": fractions.Fraction(1, 3)},
        "the pickle names fractions.Fraction, which no mask file needs",
        None,
        None,
        None,
    )
    content = {"summary": summary(masks)}
    text = json.dumps(content, indent=2) + "\n"
    (recorder.folder / "summary_only.json").write_text(text)
    recorder.note("summary_only.json", "a summary without masks", None, None, None)


def main():
    torch.sparse.check_sparse_tensor_invariants.enable()
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Write mask files of every layout.")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tests/golden/masks")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(arguments.out)
    write_layouts(recorder)
    write_refused(recorder)
    content = {"torch_version": torch.__version__, "files": recorder.files}
    (arguments.out / "masks.json").write_text(safetensors_file.one_line(content) + "\n")
    total = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}: {len(recorder.files)} files and masks.json, {total} bytes")


if __name__ == "__main__":
    main()
