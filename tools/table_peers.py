#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains an embedding end to end beside other libraries: look up, copy out, sum gradients of
repeated ids, step. Peers: torch (Embedding(sparse=True) and SparseAdam) and fbgemm (fbgemm-gpu-cpu,
each optimizer that its CPU path accepts). Ids are Zipf-distributed and the same for all. hone runs
before and after the peer. Prints one JSON object.

    tools/table_peers.py build/release/bench/table/bench_table_steps torch [--threads 1]
"""
import argparse
import json
import statistics
import subprocess
import tempfile
import time

import numpy
import torch

WARM = 5


def zipf_ids(rows, count, exponent):
    """Ranks by the inverse of their distribution, spread over the rows by an odd multiplier."""
    weights = 1 / numpy.arange(1, rows + 1, dtype=numpy.float64) ** exponent
    total = numpy.cumsum(weights)
    draws = numpy.random.default_rng(1).random(count) * total[-1]
    ranks = numpy.minimum(numpy.searchsorted(total, draws), rows - 1)
    return (ranks.astype(numpy.int64) * 2654435761) % rows


def run_hone(options, ids_path, rule):
    command = [options.bench, ids_path, str(options.rows), str(options.width), str(options.batch),
               rule, str(options.threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def time_batches(step, ids, batch):
    took = []
    for first in range(0, len(ids) - batch + 1, batch):
        start = time.perf_counter()
        step(ids[first:first + batch])
        took.append(time.perf_counter() - start)
    return statistics.median(took[WARM:])


def run_torch(options, ids, grads):
    with torch.no_grad():
        embedding = torch.nn.Embedding(options.rows, options.width, sparse=True)
    optimizer = torch.optim.SparseAdam(embedding.parameters(), lr=1e-3)

    def step(batch):
        optimizer.zero_grad()
        embedding(batch).backward(grads)
        optimizer.step()
    return {"SparseAdam": time_batches(step, ids, options.batch)}


def run_fbgemm(options, ids, grads):
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice, SplitTableBatchedEmbeddingBagsCodegen)
    offsets = torch.arange(options.batch + 1, dtype=torch.int64)
    results = {}
    for name in EmbOptimType.__members__:
        try:
            table = SplitTableBatchedEmbeddingBagsCodegen(
                [(options.rows, options.width, EmbeddingLocation.HOST, ComputeDevice.CPU)],
                optimizer=EmbOptimType[name], learning_rate=1e-3, eps=1e-8,
                pooling_mode=PoolingMode.SUM, device=torch.device("cpu"))
            table.init_embedding_weights_uniform(-0.01, 0.01)  # else rows are one shared zero page

            def step(batch):
                table(batch, offsets).backward(grads)
            results[name] = time_batches(step, ids, options.batch)
            del table
        except Exception as error:  # the CPU path has no such optimizer
            results[name] = str(error).strip().split("\n")[0][:80]
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench")
    parser.add_argument("peer", choices=["torch", "fbgemm"])
    parser.add_argument("--rows", type=int, default=1 << 22)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=65536)
    parser.add_argument("--batches", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--exponent", type=float, default=1.05)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = zipf_ids(options.rows, options.batches * options.batch, options.exponent)
    unique = [len(numpy.unique(ids[i:i + options.batch]))
              for i in range(0, len(ids), options.batch)]
    grads = (torch.arange(options.batch * options.width) % 17 * 0.01 - 0.08).float()
    grads = grads.reshape(options.batch, options.width)
    rule = "sparse_adam" if options.peer == "torch" else "rowwise_adagrad"
    with tempfile.NamedTemporaryFile() as file:
        ids.tofile(file.name)
        hone = [run_hone(options, file.name, rule)]
        run = run_torch if options.peer == "torch" else run_fbgemm
        peers = run(options, torch.from_numpy(ids), grads)
        hone.append(run_hone(options, file.name, rule))
    best = min(value for value in peers.values() if isinstance(value, float))
    print(json.dumps({
        "rows": options.rows, "width": options.width, "batch": options.batch,
        "zipf_exponent": options.exponent, "unique_ids_per_batch": statistics.median(unique),
        "threads": options.threads, "torch": torch.__version__, "hone_rule": rule,
        "hone_seconds_per_batch": hone, "peer_seconds_per_batch": peers,
        "best_peer_over_hone": best / max(hone)}, indent=2))


if __name__ == "__main__":
    main()
