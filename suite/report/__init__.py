"""The report: results in, Markdown and charts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import ResultError, RunError
from suite.files import read_json, write_bytes
from suite.pytest_json import Timing
from suite.report.document import Document, build
from suite.report.merge import read_sources
from suite.report.pages import PAGES

__all__ = ["Document", "Outcome", "build", "write"]


@dataclass(frozen=True)
class Outcome:
    """Where the report lies; the answer as rows of plain text, header first; whether something failed; warnings."""

    path: Path
    answer: tuple[tuple[str, ...], ...]
    failed: bool
    warnings: tuple[str, ...] = ()


def write(folder: Path, *sources: Path) -> Outcome:
    """Write ``report.md``, ``studies/`` and ``charts/`` into ``folder`` from its results, or from ``sources`` if any.

    A source is a run's folder, a folder of files or a single file, of a result or of pytest-benchmark's; the first plan
    found among them is told.
    Raises RunError where there is nothing to read or the report cannot be written.
    """
    places = tuple({place.resolve(): place for place in sources or (folder,)}.values())  # each once
    for place in places:
        if not place.exists():
            raise RunError("does not exist", where=str(place), way_out="`suite run` makes a run's folder.")
    refused: list[ResultError] = []
    timings: list[Timing] = []
    results = read_sources(places, refused.append, timings.append)
    document = build(results, _plan(places, refused), refused, timings)
    for name, svg in document.charts.items():
        write_bytes(folder / "charts" / name, svg)
    for stale in (folder / "charts").glob("*.svg"):
        if stale.name not in document.charts:
            stale.unlink()
    for name, text in document.pages.items():
        write_bytes(folder / name, text.encode())
    for stale in (folder / PAGES).glob("*.md"):
        if f"{PAGES}/{stale.name}" not in document.pages:
            stale.unlink()
    path = folder / "report.md"
    write_bytes(path, document.markdown.encode())
    return Outcome(path, document.answer, document.failed, document.warnings)


def _plan(places: tuple[Path, ...], refused: list[ResultError]) -> Mapping[str, Any]:
    for place in places:
        path = place / "plan.json"
        if path.is_file():
            try:
                return read_json(path)
            except ResultError as error:
                refused.append(error)
    return {}
