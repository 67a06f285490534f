"""The answer: each framework's best proven mode against the others', per benchmark and question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

from suite.report.evidence import diverged
from suite.report.evidence.conditions import apart
from suite.report.evidence.gaps import Gaps, MissingNumber, failed, gaps, phrase
from suite.report.evidence.gaps import reasons as reasons_of
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, NotProven
from suite.report.text.units import digits
from suite.results import looks as looks_at
from suite.results import turns
from suite.results.environment import Environment
from suite.results.questions import Question, QuestionKind, headline
from suite.results.records import Measured, Numbers, Timed
from suite.stats import LEAST_ROUNDS, NULL_LIMIT, Ratio, TooFew, instrument_share, ratio_interval


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


WRONG = NotRanked("its timed outputs are wrong", word="timed outputs wrong")


def questions(results: Sequence[Numbers]) -> list[Question]:
    """What was asked of these cells."""
    counted = "examples" if any(r.spec.input_dtype == "tokens" for r in results) else "images"
    found: set[tuple[QuestionKind, int]] = set()
    for r in results:
        if isinstance(r, Timed):
            found |= {(block.kind, block.batch_size) for block in r.blocks}
        else:
            found |= {(QuestionKind.TRAINING, 0)} if r.training else set()
            found |= {(QuestionKind.LATENCY, m.batch_size) for m in r.latency}
            found |= {(QuestionKind.THROUGHPUT, m.batch_size) for m in r.throughput}
    asked = (Question(kind, size, counted) for kind, size in found)
    return sorted(q for q in asked if any(q.costs(r) for r in results))


@dataclass(frozen=True)
class Best:
    """A framework's best proven mode: its median cost over rounds, and its cost in each, which enter comparisons.

    ``lacks`` says which modes or rounds have no number, and why.
    """

    framework_mode: FrameworkMode
    cost: float
    by_round: Mapping[int, float]
    variants: tuple[str, ...]
    lacks: str = ""


@dataclass(frozen=True)
class Pairing:
    """Two frameworks under one question; ``ratios`` are those of the rounds, speed of the first over the second's."""

    first: str
    second: str
    outcome: Ratio | TooFew | NotRanked
    ratios: Mapping[int, float] = field(default_factory=dict)
    in_turns: bool = False


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


def by_round(results: Sequence[Numbers], question: Question) -> dict[int, float]:
    """Cost per round: of what took turns that of its least disturbed laps, else the median of its samples.

    Where a round has several cells (seeds), the median of theirs.
    """
    found: dict[int, list[float]] = {}
    for result in results:
        if costs := question.costs(result):
            in_turns = turns.cost(result, question) if isinstance(result, Timed) else None
            found.setdefault(result.cell.round, []).append(median(costs) if in_turns is None else in_turns)
    return {number: median(several) for number, several in sorted(found.items())}


def unranked(
    evidence: Evidence, group: ComparisonGroup, framework_mode: FrameworkMode, question: Question
) -> NotRanked | tuple[str, ...]:
    """Why a framework's mode is not ranked under a question, or else its variants."""
    results = [r for r in evidence.groups[group].get(framework_mode, ()) if question.costs(r)]
    variants: tuple[str, ...] = ()
    if any(not audit.right for r in results if isinstance(r, Timed) for audit in r.audits):
        return WRONG
    lost = diverged.words(_speaking(evidence, group, framework_mode, results, question))
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


def _speaking(
    evidence: Evidence,
    group: ComparisonGroup,
    framework_mode: FrameworkMode,
    results: Sequence[Numbers],
    question: Question,
) -> list[Measured]:
    """The trainings whose divergence says that a time is one of arithmetic on what is not finite.

    What is timed in turns ends after some steps; its speed of training is doubtful where a training of the framework
    diverged, in whichever mode that was trained.
    """
    alone = [r for r in results if isinstance(r, Measured)]
    if alone or question.kind is not QuestionKind.TRAINING:
        return alone
    return [r for c, rs in evidence.learnt[group].items() if c.runner == framework_mode.runner for r in rs]


