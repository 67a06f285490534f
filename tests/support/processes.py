"""Processes of a run as the system shows them: who is there, in which state, and what each has used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """One process; ``words`` are those of its command."""

    pid: int
    words: tuple[str, ...]

    @property
    def state(self) -> str:
        """``R`` runs, ``S`` sleeps, ``T`` is stopped, ``Z`` has ended and is not waited for; empty: it is gone."""
        return _stat(self.pid)[0]

    @property
    def ticks(self) -> int:
        """Of the processor, that it has used."""
        return int(_stat(self.pid)[11]) + int(_stat(self.pid)[12])

    @property
    def there(self) -> bool:
        """Whether it has not ended yet."""
        return self.state not in ("", "Z", "X")


def _stat(pid: int) -> list[str]:
    """What proc(5) says after the name of the command."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return [""] + ["0"] * 50


def of(folder: Path) -> list[Process]:
    """Processes that name ``folder`` in their command or, as agents do, in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = ((place / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        pid = int(place.name)
        if pid != os.getpid() and os.fsencode(folder) in command + variables:
            found.append(Process(pid, tuple(command.decode(errors="replace").split("\0"))))
    return [process for process in found if process.there]


def named(folder: Path, *words: str) -> Process | None:
    """The process of ``folder`` whose command has all of ``words``, a word by its end."""
    for process in of(folder):
        if all(any(own.endswith(word) for own in process.words) for word in words):
            return process
    return None


def agent(folder: Path, token: str) -> Process | None:
    """The agent of a runner."""
    return named(folder, "suite/trial/agent.py", token)


def until(found: Callable[[], T | None], seconds: float = 60) -> T:
    """What is found, as soon as it is something.  Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)
    return value
