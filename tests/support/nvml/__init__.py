"""A double of NVML for tests: a C library that plays scripted GPUs, used by the real nvidia-ml-py.

``nvml.c`` says what a script may hold.  It needs a C compiler and libc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
COMPILER = shutil.which("cc")
FLAGS = (
    "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1", "-Wall", "-Wextra", "-Wno-format-truncation", "-shared", "-fPIC",
)  # fmt: skip

ONE = """
driver 575.51
gpu 0 GPU-00000000-aaaa-bbbb-cccc-000000000000 Double A
0 0 total 80000000000
0 0 used 500000000
0 0 reserved 400000000
0 0 power 90000
0 0 energy 1000000
0 0 utilization 35
0 0 celsius 41
0 0 sm 1980
0 0 memory 2619
0 0 throttle 4
"""
"""One GPU that tells everything and never changes, but for its energy."""
UUID = "GPU-00000000-aaaa-bbbb-cccc-000000000000"


def build(folder: Path, *without: str) -> Path:
    """Build the library, less the functions ``without``, into ``folder``; returns the folder to put on the path."""
    assert COMPILER, "the double of NVML needs a C compiler"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    if not library.exists():
        built = library.with_suffix(f".{os.getpid()}")
        left_out = [f"-DWITHOUT_{name}" for name in without]
        subprocess.run([COMPILER, *FLAGS, *left_out, "-o", built, SOURCE], check=True)
        built.replace(library)
    return folder


def script(path: Path, text: str = ONE, *, encoding: str = "utf-8") -> Path:
    """Write a script; its events may stand in any order."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    events = sorted((line for line in lines if line[0].isdigit()), key=lambda line: float(line.split()[0]))
    path.write_text("\n".join([line for line in lines if not line[0].isdigit()] + events) + "\n", encoding=encoding)
    return path


def environment(library: Path | None, script: Path, *, since_ns: int | None = None) -> dict[str, str]:
    """The variables under which a process meets the double, its time beginning now (or at ``since_ns``).

    Without a ``library`` there is no NVML at all.
    """
    paths = [str(library)] if library else []
    return {
        "LD_LIBRARY_PATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]),
        "PARITY_NVML_SCRIPT": str(script),
        "PARITY_NVML_SINCE": str(time.monotonic_ns() if since_ns is None else since_ns),
    }
