"""The answer: each framework's best proven mode against the others', per benchmark and question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from suite.report.evidence import diverged
from suite.report.evidence.conditions import apart
from suite.report.evidence.gaps import Gaps, MissingNumber, failed, gaps, phrase
from suite.report.evidence.gaps import reasons as reasons_of
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, NotProven
from suite.report.text.units import digits
from suite.results.environment import Environment
from suite.results.questions import Question, QuestionKind
from suite.results.records import Measured
from suite.stats import LEAST_ROUNDS, NULL_LIMIT, Ratio, TooFew, instrument_share, speed_ratio


def questions(results: Sequence[Measured]) -> list[Question]:
    """What was asked of these cells."""
    counted = "examples" if any(r.spec.input_dtype == "tokens" for r in results) else "images"
    asked = {Question(QuestionKind.TRAINING, 0, counted) for r in results if r.training}
    asked |= {Question(QuestionKind.LATENCY, m.batch_size, counted) for r in results for m in r.latency}
    asked |= {Question(QuestionKind.THROUGHPUT, m.batch_size, counted) for r in results for m in r.throughput}
    return sorted(q for q in asked if any(q.costs(r) for r in results))


def headline(asked: Sequence[Question]) -> list[Question]:
    """What the answer is about: training, latency at the smallest batch, throughput at the largest."""
    latency = [q for q in asked if q.kind is QuestionKind.LATENCY][:1]
    throughput = [q for q in asked if q.kind is QuestionKind.THROUGHPUT][-1:]
    return [*(q for q in asked if q.kind is QuestionKind.TRAINING), *latency, *throughput]


@dataclass(frozen=True)
class Best:
    """A framework's best proven mode: its median cost over rounds, and the costs that enter comparisons.

    ``fitted`` holds, per round, the cost of the mode that is best over the *other* rounds, so that no round helps to
    choose what it measures.  ``chosen`` are all modes so chosen; with more than one, they are nearly equal.  ``lacks``
    says which modes or rounds have no number, and why.
    """

    framework_mode: FrameworkMode
    cost: float
    fitted: Mapping[int, float]
    chosen: tuple[str, ...]
    variants: tuple[str, ...]
    lacks: str = ""


@dataclass(frozen=True)
class NotRanked:
    """Why there is nothing to rank.  ``failure``: the suite was asked to and could not.

    ``shown``: the number itself is shown in the sections of its cell, with the reason as a note.  ``word`` says it
    where there is little room; "" where a dash will do.
    """

    reason: str
    failure: bool = True
    shown: bool = False
    word: str = ""


@dataclass(frozen=True)
class Pairing:
    """Two frameworks under one question."""

    first: str
    second: str
    outcome: Ratio | TooFew | NotRanked


@dataclass(frozen=True)
class AnswerRow:
    """One line of the answer."""

    group: ComparisonGroup
    question: Question
    bests: Mapping[str, Best | NotRanked]
    pairings: tuple[Pairing, ...]

    @property
    def failed(self) -> bool:
        """Whether something that should have been compared was not."""
        return any(isinstance(p.outcome, NotRanked) and p.outcome.failure for p in self.pairings)


def by_round(results: Sequence[Measured], question: Question) -> dict[int, float]:
    """Median cost per round; where a round has several cells (seeds), the median of their medians."""
    medians: dict[int, list[float]] = {}
    for result in results:
        if costs := question.costs(result):
            medians.setdefault(result.cell.round, []).append(median(costs))
    return {number: median(found) for number, found in sorted(medians.items())}


def unranked(
    evidence: Evidence, group: ComparisonGroup, framework_mode: FrameworkMode, question: Question
) -> NotRanked | tuple[str, ...]:
    """Why a framework's mode is not ranked under a question, or else its variants."""
    results = [r for r in evidence.groups[group].get(framework_mode, ()) if question.costs(r)]
    variants: tuple[str, ...] = ()
    lost = diverged.words(results)
    for result in results:
        proof_status = evidence.proof_status(result)
        if isinstance(proof_status, NotProven):
            return NotRanked("; ".join(filter(None, (proof_status.reason, lost))), word=proof_status.word)
        variants = proof_status.variants
    share = null_share(evidence, group, results, question.timed)
    if share is not None and share > NULL_LIMIT:
        words = f"the instrument costs {digits(100 * share, 2)} % of the shortest sample: over 1 %"
        return NotRanked("; ".join(filter(None, (words, lost))), failure=False)
    return NotRanked(lost, failure=False, shown=True, word="diverged") if lost else variants


