# SPDX-License-Identifier: Apache-2.0
"""Snapshots of tables: files of all rows, or of those that changed since the file before."""

import dataclasses
import json
import os

import torch

from hone import _core
from hone.sparse import _memory
from hone.sparse._table import HashTable


def _as_tables(tables):
    if isinstance(tables, HashTable):
        return [tables]
    tables = list(tables.values() if hasattr(tables, "values") else tables)
    for table in tables:
        if not isinstance(table, HashTable):
            raise TypeError(f"tables must be HashTables, not {type(table).__name__}")
    return tables


class Snapshot:
    """A copy of tables (a HashTable, a dict or a list of them) as they stand. Training may go on while
    another thread writes it:

        with Snapshot(tables, increment=True) as snapshot:
            snapshot.write(directory, extras={"step": torch.tensor(step), ...})

    An increment holds what changed since the snapshot before, and needs one before it. `extras` are
    tensors of the caller's in the same file. A snapshot that was never written gives its changes back
    to the next one when it is freed; close() frees it, in the thread that trains."""

    def __init__(self, tables, *, increment=False):
        tables = _as_tables(tables)
        for table in tables:
            table._flush()
        self._core = _core.Snapshot(_core.Table, [table._core for table in tables], int(increment))

    def write(self, directory, extras=None):
        """Writes into `directory`, which exists: <sequence>-full.safetensors or -increment.safetensors,
        which appears whole or not at all. May be repeated after a failure."""
        tensors = {name: _extra(name, tensor) for name, tensor in (extras or {}).items()}
        self._core.write(
            directory,
            [(n, t.data_ptr(), _memory.DTYPES[t.dtype], tuple(t.shape)) for n, t in tensors.items()],
        )

    @property
    def rows(self):
        return self._core.size[0]

    @property
    def nbytes(self):
        return self._core.size[1]

    def close(self):
        self._core.free()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def _extra(name, tensor):
    _memory.check_memory(tensor, f"extra {name!r}")
    if tensor.dtype not in _memory.DTYPES:
        raise TypeError(f"extra {name!r} is {tensor.dtype}, which files do not hold")
    return tensor.detach().contiguous()


@dataclasses.dataclass(frozen=True)
class Restored:
    """What restore() found: files applied, the number and path of the last one, a sentence about the
    file that could not be used ("" if none), and the caller's tensors of the last one."""

    files: int
    sequence: int
    path: str
    problem: str
    extras: dict


def restore(directory, tables):
    """Brings tables to the newest state that the directory's files give without a gap. Whatever rows
    they have are replaced; on an error they stay. They have the names, shapes, types, seed and rule
    that they were saved with: make the optimizer first."""
    tables = _as_tables(tables)
    cores = []
    for table in tables:
        cores.append(table._options.make())
        table._rule.apply(cores[-1])
    files, sequence, path, problem = _core.restore(_core.Table, cores, directory)
    for table, core in zip(tables, cores):
        table._replace(core)
    return Restored(files, sequence, path, problem, _read_extras(path))


_FILE_DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _read_extras(path):
    """The tensors of a snapshot's file that belong to no table. The library has checked the file."""
    extras = {}
    with open(os.fsencode(path), "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if "@" in name:
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            bytes_ = bytearray(file.read(end - begin))
            dtype = _FILE_DTYPES[entry["dtype"]]
            flat = torch.frombuffer(bytes_, dtype=dtype) if bytes_ else torch.empty(0, dtype=dtype)
            extras[name] = flat.reshape(entry["shape"])
    return extras
