# SPDX-License-Identifier: Apache-2.0
"""The registry of update rules: what every other part of the package is generated from.

A rule is one file of the library (src/rules); what it declares there is all that Python knows of it.
"""

import dataclasses

from hone import _core


@dataclasses.dataclass(frozen=True)
class Hyper:
    """A hyperparameter: its kind ("number", "flag", "choice" or "curve"), default and range."""

    name: str
    kind: str
    default: float
    power: float
    low: float
    high: float
    high_open: bool
    doc: str
    words: tuple

    def allows(self, value):
        """Whether a number lies in the range; NaN does not."""
        return self.low <= value and (value < self.high if self.high_open else value <= self.high)


@dataclasses.dataclass(frozen=True)
class Slot:
    """A state beside every parameter; it exists while hyperparameter `condition` is not 0."""

    name: str
    initial: float
    condition: "str | None"
    doc: str


@dataclasses.dataclass(frozen=True)
class Rule:
    name: str
    doc: str
    matrix: bool
    hypers: tuple
    slots: tuple

    def hyper(self, name):
        return next((hyper for hyper in self.hypers if hyper.name == name), None)


def _rule(raw):
    hypers = tuple(Hyper(**{**h, "words": tuple(h["words"])}) for h in raw["hypers"])
    slots = tuple(Slot(**s) for s in raw["slots"])
    return Rule(raw["name"], raw["doc"], raw["matrix"], hypers, slots)


RULES = {raw["name"]: _rule(raw) for raw in _core.rules()}
