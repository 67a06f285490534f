"""What the gate found, as a proof records it."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from suite.results.values import Count, Digest, Word
from suite.spec.differences import Difference
from suite.spec.tensors import Frozen


class Check(Frozen):
    """One comparison of the gate: the error of ``tensor`` against the reference, relative, and its bound.

    ``error`` is null when a value was not finite, which is never equal.
    """

    section: Word
    tensor: Word
    error: float | None
    bound: float

    @property
    def equal(self) -> bool:
        """Whether the error is within its bound."""
        return self.error is not None and self.error <= self.bound

    @property
    def share(self) -> float:
        """How much of its bound the error takes; infinite where it is no finite number, or beyond a bound of 0."""
        if not self.error:
            return math.inf if self.error is None else 0.0
        return self.error / self.bound if self.bound else math.inf


class Verdict(StrEnum):
    """What the gate says of a runner under a spec; not provable where the reference itself overflows."""

    IDENTICAL = "identical"
    VARIANT = "identical up to a variant"
    UNPROVEN = "unproven"
    NOT_PROVABLE = "not provable from any start"

    @property
    def proven(self) -> bool:
        """Whether it lets numbers be ranked."""
        return self in (Verdict.IDENTICAL, Verdict.VARIANT)


class Identity(Frozen):
    """The outcome of comparing a runner with the reference.

    ``checks`` holds the worst check of each section, and every one that failed, in the order of computation; the
    first failed one is ``divergence``.  ``compared`` counts all comparisons.  ``drift`` is the largest relative
    difference of weights after ten free-running steps: reported, never judged; null where steps were too dear.
    ``gentleness`` counts how often the weights of the start were divided until the reference itself stayed finite; null
    where it never did, which is not provable, and in records before schema 4.  ``key`` is the digest of all that the
    proof depends on.  ``own`` is where the framework's own API differs from what the spec asks; null before schema 4.
    """

    verdict: Verdict
    variants: tuple[Word, ...] = ()
    variant_shift: float | None = None
    compared: Count
    checks: Annotated[tuple[Check, ...], Field(max_length=100_000)]
    divergence: Check | None
    drift: float | None
    gentleness: Count | None = None
    key: Digest
    own: Annotated[tuple[Difference, ...], Field(max_length=1000)] | None = None
