"""What an expert gains: a framework's quickstart, and each other mode and precision beside it, in the same laps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suite.report.evidence.comparison import NotRanked, by_round, unranked, within
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.precisions import Setting
from suite.results.questions import Question
from suite.stats import Ratio, TooFew, ratio_interval

QUICKSTART = "quickstart"
"""The mode in which a framework is as its own documentation starts with it."""
MADE_FROM: Mapping[str, str] = {
    "compile": "eager",
    "graphs": "eager",
    "compile_graphs": "compile",
    "max_autotune": "compile_graphs",
    "graph": "eager",
    "xla": "graph",
}
"""From which mode one gets to another by one change; from the quickstart to any other it takes several."""
Outcome = Ratio | TooFew | NotRanked


@dataclass(frozen=True)
class Step:
    """A mode in a precision under a question; costs in ns by round, none where it is not ranked.

    ``gained`` is its speed over that of the quickstart in the first precision, None for that itself.  ``change`` names
    the one thing in which it differs from another step, and ``alone`` is its speed over that one's; "" and None where
    there is no such step.
    """

    framework_mode: FrameworkMode
    group: ComparisonGroup
    costs: Mapping[int, float] | NotRanked
    gained: Outcome | None
    change: str
    alone: Outcome | None

    @property
    def precision(self) -> str:
        """In which it computes."""
        return self.group.precision


def frameworks(evidence: Evidence, setting: Setting) -> list[str]:
    """The frameworks that stand beside their own quickstart."""
    cells = {who for group in setting.groups.values() for who in evidence.groups[group]}
    both = {who.runner for who in cells if who.mode != QUICKSTART} & {w.runner for w in cells if w.mode == QUICKSTART}
    return [framework for framework in evidence.frameworks if framework in both - UNRANKED]


def steps(evidence: Evidence, setting: Setting, framework: str, question: Question) -> list[Step]:
    """The quickstart first, then modes from those that others are made from; each in every precision."""
    modes = {who for group in setting.groups.values() for who in evidence.groups[group] if who.runner == framework}
    costs = {
        (who.mode, precision): of_cell(evidence, group, who, question)
        for who in modes
        for precision, group in setting.groups.items()
        if who in evidence.groups[group]
    }
    start = costs.get((QUICKSTART, setting.usual), NotRanked(f"{setting.usual} has no number of the quickstart"))
    found = []
    for who in sorted(modes, key=lambda w: (w.mode != QUICKSTART, _depth(w.mode), w.mode)):
        for precision, group in setting.groups.items():
            mine = costs.get((who.mode, precision))
            if mine is None:
                continue
            first = (who.mode, precision) == (QUICKSTART, setting.usual)
            other = _before(who.mode, precision, setting.usual)
            theirs = costs.get(other) if other else None
            change, alone = "", None
            if other and theirs is not None:
                change = f"{precision} for {other[1]}" if who.mode == other[0] else f"{who.mode} for {other[0]}"
                alone = over(theirs, mine)
            found.append(Step(who, group, mine, None if first else over(start, mine), change, alone))
    return found


def _before(mode: str, precision: str, usual: str) -> tuple[str, str] | None:
    """Mode and precision from which one change leads here, the precision before the mode."""
    if precision != usual:
        return mode, usual
    return (MADE_FROM[mode], usual) if mode in MADE_FROM else None


def _depth(mode: str) -> int:
    return 1 + _depth(MADE_FROM[mode]) if mode in MADE_FROM else 0


def of_cell(
    evidence: Evidence, group: ComparisonGroup, who: FrameworkMode, question: Question
) -> Mapping[int, float] | NotRanked:
    """A mode's costs by round, or why it is not ranked; rounds count as they do in the answer."""
    if who not in evidence.groups[group]:
        return NotRanked(f"{who.runner} has no number in its mode {who.mode}")
    status = unranked(evidence, group, who, question)
    if isinstance(status, NotRanked):
        return status
    found = by_round(within(evidence, group, evidence.groups[group][who]), question)
    return found if found and min(found.values()) > 0 else NotRanked("it was not asked")


def over(first: Mapping[int, float] | NotRanked, second: Mapping[int, float] | NotRanked) -> Outcome:
    """Speed of the ``second`` over that of the ``first``, round by round, with its interval at 95 % by itself."""
    for costs in (second, first):
        if isinstance(costs, NotRanked):
            return costs
    assert not isinstance(first, NotRanked)
    assert not isinstance(second, NotRanked)
    return ratio_interval([first[n] / second[n] for n in sorted(set(first) & set(second))])