def null_share(
    evidence: Evidence, group: ComparisonGroup, results: Sequence[Measured], question: Question
) -> float | None:
    """The null runner's median over the shortest sample; None where the null runner was not asked."""
    null = [
        cost for c, rs in evidence.groups[group].items() if c.runner == "null" for r in rs for cost in question.costs(r)
    ]
    samples = [cost for result in results for cost in question.costs(result)]
    return instrument_share(null, samples) if null and samples else None


def best(evidence: Evidence, lost: Gaps, group: ComparisonGroup, runner: str, question: Question) -> Best | NotRanked:
    """The mode with the lowest median cost over rounds, among proven modes that lack no round another has."""
    series: dict[FrameworkMode, dict[int, float]] = {}
    variants: dict[FrameworkMode, tuple[str, ...]] = {}
    reasons: dict[NotRanked, list[str]] = {}
    for framework_mode, results in evidence.groups[group].items():
        costs = by_round(results, question) if framework_mode.runner == runner else {}
        if not costs or min(costs.values()) <= 0:
            continue
        proof_status = unranked(evidence, group, framework_mode, question)
        if isinstance(proof_status, NotRanked):
            reasons.setdefault(proof_status, []).append(framework_mode.mode)
        else:
            series[framework_mode], variants[framework_mode] = costs, proof_status
    mine = lost.of(group, runner)
    if not series:
        if not reasons:
            cells = [r for c, rs in evidence.groups[group].items() if c.runner == runner for r in rs]
            told = sorted({why for r in cells if (why := question.missing(r))})
            return NotRanked("; ".join(told[:3]), failure=False) if told else absent(lost, mine, runner)
        words = [f"{' and '.join(modes)}: {proof_status.reason}" for proof_status, modes in reasons.items()]
        words += [reasons_of(mine)] if mine else []
        word = _word(lost, reasons, mine)
        shown = not mine and all(proof_status.shown for proof_status in reasons)
        return NotRanked("; ".join(words), any(proof_status.failure for proof_status in reasons), shown, word)
    most = max(len(costs) for costs in series.values())
    series = {c: costs for c, costs in series.items() if len(costs) == most}
    first = min(series, key=lambda c: (median(series[c].values()), c))
    rounds = sorted(set.intersection(*(set(costs) for costs in series.values())))
    picks = {r: min(series, key=lambda c, r=r: (_without(series[c], r), c)) for r in rounds}  # type: ignore[misc]
    return Best(
        first,
        median(series[first].values()),
        {r: series[pick][r] for r, pick in picks.items()},
        tuple(sorted({pick.mode for pick in picks.values()})),
        variants[first],
        phrase(lost, mine, ("",)),
    )


def _word(lost: Gaps, reasons: Mapping[NotRanked, list[str]], mine: Sequence[MissingNumber]) -> str:
    """Why none of a framework's numbers is ranked, in few words; its modes are named where they differ."""
    words: dict[str, list[str]] = {}
    for proof_status, modes in reasons.items():
        words.setdefault(proof_status.word, []).extend(modes)
    if len(words) == 1 and not mine:
        return next(iter(words))
    told = [f"{' and '.join(modes)} {word or 'not ranked'}" for word, modes in words.items()]
    return ", ".join([*told, *([phrase(lost, mine, ("",))] if mine else [])])


def _without(costs: Mapping[int, float], left_out: int) -> float:
    return median([cost for number, cost in costs.items() if number != left_out] or [0.0])


def absent(lost: Gaps, mine: Sequence[MissingNumber], runner: str) -> NotRanked:
    """Why a framework has no number in a comparison group."""
    if mine:
        return NotRanked(reasons_of(mine), failed(mine), word=phrase(lost, mine))
    return NotRanked(f"no result of {runner} in this run, on this machine and device", word="no result")


Costs = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Draft:
    """A row before it is decided, which takes the number of all comparisons."""

    group: ComparisonGroup
    question: Question
    bests: Mapping[str, Best | NotRanked]
    pairs: tuple[tuple[str, str, Costs | NotRanked], ...]


