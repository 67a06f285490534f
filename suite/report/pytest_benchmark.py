"""The section of what pytest-benchmark timed: shown beside a run's own numbers, and never ranked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from suite.pytest_json import Timing
from suite.report.compare import Kind, Question
from suite.report.markdown import Markdown, Notes, table
from suite.report.merge import UNRANKED, Evidence, NotProven, position
from suite.report.units import duration, rate
from suite.result import Environment

NEVER = {
    "null": "the instrument: it computes nothing that could be proven",
    "reference": "the reference is what a proof compares with",
}
assert set(NEVER) == UNRANKED

Key = tuple[datetime, str, str, str, str, tuple[tuple[str, str], ...], str]


def section(evidence: Evidence, timings: Iterable[Timing]) -> list[Markdown]:
    """Each benchmark once, with whether a proof among the results covers it; the same files give the same text."""
    found = {t.model_dump_json(): t for t in timings}
    if not found:
        return []
    sources = sorted({_source(t) for t in found.values()})
    order = sorted(found, key=lambda text: (*_key(found[text]), sources.index(_source(found[text])), text))
    notes = Notes()
    rows = []
    for t in (found[text] for text in order):
        question = _question(t)
        shown = [_show(t, seconds) for seconds in (t.stats.median, t.stats.q1, t.stats.q3)]
        low, high = shown[1:] if question.kind is Kind.LATENCY else reversed(shown[1:])
        rows.append(
            [t.cell.spec, t.cell.runner, t.cell.mode, str(question), shown[0], f"{low} to {high}",
             f"{t.stats.rounds:,}" + (f" of {t.stats.iterations:,}" if t.stats.iterations > 1 else ""),
             _proven(evidence, t, notes), f"{sources.index(_source(t)) + 1}"]
        )  # fmt: skip
    heads = ["benchmark", "framework", "mode", "question", "median", "middle half", "rounds", "proven", "from"]
    return [
        Markdown(
            "Timed by `pytest benchmarks`, one framework after another: what a machine does meanwhile falls on one of "
            "them alone, so these numbers are shown and never ranked."
        ),
        table(heads, rows, "llllrlrlr"),
        *notes.lines(),
        *_told(sources),
    ]


def _told(sources: Sequence[Key]) -> list[Markdown]:
    """Where the numbers are from, a row for each file, machine and commit."""
    rows = [
        [str(i), f"{at:%Y-%m-%d %H:%M} UTC", cpu, machine.removeprefix("sha256:")[:12], place, commit,
         ", ".join(f"{name} {value}" for name, value in told)]
        for i, (at, machine, cpu, place, commit, told, _) in enumerate(sources, 1)
    ]  # fmt: skip
    blocks = [table(["from", "written", "processor", "machine", "place", "commit", "what decides"], rows, "r")]
    for what, position_ in (("machines", 1), ("commits", 4)):
        if (several := len({source[position_] for source in sources})) > 1:
            blocks.append(Markdown(f"**{several} {what}**: a difference between them is none of the frameworks'."))
    return blocks


def _source(timing: Timing) -> Key:
    """What tells one file's numbers from another's."""
    here = timing.environment
    return (
        timing.written, here.machine, here.cpu, here.place, here.commit or "unknown", _decides(timing, here),
        f"{here.source} {here.lock} {here.image}",
    )  # fmt: skip


def _decides(timing: Timing, here: Environment) -> tuple[tuple[str, str], ...]:
    threads = "unknown" if here.threads_intra is None else f"{here.threads_intra}"
    return (
        *sorted(here.libraries.items())[:6],
        ("threads", threads),
        ("device", timing.cell.device),
        ("precision", timing.cell.precision),
    )


def _key(timing: Timing) -> tuple[object, ...]:
    cell = timing.cell
    return cell.spec, _question(timing), position(cell.runner), cell.mode, cell.precision, cell.device


def _question(timing: Timing) -> Question:
    """As the report asks it; the batch of training is the spec's own."""
    kind = Kind(timing.told.question)
    return Question(kind) if kind is Kind.TRAINING else Question(kind, timing.told.batch_size)


def _show(timing: Timing, seconds: float) -> str:
    """A query's time, or images per second."""
    if timing.told.question == "latency":
        return duration(seconds * 1e9)
    return rate(seconds * 1e9 / timing.told.images)


def _proven(evidence: Evidence, timing: Timing, notes: Notes) -> str:
    if reason := NEVER.get(timing.cell.runner):
        return notes.dash(reason)
    standing = evidence.standing(timing)
    if isinstance(standing, NotProven):
        return notes.mark("no", standing.reason)
    return f"up to {', '.join(standing.variants)}" if standing.variants else "yes"
