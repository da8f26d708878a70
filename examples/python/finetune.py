# SPDX-License-Identifier: Apache-2.0
"""A small character model learns this repository's pages, and is then fine-tuned on its C sources in
three ways: every weight at the low rate, every weight at the high rate, and by MaskedAdamW, the 5 % of
weights with the largest gradients at the high rate and all others at the low one. Says how far weights
moved, and what was learned and forgotten; draws build/demo/python-finetune.svg.

    python examples/python/finetune.py [--out DIRECTORY] [--steps N]
"""

import argparse
import pathlib
import sys

import torch
from torch import nn

from hone.optim import AdamW, MaskedAdamW

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT, BATCH, CHARACTERS = 8, 128, 128
HIGH, LOW = 3e-3, 3e-5


class Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, total):
        self.total, self.done = total, 0

    def advance(self, text):
        self.done += 1
        if sys.stderr.isatty():
            filled = 40 * self.done // self.total
            bar = "#" * filled + "-" * (40 - filled)
            end = "\n" if self.done == self.total else ""
            print(f"\r[{bar}] {text:<36}", end=end, file=sys.stderr, flush=True)


def text_of(pattern):
    """The files' characters as numbers."""
    data = b"".join(path.read_bytes() for path in sorted(ROOT.glob(pattern)))
    return torch.tensor([byte for byte in data if byte < CHARACTERS])


def model():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Embedding(CHARACTERS, 24),
        nn.Flatten(),
        nn.Linear(24 * CONTEXT, 256),
        nn.GELU(),
        nn.Linear(256, CHARACTERS),
    )


def loss_of(net, text, generator, count=BATCH):
    begin = torch.randint(0, len(text) - CONTEXT, (count,), generator=generator)
    window = text[begin[:, None] + torch.arange(CONTEXT + 1)]
    return nn.functional.cross_entropy(net(window[:, :-1]), window[:, -1])


def train(net, optimizer, text, steps, progress, title):
    """The losses, each a mean of what came since the one before."""
    generator = torch.Generator().manual_seed(2)
    losses, running = [], []
    for step in range(steps):
        loss = loss_of(net, text, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running.append(loss.item())
        if len(running) == 10:
            losses.append(sum(running) / len(running))
            running = []
        progress.advance(f"{title}: loss {loss.item():.2f}")
    return losses


def golden_masks(net, text, fraction=0.05):
    """Of every tensor the elements with the largest gradients."""
    net.zero_grad()
    loss_of(net, text, torch.Generator().manual_seed(3), 4096).backward()
    masks = {}
    for name, parameter in net.named_parameters():
        size = parameter.grad.abs().flatten()
        chosen = torch.zeros_like(size, dtype=torch.bool)
        chosen[size.topk(max(1, round(fraction * size.numel()))).indices] = True
        masks[name] = chosen.view(parameter.shape)
    return masks


def moved(net, start, masks):
    """Mean distances moved under the masks and elsewhere."""
    inside, outside = [], []
    for name, parameter in net.named_parameters():
        distance = (parameter.detach() - start[name]).abs()
        inside.append(distance[masks[name]])
        outside.append(distance[~masks[name]])
    return torch.cat(inside).mean().item(), torch.cat(outside).mean().item()


def draw(path, curves):
    """Curves by title, as an SVG."""
    colours = ("#888888", "#c0392b", "#1f77b4")
    low = min(min(curve) for curve in curves.values())
    high = max(max(curve) for curve in curves.values())
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360" font-family="sans-serif" '
        'font-size="13"><rect width="640" height="360" fill="white"/>',
        '<text x="60" y="24">loss on the new text, while it is learned</text>'
        f'<text x="18" y="54">{high:.2f}</text><text x="18" y="324">{low:.2f}</text>'
        '<path d="M60 40V320H620" fill="none" stroke="black"/>',
    ]
    for number, ((title, curve), colour) in enumerate(zip(curves.items(), colours)):
        points = " ".join(
            f"{60 + 560 * i / max(1, len(curve) - 1):.1f},"
            f"{320 - 270 * (value - low) / (high - low or 1):.1f}"
            for i, value in enumerate(curve)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{60 + 180 * number}" y="345" fill="{colour}">{title}</text>'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(parts) + "</svg>\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "demo")
    arguments.add_argument("--steps", type=int, default=150)
    options = arguments.parse_args()

    old, new = text_of("docs/*.md"), text_of("src/core/*.c")
    progress = Progress(5 * options.steps)
    net = model()
    optimizer = AdamW(net.parameters(), lr=HIGH)
    train(net, optimizer, old, 2 * options.steps, progress, "learning the pages")
    start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    masks = golden_masks(net, new)

    ways = {
        f"AdamW, all at {LOW:g}": lambda: AdamW(net.parameters(), lr=LOW),
        f"AdamW, all at {HIGH:g}": lambda: AdamW(net.parameters(), lr=HIGH),
        f"MaskedAdamW, 5 % at {HIGH:g}": lambda: MaskedAdamW(
            net.named_parameters(), masks, masked_lr=HIGH, unmasked_lr=LOW
        ),
    }
    curves = {}
    print(f"{'':28}{'new text':>10}{'old text':>10}{'moved: masked':>15}{'others':>10}{'ratio':>8}")
    for title, make in ways.items():
        net.load_state_dict(start)
        curves[title] = train(net, make(), new, options.steps, progress, title)
        with torch.no_grad():
            results = [
                loss_of(net, text, torch.Generator().manual_seed(4), 4096).item()
                for text in (new, old)
            ]
        inside, outside = moved(net, start, masks)
        print(
            f"{title:28}{results[0]:>10.3f}{results[1]:>10.3f}{inside:>15.2e}{outside:>10.1e}"
            f"{inside / outside:>8.1f}"
        )
    picture = options.out / "python-finetune.svg"
    draw(picture, curves)
    print(f"\nThe losses over time: {picture}")


if __name__ == "__main__":
    main()
