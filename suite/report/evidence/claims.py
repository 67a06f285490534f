"""Accuracy over seeds: frameworks against each other, and against what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from suite.report.evidence.comparison import AnswerRow, Best, NotRanked, unlike
from suite.report.evidence.merge import ComparisonGroup, Evidence, FrameworkMode, NotProven
from suite.report.evidence.pace import epoch_ns
from suite.report.evidence.seeds import Seeds, per_seed
from suite.report.evidence.verdicts import SETTLED, ClaimVerdict, Published, judge
from suite.report.text.units import digits
from suite.results.questions import Question, QuestionKind
from suite.results.records import Measured
from suite.scales import POSITIVE, SHARE, Bounds
from suite.spec.recipe import TIMES, Claim
from suite.spec.resolved import Spec
from suite.stats import LEAST_SEEDS, Equivalence, Prediction, TooFew, equivalence, prediction


def bounds(metric: str, spec: Spec) -> Bounds:
    """Where the values of a metric can lie: a share within 0 and 1, an epoch within the schedule, all else above 0."""
    if metric.endswith("accuracy"):
        return SHARE
    return Bounds(1.0, float(spec.epochs)) if metric == "stopped_at_epoch" else POSITIVE


def favourites(evidence: Evidence, rows: Sequence[AnswerRow], group: ComparisonGroup) -> dict[str, FrameworkMode]:
    """The mode that represents each framework's trainings: the fastest if it was trained, else that with the most."""
    found: dict[str, FrameworkMode] = {}
    for runner in evidence.frameworks:
        cells = {c: rs for c, rs in evidence.learnt.get(group, {}).items() if c.runner == runner}
        if cells:
            found[runner] = min(cells, key=lambda c: (-sum(r.training is not None for r in cells[c]), c))
    for row in rows:
        if row.group == group and row.question == Question(QuestionKind.TRAINING):
            best = {runner: b.framework_mode for runner, b in row.bests.items() if isinstance(b, Best)}
            found |= {runner: c for runner, c in best.items() if c in evidence.learnt[group]}
    return found


@dataclass(frozen=True)
class AccuracyRow:
    """Two frameworks' test accuracies over the seeds they share, first minus second."""

    group: ComparisonGroup
    first: FrameworkMode
    second: FrameworkMode
    seeds: Seeds
    outcome: Equivalence | TooFew | NotRanked
    note: str = ""


def accuracies(evidence: Evidence, rows: Sequence[AnswerRow]) -> tuple[AccuracyRow, ...]:
    """Every pair of frameworks, each in the mode that represents it."""
    found = []
    for group, cells in evidence.learnt.items():
        for one, other in combinations(favourites(evidence, rows, group).values(), 2):
            differs = unlike(evidence, group, one.runner, other.runner)
            if tested := over_seeds(evidence, cells[one], cells[other], differs):
                found.append(AccuracyRow(group, one, other, *tested))
    return tuple(found)


Tested = tuple[Seeds, Equivalence | TooFew | NotRanked, str]
"""The first side's seeds, whether the accuracies are equivalent, first minus second, and a note on what diverged."""


def over_seeds(
    evidence: Evidence, one: Sequence[Measured], other: Sequence[Measured], differs: str = ""
) -> Tested | None:
    """The accuracies of two cells over the seeds that they share; None where one has none.

    Not ranked is what is not proven, what ``differs`` says they do not share, what was not trained as far, and what
    diverged without an accuracy.
    """
    first, second = per_seed(one, "test_accuracy"), per_seed(other, "test_accuracy")
    if first is None or second is None:
        return None
    outcome: Equivalence | TooFew | NotRanked
    both = ((one[0].cell, first), (other[0].cell, second))
    lost = "; ".join(f"{c.runner} ({c.mode}): {seeds.diverged}" for c, seeds in both if seeds.diverged)
    if reason := unproven(evidence, [*one, *other]) or differs:
        outcome = NotRanked(reason)
    elif (first.epochs, first.complete) != (second.epochs, second.complete) and not first.complete:
        outcome = NotRanked(f"{first.epochs} epochs against {second.epochs}", failure=False)
    elif not (first.values and second.values):
        outcome = NotRanked(lost, failure=False)
    else:
        shared = sorted(set(first.values) & set(second.values))
        outcome = equivalence([first.values[s] for s in shared], [second.values[s] for s in shared])
    return first, outcome, lost


