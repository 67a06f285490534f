"""The environments of the suite, and the interpreters that make them.  Standard library alone, Python 3.8 syntax."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUPPORTED = ((3, 11), (3, 12), (3, 13))
USUAL = ("torch", "tf")
"""The frameworks that are installed and compared unless others are asked for."""
INSTALL_PYTHON = "install Python 3.11, 3.12 or 3.13 and run `make PYTHON=python3.13 ...`"
DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")
"""Where a machine with an NVIDIA driver has one of these."""


def cuda() -> bool:
    """Whether CUDA libraries are wanted: PARITY_CUDA says it (1 or 0); without it, an NVIDIA driver does."""
    stated = os.environ.get("PARITY_CUDA")
    return stated != "0" if stated else any(Path(path).exists() for path in DRIVERS)


def lock(root: Path, token: str) -> Path:
    """The lock of a framework; where its CUDA libraries have a lock of their own and are wanted, that one."""
    plain = root / "docker" / "locks" / f"{token}.txt"
    own = plain.with_name(f"{token}-cuda.txt")
    return own if own.is_file() and cuda() else plain


@dataclass(frozen=True)
class FrameworkEnvironment:
    """An isolated installation of one lock file, under ``.envs/<name>``."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.root / ".envs" / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    @property
    def lock(self) -> Path:
        """The hash-pinned list of its packages."""
        return lock(self.root, self.name)

    def stamp(self, python: str) -> str:
        """What makes this installation the right one: the lock, the Python (``3.11``) and the place."""
        digest = hashlib.sha256(self.lock.read_bytes()).hexdigest()
        return json.dumps({"lock_sha256": digest, "python": python, "root": str(self.root)}, sort_keys=True)

    def ready(self) -> bool:
        """Whether it is complete, made from the present lock, and its interpreter still runs."""
        stamp = self.path / ".stamp"
        if not stamp.is_file():
            return False
        python = probe(str(self.python))
        return python is not None and stamp.read_text(encoding="utf-8") == self.stamp(python.minor)


def frameworks(root: Path) -> list[str]:
    """Every framework that there is: each has a runner and a lock of its name."""
    names = {path.parent.name for path in (root / "suite" / "runners").glob("*/runner.py")}
    return sorted(path.stem for path in (root / "docker" / "locks").glob("*.txt") if path.stem in names)


def chosen(root: Path) -> list[str]:
    """The frameworks that are wanted here, in their order.

    PARITY_FRAMEWORKS names them, or says ``all``; without it they are the usual ones, and whichever is installed.

    Raises:
        MachineError: it names one that there is not.
    """
    every = frameworks(root)
    stated = os.environ.get("PARITY_FRAMEWORKS", "").replace(",", " ").split()
    if unknown := [name for name in stated if name not in (*every, "all")]:
        way_out = f"There are: {', '.join(every)}; all stands for each of them."
        raise MachineError(f"there is no framework {unknown[0]!r}", where="PARITY_FRAMEWORKS", way_out=way_out)
    if stated:
        return every if "all" in stated else [name for name in every if name in stated]
    return [name for name in every if name in USUAL or (root / ".envs" / name).exists()]


def environments(root: Path) -> list[FrameworkEnvironment]:
    """The core's, and those of the frameworks that are wanted; raises MachineError for one that there is not."""
    return [FrameworkEnvironment(root, name) for name in ["core", *chosen(root)]]


@dataclass(frozen=True)
class Python:
    """An interpreter, as it describes itself."""

    path: str
    version: tuple[int, int, int]
    flaw: str = ""  # why it cannot be used; empty if it can
    headers: bool = True

    @property
    def minor(self) -> str:
        """The version that packages are built for: ``3.11``."""
        return ".".join(map(str, self.version[:2]))

    @property
    def full(self) -> str:
        """The whole version: ``3.11.7``."""
        return ".".join(map(str, self.version))


PROBE = """
import importlib.util as i, json, os, platform, sys, sysconfig
missing = [m for m in ("venv", "ensurepip") if i.find_spec(m) is None]
print(json.dumps([sys.executable, sys.version_info[:3], platform.python_implementation(), sys.maxsize > 2**32,
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), missing,
    os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))]))
"""


def probe(command: str) -> Python | None:
    """Ask the interpreter ``command`` about itself; None if it does not run (a shim without a target, say)."""
    try:
        done = subprocess.run(
            [command, "-I", "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True
        )
        path, version, implementation, wide, free_threaded, missing, headers = json.loads(done.stdout.decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if tuple(version[:2]) not in SUPPORTED:
        flaw = "is not 3.11, 3.12 or 3.13"
    elif implementation != "CPython" or free_threaded:
        flaw = "is not the standard CPython that the frameworks are built for"
    elif not wide:
        flaw = "is a 32-bit build"
    elif missing:
        flaw = "lacks the module " + " and ".join(missing)
    else:
        flaw = ""
    return Python(path, tuple(version), flaw, headers)


def pythons(first: str = sys.executable) -> Iterator[Python]:
    """The running interpreter, then those found on PATH under their version's name, newest first."""
    names = [f"python{major}.{minor}" for major, minor in reversed(SUPPORTED)]
    for command in (Path(first), *(Path(folder, name) for name in names for folder in os.get_exec_path())):
        python = probe(str(command)) if command.is_file() else None
        if python is not None:
            yield python


def choose(candidates: Iterable[Python]) -> Python:
    """The first usable interpreter.

    Raises:
        MachineError: there is none; says why the first was refused.
    """
    refused = []
    for python in candidates:
        if not python.flaw:
            return python
        refused.append(python)
    if not refused:
        raise MachineError("no Python runs here", way_out=INSTALL_PYTHON)
    near = next((python for python in refused if python.version[:2] in SUPPORTED), refused[0])
    way_out = f"Debian and Ubuntu: apt-get install python{near.minor}-venv" if "lacks" in near.flaw else INSTALL_PYTHON
    raise MachineError(f"Python {near.full} at {near.path} {near.flaw}", way_out=way_out)
