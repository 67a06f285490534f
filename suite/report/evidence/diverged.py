"""Trainings that diverged: which seeds, in which epoch, and the note that goes with each of their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, in_order
from suite.report.text.markdown import Markdown, Notes, bullets, md, table
from suite.results.divergence import Divergence
from suite.results.records import Measured, Numbers

MOST_EPOCHS = 12
MOST_NAMES = 4
ENDED = {
    "weights": "with the epoch that left weights not finite",
    "early stopping": "by early stopping, because the value that it watches was not finite",
    None: "as the schedule has it",
}
RULE = Markdown(
    "A training has *diverged* if a loss or a weight, running statistics included, was not finite. The epoch is the "
    "first that showed it. Weights that are not finite never recover, so training ends with that epoch, unless the "
    "benchmark has its own rule for stopping early. Divergence is an outcome of the benchmark, not a failure of the "
    "run. Its speeds are shown and not ranked, because arithmetic on values that are not finite takes a different "
    "time. No claim is judged from it. Where the outputs of the trained network are not numbers there is no "
    "accuracy, and therefore no mean: the mean of the other seeds alone would be misleading."
)

Labels = Mapping[ComparisonGroup, str]


@dataclass(frozen=True)
class Diverged:
    """Of ``ran`` seeds the divergence of each that diverged, the earliest where its rounds differ, by seed."""

    ran: int
    seeds: Mapping[int, Divergence]

    def __str__(self) -> str:
        """``3 of 10 seeds diverged (epochs 1, 1, 2)``, in the order of seeds."""
        epochs = [f"{found.epoch:,}" for found in self.seeds.values()]
        named = ", ".join(epochs[:MOST_EPOCHS]) + (", ..." if len(epochs) > MOST_EPOCHS else "")
        seeds = f"{self.ran} seed{'s' if self.ran > 1 else ''}"
        return f"{len(epochs)} of {seeds} diverged (epoch{'s' if len(epochs) > 1 else ''} {named})"


def of(results: Sequence[Numbers]) -> Diverged | None:
    """Which seeds of these cells diverged; None where none did."""
    found: dict[int, Divergence] = {}
    for result in results:
        mine = divergence(result)
        if mine and (result.cell.seed not in found or mine.epoch < found[result.cell.seed].epoch):
            found[result.cell.seed] = mine
    ran = {result.cell.seed for result in results if result.training}
    return Diverged(len(ran), dict(sorted(found.items()))) if found else None


def divergence(result: Numbers) -> Divergence | None:
    """That of a cell's training, if it was trained and diverged."""
    return result.training.divergence if result.training else None


def words(results: Sequence[Numbers]) -> str:
    """The note for a number of these cells, or nothing."""
    found = of(results)
    return str(found) if found else ""


def summed(cells: Mapping[FrameworkMode, Sequence[Measured]]) -> list[str]:
    """A line for each set of modes of which the same is to be said: ``torch (eager) and tf (graph): 1 of ...``."""
    lines: dict[str, list[str]] = {}
    for framework_mode, results in cells.items():
        if found := of(results):
            early = sum(each.ended == "early stopping" for each in found.seeds.values())
            rest = (
                f"; early stopping ended {early} of them, because the value that it watches was not finite"
                if early
                else ""
            )
            lines.setdefault(f"{found}{rest}", []).append(f"{framework_mode.runner} ({framework_mode.mode})")
    return [f"{' and '.join(names)}: {told}" for told, names in lines.items()]


def marked(text: str, results: Sequence[Numbers], notes: Notes) -> str:
    """What is told of these cells, with the note if a training of theirs diverged."""
    found = words(results)
    return notes.mark(text, found) if found else text


def _cells(evidence: Evidence) -> Iterator[tuple[ComparisonGroup, FrameworkMode, Sequence[Measured]]]:
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            if framework_mode.runner not in UNRANKED:
                yield group, framework_mode, results


def head(evidence: Evidence, labels: Labels) -> list[str]:
    """What a reader must know before the first number: how many cells diverged, and of which benchmarks."""
    trained = [(group, r) for group, _, results in _cells(evidence) for r in results if r.training]
    lost = [group for group, r in trained if divergence(r)]
    lines = []
    if lost:
        names = list(dict.fromkeys(labels[group] for group in lost))
        shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
        cells = f"{len(lost):,} of {len(trained):,} trained cells"
        lines.append(f"Diverged: {cells}, in {shown}. Their speeds are not ranked, and no claim is judged from them.")
    return lines


def section(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Every framework's mode with a training that diverged, and where frameworks differ; nothing where none did."""
    rows = []
    for group, framework_mode, results in _cells(evidence):
        if found := of(results):
            what = Counter(str(d.what) for d in found.seeds.values())
            ended = Counter(ENDED[d.ended] for d in found.seeds.values())
            which = ", ".join(f"{seed}: {d.epoch:,}" for seed, d in list(found.seeds.items())[:MOST_EPOCHS])
            which += ", ..." if len(found.seeds) > MOST_EPOCHS else ""
            rows.append(
                [labels[group], framework_mode.runner, framework_mode.mode, f"{len(found.seeds)} of {found.ran}", which,
                 _counted(what), _counted(ended)]
            )  # fmt: skip
    if not rows:
        return []
    heads = ["benchmark", "framework", "mode", "seeds", "seed: epoch", "what was not finite first", "training ended"]
    apart = [line for group in evidence.groups for line in _apart(evidence, group, labels)]
    return [table(heads, rows, "lllrlll"), *([bullets(apart)] if apart else []), RULE]


def _counted(found: Counter[str]) -> str:
    return next(iter(found)) if len(found) == 1 else ", ".join(f"{name} ({count})" for name, count in found.items())


def _apart(evidence: Evidence, group: ComparisonGroup, labels: Labels) -> list[Markdown]:
    """Seeds under which some of the frameworks' modes diverged and others did not."""
    outcomes: dict[FrameworkMode, dict[int, bool]] = {}
    for here, framework_mode, results in _cells(evidence):
        if here == group:
            mine = outcomes.setdefault(framework_mode, {})
            for r in results:
                if r.training:
                    mine[r.cell.seed] = mine.get(r.cell.seed, False) or divergence(r) is not None
    differing: set[int] = set()
    for one, other in combinations(outcomes.values(), 2):
        differing |= {seed for seed in one.keys() & other.keys() if one[seed] is not other[seed]}
    if not differing:
        return []
    runners = in_order(c.runner for c in outcomes)
    told = [
        md("{} ({}) under {}", c.runner, c.mode, ", ".join(map(str, seeds)))
        for runner in runners
        for c, mine in outcomes.items()
        if c.runner == runner and (seeds := sorted(seed for seed in differing if mine.get(seed)))
    ]
    count = f"{len(differing)} seed{'s' if len(differing) > 1 else ''}"
    line = md("**{}**: under {} not all diverged: {}", labels[group], count, Markdown("; ".join(told)))
    words = " only. Near the edge of stability rounding decides, in proven programs as well."
    return [Markdown(f"{line}{words}")]
