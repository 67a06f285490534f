"""What the machine can do, by the best framework, and which of its two roofs lies above a benchmark.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore architectures",
2009: attainable FLOP/s = min(peak FLOP/s, bytes per second * FLOPs per byte).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.results.questions import Question, QuestionKind
from suite.results.records import Timed
from suite.spec.intensity import Intensity, intensity
from suite.spec.precision import Precision

CLEAR = 2.0
"""How far the roofs must lie apart, where both are measured and the intensity is bounded only."""


@dataclass(frozen=True, order=True)
class Roof:
    """The most per second that any framework reached, and which."""

    per_second: float
    runner: str


@dataclass(frozen=True)
class Machine:
    """The most FLOP/s and the most bytes/s that anybody reached; null where none was asked."""

    product: Roof | None
    copy: Roof | None

    def at_least(self, reached: Roof | None) -> Machine:
        """The same where a benchmark was computed faster than the product, while something else was at work."""
        return self if self.product is None or reached is None else replace(self, product=max(self.product, reached))

    @property
    def balance(self) -> float | None:
        """FLOPs in the time in which a byte is moved; null where either is not known."""
        return self.product.per_second / self.copy.per_second if self.product and self.copy else None


def peaks(evidence: Evidence, group: ComparisonGroup) -> list[Timed]:
    """The records of a group's run, machine and precision that tell what the machine can do."""
    return [
        r
        for r in evidence.timed
        if (r.peak_flops or r.peak_bytes)
        and (r.run, r.environment.machine, r.environment.place) == (group.run, group.machine, group.place)
        and (r.cell.device, r.cell.precision) == (group.device, group.precision)
    ]


def machine(evidence: Evidence, group: ComparisonGroup) -> Machine:
    """What a group's machine can do in its precision."""
    found = peaks(evidence, group)
    return Machine(
        max((Roof(r.peak_flops, r.cell.runner) for r in found if r.peak_flops), default=None),
        max((Roof(r.peak_bytes, r.cell.runner) for r in found if r.peak_bytes), default=None),
    )


def of(evidence: Evidence, group: ComparisonGroup, question: Question) -> Intensity | None:
    """The intensity of a question; null where FLOPs are not counted, and of latency."""
    spec, training = evidence.specs[group], question.kind is QuestionKind.TRAINING
    if question.kind is QuestionKind.LATENCY:
        return None
    batch = min(spec.batch_size, spec.train_images) if training else min(question.batch_size, spec.data.test)
    return intensity(spec, batch, cast(Precision, group.precision), training=training)


def binding(found: Intensity, here: Machine, reached: float) -> Literal["memory", "arithmetic"] | None:
    """What sets the limit, where that is clear; ``reached`` is the most FLOP/s that any framework had.

    Who was faster than the memory's roof had its data in a cache.
    """
    if here.balance is None or here.copy is None:
        return None
    if found.low >= CLEAR * here.balance:
        return "arithmetic"
    within = reached <= found.high * here.copy.per_second
    return "memory" if within and found.high * CLEAR <= here.balance else None
