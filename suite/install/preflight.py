"""Can this machine run the suite, and what will it cost?  Answered before anything is installed.

``python3 -m suite.install.preflight`` needs the standard library alone.  It must parse under Python 3.8, so that an old
interpreter is refused in a sentence and not with a syntax error.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from suite.errors import MachineError
from suite.install.environments import Python, choose, environments, pythons

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]


class Cost(NamedTuple):
    """Of installing one environment (the core with uv); the seconds are unpacking and compiling on two cores."""

    download_mb: int
    installed_mb: int
    seconds: int


# By lock; measured 2026-11-21, 22 and 28 on Linux x86-64 with Python 3.11 and uv 0.13.9.
COSTS = {
    "core": Cost(170, 665, 20),
    "torch": Cost(3020, 5820, 27),
    "tf": Cost(620, 2240, 13),
    "tf-cuda": Cost(3450, 6680, 30),
    "jax": Cost(141, 618, 14),
    "jax-cuda": Cost(2508, 4486, 183),  # seconds beside other work on the same cores
}
SPARE_MB = 1500  # data, compiler caches and results of a run
BENCH_MINUTES = 7  # the profile quick on two cores
LINE_MBIT = 100  # the line that the expected minutes assume


@dataclass(frozen=True)
class Machine:
    """What decides whether the suite can run; None is unknown."""

    system: str
    processor: str
    libc: str  # "glibc 2.36"; empty on macOS
    release: str  # of macOS; empty elsewhere
    avx: bool | None
    free_mb: dict[str, int]  # by folder, one entry for each file system that the installation writes to
    compiler: str | None
    clients: tuple[str, ...]


def machine(root: Path) -> Machine:
    """The machine we are on."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    # Inductor compiles with CXX or, by default, with the system's usual C++ compiler.
    compilers = filter(None, (os.environ.get("CXX"), "clang++" if sys.platform == "darwin" else "g++"))
    return Machine(
        system=platform.system(),
        processor=platform.machine().lower().replace("amd64", "x86_64"),
        libc=" ".join(platform.libc_ver()).strip(),
        release=platform.mac_ver()[0],
        avx=(" avx " in flags) if "flags" in flags else None,
        free_mb=_free(root, _cache()),
        compiler=next(filter(None, map(shutil.which, compilers)), None),
        clients=tuple(name for name in ("npm", "apt-get") if shutil.which(name)),
    )


def _cache() -> Path:
    """Where uv keeps what it has downloaded; on the same file system an installation only links to it."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UV_CACHE_DIR") or Path(caches, "uv")).absolute()


def _free(*folders: Path) -> dict[str, int]:
    free: dict[int, tuple[str, int]] = {}
    for folder in folders:
        present = next(path for path in [folder, *folder.parents] if path.exists())
        free.setdefault(present.stat().st_dev, (str(present), shutil.disk_usage(present).free // 10**6))
    return dict(free.values())


def support(machine: Machine) -> str:
    """How well this system is supported, in a word or two.

    Raises:
        MachineError: it cannot work here.
    """
    elsewhere = "use Docker, or a Linux x86-64 machine"
    if machine.system == "Linux" and machine.processor in ("x86_64", "aarch64"):
        name, _, version = machine.libc.partition(" ")
        if name != "glibc" or _numbers(version) < (2, 28):
            libc = machine.libc or "a C library that is not glibc"
            raise MachineError(f"the frameworks are built for glibc 2.28 or later; this is {libc}", way_out=elsewhere)
        if machine.processor == "x86_64" and machine.avx is False:
            raise MachineError("TensorFlow needs a processor with AVX", way_out="use a newer machine")
        return "tested" if machine.processor == "x86_64" else "should work, untested"
    if machine.system == "Darwin" and machine.processor == "arm64":
        if _numbers(machine.release) < (14,):
            raise MachineError(f"PyTorch is built for macOS 14 or later; this is {machine.release}", way_out=elsewhere)
        return "should work, untested"
    if machine.system == "Windows" or machine.system.startswith(("CYGWIN", "MSYS", "MINGW")):
        raise MachineError(f"{machine.system} is not supported", way_out="use WSL2 or Docker")
    what = f"the frameworks publish no builds for {machine.system} on {machine.processor or 'an unknown processor'}"
    raise MachineError(what, way_out=elsewhere)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def enough_disk(machine: Machine, need_mb: int) -> None:
    """Refuse a file system with less than ``need_mb`` free.

    Raises:
        MachineError: names the folder, what is free and what is needed.
    """
    for folder, free in machine.free_mb.items():
        if free < need_mb:
            what = f"{_size(free)} are free and {_size(need_mb)} are needed"
            raise MachineError(what, where=folder, way_out="free some space, or clone to a larger disk")


def _size(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB"


def summary(machine: Machine, python: Python, standing: str, missing: Sequence[str]) -> dict[str, str]:
    """What a first run prints: for each thing checked, one line."""
    compiler = machine.compiler or ""
    if not (machine.compiler and python.headers):
        lack, package = ("C++ compiler", "g++") if not machine.compiler else ("Python.h", f"python{python.minor}-dev")
        compiler = f"no {lack}: torch.compile will be unsupported (Debian and Ubuntu: apt-get install {package})"
    known = [COSTS[name] for name in missing if name in COSTS]
    download, installed = sum(cost.download_mb for cost in known), sum(cost.installed_mb for cost in known)
    unknown = "".join(f", {name} of unknown size" for name in missing if name not in COSTS)
    minutes = max(1.0, (sum(cost.seconds for cost in known) + download * 8 / LINE_MBIT) / 60)
    system = " ".join(filter(None, (machine.system, machine.release, machine.processor, machine.libc)))
    return {
        "system": f"{system} ({standing})",
        "python": f"{python.full} at {python.path}",
        "disk": ", ".join(f"{_size(free)} free at {folder}" for folder, free in machine.free_mb.items()),
        "compiler": compiler,
        "clients": ", ".join(machine.clients) or "neither npm nor apt-get: those mirrors of the data are skipped",
        "install": f"{', '.join(missing)}: {_size(download)} to download, {_size(installed)} on disk{unknown}",
        "time": f"{minutes:.0f} min at {LINE_MBIT} Mbit/s, then {BENCH_MINUTES} min for `make bench` on two cores",
    }


def check(root: Path) -> Python | None:
    """Judge this machine and print the outcome; the interpreter to install with, or None if all is installed.

    Raises:
        MachineError: something makes it impossible, in one sentence.
    """
    wanted = environments(root)
    missing = [environment.lock.stem for environment in wanted if not environment.ready()]
    if not missing:
        print(f"preflight: all installed ({', '.join(environment.name for environment in wanted)})")
        return None
    here = machine(root)
    standing = support(here)
    python = choose(pythons())
    enough_disk(here, SPARE_MB + sum(COSTS[name].installed_mb for name in missing if name in COSTS))
    print("preflight: this machine can run the suite")
    for name, text in summary(here, python, standing, missing).items():
        print(f"  {name:9} {text}")
    return python


def main() -> int:
    """0: go on; 2: this machine cannot, and why."""
    try:
        check(ROOT)
    except MachineError as error:
        print(f"preflight: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
