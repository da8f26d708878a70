# SPDX-License-Identifier: Apache-2.0
"""Optimizers as data: recipes that can be validated, saved and turned into optimizers for one
model or several.

    spec = AdamWSpec(learning_rate=1e-3, lr_decay_gamma=0.95)
    optimizer = spec.create_optimizer(model, lr_multipliers={model.head: 5.0})
    scheduler = spec.create_scheduler(optimizer)
    again = OptimizerSpecification.from_serialized(spec.optimizer_type, spec.to_dict())

Needs pydantic (2 or newer). As a field of another pydantic model, `OptimizerSpec` takes any of the
recipes and tells them apart by their "optimizer_type".
"""

from hone.specs.hybrid import HybridMuonOptimizer, Routing
from hone.specs.multipliers import multipliers_by_name, set_learning_rate
from hone.specs.spec import (
    AdamSpec,
    AdamWSpec,
    MuonSpec,
    OptimizerSpec,
    OptimizerSpecification,
)

__all__ = [
    "AdamSpec",
    "AdamWSpec",
    "HybridMuonOptimizer",
    "MuonSpec",
    "OptimizerSpec",
    "OptimizerSpecification",
    "Routing",
    "multipliers_by_name",
    "set_learning_rate",
]
