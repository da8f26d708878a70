# SPDX-License-Identifier: Apache-2.0
"""Times torch.optim.Muon and hone's muon in turns over GPT-2 124M's 48 matrices, on this machine's
processors, and prints medians of the ratios of neighbouring times. With --json they are also written
to a file.

    venv/bin/python tools/torch_muon_bench.py build/bench/hone-muon-bench
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

import torch

SHAPES = [(2304, 768), (768, 768), (3072, 768), (768, 3072)]
STEPS = 5
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def torch_flops(layers):
    """Of the products that torch.optim.Muon makes: none is known to be symmetric."""
    total = 0
    for rows, columns in SHAPES * layers:
        n, m = min(rows, columns), max(rows, columns)
        total += STEPS * (4 * n * n * m + 2 * n**3)
    return total


def hone_flops(layers):
    """Of hone's products where it makes them by tiles: a symmetric one counts half. A matrix that is
    not square takes three steps and then two at a time, each a Gram matrix, 4 k - 3 products of its
    size and one of the matrix's."""
    total = 0
    for rows, columns in SHAPES * layers:
        n, m = min(rows, columns), max(rows, columns)
        for k in (1,) * STEPS if n == m else (3, 2):
            total += 3 * n * n * m + (4 * k - 3) * n**3
    return total


def peak(dtype):
    """The best rate of torch.mm, of a product of the steps' sizes and of a larger one."""
    best = 0
    for n, k in ((768, 3072), (2048, 2048)):
        a = torch.randn(n, k).to(dtype)
        b = torch.randn(k, n).to(dtype)
        for _ in range(40):
            begin = time.perf_counter()
            torch.mm(a, b)
            best = max(best, 2 * n * n * k / (time.perf_counter() - begin))
    return best


def processor():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {"name": facts.get("model name", platform.processor()),
            "family": facts.get("cpu family"), "model": facts.get("model"),
            "cpus": os.cpu_count(),
            "flags": [flag for flag in wanted if flag in facts.get("flags", "").split()]}


def summary(times, baseline, flops, rate):
    """rate: the peak that the products could have had."""
    ratios = sorted(a / b for a, b in zip(baseline, times))
    median = statistics.median(times)
    return {"median_ms": round(median, 1), "best_ms": round(min(times), 1),
            "worst_ms": round(max(times), 1),
            "speed_of_torch": [round(r, 3) for r in (statistics.median(ratios), ratios[0],
                                                     ratios[-1])],
            "gflop": round(flops / 1e9, 1), "gflop_per_s": round(flops / median / 1e6, 1),
            "fraction_of_peak": round(flops / median * 1e3 / rate, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="hone-muon-bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--json", type=argparse.FileType("w"))
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

    peaks = {name: peak(dtype) for name, dtype in DTYPES.items()}
    contenders = {"torch": time_torch, "float32": time_hone, "bfloat16": time_hone}
    times = {name: [] for name in contenders}
    for turn in range(options.rounds + 1):
        for name, measure in contenders.items():
            milliseconds = measure(name)
            if turn > 0:  # the first warms up
                times[name].append(milliseconds)
    hone.stdin.close()
    hone.wait()
    for name, dtype in DTYPES.items():
        peaks[name] = max(peaks[name], peak(dtype))
    flops = {"torch": torch_flops(options.layers), "float32": hone_flops(options.layers),
             "bfloat16": hone_flops(options.layers)}
    results = {name: summary(times[name], times["torch"], flops[name],
                             peaks["float32" if name == "float32" else "bfloat16"])
               for name in contenders}
    print(f"torch {torch.__version__}, {options.threads} threads, {4 * options.layers} matrices, "
          f"{options.rounds} rounds in turns")
    for name, rate in peaks.items():
        print(f"peak of torch.mm in {name}: {rate / 1e9:.0f} GFLOP/s")
    for name, result in results.items():
        median, least, most = result["speed_of_torch"]
        print(f"{name:9s} median {result['median_ms']:8.1f} ms, best {result['best_ms']:8.1f} ms, "
              f"speed {median:.2f} of torch's ({least:.2f} to {most:.2f}); "
              f"{result['gflop']:.0f} GFLOP, {result['gflop_per_s']:.0f} GFLOP/s, "
              f"{100 * result['fraction_of_peak']:.0f} % of peak")
    if options.json:
        json.dump({"benchmark": "Muon over the matrices of GPT-2 124M",
                   "command": "tools/torch_muon_bench.py build/bench/hone-muon-bench "
                              f"--rounds {options.rounds} --layers {options.layers} "
                              f"--threads {options.threads}",
                   "machine": processor(), "torch": torch.__version__,
                   "threads": options.threads, "matrices": 4 * options.layers,
                   "peak_gflop_per_s": {name: round(rate / 1e9, 1)
                                        for name, rate in peaks.items()},
                   "results": results}, options.json, indent=1)
        options.json.write("\n")


if __name__ == "__main__":
    main()
