"""Where the difference comes from: what a call costs by itself and per example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from suite.report.evidence.comparison import AnswerRow
from suite.report.evidence.merge import ComparisonGroup, Evidence
from suite.report.evidence.parts import Difference, differences, parts
from suite.report.sections import arithmetic
from suite.report.text.markdown import Markdown, Notes, md, table
from suite.report.text.units import duration
from suite.stats import Centre, Decision, Ratio, TooFew

LINE = (
    "Latency grows nearly along a straight line: what a query costs by itself, and what each example in it costs. The "
    "line goes through the medians of a round, by relative errors. The brackets hold Student's interval over rounds, "
    "each at 95 % by itself. Sentences compare the frameworks in their best modes of latency, round by round. A batch "
    "size beyond the largest that was timed is read off the lines."
)
Labels = Mapping[ComparisonGroup, str]


def section(evidence: Evidence, labels: Labels, rows: Sequence[AnswerRow]) -> list[Markdown]:
    """Nothing where nothing was timed in turns."""
    return [*_lines(evidence, labels, rows), *arithmetic.section(evidence, labels)] if evidence.timed else []


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
