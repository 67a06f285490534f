"""Where the difference comes from: what a call costs by itself and per example, and arithmetic per second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from suite.report.evidence.comparison import AnswerRow, NotRanked, by_round, headline_of, unranked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.parts import Difference, differences, parts
from suite.report.sections.answers import asked
from suite.report.text.markdown import Markdown, Notes, md, table
from suite.report.text.units import duration, flops, percent
from suite.results.questions import Question, QuestionKind
from suite.results.records import Timed
from suite.stats import Centre, Decision, Ratio, TooFew

BACKWARD = 3
"""A step of training over a forward pass: backwards it takes one product for inputs and one for weights."""
LINE = (
    "Latency grows nearly along a straight line: what a query costs by itself, and what each example in it costs. The "
    "line goes through the medians of a round, by relative errors. The brackets hold Student's interval over rounds, "
    "each at 95 % by itself. Sentences compare the frameworks in their best modes of latency, round by round. A batch "
    "size beyond the largest that was timed is read off the lines."
)
Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    """Nothing where nothing was timed in turns."""
    return [*_lines(evidence, labels, rows), *_flops(evidence, labels)] if evidence.timed else []


def _lines(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    notes, body, told = Notes(), [], []
    for group in evidence.groups:
        for found in parts(evidence, group):
            who = found.framework_mode
            fixed = _span(found.call, list(found.fixed.values()), notes)
            each = _span(found.example, list(found.each.values()), notes)
            body.append([labels[group], who.runner, who.mode, fixed, each])
        counted = "example" if evidence.specs[group].input_dtype == "tokens" else "image"
        told += [md("- **{}**: {}.", labels[group], sentence(d, counted)) for d in differences(evidence, group, rows)]
    if not body:
        return []
    heads = ["benchmark", "framework", "mode", "per call", "per example"]
    sentences = [Markdown("\n".join(told))] if told else []
    return [*sentences, table(heads, body, "lllrr"), *notes.lines(), Markdown(LINE)]


def _span(found: Centre | TooFew, values: Sequence[float], notes: Notes) -> str:
    if isinstance(found, TooFew):
        return notes.mark(_signed(median(values)), f"{found}: the median of the rounds, without an interval")
    return f"{_signed(found.value)} ({_signed(found.low)} to {_signed(found.high)})"


def _signed(nanoseconds: float) -> str:
    return f"-{duration(-nanoseconds)}" if nanoseconds < 0 else duration(nanoseconds)


def sentence(found: Difference, counted: str) -> str:
    """One benchmark's difference in plain words."""
    first, second = found.first, found.second
    if isinstance(found.sooner, TooFew):
        return f"{first} and {second} not compared, {found.sooner}"
    clear = not found.sooner.low <= 0 <= found.sooner.high
    ahead, behind = (first, second) if found.sooner.value > 0 else (second, first)
    words = [
        f"a query to {ahead} starts {duration(abs(found.sooner.value))} sooner"
        if clear
        else f"no difference is clear in what a query to {first} or {second} costs by itself"
    ]
    cheaper = found.cheaper
    if not isinstance(cheaper, Ratio):
        return f"{words[0]}; what each {counted} costs is within the noise"
    if cheaper.decision is Decision.EQUIVALENT:
        words.append(f"per {counted} both cost the same, within 3 %")
    elif cheaper.decision is Decision.UNDECIDED:
        words.append(f"per {counted} no difference is clear")
    else:
        less, times = (first, cheaper.value) if cheaper.value > 1 else (second, 1 / cheaper.value)
        words.append(f"each {counted} costs {less} {times:.2f} times less")
    if found.crossing is not None:
        beyond = ", beyond the largest that was timed" if found.crossing > found.largest else ""
        words.append(f"from a batch of about {_batch(found.crossing)} on {behind} is ahead{beyond}")
    return "; ".join(words)


def _batch(size: float) -> str:
    """Two significant digits of a batch size, which no line tells more exactly."""
    return f"{max(int(float(f'{size:.2g}')), 1):,}"


def _flops(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Arithmetic per second of every ranked cell whose benchmark counts FLOPs."""
    notes, body = Notes(), []
    for group, cells in evidence.groups.items():
        spec = evidence.specs[group]
        wanted = [q for q in headline_of(evidence, group) if q.kind is not QuestionKind.LATENCY]
        for who in cells if spec.flops else ():
            timed = who.runner not in UNRANKED and any(isinstance(r, Timed) for r in cells[who])
            shown = [_rate(evidence, group, who, question, notes) for question in wanted] if timed else []
            by_kind = dict(zip((q.kind for q in wanted), shown, strict=False))
            if by_kind:
                kinds = (QuestionKind.TRAINING, QuestionKind.THROUGHPUT)
                figures = (by_kind.get(kind) or notes.dash("not asked") for kind in kinds)
                body.append([labels[group], who.runner, who.mode, f"{spec.flops:,}", *figures])
    if not body:
        return []
    heads = ["benchmark", "framework", "mode", "FLOPs per example", "training", "throughput, largest batch"]
    words = (
        "FLOPs are those of dense and convolution layers, two for each multiply-add of a forward pass; training counts "
        f"{BACKWARD} times as many. What the layers between them compute is not counted, so a rate is a lower bound."
        + peaks(evidence)
    )
    return [table(heads, body, "lllrrr"), *notes.lines(), Markdown(words)]


def _rate(evidence: Evidence, group: ComparisonGroup, who: FrameworkMode, question: Question, notes: Notes) -> str:
    costs = by_round(evidence.groups[group][who], question)
    status = unranked(evidence, group, who, question)
    if isinstance(status, NotRanked) or not costs or min(costs.values()) <= 0:
        why = status.reason if isinstance(status, NotRanked) else f"{asked(question)} was not asked"
        return notes.dash(why)
    return flops_of(evidence, group, question, median(costs.values()))


def flops_of(evidence: Evidence, group: ComparisonGroup, question: Question, cost: float) -> str:
    """Arithmetic per second at a ``cost`` in ns, with its share of the machine's measured peak where there is one."""
    work = evidence.specs[group].flops * (BACKWARD if question.kind is QuestionKind.TRAINING else 1)
    work *= question.batch_size if question.kind is QuestionKind.LATENCY else 1  # whose costs are those of queries
    reached = 1e9 * work / cost
    best = peak(evidence, group)
    return flops(reached) if best is None else f"{flops(reached)} ({percent(reached / best[0], 1)})"


def peak(evidence: Evidence, group: ComparisonGroup) -> tuple[float, FrameworkMode] | None:
    """The most FLOP/s that any framework reached with a large matrix product on a group's machine in its run, and who.

    None where none was asked.
    """
    found = [
        (r.peak_flops, FrameworkMode(r.cell.runner, r.cell.mode))
        for r in evidence.timed
        if r.peak_flops
        and (r.run, r.environment.machine, r.environment.place) == (group.run, group.machine, group.place)
        and (r.cell.device, r.cell.precision) == (group.device, group.precision)
    ]
    return max(found, default=None)


def peaks(evidence: Evidence) -> str:
    """What shares are taken of, in words."""
    told = {}
    for group in evidence.groups:
        if found := peak(evidence, group):
            told[found] = f"{flops(found[0])}, which {found[1].runner} ({found[1].mode}) reached"
            told[found] += f" in {group.precision}" if len({each.precision for each in evidence.groups}) > 1 else ""
    if not told:
        return ""
    return (
        " The brackets hold the share of the machine's measured peak: the most that any framework reached in this run "
        f"with one large matrix product in the same precision, {'; '.join(told.values())}."
    )
