# SPDX-License-Identifier: Apache-2.0
"""A click model on a generated log: users, items and the items a user met before are rows of hash
tables, a small network joins them. Stop it, start it again: it goes on from its last snapshot and ends
with the same bits.

    python click_model.py [--steps N] [--out DIRECTORY]
"""

import argparse
import pathlib

import torch

import hone
from hone.sparse import HashTable, SparseAdamW, Snapshot, filter_out_sparse_param, initial, restore

BATCH, WIDTH, TASTES = 512, 16, 3


class ClickLog:
    """Events as a function of their number: ids are scattered over all int64, and few are frequent."""

    def __init__(self):
        torch.manual_seed(7)
        self.users, self.items = torch.randn(2_000, TASTES), torch.randn(500, TASTES)
        self.user_ids = torch.randint(-(2**63), 2**63 - 1, (2_000,))
        self.item_ids = torch.randint(-(2**63), 2**63 - 1, (500,))

    def batch(self, step):
        torch.manual_seed(1000 + step)
        user = (torch.rand(BATCH) ** 3 * len(self.users)).long()
        item = (torch.rand(BATCH) ** 3 * len(self.items)).long()
        clicked = torch.rand(BATCH) < torch.sigmoid(2 * (self.users[user] * self.items[item]).sum(1))
        lengths = torch.randint(0, 6, (BATCH,))  # what each user met before, most recent last
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        before = (torch.rand(int(offsets[-1])) ** 3 * len(self.items)).long()
        return self.user_ids[user], self.item_ids[item], self.item_ids[before], offsets, clicked.float()


class ClickModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        start = initial.xavier_uniform(0.3)
        self.users = HashTable([WIDTH], name="users", initializer=start, max_bytes=16 << 20)
        self.items = HashTable([WIDTH], name="items", initializer=start)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(4 * WIDTH, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
        )

    def forward(self, users, items, before, offsets):
        user, item = self.users(users), self.items(items)
        history = self.items(before, offsets, mode="mean", include_last_offset=True)
        return self.head(torch.cat([user, item, user * item, history], 1)).squeeze(1)


def area_under_curve(scores, labels):
    rank = scores.argsort().argsort().float() + 1
    positive = labels.sum()
    area = rank[labels == 1].sum() - positive * (positive + 1) / 2
    return (area / (positive * (len(labels) - positive))).item()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/demo/click_model"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    log, model = ClickLog(), ClickModel()
    tables = filter_out_sparse_param(model)
    sparse = SparseAdamW(tables, lr=0.02)
    dense = hone.optim.SGD(model.parameters(), lr=0.1)
    first = 0
    if list(options.out.glob("*-full.safetensors")):
        found = restore(options.out, tables)
        first = int(found.extras.pop("step"))
        model.load_state_dict(found.extras, strict=False)
        print(f"going on after step {first}")

    for step in range(first, options.steps):
        *ids, clicked = log.batch(step)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(*ids), clicked)
        dense.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
        if step + 1 == options.steps or (step + 1) % 100 == 0:
            with Snapshot(tables, increment=step >= 100) as snapshot:
                extras = {name: p.detach() for name, p in model.named_parameters()}
                snapshot.write(options.out, {**extras, "step": torch.tensor(step + 1)})
            print(f"step {step + 1}: loss {loss.item():.4f}, {model.users.count} users")

    model.eval()
    scores, labels = [], []
    with torch.no_grad():
        for step in range(10):
            *ids, clicked = log.batch(10**6 + step)
            scores.append(model(*ids))
            labels.append(clicked)
    area = area_under_curve(torch.cat(scores), torch.cat(labels))
    print(f"area under the curve of unseen events: {area:.3f}")
    return area, model


if __name__ == "__main__":
    main()
