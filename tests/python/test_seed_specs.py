# SPDX-License-Identifier: Apache-2.0
"""A model of the kind that optimizer specifications were written for: a dense network that scores
(prompt, model) pairs, takes an `optimizer_spec`, and saves and restores its training with it."""

import io

import pytest
import torch
from torch import nn

pytest.importorskip("pydantic")

from hone.specs import AdamSpec, AdamWSpec, MuonSpec, OptimizerSpecification  # noqa: E402


class Network(nn.Module):
    def __init__(self, prompt_dim, models, model_dim=4, hidden=(16, 8)):
        super().__init__()
        self.model_embedding = nn.Embedding(models, model_dim)
        layer = nn.TransformerEncoderLayer(prompt_dim, 2, 16, dropout=0.0, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        widths = [prompt_dim + model_dim, *hidden]
        layers = []
        for before, after in zip(widths, widths[1:]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.scoring_head = nn.Linear(widths[-1], 1)

    def forward(self, prompts, models):
        prompts = self.transformer(prompts.unsqueeze(1)).squeeze(1)
        joined = torch.cat([prompts, self.model_embedding(models)], dim=-1)
        return self.scoring_head(self.layers(joined)).squeeze(-1)


class DenseNetworkModel:
    """Learns from pairs (a, b) of models that answered a prompt which of the two won."""

    def __init__(self, optimizer_spec=None, seed=0):
        self.optimizer_spec = (
            optimizer_spec if optimizer_spec is not None else AdamWSpec(learning_rate=0.001)
        )
        torch.manual_seed(seed)
        self.network = Network(8, 5)
        self.optimizer_state = self.scheduler_state = None
        self.epochs_completed = 0

    def train(self, prompts, first, second, winner, epochs):
        optimizer = self.optimizer_spec.create_optimizer(
            self.network, lr_multipliers={self.network.scoring_head: 5.0}
        )
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        scheduler = self.optimizer_spec.create_scheduler(optimizer)
        if self.scheduler_state is not None:
            scheduler.load_state_dict(self.scheduler_state)
        criterion = nn.MarginRankingLoss(margin=0.1)
        losses = []
        for _ in range(epochs):
            for rows in torch.arange(len(prompts)).split(16):
                optimizer.zero_grad()
                scores = [self.network(prompts[rows], side[rows]) for side in (first, second)]
                loss = criterion(*scores, winner[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            if scheduler is not None:
                scheduler.step()
            self.epochs_completed += 1
        self.optimizer_state = optimizer.state_dict()
        self.scheduler_state = scheduler.state_dict() if scheduler is not None else None
        return losses

    def get_state_dict(self):
        return {
            "optimizer_type": self.optimizer_spec.optimizer_type,
            "optimizer_params": self.optimizer_spec.to_dict(),
            "optimizer_state": self.optimizer_state,
            "scheduler_state": self.scheduler_state,
            "network_state_dict": self.network.state_dict(),
            "epochs_completed": self.epochs_completed,
        }

    @classmethod
    def load_state_dict(cls, state_dict):
        model = cls(
            OptimizerSpecification.from_serialized(
                state_dict["optimizer_type"], state_dict["optimizer_params"]
            )
        )
        model.network.load_state_dict(state_dict["network_state_dict"])
        model.optimizer_state = state_dict["optimizer_state"]
        model.scheduler_state = state_dict["scheduler_state"]
        model.epochs_completed = state_dict["epochs_completed"]
        return model


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(11)
    prompts = torch.randn(64, 8, generator=generator)
    first, second = torch.randint(0, 5, (2, 64), generator=generator)
    strength = torch.randn(5, generator=generator)
    winner = (strength[first] - strength[second] + prompts[:, 0]).sign()
    return prompts, first, second, winner


@pytest.mark.parametrize(
    "spec",
    [
        None,
        AdamSpec(learning_rate=0.001, lr_decay_gamma=0.95, weight_decay=0.01),
        AdamWSpec(learning_rate=0.001, lr_decay_gamma=0.95),
        MuonSpec(learning_rate=0.02, adamw_lr=0.003, lr_decay_gamma=0.98),
    ],
    ids=lambda spec: "default" if spec is None else spec.optimizer_type,
)
def test_model_trains_saves_and_goes_on(data, spec):
    model = DenseNetworkModel(optimizer_spec=spec)
    losses = model.train(*data, epochs=8)
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])

    file = io.BytesIO()
    torch.save(model.get_state_dict(), file)
    file.seek(0)
    again = DenseNetworkModel.load_state_dict(torch.load(file, weights_only=True))
    assert again.optimizer_spec == model.optimizer_spec and again.epochs_completed == 8
    assert model.train(*data, epochs=2) == again.train(*data, epochs=2)
    for p, q in zip(model.network.parameters(), again.network.parameters()):
        assert torch.equal(p, q)


def test_muon_takes_the_transformers_matrices(data):
    model = DenseNetworkModel(MuonSpec())
    optimizer = model.optimizer_spec.create_optimizer(model.network)
    expected = [
        p for n, p in model.network.named_parameters() if "transformer" in n and p.ndim >= 2
    ]
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in expected]
