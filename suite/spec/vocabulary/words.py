"""What an entry of the vocabulary is: a word of another framework, and what the suite says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

_PREFIX = re.compile(r"^(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])")
_SEPARATOR = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Synonym:
    """Another name of ``meant``; ``but`` says what else to mind where both are not the same in everything."""

    meant: str
    but: str = ""


@dataclass(frozen=True)
class Gap:
    """What the suite has not; ``nearest`` says what comes nearest and how it differs.

    A ``whole`` one means another thing than the mapping that it stands in, whose missing fields are then no mistake.
    """

    nearest: str
    whole: bool = False


Entry: TypeAlias = Synonym | Gap
Table: TypeAlias = Mapping[str, Entry]


def key(word: str) -> str:
    """What two spellings of a word share: ``torch.nn.BatchNorm2d`` and ``batch_norm_2d`` make ``batchnorm2d``."""
    return _SEPARATOR.sub("", _PREFIX.sub("", word).lower())


def table(entries: Mapping[str, Entry]) -> Table:
    """A table by key from ``"one two": entry``, in which several words share an entry."""
    found: dict[str, Entry] = {}
    for words, entry in entries.items():
        for word in words.split():
            if key(word) in found:
                raise ValueError(f"{word} stands twice in one table of the vocabulary")
            found[key(word)] = entry
    return MappingProxyType(found)
