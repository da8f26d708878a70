# SPDX-License-Identifier: Apache-2.0
"""hone: optimizer steps by a C library, as drop-in classes for PyTorch.

    from hone import optim            # instead of: from torch import optim

`import hone` works without PyTorch; what needs it is loaded at first use.
"""

import importlib
import importlib.util

# Before the extension module: both then share PyTorch's OpenMP runtime, and so its threads.
if importlib.util.find_spec("torch") is not None:
    import torch as _torch  # noqa: F401

from hone import _core

__version__ = _core.version

_MODULES = ("masks", "optim", "rules", "sparse", "specs")
_CLIP = ("clip_grad_norm_", "clip_grad_value_")

__all__ = ["__version__", *_MODULES, *_CLIP]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"hone.{name}")
    if name in _CLIP:
        return getattr(importlib.import_module("hone._clip"), name)
    raise AttributeError(f"module 'hone' has no attribute '{name}'")


def __dir__():
    return sorted([*globals(), *_MODULES, *_CLIP])