def null_share(
    evidence: Evidence, group: ComparisonGroup, results: Sequence[Numbers], question: Question
) -> float | None:
    """The null runner's median over the shortest sample; None where the null runner was not asked."""
    null = [
        cost for c, rs in evidence.groups[group].items() if c.runner == "null" for r in rs for cost in question.costs(r)
    ]
    samples = [cost for result in results for cost in question.costs(result)]
    return instrument_share(null, samples) if null and samples else None


def best(evidence: Evidence, lost: Gaps, group: ComparisonGroup, runner: str, question: Question) -> Best | NotRanked:
    """The mode with the lowest median cost over rounds, among proven modes that lack no round another has."""
    series: dict[FrameworkMode, Mapping[int, float]] = {}
    variants: dict[FrameworkMode, tuple[str, ...]] = {}
    reasons: dict[NotRanked, list[str]] = {}
    for framework_mode, results in evidence.groups[group].items():
        counted = within(evidence, group, results) if framework_mode.runner == runner else []
        costs = by_round(counted, question)
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
    series = turns.eligible(series)
    first = turns.best_mode(series)
    assert first is not None
    return Best(
        first,
        median(series[first].values()),
        series[first],
        variants[first],
        phrase(lost, mine, ("",)),
    )


def within(evidence: Evidence, group: ComparisonGroup, results: Sequence[Numbers]) -> list[Numbers]:
    """The cells whose rounds count: of what is timed in turns, those up to the last look that its benchmark reached."""
    last = look(evidence, group)
    return [r for r in results if not isinstance(r, Timed) or last is None or r.cell.round <= last]


def look(evidence: Evidence, group: ComparisonGroup) -> int | None:
    """The last look that a benchmark has reached; None before the first, or where its run takes no turns."""
    rounds = evidence.held.get((group.run, group.spec), set())
    return looks_at.reached(rounds, planned_looks(evidence, group)) if rounds else None


def planned_looks(evidence: Evidence, group: ComparisonGroup) -> tuple[int, ...]:
    """The looks of a group's run."""
    return looks_at.of_plan(evidence.plans.get(group.run) or evidence.plans.get("") or {})


def _word(lost: Gaps, reasons: Mapping[NotRanked, list[str]], mine: Sequence[MissingNumber]) -> str:
    """Why none of a framework's numbers is ranked, in few words; its modes are named where they differ."""
    words: dict[str, list[str]] = {}
    for proof_status, modes in reasons.items():
        words.setdefault(proof_status.word, []).extend(modes)
    if len(words) == 1 and not mine:
        return next(iter(words))
    told = [f"{' and '.join(modes)} {word or 'not ranked'}" for word, modes in words.items()]
    return ", ".join([*told, *([phrase(lost, mine, ("",))] if mine else [])])


def absent(lost: Gaps, mine: Sequence[MissingNumber], runner: str) -> NotRanked:
    """Why a framework has no number in a comparison group."""
    if mine:
        return NotRanked(reasons_of(mine), failed(mine), word=phrase(lost, mine))
    return NotRanked(f"no result of {runner} in this run, on this machine and device", word="no result")


ByRound = Mapping[int, float]
"""Speed of the first over that of the second, by round."""


@dataclass(frozen=True)
class Draft:
    """A row before it is decided, which takes the number of all comparisons.

    ``looks`` says how often what its run took in turns could be decided; ``in_turns`` that this is so.
    """

    group: ComparisonGroup
    question: Question
    bests: Mapping[str, Best | NotRanked]
    pairs: tuple[tuple[str, str, ByRound | NotRanked], ...]
    in_turns: bool = False
    looks: int = 1


def looks_of(evidence: Evidence, group: ComparisonGroup) -> int:
    """How often what was taken in turns could be decided."""
    return looks_at.counted(planned_looks(evidence, group), LEAST_ROUNDS)


