"""Frameworks under their own profilers, one process after another: nothing else may run beside what is looked at."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from suite.errors import ResultError
from suite.files import read_json, validate
from suite.machine.environment import ROOT
from suite.results.attribution import Attribution, Unexplained
from suite.results.questions import QuestionKind
from suite.run.plan import Plan
from suite.run.trials import POLL_SECONDS, last_lines, stop, trial_environment, why

Found = Attribution | Unexplained


class Asked(NamedTuple):
    """A question about a benchmark.  ``batch_size`` is 0 for training, ``steps`` where the process may choose."""

    spec: str
    question: QuestionKind
    batch_size: int
    steps: int


def result(folder: Path, token: str, mode: str) -> Path:
    """Where a process leaves what it found."""
    return folder / "results" / f"{token}-{mode}.json"


def trace(folder: Path, token: str, mode: str) -> Path:
    """Where it leaves its Chrome trace."""
    return folder / f"{token}-{mode}.trace.json"


def explain(
    folder: Path, made: Plan, interpreters: Mapping[str, Path], asked: Asked
) -> Iterator[tuple[str, Found | None]]:
    """Profile each framework of the plan in each mode: its name before it begins, and again with what was found.

    Whatever ends a process is the reason why there is no attribution of its mode; the others go on.
    """
    for token, modes in made.profile.runners.items():
        for mode in modes:
            yield f"{token}:{mode}", None
            yield f"{token}:{mode}", _profiled(folder, made, interpreters[token], (token, mode), asked)


def _profiled(folder: Path, made: Plan, python: Path, way: tuple[str, str], asked: Asked) -> Found:
    log = folder / "logs" / f"{way[0]}-{way[1]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    left = result(folder, *way)
    for old in (left, trace(folder, *way)):
        old.unlink(missing_ok=True)
    told = [asked.question.value, str(asked.batch_size), str(asked.steps), asked.spec]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "suite.trial.explain", str(folder), *way, *told],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=trial_environment(folder, made) | {"PARITY_PARENT": str(os.getpid())}, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + made.profile.timeout_seconds
    try:
        while (status := _waited(process)) is None and time.monotonic() < deadline:
            pass
    except BaseException:
        stop(process)
        raise
    who = ":".join(way)
    if status is None:
        stop(process)
        return Unexplained(who=who, reason=f"took over {made.profile.timeout_seconds} s")
    if status:
        return Unexplained(who=who, reason=why(status, log)[1][:2000])
    return _read(left, who, log)


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _read(path: Path, who: str, log: Path) -> Found:
    adapter: TypeAdapter[Found] = TypeAdapter(Attribution | Unexplained)
    try:
        return validate(path, read_json(path), adapter)
    except ResultError as error:
        return Unexplained(who=who, reason=f"{error.what}: {last_lines(log, 3)}"[:2000])
