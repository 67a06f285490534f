"""Accuracy over seeds, per framework and mode, and whether the frameworks' accuracies are equivalent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from suite.report.evidence.claims import AccuracyRow
from suite.report.evidence.comparison import NotRanked
from suite.report.evidence.merge import (
    UNRANKED,
    ComparisonGroup,
    Evidence,
    in_order,
)
from suite.report.evidence.seeds import Seeds, per_seed
from suite.report.text.markdown import Markdown, Notes, md, table
from suite.report.text.units import percent
from suite.scales import SHARE
from suite.stats import Equivalence, TooFew, prediction

Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels, pairs: Sequence[AccuracyRow]) -> list[Markdown]:
    """Test accuracy per framework and mode over seeds, and the equivalence tests."""
    notes = Notes()
    rows: list[list[str]] = []
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            seeds = per_seed(results, "test_accuracy") if framework_mode.runner not in UNRANKED else None
            if seeds is None:
                continue
            rows.append(
                [
                    labels[group],
                    framework_mode.runner,
                    framework_mode.mode,
                    f"{seeds.ran}",
                    *_over(seeds, notes),
                    seeds.schedule,
                ]
            )
    for group, timed in evidence.groups.items():
        if evidence.specs[group].speed_alone:
            why = "the benchmark asks for its speed alone: its data hold nothing to learn"
            ran = in_order(who.runner for who in timed if who.runner not in UNRANKED)
            rows += [[labels[group], runner, *[notes.dash(why)] * 6] for runner in ran]
    if not rows:
        return [Markdown("No benchmark with classes was trained.")]
    heads = [
        "benchmark",
        "framework",
        "mode",
        "seeds",
        "mean",
        "range",
        "95 % prediction interval for a new run",
        "schedule",
    ]
    blocks = [table(heads, rows, "lllrrlll"), *notes.lines()]
    if pairs:
        blocks.append(Markdown("\n".join(_equivalence(pair, labels) for pair in pairs)))
        tests = sum(isinstance(pair.outcome, Equivalence) for pair in pairs)
        many = f" {tests} test{'s were' if tests > 1 else ' was'} made, each at 5 % by itself." if tests else ""
        blocks.append(
            Markdown(
                "Equivalence is tested by two one-sided t-tests at 5 % over paired seeds, with a margin of 0.5 points "
                f"and at least five seeds. The brackets hold the 90 % interval.{many}"
            )
        )
    return blocks


def _over(seeds: Seeds, notes: Notes) -> tuple[str, str, str]:
    """Mean, range and prediction interval over all seeds, or a dash where one that diverged has no accuracy."""
    values = list(seeds.values.values())
    if not values:
        spared = list(seeds.spared.values())
        rest = f"; the other {len(spared)}: {_range(spared)}" if spared else ""
        dash = notes.dash(f"{seeds.diverged}, without an accuracy, so there is no mean{rest}")
        return dash, dash, dash
    expected = prediction(values, SHARE)
    if isinstance(expected, TooFew):
        interval: str = notes.dash(str(expected))
    else:
        interval = f"{percent(expected.low)} to {percent(expected.high)}"
    mean = percent(fmean(values))
    return notes.mark(mean, str(seeds.diverged)) if seeds.diverged else mean, _range(values), interval


def _range(values: Sequence[float]) -> str:
    return f"{percent(min(values))} to {percent(max(values))}" if len(values) > 1 else "one seed"


def _equivalence(pair: AccuracyRow, labels: Labels) -> Markdown:
    one, other = (f"{c.runner} ({c.mode})" for c in (pair.first, pair.second))
    match pair.outcome:
        case Equivalence() as test:
            said = "equivalent within 0.5 points" if test.equivalent else "not shown to be equivalent within 0.5 points"
            numbers = f"{100 * test.mean:+.2f} points ({100 * test.low:+.2f} to {100 * test.high:+.2f})"
            words = md(f"{said}: {{}} minus {{}} is {numbers}, {test.pairs} seeds, {pair.seeds.schedule}", one, other)
            words = md("{}; {}", words, pair.note) if pair.note else words
        case TooFew() as few:
            words = md("{} and {} not tested: {}", one, other, few)
        case NotRanked() as reason:
            words = md("{} and {} not tested: {}", one, other, reason.reason)
    return md("- **{}**: {}", labels[pair.group], words)
