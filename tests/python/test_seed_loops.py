# SPDX-License-Identifier: Apache-2.0
"""The usage examples and training loops of genesis.optim's documentation, on PyTorch's modules: each
loop is run with hone's optimizers and clipping and with PyTorch's, and must come to the same."""

import pytest
import torch
from torch import nn

import hone
from hone import optim
from hone.optim.lr_scheduler import CosineAnnealingLR


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh())
        self.classifier = nn.Linear(8, 3)
        self.encoder, self.decoder, self.head = self.features[0], self.features[1], self.classifier

    def forward(self, x):
        return self.classifier(self.features(x))


@pytest.fixture
def train_loader():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 6, generator=generator), torch.randint(0, 3, (8,), generator=generator))
        for _ in range(8)
    ]


class Ours:
    optim = optim
    clip_grad_norm_ = staticmethod(hone.clip_grad_norm_)
    clip_grad_value_ = staticmethod(hone.clip_grad_value_)


class Theirs:
    optim = torch.optim
    clip_grad_norm_ = staticmethod(nn.utils.clip_grad_norm_)
    clip_grad_value_ = staticmethod(nn.utils.clip_grad_value_)


def both(loop, *arguments, **close):
    """Runs the loop with either library on equal models and compares weights and what it returns."""
    results = []
    for library in (Ours, Theirs):
        torch.manual_seed(2)
        model = Classifier()
        results.append((model, loop(library, model, *arguments)))
    (ours, first), (theirs, second) = results
    for p, q in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(p, q, **close)
    torch.testing.assert_close(first, second, **close)
    return first


def decay_groups(model):
    decay_params, no_decay_params = [], []
    for name, param in model.named_parameters(remove_duplicate=True):
        if any(nd in name for nd in ["bias", "norm", "ln"]):
            no_decay_params.append(param)
        else:
            decay_params.append(param)
    return [
        {"params": decay_params, "weight_decay": 0.01},
        {"params": no_decay_params, "weight_decay": 0.0},
    ]


USAGES = {
    "basic SGD": lambda o, m: o.SGD(m.parameters(), lr=0.01),
    "SGD with momentum": lambda o, m: o.SGD(m.parameters(), lr=0.01, momentum=0.9),
    "SGD with weight decay": lambda o, m: o.SGD(
        m.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    ),
    "nesterov": lambda o, m: o.SGD(m.parameters(), lr=0.01, momentum=0.9, nesterov=True),
    "SGD by layers": lambda o, m: o.SGD(
        [
            {"params": m.features.parameters(), "lr": 0.001},
            {"params": m.classifier.parameters(), "lr": 0.01},
        ],
        momentum=0.9,
    ),
    "default Adam": lambda o, m: o.Adam(m.parameters()),
    "Adam for transformers": lambda o, m: o.Adam(
        m.parameters(), lr=0.0001, betas=(0.9, 0.98), eps=1e-9
    ),
    "Adam with weight decay": lambda o, m: o.Adam(m.parameters(), lr=0.001, weight_decay=1e-5),
    "Adam by layers": lambda o, m: o.Adam(
        [
            {"params": m.encoder.parameters(), "lr": 1e-5},
            {"params": m.decoder.parameters(), "lr": 1e-4},
            {"params": m.head.parameters(), "lr": 1e-3},
        ]
    ),
    "AMSGrad": lambda o, m: o.Adam(m.parameters(), lr=0.001, amsgrad=True),
    "default AdamW": lambda o, m: o.AdamW(m.parameters()),
    "AdamW for BERT": lambda o, m: o.AdamW(m.parameters(), lr=5e-5, weight_decay=0.01),
    "AdamW for large models": lambda o, m: o.AdamW(
        m.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1
    ),
    "no decay of bias and norm": lambda o, m: o.AdamW(decay_groups(m), lr=1e-4),
    "RMSprop": lambda o, m: o.RMSprop(m.parameters()),
    "RMSprop centered": lambda o, m: o.RMSprop(m.parameters(), momentum=0.9, centered=True),
}


