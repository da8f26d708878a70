# SPDX-License-Identifier: Apache-2.0
"""A training step over a table against PyTorch's sparse embedding: look up, backward, step.

    python bench/python/bench_sparse.py [--out FILE.json] [--repeat N]

Both sides hold the same number of rows and see the same batches, in turns. PyTorch's side is
nn.Embedding(sparse=True) or nn.EmbeddingBag with torch.optim.SparseAdam: its keys are row numbers, so it
neither hashes nor grows. A repetition gives one ratio (PyTorch / hone: above 1 hone is faster); reported
are the medians.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time

import torch

from hone.sparse import HashTable, SparseAdam

# (name, rows, width, keys of a batch, keys of a bag or 0)
CASES = [
    ("rows", 1_000_000, 64, 16_384, 0),
    ("rows-narrow", 1_000_000, 16, 65_536, 0),
    ("bags", 1_000_000, 64, 65_536, 16),
]


def make(rows, width, bag):
    if bag:
        embedding = torch.nn.EmbeddingBag(rows, width, mode="sum", sparse=True)
    else:
        embedding = torch.nn.Embedding(rows, width, sparse=True)
    table = HashTable([width])
    with torch.no_grad():
        for begin in range(0, rows, 100_000):
            table(torch.arange(begin, min(begin + 100_000, rows)))
    return (
        (table, SparseAdam({"t": table})),
        (embedding, torch.optim.SparseAdam(embedding.parameters())),
    )


def step(module, optimizer, ids, bag):
    """Seconds of look-up, backward and step."""
    begin = time.perf_counter()
    if bag and isinstance(module, HashTable):
        out = module(ids, mode="sum")
    else:
        out = module(ids)
    optimizer.zero_grad()
    out.backward(torch.ones_like(out))
    optimizer.step()
    return time.perf_counter() - begin


def run(name, rows, width, count, bag, repeat):
    sides = make(rows, width, bag)
    ratios, times = [], ([], [])
    for turn in range(repeat + 2):
        ids = torch.randint(rows, (count // bag, bag) if bag else (count,))
        order = (0, 1) if turn % 2 else (1, 0)
        spent = [0.0, 0.0]
        for side in order:
            spent[side] = step(*sides[side], ids, bag)
        if turn >= 2:
            ratios.append(spent[1] / spent[0])
            for side in (0, 1):
                times[side].append(spent[side] * 1e3)
    return {
        "case": name,
        "rows": rows,
        "width": width,
        "keys": count,
        "bag": bag,
        "hone_ms": round(statistics.median(times[0]), 3),
        "torch_ms": round(statistics.median(times[1]), 3),
        "ratio": round(statistics.median(ratios), 2),
        "quartiles": [round(q, 2) for q in statistics.quantiles(ratios, n=4)[::2]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="write the results to this file")
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    results = []
    for case in CASES:
        results.append(run(*case, options.repeat))
        print(json.dumps(results[-1]), flush=True)
    if options.out:
        report = {
            "command": " ".join(["python", *sys.argv]),
            "machine": {
                "processor": next(
                    (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line),
                    platform.processor(),
                ),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
            "results": results,
        }
        with open(options.out, "w") as file:
            json.dump(report, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
