"""Accuracy over seeds: frameworks against each other, and against what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

from suite.report.compare import Best, Kind, NotRanked, Question, Row
from suite.report.merge import Arena, Contender, Evidence, NotProven
from suite.result import Measured, Scores
from suite.spec import Claim
from suite.stats import ClaimVerdict, Equivalence, Prediction, TooFew, equivalence, judge, prediction


@dataclass(frozen=True)
class Seeds:
    """One value per seed, all after ``epochs`` of ``planned`` epochs; ``complete`` if that is the full schedule."""

    values: Mapping[int, float]
    epochs: int
    planned: int
    complete: bool

    @property
    def schedule(self) -> str:
        """How far training went, in words."""
        return "full schedule" if self.complete else f"after {self.epochs} of {self.planned} epochs"


def per_seed(results: Sequence[Measured], metric: str) -> Seeds | None:
    """A metric such as ``test_accuracy`` by seed, from complete cells, or else from those trained longest.

    Rounds that repeat a seed are averaged.  None where no cell has the metric.
    """
    split, quantity = metric.rsplit("_", 1)
    values: list[tuple[Measured, int, float]] = []
    for result in results:
        scores: Scores | None = getattr(result.training, split, None)
        value = getattr(scores, quantity, None)
        if result.training is not None and value is not None:
            values.append((result, len(result.training.epochs), value))
    whole = [v for v in values if v[0].complete]
    longest = max((epochs for _, epochs, _ in values), default=0)
    kept = whole or [v for v in values if v[1] == longest]
    if not kept:
        return None
    seeds: dict[int, list[float]] = {}
    for result, _, value in kept:
        seeds.setdefault(result.cell.seed, []).append(value)
    means = {seed: fmean(found) for seed, found in sorted(seeds.items())}
    return Seeds(means, max(epochs for _, epochs, _ in kept), kept[0][0].spec.epochs, bool(whole))


def favourites(evidence: Evidence, rows: Sequence[Row], arena: Arena) -> dict[str, Contender]:
    """Per framework the mode that speaks for it: the best in training, else the one with the most cells."""
    found: dict[str, Contender] = {}
    for runner in evidence.frameworks:
        cells = {c: rs for c, rs in evidence.arenas[arena].items() if c.runner == runner}
        if cells:
            found[runner] = min(cells, key=lambda c: (-sum(r.training is not None for r in cells[c]), c))
    for row in rows:
        if row.arena == arena and row.question == Question(Kind.TRAINING):
            found |= {runner: best.contender for runner, best in row.bests.items() if isinstance(best, Best)}
    return found


@dataclass(frozen=True)
class AccuracyRow:
    """Two frameworks' test accuracies over the seeds they share, first minus second."""

    arena: Arena
    first: Contender
    second: Contender
    seeds: Seeds
    outcome: Equivalence | TooFew | NotRanked


def accuracies(evidence: Evidence, rows: Sequence[Row]) -> tuple[AccuracyRow, ...]:
    """Every pair of frameworks, each in the mode that speaks for it."""
    found = []
    for arena, cells in evidence.arenas.items():
        for one, other in combinations(favourites(evidence, rows, arena).values(), 2):
            first, second = per_seed(cells[one], "test_accuracy"), per_seed(cells[other], "test_accuracy")
            if first is None or second is None:
                continue
            outcome: Equivalence | TooFew | NotRanked
            if reason := unproven(evidence, [*cells[one], *cells[other]]):
                outcome = NotRanked(reason)
            elif (first.epochs, first.complete) != (second.epochs, second.complete) and not first.complete:
                outcome = NotRanked(f"{first.epochs} epochs against {second.epochs}", failure=False)
            else:
                shared = sorted(set(first.values) & set(second.values))
                outcome = equivalence([first.values[s] for s in shared], [second.values[s] for s in shared])
            found.append(AccuracyRow(arena, one, other, first, outcome))
    return tuple(found)


def unproven(evidence: Evidence, results: Sequence[Measured]) -> str:
    """Why some of these cells are not proven, or nothing."""
    for result in results:
        standing = evidence.standing(result)
        if isinstance(standing, NotProven):
            return f"{result.cell.runner} {result.cell.mode}: {standing.reason}"
    return ""


@dataclass(frozen=True)
class ClaimRow:
    """A published number, what a framework gave here, and the verdict with its reason."""

    arena: Arena
    claim: Claim
    contender: Contender
    ours: Prediction | TooFew | float | None
    verdict: ClaimVerdict
    reason: str


def claims(evidence: Evidence, rows: Sequence[Row]) -> tuple[ClaimRow, ...]:
    """Every published number against every framework it speaks of."""
    found = []
    for arena, cells in evidence.arenas.items():
        spec = next(iter(cells.values()))[0].spec
        for claim in spec.claims:
            for runner, contender in favourites(evidence, rows, arena).items():
                if claim.framework in ("", runner):
                    found.append(_judge(evidence, rows, arena, claim, contender))
    return tuple(found)


def _judge(evidence: Evidence, rows: Sequence[Row], arena: Arena, claim: Claim, contender: Contender) -> ClaimRow:
    results = evidence.arenas[arena][contender]

    def row(ours: Prediction | TooFew | float | None, verdict: ClaimVerdict, reason: str = "") -> ClaimRow:
        return ClaimRow(arena, claim, contender, ours, verdict, reason)

    if claim.metric == "seconds_per_epoch":
        seconds = [e.seconds_ns / 1e9 for r in results if r.training for e in r.training.epochs]
        return row(median(seconds) if seconds else None, ClaimVerdict.CONTEXT, "another machine")
    seeds = per_seed(results, claim.metric)
    if reason := unproven(evidence, results):
        return row(None, ClaimVerdict.NOT_TESTABLE, reason)
    if seeds is None:
        return row(None, ClaimVerdict.NOT_TESTABLE, f"the benchmark has no {claim.metric.replace('_', ' ')}")
    values = list(seeds.values.values())
    ours = prediction(values)
    if not seeds.complete:
        return row(ours, ClaimVerdict.NOT_FAR_ENOUGH, seeds.schedule)
    others: dict[str, list[float]] = {}
    for assumption in results[0].spec.assumptions:
        other = _alternative(evidence, rows, arena, claim, contender.runner, assumption.alternative)
        if other:
            others[f"{assumption.about}: {assumption.chosen}"] = other
    verdict = judge(claim.value, values, others.values())
    if verdict is ClaimVerdict.ASSUMPTION:
        own = judge(claim.value, values)
        flips = [about for about, other in others.items() if judge(claim.value, other) is not own]
        return row(ours, verdict, f"{own} under {'; '.join(flips)}; not so under the alternative")
    return row(ours, verdict, str(ours) if isinstance(ours, TooFew) else "")


def _alternative(
    evidence: Evidence, rows: Sequence[Row], arena: Arena, claim: Claim, runner: str, case: str | None
) -> list[float]:
    """The same framework's values in the case that makes the other choice, or none at its full schedule."""
    name = arena.spec.split("/")[0]
    for other, cells in evidence.arenas.items():
        alike = (other.run, other.machine, other.place, other.device, other.precision)
        if case is None or other.spec != f"{name}/{case}":
            continue
        speaker = favourites(evidence, rows, other).get(runner)
        here = (arena.run, arena.machine, arena.place, arena.device, arena.precision)
        if alike == here and speaker:
            seeds = per_seed(cells[speaker], claim.metric)
            if seeds and seeds.complete and not unproven(evidence, cells[speaker]):
                return list(seeds.values.values())
    return []
