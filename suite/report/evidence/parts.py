"""Where a difference comes from: a fixed cost per call and a cost per example, by a line over batch sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from suite.report.evidence.comparison import AnswerRow, Best, NotRanked, questions, unranked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, in_order
from suite.results import turns
from suite.results.questions import Question, QuestionKind
from suite.results.records import Timed
from suite.stats import Centre, Ratio, TooFew, line, mean_interval, ratio_interval


@dataclass(frozen=True)
class Parts:
    """A cell's latency as a line, round by round: nanoseconds of a call however small, and of each example in it."""

    framework_mode: FrameworkMode
    fixed: Mapping[int, float]
    each: Mapping[int, float]
    largest: int

    @property
    def call(self) -> Centre | TooFew:
        """The fixed cost over rounds."""
        return mean_interval(list(self.fixed.values()))

    @property
    def example(self) -> Centre | TooFew:
        """The cost per example over rounds."""
        return mean_interval(list(self.each.values()))


def parts(evidence: Evidence, group: ComparisonGroup) -> list[Parts]:
    """Every ranked cell with latency in turns at two batch sizes or more."""
    found = []
    for framework_mode, results in evidence.groups[group].items():
        timed = [r for r in results if isinstance(r, Timed)]
        asked = [q for q in questions(timed) if q.kind is QuestionKind.LATENCY]
        asked = [q for q in asked if not isinstance(unranked(evidence, group, framework_mode, q), NotRanked)]
        if framework_mode.runner in UNRANKED or len(asked) < 2:
            continue
        lines = {r.cell.round: fitted for r in timed if (fitted := _line(r, asked))}
        if lines:
            fixed, each = ({n: pair[i] for n, pair in sorted(lines.items())} for i in (0, 1))
            found.append(Parts(framework_mode, fixed, each, asked[-1].batch_size))
    return found


def _line(record: Timed, asked: Sequence[Question]) -> tuple[float, float] | None:
    costs = {q.batch_size: taken for q in asked if (taken := turns.cost(record, q)) is not None}
    return line(list(costs), list(costs.values())) if len(costs) > 1 else None


@dataclass(frozen=True)
class Difference:
    """Two frameworks' calls, each in its best mode.

    ``sooner`` is by how many nanoseconds a call of the first starts sooner; ``cheaper`` the cost of the second's
    example over the first's; ``crossing`` the batch size from which whoever starts later is ahead, if any is.
    ``largest`` is the largest batch that was timed.
    """

    first: str
    second: str
    sooner: Centre | TooFew
    cheaper: Ratio | TooFew | None
    crossing: float | None
    largest: int


def _crossing(one: Parts, other: Parts, sooner: Centre | TooFew, cheaper: Ratio | TooFew | None) -> float | None:
    if not isinstance(sooner, Centre) or not isinstance(cheaper, Ratio) or sooner.low <= 0 <= sooner.high:
        return None
    overtakes = cheaper.high < 1 if sooner.value > 0 else cheaper.low > 1
    if not overtakes:
        return None
    rounds = sorted(set(one.each) & set(other.each))
    steeper = sum(one.each[r] - other.each[r] for r in rounds) / len(rounds)
    size = sooner.value / steeper if steeper else 0.0
    return size if size > 0 else None


def differences(evidence: Evidence, group: ComparisonGroup, rows: Sequence[AnswerRow]) -> list[Difference]:
    """Every pair of frameworks of a benchmark, in the modes that answer for latency."""
    lines = {found.framework_mode: found for found in parts(evidence, group)}
    bests = {
        runner: best.framework_mode
        for row in rows
        if row.group == group and row.question.kind is QuestionKind.LATENCY
        for runner, best in row.bests.items()
        if isinstance(best, Best)
    }
    mine = {runner: lines[bests[runner]] for runner in in_order(bests) if bests[runner] in lines}
    found = []
    for first, second in combinations(mine, 2):
        one, other = mine[first], mine[second]
        rounds = sorted(set(one.fixed) & set(other.fixed))
        sooner = mean_interval([other.fixed[r] - one.fixed[r] for r in rounds])
        rising = all(side.each[r] > 0 for side in (one, other) for r in rounds)
        cheaper = ratio_interval([other.each[r] / one.each[r] for r in rounds]) if rising else None
        crossing = _crossing(one, other, sooner, cheaper)
        found.append(Difference(first, second, sooner, cheaper, crossing, max(one.largest, other.largest)))
    return found