def draft(evidence: Evidence, lost: Gaps, group: ComparisonGroup, question: Question) -> Draft:
    """Each framework's best mode under a question, and what pairs of frameworks are compared by."""
    bests = {f: best(evidence, lost, group, f, question) for f in evidence.frameworks}
    pairs = tuple((a, b, _pair(evidence, group, bests, a, b)) for a, b in combinations(evidence.frameworks, 2))
    cells = (r for c, rs in evidence.groups[group].items() if c.runner not in UNRANKED for r in rs if question.costs(r))
    in_turns = any(isinstance(r, Timed) for r in cells)
    looks = looks_of(evidence, group) if in_turns else 1
    return Draft(group, question, bests, pairs, in_turns, looks)


def headline_of(evidence: Evidence, group: ComparisonGroup) -> list[Question]:
    """What the answer asks of a benchmark: the questions of what may be ranked in it."""
    ranked = [r for c, rs in evidence.groups[group].items() if c.runner not in UNRANKED for r in rs]
    return headline(questions(ranked))


def drafts(evidence: Evidence, lost: Gaps | None = None) -> list[Draft]:
    """The answer's rows, each pair of frameworks compared once; ``lost`` is what has no number, if it is known yet."""
    found = []
    lost = lost or gaps(evidence)
    for group in evidence.groups:
        found += [draft(evidence, lost, group, question) for question in headline_of(evidence, group)]
    return found


def judged(found: Sequence[Draft]) -> int:
    """How many intervals they will hold."""
    return sum(not isinstance(c, NotRanked) and len(c) >= LEAST_ROUNDS for d in found for *_, c in d.pairs)


def decide(found: Sequence[Draft], count: int) -> tuple[AnswerRow, ...]:
    """The rows of drafts; intervals hold together over ``count`` comparisons, and at each look."""
    return tuple(
        AnswerRow(d.group, d.question, d.bests, tuple(_pairing(d, one, other, by, count) for one, other, by in d.pairs))
        for d in found
    )


def _pairing(of: Draft, one: str, other: str, by: ByRound | NotRanked, comparisons: int) -> Pairing:
    if isinstance(by, NotRanked):
        return Pairing(one, other, by, in_turns=of.in_turns)
    outcome = ratio_interval(list(by.values()), max(comparisons, 1) * of.looks)
    return Pairing(one, other, outcome, by, of.in_turns)


def _pair(
    evidence: Evidence,
    group: ComparisonGroup,
    bests: Mapping[str, Best | NotRanked],
    one: str,
    other: str,
) -> ByRound | NotRanked:
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
    rounds = sorted(set(first.by_round) & set(second.by_round))
    return {r: second.by_round[r] / first.by_round[r] for r in rounds}


_SHARED = ("spec", "data set", "initial weights", "batch order", "parent", "drawn examples")


def unlike(evidence: Evidence, group: ComparisonGroup, one: str, other: str) -> str:
    """What two frameworks' cells of one round and seed did not share though they must, or nothing."""
    cells = evidence.groups[group]
    shared: dict[tuple[str, int, int], set[tuple[object, ...]]] = {}
    ran: dict[tuple[str, int], list[Environment]] = {}
    for framework_mode, results in cells.items():
        for r in results if framework_mode.runner in (one, other) else ():
            d = r.digests
            drawn = r.training.examples if r.training else None
            found = (d.spec, d.dataset, d.weights, d.order, r.parent, drawn)
            shared.setdefault((r.outcome, r.cell.round, r.cell.seed), set()).add(found)
            ran.setdefault((r.outcome, r.cell.round), []).append(r.environment)
    for (_, number), several in sorted(ran.items()):
        if differs := apart(several):
            return f"in round {number} not under the same {differs}"
    for (_, number, seed), values in sorted(shared.items()):
        if len(values) > 1:
            parts = zip(_SHARED, zip(*values, strict=True), strict=True)
            names = " and ".join(name for name, those in parts if len(set(those)) > 1)
            return f"in round {number} under seed {seed} not the same {names}"
    return ""


def comparisons(rows: Sequence[AnswerRow]) -> int:
    """How many intervals the answer holds."""
    return sum(isinstance(p.outcome, Ratio) for row in rows for p in row.pairings)
