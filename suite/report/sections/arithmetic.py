"""Arithmetic per second: a share of what the machine can do, and which of its roofs lies above."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from suite.report.evidence import roofline
from suite.report.evidence.comparison import NotRanked, by_round, headline_of, unranked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.roofline import Machine
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


def section(evidence: Evidence, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """Of every ranked cell whose benchmark counts FLOPs."""
    notes, body, told = Notes(), [], []
    for group, cells in evidence.groups.items():
        spec = evidence.specs[group]
        wanted = [q for q in headline_of(evidence, group) if q.kind is not QuestionKind.LATENCY]
        by_kind = {question.kind: question for question in wanted}
        rates: dict[Question, list[float]] = {}
        for who in cells if spec.flops and by_kind else ():
            if who.runner in UNRANKED or not any(isinstance(r, Timed) for r in cells[who]):
                continue
            row = [labels[group], who.runner, who.mode, f"{spec.flops:,}"]
            for kind in (QuestionKind.TRAINING, QuestionKind.THROUGHPUT):
                if (question := by_kind.get(kind)) is None:
                    row += [notes.dash("not asked")] * 2
                    continue
                reached = _rate(evidence, group, who, question)
                if not isinstance(reached, str):
                    rates.setdefault(question, []).append(reached)
                row += [_shown(reached, roofline.machine(evidence, group), notes), _per_byte(evidence, group, question)]
            body.append(row)
        told += [sentence for q in wanted if (sentence := _binding(evidence, group, q, labels[group], rates.get(q)))]
    if not body:
        return []
    sentences = [Markdown("\n".join(told))] if told else []
    words = " ".join(filter(None, (COUNTED, BYTES, *machines(evidence))))
    return [table(list(HEADS), body, "lllrrrrr"), *notes.lines(), *sentences, Markdown(words)]


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


def _per_byte(evidence: Evidence, group: ComparisonGroup, question: Question) -> str:
    found = roofline.of(evidence, group, question)
    return f"{digits(found.low, 2)} to {digits(found.high, 2)}" if found else ""


def _binding(
    evidence: Evidence, group: ComparisonGroup, question: Question, label: str, rates: list[float] | None
) -> Markdown | None:
    """Which roof is the lower one, where that is clear."""
    found, here = roofline.of(evidence, group, question), roofline.machine(evidence, group)
    if not (rates and found and here.product and here.copy):
        return None
    match roofline.binding(found, here, max(rates)):
        case "arithmetic":
            return md("- **{}**, {}: {}.", label, asked(question), _arithmetic(found, here.copy.per_second))
        case "memory":
            return md("- **{}**, {}: {}.", label, asked(question), _memory(found, here.copy.per_second))
        case None:
            return None


def _arithmetic(found: Intensity, bandwidth: float) -> str:
    return f"arithmetic is the limit, for memory would let {flops(found.low * bandwidth)} or more through"


def _memory(found: Intensity, bandwidth: float) -> str:
    return f"memory is the limit, for it lets {flops(found.high * bandwidth)} through at most"


def machines(evidence: Evidence) -> list[str]:
    """What shares are taken of, in words, and how long it took to find out."""
    told: dict[str, None] = {}
    for group in evidence.groups:
        here = roofline.machine(evidence, group)
        if here.product:
            words = f"in {group.precision} {flops(here.product.per_second)} by {here.product.runner}"
            if here.copy and here.balance:
                words += (
                    f", and {moved(here.copy.per_second)} by {here.copy.runner}, so {digits(here.balance, 2)} FLOPs in "
                    "the time of a byte"
                )
            told[words] = None
    if not told:
        return []
    spent = {(r.run, r.entry, r.cell.slug): r.peak_ns for r in evidence.timed if r.peak_ns}
    took = f" Finding that out took {duration(sum(spent.values()))} in all." if spent else ""
    words = (
        "The brackets hold the share of the machine's measured peak: the most that any framework reached in this run "
        "with one large matrix product, and beside it with a large copy, read and written bytes counted: "
        f"{'; '.join(told)}. The roofline (Williams, Waterman, Patterson 2009) says that nobody computes faster than "
        "that product, nor than FLOPs per byte times that copy. Which of them is the limit is told only where the two "
        f"lie {roofline.CLEAR:g} times apart; how near to it anybody comes is another matter.{took}"
    )
    return [words]
