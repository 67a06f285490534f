"""In which interpreters another checkout's runners run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from suite.errors import MachineError
from suite.machine.environment import ROOT
from suite.run import session


def pythons(place: Path, tokens: Sequence[str], say: Callable[[str], None]) -> dict[str, Path]:
    """The interpreters for the checkout at ``place``: ours where its lock is the same, else made there.

    A runner without a lock runs in our core's.  Raises MachineError where an environment cannot be made.
    """
    ours = session.pythons(tuple(tokens))
    other = [token for token in tokens if _lock(place, token) not in (_lock(ROOT, token), None)]
    if other:
        say(f"The lock files of {' and '.join(other)} differ: making that commit's own environments.")
        made = subprocess.run(
            [sys.executable, "-m", "suite.install.bootstrap"],
            cwd=place, env={**os.environ, "PYTHONPATH": str(place)}, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if made.returncode:
            raise MachineError(
                "its environments could not be made", where=str(place), way_out="See what is said above."
            )
    return {token: place / ".envs" / token / "bin" / "python" if token in other else ours[token] for token in tokens}


def _lock(root: Path, token: str) -> bytes | None:
    """What a runner's environment is installed from, with CUDA or without; null if there is none."""
    paths = (root / "docker" / "locks" / f"{name}.txt" for name in (token, f"{token}-cuda"))
    return b"".join(path.read_bytes() for path in paths if path.is_file()) or None
