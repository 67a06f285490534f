"""What is asked of a framework: training, latency or throughput, at a batch size where that is the meter's to choose.

One vocabulary for meters, results, report and comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class QuestionKind(StrEnum):
    """A kind of work that is timed."""

    TRAINING = "training"
    LATENCY = "latency"
    THROUGHPUT = "throughput"


class Answering(Protocol):
    """A measured cell, which tells what a question cost it."""

    def samples(self, question: Question) -> tuple[float, ...]:
        """Nanoseconds per query for latency, else per example; empty if it was not asked."""
        ...


@dataclass(frozen=True, order=True)
class Question:
    """A kind of work, at a batch size where that is the meter's to choose.

    ``counted`` names what a rate counts; it tells no questions apart.
    """

    kind: QuestionKind
    batch_size: int = 0
    counted: str = field(default="images", compare=False)

    def __str__(self) -> str:
        return f"{self.kind}, batch {self.batch_size:,}" if self.batch_size else str(self.kind)

    @property
    def timed(self) -> Question:
        """What the same work is asked for its time: the instrument's share is one of time, whatever is compared."""
        return self

    def missing(self, result: Answering) -> str:  # noqa: ARG002 - energy has reasons to tell
        """Why a cell that was asked has no costs, where there is a reason to tell."""
        return ""

    def costs(self, result: Answering) -> tuple[float, ...]:
        """Samples of one cell: ns per query for latency, else ns per image; empty if it was not asked."""
        return result.samples(self)


def headline(asked: Sequence[Question]) -> list[Question]:
    """What an answer is about: training, latency at the smallest batch, throughput at the largest; of all, in order."""
    latency = [q for q in asked if q.kind is QuestionKind.LATENCY][:1]
    throughput = [q for q in asked if q.kind is QuestionKind.THROUGHPUT][-1:]
    return [*(q for q in asked if q.kind is QuestionKind.TRAINING), *latency, *throughput]
