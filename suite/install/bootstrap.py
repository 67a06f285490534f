"""Make the environments under ``.envs/``: one for the core, one for each framework, from their lock files.

``python3 -m suite.install.bootstrap`` needs the standard library alone.  What is already right is left alone.  An
installation that was interrupted has no stamp and is made again.  A second process waits for the first.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import MachineError
from suite.install.environments import FrameworkEnvironment, Python, environments
from suite.install.preflight import ROOT, check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TAIL = 8  # lines of a failed command that are shown
WAY_OUT = (
    "The usual causes: no network, no package registry in reach (a mirror goes into PIP_INDEX_URL and "
    "UV_DEFAULT_INDEX), a full disk.  Run the same command again to go on."
)


def steps(environment: FrameworkEnvironment, python: Python) -> list[list[str]]:
    """The commands that fill an environment: pip installs uv at its hash, uv installs the rest."""
    path, lock, interpreter = str(environment.path), str(environment.lock), str(environment.python)
    pinned = ["--require-hashes", "--only-binary", ":all:"]
    if environment.name == "uv":
        return [
            [python.path, "-m", "venv", path],
            [interpreter, "-m", "pip", "install", "--disable-pip-version-check", *pinned, "-r", lock],
        ]
    uv = str(environment.root / ".envs" / "uv" / "bin" / "uv")
    return [
        [uv, "venv", "--no-project", "--python", python.path, path],
        [uv, "pip", "sync", *pinned, "--compile-bytecode", "--python", interpreter, lock],
    ]


def install(environment: FrameworkEnvironment, python: Python, commands: Sequence[Sequence[str]], lock: int) -> None:
    """Make one environment anew with ``commands``; the stamp that calls it complete is written last.

    ``lock`` is the descriptor of the lock held: the commands inherit it, so that it outlives us if we are killed.

    Raises:
        MachineError: a command failed; shows the end of its output.
    """
    stamp, log = environment.path / ".stamp", environment.path.with_suffix(".log")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(environment.path, ignore_errors=True)
    started = time.monotonic()
    with log.open("wb") as output:
        for command in commands:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=[lock]
            )
            try:
                while not _ended(child):
                    _show(environment.name, started, log)
            except KeyboardInterrupt:
                child.terminate()
                child.wait()
                raise
            if child.returncode:
                tail = "\n".join(f"  | {line}" for line in _lines(log)[-TAIL:])
                what = f"could not be installed; {log} ends with\n{tail}"
                raise MachineError(what, where=environment.name, way_out=WAY_OUT)
    _connect(environment, python)
    draft = stamp.with_suffix(".draft")
    draft.write_text(environment.stamp(python.minor), encoding="utf-8")
    draft.replace(stamp)
    _say(f"envs: {environment.name} ready in {time.monotonic() - started:.0f} s", "\n")


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Wait for a moment: a second where a line can be rewritten, half a minute where each one stays."""
    try:
        child.wait(timeout=1 if sys.stdout.isatty() else 30)
    except subprocess.TimeoutExpired:
        return False
    return True


def _show(name: str, started: float, log: Path) -> None:
    line = f"envs: {name} {time.monotonic() - started:.0f} s  {' '.join(_lines(log)[-1:])}"
    _say(line[: shutil.get_terminal_size().columns - 1], "" if sys.stdout.isatty() else "\n")


def _say(line: str, end: str) -> None:
    print(f"\r\x1b[K{line}" if sys.stdout.isatty() else line, end=end, flush=True)


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _connect(environment: FrameworkEnvironment, python: Python) -> None:
    """Make ``import suite`` work in the environment, and the command ``suite`` in the core's."""
    if environment.name == "uv":
        return
    packages = environment.path / "lib" / f"python{python.minor}" / "site-packages"
    (packages / "parity-suite.pth").write_text(f"{environment.root}\n", encoding="utf-8")
    if environment.name == "core":
        command = environment.path / "bin" / "suite"
        run = f'#!/bin/sh\nexec {shlex.quote(str(environment.python))} -P -m suite "$@"\n'
        command.write_text(run, encoding="utf-8")
        command.chmod(0o755)


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """Hold the lock of ``folder``, waiting for whoever has it; yields its descriptor."""
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("envs: another process is installing; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def bootstrap(root: Path) -> None:
    """Check the machine, then make every environment that is not there.

    Raises:
        MachineError: this machine cannot run the suite, or an installation failed.
    """
    python = check(root)
    if python is None:
        return
    with alone(root / ".envs") as lock:
        for environment in (FrameworkEnvironment(root, "uv"), *environments(root)):
            if not environment.ready():
                install(environment, python, steps(environment, python), lock)


def main() -> int:
    """0: all is installed; 2: this machine cannot run the suite or install it; 130: stopped."""
    try:
        bootstrap(ROOT)
    except MachineError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nenvs: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
