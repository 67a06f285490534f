"""The parents of a run as its conductor knows them: who came, what each does, and who is gone."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.errors import RunError
from suite.machine.environment import ROOT
from suite.results.records import Cause
from suite.run import wire
from suite.run.agents import Lost, checked
from suite.run.plan import Plan
from suite.run.trials import GRACE_SECONDS, last_lines

SPARE_SECONDS = 60.0
"""How much longer than a parent waits for its agent a conductor waits for the parent."""


class Stopped(RunError):  # noqa: N818 - an event
    """Nobody can go on: a full disk for one."""


@dataclass(eq=False)
class ParentLine:
    """A parent at the other end of its line."""

    token: str
    line: wire.Line | None
    patience: float
    gone: bool = False
    """Whether it has hung up, or was given up."""
    owed: list[str] = field(default_factory=list)
    """What it was told and has not answered."""

    def tell(self, **message: Any) -> None:
        """Send a message, to be answered later.  Raises Lost."""
        if self.gone or self.line is None:
            raise self._lost()
        try:
            self.line.send(**message)
        except wire.Hangup:
            raise self._lost() from None
        self.owed.append(str(message["do"]))

    def answer(self) -> dict[str, Any]:
        """The answer to the message that it was told first.  Raises Lost, and Stopped."""
        if self.gone or self.line is None:
            raise self._lost()
        try:
            found = self.line.receive(self.limit())
        except TimeoutError:
            raise self.late() from None
        except wire.Hangup:
            raise self._lost() from None
        self.owed.pop(0)
        if "stop" in found:
            raise Stopped(str(found["stop"]), way_out="Run again to go on: what is finished is kept.")
        if "lost" in found:
            raise Lost(str(found["lost"]), Cause(found["cause"]))
        return found

    def limit(self, cells: int = 1) -> float:
        """Seconds that it may take to answer: it gives up itself before, unless it is frozen."""
        return self.patience * cells + SPARE_SECONDS

    def late(self) -> Lost:
        """It has not answered in time, and is given up."""
        self.give_up()
        return Lost(f"the parent of {self.token}'s processes did not answer in time", Cause.TIMED_OUT)

    def close(self) -> None:
        """Hang up: it ends then, with all that it started."""
        if self.line is not None:
            self.line.close()

    def give_up(self) -> None:
        """Count on it no more: whatever it still does ends when its line is closed."""
        self.gone = True
        self.close()

    def _lost(self) -> Lost:
        self.give_up()
        return Lost(f"the parent of {self.token}'s processes is gone", Cause.WORKER_DIED)


@dataclass(eq=False)
class RemoteAgent:
    """An agent behind its parent."""

    parent: ParentLine
    name: str
    import_ns: int = 0
    told: bool = False
    """Whether its parent was told to start it."""

    def start(self) -> None:
        """Let its parent start it; it imports its framework while others are started.  Raises Lost."""
        self.told = True
        self.parent.tell(do="start", agent=self.name)
        self.parent.answer()

    def rise(self) -> None:
        """Ask whether it is up; ``started`` takes the answer.  Raises Lost."""
        self.parent.tell(do="up", agent=self.name)

    def started(self) -> None:
        """Wait until it is up.  Raises Lost."""
        self.import_ns = int(self.parent.answer()["import_ns"])

    def request(self, request: Mapping[str, Any]) -> None:
        """Ask; ``answer`` takes what it says.  Raises Lost."""
        self.parent.tell(do="ask", agent=self.name, request=dict(request))

    def answer(self) -> dict[str, Any]:
        """Raises Unsupported, Refusal, Lost and Stopped."""
        found: dict[str, Any] = checked(self.parent.answer()["answer"])
        return found

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask and wait.  Raises as ``answer``."""
        self.request(request)
        return self.answer()

    def end(self) -> None:
        """End its process.  A parent that still owes an answer is not waited for: it ends all of its own."""
        if self.parent.owed:
            self.parent.give_up()
            return
        with contextlib.suppress(Lost):
            self.parent.tell(do="end", agent=self.name)
            self.parent.answer()


@contextlib.contextmanager
def native(folder: Path, interpreters: Mapping[str, Path]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A parent for each framework as a process of this one's, ended with it."""
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for token, python in interpreters.items():
            with (logs / f"parent-{token}.log").open("wb") as log:
                started[token] = subprocess.Popen(
                    [str(python), "-m", "suite.run.parent", str(folder), token],
                    cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    process_group=0,  # Ctrl-C reaches us alone, and each parent hears of it once
                )  # fmt: skip
        yield started
    finally:
        for process in started.values():
            if process.poll() is None:
                process.terminate()
        for process in started.values():
            try:
                process.wait(GRACE_SECONDS * 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def gathered(
    listener: socket.socket,
    made: Plan,
    tokens: Sequence[str],
    patience: float,
    processes: Mapping[str, subprocess.Popen[bytes]],
) -> dict[str, ParentLine]:
    """The parents of ``tokens``, as far as they come in time; a native one that has ended is not waited for."""
    found: dict[str, ParentLine] = {}
    deadline = time.monotonic() + patience
    while (missing := [t for t in tokens if t not in found and not _ended(processes.get(t))]) and (
        left := deadline - time.monotonic()
    ) > 0:
        if (line := wire.arrived(listener, min(1.0, left))) is None:
            continue
        try:
            told = line.receive(SPARE_SECONDS)
        except (wire.Hangup, TimeoutError):
            line.close()
            continue
        token = str(told.get("token"))
        if token in missing and told.get("run") == made.id:
            found[token] = ParentLine(token, line, float(made.profile.timeout_seconds))
        else:
            line.close()
    return found


def nobody(folder: Path, tokens: Sequence[str]) -> RunError:
    """None of the parents of ``tokens`` came: what the logs of native ones say."""
    logs = [last_lines(log, 3) for token in tokens if (log := folder / "logs" / f"parent-{token}.log").exists()]
    return RunError("no framework came to be measured", where=str(folder), way_out=" ".join(logs))


def _ended(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is not None
