"""Messages between a conductor and the parents of its agents: JSON, a line each, over a Unix socket in the run folder.

Containers without a network share that folder, so natively and in containers the same code runs.  Nobody polls: whoever
waits, waits in ``select``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from suite.errors import RunError

NAME = "conductor.sock"
MOST_BYTES = 1 << 26
"""Of one message."""
RETRY_SECONDS = 0.1
"""How often one who came before the conductor looks for it."""


class Hangup(Exception):  # noqa: N818 - it is an event, and whoever gets it ends in good order
    """The other end is gone."""


class Line:
    """One end of a connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket, self._held = connected, b""

    def fileno(self) -> int:
        """What ``select`` waits for."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Raises Hangup."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise Hangup from None

    def receive(self, patience: float | None = None) -> dict[str, Any]:
        """The next message.  Raises Hangup, for what is no message as well, and TimeoutError after ``patience`` s."""
        deadline = None if patience is None else time.monotonic() + patience
        while b"\n" not in self._held:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError
            self._held += self._read()
        line, _, self._held = self._held.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise Hangup from None
        if not isinstance(found, dict):
            raise Hangup
        return found

    def _read(self) -> bytes:
        try:
            part = self._socket.recv(1 << 20)
        except OSError:
            part = b""
        if not part or len(self._held) > MOST_BYTES:
            raise Hangup
        return part

    @property
    def hung_up(self) -> bool:
        """Whether the other end is gone, as far as can be seen without waiting."""
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """Where parents come to, for as long as a conductor is at work.  Raises RunError where there can be none."""
    path = folder / NAME
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        try:
            with _short(folder) as short:
                found.bind(f"{short}/{NAME}")
            path.chmod(0o666)
        except OSError as error:
            way_out = "Let the folder of reports lie on a local file system."
            raise RunError(
                f"no socket can be made here: {error.strerror}", where=str(folder), way_out=way_out
            ) from None
        found.listen()
        try:
            yield found
        finally:
            path.unlink(missing_ok=True)


def connected(folder: Path, patience: float) -> Line:
    """A connection to the conductor of a run, who may come later.  Raises RunError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(folder) as short:
                found.connect(f"{short}/{NAME}")
        except OSError:
            found.close()
            if time.monotonic() > deadline:
                raise RunError("no conductor came", where=str(folder), way_out="Start one: `suite run`.") from None
            time.sleep(RETRY_SECONDS)
        else:
            return Line(found)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short path of ``folder``: that of a socket may have 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}" if Path("/proc/self/fd").exists() else str(folder)
    finally:
        os.close(descriptor)


def arrived(listener: socket.socket, patience: float) -> Line | None:
    """Whoever comes next; None if nobody does."""
    if not select.select([listener], [], [], max(0.0, patience))[0]:
        return None
    return Line(listener.accept()[0])


def ready(lines: Sequence[Line], patience: float) -> list[Line]:
    """Those of ``lines`` that have something to say, or have hung up."""
    held = [line for line in lines if b"\n" in line._held]
    return held or select.select(list(lines), [], [], patience)[0]
