# SPDX-License-Identifier: Apache-2.0
"""Optimizers by hone, in the manner of torch.optim: the same classes, arguments, states and errors.

There is a class for every rule of the library's registry (hone.rules.RULES).
"""

from hone.optim import lr_scheduler
from hone.optim._adopt import adopt
from hone.optim._classes import CLASSES
from hone.optim._optimizer import Optimizer
from hone.optim._sparse_adam import SparseAdam
from hone.optim.masked import MaskedAdamW

globals().update(CLASSES)
__all__ = ["MaskedAdamW", "Optimizer", "SparseAdam", "adopt", "lr_scheduler", *sorted(CLASSES)]
