# SPDX-License-Identifier: Apache-2.0
"""One small model, trained by PyTorch's optimizers and by hone's: only the import differs."""

import time

import torch

from hone import optim


def data(count=2048):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 32, generator=generator)
    return x, torch.sin(x.sum(1, keepdim=True))


def train(make_optimizer, steps=60):
    """The last loss, and seconds spent in steps."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 512), torch.nn.Tanh(), torch.nn.Linear(512, 1))
    optimizer = make_optimizer(model.parameters())
    x, y = data()
    spent = 0.0
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        begin = time.perf_counter()
        optimizer.step()
        spent += time.perf_counter() - begin
    return loss.item(), spent


def main():
    print(f"{'':10}{'torch.optim':>22}{'hone.optim':>22}")
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        row = f"{name:10}"
        for module in (torch.optim, optim):
            loss, spent = train(lambda params: getattr(module, name)(params, lr=1e-3))
            row += f"  loss {loss:.4f} {1e3 * spent:5.1f} ms"
        print(row)
    for name in ("ADOPT", "AdamWTF"):
        loss, spent = train(lambda params: getattr(optim, name)(params, lr=1e-3))
        print(f"{name:10}{'':22}  loss {loss:.4f} {1e3 * spent:5.1f} ms")


if __name__ == "__main__":
    main()
