# SPDX-License-Identifier: Apache-2.0
"""Prints, as rows of docs/muon.md's table, how far hone's and torch's orthogonalised matrices are
from exact arithmetic and from the true polar factor, and their singular values.

    venv/bin/python tools/torch_muon_accuracy.py build/hone
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
from torch.optim._muon import _zeropower_via_newtonschulz

import safetensors_file

A, B, C = 3.4445, -4.7750, 2.0315


def matrices():
    torch.manual_seed(0)
    yield "random 256x1024", torch.randn(256, 1024)
    yield "random 1024x256", torch.randn(1024, 256)
    yield "random 256x256", torch.randn(256, 256)
    yield "rank 1, 256x1024", torch.randn(256, 1) @ torch.randn(1, 1024)
    yield "rank 8, 256x1024", torch.randn(256, 8) @ torch.randn(8, 1024)
    left = torch.linalg.qr(torch.randn(256, 256))[0]
    right = torch.linalg.qr(torch.randn(1024, 256))[0]
    for power in (3, 6):
        values = torch.logspace(0, -power, 256)
        yield f"condition 1e{power}, 256x1024", (left * values) @ right.T


def exact(matrix):
    x = matrix.double()
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / x.norm()
    for _ in range(5):
        r = x @ x.T
        x = A * x + (B * r + C * r @ r) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def hone(program, matrix, products):
    """Minus the parameter after one step from 0, with nothing but the matrix in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        spec = {"optimizer_type": "muon", "learning_rate": 1, "momentum": 0, "nesterov": False,
                "weight_decay": 0, "products": products}
        (path / "s.json").write_text(json.dumps(spec))
        safetensors_file.save(path / "p", {"w": torch.zeros_like(matrix)}, {})
        safetensors_file.save(path / "g", {"w": matrix}, {})
        subprocess.run([program, "step", "--spec", path / "s.json", "--params", path / "p",
                        "--grads", path / "g", "--params-out", path / "o", "--state-out",
                        path / "t"], check=True, stdout=subprocess.DEVNULL)
        data = (path / "o").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8:start])["w"]["data_offsets"]
    values = torch.frombuffer(bytearray(data[start + begin : start + end]), dtype=torch.float32)
    rows, columns = matrix.shape
    return -values.reshape(rows, columns).double() / max(1, rows / columns) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the hone command")
    options = parser.parse_args()
    print("| matrix | path | from exact | from the polar factor | singular values |")
    print("|---|---|---|---|---|")
    for name, matrix in matrices():
        u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
        rank = int((s > 1e-6 * s[0]).sum()) if "rank" in name else len(s)
        polar, wanted = u[:, :rank] @ v[:rank], exact(matrix)
        # What exact arithmetic makes of the matrix divided by its norm and rounded to float32 once.
        rounded = (matrix.double() / matrix.double().norm()).float()
        paths = {"exact": wanted, "exact, rounded once": exact(rounded),
                 "hone float32": hone(options.program, matrix, "float32"),
                 "hone bfloat16": hone(options.program, matrix, "bfloat16"),
                 "torch": _zeropower_via_newtonschulz(matrix, (A, B, C), 5, 1e-7).double()}
        for path, found in paths.items():
            values = torch.linalg.svdvals(found)
            print(f"| {name} | {path} | {(found - wanted).norm() / wanted.norm():.1e} | "
                  f"{(found - polar).norm() / polar.norm():.4f} | "
                  f"{values[:rank].min():.4f} to {values.max():.4f}"
                  + (f", the others up to {values[rank:].max():.1e} |" if rank < len(s) else " |"))


if __name__ == "__main__":
    main()
