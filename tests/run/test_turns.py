"""Turns, with agents that only note what they are asked: the order, and who drops out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from suite.errors import Unsupported
from suite.inputs import initial
from suite.results.questions import Question, QuestionKind
from suite.results.records import Cause
from suite.run import turns
from suite.run.agents import Lost, Refusal
from suite.run.turns import Call, Seat

TRAINING, LATENCY, THROUGHPUT = (
    Question(QuestionKind.TRAINING),
    Question(QuestionKind.LATENCY, 1),
    Question(QuestionKind.THROUGHPUT, 256),
)
QUESTIONS = (TRAINING, LATENCY, THROUGHPUT)
Asked = tuple[str, str, str, bool]
"""Whose turn it was: agent, mode, question, and whether outputs are kept."""


@dataclass(eq=False)
class Fake:
    """An agent that notes blocks in ``said``, and raises ``error`` at its ``at``-th request of ``mode``."""

    name: str
    said: list[Asked] = field(default_factory=list)
    error: Exception | None = None
    mode: str = ""
    at: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        mode = str(request["mode"])
        self.asked[mode] += 1
        if self.error and mode == self.mode and self.asked[mode] >= self.at:
            raise self.error
        if request["do"] == "settle":
            return {"calls": 3, "examples": 64, "own_ns": 7 if request["question"] == "training" else None}
        self.said.append((self.name, mode, str(request["question"]), bool(request["keep"])))
        return {"ns": len(self.said), "queries_ns": [1, 0, 3] if request["question"] == "latency" else []}


def drawn(seed: int = 0) -> np.random.Generator:
    return initial.stream(seed, "turns", "test")


def played(laps: int, draw: np.random.Generator, **more: Any) -> tuple[list[Asked], list[Seat]]:
    """Laps of an agent with two modes and one with one; what was asked, in order."""
    said: list[Asked] = []
    first, second = Fake("torch", said), Fake("tf", said)
    seats = [Seat(first, "eager"), Seat(first, "compile"), Seat(second, "graph")]
    turns.settle(seats, QUESTIONS, 1e6)
    turns.play(seats, QUESTIONS, laps, draw, **more)
    return said, seats


def laps_of(said: Sequence[Asked], count: int = 9) -> list[list[tuple[str, str, str]]]:
    rows = [each[:3] for each in said]
    return [rows[i : i + count] for i in range(0, len(rows), count)]


def test_each_seat_answers_each_question_once_a_lap() -> None:
    said, seats = played(5, drawn())
    laps = laps_of(said)
    assert len(laps) == 5
    for lap in laps:
        assert len(set(lap)) == 9
        assert set(lap) == set(laps[0])
    for seat in seats:
        assert {question: len(blocks) for question, blocks in seat.blocks.items()} == dict.fromkeys(QUESTIONS, 5)


def test_the_order_is_drawn_anew_for_each_lap_and_is_the_same_by_the_same_seed() -> None:
    said, again, other = (played(8, drawn(seed))[0] for seed in (0, 0, 1))
    assert said == again != other
    assert len({tuple(lap) for lap in laps_of(said)}) == 8
    assert len({lap[0] for lap in laps_of(said)}) > 2, "nobody is always the first"


def test_whoever_is_compared_answers_a_question_one_after_the_other() -> None:
    said, _ = played(8, drawn())
    orders = set()
    for lap in laps_of(said):
        asked = [lap[i : i + 3] for i in range(0, 9, 3)]
        assert [len({question for _, _, question in three}) for three in asked] == [1, 1, 1]
        orders |= {tuple(mode for _, mode, _ in three) for three in asked}
    assert len(orders) == 6, "every order comes up"


def test_a_block_is_asked_for_as_it_was_settled_and_noted() -> None:
    requests: list[Mapping[str, Any]] = []

    class Watched(Fake):
        def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
            requests.append(request)
            return super().ask(request)

    seat = Seat(Watched("torch"), "eager")
    turns.settle([seat], (TRAINING, LATENCY), 5e6)
    assert seat.calls == {TRAINING: Call(3, 64, 7), LATENCY: Call(3, 64, None)}
    assert requests[0] == {"do": "settle", "mode": "eager", "question": "training", "batch_size": 0, "nanoseconds": 5e6}
    assert seat.block(LATENCY, keep=True) == 1
    asked = {"mode": "eager", "question": "latency", "batch_size": 1, "calls": 3, "examples": 64, "keep": True}
    assert requests[-1] == {"do": "block", **asked}
    assert seat.queries[LATENCY] == [1, 1, 3], "a query takes a nanosecond at the least"


ERRORS = [Refusal({"error": "no memory", "kind": "MemoryError"}), Unsupported("no such layer")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [2, 7], ids=["settling", "in a lap"])
def test_a_seat_that_fails_drops_out_alone(error: Refusal | Unsupported, at: int) -> None:
    said: list[Asked] = []
    first = Fake("torch", said, error=error, mode="eager", at=at)
    seats = [Seat(first, "eager"), Seat(first, "compile"), Seat(Fake("tf", said), "graph")]
    turns.settle(seats, QUESTIONS, 1e6)
    turns.play(seats, QUESTIONS, 4, drawn())
    assert [seat.failed for seat in seats] == [error, None, None]
    assert first.asked["eager"] == at, "it is asked no more"
    counts = Counter(each[:2] for each in said)
    assert (counts["torch", "compile"], counts["tf", "graph"]) == (12, 12)


@pytest.mark.parametrize("at", [2, 7], ids=["settling", "in a lap"])
def test_a_lost_agent_takes_all_of_its_seats_along(at: int) -> None:
    said: list[Asked] = []
    lost = Lost("torch is gone", Cause.OUT_OF_MEMORY)
    first, second = Fake("torch", said, error=lost, mode="eager", at=at), Fake("tf", said)
    seats = [Seat(first, "eager"), Seat(first, "compile"), Seat(second, "graph")]
    turns.settle(seats, QUESTIONS, 1e6)
    turns.play(seats, QUESTIONS, 4, drawn())
    assert [seat.failed for seat in seats] == [lost, lost, None]
    assert second.asked["graph"] == 3 + 12
    assert first.asked["compile"] < 3 + 12


def test_the_first_reason_of_a_seat_stays() -> None:
    said: list[Asked] = []
    refused, lost = Unsupported("no such layer"), Lost("torch is gone", Cause.CRASHED)
    first = Fake("torch", said, error=lost, mode="compile", at=5)
    seats = [Seat(first, "eager", failed=refused), Seat(first, "compile")]
    turns.settle(seats, QUESTIONS, 1e6)
    turns.play(seats, QUESTIONS, 4, drawn())
    assert [seat.failed for seat in seats] == [refused, lost]
    assert not first.asked["eager"]


def test_what_else_goes_wrong_is_no_seats_affair() -> None:
    """A full disk, say, ends the turns."""
    seat = Seat(Fake("torch", error=OSError("disk"), mode="eager", at=4), "eager")
    turns.settle([seat], QUESTIONS, 1e6)
    with pytest.raises(OSError, match="disk"):
        turns.play([seat], QUESTIONS, 4, drawn())


def test_outputs_of_one_lap_of_each_question_are_kept_and_which_is_drawn() -> None:
    chosen = set()
    for seed in range(6):
        said, _ = played(9, drawn(seed), keep=lambda question: question.kind is not QuestionKind.TRAINING)
        kept = [(number // 9, each[2]) for number, each in enumerate(said) if each[3]]
        assert Counter(question for _, question in kept) == {"latency": 3, "throughput": 3}
        assert len(set(kept)) == 2, "every seat's of the same lap"
        chosen.add(tuple(sorted(set(kept))))
    assert len(chosen) > 3


def test_what_is_asked_is_training_once_and_the_rest_at_each_batch_size() -> None:
    assert turns.questions((1, 8), (256,)) == (
        TRAINING,
        LATENCY,
        Question(QuestionKind.LATENCY, 8),
        THROUGHPUT,
    )


def test_who_knows_how_it_answers_is_not_asked_again_and_warms_up_for_that() -> None:
    agent = Fake("torch")
    known = Call(5, 128, None)
    seat = Seat(agent, "eager", calls={LATENCY: known})
    assert seat.warming((TRAINING, LATENCY)) == [("training", 0, 0), ("latency", 1, 128)]
    turns.settle([seat], QUESTIONS, 1e6)
    assert seat.calls[LATENCY] == known
    assert seat.calls[TRAINING] == Call(3, 64, 7)
    assert agent.asked["eager"] == 2
    assert not seat.blocks


def test_a_question_whose_blocks_take_long_is_asked_in_every_third_lap_by_everyone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "LONG_NS", 5)
    seats = [Seat(Fake(name), "eager") for name in ("torch", "tf")]
    for seat in seats:
        seat.calls = {question: Call(1, 64, None) for question in QUESTIONS}
    seats[0].blocks = {}
    turns.settle(seats, QUESTIONS, 1e6)
    slow = seats[1].agent
    monkeypatch.setattr(slow, "ask", lambda request: {"ns": 9 if request["question"] == "training" else 1})
    turns.play(seats, QUESTIONS, 7, drawn())
    assert [len(seat.blocks[TRAINING]) for seat in seats] == [3, 3]
    assert {len(seat.blocks[question]) for seat in seats[1:] for question in (LATENCY, THROUGHPUT)} == {7}
