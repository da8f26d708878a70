# SPDX-License-Identifier: Apache-2.0
"""What all tests of the Python package share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter):
    """One line with the counts, as tools/test.sh reads them of every stage."""
    counts = {key: len(terminalreporter.stats.get(key, [])) for key in ("passed", "failed", "error")}
    failed = counts["failed"] + counts["error"]
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"{counts['passed']} passed, {failed} failed, {skipped} skipped")
