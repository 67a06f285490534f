"""Agents as processes: started, asked, stopped whenever nobody asks, and ended with all that they started.

An agent (``suite/trial/agent.py``) answers requests in JSON, a line each, over its standard streams.  Its parent stops
it between requests, because the threads of a framework spin for a while after their work, and on the cores of others.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.errors import RunError, Unsupported
from suite.machine.environment import ROOT
from suite.results.records import Cause
from suite.run.trials import GRACE_SECONDS, why

AGENT = ROOT / "suite" / "trial" / "agent.py"
PATIENCE_SECONDS = 900.0
"""How long an agent may take to answer; compiling takes longest."""
MOST_BYTES = 1 << 26
"""Of one answer."""


class Lost(RunError):  # noqa: N818 - an event, which becomes a Result
    """An agent that is gone, or was given up.  ``cause`` is what a result says of its cells."""

    def __init__(self, what: str, cause: Cause) -> None:
        self.cause = cause
        super().__init__(what)


def command(python: Path, token: str, device: str, intra: int, inter: int) -> list[str]:
    """What starts an agent; ``-P`` keeps the agent's folder out of where modules are looked for."""
    return [str(python), "-P", str(AGENT), token, device, str(intra), str(inter)]


class Refusal(RunError):  # noqa: N818 - an answer, which becomes a Result
    """An agent's error in its own words; it is there still.  ``cause`` is what a result says of its cells."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        kind = str(told.get("kind", ""))
        short = kind == "MemoryError" or "OutOfMemory" in kind or "ResourceExhausted" in kind
        self.cause = Cause(told["cause"]) if told.get("cause") else Cause.OUT_OF_MEMORY if short else Cause.CRASHED
        self.missing = bool(told.get("cause"))
        """Whether what it starts from is not there."""
        super().__init__(str(told["error"]))


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """An answer that is no error.  Raises Unsupported and Refusal."""
    if "error" not in found:
        return found
    raise Unsupported(str(found["error"])) if found.get("unsupported") else Refusal(found)


class AgentProcess:
    """The process of one agent.  It runs only while it is asked something."""

    def __init__(self, name: str, words: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        self.name, self._log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(words),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, bufsize=0, cwd=ROOT,
                env={**variables, "PARITY_PARENT": str(os.getpid())},
                process_group=0,  # Ctrl-C reaches us alone; a stopped group whose parent dies is ended by the system
            )  # fmt: skip
        self._lost: Lost | None = None

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it, with the workers of a compiler; whoever asks it later hears that it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._lost = self._lost or Lost(f"{self.name} was ended", Cause.WORKER_DIED)

    def pin(self, cores: Collection[int]) -> None:
        """Let its threads run on ``cores`` alone, where the system can."""
        for task in Path(f"/proc/{self._process.pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(task.name), cores)

    def greeting(self, patience: float = PATIENCE_SECONDS, go_on: Callable[[], bool] | None = None) -> dict[str, Any]:
        """What it says when it is up.  Raises Lost."""
        return self._answer(patience, go_on)

    def ask(
        self, request: Mapping[str, Any], patience: float = PATIENCE_SECONDS, go_on: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """Its answer.  Raises Unsupported and RunError as it says, else as ``answer``."""
        return checked(self.answer(request, patience, go_on))

    def answer(
        self, request: Mapping[str, Any], patience: float = PATIENCE_SECONDS, go_on: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """Its answer, be it an error.  Raises Lost where it is gone or does not answer.

        ``go_on`` is asked now and then while it works; on a no it is given up.
        """
        self.request(request)
        return self._answer(patience, go_on)

    def request(self, request: Mapping[str, Any]) -> None:
        """Ask and let it work; ``reply`` waits for its answer, maybe after others were asked too.  Raises Lost."""
        if self._lost:
            raise self._lost
        stdin = self._process.stdin
        assert stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._gone() from None

    def reply(self, patience: float = PATIENCE_SECONDS, go_on: Callable[[], bool] | None = None) -> dict[str, Any]:
        """Its answer to ``request``, be it an error.  Raises Lost."""
        return self._answer(patience, go_on)

    def _answer(self, patience: float, go_on: Callable[[], bool] | None) -> dict[str, Any]:
        """One line of its answer.  Then it is stopped."""
        if self._lost:
            raise self._lost
        line, deadline = b"", time.monotonic() + patience
        stdout = self._process.stdout
        assert stdout is not None
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([stdout], [], [], max(0.0, min(1.0, deadline - time.monotonic())))
            if not ready:
                if go_on and not go_on():
                    raise self._given_up("was given up: nobody waits for its answer", Cause.WORKER_DIED)
                if time.monotonic() >= deadline:
                    raise self._given_up(f"did not answer for {patience:.0f} s", Cause.TIMED_OUT)
                continue
            part = os.read(stdout.fileno(), 1 << 20)
            if not part or len(line) > MOST_BYTES:
                raise self._gone()
            line += part
        self._stop()
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._given_up(f"answered what is none: {line[:200]!r}", Cause.CRASHED)
        return found

    def _stop(self) -> None:
        """Stop it, and wait until all of its threads stand: whoever is asked next has the processor alone."""
        self._process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _gone(self) -> Lost:
        """It hung up: it ends by itself, which tells why, or is ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        cause, reason = why(self._process.wait(), self._log)
        return self._given_up(reason, cause)

    def _given_up(self, reason: str, cause: Cause) -> Lost:
        """Every later request gets this answer."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._lost = Lost(f"{self.name} {reason}", cause)
        return self._lost
