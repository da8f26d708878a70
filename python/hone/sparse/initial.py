# SPDX-License-Identifier: Apache-2.0
"""First values of a table's rows. They are functions of the seed, the table's name, the key and the
element alone: a key has the same first row whenever and wherever it is met."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Initial:
    """What the functions of this module return."""

    kind: str
    a: float = 0.0
    b: float = 0.0


# As in hone_initial of <hone/table.h>.
KINDS = (
    "constant",
    "uniform",
    "normal",
    "truncated_normal",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
)


def constant(value=0.0):
    return Initial("constant", float(value))


def uniform(low=-0.05, high=0.05):
    """In [low, high)."""
    return Initial("uniform", float(low), float(high))


def normal(mean=0.0, std=0.01):
    return Initial("normal", float(mean), float(std))


def truncated_normal(mean=0.0, std=0.01):
    """Within two deviations of the mean."""
    return Initial("truncated_normal", float(mean), float(std))


def xavier_uniform(gain=1.0):
    """Within gain * sqrt(3 / width): a row's fan is its width."""
    return Initial("xavier_uniform", float(gain))


def xavier_normal(gain=1.0):
    """With the deviation gain / sqrt(width)."""
    return Initial("xavier_normal", float(gain))


def kaiming_uniform(gain=math.sqrt(2.0)):
    """Within gain * sqrt(3 / width); the default gain is that of a ReLU."""
    return Initial("kaiming_uniform", float(gain))


def kaiming_normal(gain=math.sqrt(2.0)):
    """With the deviation gain / sqrt(width)."""
    return Initial("kaiming_normal", float(gain))
