# SPDX-License-Identifier: Apache-2.0
"""PyTorch's learning rate schedulers, which work on all optimizers here: torch.optim.lr_scheduler under
this package's name, so that an import line is all that changes."""

from torch.optim import lr_scheduler as _theirs
from torch.optim.lr_scheduler import *  # noqa: F403

__all__ = _theirs.__all__
