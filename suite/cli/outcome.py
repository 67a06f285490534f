"""What the command line shows of a report, and of two stored runs, and the exit status that follows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.text import Text

from suite.cli import comparisons
from suite.cli.display import clean, out, say, sentence
from suite.cli.tables import Fitted, Row
from suite.compare import runs
from suite.errors import ResultError
from suite.report import writer
from suite.results.records import Cause, Failed, Proof, Record
from suite.run.conductor import Progress

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


class Renewed:
    """The report of a run, renewed in place after each round, and its answers as a terminal shows them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.answer: Fitted | None = None
        """None before the first report, or where nothing is compared."""

    def following(self, progress: Iterable[Progress]) -> Iterator[Progress]:
        """The same progress; after each round the report is written, as far as it can be told by then.

        Without its charts, which take longest and the whole run waits for; and not when all is done, for whoever ran it
        writes the last.
        """
        for step in progress:
            if step.ended is not None and step.done < step.total:
                with contextlib.suppress(ResultError):  # a run is not ended by what cannot be told yet
                    rows = writer.write(self._folder, charts=False).answer
                    self.answer = comparisons.answer(rows) if len(rows) > 1 else None
            yield step


def well(found: Record) -> bool:
    """Whether a proof came out well; a mode that this machine cannot offer is no failure."""
    if isinstance(found, Proof):
        return found.identity.verdict.proven
    return isinstance(found, Failed) and found.cause is Cause.UNSUPPORTED


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