def unproven(evidence: Evidence, results: Sequence[Measured]) -> str:
    """Why some of these cells are not proven, or nothing."""
    for result in results:
        proof_status = evidence.proof_status(result)
        if isinstance(proof_status, NotProven):
            return f"{result.cell.runner} {result.cell.mode}: {proof_status.reason}"
    return ""


@dataclass(frozen=True)
class ClaimRow:
    """A published number, what a framework gave here, and the verdict with its reason.

    ``seeds`` and ``ours`` are null where the framework gave nothing that could be set beside it; so is
    ``framework_mode`` where the claim is not testable, whatever a framework gives.
    """

    group: ComparisonGroup
    claim: Claim
    framework_mode: FrameworkMode | None
    seeds: Seeds | None
    ours: Prediction | TooFew | None
    verdict: ClaimVerdict
    reason: str

    @property
    def mean(self) -> float | None:
        """Mean over all seeds; None where one that diverged has no value."""
        return self.seeds.mean if self.seeds else None


def claims(evidence: Evidence, rows: Sequence[AnswerRow]) -> tuple[ClaimRow, ...]:
    """Every published number against every framework that it is about."""
    found = []
    for group, spec in evidence.specs.items():
        for claim in spec.claims:
            if claim.untestable:
                found.append(ClaimRow(group, claim, None, None, None, ClaimVerdict.NOT_TESTABLE, claim.untestable))
                continue
            for runner, framework_mode in favourites(evidence, rows, group).items():
                if claim.framework in ("", runner):
                    found.append(_judge(evidence, rows, group, claim, framework_mode))
    return tuple(found)


def _judge(
    evidence: Evidence, rows: Sequence[AnswerRow], group: ComparisonGroup, claim: Claim, framework_mode: FrameworkMode
) -> ClaimRow:
    results = evidence.learnt[group][framework_mode]
    seeds = _told(evidence, group, claim, framework_mode)
    within = bounds(claim.metric, results[0].spec)
    ours = prediction(list(seeds.values.values()), within) if seeds and seeds.values else None

    def row(verdict: ClaimVerdict, reason: str = "", *, told: bool = True) -> ClaimRow:
        return ClaimRow(group, claim, framework_mode, seeds if told else None, ours if told else None, verdict, reason)

    doubt = unproven(evidence, results)
    if found := _unjudged(claim, results, seeds, doubt):
        return row(*found, told=claim.widest is None or not doubt)
    assert seeds
    assert claim.widest is not None
    published = Published(claim.value, within, claim.widest, claim.to)
    values = list(seeds.values.values())
    others, untried = _others(evidence, rows, group, claim, framework_mode)
    verdict, own = judge(published, values, others.values()), published.judge(values)
    under = {about: published.judge(other) for about, other in others.items()}
    if verdict is ClaimVerdict.ASSUMPTION:
        flips = [about for about, other in under.items() if other in SETTLED - {own}]
        return row(verdict, f"{own} under {'; '.join(flips)}; not so under the alternative")
    if isinstance(ours, TooFew):
        return row(verdict, str(ours))
    if verdict is ClaimVerdict.TOO_NOISY and ours:
        wide, most = (_margin(claim.metric, half) for half in (ours.half_width, claim.widest))
        met = ours.meets(claim.value, claim.value if claim.to is None else claim.to)
        near = "" if met else "; on the plain scale the interval holds the number"
        return row(verdict, f"a new run falls within {wide}, and a verdict needs {most} at most{near}")
    noisy = [about for about, other in under.items() if other is ClaimVerdict.TOO_NOISY]
    notes = [f"the other choice is too noisy to tell: {'; '.join(noisy)}"] if noisy else []
    if claim.half_width and verdict is ClaimVerdict.REPRODUCED:
        notes.append(f"the claim itself allows intervals of up to {_margin(claim.metric, claim.half_width)}")
    notes += [f"the other choice was not run far enough: {', '.join(untried)}"] if untried else []
    return row(verdict, "; ".join(notes))


