"""The parts of which a task's tables are made: what to show, not how a report writes it.

A task says which values there are, over which seeds; the report adds intervals, escapes text and draws the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from suite.scales import Bounds


class Unit(Enum):
    """How a figure is written."""

    PERCENT = "percent"
    FOUR_PLACES = "four places"
    DIGITS = "three significant digits"


@dataclass(frozen=True)
class Spread:
    """Values of a figure, one per seed, null where a seed has none; they lie within ``bounds``."""

    values: tuple[float | None, ...]
    unit: Unit
    bounds: Bounds


@dataclass(frozen=True)
class Part:
    """A part of a whole, as a percentage; of nothing it has no value."""

    part: int
    whole: int


@dataclass(frozen=True)
class Strong:
    """Text that stands out."""

    words: str


Value = str | Strong | Part | Spread | None


@dataclass(frozen=True)
class Table:
    """Heads and rows of as many values; a letter for each column says where it is aligned: l or r."""

    heads: tuple[str, ...]
    rows: Sequence[Sequence[Value]]
    align: str = ""


@dataclass(frozen=True)
class Sentence:
    """A sentence, and the title that it begins with, if any."""

    title: str
    words: str


@dataclass(frozen=True)
class Points:
    """Sentences in a list."""

    lines: tuple[str, ...]


Block = Table | Sentence | Points


def seeds(count: int) -> str:
    """A number of seeds in words."""
    return f"{count} seed{'s' if count > 1 else ''}"
