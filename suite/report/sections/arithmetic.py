"""Arithmetic per second: a share of what the machine can do, and which of its roofs lies above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from suite.report.evidence import roofline
from suite.report.evidence.comparison import NotRanked, by_round, headline_of, unranked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.roofline import Machine, Roof
from suite.report.sections.answers import asked
from suite.report.text.markdown import Markdown, Notes, md, table
from suite.report.text.units import digits, duration, flops, moved, percent
from suite.results.questions import Question, QuestionKind
from suite.results.records import Timed
from suite.spec.intensity import BACKWARD, Intensity

HEADS = (
    "benchmark", "framework", "mode", "FLOPs per example", "training", "FLOPs per byte", "throughput, largest batch",
    "FLOPs per byte",
)  # fmt: skip
COUNTED = (
    "FLOPs are those of dense and convolution layers, two for each multiply-add of a forward pass; training counts "
    f"{BACKWARD} times as many. What the layers between them compute is not counted, so a rate is a lower bound."
)
BYTES = (
    "FLOPs per byte have two bounds: the lower one where every layer by itself reads and writes memory, the upper one "
    "where inputs, outputs and weights cross it once for each batch and nothing else does."
)


Rates = Mapping[tuple[FrameworkMode, Question], float | str]


def section(evidence: Evidence, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """Of every ranked cell whose benchmark counts FLOPs."""
    notes, body, told = Notes(), [], []
    rates = {group: _rates(evidence, group) for group in evidence.groups}
    found = _machines(evidence, rates)
    for group, mine in rates.items():
        asked_of = {question.kind: question for _, question in mine}
        for who in dict.fromkeys(who for who, _ in mine):
            row = [labels[group], who.runner, who.mode, f"{evidence.specs[group].flops:,}"]
            for kind in (QuestionKind.TRAINING, QuestionKind.THROUGHPUT):
                if question := asked_of.get(kind):
                    row.append(_shown(mine[who, question], found[group], notes))
                    row.append(_per_byte(roofline.of(evidence, group, question)))
                else:
                    row += [notes.dash("not asked")] * 2
            body.append(row)
        for question in asked_of.values():
            reached = [r for (_, q), r in mine.items() if q == question and not isinstance(r, str)]
            if words := _binding(roofline.of(evidence, group, question), found[group], reached):
                told.append(md("- **{}**, {}: {}.", labels[group], asked(question), words))
    if not body:
        return []
    sentences = [Markdown("\n".join(told))] if told else []
    words = " ".join((COUNTED, BYTES, *said(evidence, found)))
    return [table(list(HEADS), body, "lllrrrrr"), *notes.lines(), *sentences, Markdown(words)]


def _rates(evidence: Evidence, group: ComparisonGroup) -> Rates:
    """FLOP/s of each ranked cell that was timed in turns, or why nobody can say; nothing where no FLOPs are counted."""
    wanted = [q for q in headline_of(evidence, group) if q.kind is not QuestionKind.LATENCY]
    cells = [
        who
        for who, results in evidence.groups[group].items()
        if who.runner not in UNRANKED and any(isinstance(r, Timed) for r in results)
    ]
    counted = bool(evidence.specs[group].flops)
    last = {question.kind: question for question in wanted}.values()  # the largest batch
    return {(who, q): _rate(evidence, group, who, q) for who in cells for q in last if counted}


def machines(evidence: Evidence) -> dict[ComparisonGroup, Machine]:
    """What each group's machine can do."""
    return _machines(evidence, {group: _rates(evidence, group) for group in evidence.groups})


def _machines(evidence: Evidence, rates: Mapping[ComparisonGroup, Rates]) -> dict[ComparisonGroup, Machine]:
    """What each group's machine can do: whatever anybody reached on it in that precision is possible."""
    best: dict[tuple[str, ...], Roof] = {}
    for group, mine in rates.items():
        for (who, _), reached in mine.items():
            if not isinstance(reached, str):
                best[_where(group)] = max(best.get(_where(group), Roof(0.0, "")), Roof(reached, who.runner))
    return {group: roofline.machine(evidence, group).at_least(best.get(_where(group))) for group in rates}


def _where(group: ComparisonGroup) -> tuple[str, ...]:
    return group.run, group.machine, group.place, group.device, group.precision


def _rate(evidence: Evidence, group: ComparisonGroup, who: FrameworkMode, question: Question) -> float | str:
    """FLOP/s that a cell reached, or why nobody can say."""
    costs = by_round(evidence.groups[group][who], question)
    status = unranked(evidence, group, who, question)
    if isinstance(status, NotRanked):
        return status.reason
    if not costs or min(costs.values()) <= 0:
        return f"{asked(question)} was not asked"
    return per_second(evidence, group, question, median(costs.values()))


def per_second(evidence: Evidence, group: ComparisonGroup, question: Question, cost: float) -> float:
    """FLOP/s at a ``cost`` in ns: of an example, in latency of a query."""
    work = evidence.specs[group].flops * (BACKWARD if question.kind is QuestionKind.TRAINING else 1)
    work *= question.batch_size if question.kind is QuestionKind.LATENCY else 1
    return 1e9 * work / cost


def shown(reached: float, here: Machine) -> str:
    """FLOP/s, with its share of the machine's measured peak where there is one."""
    best = here.product
    return flops(reached) if best is None else f"{flops(reached)} ({percent(reached / best.per_second, 1)})"


def _shown(reached: float | str, here: Machine, notes: Notes) -> str:
    return notes.dash(reached) if isinstance(reached, str) else shown(reached, here)


def _per_byte(found: Intensity | None) -> str:
    return f"{digits(found.low, 2)} to {digits(found.high, 2)}" if found else ""


def _binding(found: Intensity | None, here: Machine, reached: Sequence[float]) -> str | None:
    """Which roof is the lower one, in words, where that is clear."""
    if found is None or here.copy is None or not reached:
        return None
    bandwidth = here.copy.per_second
    match roofline.binding(found, here, max(reached)):
        case "arithmetic":
            return f"arithmetic is the limit, for memory would let {flops(found.low * bandwidth)} or more through"
        case "memory":
            return f"memory is the limit, for it lets {flops(found.high * bandwidth)} through at most"
        case None:
            return None


def said(evidence: Evidence, found: Mapping[ComparisonGroup, Machine]) -> list[str]:
    """What shares are taken of, and how long it took to find out."""
    told: dict[str, None] = {}
    faster = False
    for group, here in found.items():
        if here.product is None:
            continue
        words = f"in {group.precision} {flops(here.product.per_second)} by {here.product.runner}"
        if here.copy and here.balance:
            words += (
                f", and {moved(here.copy.per_second)} by {here.copy.runner}, so {digits(here.balance, 2)} FLOPs in "
                "the time of a byte"
            )
        faster = faster or here.product != roofline.machine(evidence, group).product
        told[words] = None
    if not told:
        return []
    words = (
        "The brackets hold the share of the machine's measured peak: the most that any framework reached in this run "
        "with one large matrix product, and beside it with a large copy, read and written bytes counted: "
        f"{'; '.join(told)}. The roofline (Williams, Waterman, Patterson 2009) says that nobody computes faster than "
        "that peak, nor than FLOPs per byte times that copy. Which of them is the limit is told only where the two "
        f"lie {roofline.CLEAR:g} times apart; how near to it anybody comes is another matter."
    )
    more = ["Where a benchmark was computed faster than the product, that counts as the peak."] if faster else []
    spent = sum(r.peak_ns for r in evidence.timed if r.peak_ns)
    took = [f"Finding out what the machine can do took {duration(spent)} in all."] if spent else []
    return [words, *more, *took]
