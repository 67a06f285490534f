"""The section of what pytest-benchmark timed: shown beside a run's own numbers, and never ranked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from suite.report.evidence.merge import Evidence, NotProven, position
from suite.report.text.markdown import Markdown, Notes, table
from suite.report.text.units import duration, rate
from suite.results.pytest_benchmark import Timing
from suite.results.questions import Question, QuestionKind

NEVER = {
    "null": "the instrument computes nothing that could be proven",
    "reference": "the reference is what a proof compares with",
}
"""Why no proof ever covers a runner."""
LIBRARIES = 4
"""How many are shown: a runner names its framework first."""


@dataclass(frozen=True, order=True)
class TimingSource:
    """What distinguishes the numbers of one file, or of one program within a file, from others."""

    written: datetime
    machine: str
    commit: str
    place: str
    cpu: str
    settings: tuple[tuple[str, str], ...]
    source: str
    lock: str
    image: str


def section(evidence: Evidence, timings: Iterable[Timing]) -> list[Markdown]:
    """Each benchmark once, and whether a proof among the results covers it; the same files give the same text."""
    unique = {t.model_dump_json(): t for t in timings}
    found = [unique[text] for text in sorted(unique)]
    if not found:
        return []
    sources = sorted({_source(t) for t in found})
    found.sort(key=lambda t: (_key(t), _source(t)))
    specs = defaultdict(set)
    for t in found:
        specs[t.cell.spec].add(t.digests.spec)
    notes = Notes()
    rows = []
    for t in found:
        several = len(specs[t.cell.spec]) > 1
        name = t.cell.spec + (f", {t.digests.spec.removeprefix('sha256:')[:6]}" if several else "")
        calls = f" of {t.stats.iterations:,} calls" if t.stats.iterations > 1 else ""
        rows.append(
            [name, t.cell.runner, t.cell.mode, str(_question(t)), *_times(t), f"{t.stats.rounds:,}{calls}",
             _proven(evidence, t, notes), f"{sources.index(_source(t)) + 1}"]
        )  # fmt: skip
    heads = ["benchmark", "framework", "mode", "question", "median", "middle half", "rounds", "proven", "from"]
    return [
        Markdown(
            "Timed by `pytest benchmarks`, one framework after another. A disturbance of the machine affects only "
            "one of them, so these numbers are shown and never ranked. A round is one call. The *middle half* of the "
            "rounds lies between the quartiles. *Proven* says whether a proof in this report covers the cell."
        ),
        table(heads, rows, "llllrlrlr"),
        *notes.lines(),
        *_told(sources),
    ]


def _told(sources: Sequence[TimingSource]) -> list[Markdown]:
    """Where the numbers are from."""
    rows = [
        [str(number), f"{s.written:%Y-%m-%d %H:%M} UTC", s.cpu, s.machine.removeprefix("sha256:")[:12], s.place,
         s.commit, ", ".join(f"{name} {value}" for name, value in s.settings)]
        for number, s in enumerate(sources, 1)
    ]  # fmt: skip
    blocks = [table(["from", "written", "processor", "machine", "place", "commit", "with"], rows, "r")]
    kinds = {"machines": {s.machine for s in sources}, "commits": {s.commit for s in sources}}
    several = [f"{len(values)} {name}" for name, values in kinds.items() if len(values) > 1]
    if several:
        blocks.append(
            Markdown(f"**{' and '.join(several)}**: differences between them do not come from the frameworks alone.")
        )
    return blocks


def _source(timing: Timing) -> TimingSource:
    here, cell = timing.environment, timing.cell
    threads = "unknown" if here.threads_intra is None else f"{here.threads_intra}"
    given = ("threads", threads), ("device", cell.device), ("precision", cell.precision)
    return TimingSource(
        written=timing.written.astimezone(UTC),
        machine=here.machine,
        commit=here.commit or "unknown",
        place=here.place,
        cpu=here.cpu,
        settings=(*list(here.libraries.items())[:LIBRARIES], *given),
        source=here.source,
        lock=here.lock or "",
        image=here.image or "",
    )


def _key(timing: Timing) -> tuple[object, ...]:
    cell = timing.cell
    return cell.spec, timing.digests.spec, _question(timing), position(cell.runner), cell.mode


def _question(timing: Timing) -> Question:
    """As the report asks it; the batch of training is the spec's own."""
    kind = timing.told.question
    return Question(kind) if kind is QuestionKind.TRAINING else Question(kind, timing.told.batch_size)


def _times(timing: Timing) -> tuple[str, str]:
    """Median and middle half: of a query's time, else of examples per second."""
    stats, images = timing.stats, timing.told.images
    if timing.told.question is QuestionKind.LATENCY:
        return duration(stats.median * 1e9), f"{duration(stats.q1 * 1e9)} to {duration(stats.q3 * 1e9)}"
    slow, fast = (rate(seconds * 1e9 / images) for seconds in (stats.q3, stats.q1))
    return rate(stats.median * 1e9 / images), f"{slow} to {fast}"


def _proven(evidence: Evidence, timing: Timing, notes: Notes) -> str:
    if reason := NEVER.get(timing.cell.runner):
        return notes.dash(reason)
    proof_status = evidence.proof_status(timing)
    if isinstance(proof_status, NotProven):
        return notes.mark("no", proof_status.reason)
    return f"up to {', '.join(proof_status.variants)}" if proof_status.variants else "yes"
