"""The report: results in, Markdown and charts out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from suite.errors import ResultError, RunError
from suite.files import write_bytes
from suite.report.document import build
from suite.report.evidence.sources import ResultSource, nothing, read_source
from suite.report.pages import PAGES
from suite.report.sections.gains import PAGE as GAINS


@dataclass(frozen=True)
class Outcome:
    """Where the report lies, what of it a terminal shows, and whether something failed.

    Rows of plain text, header first: the ``answer``, and before it the ``differences`` between several runs, if any.
    ``warnings`` belong to the answer; ``notes`` are lines on what has no number; ``refused`` are files that were no
    results.
    """

    path: Path
    answer: tuple[tuple[str, ...], ...]
    failed: bool
    warnings: tuple[str, ...] = ()
    differences: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[ResultError, ...] = ()


def write(folder: Path, *sources: Path, charts: bool = True) -> Outcome:
    """Write ``report.md``, its pages and ``charts/`` into ``folder`` from its results, or from ``sources`` if any.

    Without ``charts`` it takes a fraction of the time.

    A source is a run's folder, a folder of files or a single file, of a result or of pytest-benchmark's; the first plan
    found among them is told.
    Raises ResultError for a folder in which nothing can be read, and RunError where one is not there or the report
    cannot be written.
    """
    places = tuple({place.resolve(): place for place in sources or (folder,)}.values())  # each once
    for place in places:
        if not place.exists():
            raise RunError("does not exist", where=str(place), way_out="`suite run` makes a run's folder.")
    found: list[ResultSource] = [read_source(place, timed=True) for place in places]
    refused = tuple(error for source in found for error in source.refused)
    if not any(source.results or source.timings for source in found):
        raise nothing(places[0], refused)
    plans = [(source.run, source.plan) for source in found if source.plan]
    document = build(
        (result for source in found for result in source.results),
        plans[0][1] if plans else {},
        refused,
        (timing for source in found for timing in source.timings),
        dict(reversed(plans)),
        draw=charts,
    )
    for name, svg in document.charts.items():
        write_bytes(folder / "charts" / name, svg)
    for stale in (folder / "charts").glob("*.svg"):
        if stale.name not in document.charts:
            stale.unlink()
    for name, text in document.pages.items():
        write_bytes(folder / name, text.encode())
    for stale in (folder / GAINS, *(folder / PAGES).glob("*.md")):
        if stale.relative_to(folder).as_posix() not in document.pages:
            stale.unlink(missing_ok=True)
    path = folder / "report.md"
    write_bytes(path, document.markdown.encode())
    shown = document.warnings, document.differences, document.notes
    return Outcome(path, document.answer, document.failed, *shown, refused)
