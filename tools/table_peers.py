#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains an embedding end to end beside other libraries: look up, copy out, sum gradients of
repeated ids, step. Peers: torch (Embedding(sparse=True) and SparseAdam) and fbgemm (fbgemm-gpu-cpu,
each optimizer that its CPU path accepts). Ids are Zipf-distributed and the same for all. hone and
the peer take turns of some batches, so that both meet the same machine; a turn counts by the median
of its batches but the first, and the ratio is the median over the turns. Prints one JSON object.

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


def zipf_ids(rows, count, exponent):
    """Ranks by the inverse of their distribution, spread over the rows by an odd multiplier."""
    weights = 1 / numpy.arange(1, rows + 1, dtype=numpy.float64) ** exponent
    total = numpy.cumsum(weights)
    draws = numpy.random.default_rng(1).random(count) * total[-1]
    ranks = numpy.minimum(numpy.searchsorted(total, draws), rows - 1)
    return (ranks.astype(numpy.int64) * 2654435761) % rows


class Hone:
    """The benchmark's process: it trains one turn for each line it gets."""

    def __init__(self, options, ids_path, rule):
        self.process = subprocess.Popen(
            [options.bench, ids_path, str(options.rows), str(options.width), str(options.batch),
             rule, str(options.threads), str(options.batches)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peer_turn(step, ids, batch):
    took = []
    for first in range(0, len(ids), batch):
        start = time.perf_counter()
        step(ids[first:first + batch])
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def take_turns(options, ids, ids_path, rule, step):
    """The first turn of each warms up and is not counted."""
    hone = Hone(options, ids_path, rule)
    size = options.batches * options.batch
    turns = []
    for first in range(0, len(ids), size):
        own = hone.turn()
        turns.append((own, peer_turn(step, ids[first:first + size], options.batch)))
    hone.close()
    own, peer = zip(*turns[1:])
    ratios = sorted(b / a for a, b in turns[1:])
    return {"hone_seconds": statistics.median(own), "peer_seconds": statistics.median(peer),
            "peer_over_hone": statistics.median(ratios),
            "peer_over_hone_range": [ratios[0], ratios[-1]]}


def torch_step(options, grads):
    with torch.no_grad():
        embedding = torch.nn.Embedding(options.rows, options.width, sparse=True)
    optimizer = torch.optim.SparseAdam(embedding.parameters(), lr=1e-3)

    def step(batch):
        optimizer.zero_grad()
        embedding(batch).backward(grads)
        optimizer.step()
    return step


def fbgemm_step(options, grads, name):
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import (
        BoundsCheckMode, EmbeddingLocation, PoolingMode)
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice, SplitTableBatchedEmbeddingBagsCodegen)
    offsets = torch.arange(options.batch + 1, dtype=torch.int64)
    table = SplitTableBatchedEmbeddingBagsCodegen(
        [(options.rows, options.width, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType[name], learning_rate=1e-3, eps=1e-8, pooling_mode=PoolingMode.SUM,
        bounds_check_mode=BoundsCheckMode.NONE, device=torch.device("cpu"))
    table.init_embedding_weights_uniform(-0.01, 0.01)  # else rows are one shared zero page
    return lambda batch: table(batch, offsets).backward(grads)


def run_fbgemm(options, ids, ids_path, rule, grads):
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    results = {}
    for name in options.optimizers or EmbOptimType.__members__:
        try:
            step = fbgemm_step(options, grads, name)
            step(ids[:options.batch])
        except Exception as error:  # the CPU path has no such optimizer
            results[name] = str(error).strip().split("\n")[0][:80]
            continue
        results[name] = take_turns(options, ids, ids_path, rule, step)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench")
    parser.add_argument("peer", choices=["torch", "fbgemm"])
    parser.add_argument("--rows", type=int, default=1 << 22)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=65536)
    parser.add_argument("--batches", type=int, default=8, help="of a turn")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--exponent", type=float, default=1.05)
    parser.add_argument("--optimizers", nargs="*", help="of FBGEMM; default: all")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = zipf_ids(options.rows, (options.turns + 1) * options.batches * options.batch,
                   options.exponent)
    unique = [len(numpy.unique(ids[i:i + options.batch]))
              for i in range(0, len(ids), options.batch)]
    grads = (torch.arange(options.batch * options.width) % 17 * 0.01 - 0.08).float()
    grads = grads.reshape(options.batch, options.width)
    rule = "sparse_adam" if options.peer == "torch" else "rowwise_adagrad"
    with tempfile.NamedTemporaryFile() as file:
        ids.tofile(file.name)
        ids = torch.from_numpy(ids)
        if options.peer == "torch":
            step = torch_step(options, grads)
            peers = {"SparseAdam": take_turns(options, ids, file.name, rule, step)}
        else:
            peers = run_fbgemm(options, ids, file.name, rule, grads)
    print(json.dumps({
        "rows": options.rows, "width": options.width, "batch": options.batch,
        "zipf_exponent": options.exponent, "unique_ids_per_batch": statistics.median(unique),
        "threads": options.threads, "turns": options.turns, "batches_per_turn": options.batches,
        "torch": torch.__version__, "hone_rule": rule, "peers": peers,
        "least_peer_over_hone": min(peer["peer_over_hone"] for peer in peers.values()
                                    if isinstance(peer, dict))}, indent=2))


if __name__ == "__main__":
    main()
