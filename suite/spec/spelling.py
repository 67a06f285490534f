"""What someone may have meant by a word that is not known: a typing error, or a word of another framework.

A typing error is near a known name and no real term itself: ``conv1d`` is no slip for ``conv2d``, nor ``elu`` for
``relu``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from suite.spec.vocabulary.tables import TERMS, VALUES, Place
from suite.spec.vocabulary.words import Gap, Synonym, Table, key

SHORT = 5
"""Letters of a word in which one slip is already much; longer ones may have two."""
LONGEST_LIST = 600
"""Characters of a list of names."""
LONGEST_WORD = 40
_ENDINGS = (
    "layer",
    "block",
    "cell",
    "optimizer",
    "optimiser",
    "loss",
    "activation",
    "initializer",
    "schedule",
    "dataset",
)
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Typo:
    """A name that is known, otherwise spelt."""

    meant: str


Finding: TypeAlias = Typo | Synonym | Gap


def find(
    word: str, known: Iterable[str], tables: Iterable[Table] = (), terms: Collection[str] = frozenset()
) -> Finding | None:
    """What ``word``, which is none of ``known``, is in its place; None for a stranger.

    ``tables`` are the foreign words of that place, ``terms`` the keys of all names that the suite has elsewhere: what
    is one of those, or a foreign word of another place, is no typing error.
    """
    names, mine = list(known), key(word)
    for name in names:
        if mine and key(name) == mine:
            return Typo(name)
    tables = list(tables)
    for table, each in ((table, each) for each in (mine, *_bare(mine)) for table in tables):
        match table.get(each):
            case Synonym() as other if other.meant in names:
                return other
            case Gap() as gap:
                return gap
    for name in names:
        if key(name) in _bare(mine):
            return Synonym(name)
    if mine in TERMS or mine in terms:
        return None
    nearest = _nearest(mine, names)
    return Typo(nearest) if nearest else None


def hint(word: str, known: Iterable[str], place: Place | None = None) -> str:
    """What to tell of ``word``, as sentences and a space after them; nothing of a stranger."""
    found = find(word, known, (VALUES[place],) if place else ())
    return f"{sentence(found)} " if found else ""


def sentence(found: Finding) -> str:
    """A finding in words."""
    match found:
        case Typo(meant):
            return f"Did you mean {meant}?"
        case Synonym(meant, but):
            return f"It is called {meant} here.{' ' if but else ''}{but}"
        case Gap(nearest):
            return nearest


def listed(known: Iterable[object], heading: str = "There are") -> str:
    """``There are: a, b, c.``, cut short where the names are very many."""
    names, used = [str(name) for name in known], 0
    for shown, name in enumerate(names):
        used += len(name) + 2
        if used > LONGEST_LIST and shown:
            return f"{heading}: {', '.join(names[:shown])}, and {len(names) - shown:,} more."
    return f"{heading}: {', '.join(names)}."


def shown(word: str) -> str:
    """A word as a message has it, cut short."""
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 3]}..."


def _bare(mine: str) -> tuple[str, ...]:
    """A key without what others put behind a name: ``huberloss`` is ``huber``, ``lstmlayer`` is ``lstm``."""
    return tuple(mine.removesuffix(end) for end in _ENDINGS if mine.endswith(end) and mine != end)


def _nearest(mine: str, names: list[str]) -> str | None:
    """The one name within the distance of a slip; none where two are as near, or where numbers differ."""
    bound = 1 if len(mine) <= SHORT else 2
    found: list[tuple[int, str]] = []
    for name in names:
        theirs = key(name)
        if abs(len(theirs) - len(mine)) > bound or _DIGITS.findall(theirs) != _DIGITS.findall(mine):
            continue
        if len(mine) > 1 and (steps := distance(mine, theirs)) <= bound:
            found.append((steps, name))
    found.sort()
    return found[0][1] if found and (len(found) == 1 or found[0][0] < found[1][0]) else None


def distance(one: str, other: str) -> int:
    """Letters put in, left out, replaced or exchanged with their neighbour that turn ``one`` into ``other``.

    Damerau 1964, in the form that changes no place twice (optimal string alignment).
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        row = [i]
        for j, theirs in enumerate(other, 1):
            steps = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (mine != theirs))
            if i > 1 and j > 1 and mine == other[j - 2] and one[i - 2] == theirs:
                steps = min(steps, before[j - 2] + 1)
            row.append(steps)
        before, last = last, row
    return last[-1]
