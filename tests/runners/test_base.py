"""The UUID of CUDA's first GPU, asked of a double of the CUDA driver: a C library of four functions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.machine.environment import ROOT
from suite.runners import base

COMPILER = shutil.which("cc")
UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PART = "ff010203-0405-0607-0809-0a0b0c0d0e0f"
SOURCE = """
#ifndef DEVICES
#define DEVICES 1
#endif
int cuInit(unsigned flags) { return flags ? 1 : STATUS; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal < DEVICES ? 0 : 101; }
static int tell(unsigned char *uuid, int device, int first) {
    for (int i = 0; i < 16; i++) uuid[i] = i;
    uuid[0] = first;
    return device == 7 ? 0 : 101;
}
int cuDeviceGetUuid(unsigned char *uuid, int device) { return tell(uuid, device, 0); }
#ifdef PART
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { return tell(uuid, device, PART); }
#endif
"""


def told(folder: Path, *flags: str, ordinal: int = 0) -> str:
    """What ``gpu_uuid`` gives where the driver is a double built with ``flags``."""
    assert COMPILER
    source = folder / "cuda.c"
    source.write_text(SOURCE)
    options = ["-DSTATUS=0", *flags] if not any(flag.startswith("-DSTATUS") for flag in flags) else flags
    subprocess.run([COMPILER, "-shared", "-fPIC", *options, "-o", folder / "libcuda.so.1", source], check=True)
    code = f"from suite.runners import base; print(base.gpu_uuid({ordinal}))"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return child.stdout.strip()


needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


@needs_compiler
@pytest.mark.parametrize(
    ("flags", "uuid"),
    [
        (["-DPART=0"], f"GPU-{UUID}"),
        (["-DPART=255"], f"MIG-{PART}"),
        ([], f"GPU-{UUID}"),
        (["-DSTATUS=100"], "None"),
        (["-DDEVICES=0"], "None"),
    ],
    ids=["whole", "part", "a driver before CUDA 11.4", "a driver that does not start", "no GPU"],
)
def test_the_driver_names_the_gpu(tmp_path: Path, flags: list[str], uuid: str) -> None:
    assert told(tmp_path, *flags) == uuid


@needs_compiler
def test_a_gpu_that_cuda_does_not_count_has_no_uuid(tmp_path: Path) -> None:
    assert told(tmp_path, "-DDEVICES=2", ordinal=2) == "None"


def test_without_a_driver_there_is_no_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(base.ctypes, "CDLL", missing)
    assert base.gpu_uuid() is None