@pytest.mark.parametrize("make", USAGES.values(), ids=USAGES.keys())
def test_basic_training_loop(make, train_loader):
    def loop(library, model, train_loader):
        optimizer = make(library.optim, model)
        criterion = nn.CrossEntropyLoss()
        norms = []
        for epoch in range(3):
            model.train()
            for data, target in train_loader:
                optimizer.zero_grad()
                output = model(data)
                loss = criterion(output, target)
                loss.backward()
                norms.append(library.clip_grad_norm_(model.parameters(), max_norm=1.0))
                optimizer.step()
        return torch.stack(norms)

    both(loop, train_loader)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping(norm_type, train_loader):
    def loop(library, model, train_loader):
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        norms = []
        for data, target in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), target).backward()
            norms.append(library.clip_grad_norm_(model.parameters(), 0.1, norm_type))
            library.clip_grad_value_(model.parameters(), clip_value=0.01)
            optimizer.step()
        return torch.stack(norms)

    both(loop, train_loader)


def test_mixed_precision(train_loader):
    def loop(library, model, train_loader):
        optimizer = library.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)
        losses = []
        for epoch in range(3):
            for data, target in train_loader:
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    outputs = model(data)
                    loss = nn.functional.cross_entropy(outputs.float(), target)
                loss.backward()
                library.clip_grad_norm_(model.parameters(), max_norm=1.0)
                optimizer.step()
                losses.append(loss.detach())
        return torch.stack(losses)

    # A last bit of a weight can decide how autocast rounds it to bfloat16, 2^-9 apart.
    both(loop, train_loader, rtol=5e-3, atol=5e-3)


def test_gradient_scaler(train_loader):
    def loop(library, model, train_loader):
        optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        scales = []
        for number, (data, target) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data), target)
            if number == 4:
                loss = loss * float("inf")  # a step that has to be skipped
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            library.clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        return torch.tensor(scales)

    scales = both(loop, train_loader)
    assert scales[4] == scales[3] / 2


def test_learning_rate_scheduling(train_loader):
    def loop(library, model, train_loader):
        optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
        scheduler = CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-6)
        rates = []
        for epoch in range(5):
            for data, target in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(data), target).backward()
                optimizer.step()
            scheduler.step()
            rates.append(scheduler.get_last_lr()[0])
        return torch.tensor(rates)

    rates = both(loop, train_loader)
    assert rates.argmin() == 3 and rates[3] == pytest.approx(1e-6)


def test_gradient_accumulation(train_loader):
    accumulation_steps = 4

    def loop(library, model, train_loader):
        optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
        optimizer.zero_grad()
        for i, (data, target) in enumerate(train_loader):
            loss = nn.functional.cross_entropy(model(data), target)
            loss = loss / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                library.clip_grad_norm_(model.parameters(), max_norm=1.0)
                optimizer.step()
                optimizer.zero_grad()
        return torch.stack([state["step"] for state in optimizer.state.values()])

    assert both(loop, train_loader).unique().tolist() == [2.0]


@pytest.mark.parametrize("make", USAGES.values(), ids=USAGES.keys())
def test_checkpoint(make, train_loader, tmp_path):
    def epoch(model, optimizer):
        for data, target in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()

    torch.manual_seed(2)
    model = Classifier()
    optimizer = make(optim, model)
    epoch(model, optimizer)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, tmp_path / "optimizer_checkpoint.pth")

    again = Classifier()
    other = make(optim, again)
    state = torch.load(tmp_path / "optimizer_checkpoint.pth", weights_only=True)
    again.load_state_dict(state["model"])
    other.load_state_dict(state["optimizer"])
    for m, o in ((model, optimizer), (again, other)):
        epoch(m, o)
    for p, q in zip(model.parameters(), again.parameters()):
        assert torch.equal(p, q)


def test_groups_are_added_and_adjusted(train_loader):
    def loop(library, model, train_loader):
        optimizer = library.optim.SGD(model.features.parameters(), lr=0.01, momentum=0.9)
        optimizer.add_param_group({"params": model.classifier.parameters(), "lr": 0.001})
        for data, target in train_loader:
            optimizer.zero_grad(set_to_none=False)
            nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()
            for group in optimizer.param_groups:
                group["lr"] *= 0.9
        return torch.tensor([group["lr"] for group in optimizer.param_groups])

    both(loop, train_loader)