def draft(evidence: Evidence, lost: Gaps, group: ComparisonGroup, question: Question) -> Draft:
    """Each framework's best mode under a question, and what pairs of frameworks are compared by."""
    bests = {f: best(evidence, lost, group, f, question) for f in evidence.frameworks}
    pairs = combinations(evidence.frameworks, 2)
    return Draft(group, question, bests, tuple((a, b, _pair(evidence, group, bests, a, b)) for a, b in pairs))


def drafts(evidence: Evidence, lost: Gaps | None = None) -> list[Draft]:
    """The answer's rows, each pair of frameworks compared once; ``lost`` is what has no number, if it is known yet."""
    found = []
    lost = lost or gaps(evidence)
    for group, framework_modes in evidence.groups.items():
        ranked = [r for c, rs in framework_modes.items() if c.runner not in UNRANKED for r in rs]
        found += [draft(evidence, lost, group, question) for question in headline(questions(ranked))]
    return found


def judged(found: Sequence[Draft]) -> int:
    """How many intervals they will hold."""
    return sum(isinstance(c, tuple) and len(c[0]) >= LEAST_ROUNDS for d in found for *_, c in d.pairs)


def decide(found: Sequence[Draft], count: int) -> tuple[AnswerRow, ...]:
    """The rows of drafts; intervals hold together over ``count`` comparisons."""
    return tuple(
        AnswerRow(
            d.group, d.question, d.bests, tuple(Pairing(one, other, _ratio(c, count)) for one, other, c in d.pairs)
        )
        for d in found
    )


def _ratio(costs: Costs | NotRanked, comparisons: int) -> Ratio | TooFew | NotRanked:
    return costs if isinstance(costs, NotRanked) else speed_ratio(*costs, max(comparisons, 1))


def _pair(
    evidence: Evidence, group: ComparisonGroup, bests: Mapping[str, Best | NotRanked], one: str, other: str
) -> Costs | NotRanked:
    first, second = bests[one], bests[other]
    unranked = {name: found for name, found in ((one, first), (other, second)) if isinstance(found, NotRanked)}
    if unranked:
        words = [
            f"{name}: {found.reason}" if found.shown else f"{name} {found.word}"
            for name, found in unranked.items()
            if found.word
        ]
        reason = "; ".join(f"{name}: {found.reason}" for name, found in unranked.items())
        return NotRanked(reason, any(f.failure for f in unranked.values()), word=", ".join(words))
    assert isinstance(first, Best)
    assert isinstance(second, Best)
    if differs := unlike(evidence, group, one, other):
        return NotRanked(differs)
    rounds = sorted(set(first.fitted) & set(second.fitted))
    return [first.fitted[r] for r in rounds], [second.fitted[r] for r in rounds]


_SHARED = ("spec", "data set", "initial weights", "batch order", "parent", "drawn examples")


def unlike(evidence: Evidence, group: ComparisonGroup, one: str, other: str) -> str:
    """What two frameworks' cells of one round and seed did not share though they must, or nothing."""
    cells = evidence.groups[group]
    shared: dict[tuple[int, int], set[tuple[object, ...]]] = {}
    ran: dict[int, list[Environment]] = {}
    for framework_mode, results in cells.items():
        for r in results if framework_mode.runner in (one, other) else ():
            d = r.digests
            drawn = r.training.examples if r.training else None
            found = (d.spec, d.dataset, d.weights, d.order, r.parent, drawn)
            shared.setdefault((r.cell.round, r.cell.seed), set()).add(found)
            ran.setdefault(r.cell.round, []).append(r.environment)
    for number, several in sorted(ran.items()):
        if differs := apart(several):
            return f"in round {number} not under the same {differs}"
    for (number, seed), values in sorted(shared.items()):
        if len(values) > 1:
            parts = zip(_SHARED, zip(*values, strict=True), strict=True)
            names = " and ".join(name for name, those in parts if len(set(those)) > 1)
            return f"in round {number} under seed {seed} not the same {names}"
    return ""


def comparisons(rows: Sequence[AnswerRow]) -> int:
    """How many intervals the answer holds."""
    return sum(isinstance(p.outcome, Ratio) for row in rows for p in row.pairings)
