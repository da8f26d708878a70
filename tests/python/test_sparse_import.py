# SPDX-License-Identifier: Apache-2.0
"""hone.sparse says what it needs."""

import subprocess
import sys

PROGRAM = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "torch" else found(name, *a)
sys.meta_path.insert(0, Hide())
import hone
print(hone.__version__)
try:
    hone.sparse
except ImportError as error:
    print(error)
"""


def test_without_torch():
    """A program in which PyTorch cannot be found."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    version, text = result.stdout.splitlines()
    assert version.count(".") == 2
    assert text == "hone.sparse needs PyTorch: pip install torch"
