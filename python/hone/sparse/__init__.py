# SPDX-License-Identifier: Apache-2.0
"""Tables of embeddings under int64 keys, and the optimizers of their rows.

    table = HashTable([64], name="items")
    sparse = SparseAdamW(filter_out_sparse_param(model), lr=0.001)
    dense = hone.optim.AdamWTF(model.parameters(), lr=0.001)
    rows = table(ids)       # any shape of int64; a new key gets a row
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("hone.sparse needs PyTorch: pip install torch") from error

from hone.sparse import initial
from hone.sparse._optimizer import SparseAdam, SparseAdamW, SparseAdamWTF, SparseOptimizer
from hone.sparse._snapshot import Snapshot, restore
from hone.sparse._table import HashTable, filter_out_sparse_param

__all__ = [
    "HashTable",
    "Snapshot",
    "SparseAdam",
    "SparseAdamW",
    "SparseAdamWTF",
    "SparseOptimizer",
    "filter_out_sparse_param",
    "initial",
    "restore",
]
