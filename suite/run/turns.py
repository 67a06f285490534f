"""Turns: laps in which every seat answers every question with one block.

Questions come in an order drawn anew for each lap, and so do the seats, for each question.  All answer it one after the
other, so what differs from moment to moment cancels in their ratio.  The same code sets framework against framework and
commit against commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from suite.errors import Unsupported
from suite.results.questions import Question, QuestionKind
from suite.run.agents import Lost, Refusal

LONG_NS, LONG_EVERY = 200_000_000, 3
"""Blocks of a question that take longer, those of all seats together, are asked in every third lap alone."""


class Asked(Protocol):
    """An agent, near or behind its parent."""

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer.  Raises Unsupported and RunError."""
        ...


@dataclass(frozen=True)
class Call:
    """How a seat answers a question: so many calls in a block, each of so many examples; what one costs by itself."""

    calls: int
    examples: int
    own_ns: int | None


@dataclass(eq=False)
class Seat:
    """A program at an agent, by its mode (and precision: ``Cell.program``), with its blocks so far."""

    agent: Asked
    mode: str
    calls: dict[Question, Call] = field(default_factory=dict)
    blocks: dict[Question, list[int]] = field(default_factory=dict)
    queries: dict[Question, list[int]] = field(default_factory=dict)
    failed: Lost | Refusal | Unsupported | None = None
    """Why it answers no more; the other seats go on."""

    def settle(self, question: Question, nanoseconds: float, **more: float) -> Call:
        """How it answers ``question`` in blocks of at least so long; ``more`` is what the request says besides."""
        found = self._ask("settle", question, nanoseconds=nanoseconds, **more)
        own = found["own_ns"]
        call = Call(int(found["calls"]), int(found["examples"]), None if own is None else int(own))
        self.calls[question] = call
        return call

    def warming(self, questions: Sequence[Question]) -> list[tuple[str, int, int]]:
        """What an agent is asked that warms up for ``questions``; 0 examples where it is not known how many."""
        known = {question: self.calls[question].examples for question in questions if question in self.calls}
        return [(question.kind.value, question.batch_size, known.get(question, 0)) for question in questions]

    def block(self, question: Question, *, keep: int | None = None) -> int:
        """Nanoseconds of a block, which is noted as well; ``keep`` is drawn where outputs are kept for the audit."""
        call = self.calls[question]
        found = self._ask("block", question, calls=call.calls, examples=call.examples, keep=keep)
        taken = max(int(found["ns"]), 1)
        self.blocks.setdefault(question, []).append(taken)
        self.queries.setdefault(question, []).extend(max(int(query), 1) for query in found.get("queries_ns", ()))
        return taken

    def _ask(self, do: str, question: Question, **more: object) -> dict[str, Any]:
        kind, size = question.kind.value, question.batch_size
        return self.agent.ask({"do": do, "mode": self.mode, "question": kind, "batch_size": size, **more})


def settle(seats: Sequence[Seat], questions: Sequence[Question], nanoseconds: float, **more: float) -> None:
    """Let every seat find how it answers every question, where that is not known; who cannot answers no more."""
    for question in questions:
        for seat in seats:
            if question not in seat.calls:
                _unless_failed(seats, seat, lambda s=seat, q=question: s.settle(q, nanoseconds, **more))  # type: ignore[misc]


def play(
    seats: Sequence[Seat],
    questions: Sequence[Question],
    laps: int,
    draw: np.random.Generator,
    *,
    keep: Callable[[Question], bool] = lambda _: False,
) -> None:
    """So many laps.  Of each question that ``keep`` names, outputs of one lap are kept for the audit.

    Both are drawn: the lap, and a number by which the agent chooses among the calls and rows of the block.  A question
    whose blocks take long is asked in every third lap, by everyone.
    """
    kept = {
        question: (LONG_EVERY * int(draw.integers(-(-laps // LONG_EVERY))), int(draw.integers(2**31)))
        for question in questions
        if keep(question)
    }
    long: set[Question] = set()
    for lap in range(laps):
        if lap == 1:
            long = {question for question in questions if _lasting(seats, question) > LONG_NS}
        for place in draw.permutation(len(questions)):
            question = questions[place]
            order = draw.permutation(len(seats))
            if lap % LONG_EVERY and question in long:
                continue
            chosen, number = kept.get(question, (None, 0))
            now = number if chosen == lap else None
            for seat in (seats[i] for i in order):
                if question in seat.calls:
                    _unless_failed(seats, seat, lambda s=seat, q=question, k=now: s.block(q, keep=k))  # type: ignore[misc]


def _lasting(seats: Sequence[Seat], question: Question) -> int:
    """What the first blocks of a question took together."""
    return sum(seat.blocks[question][0] for seat in seats if seat.blocks.get(question))


def _unless_failed(seats: Sequence[Seat], seat: Seat, do: Callable[[], object]) -> None:
    """Do it unless the seat has failed; if it fails now, and its agent is gone, so have all of that agent's."""
    if seat.failed is not None:
        return
    try:
        do()
    except (Lost, Refusal, Unsupported) as error:
        seat.failed = error
        if isinstance(error, Lost):
            for other in seats:
                if other.agent is seat.agent:
                    other.failed = other.failed or error


def questions(latency_batches: Sequence[int], throughput_batches: Sequence[int]) -> tuple[Question, ...]:
    """What is asked of each seat."""
    return (
        Question(QuestionKind.TRAINING),
        *(Question(QuestionKind.LATENCY, size) for size in latency_batches),
        *(Question(QuestionKind.THROUGHPUT, size) for size in throughput_batches),
    )
