# SPDX-License-Identifier: Apache-2.0
"""Times torch.optim.Muon and hone's muon in turns over GPT-2 124M's 48 matrices, on this machine's
processors, and prints medians of the ratios of neighbouring times.

    venv/bin/python tools/torch_muon_bench.py build/bench/hone-muon-bench
"""

import argparse
import os
import statistics
import subprocess
import time

import torch

SHAPES = [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
STEPS = 5


def torch_flops(layers):
    """Of the products that torch.optim.Muon makes: none is known to be symmetric."""
    total = 0
    for rows, columns in SHAPES * layers:
        n, m = min(rows, columns), max(rows, columns)
        total += STEPS * (4 * n * n * m + 2 * n**3)
    return total


def peak(dtype):
    """The best rate of a product of the steps' sizes."""
    a = torch.randn(768, 3072).to(dtype)
    b = torch.randn(3072, 768).to(dtype)
    best = float("inf")
    for _ in range(40):
        begin = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begin)
    return 2 * 768 * 768 * 3072 / best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="hone-muon-bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    params = []
    for shape in SHAPES * options.layers:
        param = torch.nn.Parameter(torch.randn(shape))
        param.grad = torch.randn(shape)
        params.append(param)
    optimizer = torch.optim.Muon(params)
    hone = subprocess.Popen([options.program, "--serve", str(options.layers)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, OMP_NUM_THREADS=str(options.threads)))

    def time_hone(products):
        hone.stdin.write(products + "\n")
        hone.stdin.flush()
        return float(hone.stdout.readline())

    def time_torch(_):
        begin = time.perf_counter()
        optimizer.step()
        return (time.perf_counter() - begin) * 1e3

    contenders = {"torch": time_torch, "float32": time_hone, "bfloat16": time_hone}
    times = {name: [] for name in contenders}
    for turn in range(options.rounds + 1):
        for name, measure in contenders.items():
            milliseconds = measure(name)
            if turn > 0:  # the first warms up
                times[name].append(milliseconds)
    hone.stdin.close()
    hone.wait()
    print(f"torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds in turns")
    print(f"peak of torch.mm: float32 {peak(torch.float32) / 1e9:.0f} GFLOP/s, "
          f"bfloat16 {peak(torch.bfloat16) / 1e9:.0f} GFLOP/s")
    print(f"torch's products: {torch_flops(options.layers) / 1e9:.0f} GFLOP")
    for name, list_of_times in times.items():
        ratios = [a / b for a, b in zip(times["torch"], list_of_times)]
        print(f"{name:9s} median {statistics.median(list_of_times):8.1f} ms, best "
              f"{min(list_of_times):8.1f} ms, speed {statistics.median(ratios):.2f} of torch's "
              f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