def _told(evidence: Evidence, group: ComparisonGroup, claim: Claim, framework_mode: FrameworkMode) -> Seeds | None:
    """What a framework gave for a claim; a time of trainings beside other work is that of their epochs in turns."""
    results = evidence.learnt[group][framework_mode]
    if claim.metric not in TIMES or not all(r.beside for r in results):
        return per_seed(results, claim.metric)
    pace = epoch_ns(evidence, group, framework_mode)
    return None if pace is None else per_seed(results, claim.metric, pace=pace)


def _unjudged(
    claim: Claim, results: Sequence[Measured], seeds: Seeds | None, doubt: str
) -> tuple[ClaimVerdict, str] | None:
    """The verdict and reason of a claim that is not judged; ``doubt`` is why some cells are not proven."""
    lost = str(seeds.diverged) if seeds and seeds.diverged else ""
    if claim.widest is None:
        short = "" if seeds is None or seeds.complete else seeds.schedule
        return ClaimVerdict.CONTEXT, ", ".join(filter(None, ("another machine", short, lost)))
    if lost:
        return ClaimVerdict.DIVERGED, "; ".join(filter(None, (lost, doubt)))
    if doubt:
        return ClaimVerdict.NOT_TESTABLE, doubt
    if seeds is None:
        return ClaimVerdict.NOT_TESTABLE, _lacks(claim, results)
    return None if seeds.complete else (ClaimVerdict.NOT_FAR_ENOUGH, seeds.schedule)


def _margin(metric: str, half: float) -> str:
    """A half-width in the unit of its metric."""
    if metric.endswith(("accuracy", "reduction")):
        return f"± {digits(100 * half)} points"
    return f"± {digits(half)}{' epochs' if metric == 'stopped_at_epoch' else ''}"


def _others(
    evidence: Evidence, rows: Sequence[AnswerRow], group: ComparisonGroup, claim: Claim, framework_mode: FrameworkMode
) -> tuple[dict[str, list[float]], list[str]]:
    """Values under the other choices that a source leaves open, by what was chosen; and those that nobody tried."""
    results = evidence.learnt[group][framework_mode]
    others: dict[str, list[float]] = {}
    untried: list[str] = []
    for assumption in results[0].spec.assumptions:
        seeds = _alternative(evidence, rows, group, claim, framework_mode.runner, assumption.alternative)
        other = list(seeds.values.values()) if seeds and not seeds.diverged else []
        if len(other) >= LEAST_SEEDS:
            others[f"{assumption.about}: {assumption.chosen}"] = other
        elif assumption.alternative:
            lost = ", which diverged" if seeds and seeds.diverged else ""
            untried.append(f"{assumption.alternative}{lost}")
    if claim.metric.endswith("loss") and results[0].spec.l2:
        bare = per_seed(results, claim.metric, penalised=False)
        others["losses: with the L2 penalty, as Keras reports them"] = list(bare.values.values()) if bare else []
    return others, untried


def _lacks(claim: Claim, results: Sequence[Measured]) -> str:
    """Why no cell has the metric of a claim."""
    if claim.metric == "stopped_at_epoch" and not any(r.spec.early_stopping for r in results):
        return "the benchmark does not stop early"
    if claim.metric.endswith("loss") and any(r.training for r in results):
        return f"no {claim.metric.replace('_', ' ')} that is a number"
    return f"the benchmark has no {claim.metric.replace('_', ' ')}"


def _alternative(
    evidence: Evidence, rows: Sequence[AnswerRow], group: ComparisonGroup, claim: Claim, runner: str, case: str | None
) -> Seeds | None:
    """The same framework's values in the case that makes the other choice, or none at its full schedule."""
    name = group.spec.split("/")[0]
    for other, cells in evidence.learnt.items():
        alike = (other.run, other.machine, other.place, other.device, other.precision)
        if case is None or other.spec != f"{name}/{case}":
            continue
        speaker = favourites(evidence, rows, other).get(runner)
        here = (group.run, group.machine, group.place, group.device, group.precision)
        if alike == here and speaker:
            seeds = per_seed(cells[speaker], claim.metric)
            if seeds and (seeds.complete or seeds.diverged) and not unproven(evidence, cells[speaker]):
                return seeds
    return None
