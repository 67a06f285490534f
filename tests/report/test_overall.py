"""The verdict over a run: one number for each round, whatever the benchmarks of a round have in common."""

from __future__ import annotations

import math
from typing import Any

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.report.document import build
from suite.report.evidence.comparison import decide, drafts, judged
from suite.report.evidence.merge import merge
from suite.report.evidence.overall import Overall, overall
from suite.results.questions import QuestionKind
from suite.stats import Decision, Ratio, TooFew

pytestmark = pytest.mark.usefixtures("undrawn")


def drawn(ratio: float, common: float = 0.0) -> turned.Draw:
    """tf takes ``ratio`` times as long as torch; ``common`` moves the ratio of whole rounds up and down."""
    moved = (-1.0, 0.5, 1.0, 0.0, -0.5)

    def draw(runner: str, mode: str, number: int) -> float:
        return ratio * math.exp(common * moved[(number - 1) % 5]) if runner == "tf" else 1.0

    return draw


def found(*ratios: float, common: float = 0.0, rounds: tuple[int, ...] = ()) -> list[Any]:
    lengths = rounds or (5,) * len(ratios)
    return [
        r
        for i, (ratio, length) in enumerate(zip(ratios, lengths, strict=True))
        for r in turned.run(make.spec(f"spec-{i}"), length, drawn(ratio, common), trainings=0)
    ]


def verdicts(results: list[Any]) -> dict[QuestionKind, Overall]:
    asked = drafts(merge(results, {}))
    return {v.kind: v for v in overall(decide(asked, judged(asked)))}


def test_the_mean_is_geometric_and_benchmarks_are_counted() -> None:
    of = verdicts(found(2.0, 0.5, 1.0, common=0.001))[QuestionKind.TRAINING]
    assert isinstance(of.outcome, Ratio)
    assert of.outcome.value == pytest.approx(1.0, rel=1e-3)
    assert of.outcome.confidence == 0.95
    assert of.counts == {Decision.FASTER: 1, Decision.SLOWER: 1, Decision.EQUIVALENT: 1}
    assert (of.first, of.second, of.benchmarks, of.asked) == ("torch", "tf", 3, 3)


def test_what_moves_a_whole_round_is_not_averaged_away_by_more_benchmarks() -> None:
    two, eight = (verdicts(found(*(1.2,) * count, common=0.05))[QuestionKind.TRAINING].outcome for count in (2, 8))
    assert isinstance(two, Ratio)
    assert isinstance(eight, Ratio)
    assert eight.high / eight.low == pytest.approx(two.high / two.low, rel=1e-3)


def test_only_rounds_that_all_benchmarks_have_count() -> None:
    of = verdicts(found(1.5, 1.5, rounds=(5, 8)))[QuestionKind.LATENCY].outcome
    assert isinstance(of, Ratio)
    assert of.rounds == 5
    assert verdicts(found(1.5, 1.5, rounds=(3, 8)))[QuestionKind.LATENCY].outcome == TooFew("rounds", 3, 5)
    told = build(found(1.5, 1.5, rounds=(3, 8)), {}).markdown
    assert "none, too few rounds: 3 of 5 in common" in told


def test_it_stands_below_the_table_of_the_answer_and_only_where_there_are_several_benchmarks_in_turns() -> None:
    told = build(found(2.0, 1.5), {}).markdown
    assert told.index("| spec-1 ") < told.index("over all benchmarks") < told.index("- **spec-0**")
    assert "torch 1.73x faster" in told
    assert "over all benchmarks" not in build(found(2.0), {}).markdown
    old = [*make.run(make.spec("a")), *make.run(make.spec("b"))]
    assert "over all benchmarks" not in build(old, {}).markdown
