"""Results from the places that a user names: runs' folders, folders of files, single files; none may be empty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import ResultError
from suite.files import read_json
from suite.results import pytest_benchmark
from suite.results.pytest_benchmark import Timing
from suite.results.records import Record, read

NAMED = 3
"""Files that an error names; the report lists all that were refused."""


@dataclass(frozen=True)
class ResultSource:
    """What a place holds: results, benchmarks of pytest-benchmark's, files that are neither, and the run's plan."""

    results: tuple[Record, ...]
    timings: tuple[Timing, ...]
    refused: tuple[ResultError, ...]
    plan: Mapping[str, Any]

    @property
    def run(self) -> str:
        """The run that its plan made: the one that most of its results name."""
        counted = Counter(result.run for result in self.results)
        return max(sorted(counted), key=counted.__getitem__, default="")


def read_source(place: Path, *, timed: bool = False) -> ResultSource:
    """Read a place; benchmarks of pytest-benchmark's are taken where ``timed``, else such files are refused as well.

    Raises ResultError for a folder in which nothing can be read: a report of nothing is none.
    """
    results: list[Record] = []
    timings: list[Timing] = []
    refused: list[ResultError] = []
    folder = place / "results" if (place / "results").is_dir() else place
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else [place]:
        if path.name == "plan.json" and folder == place:
            continue
        try:
            results.append(read(path))
        except ResultError as error:
            if timed:
                _read_timings(path, error, refused.append, timings.extend)
            else:
                refused.append(error)
    if not results and not timings and place.is_dir():
        raise nothing(place, refused)
    return ResultSource(tuple(results), tuple(timings), *_plan(place, tuple(refused)))


def nothing(place: Path, refused: Sequence[ResultError]) -> ResultError:
    """The error of a place in which nothing can be read, with the first few reasons."""
    if not refused:
        return ResultError("holds no results", where=str(place), way_out="`suite run` makes some.")
    told = "; ".join(f"{Path(error.where).name}: {error.what}" for error in refused[:NAMED])
    more = f"; and {len(refused) - NAMED:,} more" if len(refused) > NAMED else ""
    return ResultError("holds no result that can be read", where=str(place), way_out=f"Refused: {told}{more}.")


def _plan(place: Path, refused: tuple[ResultError, ...]) -> tuple[tuple[ResultError, ...], Mapping[str, Any]]:
    path = place / "plan.json"
    if not path.is_file():
        return refused, {}
    try:
        return refused, read_json(path)
    except ResultError as error:
        return (*refused, error), {}


def _read_timings(
    path: Path, error: ResultError, refuse: Callable[[ResultError], None], take: Callable[[Sequence[Timing]], None]
) -> None:
    """What is no result, as ``error`` says, may be pytest-benchmark's."""
    try:
        timings = pytest_benchmark.read(path)
    except ResultError as why:
        refuse(why)
        return
    if timings is None:
        refuse(error)
    take(timings or ())
