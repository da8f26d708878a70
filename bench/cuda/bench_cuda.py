# SPDX-License-Identifier: Apache-2.0
"""bench_cuda.py [--out FILE.json] [CASE...]: optimizer steps on one GPU, hone beside PyTorch and beside
bare streams of the same bytes, in one run. Times are medians of CUDA events around single steps; host
times are wall time per call while nothing waits.

Needs HONE_LIBRARY (libhone.so.0), HONE_CUDA (libhone_cuda.so.0) and HONE_BARE (the library of bare.cu)."""
import ctypes as C
import gc
import json
import os
import statistics
import sys
import time

import torch

import hone_c

bare = C.CDLL(os.environ["HONE_BARE"])
device = torch.device("cuda", 0)


def gpt2(layers, width, vocab=50257, context=1024):
    block = [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,),
             (width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return [(vocab, width), (context, width)] + block * layers + [(width,), (width,)]


SHAPES = {"124M": gpt2(12, 768), "XL": gpt2(48, 1600), "10k": [(1024,)] * 10000}


def numel(shapes):
    return sum(torch.Size(s).numel() for s in shapes)


def make(shapes, dtype=torch.float32):
    torch.manual_seed(1)
    params = []
    for shape in shapes:
        p = torch.empty(shape, device=device, dtype=dtype).normal_(std=0.02).requires_grad_(True)
        p.grad = torch.empty_like(p).normal_(std=1e-3)
        params.append(p)
    return params


def free():
    gc.collect()
    torch.cuda.empty_cache()


def time_steps(step, warm=5, least=15, seconds=0.5):
    """Median milliseconds of single steps on the GPU, and their number."""
    for _ in range(warm):
        step()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    once = max(time.perf_counter() - begin, 1e-5)
    count = int(min(300, max(least, seconds / once)))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    times = [a.elapsed_time(b) for a, b in zip(events, events[1:])]
    return statistics.median(times), count


def host_time(step, count=100, rounds=7):
    """Microseconds of the calling thread for a call, with an idle device in front of it."""
    medians = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        times = []
        for _ in range(count // rounds + 1):
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        medians.append(statistics.median(times))
    torch.cuda.synchronize()
    return statistics.median(medians) * 1e6


def bare_stream(n, size, extra_read=False):
    """Milliseconds of a stream over four arrays of n elements, three of them written."""
    arrays = [torch.empty(n * size, device=device, dtype=torch.uint8).random_() for _ in range(4)]
    stream = C.c_void_p(torch.cuda.current_stream().cuda_stream)
    out = torch.zeros(1, device=device, dtype=torch.int32)
    pointers = [C.c_void_p(a.data_ptr()) for a in arrays]

    def step():
        if extra_read:
            bare.hone_bare_1r(pointers[0], C.c_size_t(n * size), C.c_void_p(out.data_ptr()), stream)
        bare.hone_bare_4r3w(*pointers, C.c_size_t(n * size), stream)

    result = time_steps(step)[0]
    del arrays, pointers
    free()
    return result


class AdoptForeach:
    """ADOPT over torch._foreach functions, as its authors' multi-tensor code calls them."""

    def __init__(self, params, lr=1e-3, beta1=0.9, beta2=0.9999, eps=1e-6):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.m = [torch.zeros_like(p) for p in params]
        self.v = [torch.zeros_like(p) for p in params]
        self.calls = 0

    @torch.no_grad()
    def step(self):
        grads = [p.grad for p in self.params]
        if self.calls == 0:
            torch._foreach_addcmul_(self.v, grads, grads)
            self.calls = 1
            return
        normed = torch._foreach_sqrt(self.v)
        torch._foreach_maximum_(normed, self.eps)
        normed = torch._foreach_div(grads, normed)
        clip = self.calls ** 0.25
        torch._foreach_maximum_(normed, -clip)
        torch._foreach_minimum_(normed, clip)
        torch._foreach_lerp_(self.m, normed, 1 - self.beta1)
        torch._foreach_add_(self.params, self.m, alpha=-self.lr)
        torch._foreach_mul_(self.v, self.beta2)
        torch._foreach_addcmul_(self.v, grads, grads, value=1 - self.beta2)
        self.calls += 1


def run_hone(params, rule, **options):
    optimizer = hone_c.Optimizer(rule, params, **options)
    ms, steps = time_steps(optimizer.step)
    host = host_time(optimizer.step)
    result = {"ms": ms, "steps": steps, "host_us": host, "bytes": optimizer.bytes()}
    optimizer.close()
    free()
    return result


def run_torch(optimizer, before=None):
    def step():
        if before is not None:
            before()
        optimizer.step()

    ms, steps = time_steps(step)
    host = host_time(step, count=28)
    optimizer.state = {} if hasattr(optimizer, "state") else None
    free()
    return {"ms": ms, "steps": steps, "host_us": host}


def case_adamw(which):
    n = numel(SHAPES[which])
    rows = {"bare": {"ms": bare_stream(n, 4)}}
    params = make(SHAPES[which])
    rows["hone"] = run_hone(params, "adamw")
    rows["torch fused"] = run_torch(torch.optim.AdamW(params, fused=True))
    if which != "10k":
        rows["torch foreach"] = run_torch(torch.optim.AdamW(params, foreach=True))
    return rows, 28 * n


def case_adopt(which="124M"):
    params = make(SHAPES[which])
    return {"hone": run_hone(params, "adopt"),
            "torch foreach": run_torch(AdoptForeach(params))}, 28 * numel(SHAPES[which])


def case_rmsprop(which="124M"):
    params = make(SHAPES[which])
    return {"hone": run_hone(params, "rmsprop"),
            "torch foreach": run_torch(torch.optim.RMSprop(params, foreach=True))}, \
        20 * numel(SHAPES[which])


def case_sgd(which="124M"):
    params = make(SHAPES[which])
    return {"hone": run_hone(params, "sgd", momentum=0.9, lr=1e-3),
            "torch fused": run_torch(torch.optim.SGD(params, lr=1e-3, momentum=0.9, fused=True)),
            "torch foreach": run_torch(torch.optim.SGD(params, lr=1e-3, momentum=0.9,
                                                       foreach=True))}, \
        20 * numel(SHAPES[which])


def case_clip(which="XL"):
    n = numel(SHAPES[which])
    rows = {"bare": {"ms": bare_stream(n, 4, extra_read=True)}}
    params = make(SHAPES[which])
    rows["hone"] = run_hone(params, "adamw", clip=1.0)
    rows["torch fused"] = run_torch(
        torch.optim.AdamW(params, fused=True),
        lambda: torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True))
    return rows, 32 * n


def case_bf16(which="XL"):
    n = numel(SHAPES[which])
    rows = {"bare": {"ms": bare_stream(n, 2)}}
    params = make(SHAPES[which], torch.bfloat16)
    rows["hone"] = run_hone(params, "adamw", state_dtype=torch.bfloat16)
    rows["torch fused"] = run_torch(torch.optim.AdamW(params, fused=True))
    return rows, 14 * n


def case_masked(which="124M"):
    params = make(SHAPES[which])
    words = [torch.randint(-2**31, 2**31 - 1, ((p.numel() + 31) // 32,), dtype=torch.int32)
             for p in params]
    plain = run_hone(params, "adamw")
    masked = run_hone(params, "adamw", masks=words, masked_lr=1e-4)
    return {"hone": masked, "hone without masks": plain}, 28 * numel(SHAPES[which])


MATRICES = [(4800, 1600), (1600, 1600), (6400, 1600), (1600, 6400)]


def case_muon(which="XL"):
    shapes = MATRICES * 48 if which == "XL" else [(s[0] * 12 // 25, s[1] * 12 // 25)
                                                 for s in MATRICES] * 12
    params = make(shapes)
    rows = {"hone": run_hone(params, "muon", products=1)}
    rows["torch"] = run_torch(torch.optim.Muon(params))
    return rows, 24 * numel(shapes)


def hard_matrices():
    torch.manual_seed(3)
    n, m = 768, 3072
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, device=device))[0]
    r = torch.linalg.qr(torch.randn(m, n, dtype=torch.float64, device=device))[0]
    line = torch.arange(n, dtype=torch.float64, device=device) / (n - 1)
    random = torch.randn(n, m, dtype=torch.float64, device=device)
    return {"random 768x3072": random, "random 3072x768": random.T.contiguous(),
            "random 1600x1600": torch.randn(1600, 1600, dtype=torch.float64, device=device),
            "rank 8": random[:, :8] @ random[:8, :],
            "condition 1e3": q @ torch.diag(10 ** (-3 * line)) @ r.T,
            "condition 1e6": q @ torch.diag(10 ** (-6 * line)) @ r.T}


def exact_polar(x, steps=5, a=3.4445, b=-4.7750, c=2.0315):
    x = x / x.norm()
    for _ in range(steps):
        r = x @ x.T
        x = a * x + (b * r + c * r @ r) @ x
    return x


def moved_by(step, p, matrix):
    """The orthogonal factor that one step without decay took from the parameter."""
    p.data.zero_()
    p.grad = matrix.float()
    step()
    torch.cuda.synchronize()
    return -p.detach().double() / max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5


def muon_accuracy():
    """Relative distances from the same polynomial in double: hone's 16-bit products, its float
    products, and torch."""
    found = {}
    for name, matrix in hard_matrices().items():
        wanted = exact_polar(matrix.float().double())
        row = {}
        for label, products in (("hone 16 bits", 1), ("hone float32", 0), ("torch", None)):
            p = torch.zeros_like(matrix, dtype=torch.float32).requires_grad_(True)
            p.grad = torch.zeros_like(p)
            options = {"lr": 1.0, "weight_decay": 0.0, "momentum": 0.0}
            if products is None:
                made = torch.optim.Muon([p], nesterov=False, **options)
                o = moved_by(made.step, p, matrix)
            else:
                p.grad = matrix.float()
                made = hone_c.Optimizer("muon", [p], products=products, nesterov=0, **options)
                p.data.zero_()
                made.step()
                torch.cuda.synchronize()
                o = -p.detach().double() / max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                made.close()
            row[label] = float((o - wanted).norm() / wanted.norm())
        found[name] = row
        print(f"muon accuracy {name:18}", "  ".join(f"{k} {v:.2e}" for k, v in row.items()),
              flush=True)
    return found


CASES = {
    "adamw_xl": lambda: case_adamw("XL"), "adamw_124m": lambda: case_adamw("124M"),
    "adamw_10k": lambda: case_adamw("10k"), "adopt_124m": case_adopt, "adopt_xl":
    lambda: case_adopt("XL"), "rmsprop_124m": case_rmsprop, "rmsprop_xl": lambda:
    case_rmsprop("XL"), "sgd_124m": case_sgd, "sgd_xl": lambda: case_sgd("XL"),
    "clip_xl": case_clip, "bf16_xl": case_bf16, "masked_124m": case_masked, "masked_xl":
    lambda: case_masked("XL"), "muon_xl": case_muon, "muon_124m": lambda: case_muon("124M"),
}


def main(arguments):
    out = None
    if arguments[:1] == ["--out"]:
        out, arguments = arguments[1], arguments[2:]
    results = {"device": torch.cuda.get_device_name(0), "torch": torch.__version__,
               "cuda": torch.version.cuda, "cases": {}}
    print(results["device"], "torch", results["torch"])
    if not arguments or "muon_accuracy" in arguments:
        results["muon_accuracy"] = muon_accuracy()
    for name in [a for a in arguments if a != "muon_accuracy"] or list(CASES):
        rows, size = CASES[name]()
        free()
        results["cases"][name] = {"bytes": size, "rows": rows}
        mine = rows["hone"]["ms"]
        line = f"{name:14} hone {mine:8.4f} ms {size / mine / 1e9:6.3f} TB/s host " \
               f"{rows['hone']['host_us']:6.1f} us"
        for other, row in rows.items():
            if other != "hone":
                line += f" | {other} {row['ms']:.4f} ({row['ms'] / mine:.3f}x"
                line += f", host {row['host_us']:.0f})" if "host_us" in row else ")"
        print(line, flush=True)
        if out:
            with open(out, "w") as file:
                json.dump(results, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
