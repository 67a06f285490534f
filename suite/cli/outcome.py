"""What the command line shows of a report, and of two stored runs, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from suite.cli import comparisons
from suite.cli.display import clean, out, say, sentence
from suite.cli.tables import Fitted, Row
from suite.compare import runs
from suite.errors import ResultError
from suite.report import writer

STATUS = {
    0: "all went well, or nothing was asked that could fail",
    1: "a trial failed or has not run; a benchmark that was asked for could not be compared; something became slower; "
    "two runs have nothing in common; a run could not go on",
    2: "a mistake of the caller's, or files of which none can be read",
    130: "interrupted; the same command goes on from there",
}
"""What the exit status of every command means.  A training that diverged is an outcome of its spec, and no failure."""
REFUSED = 5
"""Files that are named; of more, how many."""


def report_of(folder: Path, *sources: Path) -> int:
    """Write a run's report and show its answer: what differs between runs first, then numbers, then what has none.

    ``sources`` are what it is made of, if not of the run alone.  Raises as ``report.write``.
    """
    made = writer.write(folder, *sources)
    _refused(made.refused)
    _table(made.differences, comparisons.differences)
    _table(made.answer, comparisons.answer)
    for line in made.warnings:
        sentence(Text.assemble(("note", "yellow"), " ", clean(line)))
    if made.notes:
        say("")
    for line in made.notes:
        sentence(Text(clean(line)))
    say(f"\nreport: {folder / 'report.md'}")
    return 1 if made.failed else 0


def two_runs(folders: Sequence[Path]) -> int:
    """Set two stored runs side by side, what differs between them first; 1 where they have nothing in common.

    Raises ResultError where one holds nothing that can be read.
    """
    refused: list[ResultError] = []
    first, second = (runs.load(folder, refused.append) for folder in folders)
    _refused(refused)
    for name, folder in zip("AB", folders, strict=True):
        say(f"{name}: {folder}")
    _table(runs.differing(first, second), comparisons.differences)
    found = runs.pairs(first, second)
    _table(runs.told(found), comparisons.two_runs)
    say("")
    for line in runs.caveats(found):
        sentence(Text(clean(line)))
    return 0 if found else 1


def _table(rows: Sequence[Row], laid_out: Callable[[Sequence[Row]], Fitted]) -> None:
    """Rows below their header, with an empty line before; nothing without any row."""
    if len(rows) > 1:
        say("")
        out.print(laid_out(rows))


def _refused(errors: Sequence[ResultError]) -> None:
    """Files that are no results, each in a line."""
    for error in errors[:REFUSED]:
        say(f"refused: {error.where}: {error.what}")
    if len(errors) > REFUSED:
        say(f"refused: {len(errors) - REFUSED:,} more files")
