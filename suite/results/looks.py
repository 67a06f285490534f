"""Looks: the rounds after which a run sees what is decided.  Without statistics, so that a plan may use it as well.

A benchmark that is decided at a look is timed no further.  Whoever looks often finds something by luck, so intervals
are widened for the number of looks, as for that of comparisons: they then hold at every look, whatever makes it stop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def in_order(looks: Sequence[int], rounds: int) -> tuple[int, ...]:
    """Those of a profile in order, the last of all rounds among them: without any, one look after the last round."""
    return tuple(sorted({look for look in looks if 0 < look < rounds} | {rounds})) if rounds > 0 else ()


def of_plan(plan: Mapping[str, Any]) -> tuple[int, ...]:
    """Those of a plan as it was read, which may lack anything."""
    profile = plan.get("profile")
    profile = profile if isinstance(profile, Mapping) else {}
    looks, rounds = profile.get("looks"), profile.get("rounds")
    known = [look for look in looks if isinstance(look, int)] if isinstance(looks, list | tuple) else []
    return in_order(known, rounds) if isinstance(rounds, int) else tuple(sorted(set(known)))


def counted(looks: Sequence[int], least: int) -> int:
    """How many looks can hold an interval, which takes ``least`` rounds; one at least."""
    return max(sum(look >= least for look in looks), 1)


def reached(held: Collection[int], looks: Sequence[int]) -> int | None:
    """The last look up to which every round is held; None before the first."""
    done = [look for look in looks if all(number in held for number in range(1, look + 1))]
    return max(done, default=None)


def due(held: Collection[int], looks: Sequence[int]) -> int | None:
    """The last round that a benchmark which holds these must have; None if that is not known.

    It is the look that it stands at, for there it may have been decided; else the next one.
    """
    furthest = max(held, default=0)
    return next((look for look in sorted(looks) if look >= furthest), None)
