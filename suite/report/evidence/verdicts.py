"""What the rule says of a published number, from one value per seed.

A verdict must be able to fail: a number is reproduced only by an interval that it could easily have missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from suite.scales import ANY, Bounds
from suite.stats import Prediction, TooFew, prediction


class ClaimVerdict(StrEnum):
    """What the rule says of a published number."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    TOO_NOISY = "too noisy to tell"
    NOT_FAR_ENOUGH = "not run far enough"
    DIVERGED = "diverged"
    ASSUMPTION = "depends on an assumption"
    NOT_TESTABLE = "not testable"
    CONTEXT = "shown, never judged"


SETTLED = frozenset({ClaimVerdict.REPRODUCED, ClaimVerdict.NOT_REPRODUCED})
"""Verdicts that say whether the published number holds."""


@dataclass(frozen=True)
class Published:
    """A published number, or a range up to ``to``, of a quantity within ``bounds``.

    ``widest`` is the greatest half-width of an interval that holds it and still reproduces it.
    """

    value: float
    bounds: Bounds
    widest: float
    to: float | None = None

    def judge(self, values: Sequence[float]) -> ClaimVerdict:
        """The verdict from one value per seed at the full schedule.

        An interval that holds the number tells something only if it is narrow.  One that leaves it out tells that it is
        not reproduced; if it is wide, only where the interval on the plain scale leaves it out too, because the end
        of a wide interval depends on the scale, and a few seeds do not tell which scale is right.
        """
        expected, plain = prediction(values, self.bounds), prediction(values, ANY)
        if isinstance(expected, TooFew) or isinstance(plain, TooFew):
            return ClaimVerdict.NOT_FAR_ENOUGH
        wide = expected.half_width > self.widest
        if self._met(expected):
            return ClaimVerdict.TOO_NOISY if wide else ClaimVerdict.REPRODUCED
        return ClaimVerdict.TOO_NOISY if wide and self._met(plain) else ClaimVerdict.NOT_REPRODUCED

    def _met(self, expected: Prediction) -> bool:
        return expected.meets(self.value, self.value if self.to is None else self.to)


def judge(published: Published, values: Sequence[float], alternatives: Iterable[Sequence[float]] = ()) -> ClaimVerdict:
    """The verdict on a published number, from one value per seed at the full schedule.

    ``alternatives`` holds the values of each case that makes the other choice where the source leaves one open.  The
    verdict depends on an assumption only if one choice reproduces the number and another one surely does not: a choice
    that was not run far enough, or is too noisy to tell, contradicts nothing.
    """
    own = published.judge(values)
    if own in SETTLED and any(published.judge(other) in SETTLED - {own} for other in alternatives):
        return ClaimVerdict.ASSUMPTION
    return own
