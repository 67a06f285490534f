"""A run's folder: which results are there, what is left to do, and who may work in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from suite.errors import ResultError
from suite.results import records
from suite.results.records import Cause, Failed
from suite.run.plan import Entry, Plan

TRIED_AGAIN = frozenset({Cause.WORKER_DIED, Cause.OUT_OF_MEMORY, Cause.TIMED_OUT})
"""What the machine did to a cell, another try may spare it; what its framework did is an answer, and stays."""


def files(folder: Path, entry: Entry) -> list[Path]:
    """Where the cells of ``entry`` leave their results."""
    return [folder / "results" / entry.file(cell) for cell in entry.cells]


def finished(folder: Path, entry: Entry) -> bool:
    """Whether every cell of ``entry`` has left a result."""
    return all(path.exists() for path in files(folder, entry))


def unfinished(folder: Path, made: Plan) -> tuple[Entry, ...]:
    """Entries still to do, in order."""
    return tuple(entry for entry in made.entries if not finished(folder, entry))


def resume(folder: Path, made: Plan) -> int:
    """Make an interrupted run ready to go on; returns how many results were set aside.

    What failed for want of time, memory or a process is tried again.  A benchmark's turns in a round that were broken
    off, or that hold such a failure, are done again whole, for half of them from another day is no pair: what they left
    moves to ``superseded/``.  Proofs and trainings stand alone: those that came out are kept.
    """
    (folder / "results").mkdir(parents=True, exist_ok=True)
    there = [(entry, path) for entry in made.entries for path in files(folder, entry) if path.exists()]
    failed = {path for _, path in there if _to_try_again(path)}
    broken = {entry.id for entry in unfinished(folder, made)} | {entry.id for entry, path in there if path in failed}
    aside = [path for entry, path in there if path in failed or (entry.kind == "turns" and entry.id in broken)]
    for path in aside:
        target = folder / "superseded" / f"{time.time_ns()}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    return len(aside)


def _to_try_again(path: Path) -> bool:
    """Whether a result is a failure worth another try, or no result at all."""
    try:
        found = records.read(path)
    except ResultError:
        return True
    return isinstance(found, Failed) and found.cause in TRIED_AGAIN


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int | None]:
    """Hold an exclusive flock on ``path`` and yield its descriptor; None if it is taken and ``wait`` is false."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield descriptor
    finally:
        os.close(descriptor)
