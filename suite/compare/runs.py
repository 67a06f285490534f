"""Two stored runs side by side: ratios on one machine, numbers without ratios across machines.  For information only.

The two were not measured in turns, so the ratio includes whatever changed on the machine in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from suite.errors import ResultError
from suite.report.evidence import differences
from suite.report.evidence.comparison import NotRanked, by_round, questions, unranked
from suite.report.evidence.conditions import deciding
from suite.report.evidence.differences import ComparedRun
from suite.report.evidence.differences import asked as asked_of
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, merge
from suite.report.evidence.sources import read_source
from suite.report.sections.answers import asked, cost
from suite.report.text.units import level
from suite.results.questions import Question
from suite.stats import LEAST_ROUNDS, Decision, Ratio, TooFew, unpaired_ratio

OTHER_MACHINE = NotRanked("measured on another machine: not ranked", failure=False)
WORDS = {
    Decision.FASTER: "B slower",
    Decision.SLOWER: "B faster",
    Decision.EQUIVALENT: "equivalent within 3 %",
    Decision.UNDECIDED: "undecided",
}
"""What the ratio of times B / A says of B."""


@dataclass(frozen=True)
class ComparedPair:
    """One cell under one question in both runs: ns per query or example, and the time of B over that of A."""

    group: ComparisonGroup
    framework_mode: FrameworkMode
    question: Question
    first: float
    second: float
    outcome: Ratio | TooFew | NotRanked


@dataclass(frozen=True)
class _Draft:
    groups: tuple[ComparisonGroup, ComparisonGroup]
    framework_mode: FrameworkMode
    question: Question
    costs: tuple[list[float], list[float]]
    refused: NotRanked | None


def pairs(first: Evidence, second: Evidence) -> tuple[ComparedPair, ...]:
    """Every cell and question that both runs hold; the intervals hold together with 95 %."""
    apart = [difference.name for difference in asked_of(sides(first, second)) if difference.decides]
    drafts = [
        draft
        for one in first.groups
        for other in second.groups
        if (one.spec, one.device, one.precision) == (other.spec, other.device, other.precision)
        for framework_mode in first.groups[one]
        if framework_mode.runner not in UNRANKED and framework_mode in second.groups[other]
        for draft in _drafts(first, one, second, other, framework_mode, apart)
    ]
    count = sum(d.refused is None and min(map(len, d.costs)) >= LEAST_ROUNDS for d in drafts)
    return tuple(
        ComparedPair(
            d.groups[0],
            d.framework_mode,
            d.question,
            median(d.costs[0]),
            median(d.costs[1]),
            d.refused or unpaired_ratio(*d.costs, comparisons=max(count, 1)),
        )
        for d in drafts
    )


def sides(first: Evidence, second: Evidence) -> tuple[ComparedRun, ComparedRun]:
    """The two as the report would set them beside each other."""
    one, other = (ComparedRun(n, e.results, e.plan) for n, e in zip("AB", (first, second), strict=True))
    return one, other


def differing(first: Evidence, second: Evidence) -> tuple[tuple[str, ...], ...]:
    """Every setting, version and fact of the machine that differs, for a terminal: header and rows, or nothing."""
    both = sides(first, second)
    return differences.told(both, differences.between(both))


def _drafts(
    first: Evidence,
    one: ComparisonGroup,
    second: Evidence,
    other: ComparisonGroup,
    framework_mode: FrameworkMode,
    apart: Sequence[str],
) -> list[_Draft]:
    results = first.groups[one][framework_mode], second.groups[other][framework_mode]
    conditions = [*deciding(*results), *apart]
    found = []
    for question in questions(results[0]):
        costs = [list(by_round(of, question).values()) for of in results]
        if not all(costs):
            continue
        refused = _refused((first, second), (one, other), framework_mode, question, conditions)
        found.append(_Draft((one, other), framework_mode, question, (costs[0], costs[1]), refused))
    return found


def _refused(
    sets: tuple[Evidence, Evidence],
    groups: tuple[ComparisonGroup, ComparisonGroup],
    framework_mode: FrameworkMode,
    question: Question,
    conditions: Sequence[str],
) -> NotRanked | None:
    """Why two numbers are not ranked, or None."""
    one, other = groups
    if one.machine != other.machine:
        return OTHER_MACHINE
    if one.spec_digest != other.spec_digest:
        return NotRanked("another spec of that name: not ranked", failure=False)
    if (one.run in sets[0].turned) != (other.run in sets[1].turned):
        return NotRanked("not ranked: one was timed in turns, the other a process after the other", failure=False)
    if conditions:
        more = f" and {len(conditions) - 3} more" if len(conditions) > 3 else ""
        return NotRanked(f"not ranked: other {', '.join(conditions[:3])}{more}", failure=False)
    for name, evidence, group in zip("AB", sets, groups, strict=True):
        if isinstance(proof_status := unranked(evidence, group, framework_mode, question), NotRanked):
            return NotRanked(f"{name}: {proof_status.reason}", failure=False)
    return None


def load(folder: Path, refused: Callable[[ResultError], None]) -> Evidence:
    """What a run's folder holds; a file that is no result goes to ``refused``.  Raises ResultError where none is."""
    if not (folder / "results").is_dir():
        raise ResultError("holds no results", where=str(folder), way_out="`suite run` makes some.")
    found = read_source(folder)
    for error in found.refused:
        refused(error)
    return merge(found.results, found.plan, found.refused)


def told(found: Sequence[ComparedPair]) -> tuple[tuple[str, ...], ...]:
    """Header and rows as plain text, for a terminal."""
    return (
        ("benchmark, framework, mode", "question", "A", "B", "time, B / A", "verdict"),
        *(
            (
                f"{pair.group.spec}, {pair.framework_mode.runner}, {pair.framework_mode.mode}", asked(pair.question),
                cost(pair.question, pair.first), cost(pair.question, pair.second), *_words(pair.outcome),
            )
            for pair in found
        ),
    )  # fmt: skip


def _words(outcome: Ratio | TooFew | NotRanked) -> tuple[str, str]:
    match outcome:
        case Ratio():
            return f"{outcome.value:.3f} ({outcome.low:.3f} to {outcome.high:.3f})", WORDS[outcome.decision]
        case TooFew():
            return "", str(outcome)
        case NotRanked():
            return "", outcome.reason


def caveats(found: Sequence[ComparedPair]) -> tuple[str, ...]:
    """What belongs below the table."""
    if not found:
        return ("The two runs have no measured cell in common.",)
    said = []
    ratios = [pair.outcome for pair in found if isinstance(pair.outcome, Ratio)]
    if ratios:
        said.append(
            "A and B were not interleaved, so these ratios include whatever changed on the machine in between. "
            f"Intervals are over the rounds of each, at {level(ratios[0].confidence)}, so that all {len(ratios)} hold "
            "together at 95 % (Bonferroni). `suite compare --against COMMIT` measures in turns."
        )
    if any(pair.outcome is OTHER_MACHINE for pair in found):
        said.append(
            "A and B come from machines with different fingerprints: their numbers are shown side by side, and nothing "
            "is ranked."
        )
    elif any(isinstance(p.outcome, NotRanked) and p.outcome.reason.startswith("not ranked: other") for p in found):
        said.append(differences.RULE)
    return tuple(said)
